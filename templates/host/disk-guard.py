#!/usr/bin/python3
# Keeps the disk of a host from filling: removes what Docker no longer needs, the least harmful first, and says when that is
# not enough. Started by a timer; needs nothing but Python 3.8 and the Docker socket. The renderer leaves out lines of comments.
#
# Without an option it looks once and does what is needed. `--dry-run` says what it would free and changes nothing,
# `--watch=SECONDS` goes on looking while the disk is half full or more, `--root=DIR` has everything below DIR, for tests.
#
# What is never touched: containers that run or wait, their images and volumes; images of the runner; containers and volumes
# that are not of GitLab jobs; images and caches that a build may need while one is seen.
import contextlib, fcntl, json, os, re, signal, sys, time

MINUTE, HOUR, DAY = 60, 3600, 86400
GIB = 1 << 30
# From which point each level acts: share of the disk that is free, or bytes where these are more (a job's image is a few
# GiB, whatever the disk), but these no more than a share of a small disk. Inodes: the share alone.
LEVELS = (0.30, 16 * GIB, 0.45), (0.20, 8 * GIB, 0.35), (0.10, 4 * GIB, 0.25), (0.05, 2 * GIB, 0.15)
# Used shares at which the host counts as unhealthy, and at which its runner takes no new jobs.
UNHEALTHY, FULL = 0.90, 0.95
# A disk that fills fast is judged by what it will be in this many seconds.
AHEAD = 15
LABEL = "com.gitlab.gitlab-runner."
CONFIG = "/etc/gitlab-runner"
TOLD = dict(word.partition("=")[::2] for word in sys.argv[1:])
if set(TOLD) - {"--dry-run", "--watch", "--root"}:
    sys.exit("usage: disk-guard.py [--dry-run] [--watch=SECONDS] [--root=DIR]")
DRY_RUN, WATCH, ROOT = "--dry-run" in TOLD, float(TOLD.get("--watch", 0)), TOLD.get("--root", "")
STATE = ROOT + "/var/lib/dataops-infra/"
# Names of the runners that take no jobs for now, and that we start again. Whoever stops a runner for good removes it.
STOPPED = STATE + "stopped"


class Silent(Exception):
    pass


# Seconds since 1970 of Docker's time stamps, which are in UTC; 0 for none.
def when(text):
    import datetime
    with contextlib.suppress(TypeError, ValueError):
        return max(0, datetime.datetime.fromisoformat(text[:19] + "+00:00").timestamp())
    return 0


def mib(count):
    return f"{count / (1 << 20):.1f} MiB"


def ago(seconds):
    return f"{seconds / DAY:.0f} days" if seconds > 2 * DAY else f"{seconds / MINUTE:.0f} minutes"


# The repository of an image, as Docker shortens it.
def repository(name):
    return re.sub(r"^(docker\.io/)?(library/)?|(:[^/]*)?(@.*)?$", "", name)


