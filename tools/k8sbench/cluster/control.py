"""The control interface and the webhook, and where the API server finds the kubelets: HTTP with JSON, threads as they come."""

import http.server
import json
import re
import ssl
import threading


class Wrong(Exception):
    """A request that makes no sense, and why."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    routes: list

    def log_message(self, *_):
        pass

    def serve(self):
        path, _, query = self.path.partition("?")
        text = self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        for method, pattern, call in self.routes:
            match = pattern.fullmatch(path)
            if match and method == self.command:
                break
        else:
            return self.answer(404, {"error": f"there is no {self.command} {path}"})
        try:
            body = json.loads(text) if text else {}
            said = call(*match.groups(), **({"query": query, "handler": self} if call in self.streams else {"body": body}))
        except Wrong as wrong:
            return self.answer(400, {"error": str(wrong)})
        except (KeyError, TypeError, ValueError) as wrong:
            return self.answer(400, {"error": f"{type(wrong).__name__}: {wrong}"})
        if call not in self.streams:
            self.answer(200, said if said is not None else {})

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = serve

    def answer(self, status, body):
        text = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(body, str) else "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_):
        # Who asked has gone away.
        pass


def serve(routes, certificate=None, streams=()):
    """Serves routes, such as `("GET", "/nodes", call)`; returns the port.

    A call gets what is in parentheses in the path and the body, and returns the answer; one of `streams` gets query and handler,
    and answers itself.
    """
    compiled = [(method, re.compile(path), call) for method, path, call in routes]
    server = Server(("127.0.0.1", 0), type("Bound", (Handler,), {"routes": compiled, "streams": tuple(streams)}))
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        # Per connection and in its thread, or who is slow to shake hands would hold up all.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(1.0,), daemon=True).start()
    return server.server_address[1]
