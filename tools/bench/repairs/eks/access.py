"""EKS: access entries and their policies."""

import uuid

from moto.sts.models import sts_backends

from .cluster import check_tags
from .state import Thing, call, in_use, invalid, missing, not_now, now, paged

# https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html
POLICIES = {
    "AmazonEKSAdminPolicy",
    "AmazonEKSClusterAdminPolicy",
    "AmazonEKSAdminViewPolicy",
    "AmazonEKSEditPolicy",
    "AmazonEKSViewPolicy",
    "AmazonEKSSecretReaderPolicy",
    "AmazonEKSAutoNodePolicy",
}
TYPES = {"STANDARD", "EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "EC2", "HYBRID_LINUX", "HYPERPOD_LINUX"}


class Entry(Thing):
    """An access entry."""

    def __init__(self, cluster, principal, kind, tags, by_eks=False):
        account, _, rest = principal.split(":", 4)[4].partition(":")
        word, _, name = rest.partition("/")
        arn = f"access-entry/{cluster.name}/{word}/{account}/{name.rpartition('/')[2]}/{uuid.uuid4()}"
        super().__init__(cluster.backend, cluster.backend.arn_of(arn), tags)
        self.cluster, self.principal, self.kind, self.by_eks = cluster, principal, kind, by_eks
        self.groups, self.username, self.policies = [], principal, {}

    def document(self):
        return {
            "clusterName": self.cluster.name,
            "principalArn": self.principal,
            "kubernetesGroups": self.groups,
            "accessEntryArn": self.arn,
            "createdAt": self.created,
            "modifiedAt": self.modified,
            "tags": self.tags,
            "username": self.username,
            "type": self.kind,
        }

    def give(self, policy, scope):
        since = self.policies.get(policy, {}).get("associatedAt") or now()
        self.policies[policy] = {"policyArn": policy, "accessScope": scope, "associatedAt": since, "modifiedAt": now()}


def policy_arn(name):
    return f"arn:aws:eks::aws:cluster-access-policy/{name}"


def caller_of(backend, key):
    """Returns the user or role that a key belongs to."""
    sts = sts_backends[backend.account_id][backend.partition]
    arn = sts.get_caller_identity(key, backend.region_name)[1]
    if ":assumed-role/" in arn:
        role = arn.split("/")[1]
        return f"arn:{backend.partition}:iam::{backend.account_id}:role/{role}"
    return arn.replace(":sts::", ":iam::")


def bootstrap(cluster):
    """Lets in who made the cluster, unless told otherwise."""
    if not cluster.bootstrap_admin or cluster.authentication == "CONFIG_MAP":
        return
    entry = Entry(cluster, caller_of(cluster.backend, cluster.creator), "STANDARD", None, by_eks=True)
    entry.give(policy_arn("AmazonEKSClusterAdminPolicy"), {"type": "cluster", "namespaces": []})
    cluster.entries[entry.principal] = entry


def admit_nodes(cluster, role):
    """Lets nodes in, as EKS does for its node groups."""
    if cluster.authentication == "CONFIG_MAP" or role in cluster.entries:
        return
    entry = Entry(cluster, role, "EC2_LINUX", None, by_eks=True)
    entry.groups, entry.username = ["system:nodes"], "system:node:{{EC2PrivateDNSName}}"
    cluster.entries[role] = entry


def with_entries(backend, name):
    """Returns a cluster that has access entries."""
    cluster = backend.active_cluster(name)
    if cluster.authentication == "CONFIG_MAP":
        not_now(
            "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this operation.",
            clusterName=name,
        )
    return cluster


def exists(backend, principal):
    """Says whether a role or user is there; those of other accounts are believed."""
    parts = principal.split(":")
    if len(parts) < 6 or parts[2] != "iam" or not parts[5].startswith(("role/", "user/")):
        return False
    if parts[4] != backend.account_id or parts[5] == "user/moto":
        return True
    if parts[5].startswith("role/"):
        return backend.role(principal) is not None
    return any(user.arn == principal for user in backend.iam.users.values())


@call
def create_access_entry(backend, parameters):
    cluster, principal = with_entries(backend, parameters["clusterName"]), parameters["principalArn"]
    check_tags(parameters.get("tags"))
    if not exists(backend, principal):
        invalid("The specified principalArn is invalid: invalid principal.", clusterName=cluster.name)
    if principal in cluster.entries:
        in_use("The specified access entry resource is already in use on this cluster.", clusterName=cluster.name)
    kind, groups = parameters.get("type") or "STANDARD", parameters.get("kubernetesGroups") or []
    if kind not in TYPES:
        invalid(f"The type {kind} is not valid", clusterName=cluster.name)
    if any(group.startswith("system:") for group in groups):
        invalid("The kubernetes group name is invalid, it cannot start with system:", clusterName=cluster.name)
    entry = Entry(cluster, principal, kind, parameters.get("tags"))
    entry.groups, entry.username = groups, parameters.get("username") or principal
    cluster.entries[principal] = entry
    return {"accessEntry": entry}


def entry_of(backend, parameters):
    """Returns the access entry that a call names."""
    cluster, principal = with_entries(backend, parameters["clusterName"]), parameters["principalArn"]
    if principal not in cluster.entries:
        missing(f"The specified principalArn could not be found. You must provide a valid principalArn: {principal}")
    return cluster.entries[principal]


@call
def describe_access_entry(backend, parameters):
    return {"accessEntry": entry_of(backend, parameters)}


@call
def list_access_entries(backend, parameters):
    cluster = with_entries(backend, parameters["clusterName"])
    policy = parameters.get("associatedPolicyArn")
    chosen = [name for name, each in cluster.entries.items() if not policy or policy in each.policies]
    names, token = paged(chosen, parameters)
    return {"accessEntries": names, "nextToken": token}


@call
def update_access_entry(backend, parameters):
    entry = entry_of(backend, parameters)
    entry.groups = parameters.get("kubernetesGroups", entry.groups)
    entry.username = parameters.get("username", entry.username)
    entry.settle("ACTIVE")
    return {"accessEntry": entry}


@call
def delete_access_entry(backend, parameters):
    entry = entry_of(backend, parameters)
    entry.cluster.entries.pop(entry.principal)
    return {}


@call
def associate_access_policy(backend, parameters):
    entry, policy, scope = entry_of(backend, parameters), parameters["policyArn"], parameters["accessScope"]
    if policy not in {policy_arn(name) for name in POLICIES}:
        invalid("The policyArn parameter format is not valid", clusterName=entry.cluster.name)
    if entry.kind != "STANDARD":
        not_now(f"Access policies cannot be associated with entries of type {entry.kind}", clusterName=entry.cluster.name)
    if (scope.get("type") == "namespace") != bool(scope.get("namespaces")):
        invalid("Namespaces are needed for, and only for, the type namespace", clusterName=entry.cluster.name)
    entry.give(policy, {"type": scope.get("type") or "cluster", "namespaces": scope.get("namespaces") or []})
    return {
        "clusterName": entry.cluster.name,
        "principalArn": entry.principal,
        "associatedAccessPolicy": entry.policies[policy],
    }


@call
def disassociate_access_policy(backend, parameters):
    entry = entry_of(backend, parameters)
    if entry.policies.pop(parameters["policyArn"], None) is None:
        missing("The specified policy is not associated with the access entry", clusterName=entry.cluster.name)
    return {}


@call
def list_associated_access_policies(backend, parameters):
    entry = entry_of(backend, parameters)
    names, token = paged(entry.policies, parameters)
    return {
        "clusterName": entry.cluster.name,
        "principalArn": entry.principal,
        "associatedAccessPolicies": [entry.policies[name] for name in names],
        "nextToken": token,
    }


@call
def list_access_policies(_, parameters):
    names, token = paged(POLICIES, parameters)
    return {"accessPolicies": [{"name": name, "arn": policy_arn(name)} for name in names], "nextToken": token}
