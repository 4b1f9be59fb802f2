"""The kubelets of all nodes: starts what the scheduler has put on them, tells how it is, and ends it.

Containers are not run. What one does follows from its image (`rules.py`); the runner's is played by a process (`players.py`).
States, reasons and events have the kubelet's words (`pkg/kubelet` of 1.20).
"""

import base64
import json
import pathlib
import re
import shutil
import threading
import time

from cluster import players
from cluster.client import Refused
from cluster.control import Wrong
from cluster.logs import Log
from cluster.nodes import now
from cluster.timeline import Timeline

# Seconds. A kubelet waits 10 s before it starts a container again, then twice as long each time, up to 5 minutes.
BACKOFF, LONGEST_BACKOFF = 1, 30
# Between two tries to mount a volume or to find what the environment names.
AGAIN = 1


class NotYet(Exception):
    """Why a container cannot be made; reason and message as the kubelet has them."""

    def __init__(self, reason, message):
        super().__init__(message)
        self.reason, self.message = reason, message


class Container:
    """One container of a pod, in all its runs."""

    def __init__(self, spec, first):
        self.spec, self.name, self.image, self.first = spec, spec["name"], spec["image"], first
        self.state = {"waiting": {"reason": "PodInitializing" if not first else "ContainerCreating"}}
        self.last, self.restarts, self.failures = {}, 0, 0
        self.ready = False
        self.log = self.previous = self.player = None

    def status(self):
        known = {
            "name": self.name,
            "image": self.image,
            "imageID": "",
            "ready": self.ready,
            "restartCount": self.restarts,
            "state": self.state,
            "lastState": self.last,
            "started": "running" in self.state,
        }
        if self.log:
            known["containerID"] = f"k8sbench://{self.name}-{self.restarts}"
        return known

    def done(self):
        return self.state.get("terminated", {}).get("exitCode") == 0


class Pod:
    """A pod on one of our nodes."""

    def __init__(self, item):
        self.item = item
        meta, spec = item["metadata"], item["spec"]
        self.uid, self.namespace, self.name = meta["uid"], meta["namespace"], meta["name"]
        self.path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}"
        initial = spec.get("initContainers", [])
        self.initial = [Container(known, True) for known in initial]
        self.containers = [Container(known, not initial) for known in spec["containers"]]
        self.mounted = self.stopping = self.gone = self.ended = False
        self.started = now()
        self.told = self.readied = None
        self.files = {}
        self.number = self.grace = 0

    def all(self):
        return self.initial + self.containers

    def restarts(self, container, code):
        policy = self.item["spec"].get("restartPolicy", "Always")
        if container in self.initial:
            return code != 0 and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and code != 0)

    def phase(self):
        if self.containers and all("terminated" in one.state and not one.player for one in self.containers):
            if self.stopping or not any(self.restarts(one, one.state["terminated"]["exitCode"]) for one in self.containers):
                return "Succeeded" if all(one.done() for one in self.containers) else "Failed"
        failed = [one for one in self.initial if one.state.get("terminated", {}).get("exitCode")]
        if any(not self.restarts(one, 1) for one in failed):
            return "Failed"
        return "Running" if any(one.log for one in self.containers) else "Pending"

    def status(self, known):
        phase = self.phase()
        finished = phase in ("Succeeded", "Failed")
        initialized = all(one.done() for one in self.initial)
        ready = phase == "Running" and all(one.ready for one in self.containers)
        waiting = [one.name for one in self.containers if not one.ready]
        why = {}
        if phase == "Succeeded":
            why = {"reason": "PodCompleted"}
        elif not ready:
            why = {"reason": "ContainersNotReady", "message": f"containers with unready status: [{' '.join(waiting)}]"}
        conditions = [
            {"type": "Initialized", "status": "True" if initialized else "False"}
            | ({} if initialized else {"reason": "ContainersNotInitialized"}),
            {"type": "Ready", "status": "True" if ready else "False"} | why,
            {"type": "ContainersReady", "status": "True" if ready else "False"} | why,
            {"type": "PodScheduled", "status": "True"},
        ]
        before = {one["type"]: one for one in known.get("conditions", [])}
        for condition in conditions:
            same = before.get(condition["type"], {})
            kept = same.get("status") == condition["status"] and same.get("lastTransitionTime")
            condition["lastTransitionTime"] = kept or now()
        # A merge puts lists whole.
        status = {
            "phase": phase,
            "conditions": conditions,
            "startTime": self.started,
            "hostIP": "127.0.0.1",
            "podIP": None if finished else f"10.0.200.{self.number % 250 + 1}",
            "containerStatuses": [one.status() for one in self.containers],
        }
        if self.initial:
            status["initContainerStatuses"] = [one.status() | {"ready": one.done()} for one in self.initial]
        return status


