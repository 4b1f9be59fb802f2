"""What stands for the program in a container: nothing that ends when it is told to, or the process that plays the runner."""

import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import threading


RUNNER = pathlib.Path(__file__).resolve().parent.parent / "runner.py"
ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


def start(pods, pod, container, rule, environment):
    """Starts what the rule says; returns the player."""
    if rule.get("runner") and container not in pod.initial:
        return Runner(pods, pod, container, rule, environment)
    return Rest(pods, pod, container, rule)


class Rest:
    """Does nothing, for as long as it is to."""

    def __init__(self, pods, pod, container, rule):
        self.pods, self.pod, self.container, self.rule = pods, pod, container, rule
        for line in rule.get("log", []):
            container.log.add(line)
        later = pods.timeline.after
        after, code = rule.get("after"), rule.get("exit", 0)
        if container in pod.initial:
            after = after or 0
        elif "exit" not in rule and after is None:
            after = slept(container.spec)
        if after is not None or "exit" in rule:
            later(after or 0.05, self.end, code, rule.get("reason"))
        if rule.get("ready_after", 0) >= 0 and container not in pod.initial:
            # After the status without it, as a kubelet does.
            later(rule.get("ready_after", 0), pods.readied, pod, container)

    def stop(self, _):
        self.pods.timeline.after(self.rule.get("stop_after", 0), self.end, 0, None)

    def kill(self):
        pass

    def end(self, code, reason):
        self.pods.exited(self.pod, self.container, self, code, reason)


def slept(spec):
    """Seconds that a command such as `sleep 5` takes; none if it is something else."""
    said = " ".join([*(spec.get("command") or []), *(spec.get("args") or [])])
    match = re.fullmatch(r"(?:(?:/bin/)?(?:ba|da)?sh -\w*c )?sleep (\d+(?:\.\d+)?)s?", said.strip())
    return float(match[1]) if match else None


class Runner:
    """A process of `runner.py`, whose words are the container's and whose end is its end."""

    def __init__(self, pods, pod, container, rule, environment):
        self.pods, self.pod, self.container = pods, pod, container
        self.root = pods.folder / pod.uid / container.name
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": "/",
            "HOSTNAME": pod.name,
            "KUBERNETES_SERVICE_HOST": pods.endpoint,
            **environment,
            **rule.get("environment", {}),
            "K8SBENCH_ROOT": str(self.root),
        }
        self.place()
        reading, writing = os.pipe()
        self.environment["K8SBENCH_READY"] = str(writing)
        self.process = self.run(["run"], writing)
        os.close(writing)
        threading.Thread(target=self.read, daemon=True).start()
        threading.Thread(target=self.await_ready, args=(reading,), daemon=True).start()

    def place(self):
        """Puts the files of the volumes where the container has them, below a folder of its own."""
        for mount in self.container.spec.get("volumeMounts", []):
            at = self.root / mount["mountPath"].lstrip("/")
            files = self.pod.files.get(mount["name"], {})
            if mount.get("subPath"):
                at.parent.mkdir(parents=True, exist_ok=True)
                if mount["subPath"] in files:
                    at.write_bytes(files[mount["subPath"]])
                continue
            at.mkdir(parents=True, exist_ok=True)
            for name, data in files.items():
                (at / name).parent.mkdir(parents=True, exist_ok=True)
                (at / name).write_bytes(data)

    def run(self, arguments, *descriptors):
        """A process that ends with this one, whatever thread has started it."""
        return subprocess.Popen(
            [sys.executable, "-B", RUNNER, str(os.getpid()), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
            cwd=self.root,
        )

    def read(self):
        for line in self.process.stdout:
            self.container.log.add(self.shown(line.decode(errors="replace").rstrip("\n")))
        code = self.process.wait()
        self.pods.timeline.soon(self.pods.exited, self.pod, self.container, self, code if code >= 0 else 128 - code)

    def shown(self, line):
        """Paths as the container has them."""
        return line.replace(str(self.root), "")

    def await_ready(self, reading):
        with open(reading, "rb") as pipe:
            if pipe.read(1):
                self.pods.timeline.soon(self.pods.readied, self.pod, self.container)

    def stop(self, grace):
        """First what the pod wants done before, then the signal that the image names."""
        threading.Thread(target=self.stopped, args=(grace,), daemon=True).start()

    def stopped(self, grace):
        hook = self.container.spec.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        if hook and "unregister" in shlex.join(hook):
            before = self.run(["unregister"])
            try:
                said, _ = before.communicate(timeout=max(grace, 1))
            except subprocess.TimeoutExpired:
                before.kill()
                said, _ = before.communicate()
            # What a hook says is in no log; a test may still want it.
            for line in said.decode(errors="replace").splitlines():
                print(f"{self.pod.name}: preStop: {self.shown(line)}", file=sys.stderr)
        # GitLab's images name SIGQUIT as their signal (dockerfiles/runner): jobs may end.
        self.process.send_signal(signal.SIGQUIT)

    def kill(self):
        self.process.kill()