# Docker's own interface: each call has an end, which the command line has not.
class Docker:
    def __init__(self, path):
        self.path = path
        self.version = ""
        answer = self.call("GET", "/_ping", within=10, raw=True)
        self.version = "/v" + (answer.getheader("Api-Version") or "1.41")

    def call(self, method, path, within=60, raw=False, body=None, **query):
        import http.client, socket, urllib.parse

        path = self.version + path
        if query:
            said = {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}
            path += "?" + urllib.parse.urlencode(said)
        connection = http.client.HTTPConnection("docker", timeout=within)
        try:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(within)
            connection.sock.connect(self.path)
            connection.request(method, path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Silent(f"Docker does not answer: {error or type(error).__name__}")
        finally:
            connection.close()
        if raw:
            return answer
        return answer.status, text

    def get(self, path, **query):
        status, text = self.call("GET", path, **query)
        if status == 404:
            return None
        if status != 200:
            raise Silent(f"Docker answers {status} to {path}")
        return json.loads(text)

    # What happened lately: the daemon remembers its last 256 events. With an end that has passed it does not wait for more.
    def events(self, since):
        wanted = {"type": ["container", "image"], "event": ["create", "start", "pull", "import", "load", "tag"]}
        status, text = self.call("GET", "/events", since=f"{since:.6f}", until=f"{time.time():.6f}", filters=wanted)
        return [json.loads(line) for line in text.splitlines() if line.strip()] if status == 200 else []


# A file system, and how fast it fills.
class Disk:
    def __init__(self, path):
        self.path = path
        self.at = self.taken = self.inodes_taken = 0
        self.rates = [(0, 0)] * 4
        self.look()

    # The rate is told only by looks with nothing removed between them.
    def look(self, rate=False):
        s = os.statvfs(self.path)
        before, self.at = self.at, time.monotonic()
        taken, inodes_taken = (s.f_blocks - s.f_bfree) * s.f_frsize, s.f_files - s.f_ffree
        if rate and self.at > before:
            span = self.at - before
            self.rates = self.rates[1:] + [((taken - self.taken) / span, (inodes_taken - self.inodes_taken) / span)]
        self.taken, self.inodes_taken = taken, inodes_taken
        self.free, self.size = s.f_bavail * s.f_frsize, taken + s.f_bavail * s.f_frsize
        # Some file systems make inodes as they need them and count none.
        self.inodes, self.inodes_free = s.f_files, s.f_favail
        return self

    # As `df` and the alarms have it.
    def used(self):
        return self.taken / max(1, self.size)

    def inodes_used(self):
        return 1 - self.inodes_free / self.inodes if self.inodes else 0.0

    def worst(self):
        return max(self.used(), self.inodes_used())

    def level(self, imagined=0):
        grows, inodes_grow = (max(0, sum(pair) / len(pair)) * AHEAD for pair in zip(*self.rates))
        free, inodes_free = self.free + imagined - grows, self.inodes_free - inodes_grow
        level = 0
        for number, (share, least, most) in enumerate(LEVELS, 1):
            floor = max(share * self.size, min(least, most * self.size))
            if free < floor or (self.inodes and inodes_free < share * self.inodes):
                level = number
        return level

    # Worth looking at every two seconds: what is free could go between two starts of the timer.
    def warm(self):
        return self.worst() > 0.5 or self.free < 20 * GIB or self.level() > 0

    def says(self):
        text = f"{self.path} {100 * self.used():.1f} % full"
        return text + (f", {100 * self.inodes_used():.1f} % of its inodes" if self.inodes_used() > self.used() else "")


class Guard:
    def __init__(self):
        self.memory = {"images": {}, "volumes": {}, "freed_bytes": 0, "data": []}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(self.read("disk-guard.json"))
            self.memory.update({k: v for k, v in known.items() if isinstance(v, type(self.memory.get(k, v)))})
        self.docker = None
        self.trouble = ""
        self.imagined = 0
        self.disks = {}
        self.place(*self.memory["data"])

    # Disks by device, each with whether Docker's data is on it.
    def place(self, *paths):
        for n, path in enumerate((ROOT or "/", *paths)):
            with contextlib.suppress(OSError):
                device = os.stat(path).st_dev
                disk, data = self.disks.get(device, (None, False))
                self.disks[device] = (disk or Disk(path), data or n > 0)

    def all(self):
        return [disk for disk, _ in self.disks.values()]

    def read(self, name):
        with open(STATE + name) as file:
            return file.read()

    # A full disk takes no new file, but new words in an old one: it is never shorter than a block.
    def write(self, name, document):
        path = STATE + name
        text = json.dumps(document).ljust(4095) + "\n"
        try:
            with open(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
                file.write(text)
                file.truncate()
        except OSError as error:
            print(f"{path} cannot be written: {error.strerror}", flush=True)

    def say(self, text):
        text = re.sub(r"[^\x20-\x7e]", "?", text)
        print(text, flush=True)
        if not DRY_RUN:
            with contextlib.suppress(OSError), open(ROOT + "/var/log/dataops-infra.log", "a") as file:
                file.write(time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + "disk guard: " + text + "\n")

    # How bad it is where Docker's data is.
    def level(self):
        return max((disk.look().level(self.imagined) for disk, data in self.disks.values() if data), default=0)

    # What there is, who uses it, and when each thing was last of use to anybody.
    def learn(self):
        now = time.time()
        if self.docker is None:
            self.docker = Docker(ROOT + "/var/run/docker.sock")
            info = self.docker.get("/info", within=30)
            self.memory["data"] = [info["DockerRootDir"]]
            # New engines keep images there.
            if ["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or []):
                self.memory["data"].append("/var/lib/containerd")
            self.place(*self.memory["data"])
        self.containers = self.docker.get("/containers/json", all="1")
        self.images = {image["Id"]: image for image in self.docker.get("/images/json")}
        self.volumes = {v["Name"]: v for v in self.docker.get("/volumes")["Volumes"] or []}
        images, volumes = self.memory["images"], self.memory["volumes"]
        for known, there in (images, self.images), (volumes, self.volumes):
            for name in [name for name in known if name not in there]:
                del known[name]
        for name in self.images:
            if name not in images:
                images[name] = self.arrived(name)
        for name, volume in self.volumes.items():
            volumes.setdefault(name, when(volume.get("CreatedAt")) or now)
        self.used_images, self.used_volumes = set(), set()
        for container in self.containers:
            self.used_images.add(container["ImageID"])
            self.used_volumes.update(m["Name"] for m in container.get("Mounts") or [] if m.get("Name"))
        self.freshen()
        for used, known in (self.used_images, images), (self.used_volumes, volumes):
            for name in used & set(known):
                known[name] = now
        self.runners = [c for c in self.containers if any(m["Destination"] == CONFIG for m in c.get("Mounts") or [])]
        self.memory["learnt"] = now

    # When an image came here; its own date says when it was made.
    def arrived(self, name):
        about = self.docker.get(f"/images/{name}/json") or {}
        times = [when((about.get("Metadata") or {}).get("LastTagTime"))]
        driver, number = (about.get("GraphDriver") or {}).get("Name", ""), name.rpartition(":")[2]
        with contextlib.suppress(OSError):
            times.append(os.path.getmtime(f"{self.memory['data'][0]}/image/{driver}/imagedb/content/sha256/{number}"))
        return max(times) or time.time()

    # Uses between two looks, as a job of a few seconds.
    def freshen(self):
        names = {}
        for number, image in self.images.items():
            for name in (image.get("RepoTags") or []) + (image.get("RepoDigests") or []) + [number]:
                names[name] = number
        for event in self.docker.events(self.memory.get("learnt", time.time() - HOUR)):
            actor = event.get("Actor") or {}
            about = actor.get("ID", "") if event.get("Type") == "image" else actor.get("Attributes", {}).get("image", "")
            number = names.get(about) or names.get(about + ":latest")
            if number:
                known = self.memory["images"]
                known[number] = max(known.get(number, 0), event.get("time", 0))

    # Every channel of the image that the host was made with; what containers use is in use anyway.
    def is_the_runners(self, image):
        try:
            ours = self.read("image").strip()
        except OSError:
            return False
        tags = [repository(tag) for tag in image.get("RepoTags") or []]
        return repository(ours) in tags or ours in (image.get("RepoDigests") or [])

    def tags(self, image):
        return [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]

    # Programs that build, on the host or in a job; or a step of a build that has just ended.
    def building(self):
        for number in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError), open(f"/proc/{number}/cmdline") as file:
                words = file.read().split("\0")
                program = {os.path.basename(word) for word in words[:2]}
                if program & {"docker", "docker-compose", "docker-buildx", "buildctl"}:
                    if {"build", "bake", "--build"} & set(words[1:]):
                        return True
        fresh = time.time() - 5 * MINUTE
        return any(i.get("ParentId") and not self.tags(i) and i["Created"] > fresh for i in self.images.values())

    # Each step yields what may go: its name, why, its size if known, and the call.
    def ended_containers(self, age):
        now = time.time()
        about = lambda c: (self.docker.get(f"/containers/{c['Id']}/json") or {}).get("State") or {}
        started = [when(about(c).get("StartedAt")) for c in self.runners if c["State"] == "running"]
        # Before this, whoever ran a job has ended.
        since = min(started, default=0)
        job = lambda c: (c.get("Labels") or {}).get(LABEL + "job.id") or c["Id"]
        ours = [c for c in self.containers if any(name.startswith(LABEL) for name in c.get("Labels") or {})]
        over, alive = [], set()
        for container in ours:
            if container["State"] in ("exited", "dead"):
                ended = when(about(container).get("FinishedAt")) or container["Created"]
                over.append((ended, container))
            elif container["State"] == "created" and container["Created"] < min(since, now - HOUR):
                over.append((container["Created"], container))
            else:
                alive.add(job(container))
        # A container of a job that goes on ends and starts again between its stages.
        for ended, container in sorted(over, key=lambda pair: pair[0]):
            if job(container) in alive or not (ended < since or now - ended > age):
                continue
            name = (container.get("Names") or [container["Id"][:12]])[0].lstrip("/")
            why = f"its job ended {ago(now - ended)} ago"
            yield f"container {name}", why, 0, ("DELETE", f"/containers/{container['Id']}", {"v": "1"})

    def unused_images(self, age, untagged=False):
        asked, building = 0, self.building()
        last = self.memory["images"]
        for number in sorted(self.images, key=lambda number: last.get(number, 0)):
            image = self.images[number]
            names = self.tags(image)
            if untagged and names or building and not names:
                continue
            # Jobs begin while others are removed.
            if not DRY_RUN and time.monotonic() - asked > 0.5:
                asked = time.monotonic()
                self.used_images = {c["ImageID"] for c in self.docker.get("/containers/json", all="1")}
                self.freshen()
            idle = time.time() - last.get(number, 0)
            if number in self.used_images or idle < age or self.is_the_runners(image):
                continue
            call = ("DELETE", f"/images/{number}", {}), [f"/images/{name}" for name in names + (image.get("RepoDigests") or [])]
            yield f"image {' '.join(names) or number[7:19]}", f"unused for {ago(idle)}", image["Size"], *call

    def build_cache(self, age):
        if self.building() or DRY_RUN and not self.docker.get("/system/df").get("BuildCache"):
            return
        query = {"filters": {"until": [f"{age}s"]}} if age else {}
        yield "build cache", f"unused for {ago(age)}" if age else "no build goes on", 0, ("POST", "/build/prune", {"all": "1", **query})

    def cache_volumes(self, age):
        last = self.memory["volumes"]
        for name in sorted(self.volumes, key=lambda name: last.get(name, 0)):
            labels = self.volumes[name].get("Labels") or {}
            cache = any(key.startswith(LABEL) for key in labels) or re.match(r"runner-.+-(cache|concurrent)-", name)
            idle = time.time() - last.get(name, 0)
            if cache and name not in self.used_volumes and idle > age:
                yield f"cache volume {name}", f"unused for {ago(idle)}", 0, ("DELETE", f"/volumes/{name}", {})

    def steps(self):
        yield 1, self.ended_containers(HOUR)
        yield 1, self.unused_images(DAY, untagged=True)
        yield 1, self.unused_images(7 * DAY)
        yield 1, self.build_cache(7 * DAY)
        yield 2, self.unused_images(HOUR, untagged=True)
        yield 2, self.unused_images(HOUR)
        yield 2, self.build_cache(DAY)
        yield 3, self.ended_containers(10 * MINUTE)
        yield 3, self.unused_images(10 * MINUTE)
        yield 3, self.build_cache(0)
        yield 3, self.cache_volumes(7 * DAY)
        yield 4, self.unused_images(2)
        yield 4, self.cache_volumes(DAY)

    def remove(self, level, what, why, big, call, others=()):
        says = "; ".join(disk.says() for disk in self.all())
        if DRY_RUN:
            self.imagined += big
            about = f", up to {mib(big)}" if big else ""
            self.say(f"would free {what}{about}: {why} (level {level}; {says})")
            return
        before = sum(disk.look().taken for disk in self.all())
        method, path, query = call
        status, text = self.docker.call(method, path, within=120, **query)
        if status == 409 and others:
            # An image with several names goes with the last of them.
            for path in others:
                status, text = self.docker.call("DELETE", path, within=120)
        if status >= 400:
            with contextlib.suppress(ValueError, AttributeError):
                text = json.loads(text).get("message", "")
            if status not in (404, 409):
                self.say(f"cannot free {what}: {str(text)[:200]}")
            return
        freed = max(0, before - sum(disk.look().taken for disk in self.all()))
        if what == "build cache":
            with contextlib.suppress(ValueError, AttributeError):
                freed = json.loads(text).get("SpaceReclaimed") or 0
            if not freed:
                return
        self.memory["freed_bytes"] += freed
        self.memory["freed_at"] = time.time()
        self.say(f"freed {mib(freed)}: {what}, {why} (level {level}; {says})")

    def clean(self, level, until):
        for need, things in self.steps():
            if need > level:
                return
            for thing in things:
                # What nobody needs goes; beyond that no more than must.
                if time.monotonic() > until or need > 1 and self.level() < need - 1:
                    break
                self.remove(need, *thing)

    # One look and what follows from it. Two at once would free twice what is needed.
    def go(self):
        with open(ROOT + "/run/dataops-infra-disk-guard.lock", "w") as lock:
            try:
                if not DRY_RUN:
                    fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if WATCH else 0))
            except OSError:
                return
            self.trouble, until = "", time.monotonic() + 300
            try:
                self.learn()
                level = self.level()
                if level:
                    self.clean(level, until)
            except Silent as silent:
                self.trouble, self.docker = str(silent), None
            for disk in self.all():
                disk.look()
            if DRY_RUN:
                return
            try:
                self.intake()
            except OSError as error:
                self.trouble = str(error)
            except Silent as silent:
                self.trouble, self.docker = str(silent), None
            self.report()

    # With no room for anything, no new jobs, and again when there is some.
    def intake(self):
        now, memory = time.time(), self.memory
        full = any(disk.worst() >= FULL for disk in self.all())
        memory["full_since"] = memory.get("full_since") or now if full else 0
        if self.docker is None:
            return
        if os.path.exists(STOPPED):
            if not self.reboots() and all(disk.worst() < UNHEALTHY for disk in self.all()):
                self.resume()
        elif full and now - memory["full_since"] > 30:
            self.pause()

    # SIGQUIT lets the running jobs end, whose ends make room. The policy `always` would bring the runner back at once.
    def pause(self):
        about = [self.docker.get(f"/containers/{runner['Id']}/json") or {} for runner in self.runners]
        names = [a["Name"][1:] for a in about if a and a["State"]["Running"] and a["HostConfig"]["RestartPolicy"]["Name"] == "always"]
        if names:
            # Without it nobody would start them again: if it cannot be written, they go on.
            with open(STOPPED, "w") as file:
                file.write("\n".join(names) + "\n")
        for name in names:
            self.docker.call("POST", f"/containers/{name}/update", body={"RestartPolicy": {"Name": "no"}})
            self.docker.call("POST", f"/containers/{name}/kill", signal="QUIT")
            self.say(f"{name} takes no new jobs until there is room; those that run go on")

    # Whether the reboot window goes on: its lock ends with it, however it ends.
    def reboots(self):
        try:
            with open(ROOT + "/run/dataops-infra-reboot-window") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    # Starts what we or the reboot window stopped, when its last job has ended.
    def resume(self):
        with open(STOPPED) as file:
            names, since = file.read().split(), os.path.getmtime(STOPPED)
        waits = False
        for name in names:
            about = self.docker.get(f"/containers/{name}/json")
            if about:
                self.docker.call("POST", f"/containers/{name}/update", body={"RestartPolicy": {"Name": "always"}})
                state = about["State"]
                if not state["Running"]:
                    self.docker.call("POST", f"/containers/{name}/start")
                    self.say(f"{name} takes jobs again")
                elif when(state["StartedAt"]) < since > time.time() - DAY:
                    waits = True
        if not waits:
            os.remove(STOPPED)

    def report(self):
        bad = [disk for disk in self.all() if disk.worst() >= UNHEALTHY]
        why, memory = "", self.memory
        if bad:
            why = "not enough could be freed: " + "; ".join(disk.says() for disk in bad)
            if self.trouble:
                why += "; " + self.trouble
        elif self.trouble:
            why = self.trouble + "; there is room"
        document = {
            "healthy": not bad,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "why": why,
            "freed_bytes": memory["freed_bytes"],
            "paused": os.path.exists(STOPPED),
        }
        was = memory.get("healthy", True)
        if bad and (was or time.time() - memory.get("complained", 0) > HOUR):
            memory["consumers"] = self.consumers(any(disk.inodes_used() >= UNHEALTHY for disk in bad))
            memory["complained"] = time.time()
            most = ", ".join(f"{c['what']} ({mib(c['bytes']) if 'bytes' in c else c['inodes']})" for c in memory["consumers"])
            self.say(f"unhealthy: {why}; the most is in {most}")
        elif not bad and not was:
            self.say("healthy again: " + "; ".join(disk.says() for disk in self.all()))
        if bad:
            document["consumers"] = memory.get("consumers", [])
        memory["healthy"] = not bad
        self.write("health.json", document)
        self.write("disk-guard.json", memory)

    # The largest things, for whoever must decide what can go.
    def consumers(self, inodes):
        import subprocess
        folders = "/var/log /var/cache /var/tmp /tmp /home /root /opt /srv /app /agent_cache /snap".split()
        command = ["timeout", "20", "du", "-xs", "--inodes" if inodes else "-B1", *[ROOT + folder for folder in folders]]
        said = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
        found = [(int(count), what) for count, what in (line.split("\t") for line in said.splitlines())]
        with contextlib.suppress(Silent, AttributeError):
            df = {} if inodes else self.docker.get("/system/df", within=30)
            found += [(image["Size"], "image " + " ".join(self.tags(image))) for image in df.get("Images") or []]
            found += [((v.get("UsageData") or {}).get("Size", 0), "volume " + v["Name"]) for v in df.get("Volumes") or []]
            found += [(c.get("SizeRw", 0), "container" + c["Names"][0]) for c in df.get("Containers") or []]
            found.append((sum(record.get("Size", 0) for record in df.get("BuildCache") or []), "build cache"))
        unit = "inodes" if inodes else "bytes"
        return [{"what": what, unit: count} for count, what in sorted(found, reverse=True)[:6] if count > 0]


def main():
    # Whatever hangs: the timer starts the next one.
    signal.alarm(int(WATCH) + 600)
    guard = Guard()
    # A quiet disk needs Docker only to remember what is used.
    if WATCH and not any(disk.warm() for disk in guard.all()) and time.time() - guard.memory.get("learnt", 0) < 50:
        return
    guard.go()
    start = ended = time.monotonic()
    # Where nothing could go, trying again at once would only cost; unless it has become worse.
    tried = pause = 0
    while time.monotonic() - start < WATCH and any(disk.warm() for disk in guard.all()):
        time.sleep(0.5)
        level = max(disk.look(rate=True).level() for disk in guard.all())
        if time.monotonic() - ended < (0 if level > tried else pause):
            continue
        before, tried = guard.memory["freed_bytes"], level
        guard.go()
        ended = time.monotonic()
        pause = 50 if not level else 0 if guard.memory["freed_bytes"] > before else (20, 10, 2, 1)[level - 1]


if __name__ == "__main__":
    main()
