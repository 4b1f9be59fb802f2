"""A Docker engine on a small disk of its own, for tests of what a host does with its engine and its disk.

Needs root, dockerd, docker, mkfs.ext4, loop devices and a static busybox; without them a test is skipped.
"""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

TEMPLATES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../templates/host")
GUARD = os.path.join(TEMPLATES, "disk-guard.py")
MANAGED = "com.gitlab.gitlab-runner.managed=true"
MIB = 1 << 20
DAY = 86400

# A job that goes on: it writes into its layer and its volume, reads both back, and ends with an error at the first failure.
JOB = """
set -e
n=0
while [ ! -e /job/stop ]; do
    n=$((n + 1))
    head -c 65536 /dev/urandom >/layer.$((n % 4))
    cp /layer.$((n % 4)) /job/copy
    cmp /job/copy /layer.$((n % 4))
    sha256sum /payload >/job/sum
    echo $n >/job/count
    sleep 0.1
done
"""
RUNNER = "trap 'exit 0' QUIT; while :; do sleep 0.1; done"


class Skipped(Exception):
    pass


def check(true, what):
    if not true:
        raise AssertionError(what)
    print("ok:", what, flush=True)


def run(*command, **more):
    return subprocess.run(command, capture_output=True, timeout=60, **more)


def wait_until(true, seconds, what):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.1)


