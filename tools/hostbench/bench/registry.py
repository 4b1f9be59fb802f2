"""A registry that has what guests pull, under the names of Docker Hub."""

import http.client
import json
import subprocess

from .shell import until

PORT = 5055


class Registry:
    """Docker's own registry program, on a store that `image/build` made."""

    def __init__(self, folder, store):
        folder.mkdir()
        settings = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(store)}},
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
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
        try:
            connection.request("GET", "/v2/")
            return connection.getresponse().status == 200
        except OSError:
            return False
