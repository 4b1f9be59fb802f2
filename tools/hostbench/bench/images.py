"""The images that guests pull, under the names of the product."""

import io
import subprocess
import tarfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
BASE = Path.home() / ".cache/dataops-infra/hostbench/interim-base.tar"
RUNNER = [("dataopslive/dataops-runner", "latest"), ("dataopslive/dataops-runner", "latest-next")]
JOBS = [("dataopslive/dataops-utils-runner", "latest")]


def layer(folder, prefix):
    """Returns a folder as a layer."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        tar.add(folder, prefix)
    return out.getvalue()


def push(registry):
    """Puts all of them."""
    base = BASE.read_bytes()
    runner = Path("/tmp/wt/gitlab/tools/hostbench/image/runner")
    config = {"Entrypoint": ["/usr/bin/python3", "/opt/runner/gitlab-runner"], "Cmd": ["run"], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    registry.push(RUNNER, [base, layer(runner, "opt/runner")], config)
    registry.push(JOBS, [base], {"Cmd": ["sh"], "Env": config["Env"]})
