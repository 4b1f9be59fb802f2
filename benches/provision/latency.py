"""A reverse proxy in front of the emulator that makes each call as slow as a network would, and writes it down.

    python latency.py --upstream URL --account ID [--delay-ms 50] [--log FILE]

prints the address it listens on, and ends when its standard input is closed. The delays of calls that overlap overlap
too. Connections of clients are kept alive; upstream each call has one of its own, as the emulator speaks HTTP/1.0.
Every call gets `x-moto-account-id`, so that each user of the emulator has an account of its own.

The log has a JSON line for each call: account, service, operation, name of what it is about (never a value),
dry_run, start and end in seconds on one clock, status, code of a refusal, and connection (a number for each).
"""

import argparse
import asyncio
import itertools
import json
import re
import sys
import threading
import time
from urllib.parse import parse_qsl, urlsplit

HEAD_BYTES = 65536
SCOPE = re.compile(rb"Credential=[^/]+/[0-9]+/([^/]+)/([^/]+)/aws4_request")
CODE = re.compile(rb"<Code>([^<]+)</Code>|\"__type\":\s*\"(?:[^\"#]*#)?([^\"]+)\"")
RPC = re.compile(r"/service/[^/]+/operation/([A-Za-z]+)")
# Signing name -> the one that policies and people use.
SERVICES = {"monitoring": "cloudwatch", "tagging": "tag"}
# What says which thing a call is about, the first that there is.
NAMES = (
    "Name",
    "RoleName",
    "InstanceProfileName",
    "GroupName",
    "GroupId",
    "InstanceId.1",
    "logGroupName",
    "TopicArn",
    "AlarmName",
    "DashboardName",
    "StackName",
    "ResourceARN",
    "resourceArn",
    "ResourceArn",
    "ResourceId",
    "QuotaCode",
)
HOP_BY_HOP = {b"connection", b"keep-alive", b"transfer-encoding", b"content-length", b"proxy-connection", b"expect"}


def parameters_of(headers, body):
    """Returns the parameters of a call where they can be read without knowing the service; else none."""
    kind = headers.get(b"content-type", b"")
    try:
        if b"json" in kind:
            document = json.loads(body or b"{}")
            return document if isinstance(document, dict) else {}
        if b"urlencoded" in kind:
            return dict(parse_qsl(body.decode()))
    except ValueError:
        pass
    return {}


def described(method, path, headers, body):
    """Returns service, operation, name and dry_run of a call."""
    scope = SCOPE.search(headers.get(b"authorization", b""))
    service = scope[2].decode() if scope else "unsigned"
    parameters = parameters_of(headers, body)
    rpc = RPC.match(path)
    if target := headers.get(b"x-amz-target"):
        operation = target.decode().rpartition(".")[2]
    elif rpc:
        operation = rpc[1]
    else:
        operation = parameters.get("Action") or f"{method} {urlsplit(path).path}"
    name = next((parameters[key] for key in NAMES if isinstance(parameters.get(key), str)), None)
    return SERVICES.get(service, service), operation, name, parameters.get("DryRun") == "true"


