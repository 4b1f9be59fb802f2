"""Signatures are good for five minutes: whose clock is wrong is refused, as AWS does it and moto does not."""

import json
import re
from datetime import datetime, timedelta, timezone
from html import escape

import cbor2

GOOD_FOR = timedelta(minutes=5)
STAMP = "%Y%m%dT%H%M%SZ"


def complaint(signed, now):
    """Returns what AWS says of a signature of that time, or nothing."""
    if signed < now - GOOD_FOR:
        return f"Signature expired: {signed:{STAMP}} is now earlier than {now - GOOD_FOR:{STAMP}} ({now:{STAMP}} - 5 min.)"
    if signed > now + GOOD_FOR:
        return f"Signature not yet current: {signed:{STAMP}} is still later than {now + GOOD_FOR:{STAMP}} ({now:{STAMP}} + 5 min.)"
    return None


def answer(environ, service, said):
    """Returns status, type and body as the service's protocol has them."""
    code = "InvalidSignatureException"
    if environ.get("HTTP_SMITHY_PROTOCOL") == "rpc-v2-cbor":
        return "400 Bad Request", "application/cbor", cbor2.dumps({"__type": f"com.amazonaws#{code}", "message": said})
    if environ.get("HTTP_X_AMZ_TARGET"):
        return "400 Bad Request", "application/x-amz-json-1.1", json.dumps({"__type": code, "message": said}).encode()
    if service == "ec2":
        said = "Request has expired."
        body = f"<Response><Errors><Error><Code>RequestExpired</Code><Message>{said}</Message></Error></Errors></Response>"
        return "400 Bad Request", "text/xml", body.encode()
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = f"<ErrorResponse><Error><Type>Sender</Type><Code>SignatureDoesNotMatch</Code><Message>{escape(said)}</Message></Error></ErrorResponse>"
        return "403 Forbidden", "text/xml", body.encode()
    return "403 Forbidden", "application/json", json.dumps({"message": said}).encode()


class Timely:
    """Refuses what was signed at another time than now."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        signed = environ.get("HTTP_X_AMZ_DATE", "")
        scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", ""))
        if scope and re.fullmatch(r"\d{8}T\d{6}Z", signed):
            moment = datetime.strptime(signed, STAMP).replace(tzinfo=timezone.utc)
            said = complaint(moment, datetime.now(timezone.utc))
            if said:
                status, kind, body = answer(environ, scope[1], said)
                headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
                if kind == "application/cbor":
                    headers.append(("smithy-protocol", "rpc-v2-cbor"))
                if kind == "application/json":
                    headers.append(("x-amzn-errortype", "InvalidSignatureException"))
                start_response(status, headers)
                return [body]
        return self.app(environ, start_response)
