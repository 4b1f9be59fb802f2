"""moto 5.2.1 with the repairs that the tests need: what moto gets wrong in a way that would make a test lie.

    python launcher.py    prints the address it listens on, and ends when its standard input is closed

Everything is kept in memory. Nothing listens beyond this machine, and nothing leaves it. ARCHITECTURE.md, "The bench",
says what the repairs are for and what cannot be shown even with them.
"""

import functools
import importlib
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

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from cborshim import CborShim
from repairs import inventory, knobs
from timely import Timely

# Of services that others look into: before the first request of any.
FIRST = ("iam", "ec2", "power", "ssm")

# Service as moto names it -> module of its repairs.
LATER = {
    "cloudwatch": "cloudwatch",
    "efs": "efs",
    "eks": "eks",
    "logs": "logs",
    "resourcegroupstaggingapi": "tagging",
    "servicequotas": "quotas",
    "sns": "sns",
}

# What tests say and ask of the bench itself.
OURS = {"/bench/knobs": knobs.answer, "/bench/inventory": inventory.answer}


def end_with_parent():
    """Ends the process when standard input closes, which it does however the parent ends."""

    def wait():
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def repaired_app(service):
    """Returns the application of a service, with its repairs; moto asks for it on the first request."""
    if service in LATER:
        repair(LATER[service])
    return create_backend_app(service)


@functools.cache
def repair(name):
    """Does the repairs of a module, once."""
    importlib.import_module(f"repairs.{name}").repair()


class OneAtATime:
    """One request at a time, because moto is not safe with threads; what it raises is told in the answer."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        with knobs.LOCK:
            try:
                if environ.get("PATH_INFO") in OURS:
                    return OURS[environ["PATH_INFO"]](environ, start_response)
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
    for name in FIRST:
        repair(name)
    app = OneAtATime(Timely(CborShim(DomainDispatcherApplication(repaired_app))))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    # Where moto calls itself.
    os.environ["MOTO_PORT"] = str(server.port)
    print(f"http://127.0.0.1:{server.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
