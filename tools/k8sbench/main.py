"""A Kubernetes cluster for tests; `serve` starts it.

    main.py --programs FOLDER [--keep-log]

Says one line of JSON when all of it works:

    endpoint      of the API server, such as `https://127.0.0.1:25000`
    authority     its certificate authority, PEM in base 64, as EKS gives it
    control       the control interface, such as `http://127.0.0.1:40000`
    admin_token   of the administrator, in group `system:masters`
    helm          the program
    folder        where the servers' logs are, until the end
    pids          of the servers

Ends, with all that it started, when its standard input closes.

Login with tokens of EKS works for the keys `test`/`test` (administrator) and `powerless`/`powerless` (nobody), for the clusters
whose names are known: those that have or had nodes, and those of `PUT /clusters/NAME`.

Control, JSON in and out:

    PUT    /clusters/NAME           tokens of EKS for a cluster of this name are good
    DELETE /clusters/NAME
    PUT    /keys/ACCESS-KEY         {"secret": …, "groups": ["system:masters"], "username": …}: who may log in with EKS tokens
    DELETE /keys/ACCESS-KEY
    GET    /logins                  the last answers about tokens

    PUT    /nodes/CLUSTER/GROUP     {"count": N, "instance_type": "c6i.xlarge", "labels": {…}, "taints": […], "wait": true}: as many
                                    nodes as that; those that are too many go once their pods have ended ("wait": before the
                                    answer). "allocatable": {"cpu": …} says otherwise than the type, "instances" has ids of EC2
    DELETE /nodes/CLUSTER/GROUP     all of them go; also with {"wait": true}
    GET    /nodes                   names by "CLUSTER/GROUP"

    POST   /rules                   what containers do, see `cluster/rules.py`: {"image": PATTERN, "pull": WORDS}, …; the last one
                                    that fits holds, for what is started from now on
    DELETE /rules                   all, or those of {"pod": PATTERN}
    PUT    /volumes                 {"installed": false}: no EFS driver; {"provision": WORDS}, {"mount": WORDS}: it fails; {}: it works
    ...    /api/…, /apis/…          the API server itself, as administrator, for who has no TLS
    GET    /pods                    what the kubelets know, with the logs
    POST   /fronts                  {"name": N, "endpoint": …}: a front before the API server, see `cluster/front.py`
    DELETE /fronts/N
    POST   /fronts/N/rules          what happens to calls there; GET tells how often each did, DELETE forgets all
    GET    /fronts/N/calls          names of all calls so far
    POST   /kill                    {"pod": NAME, "namespace": …, "container": …, "code": 137, "reason": "OOMKilled"}: a container ends
"""

import argparse
import base64
import json
import os
import pathlib
import secrets
import shutil
import sys
import threading

from cluster import control, logs, servers
from cluster.client import Client, Refused
from cluster.front import Fronts
from cluster.login import Login
from cluster.nodes import Nodes
from cluster.pods import Pods
from cluster.rules import Rules
from cluster.volumes import DRIVER, Volumes


