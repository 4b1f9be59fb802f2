"""The platform: the fake GitLab of `gitlab/`, behind its name."""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
NAME = "platform.example.org"
URL = f"https://{NAME}"


class Platform:
    """One GitLab with no runners."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-B", HERE / "gitlab/server.py", "--url", URL, "--until-eof"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.address = self.process.stdout.readline().strip()
        self.port = int(self.address.rsplit(":", 1)[1])

    def call(self, method, path, body=None):
        """Makes a call of its control interface."""
        data = None if body is None else json.dumps(body).encode()
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.address}/bench/{path}", data, head, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def registration_token(self):
        """Makes a registration token of the older kind."""
        return self.call("POST", "registration-tokens", {})["token"]

    def runners(self):
        """Returns all runners."""
        return self.call("GET", "runners")

    def counts(self):
        """Returns how often each call had which answer."""
        return self.call("GET", "state")["counts"]

    def requests(self):
        """Returns how often runners asked for jobs."""
        return sum(runner["job_requests"] for runner in self.runners())

    def job(self, **wanted):
        """Makes a job; returns its number."""
        return self.call("POST", "jobs", wanted)["id"]

    def fault(self, call, **what):
        """From now on calls go wrong."""
        self.call("POST", "faults", {"call": call} | what)

    def heal(self):
        """Nothing goes wrong any more."""
        self.call("DELETE", "faults")
