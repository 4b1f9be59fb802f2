#!/usr/bin/env python3
"""Runs the fake runner against the fake GitLab, without Docker: its calls of Docker are answered by a few lines here.

Python's standard library only. `check.py NAME…` runs only these checks. The container, its entry point and real jobs
are not in here; the bench that boots a host has them.
"""

import concurrent.futures
import http.server
import json
import os
import pathlib
import re
import signal
import socketserver
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "gitlab"))

import server  # noqa: E402 (found through the line above)

RUNNER = HERE / "runner/gitlab-runner"
PATIENCE = 20


class Engine(http.server.BaseHTTPRequestHandler):
    """As much of Docker as a job sees; a container ends by itself after the seconds its script sleeps."""

    containers = {}

    def address_string(self):
        return "socket"

    def log_message(self, *_):
        pass

    def answer(self, status, body=None, version="1.41"):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Api-Version", version)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def call(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        path = self.path.partition("?")[0]
        if path == "/_ping":
            return self.answer(200)
        # The runner may not be newer than the daemon.
        path = path.removeprefix("/v1.41")
        known = self.containers.get(path.split("/")[2]) if path.startswith("/containers/") else None
        if path.startswith("/images/create"):
            refused = "error" if "missing" in self.path else "status"
            return self.answer(200, {refused: "no such image"})
        if path.startswith("/images/"):
            missing = "missing" in path
            return self.answer(
                404 if missing else 200,
                {"message": "No such image"} if missing else {"Id": "sha256:1", "RepoDigests": []},
            )
        if path == "/volumes/create":
            return self.answer(201, body)
        if path == "/containers/create":
            name = re.search("name=([^&]*)", self.path)[1]
            self.containers[name] = {"settings": body, "end": threading.Event(), "code": 0, "removed": False}
            return self.answer(201, {"Id": name})
        if path.endswith("/start"):
            seconds = re.search(r"^sleep (\S+)$", known["settings"]["Cmd"][2], re.M)
            known["code"] = int("\nfalse\n" in known["settings"]["Cmd"][2])
            threading.Timer(float(seconds[1]) if seconds else 0, known["end"].set).start()
            return self.answer(204)
        if path.endswith("/logs"):
            self.send_response(200)
            self.end_headers()
            said = b"hello\n"
            self.wfile.write(struct.pack(">BxxxI", 1, len(said)) + said)
            self.wfile.flush()
            known["end"].wait(PATIENCE)
            return None
        if path.endswith("/wait"):
            known["end"].wait(PATIENCE)
            return self.answer(200, {"StatusCode": known["code"]})
        if self.command == "DELETE" and known:
            known["removed"] = True
            known["end"].set()
            return self.answer(204)
        return self.answer(404, {"message": "page not found"})

    do_GET = do_POST = do_DELETE = call


class EngineServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


