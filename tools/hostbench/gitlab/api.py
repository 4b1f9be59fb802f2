"""The runner API of GitLab (`/api/v4/runners`, `/api/v4/jobs`), as `lib/api/ci/runner.rb` answers it.

A call returns `(status, body, headers)`; a body that is text is sent as it is, all else as JSON. Refusals are raised.
Two decisions: a `glrt-` token without `system_id` is refused with 400, as GitLab's page says (its code would make a
nameless manager); and a trace is taken only where it goes on from what is there, as GitLab's does, whatever the end of
`Content-Range` says.
"""

import re

from state import FINAL, Platform, token

# Seconds between two updates of a job that nobody watches.
UPDATE_INTERVAL = "3"


class Refused(Exception):
    def __init__(self, status, body=None, headers=None):
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}


def refuse(status, message, headers=None):
    raise Refused(status, {"message": message}, headers)


def required(params, *names):
    for name in names:
        if params.get(name) in (None, ""):
            raise Refused(400, {"error": f"{name} is missing"})


def truth(value):
    return value if isinstance(value, bool) else str(value).lower() in ("true", "1", "t", "on")


def settings(params):
    """What a runner may be given when it is made, in the types GitLab makes of it."""
    known = {key: params[key] for key in ("description", "access_level", "maintenance_note") if params.get(key)}
    if known.get("access_level", "not_protected") not in ("not_protected", "ref_protected"):
        raise Refused(400, {"error": "access_level does not have a valid value"})
    for key in "run_untagged", "locked", "paused":
        if params.get(key) not in (None, ""):
            known[key] = truth(params[key])
    if params.get("active") not in (None, ""):
        known["paused"] = not truth(params["active"])
    if params.get("maximum_timeout") not in (None, "", 0, "0"):
        known["maximum_timeout"] = int(params["maximum_timeout"])
        if known["maximum_timeout"] < 600:
            refuse(400, {"maximum_timeout": ["needs to be at least 10 minutes"]})
    tags = params.get("tag_list") or []
    tags = tags.split(",") if isinstance(tags, str) else tags
    known["tag_list"] = sorted({tag.strip() for tag in tags} - {""})
    if not known["tag_list"] and not known.get("run_untagged", True):
        refuse(400, {"tags_list": ["can not be empty when runner is not allowed to pick untagged jobs"]})
    return known


def details(runner):
    return {"id": runner.id, "token": runner.token, "token_expires_at": None}


def authenticated(platform: Platform, request, manager=True):
    required(request.params, "token")
    runner = platform.runner_of(str(request.params["token"]))
    if runner is None:
        refuse(403, "403 Forbidden")
    if manager:
        if not runner.registered:
            required(request.params, "system_id")
        runner.contacted = request.at
        info = request.params.get("info")
        platform.manager_of(runner, str(request.params.get("system_id") or "<legacy>")).heard(
            info if isinstance(info, dict) else {}, request.address
        )
    return runner


def register(platform, request):
    required(request.params, "token")
    known = platform.registration_tokens.get(str(request.params["token"]))
    # The setting is of the group that the token is of, so an unknown token is refused first.
    if known is None:
        refuse(403, "403 Forbidden - invalid token supplied")
    if not platform.legacy:
        refuse(410, "410 Gone - runner registration disallowed")
    wanted = settings(request.params)
    known["registrations"] += 1
    authentication = known.get("answer") or token("glrtr-")
    runner = platform.add_runner(authentication, True, jobs_url=known.get("jobs_url"), **wanted)
    return 201, details(runner), {}


def verify(platform, request):
    runner = authenticated(platform, request)
    runner.verified += 1
    return 200, details(runner), {}


def unregister(platform, request):
    runner = authenticated(platform, request, manager=False)
    del platform.runners[runner.id]
    return 204, None, {}


def unregister_manager(platform, request):
    required(request.params, "token", "system_id")
    runner = authenticated(platform, request, manager=False)
    if runner.managers.pop(str(request.params["system_id"]), None) is None:
        refuse(404, "404 Runner manager not found Not Found")
    return 204, None, {}


def reset_token(platform, request):
    runner = authenticated(platform, request)
    runner.token = token("glrtr-" if runner.registered else "glrt-")
    return 201, {"token": runner.token, "token_expires_at": None}, {}


def request_job(platform, request):
    runner = authenticated(platform, request)
    runner.requests += 1
    if not runner.paused:
        for job in platform.jobs.values():
            if job.status == "pending" and job.fits(runner):
                job.start(runner, str(request.params.get("system_id") or "<legacy>"))
                return 201, job.for_runner(platform.url), {}
    return 204, None, {"X-GitLab-Last-Update": "0"}


def job_of(platform, request, number):
    job = platform.jobs.get(int(number))
    if job is None or (request.params.get("token") or request.headers.get("JOB-TOKEN")) != job.token:
        refuse(403, "403 Forbidden")
    if job.status != "running":
        refuse(403, "403 Forbidden - Job is not processing on runner", {"Job-Status": job.status})
    runner = platform.runners.get(job.runner)
    if runner:
        runner.contacted = request.at
        if job.system_id in runner.managers:
            runner.managers[job.system_id].contacted = request.at
    return job


