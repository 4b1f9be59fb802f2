"""What the fake GitLab knows: tokens, runners with their managers, jobs, and the faults it was told to have.

Nothing here knows HTTP; `api.py` has the calls of the runner API and `server.py` the rest. One lock guards all of it.
"""

import base64
import datetime
import os
import re
import secrets
import threading

ONLINE_SECONDS = 2 * 3600
STALE_SECONDS = 7 * 24 * 3600
FINAL = ("success", "failed", "canceled")


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def text_of(when):
    return when and when.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def token(prefix, size=20):
    """A token as GitLab makes them; none of them means anything anywhere else."""
    return prefix + base64.urlsafe_b64encode(secrets.token_bytes(size))[:size].decode()


class Manager:
    """A process that uses the token of a runner, told from others by its system id."""

    def __init__(self, number, system_id):
        self.id, self.system_id = number, system_id
        self.created = now()
        self.contacted = None
        self.info = {}
        self.address = ""

    def heard(self, info, address):
        self.contacted = now()
        self.address = address
        known = ("name", "version", "revision", "platform", "architecture", "executor")
        self.info.update({key: info[key] for key in known if info.get(key)})

    def as_json(self):
        return {
            "id": self.id,
            "system_id": self.system_id,
            "ip_address": self.address,
            "status": status(self.contacted),
            "created_at": text_of(self.created),
            "contacted_at": text_of(self.contacted),
            **self.info,
        }


def status(contacted):
    if contacted is None:
        return "never_contacted"
    age = (now() - contacted).total_seconds()
    return "online" if age < ONLINE_SECONDS else "offline" if age < STALE_SECONDS else "stale"


class Runner:
    def __init__(self, number, authentication, registered, **settings):
        self.id, self.token = number, authentication
        # True for one that registered itself, false for one made on the platform (`glrt-`).
        self.registered = registered
        self.description = settings.get("description") or ""
        self.tag_list = settings.get("tag_list") or []
        self.run_untagged = settings.get("run_untagged", not self.tag_list)
        self.locked = settings.get("locked", False)
        self.paused = settings.get("paused", False)
        self.access_level = settings.get("access_level") or "not_protected"
        self.maximum_timeout = settings.get("maximum_timeout")
        self.maintenance_note = settings.get("maintenance_note")
        self.created = now()
        self.contacted = None
        self.managers = {}
        self.verified = 0
        self.requests = 0
        # Where a mock of GitLab's jobs answers the job calls of this runner instead of us.
        self.jobs_url = settings.get("jobs_url")

    def as_json(self):
        return {
            "id": self.id,
            "token": self.token,
            "registered": self.registered,
            "description": self.description,
            "tag_list": self.tag_list,
            "run_untagged": self.run_untagged,
            "locked": self.locked,
            "paused": self.paused,
            "access_level": self.access_level,
            "maximum_timeout": self.maximum_timeout,
            "maintenance_note": self.maintenance_note,
            "status": status(self.contacted),
            "created_at": text_of(self.created),
            "contacted_at": text_of(self.contacted),
            "verified": self.verified,
            "job_requests": self.requests,
            "jobs_url": self.jobs_url,
            "managers": [manager.as_json() for manager in self.managers.values()],
        }


