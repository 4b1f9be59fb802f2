"""EKS: what there is in an account and region, how it changes by itself, and how calls are answered."""

import hashlib
import json
import threading
import time
import uuid
from datetime import datetime, timezone
from fnmatch import fnmatchcase

from moto.core.base_backend import BackendDict, BaseBackend
from moto.ec2.models import ec2_backends
from moto.iam.models import iam_backends
from moto.utilities.utils import get_partition

from .. import knobs

# Name of the call in snake case -> function.
CALLS = {}


class Refused(Exception):
    """What a call is refused with, in the words of EKS."""

    def __init__(self, code, message, status=400, **names):
        super().__init__(message)
        self.code, self.message, self.status, self.names = code, message, status, names


def invalid(message, **names):
    """Refuses for a parameter that is wrong."""
    raise Refused("InvalidParameterException", message, 400, **names)


def not_now(message, **names):
    """Refuses for the state of something."""
    raise Refused("InvalidRequestException", message, 400, **names)


def in_use(message, **names):
    """Refuses for what is there or under way."""
    raise Refused("ResourceInUseException", message, 409, **names)


def missing(message, **names):
    """Refuses for what is not there."""
    raise Refused("ResourceNotFoundException", message, 404, **names)


def call(function):
    """Makes the function answer the call of its name."""
    CALLS[function.__name__] = function
    return function


def now():
    return datetime.now(timezone.utc)


class Thing:
    """Something with an ARN and a status that changes by itself."""

    def __init__(self, backend, arn, tags):
        self.backend, self.arn, self.tags = backend, arn, dict(tags or {})
        self.created = self.modified = now()
        self.status = "ACTIVE"
        self.issues = []
        self.due, self.then = None, None

    def busy(self, status, seconds, then):
        """Sets a status that lasts; then a function is called, which may return seconds after which it is called again."""
        self.status, self.modified = status, now()
        self.later(seconds, then)

    def later(self, seconds, then):
        """Has a function called after a while."""
        self.due, self.then = time.monotonic() + seconds, then
        timer = threading.Timer(seconds + 0.01, self.backend.tick)
        timer.daemon = True
        timer.start()

    def settle(self, status, issues=()):
        """Sets a status that stays."""
        self.status, self.modified = status, now()
        self.issues = list(issues)
        self.due = self.then = None

    def health(self):
        return {"issues": self.issues}


def issue(code, message, *ids):
    """Returns a health issue."""
    return {"code": code, "message": message, "resourceIds": list(ids)}


def issue_of(failure, code, message, *ids):
    """Returns the health issue of a failure that a test asked for."""
    return issue(failure.get("code", code), failure.get("message", message), *ids)


