"""EKS: managed node groups, their instances, and the nodes that the API server behind the cluster is told of."""

import sys
import uuid

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS

from . import catalog
from .cluster import check_tags, take_service_role
from .control import control
from .state import Refused, Thing, call, in_use, invalid, issue, issue_of, missing, paged
from .update import Update

# https://docs.aws.amazon.com/eks/latest/userguide/service-quotas.html
MOST_NODES, MOST_GROUPS = 450, 30
# GiB of a node's disk where nothing is said of it
# (https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateNodegroup.html).
DISK_GIB = 20
# Either lets the kubelet sign in (https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html).
WORKER_POLICIES = {"AmazonEKSWorkerNodePolicy", "AmazonEKSWorkerNodeMinimalPolicy"}
IMAGE_POLICIES = {"AmazonEC2ContainerRegistryPullOnly", "AmazonEC2ContainerRegistryReadOnly"}
CNI_POLICY = "AmazonEKS_CNI_Policy"
# Seconds a node group waits for nodes that do not become ready.
LATE = 60


class Nodegroup(Thing):
    """A managed node group."""

    def __init__(self, cluster, parameters, template, subnets):
        backend, name = cluster.backend, parameters["nodegroupName"]
        arn = backend.arn_of(f"nodegroup/{cluster.name}/{name}/{uuid.uuid4()}")
        super().__init__(backend, arn, parameters.get("tags"))
        self.cluster, self.name, self.role = cluster, name, parameters["nodeRole"]
        self.types = parameters.get("instanceTypes") or []
        self.scaling = scaling_of(parameters.get("scalingConfig") or {}, {"minSize": 1, "maxSize": 2, "desiredSize": 2})
        self.subnets, self.labels = subnets, dict(parameters.get("labels") or {})
        self.taints = list(parameters.get("taints") or [])
        self.version = parameters.get("version") or cluster.version
        self.release = parameters.get("releaseVersion") or catalog.release_version(self.version, backend.knobs.release)
        self.template, self.capacity = template, parameters.get("capacityType") or "ON_DEMAND"
        self.disk = None if template else parameters.get("diskSize") or DISK_GIB
        self.image = parameters.get("amiType") or "AL2023_x86_64_STANDARD"
        self.update_config = parameters.get("updateConfig") or {"maxUnavailable": 1}
        self.repair = parameters.get("nodeRepairConfig") or {"enabled": False}
        self.group = f"eks-{name}-{uuid.uuid4()}"
        self.instances, self.type, self.waited, self.nodes_told = [], None, 0.0, False

    def document(self):
        made = self.status != "CREATING" or self.instances
        template = self.template and {
            "id": self.template["id"],
            "name": self.template["name"],
            "version": self.template["version"],
        }
        return {
            "nodegroupName": self.name,
            "nodegroupArn": self.arn,
            "clusterName": self.cluster.name,
            "version": self.version,
            "releaseVersion": self.release,
            "createdAt": self.created,
            "modifiedAt": self.modified,
            "status": self.status,
            "capacityType": self.capacity,
            "scalingConfig": self.scaling,
            # From the launch template, they are not told here.
            "instanceTypes": self.types or (None if self.template else ["t3.medium"]),
            "subnets": self.subnets,
            "amiType": self.image,
            "nodeRole": self.role,
            "labels": self.labels,
            "taints": self.taints or None,
            "resources": {"autoScalingGroups": [{"name": self.group}]} if made else None,
            "diskSize": self.disk,
            "health": self.health(),
            "updateConfig": self.update_config,
            "nodeRepairConfig": self.repair,
            "launchTemplate": template,
            "tags": self.tags,
        }

    def data(self):
        """Returns what the launch template says."""
        if not self.template:
            return {}
        template = self.backend.ec2.launch_templates.get(self.template["id"])
        return template.get_version(int(self.template["version"])).data if template else {}

    def candidates(self):
        return self.types or [self.data().get("InstanceType") or "t3.medium"]

    def launched(self):
        """The instances are there; the group becomes active once they are nodes."""
        failure = self.backend.knobs.failure("nodegroup", self.name)
        if failure:
            if failure.get("instances"):
                self.scale()
            text = failure.get("message", "Instances failed to join the kubernetes cluster")
            found = issue_of({**failure, "message": text}, "NodeCreationFailure", text, *self.instances)
            return self.settle(failure.get("status", "CREATE_FAILED"), [found])
        if problem := self.scale():
            return self.settle("CREATE_FAILED", [problem])
        return self.joined()

    def joined(self):
        """Becomes active once its nodes are ready, and fails when that takes too long."""
        problem = self.unready()
        if problem is None:
            problem = self.tell()
        if problem is None:
            return self.settle("ACTIVE")
        self.waited += 0.1
        if self.waited >= self.backend.knobs.seconds("nodes-late", default=LATE):
            return self.settle("CREATE_FAILED", [problem])
        self.then = self.joined
        self.later(0.1, self.joined)
        return None

    def unready(self):
        """Returns why the nodes are not ready: a node needs its policies and the network add-on."""
        role = self.backend.role(self.role)
        if role is None:
            return issue("IamNodeRoleNotFound", f"The node role {self.role} could not be found", self.role)
        policies = self.backend.attached(role)
        if not policies & WORKER_POLICIES:
            return issue("NodeCreationFailure", "Instances failed to join the kubernetes cluster", *self.instances)
        unhealthy = issue("NodeCreationFailure", "Unhealthy nodes in the kubernetes cluster", *self.instances)
        cni = self.cluster.addons.get("vpc-cni")
        if cni is None and "vpc-cni" not in self.cluster.self_managed:
            return unhealthy
        if cni is not None and cni.status in ("CREATING", "CREATE_FAILED"):
            return unhealthy
        allowed = set(policies)
        # Service accounts get their roles from the agent on each node.
        agent = self.cluster.addons.get("eks-pod-identity-agent")
        agent_runs = agent is not None and agent.status not in ("CREATING", "CREATE_FAILED")
        for association in self.cluster.associations.values():
            if agent_runs and (association.namespace, association.account) == ("kube-system", "aws-node"):
                taken = self.backend.role(association.role)
                allowed |= self.backend.attached(taken) if taken else set()
        if cni is not None and cni.role and (taken := self.backend.role(cni.role)):
            allowed |= self.backend.attached(taken)
        if CNI_POLICY not in allowed or not policies & IMAGE_POLICIES:
            return unhealthy
        return None

    def scale(self):
        """Launches or ends instances until there are as many as wanted; returns what goes wrong."""
        wanted = self.scaling["desiredSize"]
        if len(self.instances) > wanted:
            surplus, self.instances = self.instances[wanted:], self.instances[:wanted]
            self.end(surplus)
        short = set(self.backend.knobs.fail.get("capacity") or [])
        while len(self.instances) < wanted:
            kind = next((kind for kind in self.candidates() if kind not in short), None)
            if kind is None:
                kind = self.candidates()[0]
                zone = self.backend.ec2.get_subnet(self.subnets[0]).availability_zone
                return issue(
                    "AsgInstanceLaunchFailures",
                    "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have "
                    f"sufficient {kind} capacity in the Availability Zone you requested ({zone}). Our system will be "
                    "working on provisioning additional capacity. Launching EC2 instance failed.",
                    self.group,
                )
            self.type = kind
            self.launch(kind, self.subnets[len(self.instances) % len(self.subnets)])
        return None

    def launch(self, kind, subnet):
        """Launches an instance: tags are the launch template's and those of EKS, not those of the node group."""
        ec2, data = self.backend.ec2, self.data()
        tags = {"instance": {}, "volume": {}}
        for specification in data.get("TagSpecifications") or []:
            pairs = {tag["Key"]: tag["Value"] for tag in specification.get("Tags") or specification.get("Tag") or []}
            tags.setdefault(specification["ResourceType"], {}).update(pairs)
        tags["instance"].update(
            {
                "eks:cluster-name": self.cluster.name,
                "eks:nodegroup-name": self.name,
                f"kubernetes.io/cluster/{self.cluster.name}": "owned",
                "aws:autoscaling:groupName": self.group,
            }
        )
        groups = data.get("SecurityGroupIds") or [group for group in [self.cluster.group] if group]
        reservation = ec2.run_instances(
            catalog.IMAGE,
            1,
            None,
            [],
            instance_type=kind,
            is_instance_type_default=False,
            region_name=self.backend.region_name,
            subnet_id=subnet,
            security_group_ids=list(groups),
            nics=[],
            tags=tags,
            metadata_options=data.get("MetadataOptions") or {},
            block_device_mappings=self.disks(data),
            launch_template={},
            instance_market_options={},
        )
        self.instances.append(reservation.instances[0].id)

    def disks(self, data):
        """Returns the disks of a node: the image's root with what the launch template says of it, and others."""
        root = {"VolumeSize": self.disk or DISK_GIB, "VolumeType": "gp3", "DeleteOnTermination": True, "Encrypted": False}
        disks = {"/dev/xvda": root}
        for mapping in data.get("BlockDeviceMappings") or []:
            ebs = {name: value for name, value in (mapping.get("Ebs") or {}).items() if value is not None}
            disks.setdefault(mapping["DeviceName"], {"DeleteOnTermination": True, "Encrypted": False}).update(ebs)
        for ebs in disks.values():
            for name in ("DeleteOnTermination", "Encrypted"):
                ebs[name] = str(ebs[name]).lower() == "true"
            for name in ("SnapshotId", "KmsKeyId", "Iops"):
                ebs.setdefault(name, None)
        return [
            {"DeviceName": name, "NoDevice": None, "VirtualName": None, "Ebs": ebs} for name, ebs in disks.items()
        ]

    def end(self, ids):
        there = [name for name in ids if name in {each.id for each in self.backend.ec2.all_instances()}]
        if there:
            self.backend.ec2.terminate_instances(there)

    def tell(self):
        """Tells the API server's bench of the nodes; returns what goes wrong."""
        labels = {
            **self.labels,
            "eks.amazonaws.com/nodegroup": self.name,
            "eks.amazonaws.com/capacityType": self.capacity,
        }
        body = {"count": len(self.instances), "instance_type": self.type or self.candidates()[0], "labels": labels}
        if why := self.control("PUT", body):
            return issue("NodeCreationFailure", f"Instances failed to join the kubernetes cluster: {why}", *self.instances)
        self.nodes_told = True
        return None

    def control(self, method, body=None):
        """Says of the nodes what the API server's bench shall know; returns what goes wrong."""
        return control(self.backend.knobs, method, f"nodes/{self.cluster.name}/{self.name}", body)

    def gone(self):
        """Is no more, with its instances."""
        failure = self.backend.knobs.failure("nodegroup-deletion", self.name)
        if failure:
            found = issue_of(failure, "Ec2SecurityGroupDeletionFailure", "said the bench", self.name)
            return self.settle(failure.get("status", "DELETE_FAILED"), [found])
        if self.nodes_told and (why := self.control("DELETE")):
            sys.stderr.write(f"nodes of {self.name}: {why}\n")
        self.end(self.instances)
        self.cluster.nodegroups.pop(self.name, None)
        self.settle("DELETING")
        others = {group.role for group in self.cluster.nodegroups.values()}
        entry = self.cluster.entries.get(self.role)
        if self.role not in others and entry is not None and entry.kind == "EC2_LINUX" and entry.by_eks:
            self.cluster.entries.pop(self.role)
        return None


