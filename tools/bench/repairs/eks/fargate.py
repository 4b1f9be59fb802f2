"""EKS: Fargate profiles, only as what stands in the way of removing a cluster."""

import uuid

from .cluster import check_tags
from .state import Thing, call, in_use, invalid, missing, paged

PRINCIPAL = "eks-fargate-pods.amazonaws.com"


class Profile(Thing):
    """A Fargate profile."""

    def __init__(self, cluster, parameters):
        backend, self.name, self.cluster = cluster.backend, parameters["fargateProfileName"], cluster
        arn = backend.arn_of(f"fargateprofile/{cluster.name}/{self.name}/{uuid.uuid4()}")
        super().__init__(backend, arn, parameters.get("tags"))
        self.role, self.subnets = parameters["podExecutionRoleArn"], parameters.get("subnets") or []
        self.selectors = parameters.get("selectors") or []

    def document(self):
        return {
            "fargateProfileName": self.name,
            "fargateProfileArn": self.arn,
            "clusterName": self.cluster.name,
            "createdAt": self.created,
            "podExecutionRoleArn": self.role,
            "subnets": self.subnets,
            "selectors": self.selectors,
            "status": self.status,
            "tags": self.tags,
            "health": self.health(),
        }

    def gone(self):
        """Is no more."""
        self.cluster.profiles.pop(self.name, None)
        self.settle("DELETING")


@call
def create_fargate_profile(backend, parameters):
    cluster, name = backend.active_cluster(parameters["clusterName"]), parameters["fargateProfileName"]
    check_tags(parameters.get("tags"))
    if name in cluster.profiles:
        in_use(f"A Fargate Profile already exists with this name: {name}", fargateProfileName=name)
    role = backend.role(parameters["podExecutionRoleArn"])
    if role is None or not backend.trusts(role, PRINCIPAL, ["sts:AssumeRole"]):
        invalid("Misconfigured PodExecutionRole Trust Policy; Please add the eks-fargate-pods.amazonaws.com Service Principal")
    if not parameters.get("selectors"):
        invalid("Fargate Profile must have at least one selector.")
    profile = Profile(cluster, parameters)
    cluster.profiles[name] = profile
    profile.busy("CREATING", backend.knobs.seconds("fargate-profile", name), lambda: profile.settle("ACTIVE"))
    return {"fargateProfile": profile}


def profile(backend, parameters):
    """Returns the profile that a call names."""
    cluster, name = backend.cluster(parameters["clusterName"]), parameters["fargateProfileName"]
    if name not in cluster.profiles:
        missing(f"No Fargate Profile found with name: {name}.", clusterName=cluster.name, fargateProfileName=name)
    return cluster.profiles[name]


@call
def describe_fargate_profile(backend, parameters):
    return {"fargateProfile": profile(backend, parameters)}


@call
def list_fargate_profiles(backend, parameters):
    names, token = paged(backend.cluster(parameters["clusterName"]).profiles, parameters)
    return {"fargateProfileNames": names, "nextToken": token}


@call
def delete_fargate_profile(backend, parameters):
    found = profile(backend, parameters)
    found.busy("DELETING", backend.knobs.seconds("fargate-profile", found.name), found.gone)
    return {"fargateProfile": found}
