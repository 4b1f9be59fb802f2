"""A front before the API server: it does to calls what a network, and a server on a bad day, would.

Each has a port and a certificate of the cluster's authority, so that a program is sent there by the address alone. A call is named by
who makes it, its method and what it is about, without names: `ours PATCH secrets/`, `helm GET pods`, `ours GET pods/log`.

A rule says which calls, and one thing that happens to them:

    call         the name; without it all calls
    skip, times  so many pass first; it happens to so many, then no more
    status       answered with it, and nothing is done: with `reason`, and `retry_after` seconds
    reset        the connection ends, and nothing is done
    lose         it is done, and the connection ends without an answer
    seconds      it is done after a while
    age          it is done; moments in the answer are so many seconds earlier
"""

import datetime
import http.client
import json
import re
import socket
import ssl
import struct
import threading

from cluster.control import Handler, Server, Wrong

KNOWN = {"call", "skip", "times", "status", "reason", "retry_after", "reset", "lose", "seconds", "age"}
# What is about a connection and not about a message.
HOPS = {"connection", "transfer-encoding", "content-length", "keep-alive", "upgrade"}
MOMENT = re.compile(rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d+)?Z"')


def subject(path):
    """What a path is about: `pods`, `pods/` for one of them, `pods/log`, `apis` for what there is at all."""
    words = path.partition("?")[0].strip("/").split("/")
    if words[0] == "api" and len(words) > 2:
        words = words[2:]
    elif words[0] == "apis" and len(words) > 3:
        words = words[3:]
    else:
        return "apis" if words[0] in ("api", "apis") else words[0]
    if words[0] == "namespaces" and len(words) > 2:
        words = words[2:]
    if len(words) == 1:
        return words[0]
    return f"{words[0]}/{'/'.join(words[2:])}"


def earlier(text, seconds):
    """Moves each moment of a text."""

    def moved(match):
        moment = datetime.datetime.fromisoformat(match[1].decode()) - datetime.timedelta(seconds=seconds)
        return b'"' + moment.isoformat().encode() + b'Z"'

    return MOMENT.sub(moved, text)


class Front:
    """One front, with its rules and a log of the calls."""

    def __init__(self, endpoint, authority, certificate):
        self.host = endpoint.removeprefix("https://")
        self.context = ssl.create_default_context(cafile=str(authority))
        self.lock = threading.Lock()
        self.rules, self.log = [], []
        front = self

        class Passing(Handler):
            def serve(self):
                front.serve(self)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = serve

        self.server = Server(("127.0.0.1", 0), Passing)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.endpoint = f"https://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(1.0,), daemon=True).start()

    def add(self, rule):
        for key in rule:
            if key not in KNOWN:
                raise Wrong(f"{key} is not a part of a rule; there are {', '.join(sorted(KNOWN))}")
        with self.lock:
            self.rules.append({"skip": 0, "times": None, "hits": 0} | rule)

    def clear(self):
        with self.lock:
            self.rules.clear()

    def list(self):
        """How often each rule has happened."""
        with self.lock:
            return [rule["hits"] for rule in self.rules]

    def calls(self):
        with self.lock:
            return list(self.log)

    def close(self):
        threading.Thread(target=self.server.shutdown, daemon=True).start()
        self.server.server_close()

    def take(self, name):
        """Returns what happens to a call, and counts it."""
        with self.lock:
            self.log.append(name)
            for rule in self.rules:
                if rule.get("call", name) != name or rule["times"] == rule["hits"]:
                    continue
                if rule["skip"] > 0:
                    rule["skip"] -= 1
                    continue
                rule["hits"] += 1
                return rule
        return {}

    def serve(self, handler):
        try:
            body = read(handler)
        except (OSError, ValueError):
            return end(handler)
        # The program says nothing of itself; Helm's clients say several things.
        who = "helm" if handler.headers.get("User-Agent") else "ours"
        rule = self.take(f"{who} {handler.command} {subject(handler.path)}")
        if "status" in rule:
            return refuse(handler, rule)
        if rule.get("reset"):
            return end(handler)
        if "seconds" in rule:
            threading.Event().wait(rule["seconds"])
        try:
            connection, answer = self.ask(handler, body)
        except (OSError, http.client.HTTPException):
            return end(handler)
        try:
            if rule.get("lose"):
                answer.read()
                return end(handler)
            self.answer(handler, answer, rule)
        except (OSError, http.client.HTTPException):
            end(handler)
        finally:
            connection.close()

    def ask(self, handler, body):
        connection = http.client.HTTPSConnection(self.host, timeout=120, context=self.context)
        # What is packed cannot be changed.
        less = HOPS | {"host", "accept-encoding"}
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in less}
        connection.request(handler.command, handler.path, body or None, headers)
        return connection, connection.getresponse()

    def answer(self, handler, answer, rule):
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOPS | {"date", "server"}:
                handler.send_header(name, value)
        if re.search(r"[?&](watch|follow)=(true|1)", handler.path):
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            while piece := answer.read1(65536):
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                handler.wfile.flush()
            handler.wfile.write(b"0\r\n\r\n")
            return
        text = answer.read()
        if "age" in rule:
            text = earlier(text, rule["age"])
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)