class Pods:
    """All pods on the nodes."""

    def __init__(self, client, nodes, rules, folder, endpoint):
        self.client, self.nodes, self.rules = client, nodes, rules
        self.folder, self.endpoint = pathlib.Path(folder), endpoint
        self.timeline = Timeline()
        self.known = {}
        self.lock = threading.Lock()
        self.events = {}
        self.counted = 0
        # Driver of a volume -> words with which it refuses to mount.
        self.mount_faults = {}

    def watch(self):
        """Follows the API server for ever."""
        told = lambda kind, item: self.timeline.soon(self.changed, kind, item)  # noqa: E731
        threading.Thread(target=self.client.watch, args=("/api/v1/pods", told), daemon=True).start()

    def changed(self, kind, item):
        meta = item["metadata"]
        pod = self.known.get(meta["uid"])
        if kind == "DELETED":
            if pod:
                self.forget(pod)
            return
        if pod is None:
            if item["spec"].get("nodeName") not in self.nodes.names():
                return
            if item["status"].get("phase") in ("Succeeded", "Failed") and not meta.get("deletionTimestamp"):
                return
            pod = Pod(item)
            self.counted += 1
            pod.number = self.counted
            with self.lock:
                self.known[pod.uid] = pod
            pod.item = item
            if not meta.get("deletionTimestamp"):
                self.step(pod)
        pod.item = item
        if meta.get("deletionTimestamp"):
            grace = meta.get("deletionGracePeriodSeconds") or 0
            if not pod.stopping:
                self.stop(pod, grace)
            elif grace < pod.grace:
                # Deleted once more, by somebody with less patience.
                pod.grace = grace
                self.timeline.after(grace, self.kill, pod)

    def forget(self, pod):
        pod.gone = True
        for container in pod.all():
            if container.player:
                container.player.kill()
        with self.lock:
            self.known.pop(pod.uid, None)
        shutil.rmtree(self.folder / pod.uid, ignore_errors=True)

    # How a pod comes up.

    def step(self, pod):
        """Goes on with a pod as far as it can."""
        if pod.gone or pod.stopping:
            return
        if not pod.mounted:
            try:
                pod.files = self.mount(pod)
                pod.mounted = True
            except NotYet as missing:
                self.event(pod, "Warning", missing.reason, missing.message)
                self.timeline.after(AGAIN, self.step, pod)
                return self.tell(pod)
        for container in pod.initial:
            if container.done():
                continue
            if "waiting" in container.state and not container.player:
                self.create(pod, container)
            return self.tell(pod)
        for container in pod.containers:
            if "waiting" in container.state and not container.player and not container.failures:
                self.create(pod, container)
        self.tell(pod)

    def again(self, pod, container):
        """Tries a container once more."""
        if not pod.gone and not pod.stopping and "waiting" in container.state and not container.player:
            self.create(pod, container)
            self.tell(pod)

    def create(self, pod, container):
        rule = self.rules.of(container.image, pod.name)
        try:
            self.pull(pod, container, rule)
            environment = self.environment(pod, container)
        except NotYet as missing:
            seen = container.state["waiting"].get("reason")
            if missing.reason == "ErrImagePull":
                self.event(pod, "Warning", "Failed", f'Failed to pull image "{container.image}": {missing.message}', container)
                self.event(pod, "Warning", "Failed", "Error: ErrImagePull", container)
                if seen in ("ErrImagePull", "ImagePullBackOff"):
                    words = f'Back-off pulling image "{container.image}"'
                    self.event(pod, "Normal", "BackOff", words, container)
                    self.event(pod, "Warning", "Failed", "Error: ImagePullBackOff", container)
                    missing = NotYet("ImagePullBackOff", words)
            else:
                self.event(pod, "Warning", "Failed", f"Error: {missing.message}", container)
            container.state = {"waiting": {"reason": missing.reason, "message": missing.message}}
            container.failures += 1
            return self.timeline.after(AGAIN, self.again, pod, container)
        container.failures = 0
        container.log = Log()
        container.state = {"running": {"startedAt": now()}}
        container.ready = False
        self.event(pod, "Normal", "Started", f"Started container {container.name}", container)
        container.player = players.start(self, pod, container, rule, environment)

    def pull(self, pod, container, rule):
        """The registry's side: refuses as it was told to."""
        if rule.get("pull"):
            raise NotYet("ErrImagePull", rule["pull"])
        if not rule.get("private") and not rule.get("refused"):
            return
        users = self.logins(pod)
        refused = f'rpc error: code = Unknown desc = failed to pull and unpack image "{container.image}": failed to resolve '
        refused += f'reference "{container.image}": '
        if users and all(user in rule.get("refused", []) for user in users):
            words = "failed to authorize: failed to fetch oauth token: unexpected status: 401 Unauthorized"
            raise NotYet("ErrImagePull", refused + words)
        if rule.get("private") and not users:
            words = "pull access denied, repository does not exist or may require authorization: server message: "
            words += "insufficient_scope: authorization failed"
            raise NotYet("ErrImagePull", refused + words)

    def logins(self, pod):
        """Names of the users in the secrets that a pod has for registries."""
        users = []
        for named in pod.item["spec"].get("imagePullSecrets", []):
            secret = self.client.get(f"/api/v1/namespaces/{pod.namespace}/secrets/{named['name']}")
            data = (secret or {}).get("data", {}).get(".dockerconfigjson")
            for login in json.loads(base64.b64decode(data))["auths"].values() if data else ():
                both = base64.b64decode(login.get("auth", "")).decode(errors="replace")
                users.append(login.get("username") or both.partition(":")[0])
        return users

    def mount(self, pod):
        """Returns the files of each volume; none for those that have none of their own."""
        files = {}
        for volume in pod.item["spec"].get("volumes", []):
            try:
                files[volume["name"]] = self.volume(pod, volume)
            except NotYet as missing:
                words = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {missing.message}'
                raise NotYet("FailedMount", words) from None
        return files

    def volume(self, pod, volume):
        if "secret" in volume:
            said = volume["secret"]
            return self.items(pod, "secret", said["secretName"], said)
        if "configMap" in volume:
            return self.items(pod, "configmap", volume["configMap"]["name"], volume["configMap"])
        if "projected" in volume:
            files = {}
            for source in volume["projected"].get("sources", []):
                for kind, key in ("secret", "secret"), ("configmap", "configMap"):
                    if key in source:
                        files |= self.items(pod, kind, source[key]["name"], source[key])
            return files
        if "persistentVolumeClaim" in volume:
            self.claimed(pod, volume["persistentVolumeClaim"]["claimName"])
        return {}

    def items(self, pod, kind, name, said):
        found = self.client.get(f"/api/v1/namespaces/{pod.namespace}/{kind}s/{name}")
        if found is None:
            if said.get("optional"):
                return {}
            raise NotYet("FailedMount", f'{kind} "{name}" not found')
        if kind == "secret":
            data = {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
        else:
            data = {key: value.encode() for key, value in (found.get("data") or {}).items()}
            data |= {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
        if not said.get("items"):
            return data
        chosen = {}
        for item in said["items"]:
            if item["key"] in data:
                chosen[item["path"]] = data[item["key"]]
            elif not said.get("optional"):
                raise NotYet("FailedMount", f'references non-existent {kind} key: {item["key"]}')
        return chosen

    def claimed(self, pod, name):
        claim = self.client.get(f"/api/v1/namespaces/{pod.namespace}/persistentvolumeclaims/{name}")
        if claim is None:
            raise NotYet("FailedMount", f'persistentvolumeclaim "{name}" not found')
        volume = self.client.get(f"/api/v1/persistentvolumes/{claim['spec'].get('volumeName')}") or {}
        fault = self.mount_faults.get(volume.get("spec", {}).get("csi", {}).get("driver"))
        if fault:
            raise NotYet("FailedMount", fault)

    def environment(self, pod, container):
        """The variables of a container; what they name must be there."""
        found = {}
        for source in container.spec.get("envFrom", []):
            for kind, key in ("secret", "secretRef"), ("configmap", "configMapRef"):
                if key in source:
                    said = source[key]
                    data = self.named(pod, kind, said) or {}
                    found |= {source.get("prefix", "") + name: text for name, text in data.items()}
        for variable in container.spec.get("env", []):
            value, source = variable.get("value", ""), variable.get("valueFrom", {})
            for kind, key in ("secret", "secretKeyRef"), ("configmap", "configMapKeyRef"):
                if key in source:
                    data = self.named(pod, kind, source[key])
                    if data is None or source[key]["key"] not in data:
                        if source[key].get("optional"):
                            value = None
                            continue
                        where = f"{pod.namespace}/{source[key]['name']}"
                        raise NotYet(
                            "CreateContainerConfigError",
                            f"couldn't find key {source[key]['key']} in {'Secret' if kind == 'secret' else 'ConfigMap'} {where}",
                        )
                    value = data[source[key]["key"]]
            if "fieldRef" in source:
                value = self.field(pod, source["fieldRef"]["fieldPath"])
            if value is not None:
                # `$(NAME)` is what was said before.
                found[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda m: found.get(m[1], m[0]), value)
        return found

    def named(self, pod, kind, said):
        found = self.client.get(f"/api/v1/namespaces/{pod.namespace}/{kind}s/{said['name']}")
        if found is None:
            if said.get("optional"):
                return None
            raise NotYet("CreateContainerConfigError", f'{kind} "{said["name"]}" not found')
        data = found.get("data") or {}
        if kind == "secret":
            return {key: base64.b64decode(value).decode(errors="replace") for key, value in data.items()}
        return data

    @staticmethod
    def field(pod, path):
        known = {
            "metadata.name": pod.name,
            "metadata.namespace": pod.namespace,
            "metadata.uid": pod.uid,
            "spec.nodeName": pod.item["spec"]["nodeName"],
            "spec.serviceAccountName": pod.item["spec"].get("serviceAccountName", ""),
            "status.hostIP": "127.0.0.1",
            "status.podIP": "127.0.0.1",
        }
        return known.get(path, "")

    # What players tell.

    def readied(self, pod, container):
        """A container answers its probe, or has none."""
        if "running" in container.state and not container.ready:
            container.ready = True
            self.tell(pod)

    def exited(self, pod, container, player, code, reason=None):
        """A container has ended."""
        if container.player is not player:
            return
        container.player, container.ready = None, False
        container.log.close()
        ended = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "startedAt": container.state.get("running", {}).get("startedAt", now()),
            "finishedAt": now(),
        }
        container.state = {"terminated": ended}
        if pod.gone:
            return
        if pod.stopping:
            return self.finish(pod)
        if pod.restarts(container, code):
            return self.restart(pod, container)
        self.tell(pod)
        if container in pod.initial and code == 0:
            self.step(pod)

    def restart(self, pod, container):
        """The first time at once, then later and later."""
        wait = min(BACKOFF * 2 ** (container.restarts - 1), LONGEST_BACKOFF) if container.restarts else 0.1
        container.last, container.previous = container.state, container.log
        self.timeline.after(wait, self.restarted, pod, container)
        if container.restarts:
            words = f"back-off {wait}s restarting failed container={container.name} pod={pod.name}_{pod.namespace}({pod.uid})"
            container.state = {"waiting": {"reason": "CrashLoopBackOff", "message": words}}
            self.event(pod, "Warning", "BackOff", "Back-off restarting failed container", container)
        self.tell(pod)

    def restarted(self, pod, container):
        if pod.gone or pod.stopping or container.player:
            return
        container.restarts += 1
        container.state = {"waiting": {"reason": "ContainerCreating"}}
        self.create(pod, container)
        self.tell(pod)

    # How a pod ends.

    def stop(self, pod, grace):
        pod.stopping, pod.grace = True, grace
        for container in pod.all():
            if container.player:
                self.event(pod, "Normal", "Killing", f"Stopping container {container.name}", container)
                container.player.stop(grace)
        self.timeline.after(grace, self.kill, pod)
        self.finish(pod)

    def kill(self, pod):
        if not pod.gone and not pod.ended:
            for container in pod.all():
                if container.player:
                    container.player.kill()
                    self.exited(pod, container, container.player, 137)
            self.finish(pod)

    def finish(self, pod):
        """Lets go of a pod whose containers have all ended."""
        if pod.ended or any(container.player for container in pod.all()):
            return self.tell(pod)
        pod.ended = True
        for container in pod.containers:
            if "waiting" in container.state:
                ended = {"exitCode": 137, "reason": "ContainerStatusUnknown", "message": "The container was never started"}
                container.state = {"terminated": ended}
        self.tell(pod)
        self.client.delete(pod.path, gracePeriodSeconds=0, preconditions={"uid": pod.uid})

    def tell(self, pod):
        """Writes the status, if it is news."""
        if pod.gone:
            return
        status = pod.status(pod.item.get("status", {}))
        same = {key: value for key, value in status.items() if key != "conditions"}
        same["conditions"] = [{key: value for key, value in one.items() if "Time" not in key} for one in status["conditions"]]
        if same == pod.told:
            return
        pod.told = same
        try:
            answer = self.client.patch(pod.path + "/status", {"metadata": {"uid": pod.uid}, "status": status})
        except Refused as refusal:
            # The pod of this name is another by now.
            if refusal.status not in (409, 422):
                raise
            return
        if answer:
            pod.item["status"] = answer.get("status", {})

    def event(self, pod, kind, reason, message, container=None):
        """Says what happened; the same again is counted."""
        involved = {
            "apiVersion": "v1",
            "kind": "Pod",
            "namespace": pod.namespace,
            "name": pod.name,
            "uid": pod.uid,
        }
        if container:
            field = "initContainers" if container in pod.initial else "containers"
            involved["fieldPath"] = f"spec.{field}{{{container.name}}}"
        key = (pod.uid, reason, message)
        events = f"/api/v1/namespaces/{pod.namespace}/events"
        if key in self.events:
            known = self.events[key]
            known["count"] += 1
            if self.client.patch(f"{events}/{known['name']}", {"count": known["count"], "lastTimestamp": now()}):
                return
        name = f"{pod.name}.{time.time_ns():x}"
        self.events[key] = {"name": name, "count": 1}
        moment = now()
        try:
            self.client.call(
                "POST",
                events,
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"name": name, "namespace": pod.namespace},
                    "involvedObject": involved,
                    "type": kind,
                    "reason": reason,
                    "message": message,
                    "source": {"component": "kubelet", "host": pod.item["spec"]["nodeName"]},
                    "firstTimestamp": moment,
                    "lastTimestamp": moment,
                    "count": 1,
                },
            )
        except Refused:
            # A namespace that ends takes no events.
            self.events.pop(key, None)

    # What others ask.

    def find(self, namespace, name):
        with self.lock:
            return next((pod for pod in self.known.values() if (pod.namespace, pod.name) == (namespace, name)), None)

    def log(self, namespace, name, container, previous):
        """Returns the words of a container; raises why there are none, in the kubelet's words."""
        pod = self.find(namespace, name)
        known = pod and next((one for one in pod.all() if one.name == container), None)
        if known is None:
            raise LookupError(f'container "{container}" in pod "{name}" is not available')
        if previous:
            if not known.previous:
                raise LookupError(f'previous terminated container "{container}" in pod "{name}" not found')
            return known.previous
        if known.log is None:
            reason = known.state.get("waiting", {}).get("reason", "ContainerCreating")
            if "Image" in reason:
                words = "trying and failing to pull image" if reason == "ImagePullBackOff" else "image can't be pulled"
                raise LookupError(f'container "{container}" in pod "{name}" is waiting to start: {words}')
            raise LookupError(f'container "{container}" in pod "{name}" is waiting to start: {reason}')
        return known.log

    def list(self):
        with self.lock:
            pods = list(self.known.values())
        return [
            {
                "namespace": pod.namespace,
                "name": pod.name,
                "node": pod.item["spec"]["nodeName"],
                "phase": pod.phase(),
                "containers": [one.status() | {"log": one.log.text() if one.log else ""} for one in pod.all()],
            }
            for pod in pods
        ]

    def end(self, said):
        """Ends a container from outside."""
        pod = self.find(said.get("namespace", "default"), said["pod"])
        if pod is None:
            raise Wrong(f"there is no pod {said['pod']}")
        container = next(one for one in pod.all() if one.name == said.get("container", pod.containers[0].name))
        player = container.player
        if player is None:
            raise Wrong(f"container {container.name} does not run")
        player.kill()
        self.timeline.soon(self.exited, pod, container, player, said.get("code", 137), said.get("reason"))