def scaling_of(asked, before):
    """Returns limits and size, checked."""
    scaling = {**before, **{name: value for name, value in asked.items() if value is not None}}
    least, most, wanted = scaling["minSize"], scaling["maxSize"], scaling["desiredSize"]
    if least < 0 or most < 1 or most > MOST_NODES:
        invalid(f"Sizes are 0 to {MOST_NODES}, the maximum at least 1")
    if least > wanted:
        invalid(f"Minimum capacity {least} can't be greater than desired size {wanted}")
    if wanted > most:
        invalid(f"Desired capacity {wanted} can't be greater than max size {most}")
    return scaling


def template_of(backend, asked):
    """Returns the launch template of a node group, with its version as a number."""
    if not asked:
        return None
    if bool(asked.get("id")) == bool(asked.get("name")):
        invalid("You must specify either the launch template ID or the launch template name in the request.")
    templates = backend.ec2.launch_templates
    template = next(
        (each for each in templates.values() if each.id == asked.get("id") or each.name == asked.get("name")), None
    )
    if template is None:
        invalid(f"Launch template {asked.get('id') or asked.get('name')} could not be found")
    version = asked.get("version") or "$Default"
    number = {"$Default": template.default_version_number, "$Latest": template.latest_version_number}.get(version, version)
    if not str(number).isdigit() or not 1 <= int(number) <= len(template.versions):
        invalid(f"Launch template version {version} of {template.id} could not be found")
    data = template.get_version(int(number)).data
    # https://docs.aws.amazon.com/eks/latest/userguide/launch-templates.html
    for name, words in (
        ("IamInstanceProfile", "an IAM instance profile"),
        ("HibernationOptions", "hibernation"),
        ("InstanceMarketOptions", "market options"),
    ):
        if data.get(name):
            invalid(f"Launch template {template.id} should not specify {words}. The noted field must be removed.")
    if any(interface.get("SubnetId") for interface in data.get("NetworkInterfaces") or []):
        invalid(f"Launch template {template.id} should not specify a subnet. The noted field must be removed.")
    return {"id": template.id, "name": template.name, "version": str(number), "data": data}


