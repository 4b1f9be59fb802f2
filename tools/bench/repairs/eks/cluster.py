"""EKS: clusters and versions."""

import ipaddress
import re

from moto.ec2.exceptions import EC2ClientError

from . import catalog
from .control import control
from .state import Refused, Thing, call, hexadecimal, in_use, invalid, issue, issue_of, not_now, paged

NAME = re.compile(r"[0-9A-Za-z][A-Za-z0-9_-]{0,99}")
LOG_TYPES = {"api", "audit", "authenticator", "controllerManager", "scheduler"}
EVERYWHERE = "0.0.0.0/0"
# https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
FREE_ADDRESSES = 6
MOST_CIDRS = 40
# https://docs.aws.amazon.com/eks/latest/userguide/service-quotas.html
MOST_CLUSTERS = 100


class Cluster(Thing):
    """A cluster."""

    def __init__(self, backend, parameters, subnets):
        name = parameters["name"]
        super().__init__(backend, backend.arn_of(f"cluster/{name}"), parameters.get("tags"))
        self.name, self.role, self.token = name, parameters["roleArn"], parameters.get("clientRequestToken")
        self.version = parameters.get("version") or catalog.DEFAULT
        self.network = {"endpointPublicAccess": True, "endpointPrivateAccess": False, "publicAccessCidrs": [EVERYWHERE]}
        self.network.update({key: value for key, value in parameters["resourcesVpcConfig"].items() if value is not None})
        self.network.setdefault("securityGroupIds", [])
        self.network["vpcId"] = subnets[0].vpc_id
        self.logging = logging_of(parameters.get("logging"), [])
        self.encryption = parameters.get("encryptionConfig") or []
        access = parameters.get("accessConfig") or {}
        self.authentication = access.get("authenticationMode") or "CONFIG_MAP"
        self.bootstrap_admin = access.get("bootstrapClusterCreatorAdminPermissions", True)
        self.self_managed = set(catalog.SELF_MANAGED) if parameters.get("bootstrapSelfManagedAddons", True) else set()
        self.support = (parameters.get("upgradePolicy") or {}).get("supportType") or "EXTENDED"
        self.compute = parameters.get("computeConfig") or {"enabled": False}
        self.service_cidr = (parameters.get("kubernetesNetworkConfig") or {}).get("serviceIpv4Cidr") or "172.20.0.0/16"
        self.protected = bool(parameters.get("deletionProtection"))
        self.issuer = hexadecimal(32).upper()
        self.nodegroups, self.profiles, self.addons = {}, {}, {}
        self.entries, self.associations, self.updates = {}, {}, {}
        self.interfaces, self.group = [], None

    def things(self):
        for kind in (self.nodegroups, self.profiles, self.addons, self.entries, self.associations, self.updates):
            yield from list(kind.values())

    def has_nodes(self):
        """Says whether there is a node."""
        return any(group.instances and group.status != "CREATING" for group in self.nodegroups.values())

    def document(self):
        known = self.backend.knobs.cluster()
        reached = self.status not in ("CREATING", "PENDING", "FAILED")
        document = {
            "name": self.name,
            "arn": self.arn,
            "createdAt": self.created,
            "version": self.version,
            "roleArn": self.role,
            "resourcesVpcConfig": {**self.network, "clusterSecurityGroupId": self.group if reached else None},
            "kubernetesNetworkConfig": {"serviceIpv4Cidr": self.service_cidr, "ipFamily": "ipv4"},
            "logging": self.logging,
            "status": self.status,
            "platformVersion": catalog.PLATFORM,
            "tags": self.tags,
            "encryptionConfig": self.encryption or None,
            "health": self.health(),
            "accessConfig": {
                "authenticationMode": self.authentication,
                "bootstrapClusterCreatorAdminPermissions": self.bootstrap_admin,
            },
            "upgradePolicy": {"supportType": self.support},
            "computeConfig": self.compute if self.compute.get("enabled") else None,
            "deletionProtection": self.protected,
            "clientRequestToken": self.token,
        }
        if reached:
            # The endpoint of EKS has no port; that of a test has.
            document["endpoint"] = known["endpoint"]
            document["certificateAuthority"] = {"data": known["authority"]}
            region = self.backend.region_name
            document["identity"] = {"oidc": {"issuer": f"https://oidc.eks.{region}.amazonaws.com/id/{self.issuer}"}}
        return document

    def made(self):
        """Becomes active, or does not."""
        failure = self.backend.knobs.failure("cluster", self.name)
        if failure:
            issue = issue_of(failure, "Other", "said the bench", self.name)
            return self.settle(failure.get("status", "FAILED"), [issue])
        from .access import bootstrap

        if why := control(self.backend.knobs, "PUT", f"clusters/{self.name}", {}):
            return self.settle("FAILED", [issue("ClusterUnreachable", why, self.name)])
        self.make_network()
        bootstrap(self)
        self.write_logs()
        return self.settle("ACTIVE")

    def make_network(self):
        """Makes the security group and the interfaces of the control plane, as EKS does."""
        ec2 = self.backend.ec2
        group = ec2.create_security_group(
            f"eks-cluster-sg-{self.name}-{hexadecimal(9)}",
            "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes, "
            "as well as any managed workloads.",
            vpc_id=self.network["vpcId"],
            tags={
                "Name": f"eks-cluster-sg-{self.name}",
                f"kubernetes.io/cluster/{self.name}": "owned",
                "aws:eks:cluster-name": self.name,
            },
        )
        self.group = group.id
        for subnet in self.network["subnetIds"][:2]:
            interface = ec2.create_network_interface(
                ec2.get_subnet(subnet), [], group_ids=[group.id], description=f"Amazon EKS {self.name}"
            )
            self.interfaces.append(interface.id)

    def write_logs(self):
        """Makes the log group where logs are kept and nobody has made it before, without retention."""
        if any(kind["enabled"] and kind["types"] for kind in self.logging["clusterLogging"]):
            make_log_group(self.backend, f"/aws/eks/{self.name}/cluster")

    def gone(self):
        """Is no more; what is written last makes the log group again."""
        failure = self.backend.knobs.failure("cluster-deletion", self.name)
        if failure:
            return self.settle("FAILED", [issue_of(failure, "InternalFailure", "said the bench", self.name)])
        control(self.backend.knobs, "DELETE", f"clusters/{self.name}")
        ec2 = self.backend.ec2
        for interface in self.interfaces:
            ec2.enis.pop(interface, None)
        if self.group:
            ec2.groups[self.network["vpcId"]].pop(self.group, None)
        self.write_logs()
        self.settle("DELETING")
        self.backend.clusters.pop(self.name, None)
        return None


