"""The instance metadata service, version 2, for all guests: who asks is known by the address.

Answers live as long as the launch says (the hop limit is the TTL of the packets, which each hop lowers), so that a
container reaches it with two hops and not with one.
"""

import json
import secrets
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ADDRESS = "169.254.169.254"


class Metadata:
    """What each guest may know of itself."""

    def __init__(self):
        self.instances = {}
        self.tokens = {}
        self.calls = []

    def set(self, address, instance):
        """`instance`: id, region, zone, type, role, credentials(), hops, user_data."""
        self.instances[address] = instance

    def serve(self):
        """Answers from now on."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def say(self, status, text="", headers=()):
                body = text if isinstance(text, bytes) else text.encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Type", "text/plain")
                for name, value in headers:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def instance(self):
                instance = outer.instances.get(self.client_address[0])
                if instance:
                    self.connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, instance["hops"])
                return instance

            def do_PUT(self):
                instance = self.instance()
                ttl = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
                # A call that came through a proxy gets none.
                if not instance or self.headers.get("X-Forwarded-For"):
                    return self.say(403)
                if self.path != "/latest/api/token" or not ttl.isdigit() or not 1 <= int(ttl) <= 21600:
                    return self.say(400)
                token = secrets.token_urlsafe(40)
                outer.tokens[token] = instance["id"]
                self.say(200, token, [("X-aws-ec2-metadata-token-ttl-seconds", ttl)])

            def do_GET(self):
                instance = self.instance()
                token = self.headers.get("X-aws-ec2-metadata-token", "")
                if not instance or outer.tokens.get(token) != instance["id"]:
                    return self.say(401)
                outer.calls.append((instance["id"], self.path))
                found = paths(instance).get(self.path.removeprefix("/latest/").rstrip("/"))
                if callable(found):
                    found = found()
                self.say(404, "not found") if found is None else self.say(200, found)

        server = ThreadingHTTPServer((ADDRESS, 80), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()


def paths(instance):
    """Returns what there is to read, as path -> text."""
    identity = {
        "instanceId": instance["id"],
        "region": instance["region"],
        "availabilityZone": instance["zone"],
        "instanceType": instance["type"],
        "accountId": instance["account"],
        "architecture": "x86_64",
        "imageId": instance["image"],
        "privateIp": instance["address"],
    }
    return {
        "dynamic/instance-identity/document": json.dumps(identity),
        "user-data": instance["user_data"],
        "meta-data/instance-id": instance["id"],
        "meta-data/ami-id": instance["image"],
        "meta-data/instance-type": instance["type"],
        "meta-data/local-ipv4": instance["address"],
        "meta-data/placement/availability-zone": instance["zone"],
        "meta-data/placement/region": instance["region"],
        "meta-data/services/domain": "amazonaws.com",
        "meta-data/iam/security-credentials": instance["role"],
        f"meta-data/iam/security-credentials/{instance['role']}": lambda: json.dumps(instance["credentials"]()),
    }