@call
def create_nodegroup(backend, parameters):
    cluster, name = backend.active_cluster(parameters["clusterName"]), parameters["nodegroupName"]
    names = {"clusterName": cluster.name, "nodegroupName": name}
    if name in cluster.nodegroups:
        in_use(f"NodeGroup already exists with name {name} and cluster name {cluster.name}", **names)
    if not 1 <= len(name) <= 63 or not name[0].isalnum() or not all(c.isalnum() or c in "-_" for c in name):
        invalid("The nodegroup name can't be longer than 63 characters, of letters, digits, hyphens and underscores", **names)
    if len(cluster.nodegroups) >= MOST_GROUPS:
        raise Refused("ResourceLimitExceededException", f"The number of node groups is limited to {MOST_GROUPS}", 400)
    check_tags(parameters.get("tags"))
    role = backend.role(parameters["nodeRole"])
    if role is None:
        invalid(f"The role with name {parameters['nodeRole'].rpartition('/')[2]} cannot be found.", **names)
    if not backend.trusts(role, "ec2.amazonaws.com", ["sts:AssumeRole"]):
        invalid(
            "Following required service principals [ec2.amazonaws.com] were not found in the trust relationships of "
            f"nodeRole {role.arn}",
            **names,
        )
    template = template_of(backend, parameters.get("launchTemplate"))
    if template:
        for key, words in (("diskSize", "Disk size"), ("remoteAccess", "Remote access configuration")):
            if parameters.get(key):
                invalid(f"{words} must be specified within the launch template.", **names)
        if template["data"].get("InstanceType") and parameters.get("instanceTypes"):
            invalid("Instance types must be specified either in the launch template or in the request, not both.", **names)
        if template["data"].get("ImageId") and any(parameters.get(key) for key in ("version", "releaseVersion", "amiType")):
            invalid("You cannot specify an AMI type or version if the launch template has an image.", **names)
    check_types(backend, parameters.get("instanceTypes") or [], parameters.get("amiType"), names)
    version = parameters.get("version") or cluster.version
    newest = catalog.minor(cluster.version)
    # https://kubernetes.io/releases/version-skew-policy/#kubelet
    if catalog.support(version) is None or not newest - 3 <= catalog.minor(version) <= newest:
        invalid(f"Requested Nodegroup version {version} is not allowed with cluster version {cluster.version}", **names)
    subnets = parameters.get("subnets") or []
    for subnet in subnets:
        try:
            found = backend.ec2.get_subnet(subnet)
        except EC2ClientError:
            invalid(f"The subnet ID '{subnet}' does not exist", **names)
        if found.vpc_id != cluster.network["vpcId"]:
            invalid(f"Subnet {subnet} is not in the VPC of the cluster", **names)
    if not subnets:
        invalid("At least one subnet is needed", **names)
    for label in parameters.get("labels") or {}:
        if label.startswith(("kubernetes.io/", "k8s.io/", "eks.amazonaws.com/")):
            invalid(f"Label cannot contain reserved prefixes [kubernetes.io/, k8s.io/, eks.amazonaws.com/]: {label}", **names)
    take_service_role(backend, "eks-nodegroup.amazonaws.com")
    take_service_role(backend, "autoscaling.amazonaws.com")
    group = Nodegroup(cluster, parameters, template, subnets)
    cluster.nodegroups[name] = group
    from .access import admit_nodes

    admit_nodes(cluster, group.role)
    group.busy("CREATING", backend.knobs.seconds("nodegroup", name), group.launched)
    return {"nodegroup": group}