class Backend(BaseBackend):
    """EKS in an account and region."""

    def __init__(self, region_name, account_id):
        super().__init__(region_name, account_id)
        self.clusters = {}
        # Operation and client token -> digest of the parameters, and the answer.
        self.tokens = {}
        # Key of who makes the call that is answered.
        self.caller = ""
        # What went wrong when nobody asked, so that whoever asks next is told.
        self.broken = None

    @property
    def knobs(self):
        return knobs.of(self.account_id)

    @property
    def ec2(self):
        return ec2_backends[self.account_id][self.region_name]

    @property
    def iam(self):
        return iam_backends[self.account_id][self.partition]

    def arn_of(self, rest):
        return f"arn:{get_partition(self.region_name)}:eks:{self.region_name}:{self.account_id}:{rest}"

    def things(self):
        """Yields everything, what is in a cluster before it."""
        for cluster in list(self.clusters.values()):
            yield from cluster.things()
            yield cluster

    def advance(self):
        """Lets what is due happen."""
        if self.broken:
            raise self.broken
        again = True
        while again:
            again = False
            due = [thing for thing in self.things() if thing.due is not None and thing.due <= time.monotonic()]
            for thing in sorted(due, key=lambda thing: thing.due):
                if thing.due is None:
                    continue
                then, thing.due = thing.then, None
                wait = then()
                if wait is not None:
                    thing.later(wait, then)
                else:
                    again = True

    def tick(self):
        """Lets what is due happen, when nobody asks."""
        with knobs.LOCK:
            try:
                self.advance()
            except Exception as error:
                self.broken = error

    def cluster(self, name):
        """Returns a cluster."""
        if name not in self.clusters:
            missing(f"No cluster found for name: {name}.", clusterName=name)
        return self.clusters[name]

    def active_cluster(self, name):
        """Returns a cluster in which things can be made."""
        cluster = self.cluster(name)
        if cluster.status not in ("ACTIVE", "UPDATING"):
            not_now(f"Cluster '{name}' is not in ACTIVE status", clusterName=name)
        return cluster

    def role(self, arn):
        """Returns a role, none if there is none, or it is so new that other services do not know it."""
        name = (arn or "").rpartition("/")[2]
        for role in self.iam.get_roles():
            if role.arn == arn and role.name == name:
                age = (now() - role.create_date.replace(tzinfo=timezone.utc)).total_seconds()
                return role if age >= self.knobs.seconds("role") else None
        return None

    def trusts(self, role, service, actions, keys=None):
        """Says whether a service may take a role, by all of the actions, with these keys of the request."""
        document = role.assume_role_policy_document
        document = json.loads(document) if isinstance(document, str) else document
        allowed = set()
        for statement in document.get("Statement", []):
            principals = statement.get("Principal", {})
            services = listed(principals.get("Service", [])) if isinstance(principals, dict) else []
            if statement.get("Effect") == "Allow" and service in services and holds(statement, keys or {}):
                allowed.update(listed(statement.get("Action", [])))
        return allowed.issuperset(actions)

    def attached(self, role):
        """Returns the names of the managed policies of a role."""
        return {arn.rpartition("/")[2] for arn in role.managed_policies}


def listed(value):
    """Returns one text, or several, as a list."""
    return [value] if isinstance(value, str) else list(value)


def holds(statement, keys):
    """Says whether the conditions of a statement hold, for the operators that trust policies use; others do not."""
    for operator, wanted in (statement.get("Condition") or {}).items():
        for key, values in wanted.items():
            value = keys.get(key)
            fits = fnmatchcase if operator in ("ArnLike", "ArnEquals", "StringLike") else str.__eq__
            known = operator in ("ArnLike", "ArnEquals", "StringLike", "StringEquals")
            if not known or value is None or not any(fits(value, pattern) for pattern in listed(values)):
                return False
    return True


backends = BackendDict(Backend, "eks")


def digest(parameters):
    asked = {name: value for name, value in parameters.items() if name != "clientRequestToken"}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).digest()


def once(backend, name, parameters, made):
    """Makes something, or returns what the same client token has made before."""
    token = parameters.get("clientRequestToken")
    if not token:
        return made()
    key, asked = (name, token), digest(parameters)
    if key not in backend.tokens:
        # What is refused is not remembered.
        answer = made()
        backend.tokens[key] = (asked, answer)
        return answer
    before, answer = backend.tokens[key]
    if before != asked:
        invalid("The client request token was used with other parameters before.")
    return answer


def rendered(value):
    """Returns an answer with everything in it as documents."""
    if isinstance(value, Thing):
        return value.document()
    if isinstance(value, dict):
        return {name: rendered(member) for name, member in value.items()}
    if isinstance(value, list):
        return [rendered(item) for item in value]
    return value


def paged(names, parameters, most=100):
    """Returns a page of names and the token of the next; the token is the first name of it."""
    names = sorted(names)
    token, count = parameters.get("nextToken"), int(parameters.get("maxResults") or most)
    if not 1 <= count <= most:
        invalid(f"maxResults needs to be 1 to {most}.")
    start = next((n for n, name in enumerate(names) if name >= token), len(names)) if token else 0
    page = names[start : start + count]
    return page, names[start + count] if start + count < len(names) else None


def hexadecimal(count):
    return (uuid.uuid4().hex * 2)[:count]
