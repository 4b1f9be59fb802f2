"""A registry that has what guests pull, under the names of Docker Hub."""

import gzip
import hashlib
import http.client
import json
import subprocess

from .shell import until

PORT = 5055
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
CONFIG = "application/vnd.docker.container.image.v1+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def digest(data):
    """Returns the name that a registry gives to bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """Docker's own registry program, empty at first."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        settings = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": f"127.0.0.1:{PORT}"},
        }
        # JSON is YAML.
        (folder / "config.yml").write_text(json.dumps(settings))
        with (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", folder / "config.yml"], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        until("registry", 20, self._up, 0.05)

    def _up(self):
        try:
            return self._call("GET", "/v2/")[0] == 200
        except OSError:
            return False

    def _call(self, method, path, body=None, kind="application/octet-stream"):
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
        connection.request(method, path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def _blob(self, name, data):
        there = f"/v2/{name}/blobs/{digest(data)}"
        if self._call("HEAD", there)[0] != 200:
            place = self._call("POST", f"/v2/{name}/blobs/uploads/")[1]["Location"]
            place = "/v2/" + place.split("/v2/", 1)[1]
            mark = "&" if "?" in place else "?"
            status, _, said = self._call("PUT", f"{place}{mark}digest={digest(data)}", data)
            assert status == 201, said
        return {"size": len(data), "digest": digest(data)}

    def push(self, names, layers, config):
        """Puts an image: its layers as tar files, and the `config` of its containers; `names` are (name, tag)."""
        packed = [gzip.compress(layer, 1, mtime=0) for layer in layers]
        image = {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [digest(layer) for layer in layers]},
            "history": [{"created": "2026-01-01T00:00:00Z"} for _ in layers],
            "created": "2026-01-01T00:00:00Z",
        }
        text = json.dumps(image, sort_keys=True).encode()
        for name, tag in names:
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": {"mediaType": CONFIG} | self._blob(name, text),
                "layers": [{"mediaType": LAYER} | self._blob(name, layer) for layer in packed],
            }
            status, _, said = self._call("PUT", f"/v2/{name}/manifests/{tag}", json.dumps(manifest), MANIFEST)
            assert status == 201, said
