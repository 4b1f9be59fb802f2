"""The EFS driver's controller, as far as claims see it: makes the volume of a claim, and deletes it after the claim.

Volumes that are there already are bound to their claims by the real controller manager.
"""

import secrets
import threading

from cluster.client import Refused
from cluster.nodes import now

DRIVER = "efs.csi.aws.com"


class Volumes:
    """Claims and volumes of the driver."""

    def __init__(self, client, timeline):
        self.client, self.timeline = client, timeline
        # Without it, claims wait; with words, each claim is refused with them.
        self.installed, self.fault = True, None
        self.waiting = {}

    def watch(self):
        for path, told in (
            ("/api/v1/persistentvolumeclaims", self.claim),
            ("/api/v1/persistentvolumes", self.volume),
        ):
            later = lambda kind, item, told=told: self.timeline.soon(told, kind, item)  # noqa: E731
            threading.Thread(target=self.client.watch, args=(path, later), daemon=True).start()

    def put(self, said):
        self.installed, self.fault = said.get("installed", True), said.get("provision")
        for claim in list(self.waiting.values()):
            self.timeline.soon(self.claim, "MODIFIED", claim)

    def claim(self, kind, claim):
        meta, spec = claim["metadata"], claim["spec"]
        annotation = meta.get("annotations", {}).get("volume.beta.kubernetes.io/storage-provisioner")
        if kind == "DELETED" or annotation != DRIVER or spec.get("volumeName") or meta.get("deletionTimestamp"):
            self.waiting.pop(meta["uid"], None)
            return
        known = meta["uid"] in self.waiting
        self.waiting[meta["uid"]] = claim
        if not self.installed:
            return
        if self.fault:
            if not known:
                words = f'failed to provision volume with StorageClass "{spec["storageClassName"]}": {self.fault}'
                self.event(claim, "Warning", "ProvisioningFailed", words)
            return
        found = self.client.get(f"/apis/storage.k8s.io/v1/storageclasses/{spec['storageClassName']}")
        if found is None:
            return
        system = found.get("parameters", {}).get("fileSystemId", "fs-unknown")
        name = f"pvc-{meta['uid']}"
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": DRIVER}},
            "spec": {
                "capacity": {"storage": spec["resources"]["requests"]["storage"]},
                "accessModes": spec["accessModes"],
                "persistentVolumeReclaimPolicy": found.get("reclaimPolicy", "Delete"),
                "storageClassName": spec["storageClassName"],
                "mountOptions": found.get("mountOptions", []),
                "volumeMode": "Filesystem",
                "csi": {"driver": DRIVER, "volumeHandle": f"{system}::fsap-{secrets.token_hex(8)}1"},
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": meta["namespace"],
                    "name": meta["name"],
                    "uid": meta["uid"],
                    "resourceVersion": meta["resourceVersion"],
                },
            },
        }
        try:
            self.client.call("POST", "/api/v1/persistentvolumes", volume)
        except Refused as refusal:
            if refusal.status != 409:
                raise
            return
        self.event(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    def volume(self, kind, volume):
        spec = volume["spec"]
        ours = volume["metadata"].get("annotations", {}).get("pv.kubernetes.io/provisioned-by") == DRIVER
        if kind == "DELETED" or not ours or volume["metadata"].get("deletionTimestamp"):
            return
        if volume["status"].get("phase") == "Released" and spec.get("persistentVolumeReclaimPolicy") == "Delete":
            self.client.delete(f"/api/v1/persistentvolumes/{volume['metadata']['name']}")

    def event(self, claim, kind, reason, message):
        meta = claim["metadata"]
        involved = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
        }
        try:
            self.client.call(
                "POST",
                f"/api/v1/namespaces/{meta['namespace']}/events",
                {
                    "apiVersion": "v1",
                    "kind": "Event",
                    "metadata": {"name": f"{meta['name']}.{secrets.token_hex(8)}", "namespace": meta["namespace"]},
                    "involvedObject": involved,
                    "type": kind,
                    "reason": reason,
                    "message": message,
                    "source": {"component": f"{DRIVER}_efs-csi-controller"},
                    "firstTimestamp": now(),
                    "lastTimestamp": now(),
                    "count": 1,
                },
            )
        except Refused:
            # A namespace that ends takes no events.
            pass
