#!/usr/bin/env python3
"""Holds the fake GitLab against two public clients of the real one, python-gitlab and gitlab-runner-api.

Each check runs against a fresh server and must pass. Then the server is made wrong in one way after another, and the
checks must notice each: a check that no deviation fails would prove nothing. Exit code 77 without the clients.
"""

import http.client
import json
import logging
import sys
import threading
import time
import urllib.parse

import api
import server

try:
    import gitlab
    import gitlab_runner_api
    import requests
except ImportError as missing:
    print(f"skipped: {missing.name} is not installed (tools/requirements.txt)")
    sys.exit(77)


class Bench:
    """A server with what the control interface makes of it."""

    def __init__(self):
        self.server = server.serve()
        self.url = self.server.address

    def control(self, method, path, **body):
        target = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(target.hostname, target.port, timeout=10)
        connection.request(method, "/bench" + path, json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        assert answer.status < 300, (method, path, answer.status, data)
        return json.loads(data) if data else None

    def registration_token(self):
        return self.control("POST", "/registration-tokens")["token"]

    def client(self, **options):
        return gitlab.Gitlab(self.url, **options)

    def person(self):
        return self.client(private_token=self.control("POST", "/access-tokens")["token"])

    def runner(self):
        return gitlab_runner_api.Runner.register(
            self.url, self.registration_token(), description="one", tags=["b", "a"], run_untagged=False, locked=False
        )

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def refused(status, error, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except error as refusal:
        assert refusal.response_code == status, refusal
        return refusal
    raise AssertionError(f"not refused with {status}")


def registers_with_the_slash(bench):
    runner = bench.runner()
    (known,) = bench.control("GET", "/runners")
    assert (known["id"], known["token"], known["tag_list"]) == (runner.id, runner.token, ["a", "b"]), known
    assert (
        known["registered"] and not known["run_untagged"] and not known["locked"] and known["description"] == "one"
    ), known
    # The client verifies what it registered.
    assert known["verified"] == 1 and known["status"] == "online" and known["managers"][0]["contacted_at"], known


def registers_without_the_slash(bench):
    made = bench.client().runners.create(
        {"token": bench.registration_token(), "description": "two", "tag_list": "x,y", "run_untagged": "false"}
    )
    (known,) = bench.control("GET", "/runners")
    assert (made.id, made.token, made.token_expires_at) == (known["id"], known["token"], None), made
    assert known["tag_list"] == ["x", "y"] and known["status"] == "never_contacted", known


def refuses_unknown_registration_tokens(bench):
    refusal = refused(403, gitlab.GitlabCreateError, bench.client().runners.create, {"token": "no-such-token"})
    assert "403 Forbidden" in refusal.error_message, refusal
    try:
        gitlab_runner_api.Runner.register(bench.url, "no-such-token")
    except gitlab_runner_api.AuthException:
        return
    raise AssertionError("not refused")


def legacy_registration_can_be_gone(bench):
    bench.control("PATCH", "/state", legacy=False)
    token = bench.registration_token()
    refusal = refused(410, gitlab.GitlabCreateError, bench.client().runners.create, {"token": token})
    assert refusal.error_message == "410 Gone - runner registration disallowed", refusal
    assert bench.control("GET", "/runners") == []


def a_token_is_needed(bench):
    for method, path in (
        ("POST", "runners"),
        ("POST", "runners/verify"),
        ("DELETE", "runners"),
        ("POST", "jobs/request"),
    ):
        answer = requests.request(method, f"{bench.url}/api/v4/{path}", json={"info": {}}, timeout=10)
        assert (answer.status_code, answer.json()) == (400, {"error": "token is missing"}), (path, answer.text)


def busy_is_tried_again(bench):
    bench.control("POST", "/faults", call="POST /api/v4/runners", status=503, times=2)
    refused(503, gitlab.GitlabCreateError, bench.client().runners.create, {"token": bench.registration_token()})
    made = bench.client(retry_transient_errors=True).runners.create({"token": bench.registration_token()})
    assert [known["id"] for known in bench.control("GET", "/runners")] == [made.id]
    counts = bench.control("GET", "/state")["counts"]
    assert counts == {"POST /api/v4/runners 503": 2, "POST /api/v4/runners 201": 1}, counts


def a_lost_answer_had_its_effect(bench):
    bench.control("POST", "/faults", call="POST /api/v4/runners", drop=True, times=1)
    try:
        bench.client().runners.create({"token": bench.registration_token()})
        raise AssertionError("there was an answer")
    except requests.ConnectionError:
        assert len(bench.control("GET", "/runners")) == 1


def an_answer_can_be_late(bench):
    bench.control("POST", "/faults", call="POST /api/v4/runners/verify", delay=0.3, times=1)
    began = time.monotonic()
    bench.runner()
    assert time.monotonic() - began >= 0.3


def verifies(bench):
    runner = bench.runner()
    bench.client().runners.verify(runner.token)
    refused(403, gitlab.GitlabVerifyError, bench.client().runners.verify, "no-such-token")
    bench.control("POST", "/revoke", token=runner.token)
    refused(403, gitlab.GitlabVerifyError, bench.client().runners.verify, runner.token)
    try:
        runner.check_auth()
    except gitlab_runner_api.AuthException:
        return
    raise AssertionError("a revoked token is accepted")


def made_runners_have_managers(bench):
    person = bench.person()
    person.auth()
    made = person.user.runners.create({"runner_type": "instance_type", "tag_list": ["a"]})
    assert made.token.startswith("glrt-"), made
    client = bench.client()
    assert (
        refused(400, gitlab.GitlabVerifyError, client.runners.verify, made.token).error_message
        == "system_id is missing"
    )
    one = client.http_post("/runners/verify", post_data={"token": made.token, "system_id": "s_000000000001"})
    assert one == {"id": made.id, "token": made.token, "token_expires_at": None}, one
    client.http_post("/runners/verify", post_data={"token": made.token, "system_id": "s_000000000002"})
    (known,) = bench.control("GET", "/runners")
    assert [manager["system_id"] for manager in known["managers"]] == ["s_000000000001", "s_000000000002"], known

    def leave(system_id, token=made.token):
        return client.http_delete("/runners/managers", query_data={"token": token, "system_id": system_id})

    refused(403, gitlab.GitlabHttpError, leave, "s_000000000001", "no-such-token")
    assert leave("s_000000000001").status_code == 204
    refused(404, gitlab.GitlabHttpError, leave, "s_000000000001")
    (known,) = bench.control("GET", "/runners")
    assert len(known["managers"]) == 1, known


def unregisters(bench):
    runner = bench.runner()
    client = bench.client()
    assert client.http_delete("/runners", query_data={"token": runner.token}).status_code == 204
    refused(403, gitlab.GitlabHttpError, client.http_delete, "/runners", query_data={"token": runner.token})
    assert bench.control("GET", "/runners") == []


def people_see_runners(bench):
    runner = bench.runner()
    refused(401, gitlab.GitlabAuthenticationError, bench.client().runners.list)
    person = bench.person()
    (listed,) = person.runners.list()
    assert (listed.id, listed.status, listed.online) == (runner.id, "online", True), listed
    shown = person.runners.get(runner.id)
    assert shown.tag_list == ["a", "b"] and not hasattr(shown, "token"), shown
    person.runners.delete(runner.id)
    refused(404, gitlab.GitlabGetError, person.runners.get, runner.id)


def gives_jobs(bench):
    runner = bench.runner()
    assert runner.request_job() is None
    other = bench.control("POST", "/jobs", script=["true"], tags=["other"])
    wanted = bench.control("POST", "/jobs", script=["echo one", "echo two"], tags=["a"], image="image:1", duration=2)
    job = runner.request_job()
    assert (job.id, job.name, job.script) == (wanted["id"], "job", ["echo one", "echo two", "sleep 2"]), job
    assert job.job_url.startswith(bench.url) and job.project_path == "bench/project-1" and job.is_branch, job.job_url
    assert runner.request_job() is None
    job.auth()
    job.log += "hello\n"
    job.set_failed(gitlab_runner_api.failure_reasons.ScriptFailure())
    known = bench.control("GET", f"/jobs/{job.id}")
    assert known["trace"].endswith("hello\n") and known["trace"].startswith("Running with"), known
    assert (known["status"], known["failure_reason"], known["runner"]) == ("failed", "script_failure", runner.id), known
    assert bench.control("GET", f"/jobs/{other['id']}")["status"] == "pending"


def finishes_and_cancels_jobs(bench):
    runner = bench.runner()
    for _ in range(2):
        bench.control("POST", "/jobs", tags=["a"])
    first, second = runner.request_job(), runner.request_job()
    first.set_success()
    assert bench.control("GET", f"/jobs/{first.id}")["status"] == "success"
    bench.control("POST", f"/jobs/{second.id}/cancel")
    try:
        second.log += "late\n"
    except gitlab_runner_api.JobCancelledException:
        return
    raise AssertionError("a canceled job goes on")


def traces_have_no_holes(bench):
    runner = bench.runner()
    bench.control("POST", "/jobs", tags=["a"])
    job = runner.request_job()

    def patch(data, content_range):
        headers = {"JOB-TOKEN": job.token} | ({"Content-Range": content_range} if content_range else {})
        return requests.patch(f"{bench.url}/api/v4/jobs/{job.id}/trace", data, headers=headers, timeout=10)

    assert patch("abc", None).status_code == 400
    answer = patch("abc", "0-2")
    assert (answer.status_code, answer.headers["Range"], answer.headers["Job-Status"]) == (202, "0-3", "running"), (
        answer.headers
    )
    answer = patch("xyz", "9-11")
    assert (answer.status_code, answer.headers["Range"]) == (416, "0-3"), answer.headers
    headers = {"JOB-TOKEN": job.token}
    sent = requests.post(
        f"{bench.url}/api/v4/jobs/{job.id}/artifacts", files={"file": ("a.zip", b"zip")}, headers=headers, timeout=10
    )
    got = requests.get(f"{bench.url}/api/v4/jobs/{job.id}/artifacts", headers=headers, timeout=10)
    assert (sent.status_code, got.status_code, got.content) == (201, 200, b"zip"), (sent, got)


def job_requests_can_fail(bench):
    runner = bench.runner()
    bench.control("POST", "/faults", call="POST /api/v4/jobs/request", status=503, times=1)
    try:
        runner.request_job()
        raise AssertionError("there was no fault")
    except NotImplementedError as unknown:
        assert unknown.args[1].status_code == 503, unknown
    bench.control("POST", "/faults", call="POST /api/v4/jobs/request", status=403)
    try:
        runner.request_job()
        raise AssertionError("not forbidden")
    except gitlab_runner_api.AuthException:
        bench.control("DELETE", "/faults")
    assert runner.request_job() is None


CHECKS = [
    registers_with_the_slash,
    registers_without_the_slash,
    refuses_unknown_registration_tokens,
    legacy_registration_can_be_gone,
    a_token_is_needed,
    busy_is_tried_again,
    a_lost_answer_had_its_effect,
    an_answer_can_be_late,
    verifies,
    made_runners_have_managers,
    unregisters,
    people_see_runners,
    gives_jobs,
    finishes_and_cancels_jobs,
    traces_have_no_holes,
    job_requests_can_fail,
]


def failed():
    """What goes wrong with the checks, one after another."""
    for check in CHECKS:
        bench = Bench()
        try:
            check(bench)
        except Exception as error:  # Whatever a client makes of a wrong answer.
            yield f"{check.__name__}: {error!r}"
        finally:
            bench.close()


class Deviation:
    """While entered, one call of the API answers otherwise."""

    def __init__(self, call, change):
        self.call, self.change = call, change

    def __enter__(self):
        self.was = list(api.ROUTES)

        def wrong(*arguments):
            try:
                answer = self.call(*arguments)
            except api.Refused as refused:
                answer = refused.status, refused.body, refused.headers
            return self.change(*answer)

        api.ROUTES[:] = [(method, path, wrong if call is self.call else call) for method, path, call in self.was]

    def __exit__(self, *_):
        api.ROUTES[:] = self.was


def instead(wrong, right):
    return lambda status, body, headers: (wrong if status == right else status, body, headers)


def without(key):
    def change(status, body, headers):
        return (
            status,
            {name: value for name, value in body.items() if name != key} if status < 300 and body else body,
            headers,
        )

    return change


DEVIATIONS = {
    "registering says 200": Deviation(api.register, instead(200, 201)),
    "an unknown registration token says 401": Deviation(api.register, instead(401, 403)),
    "legacy registration says 403": Deviation(api.register, instead(403, 410)),
    "registering gives no token": Deviation(api.register, without("token")),
    "registering gives no expiry": Deviation(api.register, without("token_expires_at")),
    "verifying says 201": Deviation(api.verify, instead(201, 200)),
    "a removed runner says 404": Deviation(api.verify, instead(404, 403)),
    "verifying gives no id": Deviation(api.verify, without("id")),
    "unregistering says 200": Deviation(api.unregister, instead(200, 204)),
    "unregistering twice says 404": Deviation(api.unregister, instead(404, 403)),
    "a manager leaves with 200": Deviation(api.unregister_manager, instead(200, 204)),
    "no job says 200": Deviation(api.request_job, instead(200, 204)),
    "a job says 200": Deviation(api.request_job, instead(200, 201)),
    "a job has no token": Deviation(api.request_job, without("token")),
    "updating a job says 202": Deviation(api.update_job, instead(202, 200)),
    "a hole in a trace says 400": Deviation(api.append_trace, instead(400, 416)),
    "a trace says 200": Deviation(api.append_trace, instead(200, 202)),
    "a canceled job is not said to be": Deviation(api.append_trace, lambda status, body, _: (status, body, {})),
}


def main():
    logging.disable(logging.CRITICAL)
    # Threads of servers that end complain where a client leaves.
    threading.excepthook = lambda *_: None
    wrong = list(failed())
    for name, deviation in DEVIATIONS.items():
        with deviation:
            if not any(failed()):
                wrong.append(f"nobody notices that {name}")
    print("\n".join(wrong) or f"{len(CHECKS)} checks hold, and {len(DEVIATIONS)} deviations are noticed")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
