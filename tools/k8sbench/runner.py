"""GitLab's runner in a pod, played: `players.py` starts it with what the container has, and its words are the container's log.

    runner.py PARENT run | unregister

The runner itself is that of the host bench. Around it is what the container's entry point does in GitLab's chart (configmap
`entrypoint`, `register-the-runner`): `config.toml` and the template from the mounted configmap, the tokens from the mounted
secret, some attempts to register, then `run`. Its jobs become pods in the cluster, with the rights of the pod's own service
account, and are over after the seconds that they are to sleep.

Environment besides that of the container: K8SBENCH_ROOT, the folder below which the mounted files are; K8SBENCH_READY, a
descriptor that is written to once the runner is ready; K8SBENCH_ATTEMPTS and K8SBENCH_PAUSE, attempts to register (GitLab's
chart: 30) and the seconds between them (5).
"""

import ctypes
import json
import os
import pathlib
import re
import secrets
import signal
import sys
import time
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "hostbench/image/runner"))
sys.path.insert(0, str(HERE))

import commands  # noqa: E402
import job as jobs  # noqa: E402
import log  # noqa: E402
import multi  # noqa: E402
import settings  # noqa: E402

from cluster.client import Client, Refused  # noqa: E402

PR_SET_PDEATHSIG = 1
ROOT = pathlib.Path(os.environ["K8SBENCH_ROOT"])
CONFIG = ROOT / "home/gitlab-runner/.gitlab-runner/config.toml"
ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"
# Seconds between two looks at a pod of a job.
LOOK = 0.3


def found(name):
    """A mounted file, wherever the chart has put it."""
    return next((path for path in sorted(ROOT.rglob(name)) if path.is_file() and path != CONFIG), None)


def token(name):
    path = found(name)
    return path.read_text().strip() if path else ""


def template():
    """What the chart says for `[[runners]]`."""
    path = found("config.template.toml")
    if path is None:
        return {}
    try:
        known = tomllib.loads(path.read_text()).get("runners", [])
    except tomllib.TOMLDecodeError as problem:
        log.fatal(f"couldn't load configuration template file: decoding TOML content: {problem}")
    if len(known) > 1:
        log.fatal("couldn't load configuration template file: configuration template file must have exactly one [[runners]]")
    return known[0] if known else {}


def merged(said, more):
    """What is said, with what the template has besides."""
    both = dict(said)
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(both.get(key), dict):
            both[key] = merged(both[key], value)
        elif key not in both or both[key] in ("", {}, 0):
            both[key] = value
    return both


def register():
    """Registers, or verifies a token of the new kind; the chart tries again some times."""
    attempts, pause = int(os.environ.get("K8SBENCH_ATTEMPTS", 3)), float(os.environ.get("K8SBENCH_PAUSE", 0.5))
    for attempt in range(1, attempts + 1):
        print(f"Registration attempt {attempt} of {attempts}", flush=True)
        try:
            commands.main(["register", "--non-interactive", "--config", str(CONFIG)])
            return
        except SystemExit as ended:
            if not ended.code:
                return
        if attempt < attempts:
            time.sleep(pause)
    sys.exit(1)