def check_types(backend, types, image, names):
    """Refuses types that the region does not have."""
    offered = {row["InstanceType"] for row in INSTANCE_TYPE_OFFERINGS["region"].get(backend.region_name, ())}
    for kind in types:
        if kind not in offered:
            invalid(f"[{kind}] is not a valid instance type for requested amiType {image or 'AL2023_x86_64_STANDARD'}", **names)


def nodegroup(backend, parameters):
    """Returns the node group that a call names."""
    cluster, name = backend.cluster(parameters["clusterName"]), parameters["nodegroupName"]
    if name not in cluster.nodegroups:
        missing(f"No node group found for name: {name}.", clusterName=cluster.name, nodegroupName=name)
    return cluster.nodegroups[name]


@call
def describe_nodegroup(backend, parameters):
    return {"nodegroup": nodegroup(backend, parameters)}


@call
def list_nodegroups(backend, parameters):
    names, token = paged(backend.cluster(parameters["clusterName"]).nodegroups, parameters)
    return {"nodegroups": names, "nextToken": token}


@call
def delete_nodegroup(backend, parameters):
    group = nodegroup(backend, parameters)
    if group.status in ("DELETING", "UPDATING"):
        in_use(f"Nodegroup {group.name} currently has status {group.status}", nodegroupName=group.name)
    group.busy("DELETING", backend.knobs.seconds("nodegroup-deletion", group.name), group.gone)
    return {"nodegroup": group}


