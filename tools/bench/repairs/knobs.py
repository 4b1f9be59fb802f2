"""What a test says of the bench, for one account: how long things take, what fails, and where the clusters' API server is.

`BENCH_EKS_TIMES`, `BENCH_EKS_FAIL` (JSON) and `BENCH_EKS_CLUSTER` (a file) hold for every account; `PUT /bench/knobs` with
`{"times", "fail", "cluster"}` for the account in `x-moto-account-id`, what it says replacing what was said before of the same name.

Times are seconds, none: at once, which is seen by the next call. Names, those of EKS with a name behind a slash first
(`addon/coredns`): `cluster`, `cluster-update`, `cluster-deletion`, `nodegroup`, `nodegroup-update`, `nodegroup-deletion`, `addon`,
`addon-update`, `addon-deletion`, `nodes-late` (after which a node group without its needs fails; 60), `role` (until a new role is
known), `file-system`, `file-system-deletion`, `mount-target`, `mount-target-deletion`, `fargate-profile`.

Failures have the same names and are `{"code", "message", "status", "times"}`: the health issue, the status where there are several,
and how often it happens (none: always). `capacity` is a list of instance types of which there are none.

`insights` are what EKS found, instead of what was said before: `{"version", "name", "status", "reason", "recommendation"}`. `release` is
the day of the newest image for nodes, such as `20260510`.
"""

import json
import os
import threading

# One request at a time, and nothing changes by itself meanwhile.
LOCK = threading.RLock()
# Where a cluster is without a file: nobody listens there.
DEAD = {"endpoint": "https://127.0.0.1:9", "authority": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCi0tLS0tRU5EIENFUlRJRklDQVRFLS0tLS0K"}
ACCOUNTS = {}


class Knobs:
    """What holds for an account."""

    def __init__(self):
        self.times = json.loads(os.environ.get("BENCH_EKS_TIMES") or "{}")
        self.fail = json.loads(os.environ.get("BENCH_EKS_FAIL") or "{}")
        self.file = os.environ.get("BENCH_EKS_CLUSTER")
        self.known = None
        self.insights, self.release = [], None

    def say(self, said):
        """Takes what a test says."""
        self.times.update(said.get("times") or {})
        for name, failure in (said.get("fail") or {}).items():
            if failure is None:
                self.fail.pop(name, None)
            else:
                self.fail[name] = failure
        self.insights = said.get("insights", self.insights)
        self.release = said.get("release", self.release)
        cluster = said.get("cluster")
        if isinstance(cluster, str):
            self.file = cluster
        elif cluster is not None:
            self.known = cluster

    def seconds(self, kind, name=None, default=0):
        """Returns how long something takes."""
        return float(self.times.get(f"{kind}/{name}", self.times.get(kind, default)))

    def failure(self, kind, name=None):
        """Returns how something fails, if it does, and counts it."""
        for key in (f"{kind}/{name}", kind):
            failure = self.fail.get(key)
            if failure and failure.get("times", 1) > 0:
                if "times" in failure:
                    failure["times"] -= 1
                return failure
        return None

    def cluster(self):
        """Returns endpoint, authority and control of the API server behind every cluster."""
        if self.known is not None:
            return {**DEAD, **self.known}
        try:
            with open(self.file or "", encoding="utf8") as file:
                return {**DEAD, **json.load(file)}
        except (OSError, ValueError):
            return DEAD


def of(account):
    """Returns the knobs of an account."""
    return ACCOUNTS.setdefault(account, Knobs())


def answer(environ, start_response):
    """Answers `/bench/knobs`."""
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    knobs = of(environ.get("HTTP_X_MOTO_ACCOUNT_ID", ""))
    if environ["REQUEST_METHOD"] == "PUT":
        knobs.say(json.loads(body))
    text = json.dumps({"times": knobs.times, "fail": knobs.fail, "cluster": knobs.cluster()}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(text)))])
    return [text]
