"""EC2: what AWS refuses and moto accepts, and what moto forgets of a launch."""

import base64
import hashlib
import json

import moto.ec2.responses.instances as instances_api
from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.amis import Ami
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.elastic_block_store import VolumeAttachment
from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS, INSTANCE_TYPES
from moto.ec2.responses.instances import BLOCK_DEVICE_MAPPING_TEMPLATE, InstanceResponse
from moto.ec2.utils import EC2_PREFIX_TO_RESOURCE, filter_dict_attribute_mapping, get_prefix
from moto.iam.exceptions import NotFoundException

from . import launch_template, replaces

USER_DATA_BYTES = 16384
TOKEN_LENGTH = 64
# Of every image.
ROOT_GIB = 8
# GiB, IOPS, MiB/s, IOPS for each GiB, MiB/s for each IOPS.
GP3 = {"size": 65536, "iops": (3000, 80000), "throughput": (125, 2000), "per_gib": 500, "per_iops": 0.25}
# What moto itself changes as an attribute when it takes the profile from an instance, also from one that ends.
PROFILE = "iam_instance_profile"
# Attributes of an instance that only change while it is stopped.
STOPPED_ONLY = {"instance_type", "user_data", "kernel", "ramdisk", "ebs_optimized"}


def repair():
    """Does all of it."""
    give_default_vpc_internet()
    give_images_a_root_volume()
    show_what_goes_with_the_instance()
    find_instances_fast()
    find_tags_fast()
    keep_launch_parameters()
    launch_as_many_as_asked()
    refuse_bad_launches()
    honour_client_tokens()
    guard_instance_states()
    guard_attributes()
    guard_security_groups()
    launch_template.repair()
    filter_dict_attribute_mapping["client-token"] = "client_token"


def refuse(code, message):
    raise EC2ClientError(code, message)


def give_default_vpc_internet():
    """The default VPC has an internet gateway, and its main route table a way there."""

    @replaces(EC2Backend, "create_default_vpc")
    def create_default_vpc(create, self):
        vpc = create(self)
        gateway = self.create_internet_gateway()
        self.attach_internet_gateway(gateway.id, vpc.id)
        main = self.describe_route_tables(filters={"vpc-id": [vpc.id], "association.main": ["true"]})
        self.create_route(main[0].id, "0.0.0.0/0", gateway_id=gateway.id)
        return vpc


def give_images_a_root_volume():
    """Images have a root volume of 8 GiB gp3 that goes with the instance, as Ubuntu's have."""

    @replaces(Ami, "__init__")
    def init(construct, self, *args, **kwargs):
        construct(self, *args, **kwargs)
        self.ebs_snapshot.volume.size = ROOT_GIB

    def block_device_mappings(self):
        ebs = {
            "SnapshotId": self.ebs_snapshot.id,
            "VolumeSize": self.ebs_snapshot.volume.size,
            "DeleteOnTermination": True,
            "VolumeType": "gp3",
            "Encrypted": False,
        }
        return [{"DeviceName": self.root_device_name, "Ebs": ebs}]

    Ami.block_device_mappings = property(block_device_mappings)


def show_what_goes_with_the_instance():
    """DescribeVolumes says of each attachment whether the volume goes with the instance."""

    def delete_on_termination(self):
        device = self.instance.block_device_mapping.get(self.device)
        return bool(device and device.delete_on_termination)

    VolumeAttachment.delete_on_termination = property(delete_on_termination)


def find_instances_fast():
    """Looks an instance up by its id, in the last launches first; moto goes through all for each volume it attaches."""

    @replaces(EC2Backend, "get_instance")
    def get_instance(get, self, instance_id):
        known = self.__dict__.setdefault("bench_instances", {})
        for reservation in reversed(self.reservations.values()):
            if instance_id in known:
                break
            known.update((instance.id, instance) for instance in reservation.instances)
        return known[instance_id] if instance_id in known else get(self, instance_id)


def image_of(backend, image_id):
    return backend.amis.get(image_id)


def zone_of(response):
    """Returns the zone that a launch asks for, directly or by a subnet."""
    subnet = response._get_param("SubnetId")
    for interface in response._get_param("NetworkInterfaces", []):
        subnet = subnet or interface.get("SubnetId")
    if subnet:
        return response.ec2_backend.get_subnet(subnet).availability_zone
    return response._get_param("Placement.AvailabilityZone")


def zones_with(instance_type, region):
    """Returns the zones of a region, and of these the ones that offer a type."""
    rows = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region, ())
    every = {row["Location"] for row in rows}
    return every, sorted({row["Location"] for row in rows if row["InstanceType"] == instance_type})


