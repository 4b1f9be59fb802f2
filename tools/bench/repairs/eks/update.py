"""EKS: updates, and what of a cluster can be updated."""

import json
import uuid

from . import catalog
from .cluster import Cluster, check_network, check_version, kept, logging_of, subnets_of
from .state import Thing, call, in_use, invalid, issue_of, missing, not_now, paged


class Update(Thing):
    """An update of a cluster or of something in it."""

    def __init__(self, cluster, kind, wanted, nodegroup=None, addon=None):
        super().__init__(cluster.backend, None, None)
        self.id, self.kind, self.cluster = str(uuid.uuid4()), kind, cluster
        self.nodegroup, self.addon = nodegroup, addon
        self.wanted, self.errors = wanted, []
        self.status = "InProgress"

    def fail(self, found):
        """Has failed, with a health issue."""
        self.status = "Failed"
        self.errors = [
            {"errorCode": found["code"], "errorMessage": found["message"], "resourceIds": found["resourceIds"]}
        ]

    def document(self):
        def text(value):
            return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))

        return {
            "id": self.id,
            "status": self.status,
            "type": self.kind,
            "params": [{"type": name, "value": text(value)} for name, value in self.wanted.items()],
            "createdAt": self.created,
            "errors": self.errors,
        }


def start(cluster, kind, wanted, change):
    """Begins an update of a cluster, one at a time."""
    if cluster.status == "UPDATING":
        in_use(f"Cannot {kind} because cluster {cluster.name} currently has an update in progress", clusterName=cluster.name)
    if cluster.status != "ACTIVE":
        not_now(f"Cluster '{cluster.name}' is not in ACTIVE status", clusterName=cluster.name)
    update = Update(cluster, kind, wanted)
    cluster.updates[update.id] = update

    def done():
        failure = cluster.backend.knobs.failure("cluster-update", cluster.name)
        if failure:
            update.fail(issue_of(failure, "Unknown", "said the bench", cluster.name))
        else:
            change()
            update.settle("Successful")
        cluster.write_logs()
        return cluster.settle("ACTIVE")

    cluster.busy("UPDATING", cluster.backend.knobs.seconds("cluster-update", cluster.name), done)
    return {"update": update}


@call
def update_cluster_config(backend, parameters):
    cluster = backend.cluster(parameters["name"])
    kinds = {"resourcesVpcConfig", "logging", "accessConfig", "upgradePolicy", "deletionProtection"}
    asked = [kind for kind in sorted(kinds) if parameters.get(kind) is not None]
    if len(asked) != 1:
        invalid("Only one type of update can be allowed." if asked else "No update was asked for.", clusterName=cluster.name)
    return UPDATES[asked[0]](cluster, parameters[asked[0]])


def network(cluster: Cluster, asked):
    """Who reaches the endpoint, or where the interfaces are, one of both."""
    asked = {name: value for name, value in asked.items() if value is not None}
    places = {"subnetIds", "securityGroupIds"} & asked.keys()
    if places and asked.keys() - places:
        invalid("Only one type of update can be allowed.", clusterName=cluster.name)
    wanted = {**cluster.network, **asked}
    check_network(wanted)
    if places:
        subnets = subnets_of(cluster.backend, wanted["subnetIds"])
        if subnets[0].vpc_id != cluster.network["vpcId"]:
            invalid("Subnets must be in the VPC that the cluster has", clusterName=cluster.name)
        told = {"Subnets": wanted["subnetIds"], "SecurityGroups": wanted["securityGroupIds"]}
        return start(cluster, "VpcConfigUpdate", told, lambda: cluster.network.update(wanted))
    if {name: sorted_list(value) for name, value in wanted.items()} == {
        name: sorted_list(value) for name, value in cluster.network.items()
    }:
        invalid(
            "Cluster is already at the desired configuration with endpointPrivateAccess: "
            f"{str(wanted['endpointPrivateAccess']).lower()} , endpointPublicAccess: "
            f"{str(wanted['endpointPublicAccess']).lower()}, and Public Endpoint Restrictions: {wanted['publicAccessCidrs']}",
            clusterName=cluster.name,
        )
    told = {
        "EndpointPublicAccess": wanted["endpointPublicAccess"],
        "EndpointPrivateAccess": wanted["endpointPrivateAccess"],
        "PublicAccessCidrs": wanted["publicAccessCidrs"],
    }
    return start(cluster, "EndpointAccessUpdate", told, lambda: cluster.network.update(wanted))