class Bench:
    """A platform, a folder for config.toml, and what was started in it."""

    def __init__(self, folder):
        self.server = server.serve()
        self.url = self.server.address
        self.platform = self.server.platform
        self.folder = pathlib.Path(folder)
        self.config = self.folder / "config.toml"
        self.containers = {}
        self.service = None
        handler = type("Bound", (Engine,), {"containers": self.containers})
        self.engine = EngineServer(str(self.folder / "docker.sock"), handler)
        threading.Thread(target=self.engine.serve_forever, args=(0.02,), daemon=True).start()

    def environment(self, **variables):
        return {
            "PATH": "/usr/bin:/bin",
            "CONFIG_FILE": str(self.config),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DOCKER_HOST": f"unix://{self.folder}/docker.sock",
            **variables,
        }

    def run(self, *arguments, code=0, **variables):
        """What a command says; it must end with `code`."""
        ended = subprocess.run(
            [sys.executable, RUNNER, *arguments],
            env=self.environment(**variables),
            text=True,
            capture_output=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        assert ended.returncode == code, (arguments, ended.returncode, ended.stderr)
        return ended.stdout + ended.stderr

    def register(self, *more, code=0, **variables):
        return self.run(
            "register",
            "--non-interactive",
            f"--url={self.url}",
            "--executor=docker",
            "--docker-image=job",
            "--description=agent",
            *more,
            code=code,
            **variables,
        )

    def made(self, **settings):
        return self.post("runners", {"tag_list": ["a"], **settings})

    def registration_token(self):
        return self.post("registration-tokens", {})["token"]

    def post(self, path, body):
        request = urllib.request.Request(
            f"{self.url}/bench/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read() or b"null")

    def fault(self, call, **wanted):
        self.post("faults", {"call": call, **wanted})

    def state(self):
        return self.platform.as_json()

    def written(self):
        return tomllib.loads(self.config.read_text())

    def start(self, **settings):
        """Starts the service for a runner that is made for it, with these settings on top of what `register` wrote."""
        if not self.config.exists():
            self.register(CI_SERVER_TOKEN=self.made()["token"])
        self.set(check_interval=1, **settings)
        self.log = open(self.folder / "log", "w+")
        self.service = subprocess.Popen(
            [sys.executable, RUNNER, "run"], env=self.environment(), stderr=self.log, stdin=subprocess.DEVNULL
        )

    def set(self, **settings):
        """Takes the place of lines at the top of config.toml."""
        lines = self.config.read_text().splitlines()
        lines = [line for line in lines if line.partition(" = ")[0] not in settings]
        new = self.folder / "config.new"
        new.write_text("\n".join([f"{key} = {json.dumps(value)}" for key, value in settings.items()] + lines) + "\n")
        new.replace(self.config)

    def said(self):
        return (self.folder / "log").read_text()

    def until(self, what, true):
        end = time.monotonic() + PATIENCE
        while not true():
            assert time.monotonic() < end, (what, self.state(), self.service and self.said())
            assert self.service is None or self.service.poll() is None or "ended" in what, self.said()
            time.sleep(0.02)

    def job(self, **wanted):
        return self.post("jobs", {"tags": ["a"], **wanted})["id"]

    def status(self, job):
        return self.platform.jobs[job].status

    def end(self, number):
        self.service.send_signal(number)
        return self.service.wait(PATIENCE)

    def close(self):
        if self.service:
            self.service.kill()
            self.service.wait()
            self.log.close()
        self.engine.shutdown()
        self.engine.server_close()
        self.server.shutdown()
        self.server.server_close()


def registers_what_was_made_on_the_platform(bench):
    made = bench.made()
    said = bench.register(
        CI_SERVER_TOKEN=made["token"],
        CI_SERVER_TLS_CA_FILE="/etc/ssl/certs/ca-certificates.crt"
        if os.path.exists("/etc/ssl/certs/ca-certificates.crt")
        else "",
    )
    assert "Verifying runner... is valid" in said and "Runner registered successfully" in said, said
    config = bench.written()
    (runner,) = config["runners"]
    assert (config["concurrent"], config["check_interval"], config["session_server"]) == (
        1,
        0,
        {"session_timeout": 1800},
    )
    wanted = {"name": "agent", "url": bench.url, "id": made["id"], "token": made["token"], "executor": "docker"}
    assert wanted.items() <= runner.items() and runner["token_obtained_at"].tzinfo, runner
    assert runner["docker"]["image"] == "job" and runner["docker"]["volumes"] == ["/cache"], runner
    assert stat.S_IMODE(bench.config.stat().st_mode) == 0o600
    system_id = (bench.folder / ".runner_system_id").read_text()
    assert re.fullmatch("[sr]_[0-9A-Za-z]{12}", system_id), system_id
    (known,) = bench.state()["runners"]
    assert [manager["system_id"] for manager in known["managers"]] == [system_id], known
    # Again: a second section, the same manager, and a warning.
    said = bench.register(CI_SERVER_TOKEN=made["token"])
    assert "has already been registered" in said and len(bench.written()["runners"]) == 2, said
    assert len(bench.state()["runners"][0]["managers"]) == 1 and len(bench.state()["runners"]) == 1


def refuses_what_the_platform_says_of_made_runners(bench):
    token = bench.made()["token"]
    flags = [
        "--locked=false",
        "--access-level=ref_protected",
        "--run-untagged",
        "--maximum-timeout=600",
        "--paused",
        "--tag-list=a",
        "--maintenance-note=b",
    ]
    for flag in flags:
        said = bench.register(flag, code=1, CI_SERVER_TOKEN=token)
        assert "FATAL: Runner configuration other than name and executor configuration is reserved" in said, (
            flag,
            said,
        )
    assert not bench.config.exists() and bench.state()["counts"] == {}, bench.state()["counts"]
    said = bench.register(*flags, REGISTRATION_TOKEN=token)
    assert "command line parameters being ignored" in said, said
    assert bench.state()["runners"][0]["tag_list"] == ["a"] and bench.written()["runners"][0]["token"] == token


def registers_itself(bench):
    said = bench.register(
        "--tag-list=b,a", "--run-untagged=false", "--locked=false", REGISTRATION_TOKEN=bench.registration_token()
    )
    assert "Registering runner... succeeded" in said and "deprecated" in said, said
    (known,) = bench.state()["runners"]
    (runner,) = bench.written()["runners"]
    assert (runner["token"], runner["id"]) == (known["token"], known["id"]) and known["registered"], known
    assert (known["tag_list"], known["run_untagged"], known["locked"], known["description"]) == (
        ["a", "b"],
        False,
        False,
        "agent",
    )
    assert "is alive" in bench.run("verify")
    assert known["token"] in bench.run("list")


def says_why_it_could_not_register(bench):
    said = bench.register(code=2, REGISTRATION_TOKEN="no-such-token")
    assert (
        "Registering runner... forbidden (check registration token)" in said and "PANIC: Failed to register" in said
    ), said
    bench.platform.legacy = False
    said = bench.register(code=2, REGISTRATION_TOKEN=bench.registration_token())
    assert "Registering runner... failed" in said and "410 Gone - runner registration disallowed" in said, said
    said = bench.register(code=2, CI_SERVER_TOKEN="glrt-no-such-token")
    assert "is not valid" in said and "PANIC: Failed to verify the runner." in said, said
    bench.fault("POST /api/v4/runners/verify", status=503)
    said = bench.register(code=2, CI_SERVER_TOKEN=bench.made()["token"])
    assert "Verifying runner... failed" in said and "503" in said, said
    assert "flag provided but not defined: --tag" in bench.register("--tag=a", code=1, CI_SERVER_TOKEN="glrt-1")
    assert not bench.config.exists()


def verifies(bench):
    made, registration = bench.made(), bench.registration_token()
    bench.register(CI_SERVER_TOKEN=made["token"])
    bench.register("--tag-list=a", REGISTRATION_TOKEN=registration)
    assert "is valid" in (said := bench.run("verify")) and "is alive" in said, said
    bench.fault("POST /api/v4/runners/verify", status=500, times=2)
    assert bench.run("verify").count("ERROR: Verifying runner... failed") == 2
    bench.fault("POST /api/v4/runners/verify", drop=True, times=2)
    assert bench.run("verify").count("ERROR: Verifying runner... client error") == 2
    for runner in bench.state()["runners"]:
        bench.post("revoke", {"token": runner["token"]})
    said = bench.run("verify", code=1)
    assert "is not valid" in said and "is removed" in said and "FATAL: Failed to verify runners" in said, said
    bench.run("verify", "--delete")
    assert "runners" not in bench.written() or bench.written()["runners"] == []


def unregisters(bench):
    made = bench.made()
    bench.register(CI_SERVER_TOKEN=made["token"])
    bench.register("--tag-list=a", REGISTRATION_TOKEN=bench.registration_token())
    bench.fault("DELETE /api/v4/runners(/managers)?", status=503, times=2)
    said = bench.run("unregister", "--all-runners")
    assert said.count("Failed to unregister runner agent") == 2 and len(bench.written()["runners"]) == 2, said
    said = bench.run("unregister", "--all-runners")
    assert (
        "Unregistering runner manager from GitLab succeeded" in said
        and "Unregistering runner from GitLab succeeded" in said
    ), said
    assert "runners" not in bench.written() and bench.written()["concurrent"] == 1
    (known,) = bench.state()["runners"]
    assert known["id"] == made["id"] and known["managers"] == [], known


def runs_jobs(bench):
    bench.start(concurrent=2, listen_address="127.0.0.1:0")
    good, bad, missing = bench.job(script=["true"]), bench.job(script=["false"]), bench.job(image="missing")
    foreign = bench.job(tags=["other"])
    bench.until("jobs", lambda: all(bench.status(job) in ("success", "failed") for job in (good, bad, missing)))
    jobs = {job["id"]: job for job in bench.state()["jobs"]}
    assert (
        jobs[good]["status"] == "success"
        and "hello" in jobs[good]["trace"]
        and jobs[good]["trace"].endswith("Job succeeded\x1b[0;m\n")
    )
    assert (jobs[bad]["failure_reason"], jobs[bad]["exit_code"]) == ("script_failure", 1), jobs[bad]
    assert jobs[missing]["failure_reason"] == "image_pull_failure", jobs[missing]
    assert jobs[foreign]["status"] == "pending"
    labels = next(iter(bench.containers.values()))["settings"]["Labels"]
    prefix = "com.gitlab.gitlab-runner."
    assert (
        labels[prefix + "managed"] == "true"
        and labels[prefix + "job.id"] == str(good)
        and labels[prefix + "type"] == "build"
    ), labels
    assert all(
        name.startswith("runner-") and name.endswith("-build") and known["removed"]
        for name, known in bench.containers.items()
    )
    said = bench.said()
    assert "Checking for jobs... received" in said and "WARNING: Job failed: exit code 1" in said, said


def says_nothing_while_there_is_nothing(bench):
    bench.start()
    bench.until("polls", lambda: bench.state()["counts"].get("POST /api/v4/jobs/request 204", 0) > 2)
    assert "Checking" not in bench.said() and "Configuration loaded" in bench.said(), bench.said()
    bench.fault("POST /api/v4/jobs/request", status=503, times=1)
    bench.until("503", lambda: "WARNING: Checking for jobs... GitLab instance currently unavailable" in bench.said())
    bench.fault("POST /api/v4/jobs/request", status=500, times=1)
    bench.until("500", lambda: "WARNING: Checking for jobs... failed" in bench.said())
    assert bench.end(signal.SIGQUIT) == 0


def takes_more_jobs_at_once_when_told(bench):
    bench.start(concurrent=1)
    jobs = [bench.job(duration=PATIENCE) for _ in range(3)]

    def running():
        return sum(bench.status(job) == "running" for job in jobs)

    bench.until("one", lambda: running() == 1)
    time.sleep(1.5)
    assert running() == 1
    bench.set(concurrent=3)
    bench.until("three", lambda: running() == 3)
    bench.config.write_text("concurrent = [")
    bench.until("broken", lambda: "ERROR: Failed to load config" in bench.said())
    # Ends with its jobs, which the platform hears of.
    assert bench.end(signal.SIGTERM) == 0
    assert {job["failure_reason"] for job in bench.state()["jobs"]} == {"runner_system_failure"}
    assert all(known["removed"] for known in bench.containers.values())


def finishes_what_runs_when_asked_to_quit(bench):
    bench.start(concurrent=2)
    first = bench.job(duration=3)
    bench.until("first", lambda: bench.status(first) == "running")
    bench.service.send_signal(signal.SIGQUIT)
    bench.until("quit", lambda: "Starting graceful shutdown, waiting for builds to finish" in bench.said())
    late = bench.job()
    assert bench.service.wait(PATIENCE) == 0
    assert (bench.status(first), bench.status(late)) == ("success", "pending")
    assert "All workers stopped. Can exit now" in bench.said()


def stops_canceled_jobs(bench):
    bench.start()
    job = bench.job(duration=PATIENCE)
    bench.until("job", lambda: bench.containers and bench.status(job) == "running")
    bench.post(f"jobs/{job}/cancel", {})
    bench.until("removed", lambda: all(known["removed"] for known in bench.containers.values()))
    assert bench.status(job) == "canceled"


def leaves_alone_who_refuses_it(bench):
    bench.start()
    bench.until("polls", lambda: bench.state()["counts"].get("POST /api/v4/jobs/request 204", 0) > 0)
    bench.post("revoke", {"token": bench.state()["runners"][0]["token"]})
    bench.until("unhealthy", lambda: "is unhealthy and will be disabled for 1h0m0s seconds!" in bench.said())
    refused = bench.state()["counts"]["POST /api/v4/jobs/request 403"]
    time.sleep(2.5)
    assert bench.state()["counts"]["POST /api/v4/jobs/request 403"] == refused == 3
    assert bench.said().count("ERROR: Checking for jobs... forbidden") == 3


def jobs_fail_without_docker(bench):
    bench.start()
    os.unlink(bench.folder / "docker.sock")
    job = bench.job()
    bench.until("job", lambda: bench.status(job) == "failed")
    known = bench.state()["jobs"][0]
    assert (
        known["failure_reason"] == "runner_system_failure" and "Cannot connect to the Docker daemon" in known["trace"]
    ), known


def has_metrics(bench):
    with socketserver.TCPServer(("127.0.0.1", 0), None) as free:
        port = free.server_address[1]
    bench.start(concurrent=2, listen_address=f"127.0.0.1:{port}")
    job = bench.job(duration=PATIENCE)
    bench.until("job", lambda: bench.status(job) == "running")
    bench.until("metrics", lambda: "Metrics server listening" in bench.said())

    def metrics():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    # The platform calls a job running before the runner counts it.
    bench.until("count of the job", lambda: "gitlab_runner_jobs{" in metrics())
    text = metrics()
    assert "gitlab_runner_concurrent 2\n" in text and 'version="19.3.0"' in text, text
    assert re.search(r"^gitlab_runner_jobs\{.*\} 1$", text, re.M), text
    assert re.search(
        r'^gitlab_runner_api_request_statuses_total\{endpoint="request_job",.*status="201".*\} 1$', text, re.M
    ), text


CHECKS = [
    registers_what_was_made_on_the_platform,
    refuses_what_the_platform_says_of_made_runners,
    registers_itself,
    says_why_it_could_not_register,
    verifies,
    unregisters,
    runs_jobs,
    says_nothing_while_there_is_nothing,
    takes_more_jobs_at_once_when_told,
    finishes_what_runs_when_asked_to_quit,
    stops_canceled_jobs,
    leaves_alone_who_refuses_it,
    jobs_fail_without_docker,
    has_metrics,
]


def wrong(check):
    with tempfile.TemporaryDirectory(prefix="hostbench-runner-") as folder:
        bench = Bench(folder)
        try:
            check(bench)
        except Exception as error:  # The others are still worth running.
            return f"{check.__name__}: {error!r}"
        finally:
            bench.close()


def main():
    chosen = [check for check in CHECKS if not sys.argv[1:] or check.__name__ in sys.argv[1:]]
    # They mostly wait.
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        said = [problem for problem in threads.map(wrong, chosen) if problem]
    print("\n".join(said) or f"{len(chosen)} checks hold")
    sys.exit(bool(said))


if __name__ == "__main__":
    main()
