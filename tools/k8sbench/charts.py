"""The fixture chart as others have theirs: in a repository by HTTPS, and in a registry (OCI) on this machine.

Prints one line of JSON and ends with its input:

    repository    such as `https://localhost:40000`
    registry      such as `oci://localhost:40001/charts`, by plain HTTP, which Helm takes for this machine alone
    authority     file with the certificate that the repository is trusted by

What is served is the chart of `chart/`, packed by the Helm that is named, once as it is and once as a later version.
"""

import argparse
import hashlib
import http.server
import json
import os
import pathlib
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading

from cluster.authority import Authority

CHART = pathlib.Path(__file__).parent / "chart"
LATER = "1.3.0"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.cncf.helm.config.v1+json"
LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def digest(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Registry:
    """As much of the distribution specification as a pull needs."""

    def __init__(self, folder):
        self.manifests, self.blobs = {}, {}
        for archive in folder.glob("*.tgz"):
            name, _, version = archive.stem.rpartition("-")
            layer, config = archive.read_bytes(), json.dumps({"name": name, "version": version}).encode()
            parts = [
                {"mediaType": kind, "digest": digest(data), "size": len(data)}
                for kind, data in ((CONFIG, config), (LAYER, layer))
            ]
            manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": parts[0], "layers": parts[1:]})
            manifest = manifest.encode()
            self.blobs.update({digest(data): data for data in (config, layer)})
            self.manifests.update({f"charts/{name}:{version}": manifest, f"charts/{name}:{digest(manifest)}": manifest})

    def find(self, path):
        """Returns type and bytes; none if there is no such thing."""
        if path in ("/v2", "/v2/"):
            return "application/json", b"{}"
        name, _, what = path.removeprefix("/v2/").rpartition("/")
        name, _, kind = name.rpartition("/")
        if kind == "manifests":
            found = self.manifests.get(f"{name}:{what}")
            return found and (MANIFEST, found)
        if kind == "blobs":
            found = self.blobs.get(what)
            return found and ("application/octet-stream", found)
        if kind == "tags" and what == "list":
            prefix = f"{name}:"
            tags = [key.removeprefix(prefix) for key in self.manifests if key.startswith(prefix) and "sha256" not in key]
            return "application/json", json.dumps({"name": name, "tags": tags}).encode()
        return None


class Handler(http.server.BaseHTTPRequestHandler):
    registry: Registry

    def log_message(self, *_):
        pass

    def do_GET(self):
        found = self.registry.find(self.path.partition("?")[0])
        self.send_response(200 if found else 404)
        kind, data = found or ("application/json", b'{"errors": [{"code": "NAME_UNKNOWN"}]}')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Docker-Content-Digest", digest(data))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def serve(handler, certificate=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--helm", required=True)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="k8sbench-charts-"))
    charts, keys = folder / "charts", folder / "keys"
    for made in (charts, keys):
        made.mkdir()
    for more in ([], ["--version", LATER]):
        subprocess.run(
            [options.helm, "package", CHART, "--destination", charts, *more], check=True, stdout=subprocess.DEVNULL
        )
    subprocess.run([options.helm, "repo", "index", charts], check=True, stdout=subprocess.DEVNULL)
    authority = Authority(keys)
    files = type("Files", (Quiet,), {"__init__": lambda self, *args: Quiet.__init__(self, *args, directory=charts)})
    repository = serve(files, authority.issue("localhost"))
    registry = serve(type("Bound", (Handler,), {"registry": Registry(charts)}))
    said = {
        "repository": f"https://localhost:{repository}",
        "registry": f"oci://localhost:{registry}/charts",
        "authority": str(authority.file),
    }
    print(json.dumps(said), flush=True)
    sys.stdin.buffer.read()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    main()
