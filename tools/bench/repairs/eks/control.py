"""EKS: what the bench of the API server behind the clusters is told, where a test names its control interface.

`PUT` and `DELETE` of `clusters/CLUSTER`, whose tokens are good from then on, and of `nodes/CLUSTER/NODEGROUP`, with how many there
are of which type and with which labels.
"""

import http.client
import json
from urllib.parse import urlsplit

SECONDS = 30


def control(knobs, method, path, body=None):
    """Makes a call, if there is somebody to call; returns what goes wrong."""
    address = knobs.cluster().get("control")
    if not address:
        return None
    parts = urlsplit(address)
    # Not by the proxy that the environment names, which is dead.
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=SECONDS)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, f"{parts.path.rstrip('/')}/{path}", None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf8", "replace")
        return None if answer.status < 300 else f"{answer.status} {text}"
    except (OSError, http.client.HTTPException) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        connection.close()
