"""Login with the tokens of EKS: the webhook that the API server asks, which computes the signature again with botocore.

A token is `k8s-aws-v1.` and the address of a signed call of `sts:GetCallerIdentity`. EKS has the call made by STS; here the keys
are known, so that a token is good exactly if botocore signs the same address. What is checked besides is what
aws-iam-authenticator checks (`pkg/token/token.go`).
"""

import base64
import datetime
import re
import urllib.parse

import botocore.auth
import botocore.awsrequest
import botocore.credentials

PREFIX = "k8s-aws-v1."
HOST = re.compile(r"sts(?:\.([a-z0-9-]+))?\.amazonaws\.com")
PARAMETERS = {
    "action",
    "version",
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
}
# Seconds for which a token is good, whatever it says of itself, and the most that it may say.
LIFE = 15 * 60


class Bad(Exception):
    """Why a token is refused."""


class Login:
    """Keys with their users; keys that are not here nobody has."""

    def __init__(self):
        self.users = {
            "test": self.user("test", "test", ["system:masters"]),
            "powerless": self.user("powerless", "powerless", []),
        }
        # Names that a token may be for. The name is signed, but is not in the token, so it must be known here.
        self.clusters = set()
        self.seen = []

    @staticmethod
    def user(name, secret, groups):
        return {"secret": secret, "username": f"arn:aws:iam::000000000000:user/{name}", "groups": groups}

    def put(self, key, said):
        """Adds a key, such as `{"secret": …, "groups": […]}`."""
        known = self.user(said.get("name", key), said["secret"], said.get("groups", []))
        self.users[key] = known | ({"username": said["username"]} if "username" in said else {})

    def review(self, review):
        """Answers a TokenReview."""
        token = review.get("spec", {}).get("token", "")
        try:
            key, cluster = self.checked(token, datetime.datetime.now(datetime.timezone.utc))
            known = self.users[key]
            user = {
                "username": known["username"],
                "groups": ["system:authenticated", *known["groups"]],
                "extra": {"accessKeyId": [key], "cluster": [cluster]},
            }
            status = {"authenticated": True, "user": user}
        except Bad as bad:
            status = {"authenticated": False, "error": str(bad)}
        self.seen = [*self.seen[-99:], status]
        return {"apiVersion": review.get("apiVersion"), "kind": "TokenReview", "status": status}

    def checked(self, token, now):
        """Returns access key and cluster of a good token."""
        if not token.startswith(PREFIX):
            raise Bad(f"token is missing expected {PREFIX!r} prefix")
        rest = token.removeprefix(PREFIX)
        if "=" in rest or not re.fullmatch(r"[\w-]+", rest, re.ASCII):
            raise Bad("token is not unpadded base64url")
        address = base64.urlsafe_b64decode(rest + "=" * (-len(rest) % 4)).decode(errors="replace")
        parts = urllib.parse.urlsplit(address)
        host = HOST.fullmatch(parts.netloc)
        if parts.scheme != "https" or not host or parts.path != "/" or parts.fragment:
            raise Bad(f"unexpected address in token: {parts.scheme}://{parts.netloc}{parts.path}")
        pairs = urllib.parse.parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True)
        said = {}
        for name, value in pairs:
            if name.lower() not in PARAMETERS:
                raise Bad(f"non-whitelisted query parameter {name!r}")
            if name.lower() in said:
                raise Bad(f"query parameter with multiple values not supported: {name!r}")
            said[name.lower()] = value
        if said.get("action") != "GetCallerIdentity" or said.get("version") != "2011-06-15":
            raise Bad("unexpected action parameter in pre-signed URL")
        if "x-k8s-aws-id" not in said.get("x-amz-signedheaders", "").split(";"):
            raise Bad("client did not sign the x-k8s-aws-id header in the pre-signed URL")
        if not said.get("x-amz-expires", "").isdigit() or int(said["x-amz-expires"]) > LIFE:
            raise Bad("invalid X-Amz-Expires parameter in pre-signed URL")
        try:
            signed = datetime.datetime.strptime(said.get("x-amz-date", ""), "%Y%m%dT%H%M%SZ")
        except ValueError:
            raise Bad("error parsing X-Amz-Date parameter into format 20060102T150405Z") from None
        signed = signed.replace(tzinfo=datetime.timezone.utc)
        if now > signed + datetime.timedelta(seconds=LIFE):
            raise Bad(f"X-Amz-Date parameter is expired ({LIFE // 60} minute expiration) {signed}")
        if signed > now + datetime.timedelta(minutes=5):
            raise Bad("X-Amz-Date parameter is in the future")
        scope = said.get("x-amz-credential", "").split("/")
        if len(scope) != 5 or scope[3:] != ["sts", "aws4_request"]:
            raise Bad("the token is not signed for sts")
        if host[1] and host[1] != scope[2]:
            raise Bad(f"the token is signed for {scope[2]}, but names the STS of {host[1]}")
        known = self.users.get(scope[0])
        if not known:
            raise Bad("sts getCallerIdentity failed: The security token included in the request is invalid")
        for cluster in self.clusters:
            if self.signature(parts, said, scope, known, signed, cluster) == said.get("x-amz-signature"):
                return scope[0], cluster
        raise Bad("sts getCallerIdentity failed: SignatureDoesNotMatch, or the token is for another cluster")

    @staticmethod
    def signature(parts, said, scope, known, signed, cluster):
        """The signature that botocore makes of the same call."""
        unsigned = urllib.parse.urlencode({"Action": said["action"], "Version": said["version"]})
        request = botocore.awsrequest.AWSRequest(
            "GET", f"https://{parts.netloc}/?{unsigned}", headers={"x-k8s-aws-id": cluster}
        )
        credentials = botocore.credentials.Credentials(scope[0], known["secret"], said.get("x-amz-security-token"))
        signer = botocore.auth.SigV4QueryAuth(credentials, "sts", scope[2], expires=int(said["x-amz-expires"]))
        # What `add_auth` does, at another time.
        request.context["timestamp"] = signed.strftime(botocore.auth.SIGV4_TIMESTAMP)
        signer._modify_request_before_signing(request)
        canonical = signer.canonical_request(request)
        return signer.signature(signer.string_to_sign(request, canonical), request)