class World:
    """The cluster with all that is played in it."""

    def __init__(self, options, gone):
        self.folder = servers.make_folder()
        self.keep = options.keep_log
        programs = pathlib.Path(options.programs)
        self.login = Login()
        self.servers = servers.Servers(programs, self.folder, secrets.token_urlsafe(24))
        certificate = self.servers.authority.issue("webhook")
        port = control.serve([("POST", "/review", self.review)], certificate)
        try:
            self.servers.start(f"https://127.0.0.1:{port}/review", gone)
        except servers.Failed:
            self.close()
            raise
        self.play()
        self.said = {
            "endpoint": self.servers.endpoint,
            "authority": base64.b64encode(self.servers.authority.pem).decode(),
            "control": f"http://127.0.0.1:{control.serve(self.routes(), streams=[self.forward])}",
            "admin_token": self.servers.admin,
            "helm": str(programs / "helm"),
            "folder": str(self.folder),
            "pids": self.servers.pids(),
        }

    def play(self):
        """What is not real: nodes, what runs on them, and the driver of volumes."""
        client = self.client = Client(self.servers.endpoint, self.servers.authority.file, self.servers.admin)
        certificate = self.servers.authority.issue("kubelet")
        path = r"/containerLogs/([^/]+)/([^/]+)/([^/]+)"
        port = control.serve([("GET", path, self.read)], certificate, streams=[self.read])
        self.nodes, self.rules = Nodes(client, port), Rules()
        self.pods = Pods(client, self.nodes, self.rules, self.folder / "pods", self.servers.endpoint)
        self.volumes = Volumes(client, self.pods.timeline)
        self.fronts = Fronts(self.servers.endpoint, self.servers.authority)
        self.pods.watch()
        self.volumes.watch()

    def read(self, namespace, pod, container, query, handler):
        logs.serve(self.pods, namespace, pod, container, query, handler)

    def review(self, body):
        return self.login.review(body)

    def routes(self):
        login = self.login
        return [
            ("PUT", r"/clusters/([\w-]+)", lambda name, body: login.clusters.add(name)),
            ("DELETE", r"/clusters/([\w-]+)", lambda name, body: login.clusters.discard(name)),
            ("PUT", r"/keys/(\w+)", lambda key, body: login.put(key, body)),
            ("DELETE", r"/keys/(\w+)", lambda key, body: login.users.pop(key, None) and {}),
            ("GET", "/logins", lambda body: login.seen),
            ("PUT", r"/nodes/([\w-]+)/([\w-]+)", self.put_nodes),
            ("DELETE", r"/nodes/([\w-]+)/([\w-]+)", lambda cluster, group, body: self.nodes.drop(cluster, group, body)),
            ("GET", "/nodes", lambda body: self.nodes.list()),
            ("POST", "/rules", lambda body: self.rules.add(body)),
            ("DELETE", "/rules", lambda body: self.rules.clear(body)),
            ("PUT", "/volumes", self.set_volumes),
            ("GET", "/pods", lambda body: self.pods.list()),
            ("POST", "/kill", lambda body: self.pods.end(body)),
            *self.fronts.routes(),
            *((method, r"(/apis?/.*)", self.forward) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
        ]

    def put_nodes(self, cluster, group, body):
        self.login.clusters.add(cluster)
        return self.nodes.put(cluster, group, body)

    def forward(self, path, query, handler):
        """Passes a call on to the API server."""
        kind = handler.headers.get("Content-Type") or "application/json"
        body = json.loads(handler.body) if handler.body else None
        try:
            said = self.client.call(handler.command, f"{path}?{query}" if query else path, body, kind)
        except Refused as refusal:
            return handler.answer(refusal.status, refusal.said)
        handler.answer(200, said)

    def set_volumes(self, body):
        for key in body:
            if key not in ("installed", "provision", "mount"):
                raise control.Wrong(f"{key} is not said of volumes")
        self.pods.mount_faults = {DRIVER: body["mount"]} if body.get("mount") else {}
        self.volumes.put(body)

    def close(self):
        self.servers.stop()
        if not self.keep:
            shutil.rmtree(self.folder, ignore_errors=True)


def until_closed(ended):
    while os.read(0, 4096):
        pass
    ended.set()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", required=True)
    parser.add_argument("--keep-log", action="store_true")
    options = parser.parse_args()
    ended = threading.Event()
    # From the start, so that who goes away while the servers start is noticed.
    threading.Thread(target=until_closed, args=(ended,), daemon=True).start()
    try:
        world = World(options, ended.is_set)
    except servers.Failed as failure:
        print(f"the cluster does not start: {failure}", file=sys.stderr, flush=True)
        os._exit(1)
    print(json.dumps(world.said), flush=True)
    ended.wait()
    world.close()
    # Threads that serve hold nothing.
    os._exit(0)


if __name__ == "__main__":
    main()
