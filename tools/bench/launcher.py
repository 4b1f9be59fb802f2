"""moto 5.2.1 with the repairs that the tests need: what moto gets wrong in a way that would make a test lie.

    python launcher.py    prints the address it listens on, and ends when its standard input is closed

Everything is kept in memory. Nothing listens beyond this machine, and nothing leaves it. ARCHITECTURE.md, "The bench",
says what the repairs are for and what cannot be shown even with them.
"""

import hashlib
import json
import os
import sys
import threading
from html import escape
from pathlib import Path

# Before moto is imported, because it reads them then.
os.environ.update(
    # Any text switches these on; without them nonsense is launched.
    MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="true",
    MOTO_ENABLE_AMI_VALIDATION="true",
    MOTO_ENABLE_KEYPAIR_VALIDATION="true",
    MOTO_IAM_LOAD_MANAGED_POLICIES="true",
    MOTO_AMIS_PATH=str(Path(__file__).with_name("amis.json")),
    MOTO_DISABLE_GLOBAL_CORS="true",
    # For REST services moto makes a client of its own, only to read its model, and that one looks for credentials.
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",
    AWS_EC2_METADATA_DISABLED="true",
    # A subscription by HTTP would really be called.
    HTTP_PROXY="http://127.0.0.1:9",
    HTTPS_PROXY="http://127.0.0.1:9",
)

import moto.iam.access_control as access_control
import moto.iam.models as iam
import moto.ssm.models as ssm
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses.instances import InstanceResponse
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from cborshim import CborShim

# Public parameters that moto does not ship; the image is the one of amis.json.
PARAMETERS = {
    "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id": "ami-00000000000024041",
}

# All 1,400 cost each new account a second.
MANAGED_POLICIES = {
    "AmazonSSMManagedInstanceCore",
    "CloudWatchAgentServerPolicy",
    "AmazonEKSClusterPolicy",
    "AmazonEKSWorkerNodePolicy",
    "AmazonEKS_CNI_Policy",
    "AmazonEC2ContainerRegistryReadOnly",
}

# Name in the signature -> name in policies.
IAM_PREFIXES = {"monitoring": "cloudwatch", "tagging": "tag"}


def end_with_parent():
    """Ends the process when standard input closes, which it does however the parent ends."""

    def wait():
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def honour_client_tokens():
    """RunInstances: the same token is the same instance, and with other parameters an error."""
    launch = InstanceResponse.run_instances

    def run_instances(self):
        token = self._get_param("ClientToken")
        if not token:
            return launch(self)
        parameters = {name: value for name, value in self.params.items() if name != "ClientToken"}
        asked = hashlib.sha256(json.dumps(parameters, sort_keys=True, default=str).encode()).digest()
        launched = self.ec2_backend.__dict__.setdefault("bench_launched", {})
        if token not in launched:
            # A launch that fails is not remembered, as on AWS.
            launched[token] = (asked, launch(self))
        before, answer = launched[token]
        if before != asked:
            raise EC2ClientError(
                "IdempotentParameterMismatch",
                f"The client token {token} was used with other parameters before.",
            )
        return answer

    InstanceResponse.run_instances = run_instances


def publish_parameters():
    """SSM: PARAMETERS are there in every account; put_parameter would refuse the names."""
    check = ssm.ParameterDict._check_loading_status

    def check_loading_status(self, key):
        check(self, key)
        if self.__dict__.setdefault("bench_published", False):
            return
        self.bench_published = True
        for name, value in PARAMETERS.items():
            parameter = ssm.Parameter(
                account_id=self.account_id,
                name=name,
                value=value,
                parameter_type="String",
                description=None,
                allowed_pattern=None,
                keyid=None,
                last_modified_date=ssm.utcnow(),
                version=1,
                data_type="text",
            )
            dict.setdefault(self, name, []).append(parameter)

    ssm.ParameterDict._check_loading_status = check_loading_status


def keep_few_managed_policies():
    """IAM: only MANAGED_POLICIES."""
    every = json.loads(iam.aws_managed_policies_data)
    few = {name: data for name, data in every.items() if name in MANAGED_POLICIES}
    assert few.keys() == MANAGED_POLICIES, MANAGED_POLICIES - few.keys()
    iam.aws_managed_policies_data = json.dumps(few)


def name_actions_as_policies_do():
    """IAM enforcement: right prefixes, and no signatures, which moto miscalculates for calls without a body."""
    base = access_control.IAMRequestBase
    construct = base.__init__

    def init(self, *args, **kwargs):
        construct(self, *args, **kwargs)
        service, _, action = self._action.partition(":")
        self._action = f"{IAM_PREFIXES.get(service, service)}:{action}"

    base.__init__ = init
    base.check_signature = lambda self: None


class OneAtATime:
    """One request at a time, because moto is not safe with threads; what it raises is told in the answer."""

    def __init__(self, app):
        self.app = app
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        with self.lock:
            try:
                return list(self.app(environ, start_response))
            except Exception as error:
                text = f"<p>{escape(f'{type(error).__name__}: {error}')}</p>".encode()
                headers = [("Content-Type", "text/html"), ("Content-Length", str(len(text)))]
                start_response("500 Not Implemented By Moto", headers)
                return [text]


class Quiet(WSGIRequestHandler):
    """Writes no line for each request; the proxy keeps the log."""

    def log_request(self, *_):
        pass


def main():
    end_with_parent()
    honour_client_tokens()
    publish_parameters()
    keep_few_managed_policies()
    name_actions_as_policies_do()
    app = OneAtATime(CborShim(DomainDispatcherApplication(create_backend_app)))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    # Where moto calls itself.
    os.environ["MOTO_PORT"] = str(server.port)
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
