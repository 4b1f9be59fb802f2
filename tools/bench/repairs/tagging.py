"""Tagging API: what is there and has tags, in pages as on AWS."""

import sys

from moto.resourcegroupstaggingapi.exceptions import ResourceGroupsTaggingAPIError
from moto.resourcegroupstaggingapi.models import ResourceGroupsTaggingAPIBackend

from . import replaces


def repair():
    """Does all of it."""
    list_only_what_is_there()
    page_as_asked()


def ended_instances(backend):
    """Returns the ARNs of terminated instances."""
    prefix = f"arn:{backend.partition}:ec2:{backend.region_name}:{backend.account_id}:instance/"
    return {
        f"{prefix}{instance.id}"
        for instance in backend.ec2_backend.all_instances()
        if instance.state == "terminated"
    }


def list_only_what_is_there():
    """GetResources: nothing that has ended, and nothing twice."""

    @replaces(ResourceGroupsTaggingAPIBackend, "_get_resources_generator")
    def resources(listed, self, *args, **kwargs):
        told = ended_instances(self)
        for resource in listed(self, *args, **kwargs):
            if resource["Tags"] and resource["ResourceARN"] not in told:
                told.add(resource["ResourceARN"])
                yield resource


def page_as_asked():
    """GetResources: pages of 1 to 100 resources; moto ends them at 100 tags too, which AWS does only if asked to."""

    @replaces(ResourceGroupsTaggingAPIBackend, "get_resources")
    def get_resources(listed, self, **parameters):
        count = parameters["resources_per_page"]
        if not 1 <= count <= 100:
            raise ResourceGroupsTaggingAPIError(
                "InvalidParameterException", "ResourcesPerPage must be between 1 and 100"
            )
        return listed(self, **{**parameters, "tags_per_page": sys.maxsize})