def update_job(platform, request, number):
    job = job_of(platform, request, number)
    state = request.params.get("state")
    if state in FINAL:
        reason = request.params.get("failure_reason") or ("unknown_failure" if state == "failed" else None)
        job.finish(state, reason, request.params.get("exit_code"))
    return 200, "200", {"Job-Status": job.status, "X-GitLab-Trace-Update-Interval": UPDATE_INTERVAL}


def append_trace(platform, request, number):
    job = job_of(platform, request, number)
    if "Content-Range" not in request.headers:
        raise Refused(400, {"error": "400 Missing header Content-Range"})
    start = re.match(r"\d+", request.headers["Content-Range"])
    if start is None or int(start[0]) != len(job.trace):
        raise Refused(416, {"error": "416 Range Not Satisfiable"}, {"Range": f"0-{len(job.trace)}"})
    job.trace += request.body
    return (
        202,
        "0",
        {"Job-Status": job.status, "Range": f"0-{len(job.trace)}", "X-GitLab-Trace-Update-Interval": UPDATE_INTERVAL},
    )


def upload_artifacts(platform, request, number):
    job = job_of(platform, request, number)
    name, data = request.uploaded()
    if data is None:
        raise Refused(400, {"error": "file is invalid"})
    job.artifacts[name] = data
    return 201, None, {}


def download_artifacts(platform, request, number):
    job = platform.jobs.get(int(number))
    if job is None or (request.params.get("token") or request.headers.get("JOB-TOKEN")) != job.token:
        refuse(403, "403 Forbidden")
    if not job.artifacts:
        refuse(404, "404 Artifacts Not Found")
    return 200, next(iter(job.artifacts.values())), {}


def owner(platform, request):
    """Calls for people, not runners, need an access token."""
    said = request.headers.get("PRIVATE-TOKEN") or request.headers.get("Authorization", "").removeprefix("Bearer ")
    if said not in platform.access_tokens:
        refuse(401, "401 Unauthorized")


def known_runner(platform, request, number):
    owner(platform, request)
    return platform.runners.get(int(number)) or refuse(404, "404 Runner Not Found")


def create_runner(platform, request):
    owner(platform, request)
    required(request.params, "runner_type")
    scope = {"group_type": "group_id", "project_type": "project_id"}.get(request.params["runner_type"])
    if scope:
        required(request.params, scope)
    runner = platform.add_runner(token("glrt-"), False, **settings(request.params))
    return 201, details(runner), {}


def shown(runner):
    """A runner as a list of runners shows it: without its token."""
    known = runner.as_json()
    keys = "id", "description", "paused", "status"
    return {key: known[key] for key in keys} | {"active": not runner.paused, "online": known["status"] == "online"}


def list_runners(platform, request):
    owner(platform, request)
    return 200, [shown(runner) for runner in platform.runners.values()], {}


def show_runner(platform, request, number):
    runner = known_runner(platform, request, number)
    keys = "tag_list", "run_untagged", "locked", "access_level", "maximum_timeout", "maintenance_note", "contacted_at"
    return 200, shown(runner) | {key: runner.as_json()[key] for key in keys}, {}


def delete_runner(platform, request, number):
    del platform.runners[known_runner(platform, request, number).id]
    return 204, None, {}


def list_managers(platform, request, number):
    runner = known_runner(platform, request, number)
    return 200, [manager.as_json() for manager in runner.managers.values()], {}


def version(platform, request):
    owner(platform, request)
    return 200, {"version": "19.3.0-ee", "revision": "0000000000"}, {}


def me(platform, request):
    owner(platform, request)
    return 200, {"id": 1, "username": "bench", "name": "bench", "state": "active"}, {}


ROUTES = [
    (method, re.compile("/api/v4" + path + "/?"), call)
    for method, path, call in [
        ("POST", "/runners", register),
        ("POST", "/runners/verify", verify),
        ("DELETE", "/runners", unregister),
        ("DELETE", "/runners/managers", unregister_manager),
        ("POST", "/runners/reset_authentication_token", reset_token),
        ("POST", "/jobs/request", request_job),
        ("PUT", r"/jobs/(\d+)", update_job),
        ("PATCH", r"/jobs/(\d+)/trace", append_trace),
        ("POST", r"/jobs/(\d+)/artifacts", upload_artifacts),
        ("GET", r"/jobs/(\d+)/artifacts", download_artifacts),
        ("POST", "/user/runners", create_runner),
        ("GET", "/runners(?:/all)?", list_runners),
        ("GET", r"/runners/(\d+)", show_runner),
        ("DELETE", r"/runners/(\d+)", delete_runner),
        ("GET", r"/runners/(\d+)/managers", list_managers),
        ("GET", "/version", version),
        ("GET", "/user", me),
    ]
]
