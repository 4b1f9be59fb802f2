"""Systems Manager: public parameters that moto does not ship, and what AWS refuses and moto accepts."""

import base64
import hashlib

import moto.ssm.models as models
from moto.ec2.models import ec2_backends
from moto.ssm.exceptions import SSMException, ValidationException
from moto.ssm.responses import SimpleSystemManagerResponse

from . import knobs, replaces, run_command
from .eks import catalog

# The image is the one of amis.json.
PARAMETERS = {
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id": "ami-00000000000024041",
}
# Image and release of EKS's nodes (https://docs.aws.amazon.com/eks/latest/userguide/retrieve-ami-id.html).
NODES = "/aws/service/eks/optimized-ami/{}/amazon-linux-2023/{}/standard/recommended"
# Name of a parameter -> the version of Kubernetes whose newest release it tells.
RELEASES = {}
for _version, _status, *_ in catalog.VERSIONS:
    if _status != catalog.UNSUPPORTED:
        for _processor in ("x86_64", "arm64"):
            _name = NODES.format(_version, _processor)
            PARAMETERS[f"{_name}/image_id"] = catalog.IMAGE
            PARAMETERS[f"{_name}/release_version"] = catalog.release_version(_version)
            RELEASES[f"{_name}/release_version"] = _version

# Characters of a value; moto's default tier is the standard one.
TIERS = {"Standard": 4096, "Advanced": 8192, "Intelligent-Tiering": 8192}
NAMES_IN_ONE_CALL = 10


def repair():
    """Does all of it."""
    publish_parameters()
    refuse_long_values()
    encrypt_values()
    forget_tags_of_deleted()
    command_only_running_instances()
    run_command.repair()


def publish_parameters():
    """PARAMETERS are there in every account; put_parameter would refuse the names."""

    @replaces(models.ParameterDict, "_check_loading_status")
    def check_loading_status(check, self, key):
        check(self, key)
        if key in RELEASES and key in self.keys():
            # A test may have said that there is a newer one.
            newest = catalog.release_version(RELEASES[key], knobs.of(self.account_id).release)
            dict.__getitem__(self, key)[-1].value = newest
        if self.__dict__.setdefault("bench_published", False):
            return
        self.bench_published = True
        for name, value in PARAMETERS.items():
            parameter = models.Parameter(
                account_id=self.account_id,
                name=name,
                value=value,
                parameter_type="String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=models.utcnow(),
                version=1,
                data_type="text",
            )
            dict.setdefault(self, name, []).append(parameter)


def refuse_long_values():
    """PutParameter: values no longer than their tier allows."""

    @replaces(SimpleSystemManagerResponse, "put_parameter")
    def put_parameter(put, self):
        tier = self._get_param("Tier") or self.ssm_backend.default_parameter_tier
        length = len((self._get_param("Value") or "").encode())
        if length > TIERS[tier]:
            raise ValidationException(
                f"{tier} tier parameters support a maximum parameter value of {TIERS[tier]} characters."
            )
        return put(self)


def encrypt_values():
    """A SecureString that is not decrypted shows nothing of its value; moto shows it whole."""

    def encrypt(self, value):
        self.bench_plain = value
        text = f"{self.account_id}:{self.name}:{self.keyid}:{value}".encode()
        return base64.b64encode(hashlib.sha512(text).digest() * 3).decode()

    def decrypt(self, value):
        return self.bench_plain if self.parameter_type == "SecureString" else value

    models.Parameter.encrypt = encrypt
    models.Parameter.decrypt = decrypt


def forget_tags_of_deleted():
    """DeleteParameters takes the tags away too; a new parameter of the name would have them."""

    @replaces(models.SimpleSystemManagerBackend, "delete_parameters")
    def delete_parameters(delete, self, names):
        if len(names) > NAMES_IN_ONE_CALL:
            raise ValidationException(
                f"1 validation error detected: Value '{names}' at 'names' failed to satisfy constraint: "
                f"Member must have length less than or equal to {NAMES_IN_ONE_CALL}"
            )
        deleted = delete(self, names)
        for name in deleted:
            self._resource_tags.get("Parameter", {}).pop(self._parameters.normalize_name(name), None)
        return deleted


def command_only_running_instances():
    """SendCommand: to instances that are there and run."""

    @replaces(models.SimpleSystemManagerBackend, "send_command")
    def send_command(send, self, **parameters):
        backend = ec2_backends[self.account_id][self.region_name]
        running = {instance.id for instance in backend.all_running_instances()}
        if not running.issuperset(parameters["instance_ids"]):
            raise SSMException("InvalidInstanceId", "Instances not in a valid state for account")
        return send(self, **parameters)
