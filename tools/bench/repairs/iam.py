"""IAM: fewer managed policies, and what AWS refuses and moto accepts."""

import json
import re

import moto.iam.access_control as access_control
import moto.iam.models as models
from moto.core.responses import ActionResult
from moto.iam.exceptions import EntityAlreadyExists, LimitExceededException, MalformedPolicyDocument, NotFoundException
from moto.iam.policy_validation import IAMTrustPolicyDocumentValidator
from moto.iam.responses import IamResponse

from . import replaces

# All 1,400 cost each new account a second.
MANAGED_POLICIES = {
    "AmazonSSMManagedInstanceCore",
    "CloudWatchAgentServerPolicy",
    "AmazonEKSClusterPolicy",
    "AmazonEKSWorkerNodePolicy",
    "AmazonEKSWorkerNodeMinimalPolicy",
    "AmazonEKS_CNI_Policy",
    "AmazonEC2ContainerRegistryReadOnly",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonEBSCSIDriverPolicy",
    "AmazonEBSCSIDriverPolicyV2",
    "AmazonEFSCSIDriverPolicy",
    "AWSXrayWriteOnlyAccess",
}

# Name in the signature -> name in policies.
IAM_PREFIXES = {"monitoring": "cloudwatch", "tagging": "tag"}

# Characters without white space, of all inline policies of a role and of its trust policy.
INLINE_POLICIES_SIZE = 10240
TRUST_POLICY_SIZE = 2048


def repair():
    """Does all of it."""
    keep_few_managed_policies()
    name_actions_as_policies_do()
    refuse_bad_documents()
    refuse_names_that_differ_in_case()
    list_instance_profiles_by_path()
    # Service in front of amazonaws.com -> the end of its service-linked role's name.
    models.SERVICE_NAME_CONVERSION.update(
        {
            "eks": "AmazonEKS",
            "eks-nodegroup": "AmazonEKSNodegroup",
            "elasticfilesystem": "AmazonElasticFileSystem",
        }
    )


def keep_few_managed_policies():
    """Only MANAGED_POLICIES."""
    every = json.loads(models.aws_managed_policies_data)
    few = {name: data for name, data in every.items() if name in MANAGED_POLICIES}
    assert few.keys() == MANAGED_POLICIES, MANAGED_POLICIES - few.keys()
    models.aws_managed_policies_data = json.dumps(few)


def name_actions_as_policies_do():
    """Enforcement: right prefixes, and no signatures, which moto miscalculates for calls without a body."""

    @replaces(access_control.IAMRequestBase, "__init__")
    def init(construct, self, *args, **kwargs):
        construct(self, *args, **kwargs)
        service, _, action = self._action.partition(":")
        self._action = f"{IAM_PREFIXES.get(service, service)}:{action}"

    access_control.IAMRequestBase.check_signature = lambda self: None


def size(document):
    return len(re.sub(r"\s", "", document))


def check_trust_policy(document):
    """Refuses a trust policy that is none or too long."""
    try:
        json.loads(document)
    except (TypeError, ValueError):
        raise MalformedPolicyDocument("This policy contains invalid Json") from None
    IAMTrustPolicyDocumentValidator(document).validate()
    if size(document) > TRUST_POLICY_SIZE:
        raise LimitExceededException(f"Cannot exceed quota for ACLSizePerRole: {TRUST_POLICY_SIZE}")


def refuse_bad_documents():
    """Trust policies are policies, and neither they nor the inline policies of a role are too long."""

    @replaces(models.IAMBackend, "create_role")
    def create_role(create, self, role_name, assume_role_policy_document, *args, **kwargs):
        # The linked service comes last; its roles are made by moto itself.
        if not kwargs.get("linked_service") and len(args) < 6:
            check_trust_policy(assume_role_policy_document)
        return create(self, role_name, assume_role_policy_document, *args, **kwargs)

    @replaces(models.IAMBackend, "update_assume_role_policy")
    def update_assume_role_policy(update, self, role_name, policy_document):
        self.get_role(role_name)
        check_trust_policy(policy_document)
        return update(self, role_name, policy_document)

    @replaces(models.IAMBackend, "put_role_policy")
    def put_role_policy(put, self, role_name, policy_name, policy_json):
        role = self.get_role(role_name)
        others = sum(size(document) for name, document in role.policies.items() if name != policy_name)
        if others + size(policy_json) > INLINE_POLICIES_SIZE:
            raise LimitExceededException(
                f"Maximum policy size of {INLINE_POLICIES_SIZE} bytes exceeded for role {role_name}"
            )
        return put(self, role_name, policy_name, policy_json)


def refuse_names_that_differ_in_case():
    """Names of roles and instance profiles are unique without regard to case."""

    def refuse_same(kind, name, there):
        if any(other.name.lower() == name.lower() for other in there):
            raise EntityAlreadyExists(f"{kind} with name {name} already exists.")

    @replaces(models.IAMBackend, "create_role")
    def create_role(create, self, role_name, *args, **kwargs):
        refuse_same("Role", role_name, self.get_roles())
        return create(self, role_name, *args, **kwargs)

    @replaces(models.IAMBackend, "create_instance_profile")
    def create_instance_profile(create, self, name, *args, **kwargs):
        refuse_same("Instance Profile", name, self.get_instance_profiles())
        return create(self, name, *args, **kwargs)

    @replaces(models.IAMBackend, "remove_role_from_instance_profile")
    def remove_role_from_instance_profile(remove, self, profile_name, role_name):
        roles = self.get_instance_profile(profile_name).roles
        if self.get_role(role_name) not in roles:
            raise NotFoundException(f"Role {role_name} in Instance Profile {profile_name} cannot be found.")
        return remove(self, profile_name, role_name)


def list_instance_profiles_by_path():
    """ListInstanceProfiles has a path prefix and pages."""

    def list_instance_profiles(self):
        prefix = self._get_param("PathPrefix", "/")
        start, count = int(self._get_param("Marker", 0)), int(self._get_param("MaxItems", 100))
        profiles = [profile for profile in self.backend.get_instance_profiles() if profile.path.startswith(prefix)]
        profiles.sort(key=lambda profile: profile.name)
        more = len(profiles) > start + count
        return ActionResult(
            {
                "InstanceProfiles": profiles[start : start + count],
                "IsTruncated": more,
                "Marker": str(start + count) if more else None,
            }
        )

    IamResponse.list_instance_profiles = list_instance_profiles