def make_log_group(backend, name):
    """Makes a log group if there is none."""
    from moto.logs.models import logs_backends

    logs = logs_backends[backend.account_id][backend.region_name]
    if name not in logs.groups:
        logs.create_log_group(name, {})


def logging_of(asked, before):
    """Returns all kinds of logs, those that are kept first."""
    on = set(before)
    for kind in (asked or {}).get("clusterLogging") or []:
        types = set(kind.get("types") or [])
        if unknown := types - LOG_TYPES:
            invalid(f"Invalid log types: {sorted(unknown)}")
        on = on | types if kind.get("enabled") else on - types
    setups = [{"types": sorted(on), "enabled": True}, {"types": sorted(LOG_TYPES - on), "enabled": False}]
    return {"clusterLogging": [setup for setup in setups if setup["types"]]}


def kept(logging):
    """Returns the kinds of logs that are kept."""
    return {name for kind in logging["clusterLogging"] if kind["enabled"] for name in kind["types"]}


def subnets_of(backend, ids):
    """Returns the subnets of a cluster, checked: two zones of one VPC, each with free addresses."""
    subnets = []
    for name in ids or []:
        try:
            subnets.append(backend.ec2.get_subnet(name))
        except EC2ClientError:
            invalid(f"The subnet ID '{name}' does not exist")
    if len({subnet.availability_zone for subnet in subnets}) < 2:
        invalid("Subnets specified must be in at least two different AZs")
    if len({subnet.vpc_id for subnet in subnets}) > 1:
        invalid("Subnets specified must be in the same VPC")
    for subnet in subnets:
        if subnet.available_ip_address_count < FREE_ADDRESSES:
            invalid(f"Subnet {subnet.id} has not enough free addresses; at least {FREE_ADDRESSES} are needed")
    return subnets


def check_network(network):
    """Refuses endpoints that nobody reaches, and ranges that are none."""
    public, private = network.get("endpointPublicAccess", True), network.get("endpointPrivateAccess", False)
    if not public and not private:
        invalid("Private and public endpoint access cannot be false")
    cidrs = network.get("publicAccessCidrs") or []
    if len(cidrs) > MOST_CIDRS:
        invalid(f"The number of public access CIDRs is limited to {MOST_CIDRS}")
    for cidr in cidrs:
        try:
            block = ipaddress.ip_network(cidr, strict=True)
        except ValueError:
            invalid(f"The following CIDRs are invalid in publicAccessCidrs: [{cidr}]")
        if block.is_private and str(block) != EVERYWHERE:
            # https://docs.aws.amazon.com/eks/latest/userguide/cluster-endpoint.html: reserved addresses are refused.
            invalid(f"The following CIDRs are not allowed in publicAccessCidrs: [{cidr}]")


def check_version(version):
    """Refuses a version that cannot be made any more."""
    if catalog.support(version) in (None, catalog.UNSUPPORTED):
        invalid(f"unsupported Kubernetes version {version}")


