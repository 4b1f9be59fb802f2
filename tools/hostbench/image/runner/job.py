"""One job in a container, from its image to its result. The container's name and labels are those of GitLab's executor."""

import hashlib
import secrets
import threading
import time

import engine
import log
import network
import settings

PREFIX = "com.gitlab.gitlab-runner."
# Seconds between two pieces of a trace.
UPDATE_INTERVAL = 3
# Seconds after which the platform hears that a silent job is still there; so we hear that it was canceled.
QUIET = 30


class Stopped(Exception):
    """The job ends before its script does."""

    def __init__(self, reason, message, state="failed"):
        super().__init__(message)
        self.reason, self.state = reason, state


class Trace:
    """The job's log: what a container says goes in here, and from here to the platform."""

    def __init__(self, client, job, limit):
        self.client, self.job, self.limit = client, job, limit
        self.text, self.sent = b"", 0
        self.aborted = None
        self.over = threading.Event()
        self._lock, self._sending = threading.Lock(), threading.Lock()
        self._hidden = [
            variable["value"].encode()
            for variable in job.get("variables", [])
            if variable.get("masked") and variable.get("value")
        ]
        self._sender = threading.Thread(target=self._send_on, daemon=True)
        self._sender.start()

    def add(self, data):
        for secret in self._hidden:
            data = data.replace(secret, b"[MASKED]")
        with self._lock:
            if len(self.text) >= self.limit:
                return
            self.text += data
            if len(self.text) >= self.limit:
                self.text += f"\n\x1b[33;1mJob's log exceeded limit of {self.limit} bytes.\x1b[0;m\n".encode()

    def line(self, text):
        self.add(text.encode() + b"\n")

    def send(self):
        with self._sending:
            with self._lock:
                text = self.text
            if self.sent >= len(text):
                return True
            answer = self.client.append_trace(self.job, text, self.sent)
            if answer.status == 202:
                self.sent = len(text)
            elif answer.status == 416:
                self.sent = int(answer.headers.get("Range", "0-0").split("-")[1])
            if answer.status == 403 or answer.headers.get("Job-Status") in ("canceled", "failed"):
                self.aborted = answer.headers.get("Job-Status") or "failed"
            return self.sent >= len(text)

    def _send_on(self):
        heard = time.monotonic()
        while not self.over.wait(UPDATE_INTERVAL):
            sent = self.sent
            self.send()
            if self.sent != sent:
                heard = time.monotonic()
            elif time.monotonic() - heard > QUIET:
                heard = time.monotonic()
                answer = self.client.update_job(self.job, "running", self.text)
                if answer.status == 403:
                    self.aborted = answer.headers.get("Job-Status") or "failed"

    def close(self):
        self.over.set()
        self._sender.join()
        for _ in range(5):
            if self.send() or self.aborted:
                return
            time.sleep(UPDATE_INTERVAL)


