"""What an account has of EKS, EFS and launch templates: `GET /bench/inventory`, for who looks at what is left.

It is told without times, and without waiting for anything: what is being made or removed is there with its status.
"""

import json
import sys
from datetime import datetime

from moto.ec2.models import ec2_backends


def plain(value):
    """Returns a document without what is absent or says when."""
    if isinstance(value, dict):
        kept = {name: plain(member) for name, member in value.items() if not isinstance(member, datetime)}
        return {name: member for name, member in kept.items() if member is not None}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def clusters(account):
    """Returns the clusters with what is in them."""
    state = sys.modules.get("repairs.eks.state")
    found = []
    for backend in state.backends[account].values() if state else ():
        backend.advance()
        for cluster in backend.clusters.values():
            document = {**cluster.document(), "region": backend.region_name}
            for name, kind in (
                ("nodegroups", cluster.nodegroups),
                ("fargateProfiles", cluster.profiles),
                ("addons", cluster.addons),
                ("accessEntries", cluster.entries),
                ("podIdentityAssociations", cluster.associations),
            ):
                document[name] = [each.document() for _, each in sorted(kind.items())]
            for entry, each in zip(document["accessEntries"], (e for _, e in sorted(cluster.entries.items()))):
                entry["policies"] = sorted(each.policies)
            found.append(document)
    return found


def file_systems(account):
    """Returns the file systems with their mount targets."""
    models = sys.modules.get("moto.efs.models")
    repair = sys.modules.get("repairs.efs")
    found = []
    for backend in models.efs_backends[account].values() if models and repair else ():
        repair.advance(backend)
        for system in backend.file_systems_by_id.values():
            document = {**system.info_json(), "region": backend.region_name}
            document["mountTargets"] = [target.info_json() for target in system.iter_mount_targets()]
            for passing in ("CreationTime", "SizeInBytes"):
                document.pop(passing, None)
            found.append(document)
    return found


def launch_templates(account):
    """Returns the launch templates with their newest version."""
    return [
        {
            "id": template.id,
            "name": template.name,
            "region": backend.region_name,
            "tags": {tag["key"]: tag["value"] for tag in template.tags},
            "version": template.latest_version_number,
            "description": template.latest_version().description,
        }
        for backend in ec2_backends[account].values()
        for template in backend.launch_templates.values()
    ]


def answer(environ, start_response):
    """Answers `/bench/inventory`."""
    account = environ.get("HTTP_X_MOTO_ACCOUNT_ID", "")
    found = {
        "clusters": clusters(account),
        "fileSystems": file_systems(account),
        "launchTemplates": launch_templates(account),
    }
    text = json.dumps(plain(found), default=str).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]