def start(group, kind, wanted, change):
    """Begins an update of a node group."""
    if group.status not in ("ACTIVE", "DEGRADED"):
        in_use(f"Nodegroup {group.name} currently has status {group.status}", nodegroupName=group.name)
    update = Update(group.cluster, kind, wanted, nodegroup=group.name)
    group.cluster.updates[update.id] = update

    def done():
        failure = group.backend.knobs.failure("nodegroup-update", group.name)
        problem = None if failure else change()
        if failure or problem:
            found = issue_of(failure, "PodEvictionFailure", "said the bench", group.name) if failure else problem
            update.fail(found)
            # The group goes on with what it had.
            return group.settle(failure.get("status", "ACTIVE") if failure else "DEGRADED", [] if failure else [problem])
        update.settle("Successful")
        return group.settle("ACTIVE")

    group.busy("UPDATING", group.backend.knobs.seconds("nodegroup-update", group.name), done)
    return {"update": update}


@call
def update_nodegroup_config(backend, parameters):
    group = nodegroup(backend, parameters)
    scaling = scaling_of(parameters.get("scalingConfig") or {}, group.scaling)
    wanted = {
        "MinSize": scaling["minSize"],
        "MaxSize": scaling["maxSize"],
        "DesiredSize": scaling["desiredSize"],
    }
    labels = parameters.get("labels") or {}
    if labels.get("addOrUpdateLabels"):
        wanted["LabelsToAdd"] = labels["addOrUpdateLabels"]
    if labels.get("removeLabels"):
        wanted["LabelsToRemove"] = labels["removeLabels"]

    def change():
        group.scaling = scaling
        group.labels.update(labels.get("addOrUpdateLabels") or {})
        for name in labels.get("removeLabels") or []:
            group.labels.pop(name, None)
        group.update_config = parameters.get("updateConfig") or group.update_config
        group.repair = parameters.get("nodeRepairConfig") or group.repair
        return group.scale() or group.tell()

    return start(group, "ConfigUpdate", wanted, change)


@call
def update_nodegroup_version(backend, parameters):
    group = nodegroup(backend, parameters)
    version = parameters.get("version") or group.version
    if catalog.support(version) is None or catalog.minor(version) > catalog.minor(group.cluster.version):
        invalid(
            f"Requested Nodegroup version {version} is not allowed with cluster version {group.cluster.version}",
            nodegroupName=group.name,
        )
    if catalog.minor(version) < catalog.minor(group.version):
        invalid(f"Nodegroup {group.name} cannot go back to version {version}", nodegroupName=group.name)
    template = template_of(backend, parameters.get("launchTemplate")) or group.template
    if (template and template["id"]) != (group.template and group.template["id"]):
        invalid("You cannot change the launch template of a node group, only its version.", nodegroupName=group.name)
    newest = catalog.release_version(version, backend.knobs.release)
    release = parameters.get("releaseVersion") or newest
    patch, _, day = release.rpartition("-")
    if not patch.startswith(f"{version}.") or not day.isdigit() or day > newest.rpartition("-")[2]:
        invalid(f"Requested release version {release} is not valid for kubernetes version {version}.", nodegroupName=group.name)
    if version == group.version and day < group.release.rpartition("-")[2]:
        # https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateNodegroupVersion.html
        invalid(f"Nodegroup {group.name} cannot go back to release version {release}", nodegroupName=group.name)
    wanted = {"Version": version, "ReleaseVersion": release}
    if template:
        wanted["LaunchTemplateVersion"] = template["version"]

    def change():
        group.version, group.release, group.template = version, release, template
        # Every node is another one afterwards, and what runs on those before is evicted.
        before, group.instances = group.instances, []
        problem = group.scale()
        if not problem and group.nodes_told:
            why = group.control("DELETE")
            problem = issue("NodeCreationFailure", why, *before) if why else None
        group.end(before)
        return problem or group.tell()

    return start(group, "VersionUpdate", wanted, change)


