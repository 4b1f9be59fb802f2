"""EKS: tags of everything that has an ARN."""

from .cluster import check_tags
from .state import call, missing


def tagged(backend, parameters):
    """Returns what a call names by its ARN."""
    for thing in backend.things():
        if thing.arn == parameters["resourceArn"]:
            return thing
    return missing("The specified resource was not found")


@call
def tag_resource(backend, parameters):
    thing = tagged(backend, parameters)
    tags = {**thing.tags, **(parameters.get("tags") or {})}
    check_tags(tags)
    thing.tags = tags
    return {}


@call
def untag_resource(backend, parameters):
    thing = tagged(backend, parameters)
    for name in parameters.get("tagKeys") or []:
        thing.tags.pop(name, None)
    return {}


@call
def list_tags_for_resource(backend, parameters):
    return {"tags": tagged(backend, parameters).tags}