async def read_head(reader):
    """Returns first line and headers, whose names are in small letters; nothing at the end of a connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None, {}
    first, *lines = head[:-4].split(b"\r\n")
    headers = {}
    for line in lines:
        key, _, value = line.partition(b":")
        headers[key.strip().lower()] = value.strip()
    return first, headers


async def read_body(reader, headers, to_end=False):
    if b"chunked" in headers.get(b"transfer-encoding", b"").lower():
        chunks = []
        while size := int((await reader.readline()).split(b";")[0], 16):
            chunks.append(await reader.readexactly(size))
            await reader.readline()
        while (await reader.readline()).strip():
            pass
        return b"".join(chunks)
    length = headers.get(b"content-length")
    if length is None:
        return await reader.read() if to_end else b""
    return await reader.readexactly(int(length))


class Proxy:
    """The proxy of one account; `calls` is its log."""

    def __init__(self, upstream, account, delay_s=0.05, log=None, rewrite=None):
        """`rewrite` gets service, operation and body of each answer, and returns the body to send."""
        address = urlsplit(upstream)
        self.host, self.port = address.hostname, address.port
        self.account, self.delay_s, self.log, self.rewrite = account, delay_s, log, rewrite
        self.calls = []
        self.url = None
        self.server = None
        self.tasks = set()
        self.numbers = itertools.count(1)

    async def open(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=HEAD_BYTES)
        host, port = self.server.sockets[0].getsockname()
        self.url = f"http://{host}:{port}"
        return self

    async def close(self):
        self.server.close()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.server.wait_closed()

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        number = next(self.numbers)
        try:
            while True:
                first, headers = await read_head(reader)
                if first is None:
                    break
                if headers.get(b"expect", b"").lower() == b"100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await read_body(reader, headers)
                start = time.monotonic()
                status, head, answer = await self.forward(first, headers, body)
                writer.write(head + answer)
                await writer.drain()
                self.record(start, number, first, headers, body, status, answer)
                if headers.get(b"connection", b"").lower() == b"close":
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.close()

    async def forward(self, first, headers, body):
        """Sends a call on after the delay and returns status, head and body of the answer."""
        await asyncio.sleep(self.delay_s)
        lines = [b"%s: %s" % item for item in headers.items() if item[0] not in HOP_BY_HOP]
        lines += [b"x-moto-account-id: " + self.account.encode(), b"connection: close"]
        lines.append(b"content-length: %d" % len(body))
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=HEAD_BYTES)
        try:
            writer.write(first + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n" + body)
            status_line, answered = await read_head(reader)
            if status_line is None:
                raise ConnectionError("the emulator closed the connection")
            answer = await read_body(reader, answered, to_end=True)
        finally:
            writer.close()
        _, status, *reason = status_line.split(b" ", 2)
        if self.rewrite:
            service, operation, _, _ = described("", first.split(b" ")[1].decode(), headers, body)
            answer = self.rewrite(service, operation, answer)
        lines = [b"%s: %s" % item for item in answered.items() if item[0] not in HOP_BY_HOP]
        lines.append(b"content-length: %d" % len(answer))
        head = b"HTTP/1.1 " + status + b" " + b"".join(reason) + b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n"
        return int(status), head, answer

    def record(self, start, number, first, headers, body, status, answer):
        method, path, _ = first.decode().split(" ", 2)
        service, operation, name, dry_run = described(method, path, headers, body)
        code = CODE.search(answer) if status >= 400 else None
        call = {
            "account": self.account,
            "service": service,
            "operation": operation,
            "name": name,
            "dry_run": dry_run,
            "start": round(start, 6),
            "end": round(time.monotonic(), 6),
            "status": status,
            "code": (code[1] or code[2]).decode() if code else None,
            "connection": number,
        }
        self.calls.append(call)
        if self.log:
            self.log.write(json.dumps(call) + "\n")
            self.log.flush()


class Proxies:
    """Proxies in a thread of this process, as a context."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.opened = []

    def __enter__(self):
        self.thread.start()
        return self

    def open(self, account, delay_s, log=None, rewrite=None):
        proxy = Proxy(self.upstream, account, delay_s, log, rewrite)
        self.opened.append(proxy)
        return asyncio.run_coroutine_threadsafe(proxy.open(), self.loop).result()

    def close(self, proxy):
        self.opened.remove(proxy)
        asyncio.run_coroutine_threadsafe(proxy.close(), self.loop).result()

    def __exit__(self, *_):
        for proxy in list(self.opened):
            self.close(proxy)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


def main():
    parser = argparse.ArgumentParser(description="Adds latency to an emulator of AWS, and logs the calls.")
    parser.add_argument("--upstream", required=True)
    parser.add_argument("--account", required=True)
    parser.add_argument("--delay-ms", type=float, default=50)
    parser.add_argument("--log", type=argparse.FileType("w", encoding="utf-8"))
    options = parser.parse_args()
    with Proxies(options.upstream) as proxies:
        print(proxies.open(options.account, options.delay_ms / 1000, options.log).url, flush=True)
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
