"""EC2 launch templates: tokens, versions that build on others, tags that change, pages; moto knows none of them."""

import copy
import hashlib
import json
import re

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateBackend
from moto.ec2.responses.launch_templates import LaunchTemplates

from . import replaces

NAME = re.compile(r"[a-zA-Z0-9().\-/_]{3,128}")
DESCRIPTION_LENGTH = 255
PAGE = 200


def repair():
    """Does all of it."""
    honour_client_tokens()
    check_names()
    keep_own_tags_apart()
    build_on_other_versions()
    list_in_pages()


def refuse(code, message):
    raise EC2ClientError(code, message)


def honour_client_tokens():
    """The same token is the same template or version; with other parameters an error."""
    for name in ("create_launch_template", "create_launch_template_version"):

        @replaces(LaunchTemplates, name)
        def once(create, self, name=name):
            token = self._get_param("ClientToken")
            if not token:
                return create(self)
            parameters = {key: value for key, value in self.params.items() if key != "ClientToken"}
            asked = hashlib.sha256(json.dumps(parameters, sort_keys=True, default=str).encode()).digest()
            made = self.ec2_backend.__dict__.setdefault("bench_templates", {})
            if (name, token) not in made:
                made[name, token] = (asked, create(self))
            before, answer = made[name, token]
            if before != asked:
                refuse("IdempotentParameterMismatch", f"The client token {token} was used with other parameters before.")
            return answer


def check_names():
    """Names and descriptions as documented (API_CreateLaunchTemplate)."""

    @replaces(LaunchTemplates, "create_launch_template")
    def create_launch_template(create, self):
        name = self._get_param("LaunchTemplateName") or ""
        if not NAME.fullmatch(name):
            refuse("InvalidLaunchTemplateName.MalformedException", f"The name {name!r} does not match {NAME.pattern}")
        check_description(self)
        return create(self)

    @replaces(LaunchTemplates, "create_launch_template_version")
    def create_launch_template_version(create, self):
        check_description(self)
        return create(self)


def check_description(response):
    if len(response._get_param("VersionDescription") or "") > DESCRIPTION_LENGTH:
        refuse("InvalidParameterValue", f"VersionDescription has more than {DESCRIPTION_LENGTH} characters")


def keep_own_tags_apart():
    """The template's own tags are not launched with, and are those that it has now."""

    @replaces(LaunchTemplateBackend, "create_launch_template")
    def create_launch_template(create, self, name, description, template_data, tag_spec):
        kinds = template_data.get("TagSpecifications")
        if kinds is not None:
            template_data["TagSpecifications"] = [kind for kind in kinds if kind["ResourceType"] != "launch-template"]
        return create(self, name, description, template_data, tag_spec)

    LaunchTemplate.tags = property(lambda self: self.get_tags(), lambda self, _: None)


def build_on_other_versions():
    """CreateLaunchTemplateVersion: what is not said is as in the source version."""

    @replaces(LaunchTemplate, "create_version")
    def create_version(create, self, data, description):
        source = getattr(self, "bench_source", None)
        if source is not None:
            base = copy.deepcopy(self.get_version(source).data)
            data = {**base, **{name: value for name, value in data.items() if value is not None}}
        return create(self, data, description)

    @replaces(LaunchTemplates, "create_launch_template_version")
    def create_launch_template_version(create, self):
        name, identity = self._get_param("LaunchTemplateName"), self._get_param("LaunchTemplateId")
        if bool(name) == bool(identity):
            refuse("MissingParameter", "Either the name or the identity of the launch template is needed")
        backend = self.ec2_backend
        template = backend.get_launch_template_by_name(name) if name else backend.get_launch_template(identity)
        template.bench_source = self._get_param("SourceVersion")
        try:
            return create(self)
        finally:
            template.bench_source = None


def list_in_pages():
    """DescribeLaunchTemplates: 200 and a token for the next; moto ends after 15."""

    @replaces(LaunchTemplates, "describe_launch_templates")
    def describe_launch_templates(describe, self):
        count, start = self._get_int_param("MaxResults", PAGE), int(self._get_param("NextToken") or 0)
        self.params["MaxResults"] = 1_000_000
        found = describe(self).result["LaunchTemplates"]
        page = {"LaunchTemplates": found[start : start + count]}
        if start + count < len(found):
            page["NextToken"] = str(start + count)
        return ActionResult(page)

    @replaces(LaunchTemplates, "describe_launch_template_versions")
    def describe_launch_template_versions(describe, self):
        count, start = self._get_int_param("MaxResults", PAGE), int(self._get_param("NextToken") or 0)
        self.params["MaxResults"] = 1_000_000
        found = describe(self).result["LaunchTemplateVersions"]
        page = {"LaunchTemplateVersions": found[start : start + count]}
        if start + count < len(found):
            page["NextToken"] = str(start + count)
        return ActionResult(page)
