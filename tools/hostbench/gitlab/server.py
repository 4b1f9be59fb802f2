#!/usr/bin/env python3
"""A fake GitLab: the part of it that runners talk to, for the host bench. Python 3.11, standard library only.

    server.py [--listen 127.0.0.1:0] [--url https://platform.test] [--until-eof]

Says `http://ADDRESS:PORT` on stdout when it serves; plain HTTP, whoever wants TLS puts it in front and gives the outer
address as `--url` (jobs carry it). Ends with SIGTERM or SIGINT, and with `--until-eof` when its standard input closes.
All state is in memory. `api.py` has the runner API; `check.py` holds it against two public clients.

Control, JSON in and out:

    GET    /bench/state                 all there is, with each call and counts such as "POST /api/v4/runners 201": 1
    PATCH  /bench/state                 {"legacy": false}: registration tokens answer 410 Gone; {"url": …}
    POST   /bench/registration-tokens   {} -> {"token"}: a legacy token, for the group; {"answer": TOKEN} fixes the
                                        token that the runner gets, {"jobs_url": …} see below
    POST   /bench/runners               {"description", "tag_list", "run_untagged", "locked", …} -> {"id", "token"}: a
                                        runner made on the platform, with a `glrt-` token
    POST   /bench/access-tokens         {} -> {"token"}: for the calls of people, such as python-gitlab's
    GET    /bench/runners               with managers, last contact, number of `verify` and of requests for jobs
    PATCH  /bench/runners/N             {"paused": true, "tag_list": […], …}
    POST   /bench/revoke                {"token"}: a registration token, or a runner with all its managers
    POST   /bench/jobs                  {"script": […], "duration": SECONDS, "image", "tags": […], "variables": {…},
                                        "timeout": SECONDS, "project": N, "pull_policy": […], "runner": N} -> {"id", …}
    GET    /bench/jobs[/N[/trace]]      states and traces
    POST   /bench/jobs/N/cancel
    POST   /bench/faults                {"call": REGEX, "times": N, …}: calls whose "METHOD path" fits go wrong, e.g.
                                        {"call": "POST /api/v4/jobs/request", "status": 503, "times": 3}
                                        "status" [and "body"]: answered so, without an effect; "after": true: with it
                                        "drop": true: no answer, after the effect (with "after": false before it)
                                        "delay": SECONDS, before anything else
    DELETE /bench/faults, /bench/calls

A runner with `jobs_url` gets its jobs from there: a `gitlab-runner-mock`, whose only token is put in place of ours.
"""

import argparse
import email.parser
import email.policy
import http.client
import http.server
import json
import os
import signal
import sys
import threading
import time
import urllib.parse

import api
import control
import state

# The one token that gitlab-runner-mock knows.
MOCK_TOKEN = "fakerunnertoken"
MOST_CALLS = 20_000