def check_type(backend, instance_type, image_id):
    """Refuses types that do not exist or are of another architecture than the image."""
    if instance_type not in INSTANCE_TYPES:
        refuse("InvalidParameterValue", f"Invalid value '{instance_type}' for InstanceType.")
    image = image_of(backend, image_id)
    architectures = INSTANCE_TYPES[instance_type]["ProcessorInfo"]["SupportedArchitectures"]
    if image and image.architecture not in architectures:
        refuse(
            "InvalidParameterValue",
            f"The architecture '{','.join(architectures)}' of the specified instance type does not match the "
            f"architecture '{image.architecture}' of the specified AMI. Specify an instance type and an AMI that have "
            "matching architectures, and try again.",
        )


def check_zone(response, instance_type):
    """Refuses a zone without the type; a launch that names none goes where there is the type, as on AWS."""
    every, zones = zones_with(instance_type, response.region)
    zone = zone_of(response)
    if zone is None and zones:
        if f"{response.region}a" not in zones and not response._get_param("LaunchTemplate"):
            response.params.setdefault("Placement", {})["AvailabilityZone"] = zones[0]
    elif zone in every and zone not in zones:
        refuse(
            "Unsupported",
            f"Your requested instance type ({instance_type}) is not supported in your requested Availability Zone "
            f"({zone}). Please retry your request by not specifying an Availability Zone or choosing "
            f"{', '.join(zones)}.",
        )


def check_user_data(text):
    """Refuses user data of more than 16 KB."""
    try:
        length = len(base64.b64decode(text or ""))
    except ValueError:
        # Moto's to refuse.
        return
    if length > USER_DATA_BYTES:
        refuse("InvalidParameterValue", f"User data is limited to {USER_DATA_BYTES} bytes")


def check_gp3(ebs):
    """Refuses sizes, IOPS and throughput that gp3 does not have."""
    size, iops, throughput = (int(ebs.get(name) or 0) for name in ("VolumeSize", "Iops", "Throughput"))
    if size > GP3["size"]:
        refuse("InvalidParameterValue", f"Volume of size {size}GiB is larger than {GP3['size']}GiB")
    for name, value in (("iops", iops), ("throughput", throughput)):
        low, high = GP3[name]
        if value and not low <= value <= high:
            refuse("InvalidParameterValue", f"Volume {name} of {value} is not between {low} and {high}.")
    if iops > max(size * GP3["per_gib"], GP3["iops"][0]):
        refuse("InvalidParameterValue", f"Iops to volume size ratio is too high; maximum is {GP3['per_gib']}")
    if throughput > (iops or GP3["iops"][0]) * GP3["per_iops"]:
        refuse("InvalidParameterValue", f"Throughput to iops ratio is too high; maximum is {GP3['per_iops']}")


def check_volumes(backend, mappings):
    """Refuses volumes that are too small for their snapshot or have what their type has not."""
    for mapping in mappings:
        ebs = mapping["Ebs"]
        snapshot = backend.snapshots.get(ebs.get("SnapshotId"))
        if snapshot and int(ebs["VolumeSize"]) < snapshot.volume.size:
            refuse(
                "InvalidBlockDeviceMapping",
                f"Volume of size {ebs['VolumeSize']}GB is smaller than snapshot '{snapshot.id}', "
                f"expect size>= {snapshot.volume.size}GB",
            )
        if ebs.get("VolumeType") == "gp3":
            check_gp3(ebs)


def merged_mappings(asked, image):
    """Returns the volumes of a launch: the image's root with what is asked of it, then the others."""
    root = image.block_device_mappings[0] if image else None
    others = [mapping for mapping in asked if root is None or mapping["DeviceName"] != root["DeviceName"]]
    if root is None:
        return others
    ours = [mapping for mapping in asked if mapping["DeviceName"] == root["DeviceName"]]
    ebs = dict(root["Ebs"])
    for mapping in ours:
        ebs.update({name: value for name, value in mapping.get("Ebs", {}).items() if value is not None})
    return [{"DeviceName": root["DeviceName"], "Ebs": ebs}, *others]


def find_tags_fast():
    """Tags of one thing are looked up by its id: moto goes through those of all, for each of thousands of instances."""

    @replaces(TaggedEC2Resource, "get_tags")
    def get_tags(_, self):
        kind = EC2_PREFIX_TO_RESOURCE.get(get_prefix(self.id), "") if self.id else ""
        return [
            {"resource_id": self.id, "key": key, "value": value, "resource_type": kind}
            for key, value in self.ec2_backend.tags.get(self.id, {}).items()
        ]


