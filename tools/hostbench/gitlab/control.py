"""The control interface of the fake GitLab, below `/bench`. Bodies and answers are JSON; `server.py` lists the calls."""

import re

from api import ROUTES as API, Refused, required, settings
from state import Fault, Job, token


def state(platform, _):
    return 200, platform.as_json(), {}


def set_state(platform, request):
    for key in request.params:
        if key not in ("legacy", "url"):
            raise Refused(400, {"error": f"{key} is not a setting"})
    platform.legacy = request.params.get("legacy", platform.legacy)
    platform.url = request.params.get("url", platform.url)
    return 200, {"legacy": platform.legacy, "url": platform.url}, {}


def make_registration_token(platform, request):
    made = request.params.get("token") or token("GR1348941")
    platform.registration_tokens[made] = {
        "registrations": 0,
        "answer": request.params.get("answer"),
        "jobs_url": request.params.get("jobs_url"),
    }
    return 201, {"token": made}, {}


def make_runner(platform, request):
    made = request.params.get("token") or token("glrt-")
    runner = platform.add_runner(made, False, jobs_url=request.params.get("jobs_url"), **settings(request.params))
    return 201, runner.as_json(), {}


def make_access_token(platform, _):
    made = token("glpat-")
    platform.access_tokens.add(made)
    return 201, {"token": made}, {}


def revoke(platform, request):
    """A registration token, or the token of a runner, which goes with its managers."""
    required(request.params, "token")
    runner = platform.runner_of(request.params["token"])
    if runner:
        del platform.runners[runner.id]
    elif platform.registration_tokens.pop(request.params["token"], None) is None:
        raise Refused(404, {"error": "nobody has this token"})
    return 204, None, {}


def runners(platform, _):
    return 200, platform.as_json()["runners"], {}


def runner(platform, request, number):
    """What the owner of a runner may change, and where its jobs come from."""
    known = platform.runners.get(int(number)) or refuse_unknown("runner")
    for key in "paused", "tag_list", "run_untagged", "locked", "description", "jobs_url":
        if key in request.params:
            setattr(known, key, request.params[key])
    return 200, known.as_json(), {}


def refuse_unknown(what):
    raise Refused(404, {"error": f"there is no such {what}"})


def make_job(platform, request):
    job = Job(platform.number(), request.params)
    platform.jobs[job.id] = job
    return 201, job.as_json(), {}


def jobs(platform, _):
    return 200, platform.as_json()["jobs"], {}


def job_of(platform, number):
    return platform.jobs.get(int(number)) or refuse_unknown("job")


def job(platform, _, number):
    return 200, job_of(platform, number).as_json(), {}


def trace(platform, _, number):
    return 200, job_of(platform, number).trace.decode(errors="replace"), {}


def cancel(platform, _, number):
    job_of(platform, number).finish("canceled")
    return 200, job_of(platform, number).as_json(), {}


def api_path(pattern):
    """A path that fits the pattern of a route."""
    return pattern.removesuffix("/?").replace("(?:/all)?", "").replace(r"(\d+)", "1")


def make_fault(platform, request):
    """Only calls that exist can go wrong; a pattern that fits none is a slip of whoever wrote it."""
    required(request.params, "call")
    known = ("call", "times", "status", "body", "after", "drop", "delay")
    for key in request.params:
        if key not in known:
            raise Refused(400, {"error": f"{key} is not a part of a fault"})
    try:
        fault = Fault(request.params)
    except re.error as error:
        raise Refused(400, {"error": f"call: {error}"}) from None
    calls = [f"{method} {api_path(path.pattern)}" for method, path, _ in API]
    if not any(fault.matches(call) for call in calls):
        raise Refused(400, {"error": "no call fits " + request.params["call"], "calls": calls})
    platform.faults.append(fault)
    return 201, fault.as_json(), {}


def clear_faults(platform, _):
    platform.faults.clear()
    return 204, None, {}


def clear_calls(platform, _):
    platform.calls.clear()
    return 204, None, {}


ROUTES = [
    (method, re.compile("/bench" + path), call)
    for method, path, call in [
        ("GET", "/state", state),
        ("PATCH", "/state", set_state),
        ("POST", "/registration-tokens", make_registration_token),
        ("POST", "/access-tokens", make_access_token),
        ("POST", "/runners", make_runner),
        ("GET", "/runners", runners),
        ("PATCH", r"/runners/(\d+)", runner),
        ("POST", "/revoke", revoke),
        ("POST", "/jobs", make_job),
        ("GET", "/jobs", jobs),
        ("GET", r"/jobs/(\d+)", job),
        ("GET", r"/jobs/(\d+)/trace", trace),
        ("POST", r"/jobs/(\d+)/cancel", cancel),
        ("POST", "/faults", make_fault),
        ("DELETE", "/faults", clear_faults),
        ("DELETE", "/calls", clear_calls),
    ]
]