class Job:
    def __init__(self, multi, client, job, slot):
        self.multi, self.client, self.job, self.slot = multi, client, job, slot
        self.id, self.project = job["id"], job.get("job_info", {}).get("project_id", 0)
        self.docker = client.runner.get("docker", {})
        self.engine = engine.Engine()
        self.began = time.monotonic()
        self.variables = {variable["key"]: variable["value"] for variable in job.get("variables", [])}
        self.unique = f"runner-{client.short}-project-{self.project}-concurrent-{slot}".lower()
        self.container = None
        limit = client.runner.get("output_limit") or 4096
        self.trace = Trace(client, job, limit * 1024)
        # Set to a reason by whoever ends us from outside.
        self.abort = None

    def fields(self, **more):
        return self.client.fields(job=self.id, project=self.project, **more)

    def labels(self, kind):
        git = self.job.get("git_info", {})
        known = {
            "job.id": self.id,
            "job.url": self.variables.get("CI_JOB_URL", ""),
            "job.sha": git.get("sha", ""),
            "job.before_sha": git.get("before_sha", ""),
            "job.ref": git.get("ref", ""),
            "job.timeout": settings.duration(self.timeout()),
            "project.id": self.project,
            "project.runner_id": self.slot,
            "pipeline.id": self.variables.get("CI_PIPELINE_ID", ""),
            "runner.id": self.client.short,
            "runner.local_id": self.slot,
            "runner.system_id": self.client.system_id,
            "managed": "true",
            "type": kind,
        }
        return {PREFIX + key: str(value) for key, value in known.items()}

    def timeout(self):
        return self.job.get("runner_info", {}).get("timeout") or 3600

    def run(self):
        """Runs the job and tells the platform how it ended."""
        state, reason, code = "success", None, None
        try:
            self.check()
            code = self.script()
            if code:
                state, reason = "failed", "script_failure"
                self.trace.line(f"\x1b[31;1mERROR: Job failed: exit code {code}\n\x1b[0;m")
            else:
                self.trace.line("\x1b[32;1mJob succeeded\x1b[0;m")
        except Stopped as stopped:
            state, reason = stopped.state, stopped.reason
            self.trace.line(f"\x1b[31;1mERROR: Job failed: {stopped}\n\x1b[0;m")
            failure = str(stopped)
        except Exception as problem:  # Docker's refusals, and whatever else: the platform must hear of it.
            state, reason, failure = "failed", "runner_system_failure", f"(system failure): {problem}"
            self.trace.line(f"\x1b[31;1mERROR: Job failed (system failure): {problem}\n\x1b[0;m")
        finally:
            self.clean()
        self.trace.close()
        took = {"duration_s": round(time.monotonic() - self.began, 3)}
        if state == "success":
            log.info("Job succeeded", **self.fields(**took))
        elif reason == "script_failure":
            log.warning(f"Job failed: exit code {code}", **self.fields(exit_code=code, **took))
        else:
            log.error("Job failed" + (" " if failure.startswith("(") else ": ") + failure, **self.fields(**took))
        if self.trace.aborted:
            return
        for _ in range(5):
            answer = self.client.update_job(self.job, state, self.trace.text, reason, code)
            if answer.status in (200, 403, 404):
                return
            time.sleep(UPDATE_INTERVAL)

    def check(self):
        if self.abort:
            raise Stopped("runner_system_failure", self.abort)
        if self.trace.aborted:
            raise Stopped("job_canceled", "canceled", "canceled")
        if time.monotonic() - self.began > self.timeout():
            spent = settings.duration(self.timeout())
            raise Stopped("job_execution_timeout", f"execution took longer than {spent} seconds")

    def script(self):
        trace = self.trace
        trace.line(f"\x1b[0KRunning with gitlab-runner {network.version()} ({network.revision()})\x1b[0;m")
        trace.line(
            f"\x1b[0K  on {self.client.runner.get('name', '')} {self.client.short}, system ID: {self.client.system_id}\x1b[0;m"
        )
        wanted = (self.job.get("image") or {}).get("name") or self.docker.get("image", "")
        trace.line(
            f'\x1b[0K\x1b[36;1mPreparing the "docker" executor\x1b[0;m\nUsing Docker executor with image {wanted} ...'
        )
        image = self.pulled(wanted)
        self.container = self.engine.create(f"{self.unique}-{secrets.token_hex(8)}-build", self.container_of(image))
        trace.line(
            f"Preparing environment\nRunning on {self.container[:12]} via {self.client.runner.get('name', '')}..."
        )
        trace.line('Executing "step_script" stage of the job script')
        self.engine.call("POST", f"/containers/{self.container}/start")
        reader = threading.Thread(target=self.read, daemon=True)
        reader.start()
        while reader.is_alive():
            reader.join(0.5)
            self.check()
        return self.engine.call("POST", f"/containers/{self.container}/wait")["StatusCode"]

    def read(self):
        try:
            for data in self.engine.logs(self.container):
                self.trace.add(data)
        except engine.EngineError as problem:
            self.trace.line(str(problem))

    def policies(self):
        said = self.docker.get("pull_policy") or ["always"]
        said = [said] if isinstance(said, str) else said
        asked = (self.job.get("image") or {}).get("pull_policy") or []
        asked = [asked] if isinstance(asked, str) else asked
        allowed = self.docker.get("allowed_pull_policies") or said
        if any(policy not in allowed for policy in asked):
            raise Stopped(
                "runner_system_failure",
                f"failed to pull image: pull_policy ({asked}) defined in GitLab pipeline "
                f"config is not one of the allowed_pull_policies ({allowed})",
            )
        return asked or said

    def pulled(self, name):
        """Gets the image, by one policy after another; returns its id."""
        policies, problems = self.policies(), []
        for attempt, policy in enumerate(policies, 1):
            if attempt > 1:
                self.trace.line(f'Attempt #{attempt}: Trying "{policy}" pull policy')
            try:
                image = None if policy == "always" else self.engine.image(name)
                if image is None:
                    if policy == "never":
                        raise engine.EngineError(404, f"No such image: {name}")
                    self.trace.line(f"Pulling docker image {name} ...")
                    self.engine.pull(name)
                    image = self.engine.image(name)
                else:
                    self.trace.line(f'Using locally found image version due to "{policy}" pull policy')
                digest = (image.get("RepoDigests") or [""])[0]
                self.trace.line(f"Using docker image {image['Id']} for {name} with digest {digest} ...")
                return image["Id"]
            except engine.EngineError as problem:
                if problem.status == 0:
                    raise
                problems.append(str(problem))
                self.trace.line(f'\x1b[0;33mWARNING: Failed to pull image with policy "{policy}": {problem}\x1b[0;m')
        raise Stopped(
            "image_pull_failure",
            f'failed to pull image "{name}" with specified policies [{" ".join(policies)}]: {problems[-1]}',
        )

    def volumes(self):
        """Binds as given; a path alone is a cache, in a volume with our labels that stays."""
        binds = []
        for volume in self.docker.get("volumes", []):
            if ":" in volume:
                binds.append(volume)
            elif not self.docker.get("disable_cache"):
                mark = hashlib.md5(volume.encode()).hexdigest()
                name = f"{self.unique}-cache-{mark}"
                self.engine.call(
                    "POST",
                    "/volumes/create",
                    {"Name": name, "Labels": self.labels("cache") | {PREFIX + "destination": volume}},
                )
                binds.append(f"{name}:{volume}")
        return binds

    def container_of(self, image):
        lines = [
            line for step in self.job.get("steps", []) if step.get("when") != "on_failure" for line in step["script"]
        ]
        text = 'set -e\nmkdir -p "$CI_PROJECT_DIR" && cd "$CI_PROJECT_DIR"\n'
        for line in lines:
            shown = line.replace("'", "'\"'\"'")
            text += f"printf '%s\\n' '$ {shown}'\n{line}\n"
        variables = {
            "CI_PROJECT_DIR": "/builds/" + self.variables.get("CI_PROJECT_PATH", "project"),
            "CI_SERVER": "yes",
            "CI_RUNNER_VERSION": network.version(),
            "CI_RUNNER_DESCRIPTION": self.client.runner.get("name", ""),
            **self.variables,
        }
        host = {
            "Binds": self.volumes(),
            "Privileged": self.docker.get("privileged", False),
            "NetworkMode": self.docker.get("network_mode") or "default",
            "RestartPolicy": {"Name": "no"},
            "ExtraHosts": self.docker.get("extra_hosts") or [],
            "Memory": size(self.docker.get("memory")),
            "NanoCpus": int(float(self.docker.get("cpus") or 0) * 1e9),
        }
        environment = [f"{key}={value}" for key, value in variables.items()]
        environment += self.client.runner.get("environment") or []
        return {
            "Image": image,
            "Cmd": ["sh", "-c", text],
            "Env": environment,
            "Labels": self.labels("build"),
            "Hostname": self.unique[:63],
            "HostConfig": host,
        }

    def clean(self):
        if self.container:
            try:
                self.engine.call("DELETE", f"/containers/{self.container}?force=1&v=1")
            except engine.EngineError as problem:
                log.warning(f"Failed to remove container: {problem}", **self.fields())


def size(text):
    """Bytes of a size such as `512m`."""
    text = str(text or "0").lower().rstrip("b") or "0"
    factor = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}.get(text[-1], 1)
    return int(float(text.rstrip("kmg")) * factor)
