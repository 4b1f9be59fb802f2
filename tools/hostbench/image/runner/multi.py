"""The service: asks for jobs, runs as many at once as it may, reads config.toml again when it changes, obeys signals."""

import http.server
import os
import queue
import signal
import threading
import time

import job as jobs
import log
import network
import settings

# Seconds.
RELOAD_INTERVAL = 3
CHECK_INTERVAL = 3
SHUTDOWN_TIMEOUT = 30
UNHEALTHY_INTERVAL = 3600
UNHEALTHY_REQUESTS = 3

NAMES = {signal.SIGQUIT: "quit", signal.SIGTERM: "terminated", signal.SIGINT: "interrupt"}


class Health:
    """A runner that is refused again and again is left alone for a while."""

    def __init__(self):
        self.failures, self.last = 0, time.monotonic()


class Multi:
    def __init__(self, path, listen=None):
        self.path, self.listen = path, listen
        self.config, self.clients, self.health = {}, [], {}
        self.running = []
        self.lock = threading.Lock()
        self.signals = queue.SimpleQueue()
        self.loaded = None

    def fields(self, **more):
        return {"builds": len(self.running), "max_builds": self.config.get("concurrent", 1), **more}

    def run(self):
        for number in NAMES:
            signal.signal(number, lambda number, _: self.signals.put(number))
        signal.signal(signal.SIGHUP, lambda *_: self.signals.put(signal.SIGHUP))
        log.info(f"Starting multi-runner from {self.path}...", **self.fields())
        log.info("Running in system-mode." if os.getuid() == 0 else "Running in user-mode.")
        log.info("")
        self.reload()
        self.serve_metrics()
        log.info("[session_server].listen_address not defined, session endpoints disabled", **self.fields())
        log.info("Initializing executor providers", **self.fields())
        stop = self.feed()
        log.warning("[runWait] received stop signal", **self.fields(**{"stop-signal": NAMES[stop]}))
        return self.leave(stop)

    def reload(self, forced=False):
        """Takes over config.toml if it changed; one that cannot be read changes nothing."""
        try:
            found = os.stat(self.path)
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
            if stamp == self.loaded and not forced:
                return
            config = settings.load(self.path)
        except (OSError, ValueError) as problem:
            if self.loaded != str(problem):
                log.error(f"Failed to load config {problem}", **self.fields())
                self.loaded = str(problem)
            return
        if config.get("concurrent", 1) < 1:
            log.fatal("concurrent needs to be greater than 0")
        self.loaded = stamp
        log.level(config.get("log_level") or ("debug" if os.environ.get("DEBUG") else "info"))
        clients = []
        for runner in config.get("runners", []):
            same = next((client for client in self.clients if client.runner == runner), None)
            clients.append(same or network.Client(runner, self.path))
        with self.lock:
            self.config, self.clients = config, clients
        # A token that comes back gets a fresh start, as after a restart.
        tokens = {client.token for client in clients}
        self.health = {token: health for token, health in self.health.items() if token in tokens}
        log.info("Configuration loaded", **self.fields())

    def interval(self):
        said = self.config.get("check_interval", 0)
        return said if said > 0 else CHECK_INTERVAL

    def feed(self):
        """Asks for jobs until a signal says to stop; returns the signal."""
        polled, looked = 0.0, 0.0
        while True:
            now = time.monotonic()
            if now - looked >= RELOAD_INTERVAL:
                looked = now
                self.reload()
            if now - polled >= self.interval():
                polled = now
                for client in self.clients:
                    while self.ask(client) and self.signals.empty():
                        pass
            try:
                got = self.signals.get(
                    timeout=max(0.05, min(self.interval(), RELOAD_INTERVAL) - (time.monotonic() - now))
                )
            except queue.Empty:
                continue
            if got != signal.SIGHUP:
                return got
            self.reload(forced=True)

    def free(self, client):
        """A number for one more job of a runner, if there is room for it."""
        with self.lock:
            mine = [other for other in self.running if other.client.token == client.token]
            limit = client.runner.get("limit", 0)
            if len(self.running) >= self.config.get("concurrent", 1) or (limit and len(mine) >= limit):
                return None
            taken = {other.slot for other in mine}
        return next(number for number in range(len(taken) + 1) if number not in taken)

    def healthy(self, client):
        health = self.health.setdefault(client.token, Health())
        limit = client.runner.get("unhealthy_requests_limit") or UNHEALTHY_REQUESTS
        if health.failures < limit:
            return True
        if time.monotonic() - health.last > settings.seconds(
            client.runner.get("unhealthy_interval"), UNHEALTHY_INTERVAL
        ):
            log.warning(f'Runner "{client.url}{client.short}" is not healthy, but check for a new job will be forced!')
            health.failures, health.last = 0, time.monotonic()
            return True
        return False

    def mark(self, client, healthy):
        health = self.health.setdefault(client.token, Health())
        if healthy:
            health.failures, health.last = 0, time.monotonic()
            return
        health.failures += 1
        limit = client.runner.get("unhealthy_requests_limit") or UNHEALTHY_REQUESTS
        if health.failures >= limit:
            pause = settings.duration(settings.seconds(client.runner.get("unhealthy_interval"), UNHEALTHY_INTERVAL))
            log.error(
                f'Runner "{client.url}{client.short}" is unhealthy and will be disabled for {pause} seconds!',
                unhealthy_requests=health.failures,
                unhealthy_requests_limit=limit,
            )

    def ask(self, client):
        """Asks for one job; true if there was one, for then there may be more."""
        slot = self.free(client)
        if slot is None or not self.healthy(client):
            return False
        wanted, healthy = client.request_job()
        self.mark(client, healthy)
        if not wanted:
            return False
        job = jobs.Job(self, client, wanted, slot)
        with self.lock:
            self.running.append(job)
        log.info("Added job to processing list", **self.fields(job=job.id, project=job.project))
        threading.Thread(target=self.work, args=(job,), daemon=True).start()
        return True

    def work(self, job):
        try:
            job.run()
        finally:
            with self.lock:
                self.running.remove(job)
            log.info("Removed job from processing list", **self.fields(job=job.id, project=job.project))

    def leave(self, stop):
        """SIGQUIT: the jobs that run may end. Anything else, also when it comes later, ends them."""
        if stop == signal.SIGQUIT:
            log.warning("Starting graceful shutdown, waiting for builds to finish", **self.fields(StopSignal="quit"))
            while stop == signal.SIGQUIT:
                if not self.running:
                    log.info("All workers stopped. Can exit now", **self.fields())
                    return 0
                try:
                    got = self.signals.get(timeout=0.2)
                except queue.Empty:
                    continue
                stop = got if got != signal.SIGHUP else stop
                log.warning(
                    "[handleGracefulShutdown] received stop signal", **self.fields(**{"stop-signal": NAMES.get(got)})
                )
        patience = self.config.get("shutdown_timeout") or SHUTDOWN_TIMEOUT
        log.warning(
            "Starting forceful shutdown", **self.fields(StopSignal=NAMES[stop], **{"shutdown-timeout": f"{patience}s"})
        )
        with self.lock:
            for job in self.running:
                job.abort = f"(system failure): aborted: {NAMES[stop]}"
        until = time.monotonic() + patience
        while self.running and time.monotonic() < until and self.signals.empty():
            time.sleep(0.1)
        if self.running:
            log.error("shutdown timed out", **self.fields())
            return 1
        log.info("All workers stopped. Can exit now", **self.fields())
        return 0

    def serve_metrics(self):
        address = self.listen or self.config.get("listen_address")
        if not address:
            log.info("listen_address not defined, metrics & debug endpoints disabled", **self.fields())
            return
        host, _, port = address.rpartition(":")
        multi = self

        class Metrics(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = multi.metrics().encode() if self.path == "/metrics" else b""
                self.send_response(200 if body else 404)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer((host or "0.0.0.0", int(port or 9252)), Metrics)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        log.info("Metrics server listening", **self.fields(address=address))

    def metrics(self):
        lines = []

        def metric(name, kind, values):
            lines.append(f"# TYPE {name} {kind}")
            for labels, value in values:
                said = ",".join(f'{key}="{text}"' for key, text in labels.items())
                lines.append(f"{name}{'{' + said + '}' if said else ''} {value}")

        with self.lock:
            running, clients = list(self.running), list(self.clients)
        metric(
            "gitlab_runner_version_info",
            "gauge",
            [
                (
                    {
                        "architecture": "amd64",
                        "name": "gitlab-runner",
                        "os": "linux",
                        "revision": network.revision(),
                        "version": network.version(),
                    },
                    1,
                )
            ],
        )
        metric("gitlab_runner_concurrent", "gauge", [({}, self.config.get("concurrent", 1))])
        metric(
            "gitlab_runner_limit",
            "gauge",
            [
                ({"runner": client.short, "system_id": client.system_id}, client.runner.get("limit", 0))
                for client in clients
            ],
        )
        per = {client.short: [job for job in running if job.client is client] for client in clients}
        metric(
            "gitlab_runner_jobs",
            "gauge",
            [
                (
                    {"executor_stage": "docker_run", "runner": short, "stage": "step_script", "state": "running"},
                    len(mine),
                )
                for short, mine in per.items()
                if mine
            ],
        )
        metric(
            "gitlab_runner_errors_total",
            "counter",
            [({"level": level}, log.counts[level]) for level in ("warning", "error", "fatal", "panic")],
        )
        metric(
            "gitlab_runner_api_request_statuses_total",
            "counter",
            [
                ({"endpoint": endpoint, "runner": short, "status": status, "system_id": system}, count)
                for (short, system, endpoint, status), count in sorted(network.statuses.copy().items())
            ],
        )
        return "\n".join(lines) + "\n"
