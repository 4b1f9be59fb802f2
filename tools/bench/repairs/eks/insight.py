"""EKS: what it finds about the next version of Kubernetes (https://docs.aws.amazon.com/eks/latest/userguide/cluster-insights.html).

What there is to find a test says (`insights` of the knobs); without that one insight passes.
"""

import uuid

from .state import call, invalid, missing, now, paged

STATUSES = {"PASSING", "WARNING", "ERROR", "UNKNOWN"}
CATEGORY = "UPGRADE_READINESS"


def all_of(cluster):
    """Returns the insights of a cluster by their ids, which stay."""
    version = f"1.{int(cluster.version.partition('.')[2]) + 1}"
    passing = {"name": "Kubelet version skew", "status": "PASSING", "reason": "Node versions are supported."}
    found = {}
    for said in cluster.backend.knobs.insights or [passing]:
        each = {"version": version, "reason": "", "recommendation": "", **said}
        identity = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{cluster.arn}/{each['version']}/{each['name']}"))
        found[identity] = {
            "id": identity,
            "name": each["name"],
            "category": CATEGORY,
            "kubernetesVersion": each["version"],
            "lastRefreshTime": now(),
            "lastTransitionTime": now(),
            "description": f"Checks for {each['name']}.",
            "insightStatus": {"status": each["status"], "reason": each["reason"]},
            "recommendation": each["recommendation"],
        }
    return found


@call
def list_insights(backend, parameters):
    cluster, asked = backend.cluster(parameters["clusterName"]), parameters.get("filter") or {}
    if unknown := set(asked.get("statuses") or []) - STATUSES:
        invalid(f"Unknown statuses: {sorted(unknown)}", clusterName=cluster.name)
    wanted = {
        identity: each
        for identity, each in all_of(cluster).items()
        if (not asked.get("categories") or CATEGORY in asked["categories"])
        and (not asked.get("kubernetesVersions") or each["kubernetesVersion"] in asked["kubernetesVersions"])
        and (not asked.get("statuses") or each["insightStatus"]["status"] in asked["statuses"])
    }
    names, token = paged(wanted, parameters)
    # A summary has no recommendation.
    summaries = [{key: value for key, value in wanted[name].items() if key != "recommendation"} for name in names]
    return {"insights": summaries, "nextToken": token}


@call
def describe_insight(backend, parameters):
    cluster = backend.cluster(parameters["clusterName"])
    found = all_of(cluster).get(parameters["id"])
    if found is None:
        missing(f"No insight found for id: {parameters['id']}", clusterName=cluster.name)
    return {"insight": found}