def read(handler):
    """Returns the body of a request, however it is sent."""
    if "chunked" in (handler.headers.get("Transfer-Encoding") or ""):
        body = b""
        while size := int(handler.rfile.readline().split(b";")[0], 16):
            body += handler.rfile.read(size)
            handler.rfile.readline()
        handler.rfile.readline()
        return body
    return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))


def refuse(handler, rule):
    """Answers as the API server does, or, where there is no reason, as what stands before it."""
    status = rule["status"]
    if "reason" in rule:
        message = f"{handler.command} {subject(handler.path)} said the bench"
        said = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": rule["reason"],
            "code": status,
        }
        kind, text = "application/json", json.dumps(said).encode()
    else:
        kind, text = "text/plain", b"said the bench\n"
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    if "retry_after" in rule:
        handler.send_header("Retry-After", str(rule["retry_after"]))
    handler.send_header("Content-Length", str(len(text)))
    handler.end_headers()
    handler.wfile.write(text)


def end(handler):
    """Ends the connection, without the good-bye of TLS."""
    handler.close_connection = True
    try:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket.shutdown(handler.connection, socket.SHUT_RDWR)
    except OSError:
        # The client was faster.
        pass


class Fronts:
    """All fronts of a cluster."""

    def __init__(self, endpoint, authority):
        self.endpoint, self.authority = endpoint, authority
        self.lock = threading.Lock()
        self.there = {}
        self.certificate = authority.issue("front")

    def open(self):
        front = Front(self.endpoint, self.authority.file, self.certificate)
        with self.lock:
            name = str(len(self.there) + 1)
            self.there[name] = front
        return {"name": name, "endpoint": front.endpoint}

    def one(self, name):
        with self.lock:
            if self.there.get(name) is None:
                raise Wrong(f"there is no front {name}")
            return self.there[name]

    def close(self, name):
        front = self.one(name)
        with self.lock:
            self.there[name] = None
        front.close()

    def routes(self):
        return [
            ("POST", "/fronts", lambda body: self.open()),
            ("DELETE", r"/fronts/(\d+)", lambda name, body: self.close(name)),
            ("POST", r"/fronts/(\d+)/rules", lambda name, body: self.one(name).add(body)),
            ("GET", r"/fronts/(\d+)/rules", lambda name, body: self.one(name).list()),
            ("DELETE", r"/fronts/(\d+)/rules", lambda name, body: self.one(name).clear()),
            ("GET", r"/fronts/(\d+)/calls", lambda name, body: self.one(name).calls()),
        ]