def keep_launch_parameters():
    """RunInstances: the root volume is the image's; IOPS, throughput and DisableApiTermination are kept."""

    @replaces(InstanceResponse, "_parse_block_device_mapping")
    def parse_block_device_mapping(parse, self):
        asked = self._get_param("BlockDeviceMappings", [])
        template = self._get_param("LaunchTemplate")
        if self._get_action() != "RunInstances" or template or any("NoDevice" in mapping for mapping in asked):
            return parse(self)
        mappings = []
        for mapping in merged_mappings(asked, image_of(self.ec2_backend, self._get_param("ImageId"))):
            self._validate_block_device_mapping(mapping)
            ebs = {**BLOCK_DEVICE_MAPPING_TEMPLATE["Ebs"], "DeleteOnTermination": False, "Encrypted": False}
            mappings.append({**BLOCK_DEVICE_MAPPING_TEMPLATE, **mapping, "Ebs": {**ebs, **mapping["Ebs"]}})
        check_volumes(self.ec2_backend, mappings)
        return mappings

    @replaces(InstanceResponse, "run_instances")
    def run_instances(launch, self):
        answer = launch(self)
        mappings = self._parse_block_device_mapping()
        for instance in answer.result.instances:
            instance.disable_api_termination = bool(self._get_param("DisableApiTermination"))
            for mapping in mappings:
                device = instance.block_device_mapping.get(mapping["DeviceName"])
                volume = self.ec2_backend.volumes.get(device.volume_id) if device else None
                if volume and mapping["Ebs"].get("VolumeType") == "gp3":
                    volume.iops = int(mapping["Ebs"].get("Iops") or GP3["iops"][0])
                    volume.throughput = int(mapping["Ebs"].get("Throughput") or GP3["throughput"][0])
        return answer


def launch_as_many_as_asked():
    """RunInstances: MaxCount instances, there always being room, and all of them with the profile."""

    @replaces(InstanceResponse, "run_instances")
    def run_instances(launch, self):
        least, most = (int(self._get_param(name, 1)) for name in ("MinCount", "MaxCount"))
        if not 1 <= least <= most:
            refuse("InvalidParameterValue", f"MinCount of {least} and MaxCount of {most} are no range")
        self.params["MinCount"] = most
        answer = launch(self)
        arn, name = self._get_param("IamInstanceProfile.Arn"), self._get_param("IamInstanceProfile.Name")
        for instance in answer.result.instances[1:] if arn or name else ():
            self.ec2_backend.associate_iam_instance_profile(
                instance_id=instance.id, iam_instance_profile_name=name, iam_instance_profile_arn=arn
            )
        return answer


def refuse_bad_launches():
    """RunInstances: refuses what AWS refuses, and words a missing instance profile as EC2 does."""

    @replaces(InstanceResponse, "run_instances")
    def run_instances(launch, self):
        check_user_data(self._get_param("UserData"))
        instance_type = self._get_param("InstanceType")
        if instance_type:
            check_type(self.ec2_backend, instance_type, self._get_param("ImageId"))
            check_zone(self, instance_type)
        return launch(self)

    @replaces(instances_api, "filter_iam_instance_profiles")
    def filter_iam_instance_profiles(find, *args, **kwargs):
        arn, name = kwargs.get("iam_instance_profile_arn"), kwargs.get("iam_instance_profile_name")
        kind, value = ("ARN", arn) if arn else ("name", name)
        try:
            profile = find(*args, **kwargs)
        except NotFoundException:
            profile = None
        if profile is None:
            refuse(
                "InvalidParameterValue",
                f"Value ({value}) for parameter iamInstanceProfile.{kind.lower()} is invalid. "
                f"Invalid IAM Instance Profile {kind}",
            )
        if not profile.roles:
            refuse("InvalidParameterValue", f'IAM Instance Profile "{profile.arn}" has no associated IAM Roles')
        return profile


