"""CloudWatch as the Rust SDK speaks it, smithy RPC v2 with CBOR, in front of moto, which knows only its JSON form."""

import gzip
import io
import json
from datetime import datetime

import botocore.session
import cbor2

PREFIX = "/service/GraniteServiceVersion20100801/operation/"
EPOCH_TAG = 1


def to_json(value):
    """Returns the value with times as seconds, as the JSON protocol writes them."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, dict):
        return {name: to_json(member) for name, member in value.items()}
    if isinstance(value, list):
        return [to_json(item) for item in value]
    return value


def seconds(value):
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    return float(value)


def to_cbor(shape, value):
    """Returns the value with the types that the service model has for it; the JSON does not tell times from numbers."""
    if shape is None or value is None:
        return value
    kind = shape.type_name
    if kind == "structure":
        members = shape.members
        return {name: to_cbor(members.get(name), member) for name, member in value.items() if member is not None}
    if kind == "list":
        return [to_cbor(shape.member, item) for item in value]
    if kind == "map":
        return {name: to_cbor(shape.value, item) for name, item in value.items()}
    if kind == "timestamp":
        return cbor2.CBORTag(EPOCH_TAG, seconds(value))
    if kind in ("double", "float"):
        return float(value)
    return value


class CborShim:
    """Turns CBOR requests into JSON ones and the answers back; passes on everything else."""

    def __init__(self, app):
        self.app = app
        self.model = None

    def output_shape(self, operation):
        # Read on the first use: most tests never talk to CloudWatch.
        self.model = self.model or botocore.session.get_session().get_service_model("cloudwatch")
        return self.model.operation_model(operation).output_shape

    def __call__(self, environ, start_response):
        path = environ.get("PATH_INFO", "")
        if not path.startswith(PREFIX):
            return self.app(environ, start_response)
        operation = path.removeprefix(PREFIX)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if environ.get("HTTP_CONTENT_ENCODING") == "gzip":
            body = gzip.decompress(body)
        request = json.dumps(to_json(cbor2.loads(body) if body else {})).encode()
        environ = {
            **environ,
            "PATH_INFO": "/",
            "CONTENT_TYPE": "application/x-amz-json-1.0",
            "CONTENT_LENGTH": str(len(request)),
            "HTTP_X_AMZ_TARGET": f"GraniteServiceVersion20100801.{operation}",
            "wsgi.input": io.BytesIO(request),
        }
        environ.pop("HTTP_CONTENT_ENCODING", None)
        environ.pop("HTTP_SMITHY_PROTOCOL", None)
        heard = {}

        def hear(status, headers, exc_info=None):
            heard.update(status=status, headers=headers)

        answer = b"".join(self.app(environ, hear))
        try:
            document = json.loads(answer) if answer else {}
        except ValueError:
            # HTML: moto does not know the call; the proxy makes a failure of it.
            start_response(heard["status"], heard["headers"])
            return [answer]
        if heard["status"].startswith("2"):
            document = to_cbor(self.output_shape(operation), document) or {}
        body = cbor2.dumps(document)
        headers = [
            (name, value)
            for name, value in heard["headers"]
            if name.lower() not in ("content-type", "content-length")
        ]
        headers += [
            ("Content-Type", "application/cbor"),
            ("Content-Length", str(len(body))),
            ("smithy-protocol", "rpc-v2-cbor"),
        ]
        start_response(heard["status"], headers)
        return [body]
