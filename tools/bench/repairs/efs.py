"""EFS: states that take their time, tokens, and what AWS refuses and moto accepts.

How long things take is set as for EKS: see `knobs.py`.
"""

import time

from moto.efs.exceptions import (
    BadRequest,
    EFSError,
    FileSystemAlreadyExists,
    FileSystemInUse,
    FileSystemNotFound,
    MountTargetNotFound,
)
from moto.efs.models import EFSBackend
from moto.efs.responses import EFSResponse
from moto.efs.urls import response, url_paths
from moto.iam.models import iam_backends

from . import knobs, replaces

TOKEN_LENGTH = 64
MOST_GROUPS = 5


def repair():
    """Does all of it."""
    take_time()
    honour_creation_tokens()
    guard_deletions()
    check_mount_targets()
    tag_by_arn_too()
    # One for all: an ARN in a path has slashes, which moto's patterns do not take.
    url_paths.clear()
    url_paths["{0}/.*$"] = response.dispatch


def seconds(backend, kind):
    return knobs.of(backend.account_id).seconds(kind)


def advance(backend):
    """Lets what is due happen: what is created becomes available, what is deleted is gone."""
    moment = time.monotonic()
    for target in list(backend.mount_targets_by_id.values()):
        if getattr(target, "_due", None) is not None and target._due <= moment:
            target._due = None
            if target.life_cycle_state == "deleting":
                backend.bench_delete_mount_target(target.mount_target_id)
            else:
                target.life_cycle_state = "available"
    for system in list(backend.file_systems_by_id.values()):
        if getattr(system, "_due", None) is not None and system._due <= moment:
            system._due = None
            if system.life_cycle_state == "deleting":
                backend.file_systems_by_id.pop(system.file_system_id)
                backend.creation_tokens.discard(system.creation_token)
                backend.tagging_service.delete_all_tags_for_resource(system.file_system_id)
            else:
                system.life_cycle_state = "available"


def take_time():
    """Each call first sees what has happened since the last one."""

    @replaces(EFSResponse, "call_action")
    def call_action(method, self):
        advance(self.efs_backend)
        return method(self)

    @replaces(EFSBackend, "create_file_system")
    def create_file_system(create, self, *args, **kwargs):
        system = create(self, *args, **kwargs)
        # On first use (https://docs.aws.amazon.com/efs/latest/ug/using-service-linked-roles.html).
        iam, service = iam_backends[self.account_id][self.partition], "elasticfilesystem.amazonaws.com"
        if not any(role.path == f"/aws-service-role/{service}/" for role in iam.get_roles()):
            iam.create_service_linked_role(service, "", "")
        system.life_cycle_state = "creating"
        system._due = time.monotonic() + seconds(self, "file-system")
        return system

    @replaces(EFSBackend, "create_mount_target")
    def create_mount_target(create, self, *args, **kwargs):
        target = create(self, *args, **kwargs)
        target.life_cycle_state = "creating"
        target._due = time.monotonic() + seconds(self, "mount-target")
        return target


def refuse(code, message, status=400):
    error = EFSError(code, message)
    error.code = status
    raise error


def honour_creation_tokens():
    """CreateFileSystem: the same token is refused with the identity of what it made before."""

    @replaces(EFSBackend, "create_file_system")
    def create_file_system(create, self, *args, **kwargs):
        token = kwargs.get("creation_token") or ""
        if not 1 <= len(token) <= TOKEN_LENGTH:
            raise BadRequest(f"CreationToken needs 1 to {TOKEN_LENGTH} characters")
        mode, throughput = kwargs.get("throughput_mode"), kwargs.get("provisioned_throughput_in_mibps")
        if (mode == "provisioned") != bool(throughput):
            raise BadRequest("ProvisionedThroughputInMibps is needed for, and only for, the mode provisioned")
        for system in self.file_systems_by_id.values():
            if system.creation_token == token:
                error = FileSystemAlreadyExists(token)
                error.description = (
                    '{"__type": "FileSystemAlreadyExists", "ErrorCode": "FileSystemAlreadyExists", '
                    f'"Message": "File system \'{system.file_system_id}\' already exists with creation token '
                    f'\'{token}\'", "FileSystemId": "{system.file_system_id}"}}'
                )
                raise error
        return create(self, *args, **kwargs)


def guard_deletions():
    """DeleteFileSystem: not with mount targets. Both deletions take their time."""
    EFSBackend.bench_delete_mount_target = EFSBackend.delete_mount_target

    def delete_mount_target(self, mount_target_id):
        target = self.mount_targets_by_id.get(mount_target_id)
        if target is None:
            raise MountTargetNotFound(mount_target_id)
        target.life_cycle_state = "deleting"
        target._due = time.monotonic() + seconds(self, "mount-target-deletion")

    def delete_file_system(self, file_system_id):
        system = self.file_systems_by_id.get(file_system_id)
        if system is None:
            raise FileSystemNotFound(file_system_id)
        if system.number_of_mount_targets:
            raise FileSystemInUse("Must delete all mount targets before deleting file system.")
        if any(point.file_system_id == file_system_id for point in self.access_points.values()):
            # Access points go with it.
            for name in [n for n, point in self.access_points.items() if point.file_system_id == file_system_id]:
                self.access_points.pop(name)
        system.life_cycle_state = "deleting"
        system._due = time.monotonic() + seconds(self, "file-system-deletion")

    EFSBackend.delete_mount_target = delete_mount_target
    EFSBackend.delete_file_system = delete_file_system


def check_mount_targets():
    """CreateMountTarget: only on a file system that is available, and the group of its VPC."""

    @replaces(EFSBackend, "create_mount_target")
    def create_mount_target(create, self, file_system_id, subnet_id, ip_address=None, security_groups=None):
        system = self.file_systems_by_id.get(file_system_id)
        if system is None:
            raise FileSystemNotFound(file_system_id)
        if system.life_cycle_state != "available":
            refuse(
                "IncorrectFileSystemLifeCycleState",
                f"File system {file_system_id} is {system.life_cycle_state}; it needs to be available",
                409,
            )
        target = create(self, file_system_id, subnet_id, ip_address, security_groups)
        if not security_groups:
            # The VPC's default group.
            for group in self.ec2_backend.groups[target.vpc_id].values():
                if group.name == "default":
                    target.security_groups = [group.id]
        return target

    @replaces(EFSResponse, "create_mount_target")
    def answer(create, self):
        groups = self._get_param("SecurityGroups") or []
        known = self.efs_backend.ec2_backend.describe_subnets(filters={"subnet-id": [self._get_param("SubnetId")]})
        subnet = next(iter(known), None)
        for name in groups[:MOST_GROUPS]:
            group = self.efs_backend.ec2_backend.get_security_group_from_id(name)
            if group and subnet and group.vpc_id != subnet.vpc_id:
                refuse("SecurityGroupNotFound", f"Security group {name} is not in the VPC of the subnet")
        return create(self)


def tag_by_arn_too():
    """Resources are named by identity or ARN; what is not there has no tags."""
    for name in ("list_tags_for_resource", "tag_resource", "untag_resource"):

        @replaces(EFSBackend, name)
        def by_identity(method, self, resource_id, *args):
            known = resource_id.rpartition("/")[2]
            if known.startswith("fs-") and known not in self.file_systems_by_id:
                raise FileSystemNotFound(known)
            return method(self, known, *args)