def honour_client_tokens():
    """RunInstances: the same token is the same instance; with other parameters, or once it has ended, an error."""

    @replaces(InstanceResponse, "run_instances")
    def run_instances(launch, self):
        token = self._get_param("ClientToken")
        if not token:
            return launch(self)
        if len(token) > TOKEN_LENGTH or not token.isascii():
            refuse("InvalidParameterValue", f"The client token is not at most {TOKEN_LENGTH} ASCII characters.")
        parameters = {name: value for name, value in self.params.items() if name != "ClientToken"}
        asked = hashlib.sha256(json.dumps(parameters, sort_keys=True, default=str).encode()).digest()
        launched = self.ec2_backend.__dict__.setdefault("bench_launched", {})
        if token not in launched:
            # A launch that fails is not remembered, as on AWS.
            launched[token] = (asked, launch(self))
        before, answer = launched[token]
        if before != asked:
            refuse(
                "IdempotentParameterMismatch",
                f"The client token {token} was used with other parameters before.",
            )
        if all(instance.state == "terminated" for instance in answer.result.instances):
            refuse(
                "IdempotentInstanceTerminated",
                "The instances of the idempotent launch request have been terminated.",
            )
        return answer


def not_in_state(instance, wanted):
    refuse("IncorrectInstanceState", f"The instance '{instance.id}' is not in {wanted}.")


def guard_instance_states():
    """A terminated instance stays so; of several to be ended, one that is protected protects all."""

    for name, wanted, states in (
        ("start_instances", "a state from which it can be started", {"stopped", "running"}),
        ("stop_instances", "a state from which it can be stopped", {"stopped", "running"}),
        ("reboot_instances", "a state from which it can be rebooted", {"running"}),
    ):

        @replaces(EC2Backend, name)
        def change(method, self, instance_ids, wanted=wanted, states=states):
            for instance in self.get_multi_instances_by_id(instance_ids):
                if instance.state not in states:
                    not_in_state(instance, wanted)
            return method(self, instance_ids)

    @replaces(EC2Backend, "terminate_instances")
    def terminate_instances(terminate, self, instance_ids):
        for instance in self.get_multi_instances_by_id(instance_ids):
            if instance.disable_api_termination and instance.state != "terminated":
                refuse(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be terminated. Modify its 'disableApiTermination' instance "
                    "attribute and try again.",
                )
        return terminate(self, instance_ids)


def guard_attributes():
    """ModifyInstanceAttribute: some only while the instance is stopped, none once it has ended."""

    @replaces(EC2Backend, "modify_instance_attribute")
    def modify_instance_attribute(modify, self, instance_id, key, value):
        if key == PROFILE:
            return modify(self, instance_id, key, value)
        instance = self.get_instance(instance_id)
        if instance.state == "terminated" or (key in STOPPED_ONLY and instance.state != "stopped"):
            not_in_state(instance, "the 'stopped' state")
        if key == "instance_type":
            check_type(self, value, instance.image_id)
        if key == "user_data":
            check_user_data(value and value.as_bytes())
        if key in ("disable_api_termination", "disable_api_stop", "ebs_optimized", "source_dest_check"):
            value = str(value).lower() == "true"
        return modify(self, instance_id, key, value)

    @replaces(instances_api, "parse_user_data")
    def parse_user_data(parse, value):
        # Of this call moto has decoded them before, and would once more.
        return parse(base64.b64encode(value).decode() if isinstance(value, bytes) else value)

    @replaces(InstanceResponse, "describe_instance_attribute")
    def describe_instance_attribute(describe, self):
        if self._get_param("Attribute") != "blockDeviceMapping":
            return describe(self)
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        return ActionResult({"InstanceId": instance.id, "BlockDeviceMappings": instance.block_device_mappings})


def uses_group(backend, group_id):
    """Says whether an instance or interface that is still there has the group, or a rule of another names it."""
    for instance in backend.all_instances():
        if instance.state != "terminated" and any(group.id == group_id for group in instance.security_groups):
            return True
    for interface in backend.enis.values():
        ended = interface.instance is not None and interface.instance.state == "terminated"
        if not ended and any(group.id == group_id for group in interface.group_set):
            return True
    for groups in backend.groups.values():
        for group in groups.values():
            for rule in [*group.ingress_rules, *group.egress_rules]:
                if group.id != group_id and (rule.source_group or {}).get("GroupId") == group_id:
                    return True
    return False


def guard_security_groups():
    """DeleteSecurityGroup: neither one in use nor the default one."""

    @replaces(EC2Backend, "_delete_security_group")
    def delete_security_group(delete, self, vpc_id, group_id):
        group = self.get_security_group_from_id(group_id)
        if group and group.name == "default":
            refuse("CannotDelete", f'the specified group: "{group_id}" name: "default" cannot be deleted by a user')
        if uses_group(self, group_id):
            refuse("DependencyViolation", f"resource {group_id} has a dependent object")
        return delete(self, vpc_id, group_id)
