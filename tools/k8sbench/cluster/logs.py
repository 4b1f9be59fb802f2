"""What containers have said, and how the API server reads it: the kubelet's `/containerLogs`."""

import datetime
import threading
import urllib.parse

# Longest that a reader who follows waits for the next line before it looks whether somebody still reads.
PATIENCE = 5


class Log:
    """The words of one run of a container."""

    def __init__(self):
        self.changed = threading.Condition()
        self.lines, self.closed = [], False

    def add(self, line):
        with self.changed:
            self.lines.append((datetime.datetime.now(datetime.timezone.utc), line))
            self.changed.notify_all()

    def close(self):
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def text(self):
        return "".join(f"{line}\n" for _, line in self.lines)


def moment(when):
    return when.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def one(query, name):
    return query.get(name, [None])[-1]


def serve(pods, namespace, name, container, query, handler):
    """Answers the API server, which has looked whether there is such a pod and container."""
    query = urllib.parse.parse_qs(query)
    try:
        log = pods.log(namespace, name, container, one(query, "previous") == "true")
    except LookupError as missing:
        return handler.answer(400, str(missing.args[0]))
    start, since = 0, None
    if one(query, "sinceSeconds"):
        since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=int(one(query, "sinceSeconds")))
    elif one(query, "sinceTime"):
        since = datetime.datetime.fromisoformat(one(query, "sinceTime").replace("Z", "+00:00"))
    with log.changed:
        there = len(log.lines)
        if since:
            start = next((n for n, (when, _) in enumerate(log.lines) if when >= since), there)
    if one(query, "tailLines"):
        start = max(start, there - int(one(query, "tailLines")))
    follow, stamps = one(query, "follow") == "true", one(query, "timestamps") == "true"
    left = int(one(query, "limitBytes") or 1 << 40)
    handler.send_response(200)
    handler.send_header("Content-Type", "text/plain")
    # Its end is the end of the connection.
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    while left > 0:
        with log.changed:
            if follow and start >= len(log.lines) and not log.closed:
                handler.wfile.flush()
                log.changed.wait(PATIENCE)
            lines, start, closed = log.lines[start:], len(log.lines), log.closed
        said = "".join(f"{moment(when)} {line}\n" if stamps else f"{line}\n" for when, line in lines).encode()[:left]
        left -= len(said)
        handler.wfile.write(said)
        if not follow or (closed and not lines):
            break
    handler.wfile.flush()
