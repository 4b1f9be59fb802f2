"""Docker's API over its socket: as much of it as jobs need."""

import base64
import http.client
import json
import os
import socket
import struct
import urllib.parse

SOCKET = "/var/run/docker.sock"
# The newest that we know; an older daemon gets its own.
NEWEST = (1, 44)


class EngineError(Exception):
    """What Docker refused, with its own words."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Connection(http.client.HTTPConnection):
    def __init__(self, path, patience):
        super().__init__("docker", timeout=patience)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Engine:
    def __init__(self, path=None):
        host = os.environ.get("DOCKER_HOST", "")
        self.path = path or (host.removeprefix("unix://") if host.startswith("unix://") else SOCKET)
        self.version = ""

    def open(self, method, path, body=None, patience=60, headers=None):
        """Makes a call; the answer is still to be read, and its connection to be closed."""
        if not self.version and path != "/_ping":
            connection, answer = self.open("GET", "/_ping")
            offered = tuple(map(int, (answer.headers.get("Api-Version") or "1.44").split(".")))
            self.version = "/v" + ".".join(map(str, min(offered, NEWEST)))
            connection.close()
        connection = Connection(self.path, patience)
        data = None if body is None else json.dumps(body).encode()
        known = {"Content-Type": "application/json"} if data else {}
        try:
            connection.request(method, (self.version if path != "/_ping" else "") + path, data, known | (headers or {}))
            answer = connection.getresponse()
        except OSError as problem:
            connection.close()
            if isinstance(problem, (FileNotFoundError, ConnectionRefusedError)):
                raise EngineError(
                    0, f"Cannot connect to the Docker daemon at unix://{self.path}. Is the docker daemon running?"
                ) from None
            raise EngineError(0, f"error during connect: {problem}") from None
        if answer.status >= 400:
            text = answer.read().decode(errors="replace")
            connection.close()
            try:
                text = json.loads(text)["message"]
            except (ValueError, KeyError):
                pass
            raise EngineError(answer.status, f"Error response from daemon: {text}")
        return connection, answer

    def call(self, method, path, body=None, patience=60, headers=None):
        connection, answer = self.open(method, path, body, patience, headers)
        try:
            data = answer.read()
        except OSError as problem:
            raise EngineError(0, f"error during connect: {problem}") from None
        finally:
            connection.close()
        return json.loads(data) if data and answer.headers.get_content_type() == "application/json" else None

    def image(self, name):
        try:
            return self.call("GET", f"/images/{urllib.parse.quote(name)}/json")
        except EngineError as problem:
            if problem.status == 404:
                return None
            raise

    def pull(self, name):
        """The end of the stream of messages says whether it went well."""
        repository, _, tag = name.rpartition(":")
        if "@" in name or not repository or "/" in tag:
            repository, tag = name, "" if "@" in name else "latest"
        query = urllib.parse.urlencode({"fromImage": repository} | ({"tag": tag} if tag else {}))
        headers = {"X-Registry-Auth": login(repository)}
        connection, answer = self.open("POST", f"/images/create?{query}", patience=1800, headers=headers)
        try:
            for line in answer:
                said = json.loads(line)
                if "error" in said:
                    raise EngineError(500, said["error"])
        finally:
            connection.close()

    def create(self, name, settings):
        return self.call("POST", f"/containers/create?name={urllib.parse.quote(name)}", settings)["Id"]

    def logs(self, container):
        """Output as it comes, until the container ends."""
        connection, answer = self.open("GET", f"/containers/{container}/logs?follow=1&stdout=1&stderr=1", patience=None)
        try:
            while len(head := answer.read(8)) == 8:
                size = struct.unpack(">4xI", head)[0]
                yield answer.read(size)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


def login(repository):
    """The login for the registry of an image, from the file that `docker login` writes, as a header has it."""
    first = repository.split("/")[0]
    registry = first if "/" in repository and ("." in first or ":" in first or first == "localhost") else "docker.io"
    places = (
        ["https://index.docker.io/v1/", "index.docker.io", "docker.io"]
        if registry == "docker.io"
        else [registry, f"https://{registry}", f"https://{registry}/v1/", f"https://{registry}/v2/"]
    )
    try:
        with open(os.path.expanduser("~/.docker/config.json")) as file:
            known = json.load(file).get("auths", {})
    except (OSError, ValueError):
        known = {}
    said = {}
    for place in places:
        if known.get(place, {}).get("auth"):
            user, _, password = base64.b64decode(known[place]["auth"]).decode().partition(":")
            said = {"username": user, "password": password, "serveraddress": place}
            break
    return base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