class Request:
    """A call: its parameters from the address and the body, which is JSON, a form, or just bytes."""

    def __init__(self, headers, address, query, body):
        self.headers, self.address, self.body, self.at = headers, address, body, state.now()
        self.params = dict(urllib.parse.parse_qsl(query))
        kind = headers.get_content_type()
        if kind == "application/json" and body:
            try:
                parsed = json.loads(body)
            except ValueError:
                raise api.Refused(400, {"error": "the body is not JSON"}) from None
            if not isinstance(parsed, dict):
                raise api.Refused(400, {"error": "the body is not an object"})
            self.params.update(parsed)
        elif kind == "application/x-www-form-urlencoded":
            for name, value in urllib.parse.parse_qsl(body.decode(errors="replace"), keep_blank_values=True):
                if name.endswith("[]"):
                    self.params.setdefault(name[:-2], []).append(value)
                else:
                    self.params[name] = value

    def uploaded(self):
        """Name and content of the file in a form of several parts."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + self.body)
        for part in message.iter_parts() if message.is_multipart() else ():
            if part.get_filename():
                return part.get_filename(), part.get_payload(decode=True)
        return None, None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "nginx"
    sys_version = ""
    # Head and body in one packet, or each call waits for the other side's acknowledgement.
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    platform: state.Platform

    def log_message(self, *_):
        pass

    def answer(self, status, body=None, headers=None):
        kind = "application/json"
        if isinstance(body, str):
            body, kind = body.encode(), "text/plain"
        elif isinstance(body, bytes):
            kind = "application/octet-stream"
        elif body is not None:
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if body and status != 204:
            self.wfile.write(body)
        return status

    def drop(self):
        self.close_connection = True

    def call(self):
        address, _, query = self.path.partition("?")
        body = self.read_body()
        if address.startswith("/bench/"):
            self.answer(*self.run(control.ROUTES, address, query, body))
        elif address.startswith("/api/"):
            self.record(address, self.api_call(address, query, body))
        else:
            # What a person's browser gets before login.
            self.answer(302, None, {"Location": self.platform.url + "/users/sign_in"})

    def read_body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = b""
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def record(self, address, status):
        with self.platform.lock:
            self.platform.calls.append(
                {"at": state.text_of(state.now()), "call": f"{self.command} {address.rstrip('/')}", "status": status}
            )
            del self.platform.calls[:-MOST_CALLS]

    def api_call(self, address, query, body):
        """Makes a call with what is to go wrong with it; returns the status, 0 where there was no answer."""
        with self.platform.lock:
            fault = self.platform.fault_of(f"{self.command} {address.rstrip('/')}") or {}
        time.sleep(fault.get("delay", 0))
        wrong = "status" in fault or fault.get("drop")
        if not wrong:
            return self.answer(*self.run(api.ROUTES, address, query, body))
        if fault.get("after", bool(fault.get("drop"))):
            self.run(api.ROUTES, address, query, body)
        if fault.get("drop"):
            self.drop()
            return 0
        status = fault["status"]
        reason = http.client.responses.get(status, "")
        return self.answer(status, fault.get("body", {"message": f"{status} {reason}"}))

    def run(self, routes, address, query, body):
        try:
            request = Request(self.headers, self.client_address[0], query, body)
            if routes is api.ROUTES and (elsewhere := self.jobs_elsewhere(request, address)):
                return forward(elsewhere, self.command, self.path, request)
            for method, path, call in routes:
                match = path.fullmatch(address)
                if match and method == self.command:
                    with self.platform.lock:
                        return call(self.platform, request, *match.groups())
            allowed = [method for method, path, _ in routes if path.fullmatch(address)]
            return (405, {"error": "405 Not Allowed"}, {}) if allowed else (404, {"error": "404 Not Found"}, {})
        except api.Refused as refused:
            return refused.status, refused.body, refused.headers

    def jobs_elsewhere(self, request, address):
        """The base address of the mock that answers a job call, if it is not us."""
        with self.platform.lock:
            if address.rstrip("/") == "/api/v4/jobs/request":
                runner = self.platform.runner_of(str(request.params.get("token", "")))
                if runner and runner.jobs_url:
                    api.authenticated(self.platform, request)
                    runner.requests += 1
                    return runner.jobs_url
                return None
            number = address.removeprefix("/api/v4/jobs/").split("/")[0]
            if not address.startswith("/api/v4/jobs/") or not number.isdigit() or int(number) in self.platform.jobs:
                return None
            # Ours are known by their numbers, so this one is the mock's; there is never more than one.
            return next((runner.jobs_url for runner in self.platform.runners.values() if runner.jobs_url), None)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = call


def forward(base, method, path, request):
    body = request.body
    if path.startswith("/api/v4/jobs/request"):
        body = json.dumps(request.params | {"token": MOCK_TOKEN}).encode()
    target = urllib.parse.urlsplit(base)
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=30)
    passed = ("content-type", "content-range", "job-token", "user-agent")
    headers = {name: value for name, value in request.headers.items() if name.lower() in passed}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
    except OSError:
        # The mock hangs up where it panics.
        raise api.Refused(502, {"message": "502 Bad Gateway"}) from None
    finally:
        connection.close()
    kept = {
        name: answer.headers[name]
        for name in ("Job-Status", "Range", "X-GitLab-Trace-Update-Interval", "X-GitLab-Last-Update")
        if name in answer.headers
    }
    if answer.headers.get_content_type() == "application/json" and data:
        return answer.status, json.loads(data), kept
    return answer.status, data or None, kept


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        # Who hangs up in the middle is no news here.
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def serve(listen="127.0.0.1:0", url=None):
    """Starts a server in threads of its own; returns it, with its `address` and its `platform`."""
    host, _, port = listen.rpartition(":")
    platform = state.Platform()
    server = Server((host, int(port)), type("Bound", (Handler,), {"platform": platform}))
    server.platform = platform
    server.address = f"http://{host}:{server.server_address[1]}"
    platform.url = (url or server.address).rstrip("/")
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--listen", default="127.0.0.1:0")
    options.add_argument("--url")
    options.add_argument("--until-eof", action="store_true")
    options = options.parse_args()
    for number in signal.SIGTERM, signal.SIGINT:
        signal.signal(number, lambda *_: os._exit(0))
    print(serve(options.listen, options.url).address, flush=True)
    if options.until_eof:
        sys.stdin.buffer.read()
        os._exit(0)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