class Engine:
    """A Docker engine of its own on a new disk, with no network."""

    def __init__(self, mib, inodes=None):
        self.mib, self.inodes, self.daemon = mib, inodes, None

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="disk-guard-")
        self.disk = self.at("disk")
        self.state, self.socket = self.disk + "/var/lib/dataops-infra", self.disk + "/var/run/docker.sock"
        os.mkdir(self.disk)
        with open(self.at("image"), "wb") as file:
            file.truncate(self.mib * MIB)
        count = ["-N", str(self.inodes)] if self.inodes else []
        made = run("mkfs.ext4", "-q", "-F", "-m", "0", *count, self.at("image"))
        if made.returncode:
            raise Skipped(f"mkfs.ext4: {made.stderr.decode()}")
        mounted = run("mount", "-o", "loop", self.at("image"), self.disk)
        if mounted.returncode:
            shutil.rmtree(self.folder)
            raise Skipped(f"no loop device can be mounted: {mounted.stderr.decode().strip()}")
        try:
            for folder in "var/lib/dataops-infra", "var/log", "var/run", "run", "opt":
                os.makedirs(os.path.join(self.disk, folder))
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self):
        options = ["--data-root", self.disk + "/docker", "--exec-root", self.at("exec"), "--pidfile", self.at("pid")]
        # With its own containerd too, whatever else runs on this machine.
        options += ["-H", "unix://" + self.socket, "--bridge", "none", "--iptables=false", "--ip-forward=false"]
        with open(self.at("log"), "ab") as log:
            self.daemon = subprocess.Popen(["dockerd", *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        wait_until(lambda: self.daemon.poll() is not None or self.docker("version", fine=False)[0] == 0, 60, "dockerd answers")
        if self.daemon.poll() is not None:
            with open(self.at("log")) as log:
                raise Skipped("dockerd does not run here: " + " ".join(log.read().splitlines()[-2:]))

    def stop(self, how=signal.SIGTERM):
        self.daemon.send_signal(how)
        try:
            self.daemon.wait(30)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            self.daemon.wait()

    def __exit__(self, *_):
        if self.daemon and self.daemon.poll() is None:
            _, running = self.docker("ps", "-q", fine=False)
            if running:
                self.docker("kill", *running.split(), fine=False)
            self.stop()
        for _ in range(20):
            # Mounts of containers that ended badly are below ours.
            with open("/proc/mounts") as mounts:
                below = [line.split()[1] for line in mounts if line.split()[1].startswith(self.folder + "/")]
            if not below:
                break
            for place in reversed(below):
                run("umount", place)
            time.sleep(0.2)
        else:
            print("note: still mounted:", *below)
            return
        shutil.rmtree(self.folder, ignore_errors=True)

    def at(self, name):
        return os.path.join(self.folder, name)

    def docker(self, *words, fine=True, stdin=None, more=None):
        environment = {**os.environ, "DOCKER_HOST": "unix://" + self.socket, "DOCKER_CONFIG": self.folder, "DOCKER_BUILDKIT": "0"}
        done = subprocess.run(["docker", *words], input=stdin, capture_output=True, timeout=60, env={**environment, **(more or {})})
        if fine and done.returncode:
            raise AssertionError(f"docker {' '.join(words[:3])}: {done.stderr.decode().strip()}")
        return done.returncode, done.stdout.decode().strip()

    def image(self, name, mib=0.1, files=0, fine=True):
        """Makes an image of busybox, some random bytes, and empty files."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            tar.add(shutil.which("busybox"), "bin/busybox")
            for program in "sh head cp cmp sha256sum echo sleep cat mkdir touch dd seq rm".split():
                link = tarfile.TarInfo("bin/" + program)
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                tar.addfile(link)
            payload = tarfile.TarInfo("payload")
            payload.size = int(mib * MIB)
            tar.addfile(payload, io.BytesIO(os.urandom(payload.size)))
            for n in range(files):
                tar.addfile(tarfile.TarInfo(f"many/{n}"))
        code, number = self.docker("import", "-c", 'CMD ["sh"]', "-c", "ENV PATH=/bin", "-", *([name] if name else []), fine=fine, stdin=packed.getvalue())
        return number if code == 0 else None

    def guard(self, *options, wait=True):
        command = [sys.executable, "-I", GUARD, "--root=" + self.disk, *options]
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if not wait:
            return started
        said = started.communicate(timeout=60)[0]
        if started.returncode or "Traceback" in said:
            raise AssertionError(f"the guard ended with {started.returncode}: {said}")
        return said

    def health(self):
        with open(self.state + "/health.json") as file:
            return json.load(file)

    def remember(self, change):
        """Changes what the guard remembers: nobody waits for a week here."""
        path = self.state + "/disk-guard.json"
        with open(path) as file:
            memory = json.load(file)
        change(memory)
        with open(path, "w") as file:
            json.dump(memory, file)

    def idle(self, days, *names, kind="image"):
        known = [self.docker(kind, "inspect", "-f", "{{.Id}}", name)[1] for name in names]
        known += [tag for number in known for tag in json.loads(self.docker("inspect", number)[1])[0].get("RepoTags", [])]
        self.remember(lambda memory: memory["seen"].update(dict.fromkeys(known, time.time() - days * DAY)))

    def has(self, kind, name):
        return self.docker(kind, "inspect", name, fine=False)[0] == 0

    def used(self):
        s = os.statvfs(self.disk)
        return (s.f_blocks - s.f_bfree) / (s.f_blocks - s.f_bfree + s.f_bavail)

    def inodes_used(self):
        s = os.statvfs(self.disk)
        return 1 - s.f_ffree / s.f_files

    def ballast(self, share):
        """Fills the disk to a share with what the guard cannot remove."""
        s = os.statvfs(self.disk)
        path = self.disk + "/opt/ballast"
        has = os.path.getsize(path) if os.path.exists(path) else 0
        wanted = has + int((share - self.used()) * s.f_blocks * s.f_frsize)
        if wanted < has:
            os.truncate(path, max(0, wanted))
            return
        with open(path, "a") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, wanted))

    def label(self, job):
        return ["--label", MANAGED, "--label", f"com.gitlab.gitlab-runner.job.id={job}", "--network", "none"]

    def runner(self, image="dataopslive/dataops-runner:latest", program=RUNNER):
        with open(self.state + "/image", "w") as file:
            file.write(image + "\n")
        os.makedirs(self.at("config"), exist_ok=True)
        self.docker("run", "-d", "--name", "acme", "--restart", "always", "--network", "none", "-v", self.at("config") + ":/etc/gitlab-runner", image, "sh", "-c", program)

    def job(self, image, number=1):
        self.docker("run", "-d", "--name", f"job-{number}", *self.label(number), "-v", f"runner-x-project-1-cache-{number}:/job", image, "sh", "-c", JOB)

    def count(self, number=1):
        return int(self.docker("exec", f"job-{number}", "cat", "/job/count")[1] or 0)

    def goes_on(self, number=1):
        was = self.count(number)
        wait_until(lambda: self.count(number) > was, 10, "the job goes on")

    def ends_well(self, number=1):
        self.goes_on(number)
        self.docker("exec", f"job-{number}", "touch", "/job/stop")
        check(self.docker("wait", f"job-{number}")[1] == "0", "the job ends well")


def several(names):
    """Each in a process of its own, three at a time, because most of them wait; returns the worst ending."""
    left, running, worst = list(names), {}, 0
    while left or running:
        while left and len(running) < 3:
            name = left.pop(0)
            running[name] = subprocess.Popen([sys.executable, sys.argv[0], name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        name = next(iter(running))
        print(running[name].communicate()[0], end="", flush=True)
        code = running.pop(name).returncode
        worst = max(worst, 2 if code not in (0, 77) else code // 77)
    return (0, 77, 1)[worst]


def main(there):
    """Runs the functions of a module whose names begin with `try_`, or those that the command line names."""
    known = {name[4:]: found for name, found in there.items() if name.startswith("try_")}
    wanted = sys.argv[1:] or list(known)
    try:
        if os.geteuid() != 0:
            raise Skipped("only root can start a Docker engine")
        for program in "dockerd", "docker", "mkfs.ext4", "mount", "busybox":
            if not shutil.which(program):
                raise Skipped(f"there is no {program}")
        if len(wanted) > 1:
            sys.exit(several(wanted))
        begun = time.monotonic()
        print(f"-- {wanted[0]}: {known[wanted[0]].__doc__}", flush=True)
        known[wanted[0]]()
        print(f"-- {wanted[0]}: {time.monotonic() - begun:.1f} s", flush=True)
    except Skipped as why:
        print(f"skipped: {why}")
        sys.exit(1 if os.environ.get("CI") == "true" else 77)
    except AssertionError as what:
        print(f"failed: {what}")
        sys.exit(1)