def sorted_list(value):
    return sorted(value) if isinstance(value, list) else value


def logging(cluster, asked):
    wanted = logging_of(asked, kept(cluster.logging))
    if kept(wanted) == kept(cluster.logging):
        invalid("No changes needed for the logging config provided", clusterName=cluster.name)
    return start(cluster, "LoggingUpdate", {"ClusterLogging": wanted}, lambda: setattr(cluster, "logging", wanted))


def access(cluster, asked):
    """Only towards the API (https://docs.aws.amazon.com/eks/latest/userguide/setting-up-access-entries.html)."""
    modes = ["CONFIG_MAP", "API_AND_CONFIG_MAP", "API"]
    wanted = asked.get("authenticationMode") or cluster.authentication
    if modes.index(wanted) <= modes.index(cluster.authentication):
        invalid(
            f"Unsupported authentication mode update from {cluster.authentication} to {wanted}", clusterName=cluster.name
        )
    told = {"AuthenticationMode": wanted}
    return start(cluster, "AccessConfigUpdate", told, lambda: setattr(cluster, "authentication", wanted))


def support(cluster, asked):
    """To STANDARD only while the version is in standard support."""
    wanted = asked["supportType"]
    if wanted == cluster.support:
        invalid(f"Cluster already has support type {wanted}", clusterName=cluster.name)
    if wanted == "STANDARD" and catalog.support(cluster.version) != catalog.STANDARD:
        invalid(f"Version {cluster.version} is in extended support", clusterName=cluster.name)
    return start(cluster, "UpgradePolicyUpdate", {"UpgradePolicy": asked}, lambda: setattr(cluster, "support", wanted))


def protection(cluster, asked):
    return start(
        cluster, "DeletionProtectionUpdate", {"DeletionProtection": asked}, lambda: setattr(cluster, "protected", asked)
    )


UPDATES = {
    "resourcesVpcConfig": network,
    "logging": logging,
    "accessConfig": access,
    "upgradePolicy": support,
    "deletionProtection": protection,
}


@call
def update_cluster_version(backend, parameters):
    cluster, version = backend.cluster(parameters["name"]), parameters["version"]
    check_version(version)
    if version == cluster.version:
        invalid(f"Cluster is already at version {version}", clusterName=cluster.name)
    if catalog.minor(version) != catalog.minor(cluster.version) + 1:
        invalid(
            f"Unsupported Kubernetes minor version update from {cluster.version} to {version}", clusterName=cluster.name
        )
    for group in cluster.nodegroups.values():
        # https://docs.aws.amazon.com/eks/latest/userguide/update-cluster.html
        if catalog.minor(version) - catalog.minor(group.version) > 3:
            not_now(f"Nodegroups {group.name} must be updated to match cluster version", clusterName=cluster.name)
    told = {"Version": version, "PlatformVersion": catalog.PLATFORM}
    return start(cluster, "VersionUpdate", told, lambda: setattr(cluster, "version", version))


def updates(backend, parameters):
    """Returns the updates of a cluster, or of the node group or add-on that a call names."""
    cluster = backend.cluster(parameters["name"])
    whose = (parameters.get("nodegroupName"), parameters.get("addonName"))
    return {name: each for name, each in cluster.updates.items() if (each.nodegroup, each.addon) == whose}


@call
def describe_update(backend, parameters):
    found = updates(backend, parameters).get(parameters["updateId"])
    if found is None:
        missing(f"An update was not found with ID {parameters['updateId']}", clusterName=parameters["name"])
    return {"update": found}


@call
def list_updates(backend, parameters):
    names, token = paged(updates(backend, parameters), parameters)
    return {"updateIds": names, "nextToken": token}
