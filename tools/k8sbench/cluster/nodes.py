"""Nodes as a managed node group has them; each is a Node object and nothing else, and `pods.py` plays what runs on it."""

import datetime
import re
import secrets
import threading
import time

from cluster.client import Refused
from cluster.control import Wrong

REGION = "eu-west-2"
# vCPUs by size, and the pods that the addresses of a size are enough for (amazon-vpc-cni-k8s, misc/eni-max-pods.txt).
SIZES = {
    "medium": (2, 17),
    "large": (2, 29),
    "xlarge": (4, 58),
    "2xlarge": (8, 58),
    "4xlarge": (16, 234),
    "8xlarge": (32, 234),
}
# GiB for each vCPU by the first letter of the family; the others are told.
MEMORY = {"c": 2, "m": 4, "r": 8}
BURSTABLE = {"medium": 4, "large": 8, "xlarge": 16, "2xlarge": 32}
BURSTABLE_PODS = {"large": 35}


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def capacity(kind):
    """Returns capacity and allocatable of an instance type: reserved as by EKS, less 7.5 % that the machine itself takes."""
    match = re.fullmatch(r"([a-z])(\d\w*)\.(\w+)", kind)
    if not match or match[3] not in SIZES:
        raise Wrong(f"the bench does not know the size of {kind}")
    cpus, pods = SIZES[match[3]]
    if match[1] == "t":
        memory, pods = BURSTABLE.get(match[3], 0) * 1024, BURSTABLE_PODS.get(match[3], pods)
    else:
        memory = MEMORY.get(match[1], 0) * 1024 * cpus
    if not memory:
        raise Wrong(f"the bench does not know the memory of {kind}")
    # The kubelet's reservations in bootstrap.sh of amazon-eks-ami, as Karpenter computes them (its page of instance types:
    # c6i.large 1930m and 3114Mi, m6i.xlarge 3920m and 14162Mi).
    reserved = sum(
        share for share, first in ((60, 1), (10, 2), (5, 3), (5, 4)) if cpus >= first
    ) + 2.5 * max(0, cpus - 4)
    # What the kubelet may use, as pods, less its own memory and 100 MiB at which it evicts.
    free = int(memory * 0.925) - (255 + 11 * pods) - 100
    return (
        {"cpu": str(cpus), "memory": f"{memory}Mi", "pods": str(pods), "ephemeral-storage": "300Gi"},
        {"cpu": f"{int(cpus * 1000 - reserved)}m", "memory": f"{free}Mi", "pods": str(pods), "ephemeral-storage": "275Gi"},
    )


class Nodes:
    """All nodes of the cluster, by cluster of EKS and node group."""

    def __init__(self, client, kubelet_port):
        self.client, self.port = client, kubelet_port
        self.lock = threading.Lock()
        self.groups = {}
        self.made = 0
        # Seconds for which a node that goes lets its pods end.
        self.patience = 30

    def put(self, cluster, group, said):
        """Makes nodes, or lets the last ones go, until there are as many as wanted."""
        kind, wanted = said.get("instance_type", "c6i.large"), int(said["count"])
        sizes = capacity(kind)
        with self.lock:
            there = self.groups.setdefault((cluster, group), [])
            gone = there[wanted:]
            del there[wanted:]
            while len(there) < wanted:
                there.append(self.make(cluster, group, len(there), kind, sizes, said))
        self.remove(gone, said.get("wait", False))
        return self.list()

    def drop(self, cluster, group, said):
        with self.lock:
            gone = self.groups.pop((cluster, group), [])
        self.remove(gone, said.get("wait", False))
        return self.list()

    def list(self):
        with self.lock:
            return {f"{cluster}/{group}": list(names) for (cluster, group), names in self.groups.items()}

    def names(self):
        with self.lock:
            return {name for names in self.groups.values() for name in names}

    def make(self, cluster, group, nth, kind, sizes, said):
        self.made += 1
        zone = REGION + "abc"[self.made % 3]
        address = f"10.0.{self.made // 250 + 1}.{self.made % 250 + 1}"
        name = f"ip-{address.replace('.', '-')}.{REGION}.compute.internal"
        labels = {
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/os": "linux",
            "kubernetes.io/hostname": name,
            "node.kubernetes.io/instance-type": kind,
            "topology.kubernetes.io/region": REGION,
            "topology.kubernetes.io/zone": zone,
            "eks.amazonaws.com/capacityType": "ON_DEMAND",
            "eks.amazonaws.com/nodegroup": group,
        }
        known = said.get("instances") or []
        identity = known[nth] if nth < len(known) else f"i-0{secrets.token_hex(8)}"
        moment = now()
        ready = [
            ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        ]
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": labels | (said.get("labels") or {}),
                "annotations": {"k8sbench/cluster": cluster},
            },
            "spec": {"providerID": f"aws:///{zone}/{identity}", "taints": said.get("taints") or []},
            "status": {
                "capacity": sizes[0],
                "allocatable": sizes[1] | (said.get("allocatable") or {}),
                "conditions": [
                    {
                        "type": kind,
                        "status": status,
                        "reason": reason,
                        "message": message,
                        "lastHeartbeatTime": moment,
                        "lastTransitionTime": moment,
                    }
                    for kind, status, reason, message in ready
                ],
                # The API server finds the kubelet by the one that it is told to prefer.
                "addresses": [
                    {"type": "InternalIP", "address": address},
                    {"type": "ExternalIP", "address": "127.0.0.1"},
                    {"type": "Hostname", "address": name},
                ],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self.port}},
                "nodeInfo": {
                    "architecture": "amd64",
                    "operatingSystem": "linux",
                    "osImage": "k8sbench",
                    "kernelVersion": "0.0.0",
                    "kubeletVersion": "v1.20.2-k8sbench",
                    "kubeProxyVersion": "v1.20.2-k8sbench",
                    "containerRuntimeVersion": "k8sbench://1",
                    "machineID": identity,
                    "systemUUID": identity,
                    "bootID": identity,
                },
            },
        }
        self.client.call("POST", "/api/v1/nodes", node)
        return name

    def remove(self, names, wait):
        """As an update of a node group does it: nothing new comes, pods end, and then the node goes."""
        threads = [threading.Thread(target=self.drain, args=(name,), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads if wait else ():
            thread.join()

    def drain(self, name):
        node = f"/api/v1/nodes/{name}"
        self.client.patch(node, {"spec": {"unschedulable": True}})
        for pod in self.pods(name):
            path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
            self.client.delete(path)
        end = time.monotonic() + self.patience
        while (left := self.pods(name)) and time.monotonic() < end:
            time.sleep(0.2)
        for pod in left:
            path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"
            self.client.delete(path, gracePeriodSeconds=0)
        self.client.delete(node)

    def pods(self, name):
        try:
            return self.client.call("GET", f"/api/v1/pods?fieldSelector=spec.nodeName%3D{name}")["items"]
        except (Refused, OSError):
            return []
