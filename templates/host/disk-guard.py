#!/usr/bin/python3
# Keeps the disk of a host from filling: removes what Docker no longer needs, the least harmful first, and says when that is
# not enough. Needs nothing but Python 3.8 and the Docker socket. The renderer leaves out lines of comments.
#
# Without an option it looks once and does what is needed. `--dry-run` says what it would free and changes nothing,
# `--watch=SECONDS` goes on looking while the disk is half full or more, `--root=DIR` has everything below DIR, for tests.
#
# What is never touched: containers that run or wait, their images and volumes; images of the runner; containers and volumes
# that are not of GitLab jobs; images and caches that a build may need while one is seen.
import contextlib, fcntl, http.client, json, os, re, signal, socket, subprocess, sys, time, urllib.parse

MINUTE, HOUR, DAY = 60, 3600, 86400
GIB = 1 << 30
# From which point each level acts: share of the disk that is free, or bytes where these are more (a job's image is a few
# GiB, whatever the disk), but these no more than a share of a small disk. Inodes: the first share alone.
LEVELS = (0.30, 16 * GIB, 0.45), (0.20, 8 * GIB, 0.35), (0.10, 4 * GIB, 0.25), (0.05, 2 * GIB, 0.15)
# Used shares at which the host counts as unhealthy, and at which its runner takes no new jobs.
UNHEALTHY, FULL = 0.90, 0.95
# A disk that fills fast is judged by what it will be in this many seconds.
AHEAD = 15
LABEL = "com.gitlab.gitlab-runner."
TOLD = dict(word.partition("=")[::2] for word in sys.argv[1:])
if set(TOLD) - {"--dry-run", "--watch", "--root"}:
    sys.exit("what is " + " ".join(TOLD))
DRY_RUN, WATCH, ROOT = "--dry-run" in TOLD, float(TOLD.get("--watch", 0)), TOLD.get("--root", "")
STATE = ROOT + "/var/lib/dataops-infra/"
# Names of the runners that take no jobs for now, and that we start again. Whoever stops a runner for good removes it.
STOPPED = STATE + "stopped"


class Silent(Exception):
    pass


API = [""]


