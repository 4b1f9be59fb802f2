"""The calls of GitLab's runner API that a runner makes, and what it says of their answers."""

import collections
import http.client
import json
import os
import secrets
import ssl
import threading
import urllib.error
import urllib.parse
import urllib.request
import zlib

import log
import settings

# What we make of a call that got no answer.
NO_ANSWER = -100
VERSION_FILE = os.path.join(os.path.dirname(os.path.realpath(__file__)), "version")
FEATURES = {
    name: True
    for name in (
        "variables",
        "image",
        "services",
        "artifacts",
        "cache",
        "upload_multiple_artifacts",
        "upload_raw_artifacts",
        "session",
        "terminal",
        "shared",
        "refspecs",
        "masking",
        "proxy",
        "raw_variables",
        "artifacts_exclude",
        "multi_build_steps",
        "trace_reset",
        "trace_checksum",
        "trace_size",
        "vault_secrets",
        "cancelable",
        "return_exit_code",
        "cancel_gracefully",
        "service_variables",
        "service_multiple_aliases",
        "image_executor_opts",
        "service_executor_opts",
        "native_steps_integration",
        "token_mask_prefixes",
    )
}

# (runner, system id, endpoint, status): how often.
statuses = collections.Counter()


def version():
    try:
        with open(VERSION_FILE) as file:
            return file.read().strip()
    except FileNotFoundError:
        return "19.3.0"


def revision():
    return f"{zlib.crc32(version().encode()):08x}"


class Answer:
    def __init__(self, status, text, headers=None, body=b""):
        # `text` is what the log says of it.
        self.status, self.text, self.headers, self.body = status, text, headers or {}, body

    def json(self):
        try:
            parsed = json.loads(self.body)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}