class Job:
    def __init__(self, number, wanted):
        self.id, self.token = number, token("glcbt-")
        self.wanted = wanted
        self.status = "pending"
        self.runner = self.system_id = self.started = self.finished = None
        self.failure_reason = self.exit_code = None
        self.created = now()
        self.trace = b""
        self.artifacts = {}

    @property
    def tags(self):
        return self.wanted.get("tags") or []

    @property
    def project(self):
        return self.wanted.get("project", 1)

    def script(self):
        """The lines to run: as given, then the time it is to last."""
        lines = self.wanted.get("script", [])
        lines = [lines] if isinstance(lines, str) else list(lines)
        if self.wanted.get("duration"):
            lines.append(f"sleep {self.wanted['duration']}")
        return lines or ["echo nothing to do"]

    def fits(self, runner):
        if "runner" in self.wanted and self.wanted["runner"] != runner.id:
            return False
        return set(self.tags) <= set(runner.tag_list) if self.tags else runner.run_untagged

    def start(self, runner, system_id):
        self.status, self.runner, self.system_id, self.started = "running", runner.id, system_id, now()

    def finish(self, state, failure_reason=None, exit_code=None):
        self.status, self.finished = state, now()
        self.failure_reason, self.exit_code = failure_reason, exit_code

    def as_json(self):
        return {
            "id": self.id,
            "status": self.status,
            "tags": self.tags,
            "project": self.project,
            "image": self.wanted.get("image"),
            "script": self.script(),
            "runner": self.runner,
            "system_id": self.system_id,
            "failure_reason": self.failure_reason,
            "exit_code": self.exit_code,
            "created_at": text_of(self.created),
            "started_at": text_of(self.started),
            "finished_at": text_of(self.finished),
            "trace": self.trace.decode(errors="replace"),
            "artifacts": {name: len(data) for name, data in self.artifacts.items()},
        }

    def for_runner(self, url):
        """The job as a runner gets it (GitLab's `Entities::Ci::JobRequest::Response`)."""
        timeout = self.wanted.get("timeout", 3600)
        path = f"bench/project-{self.project}"
        variables = {
            "CI": "true",
            "GITLAB_CI": "true",
            "CI_JOB_ID": str(self.id),
            "CI_JOB_NAME": self.wanted.get("name", "job"),
            "CI_JOB_STAGE": "test",
            "CI_JOB_URL": f"{url}/{path}/-/jobs/{self.id}",
            "CI_PIPELINE_ID": str(self.id),
            "CI_PIPELINE_URL": f"{url}/{path}/-/pipelines/{self.id}",
            "CI_PROJECT_ID": str(self.project),
            "CI_PROJECT_NAME": f"project-{self.project}",
            "CI_PROJECT_PATH": path,
            "CI_PROJECT_URL": f"{url}/{path}",
            "CI_COMMIT_SHA": "0" * 40,
            "CI_COMMIT_REF_NAME": "main",
            "CI_COMMIT_MESSAGE": "bench",
            "GITLAB_USER_LOGIN": "bench",
            "CI_SERVER_URL": url,
            "GIT_STRATEGY": "none",
            **self.wanted.get("variables", {}),
        }
        listed = [
            {"key": key, "value": str(value), "public": True, "masked": False} for key, value in variables.items()
        ]
        listed.append({"key": "CI_JOB_TOKEN", "value": self.token, "public": False, "masked": True})
        image = self.wanted.get("image")
        return {
            "id": self.id,
            "token": self.token,
            "allow_git_fetch": True,
            "job_info": {
                "id": self.id,
                "name": variables["CI_JOB_NAME"],
                "stage": "test",
                "project_id": self.project,
                "project_name": variables["CI_PROJECT_NAME"],
                "time_in_queue_seconds": 0,
            },
            "git_info": {
                "repo_url": f"{url}/{path}.git",
                "ref": "main",
                "sha": "0" * 40,
                "before_sha": "0" * 40,
                "ref_type": "branch",
                "refspecs": ["+refs/heads/main:refs/remotes/origin/main"],
                "depth": 1,
            },
            "runner_info": {"timeout": timeout, "runner_session_url": None},
            "variables": listed,
            "steps": [
                {
                    "name": "script",
                    "script": self.script(),
                    "timeout": timeout,
                    "when": "on_success",
                    "allow_failure": False,
                }
            ],
            "image": image
            and {"name": image, "entrypoint": None, "ports": [], "pull_policy": self.wanted.get("pull_policy")},
            "services": [],
            "artifacts": [],
            "cache": [],
            "credentials": [],
            "dependencies": [],
            "hooks": [],
            "features": {
                "trace_sections": True,
                "failure_reasons": [
                    "unknown_failure",
                    "script_failure",
                    "api_failure",
                    "stuck_or_timeout_failure",
                    "runner_system_failure",
                    "job_execution_timeout",
                    "image_pull_failure",
                ],
            },
        }


class Fault:
    """What goes wrong with calls whose "METHOD path" matches, so many times; for ever if no number is given."""

    def __init__(self, wanted):
        self.wanted = wanted
        self.matches = re.compile(wanted["call"]).fullmatch
        self.left = wanted.get("times")

    def as_json(self):
        return {**self.wanted, "left": self.left}


class Platform:
    def __init__(self, url=""):
        self.lock = threading.RLock()
        # As others reach us: jobs carry it.
        self.url = url
        self.last = 0
        # Whether runners may still register themselves; GitLab 17 turned that off unless someone turns it on.
        self.legacy = True
        self.registration_tokens = {}
        self.access_tokens = set()
        self.runners, self.jobs, self.faults = {}, {}, []
        self.calls = []

    def number(self):
        self.last += 1
        return self.last

    def add_runner(self, authentication, registered, **settings):
        runner = Runner(self.number(), authentication, registered, **settings)
        self.runners[runner.id] = runner
        return runner

    def runner_of(self, authentication):
        same = (runner for runner in self.runners.values() if secrets.compare_digest(runner.token, authentication))
        return next(same, None)

    def manager_of(self, runner, system_id):
        if system_id not in runner.managers:
            runner.managers[system_id] = Manager(self.number(), system_id)
        return runner.managers[system_id]

    def fault_of(self, call):
        """The first fault that has something to do with a call; it is used up by being asked for."""
        for fault in self.faults:
            if fault.left != 0 and fault.matches(call):
                if fault.left is not None:
                    fault.left -= 1
                return fault.wanted
        return None

    def as_json(self):
        counts = {}
        for call in self.calls:
            key = f"{call['call']} {call['status']}"
            counts[key] = counts.get(key, 0) + 1
        return {
            "legacy": self.legacy,
            "registration_tokens": self.registration_tokens,
            "runners": [runner.as_json() for runner in self.runners.values()],
            "jobs": [job.as_json() for job in self.jobs.values()],
            "faults": [fault.as_json() for fault in self.faults],
            "counts": counts,
            "calls": self.calls,
            "pid": os.getpid(),
        }
