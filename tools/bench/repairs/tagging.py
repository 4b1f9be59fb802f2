"""Tagging API: what is there and has tags, of the services that a deployment uses.

Moto's own list makes a backend of each of its sixty services for each account, which takes longer than most tests, and
knows instances that have ended.
"""

import sys

from moto.resourcegroupstaggingapi.exceptions import ResourceGroupsTaggingAPIError
from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend

LARGEST_PAGE = 100


def ec2_resources(backend):
    """Yields type and resource of what EC2 has and can have tags."""
    for instance in backend.all_instances():
        if instance.state != "terminated":
            yield "instance", instance
    for kind, resources in (
        ("volume", backend.volumes),
        ("snapshot", backend.snapshots),
        ("network-interface", backend.enis),
        ("vpc", backend.vpcs),
        ("route-table", backend.route_tables),
        ("internet-gateway", backend.internet_gateways),
        ("launch-template", backend.launch_templates),
    ):
        for resource in resources.values():
            yield kind, resource
    for kind, nested in (("security-group", backend.groups), ("subnet", backend.subnets)):
        for resources in nested.values():
            for resource in resources.values():
                yield kind, resource


def tagged(backend):
    """Yields ARN, type and tags of everything."""

    def arn(service, rest):
        return f"arn:{backend.partition}:{service}:{backend.region_name}:{backend.account_id}:{rest}"

    ec2 = backend.ec2_backend
    for kind, resource in ec2_resources(ec2):
        yield arn("ec2", f"{kind}/{resource.id}"), f"ec2:{kind}", ec2.tags.get(resource.id, {})
    for alarm in backend.cloudwatch_backend.alarms.values():
        tags = backend.cloudwatch_backend.tagger.get_tag_dict_for_resource(alarm.alarm_arn)
        yield alarm.alarm_arn, "cloudwatch:alarm", tags
    for topic in backend.sns_backend.topics.values():
        yield topic.arn, "sns", topic._tags
    for name, tags in backend.ssm_backend._resource_tags.get("Parameter", {}).items():
        yield arn("ssm", f"parameter/{name.lstrip('/')}"), "ssm:parameter", tags
    for group in backend.logs_backend.groups.values():
        yield group.arn, "logs:log-group", backend.logs_backend.list_tags_for_resource(group.arn)
    for secret in backend.secretsmanager_backend.secrets.values():
        tags = {tag["Key"]: tag["Value"] for tag in getattr(secret, "tags", None) or []}
        yield secret.arn, "secretsmanager:secret", tags
    # Not imported for this alone. Everything of EKS and EFS that has tags is listed
    # (https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/supported-services.html).
    if eks := sys.modules.get("repairs.eks.state"):
        for thing in eks.backends[backend.account_id][backend.region_name].things():
            if thing.arn:
                yield thing.arn, f"eks:{thing.arn.split(':')[5].partition('/')[0]}", thing.tags
    if efs := sys.modules.get("moto.efs.models"):
        files = efs.efs_backends[backend.account_id][backend.region_name]
        for kind, systems in (("file-system", files.file_systems_by_id), ("access-point", files.access_points)):
            for name in systems:
                tags = {tag["Key"]: tag["Value"] for tag in files.list_tags_for_resource(name)}
                yield arn("elasticfilesystem", f"{kind}/{name}"), f"elasticfilesystem:{kind}", tags


def fits(kind, tags, tag_filters, types):
    """Says whether each filter finds its key with one of its values, if it has any, and the type is asked for."""
    if types and kind not in types and kind.partition(":")[0] not in types:
        return False
    for wanted in tag_filters:
        value = tags.get(wanted["Key"])
        if value is None or (wanted.get("Values") and value not in wanted["Values"]):
            return False
    return True


def repair():
    """GetResources: by ARN, in pages of 1 to 100 of what was there for the first; an empty token after the last."""

    def get_resources(self, pagination_token, resources_per_page, tags_per_page, tag_filters, resource_type_filters):
        if not 1 <= resources_per_page <= LARGEST_PAGE:
            raise ResourceGroupsTaggingAPIError(
                "InvalidParameterException", f"ResourcesPerPage must be between 1 and {LARGEST_PAGE}"
            )
        listing, _, start = (pagination_token or "").partition(":")
        if not listing:
            found = [
                {"ResourceARN": arn, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}
                for arn, kind, tags in tagged(self)
                if tags and fits(kind, tags, tag_filters, resource_type_filters)
            ]
            found.sort(key=lambda resource: resource["ResourceARN"])
            listing = str(len(self._pages))
            self._pages[listing] = found
        elif listing not in self._pages:
            raise ResourceGroupsTaggingAPIError("PaginationTokenExpiredException", "Token does not exist")
        end = int(start or 0) + resources_per_page
        more = end < len(self._pages[listing])
        return f"{listing}:{end}" if more else "", self._pages[listing][int(start or 0) : end]

    ResourceGroupsTaggingAPIBackend.get_resources = get_resources