def check_tags(tags):
    """Refuses tags that AWS refuses."""
    if len(tags or {}) > 50:
        invalid("The number of tags is limited to 50")
    for name, value in (tags or {}).items():
        if name.lower().startswith("aws:") or not 1 <= len(name) <= 128 or len(value) > 256:
            invalid(f"Invalid tag: {name}")


def take_service_role(backend, service):
    """Makes the service-linked role that EKS makes on first use."""
    if not any(role.path == f"/aws-service-role/{service}/" for role in backend.iam.get_roles()):
        backend.iam.create_service_linked_role(service, "", "")


@call
def create_cluster(backend, parameters):
    name = parameters["name"]
    if not NAME.fullmatch(name):
        invalid(f"The cluster name {name!r} does not match {NAME.pattern}")
    if name in backend.clusters:
        in_use(f"Cluster already exists with name: {name}", clusterName=name)
    if len(backend.clusters) >= MOST_CLUSTERS:
        raise Refused("ResourceLimitExceededException", f"The number of clusters is limited to {MOST_CLUSTERS}", 400)
    check_tags(parameters.get("tags"))
    check_version(parameters.get("version") or catalog.DEFAULT)
    role = backend.role(parameters["roleArn"])
    source = {"aws:SourceArn": backend.arn_of(f"cluster/{name}"), "aws:SourceAccount": backend.account_id}
    if role is None or not backend.trusts(role, "eks.amazonaws.com", ["sts:AssumeRole"], source):
        invalid(
            f"Role with arn: {parameters['roleArn']}, could not be assumed because it does not exist or the trusted "
            "entity is not correct"
        )
    network = parameters["resourcesVpcConfig"]
    subnets = subnets_of(backend, network.get("subnetIds"))
    check_network(network)
    for group in network.get("securityGroupIds") or []:
        if backend.ec2.get_security_group_from_id(group) is None:
            invalid(f"The security group ID '{group}' does not exist")
    for encryption in parameters.get("encryptionConfig") or []:
        if (encryption.get("resources") or []) != ["secrets"]:
            invalid("Only secrets can be encrypted")
        if not ((encryption.get("provider") or {}).get("keyArn") or "").startswith("arn:"):
            invalid("The key must be given by its ARN")
    take_service_role(backend, "eks.amazonaws.com")
    cluster = Cluster(backend, parameters, subnets)
    cluster.creator = backend.caller
    backend.clusters[name] = cluster
    cluster.busy("CREATING", backend.knobs.seconds("cluster", name), cluster.made)
    return {"cluster": cluster}


@call
def describe_cluster(backend, parameters):
    return {"cluster": backend.cluster(parameters["name"])}


@call
def list_clusters(backend, parameters):
    names, token = paged(backend.clusters, parameters)
    return {"clusters": names, "nextToken": token}


@call
def delete_cluster(backend, parameters):
    cluster = backend.cluster(parameters["name"])
    if cluster.status == "DELETING":
        in_use(f"Cannot delete because cluster {cluster.name} currently has an update in progress", clusterName=cluster.name)
    if cluster.status in ("CREATING", "UPDATING"):
        in_use(f"Cannot delete because cluster {cluster.name} currently has an update in progress", clusterName=cluster.name)
    if cluster.nodegroups:
        in_use("Cluster has nodegroups attached", clusterName=cluster.name, nodegroupName=next(iter(cluster.nodegroups)))
    if cluster.profiles:
        in_use("Cluster has Fargate profiles attached", clusterName=cluster.name)
    if cluster.protected:
        not_now(f"Cluster {cluster.name} has deletion protection enabled", clusterName=cluster.name)
    # Everything in it goes with it.
    for kind in (cluster.addons, cluster.entries, cluster.associations):
        kind.clear()
    cluster.busy("DELETING", backend.knobs.seconds("cluster-deletion", cluster.name), cluster.gone)
    return {"cluster": cluster}


@call
def describe_cluster_versions(backend, parameters):
    wanted = parameters.get("clusterVersions") or []
    for version in wanted:
        if catalog.support(version) is None:
            invalid(f"Invalid cluster version: {version}")
    status = parameters.get("versionStatus") or (parameters.get("status") or "").upper().replace("-", "_")
    rows = [
        catalog.cluster_version(row)
        for row in catalog.VERSIONS
        if (not wanted or row[0] in wanted)
        and (not status or row[1] == status)
        and (not parameters.get("defaultOnly") or row[0] == catalog.DEFAULT)
        # What is out of support is only told to who asks for it.
        and (wanted or status or parameters.get("includeAll") or row[1] != catalog.UNSUPPORTED)
    ]
    names, token = paged([row["clusterVersion"] for row in rows], parameters)
    return {"clusterVersions": [row for row in rows if row["clusterVersion"] in names], "nextToken": token}