class Client:
    """The platform, as one `[[runners]]` section knows it."""

    def __init__(self, runner, config_path):
        self.runner = runner
        self.token = settings.value(runner.get("token"))
        self.url = settings.value(runner.get("url")).rstrip("/")
        self.short = settings.short(self.token)
        self.system_id = settings.system_id(config_path)
        self._config_path = config_path
        self._opener = None
        self._lock = threading.Lock()

    def trust(self):
        """The machine's authorities, and the one that was given or that lies beside config.toml under the host's name."""
        context = ssl.create_default_context()
        # Debian's Python may have been built to look elsewhere than where our image has them.
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        if os.path.exists(bundle):
            context.load_verify_locations(bundle)
        host = urllib.parse.urlsplit(self.url).hostname or ""
        beside = os.path.join(os.path.dirname(self._config_path), "certs", host + ".crt")
        given = self.runner.get("tls-ca-file") or (beside if os.path.exists(beside) else None)
        if given:
            context.load_verify_locations(given)
        return context

    def opener(self):
        with self._lock:
            if self._opener is None:
                self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=self.trust()))
            return self._opener

    def call(self, method, path, body=None, headers=None, patience=60):
        if not self.url.startswith(("http://", "https://")):
            return Answer(NO_ANSWER, "get client: new client: only http or https scheme supported")
        address = f"{self.url}/api/v4/{path}"
        sent = {"User-Agent": f"gitlab-runner {version()} (bench; python; linux/amd64)", "Accept": "application/json"}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        request = urllib.request.Request(address, body, sent | (headers or {}), method=method)
        try:
            with self.opener().open(request, timeout=patience) as answer:
                data = answer.read()
                return Answer(answer.status, f"{answer.status} {answer.reason}", answer.headers, data)
        except urllib.error.HTTPError as refusal:
            data = refusal.read()
            said = Answer(refusal.code, "", refusal.headers, data)
            why = said.json().get("message") or said.json().get("error")
            said.text = f"{method} {address}: {refusal.code} {refusal.reason}" + (f" ({why})" if why else "")
            return said
        except (OSError, http.client.HTTPException, ValueError) as problem:
            why = getattr(problem, "reason", problem)
            return Answer(NO_ANSWER, f"couldn't execute {method} against {address}: {why}")

    def counted(self, endpoint, answer):
        statuses[(self.short, self.system_id, endpoint, answer.status)] += 1
        return answer

    def fields(self, **more):
        return {"runner": self.short, "correlation_id": secrets.token_hex(16), **more}

    def info(self):
        return {
            "name": "gitlab-runner",
            "version": version(),
            "revision": revision(),
            "platform": "linux",
            "architecture": "amd64",
            "executor": self.runner.get("executor", ""),
            "shell": "bash",
            "features": FEATURES,
        }

    def outcome(self, doing, answer, good, forbidden="forbidden"):
        """Says how a call of one of the commands went; true if well."""
        if answer.status == good:
            log.info(f"{doing} succeeded", **self.fields())
            return True
        words = {403: forbidden, NO_ANSWER: "client error"}.get(answer.status, "failed")
        log.error(f"{doing} {words}", **self.fields(status=answer.text))
        return False

    def register(self, parameters):
        """Id and token of the runner that was made, or nothing."""
        answer = self.call("POST", "runners", {"token": self.token, "info": self.info(), **parameters})
        if not self.outcome("Registering runner...", answer, 201, "forbidden (check registration token)"):
            return None
        return answer.json()

    def verify(self):
        """What is known of the runner; nothing if it is not valid, and an empty answer if nobody knows."""
        answer = self.call("POST", "runners/verify", {"token": self.token, "system_id": self.system_id})
        ours = settings.created_on_the_platform(self.token)
        if answer.status == 200:
            log.info("Verifying runner... " + ("is valid" if ours else "is alive"), **self.fields())
            return answer.json()
        if answer.status == 403:
            if ours:
                log.info("Verifying runner... is not valid", **self.fields())
            else:
                log.error("Verifying runner... is removed", **self.fields(status=answer.text))
            return None
        words = "client error" if answer.status == NO_ANSWER else "failed"
        log.error("Verifying runner... " + words, **self.fields(status=answer.text))
        return {}

    def unregister(self):
        if settings.created_on_the_platform(self.token):
            answer = self.call("DELETE", "runners/managers", {"token": self.token, "system_id": self.system_id})
            return self.outcome("Unregistering runner manager from GitLab", answer, 204)
        answer = self.call("DELETE", "runners", {"token": self.token})
        return self.outcome("Unregistering runner from GitLab", answer, 204)

    def request_job(self):
        """A job or nothing, and whether the runner is healthy."""
        body = {"info": self.info(), "token": self.token, "system_id": self.system_id}
        answer = self.counted("request_job", self.call("POST", "jobs/request", body))
        doing = "Checking for jobs... "
        if answer.status == 201:
            job = answer.json()
            log.info(
                doing + "received", **self.fields(job=job.get("id"), repo_url=job.get("git_info", {}).get("repo_url"))
            )
            return job, True
        if answer.status == 204:
            log.debug("Checking for jobs...no content", **self.fields(status=answer.text))
            return None, True
        if answer.status in (403, NO_ANSWER):
            words = "forbidden" if answer.status == 403 else "client error"
            log.error(doing + words, **self.fields(status=answer.text))
            return None, False
        words = "GitLab instance currently unavailable" if answer.status == 503 else "failed"
        log.warning(doing + words, **self.fields(status=answer.text))
        return None, True

    def update_job(self, job, state, trace, failure_reason=None, exit_code=None):
        checksum = f"crc32:{zlib.crc32(trace):08x}"
        body = {
            "info": self.info(),
            "token": job["token"],
            "state": state,
            "failure_reason": failure_reason,
            "checksum": checksum,
            "output": {"checksum": checksum, "bytesize": len(trace)},
            "exit_code": exit_code,
        }
        known = self.fields(job=job["id"], checksum=checksum, bytesize=len(trace))
        log.info("Updating job...", **known)
        answer = self.counted("update_job", self.call("PUT", f"jobs/{job['id']}", body, {"JOB-TOKEN": job["token"]}))
        known |= {"code": answer.status, "job-status": answer.headers.get("Job-Status", "")}
        if answer.status == 200:
            log.info("Submitting job to coordinator...ok", **known)
        elif answer.status in (403, NO_ANSWER):
            words = "forbidden" if answer.status == 403 else "client error"
            log.error("Submitting job to coordinator... " + words, **known, status=answer.text)
        else:
            log.warning("Submitting job to coordinator... failed", **known, status=answer.text)
        return answer

    def append_trace(self, job, trace, start):
        end = len(trace)
        headers = {"JOB-TOKEN": job["token"], "Content-Range": f"{start}-{end - 1}", "Content-Type": "text/plain"}
        answer = self.counted("patch_trace", self.call("PATCH", f"jobs/{job['id']}/trace", trace[start:], headers))
        known = self.fields(job=job["id"], code=answer.status, status=answer.text)
        known |= {
            "sent-log": headers["Content-Range"],
            "job-log": answer.headers.get("Range", ""),
            "job-status": answer.headers.get("Job-Status", ""),
        }
        if answer.status == 202:
            log.info("Appending trace to coordinator...ok", **known)
        elif answer.status == 416:
            log.warning("Appending trace to coordinator... range mismatch", **known)
        elif answer.status == NO_ANSWER:
            log.error("Appending trace to coordinator... error", **known)
        else:
            log.warning("Appending trace to coordinator... failed", **known)
        return answer