# Docker's own interface: each call has an end, which the command line has not.
def docker(method, path, within=60, body=None, **query):
    connection = http.client.HTTPConnection("docker", timeout=within)
    said = {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}
    try:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(within)
        connection.sock.connect(ROOT + "/var/run/docker.sock")
        connection.request(method, f"{API[0]}{path}?{urllib.parse.urlencode(said)}", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Silent(f"Docker does not answer: {error}")
    finally:
        connection.close()


def get(path, within=60, **query):
    status, text = docker("GET", path, within, **query)
    if status != 200:
        raise Silent(f"Docker answers {status} to {path}")
    return json.loads(text)


def mib(count):
    return f"{count / (1 << 20):.1f} MiB"


# The repository of an image, as Docker shortens it.
def repository(name):
    return re.sub(r"^(docker\.io/)?(library/)?|(:[^/]*)?(@.*)?$", "", name)


def tags(image):
    return [tag for tag in image.get("RepoTags") or [] if tag != "<none>:<none>"]


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return ""


# A full disk takes no new file, but new words in an old one: it is never shorter than a block.
def write(name, document):
    with contextlib.suppress(OSError), open(os.open(STATE + name, os.O_RDWR | os.O_CREAT, 0o644), "r+") as file:
        file.write(json.dumps(document).ljust(4095) + "\n")
        file.truncate()


def say(text):
    text = re.sub(r"[^\x20-\x7e]", "?", text)
    print(text, flush=True)
    if not DRY_RUN:
        with contextlib.suppress(OSError), open(ROOT + "/var/log/dataops-infra.log", "a") as file:
            file.write(time.strftime("%Y-%m-%dT%H:%M:%SZ disk guard: ", time.gmtime()) + text + "\n")


# A file system, and how fast it fills.
class Disk:
    def __init__(self, path):
        self.path = path
        self.at = 0
        self.rates = [(0, 0)] * 4
        self.look()

    # The rate is told only by looks with nothing removed between them.
    def look(self, rate=False):
        s = os.statvfs(self.path)
        was, now = (self.at, *self.taken) if self.at else (0, 0, 0), time.monotonic()
        self.at, self.taken = now, ((s.f_blocks - s.f_bfree) * s.f_frsize, s.f_files - s.f_ffree)
        if rate:
            self.rates = self.rates[1:] + [tuple((new - old) / (now - was[0]) for new, old in zip(self.taken, was[1:]))]
        self.free, self.inodes, self.inodes_free = s.f_bavail * s.f_frsize, s.f_files, s.f_favail
        self.size = self.taken[0] + self.free
        # As `df` and the alarms have it. Some file systems make inodes as they need them and count none.
        self.used = self.taken[0] / max(1, self.size)
        self.inodes_used = 1 - s.f_favail / s.f_files if s.f_files else 0
        self.worst = max(self.used, self.inodes_used)
        return self

    def level(self, imagined=0):
        grows, inodes_grow = (max(0, sum(rates) / len(rates)) * AHEAD for rates in zip(*self.rates))
        level = 0
        for number, (share, least, most) in enumerate(LEVELS, 1):
            space = self.free + imagined - grows < max(share * self.size, min(least, most * self.size))
            if space or self.inodes and self.inodes_free - inodes_grow < share * self.inodes:
                level = number
        return level

    # Worth looking at twice a second: what is free could go between two starts of the timer.
    def warm(self):
        return self.worst > 0.5 or self.free < 20 * GIB

    def __str__(self):
        inodes = f", {100 * self.inodes_used:.1f} % of its inodes" if self.inodes_used > self.used else ""
        return f"{self.path} {100 * self.used:.1f} % full{inodes}"


class Guard:
    def __init__(self):
        # When each image, volume and container was last of use to anybody.
        self.memory = {"seen": {}, "freed_bytes": 0, "data": []}
        with contextlib.suppress(TypeError, ValueError):
            self.memory.update(json.loads(read(STATE + "disk-guard.json")))
        self.imagined = 0
        # By device, each with whether Docker's data is on it.
        self.disks = {}
        self.place()

    def place(self):
        for path in ROOT or "/", *self.memory["data"]:
            with contextlib.suppress(OSError):
                device = os.stat(path).st_dev
                self.disks[device] = self.disks.get(device, (Disk(path),))[0], path in self.memory["data"]

    def all(self):
        return [disk for disk, _ in self.disks.values()]

    def says(self):
        return "; ".join(map(str, self.all()))

    # How bad it is where Docker's data is.
    def level(self):
        return max((disk.look().level(self.imagined) for disk, data in self.disks.values() if data), default=0)

    # What there is, who uses it, and what was used since the look before: the daemon remembers its last 256 events.
    def learn(self):
        now, seen, memory = time.time(), self.memory["seen"], self.memory
        API[0] = ""
        API[0] = "/v" + get("/version", 10)["ApiVersion"]
        info = get("/info", 20)
        # New engines keep images elsewhere.
        snapshots = ["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or [])
        memory["data"] = [info["DockerRootDir"], *["/var/lib/containerd"] * snapshots]
        self.place()
        self.refresh()
        self.images = {image["Id"]: image for image in get("/images/json")}
        self.volumes = {volume["Name"]: volume for volume in get("/volumes")["Volumes"] or []}
        there = {*self.images, *self.volumes, *(container["Id"] for container in self.containers)}
        # What nobody has seen yet came now, unless everything was forgotten.
        for name in there:
            seen.setdefault(name, now - (0 if "learnt" in memory else HOUR))
        there.update(tag for image in self.images.values() for tag in tags(image))
        memory["seen"] = {name: at for name, at in seen.items() if name in there}
        memory["learnt"] = now

    def refresh(self):
        now, seen = time.time(), self.memory["seen"]
        self.containers, self.used = get("/containers/json", all="1"), set()
        for container in self.containers:
            self.used |= {container["ImageID"], *(mount.get("Name") for mount in container.get("Mounts") or [])}
            if container["State"] not in ("exited", "dead"):
                seen[container["Id"]] = now
        seen.update(dict.fromkeys(self.used, now))
        wanted = {"type": ["container", "image"], "event": ["create", "start", "pull", "import", "load", "tag"]}
        since = self.memory.get("learnt", now - HOUR)
        for line in docker("GET", "/events", since=f"{since:.6f}", until=f"{now:.6f}", filters=wanted)[1].splitlines():
            event = json.loads(line)
            about = event["Actor"]["ID"] if event["Type"] == "image" else event["Actor"]["Attributes"].get("image", "")
            seen[about] = seen[about + ":latest"] = event["time"]

    def idle(self, *names):
        return time.time() - max(self.memory["seen"].get(name, 0) for name in names)

    # Programs that build, on the host or in a job; or a step of a build that has just ended.
    def building(self):
        for number in filter(str.isdigit, os.listdir("/proc")):
            if re.match(r"[^\0]*(docker|buildctl)[^/\0]*\0(.*\0)?(build|bake|--build)\0", read(f"/proc/{number}/cmdline"), re.S):
                return True
        fresh = time.time() - 5 * MINUTE
        return any(i.get("ParentId") and not tags(i) and i["Created"] > fresh for i in self.images.values())

    # Each step yields what may go: its name, for how long nobody has used it, its size if known, and the calls, of which
    # the last ones are for what has several names.
    def ended_containers(self, age):
        labels = lambda container: container.get("Labels") or {}
        job = lambda container: labels(container).get(LABEL + "job.id", container["Id"])
        # A container of a job that goes on ends and starts again between its stages.
        alive = {job(c) for c in self.containers if c["State"] not in ("exited", "dead")}
        for container in self.containers:
            idle = self.idle(container["Id"])
            if any(name.startswith(LABEL) for name in labels(container)) and job(container) not in alive and idle > age:
                yield "container " + container["Names"][0][1:], idle, 0, f"/containers/{container['Id']}?v=1"

    def unused_images(self, age, untagged=False):
        building, asked = self.building(), 0
        ours = read(STATE + "image").strip()
        names = {number: (number, *tags(image), *(image.get("RepoDigests") or [])) for number, image in self.images.items()}
        for number in sorted(names, key=lambda number: -self.idle(*names[number])):
            image = self.images[number]
            # Every channel of the image that the host was made with; what containers use is in use anyway.
            if ours in names[number] or repository(ours) in map(repository, tags(image)):
                continue
            if untagged and tags(image):
                continue
            # Jobs begin while others are removed.
            if time.monotonic() - asked > 0.5:
                self.refresh()
                asked = time.monotonic()
            idle = self.idle(*names[number])
            if number not in self.used and idle > age and not (building and not tags(image)):
                what = "image " + (" ".join(tags(image)) or number[7:19])
                yield what, idle, image["Size"], *[f"/images/{name}" for name in names[number]]

    def build_cache(self, age):
        if not self.building():
            yield "build cache", age, 0, "/build/prune"

    def cache_volumes(self, age):
        for name, volume in sorted(self.volumes.items(), key=lambda pair: -self.idle(pair[0])):
            cache = re.match(r"runner-.+-(cache|concurrent)-", name) or any(key.startswith(LABEL) for key in volume.get("Labels") or {})
            if cache and name not in self.used and self.idle(name) > age:
                yield "cache volume " + name, self.idle(name), 0, "/volumes/" + name

    def steps(self):
        yield 1, self.ended_containers(HOUR)
        yield 1, self.unused_images(DAY, untagged=True)
        yield 1, self.unused_images(7 * DAY)
        yield 1, self.build_cache(7 * DAY)
        yield 2, self.unused_images(HOUR)
        yield 2, self.build_cache(DAY)
        yield 3, self.ended_containers(10 * MINUTE)
        yield 3, self.unused_images(10 * MINUTE)
        yield 3, self.build_cache(0)
        yield 3, self.cache_volumes(7 * DAY)
        yield 4, self.unused_images(2)
        yield 4, self.cache_volumes(DAY)

    def remove(self, level, what, idle, big, *paths):
        since = f"{idle / DAY:.0f} days" if idle > 2 * DAY else f"{idle / MINUTE:.0f} minutes"
        why = f"{what}, unused for {since} (level {level}; {self.says()})"
        if DRY_RUN:
            self.imagined += big
            say(f"would free up to {mib(big)}: {why}")
            return
        before = sum(disk.look().taken[0] for disk in self.all())
        if paths[0] == "/build/prune":
            docker("POST", paths[0], 120, all="1", filters={"until": [f"{idle}s"]} if idle else {})
        else:
            # An image with several names goes with the last of them.
            if b"multiple repositories" in docker("DELETE", paths[0], 120)[1]:
                for path in paths[1:]:
                    docker("DELETE", path, 120)
        freed = max(0, before - sum(disk.look().taken[0] for disk in self.all()))
        if freed or what != "build cache":
            self.memory["freed_bytes"] += freed
            say(f"freed {mib(freed)}: {why}")

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
                fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if WATCH else 0))
            except OSError:
                return
            trouble = ""
            try:
                self.learn()
                level = self.level()
                if DRY_RUN:
                    print(f"level {level}: {self.says()}")
                if level:
                    self.clean(level, time.monotonic() + 300)
                if not DRY_RUN:
                    self.intake()
            except (Silent, OSError) as error:
                trouble = str(error)
            if not DRY_RUN:
                self.report(trouble)

    # With no room for anything, no new jobs, and again when there is some.
    def intake(self):
        now, worst = time.time(), max(disk.look().worst for disk in self.all())
        full_since = self.memory["full_since"] = (self.memory.get("full_since") or now) if worst >= FULL else 0
        if os.path.exists(STOPPED):
            if not self.reboots() and worst < UNHEALTHY:
                self.resume()
        elif full_since and now - full_since > 30:
            self.pause()

    # SIGQUIT lets the running jobs end, whose ends make room. The policy `always` would bring the runner back at once.
    def pause(self):
        names = []
        for container in self.containers:
            if container["State"] == "running" and any(m["Destination"] == "/etc/gitlab-runner" for m in container["Mounts"]):
                name = container["Names"][0][1:]
                if get(f"/containers/{name}/json")["HostConfig"]["RestartPolicy"]["Name"] == "always":
                    names.append(name)
        if names:
            # Without it nobody would start them again: if it cannot be written, they go on.
            with open(STOPPED, "w") as file:
                file.write("\n".join(names) + "\n")
        for name in names:
            docker("POST", f"/containers/{name}/update", body={"RestartPolicy": {"Name": "no"}})
            docker("POST", f"/containers/{name}/kill", signal="QUIT")
            say(f"{name} takes no new jobs until there is room; those that run go on")

    # Whether the reboot window goes on: its lock ends with it, however it ends.
    def reboots(self):
        with contextlib.suppress(FileNotFoundError), open(ROOT + "/run/dataops-infra-reboot-window") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True

    # Starts what we or the reboot window stopped, when its last job has ended.
    def resume(self):
        since = os.path.getmtime(STOPPED)
        for name in read(STOPPED).split():
            if docker("POST", f"/containers/{name}/update", body={"RestartPolicy": {"Name": "always"}})[0] == 200:
                state = get(f"/containers/{name}/json")["State"]
                before = state["StartedAt"] < time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since + 1))
                if state["Running"] and before and time.time() - since < DAY:
                    return
                if not state["Running"]:
                    docker("POST", f"/containers/{name}/start")
                    say(f"{name} takes jobs again")
        os.remove(STOPPED)

    def report(self, trouble):
        bad = [disk for disk in self.all() if disk.look().worst >= UNHEALTHY]
        memory, why = self.memory, trouble
        if bad:
            why = "not enough could be freed: " + "; ".join(map(str, bad)) + ("; " + trouble if trouble else "")
        if bad and time.time() - memory.get("unhealthy", 0) > HOUR:
            memory["consumers"] = self.consumers(any(disk.inodes_used >= UNHEALTHY for disk in bad))
            memory["unhealthy"] = time.time()
            say(f"unhealthy: {why}; the most is in {', '.join(memory['consumers'])}")
        elif not bad and memory.pop("unhealthy", 0):
            say("healthy again: " + self.says())
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        known = {"healthy": not bad, "at": at, "why": why, "freed_bytes": memory["freed_bytes"], "paused": os.path.exists(STOPPED)}
        if bad:
            known["consumers"] = memory["consumers"]
        write("health.json", known)
        write("disk-guard.json", memory)

    # The largest things, for whoever must decide what can go.
    def consumers(self, inodes):
        option = "--inodes" if inodes else ""
        du = f"timeout 30 du {option} -xhd2 --exclude=docker --exclude=containerd {ROOT}/ | sort -rh | head -9"
        df = "timeout 30 docker system df --format '{{.Size}} {{.Type}}'"
        said = subprocess.run(["sh", "-c", f"{du}; {df}"], stdin=subprocess.DEVNULL, capture_output=True, text=True).stdout
        return said.expandtabs(1).splitlines()


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
