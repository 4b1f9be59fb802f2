"""Where all names lead: one server, by TLS and without, that hands each request to what stands behind its name.

Rules play the faults. They belong to a name and a pattern of the path, and do, as often as is said:
`status` an answer of our own, `drop` no answer and no effect, `lose` the effect but no answer, `cut` an answer that ends
after some bytes, `hang` silence until the client gives up.
"""

import base64
import http.client
import mimetypes
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from .guest import SERVICES

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"}
LONGEST_SILENCE = 120


@dataclass
class Rule:
    """What goes wrong, where, and how often."""

    host: str
    path: str
    deed: str
    value: object = None
    body: str = ""
    times: int = 1 << 30
    skip: int = 0
    seen: int = 0

    def fits(self, host, path):
        """Whether it applies to this request, which counts."""
        if not re.fullmatch(self.host, host) or not re.search(self.path, path):
            return False
        self.seen += 1
        return self.skip < self.seen <= self.skip + self.times


class Plain:
    """A server on this machine."""

    def __init__(self, host, port, headers=None):
        self.host, self.port, self.headers = host, port, headers or {}

    def connect(self):
        """Returns a connection that was not used before."""
        return http.client.HTTPConnection(self.host, self.port, timeout=300)

    def answer(self, request):
        """Forwards a request."""
        connection = self.connect()
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        connection.request(request.command, request.path, request.body, headers | self.headers)
        return connection.getresponse()


class WayOut(Plain):
    """The machine's own source of packages, past the walls of the sandbox."""

    def __init__(self, door, host, port, tls):
        super().__init__(host, port)
        self.door, self.tls = door, tls

    def connect(self):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=300)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.door))
        connection.sock.sendall(f"{self.host} {self.port}\n".encode())
        if self.tls:
            connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=self.host)
        return connection


class Said:
    """An answer of our own, in the form of one that was received."""

    def __init__(self, status, body=b"", kind="text/plain", headers=()):
        self.status = status
        self.body = body if isinstance(body, bytes) else body.encode()
        self.at = 0
        self.headers = [("Content-Type", kind), ("Content-Length", str(len(self.body))), *headers]

    def getheaders(self):
        """Returns pairs of name and value."""
        return self.headers

    def read(self, size=-1):
        """Returns a part of the body."""
        part = self.body[self.at :] if size < 0 else self.body[self.at : self.at + size]
        self.at += len(part)
        return part


class Files:
    """A folder."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def answer(self, request):
        """Returns a file."""
        path = self.folder / unquote(request.path.split("?")[0]).lstrip("/")
        if ".." in path.parts or not path.is_file():
            return Said(404, "not found")
        return Said(200, path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream")


class Hub(Plain):
    """Docker Hub: the registry behind a login."""

    def __init__(self, host, port, user, password):
        super().__init__(host, port)
        self.login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def answer(self, request):
        """Forwards a request that knows the login."""
        if request.headers.get("Authorization") != self.login:
            error = '{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}'
            realm = ("WWW-Authenticate", 'Basic realm="hub"')
            version = ("Docker-Distribution-Api-Version", "registry/2.0")
            return Said(401, error, "application/json", [realm, version])
        del request.headers["Authorization"]
        return super().answer(request)


class Front:
    """The server with its names, rules and log."""

    def __init__(self):
        self.routes = {}
        self.rules = []
        self.calls = []
        self.lock = threading.Lock()

    def knows(self, host):
        """Whether there is something behind a name."""
        return host in self.routes

    def rule(self, *args, **kwargs):
        """Adds a rule; returns it, for `heal`."""
        rule = Rule(*args, **kwargs)
        with self.lock:
            self.rules.append(rule)
        return rule

    def heal(self, *rules):
        """Forgets these rules, or all."""
        with self.lock:
            self.rules = [rule for rule in self.rules if rules and rule not in rules]

    def find(self, host, path):
        """Returns the first rule for a request."""
        with self.lock:
            return next((rule for rule in self.rules if rule.fits(host, path)), None)

    def called(self, host, path=""):
        """Returns (host, command, path, status) of the calls so far."""
        return [call for call in self.calls if re.fullmatch(host, call[0]) and re.search(path, call[2])]

    def serve(self, certificate, key):
        """Answers from now on, on both ports."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        for port, tls in (80, None), (443, context):
            server = Server((SERVICES, port), handler(self))
            server.tls = tls
            threading.Thread(target=server.serve_forever, daemon=True).start()


class Server(ThreadingHTTPServer):
    """With TLS done by the thread of each connection: one that says nothing keeps nobody waiting."""

    daemon_threads = True
    request_queue_size = 128
    tls = None

    def finish_request(self, request, client_address):
        if self.tls:
            request.settimeout(30)
            request = self.tls.wrap_socket(request, server_side=True)
            request.settimeout(None)
        try:
            super().finish_request(request, client_address)
        finally:
            request.close()

    def handle_error(self, request, client_address):
        """Clients that go away are no news."""


def handler(front):
    """Returns the class that answers for a front."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def handle_any(self):
            host = (self.headers.get("Host") or "").split(":")[0].lower()
            length = int(self.headers.get("Content-Length") or 0)
            self.body = self.rfile.read(length) if length else None
            rule = front.find(host, self.path)
            deed = rule.deed if rule else ""
            call = [host, self.command, self.path, deed or 0]
            front.calls.append(call)
            if deed == "hang":
                self.connection.settimeout(LONGEST_SILENCE)
                time.sleep(LONGEST_SILENCE)
            if deed in ("hang", "drop"):
                self.close_connection = True
                return
            if deed == "status":
                said = Said(rule.value, rule.body, "application/json")
            elif host not in front.routes:
                said = Said(404, "no such name")
            else:
                try:
                    said = front.routes[host].answer(self)
                except (http.client.RemoteDisconnected, ConnectionResetError):
                    # What is behind hung up, and so do we.
                    call[3] = "lost"
                    self.close_connection = True
                    return
                except OSError as error:
                    said = Said(502, str(error))
            call[3] = deed or said.status
            if deed == "lose":
                self.close_connection = True
                return
            self.pass_on(said, rule.value if deed == "cut" else None)

        def pass_on(self, said, most):
            """Sends an answer, or its first bytes."""
            headers = [(n, v) for n, v in said.getheaders() if n.lower() not in HOP_BY_HOP | {"date", "server"}]
            empty = self.command == "HEAD" or said.status in (204, 304)
            if not empty and "content-length" not in {name.lower() for name, _ in headers}:
                said = Said(said.status, said.read())
                headers.append(("Content-Length", str(len(said.body))))
            self.send_response(said.status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            if empty:
                return
            sent = 0
            while part := said.read(65536):
                if most is not None and sent + len(part) > most:
                    self.wfile.write(part[: most - sent])
                    self.wfile.flush()
                    self.close_connection = True
                    # A cut in the middle, not an end: the client must see that something is missing.
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    return
                self.wfile.write(part)
                sent += len(part)

        do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = handle_any

    return Handler