def run():
    CONFIG.parent.mkdir(parents=True, exist_ok=True)
    if given := found("config.toml"):
        CONFIG.write_bytes(given.read_bytes())
    # In a container the id is by chance, and new with each pod.
    identity = CONFIG.with_name(".runner_system_id")
    if not identity.exists():
        identity.write_text("r_" + "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(12)))
    more = template()
    defaults = {
        "RUNNER_EXECUTOR": more.get("executor", "kubernetes"),
        "CI_SERVER_URL": more.get("url", ""),
        "RUNNER_NAME": more.get("name", os.environ.get("HOSTNAME", "")),
        # Both keys may be there, one of them empty.
        "REGISTRATION_TOKEN": token("runner-registration-token"),
        "CI_SERVER_TOKEN": token("runner-token"),
    }
    for name, text in defaults.items():
        if text and not os.environ.get(name):
            os.environ[name] = text
    config = settings.load(CONFIG)
    if not any(runner.get("token") for runner in config.get("runners", [])):
        register()
        config = settings.load(CONFIG)
        config["runners"] = [merged(runner, more) for runner in config["runners"]]
        settings.save(str(CONFIG), config)
    multi.jobs.Job = Job
    multi.Multi.feed = fed(multi.Multi.feed)
    sys.exit(multi.Multi(str(CONFIG)).run())


def fed(feed):
    """Says that the runner is ready once it begins to ask for jobs."""

    def ready(self):
        with open(int(os.environ["K8SBENCH_READY"]), "wb", closefd=True) as pipe:
            pipe.write(b".")
        return feed(self)

    return ready


class Job(jobs.Job):
    """A job that is a pod; what its script does is to sleep."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.kubernetes = self.client.runner.get("kubernetes", {})
        account = ROOT / ACCOUNT
        self.api = Client(
            os.environ["KUBERNETES_SERVICE_HOST"], account / "ca.crt", (account / "token").read_text().strip()
        )
        self.namespace = self.kubernetes.get("namespace") or (account / "namespace").read_text().strip()
        self.path = None

    def pod(self, image):
        known, said = self.kubernetes, {}
        for kind, words in ("requests", "request"), ("limits", "limit"):
            amounts = {
                name: str(known[f"{key}_{words}"])
                for name, key in (("cpu", "cpu"), ("memory", "memory"), ("ephemeral-storage", "ephemeral_storage"))
                if known.get(f"{key}_{words}")
            }
            said |= {kind: amounts} if amounts else {}
        volumes, mounts = [], []
        for claim in known.get("volumes", {}).get("pvc", []):
            volumes.append({"name": claim["name"], "persistentVolumeClaim": {"claimName": claim["name"]}})
            mounts.append({"name": claim["name"], "mountPath": claim["mount_path"]})
        git, project = self.job.get("git_info", {}), self.job.get("job_info", {})
        container = {"name": "build", "image": image, "command": ["sh", "-c", "wait"], "volumeMounts": mounts}
        helper = {"name": "helper", "image": known.get("helper_image") or "gitlab-runner-helper", "command": ["sh", "-c", "wait"]}
        spec = {
            "restartPolicy": "Never",
            "containers": [container | {"resources": said}, helper | {"volumeMounts": mounts}],
            "volumes": volumes,
            "nodeSelector": known.get("node_selector") or {},
            "imagePullSecrets": [{"name": name} for name in known.get("image_pull_secrets", [])],
            "terminationGracePeriodSeconds": known.get("pod_termination_grace_period_seconds", 0),
        }
        if known.get("service_account"):
            spec["serviceAccountName"] = known["service_account"]
        name = re.sub(r"[^a-z0-9-]", "", self.unique)[:54].strip("-")
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{name}-{secrets.token_hex(4)}",
                "namespace": self.namespace,
                # As the page of the executor lists them.
                "labels": {
                    "job.runner.gitlab.com/pod": name,
                    "manager.runner.gitlab.com/id-short": self.client.short.strip("-_.") or "unknown",
                    "manager.runner.gitlab.com/name": os.environ.get("HOSTNAME", "")[:63].strip("-_."),
                    "project.runner.gitlab.com/id": str(self.project),
                    "project.runner.gitlab.com/name": str(project.get("project_name", "")),
                    **known.get("pod_labels", {}),
                },
                "annotations": {
                    "job.runner.gitlab.com/id": str(self.id),
                    "job.runner.gitlab.com/url": self.variables.get("CI_JOB_URL", ""),
                    "job.runner.gitlab.com/sha": git.get("sha", ""),
                    "job.runner.gitlab.com/ref": git.get("ref", ""),
                    "job.runner.gitlab.com/name": project.get("name", ""),
                    "job.runner.gitlab.com/timeout": settings.duration(self.timeout()),
                    "project.runner.gitlab.com/id": str(self.project),
                    **known.get("pod_annotations", {}),
                },
            },
            "spec": spec,
        }

    def script(self):
        wanted = (self.job.get("image") or {}).get("name") or self.kubernetes.get("image") or "busybox"
        self.trace.line('\x1b[0K\x1b[36;1mPreparing the "kubernetes" executor\x1b[0;m')
        self.trace.line(f"Using Kubernetes namespace: {self.namespace}")
        self.trace.line(f"Using Kubernetes executor with image {wanted} ...")
        try:
            made = self.api.call("POST", f"/api/v1/namespaces/{self.namespace}/pods", self.pod(wanted))
        except Refused as refusal:
            words = f"setting up build pod: {refusal.said.get('message')}"
            raise jobs.Stopped("runner_system_failure", f"(system failure): {words}") from None
        self.path = f"/api/v1/namespaces/{self.namespace}/pods/{made['metadata']['name']}"
        self.until_running(made["metadata"]["name"])
        lines = [line for step in self.job.get("steps", []) for line in step["script"]]
        for line in lines:
            self.trace.line(f"$ {line}")
            if match := re.fullmatch(r"sleep (\d+(?:\.\d+)?)", line.strip()):
                self.sleep(float(match[1]))
            elif match := re.fullmatch(r"exit (\d+)", line.strip()):
                return int(match[1])
        return 0

    def until_running(self, name):
        patience = self.kubernetes.get("poll_timeout") or 180
        end = time.monotonic() + patience
        while True:
            self.check()
            status = self.api.call("GET", self.path)["status"]
            for container in status.get("containerStatuses", []):
                reason = container["state"].get("waiting", {}).get("reason", "")
                if reason in ("ErrImagePull", "ImagePullBackOff", "InvalidImageName"):
                    words = f'prepare environment: waiting for pod running: pulling image "{container["image"]}": {reason}'
                    raise jobs.Stopped("image_pull_failure", words)
            if status.get("phase") == "Running":
                self.trace.line(f"Running on {name} via {os.environ.get('HOSTNAME', '')}...")
                return
            if time.monotonic() > end:
                raise jobs.Stopped(
                    "runner_system_failure",
                    "(system failure): prepare environment: waiting for pod running: timed out waiting for pod to start",
                )
            self.trace.line(f"Waiting for pod {self.namespace}/{name} to be running, status is {status.get('phase')}")
            time.sleep(LOOK)

    def sleep(self, seconds):
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK))
            self.check()
            status = (self.api.get(self.path) or {}).get("status", {})
            if status.get("phase") != "Running":
                raise jobs.Stopped(
                    "runner_system_failure",
                    f'(system failure): pod "{self.path}" status is "{status.get("phase") or "deleted"}"',
                )

    def clean(self):
        if self.path:
            try:
                self.api.delete(self.path)
            except (Refused, OSError) as problem:
                log.error(f"Error cleaning up pod: {problem}", **self.fields())


def main():
    parent, command = int(sys.argv[1]), sys.argv[2]
    # Whoever keeps the container is gone, and so is the container.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(1)
    if command == "unregister":
        if CONFIG.exists():
            commands.main(["unregister", "--all-runners", "--config", str(CONFIG)])
        return
    run()


if __name__ == "__main__":
    main()
