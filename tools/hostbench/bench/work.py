"""Work on a host that is there: stop and start, other settings, an upgrade and back, another token; jobs go on meanwhile."""

import time
import tomllib

from .deployment import CONFIG, NAME, Deployment, check
from .faults import fault
from .shell import say, until

YES = ["--yes", "--output", "json"]


class Host:
    """A host that is online, and the program to work on it with."""

    def __init__(self, world, binary, token=None):
        self.world = world
        self.deployment = Deployment(world, binary, token)
        up = self.deployment.start_up()
        self.guest = self.deployment.host(up)
        ended = self.deployment.watch(up)
        check(ended.code == 0, f"up: {ended}\n{self.guest.log()[-3000:]}")

    def does(self, *words, code=0, status=None, seconds=400):
        """Runs a command, which must end so."""
        began = time.monotonic()
        ended = self.deployment.run(*words, seconds=seconds)
        check(ended.code == code, f"{words}: {ended}\n{self.guest.log()[-2000:]}")
        check(status is None or ended.json["status"] == status, f"{words} ends as {status}: {ended}")
        say(f"{' '.join(str(word) for word in words[:3])}: exit {code} after {time.monotonic() - began:.0f} s")
        return ended

    def inspect(self, what, name=NAME):
        """Returns what Docker says of a container."""
        return self.guest.sh(f"docker inspect -f '{what}' {name} 2>/dev/null || true").strip()

    def config(self):
        """Returns what is in config.toml."""
        return tomllib.loads(self.guest.read(CONFIG))

    def job(self, script, tag=NAME):
        """Makes a job."""
        return self.world.platform.job(script=[script], tags=[tag], image="dataopslive/dataops-utils-runner:latest")

    def status(self, job):
        """Returns how far a job is."""
        return self.world.platform.call("GET", f"jobs/{job}")["status"]

    def running(self, script, tag=NAME):
        """Makes a job and waits until it runs."""
        job = self.job(script, tag)
        until("start of a job", 60, lambda: self.status(job) == "running")
        return job

    def asks(self):
        """Waits until the platform is asked for jobs."""
        asked = self.world.platform.requests()
        until("question for jobs", 60, lambda: self.world.platform.requests() > asked)


def day(host):
    """Stop, start, restart, logs, another number of jobs."""
    guest = host.guest
    job = host.running("sleep 6")
    host.does("runner", "stop", *YES, status="stopped")
    check(host.status(job) == "success", f"the job ended by itself: {host.status(job)}")
    check(host.deployment.report()["stage"] == "stopped", "the host says that it is stopped")
    host.does("status", "--output", "json", code=4)
    guest.reboot()
    guest.running()
    until("end of the bootstrap", 120, lambda: "stage stopped" in guest.log()[-1500:], 1)
    check(host.inspect("{{.State.Running}}") == "false", "it stays stopped over a reboot")
    host.does("runner", "start", *YES, status="running")
    host.asks()
    logs = host.does("runner", "logs", "--tail", "20", "--output", "json")
    check(logs.json["hosts"][0]["log"], f"a log: {logs}")
    check(host.world.platform.runners()[0]["token"] not in logs.stdout, "secrets are masked")

    began = host.inspect("{{.State.StartedAt}}")
    host.does("up", "ec2", "--concurrency", "5", *YES)
    check(host.config()["concurrent"] == 5 and host.config()["runners"][0]["limit"] == 5, f"settings: {host.config()}")
    check(host.inspect("{{.State.StartedAt}}") == began, "without a restart")
    check(host.deployment.report()["concurrent"] == 5, f"the host says so: {host.deployment.report()}")
    host.does("up", "ec2", "--concurrency", "5", *YES, status="unchanged")
    host.does("up", "ec2", "--concurrency", "4", *YES)


def changes(host, kind):
    """An upgrade with a job on either runner, one that fails, and back; then another token."""
    guest, platform = host.guest, host.world.platform
    version = ["upgrade", "--runner-version"]
    slow = host.running("sleep 25")
    host.does(*version, "latest-next", "--trial", *YES, status="on-trial")
    check(len(platform.runners()) == (2 if kind == "runner" else 1), f"runners: {platform.runners()}")
    if kind == "runner":
        trial = host.job("echo on trial", f"{NAME}-latest-next")
        until("end of the job on trial", 60, lambda: host.status(trial) == "success")
    check(host.status(slow) == "running", "the job on the first runner goes on")
    done = host.does(*version, "latest-next", *YES, status="upgraded")
    check(done.json["hosts"][0]["unregistered"] == kind, f"what went: {done}")
    check(host.status(slow) == "success", f"the job on the first runner: {host.status(slow)}")
    settled(host, "dataopslive/dataops-runner:latest-next")
    host.deployment.check_job()
    host.does(*version, "latest-next", *YES, status="unchanged")

    host.does(*version, "no-such-version", *YES, code=1, status="rolled-back")
    settled(host, "dataopslive/dataops-runner:latest-next")
    platform.fault("POST /api/v4/runners/verify", status=403)
    host.does(*version, "latest", *YES, code=1, seconds=600)
    platform.heal()
    host.does("upgrade", "--rollback", *YES)
    settled(host, "dataopslive/dataops-runner:latest-next")

    # The power goes while both are there.
    host.does(*version, "latest", "--trial", *YES, status="on-trial")
    guest.reboot()
    guest.running()
    host.does(*version, "latest", *YES, status="upgraded", seconds=600)
    settled(host, "dataopslive/dataops-runner:latest")
    host.deployment.check_job()

    if kind == "manager":
        return
    other = host.world.folder / "other-token"
    other.write_text(platform.registration_token())
    host.does("rotate-token", "--token-file", other, *YES, status="rotated")
    settled(host, "dataopslive/dataops-runner:latest")
    host.deployment.check_job()


def settled(host, image):
    """One runner of an image, one registration, no trace of another."""
    names = host.guest.sh("docker ps -a --format '{{.Names}} {{.Image}}' | grep runner-one || true").split("\n")
    names = [name for name in names if name.startswith(NAME)]
    check(len(names) == 1 and host.inspect("{{.State.Running}}") == "true", f"containers: {names}")
    check(host.guest.read("/var/lib/dataops-infra/image").strip() == image, "the image is kept")
    check(not host.guest.sh("ls /var/lib/dataops-infra/upgrade.json 2>/dev/null || true").strip(), "no upgrade is under way")
    runners = host.world.platform.runners()
    check(len(runners) == 1, f"one registration: {runners}")
    check(host.config()["concurrent"] == 4 and len(host.config()["runners"]) == 1, f"settings: {host.config()}")
    host.asks()


def gone(host, kind):
    """It goes, and what is left on the platform is what `down` says."""
    ended = host.does("down", *YES)
    check(("manager" in ended.stdout) == (kind == "manager"), f"down says what happened: {ended}")
    left = host.deployment.left()
    left.pop("runners", None) if kind == "manager" else None
    check(not left, f"left behind: {left}")


@fault
def work_on_a_host(world, binary):
    """Stop, start, settings, upgrade, a failed one, back, another token, with jobs that go on; a registration token."""
    host = Host(world, binary)
    day(host)
    changes(host, "runner")
    host.does("up", "ec2", *YES, status="unchanged")
    gone(host, "runner")


@fault
def upgrade_with_a_new_token(world, binary):
    """An upgrade, a failed one, and back, where the second runner is another manager of the same runner."""
    runner = world.platform.call("POST", "runners", {"description": NAME, "tag_list": [NAME]})
    host = Host(world, binary, runner["token"])
    changes(host, "manager")
    check(len(world.platform.runners()[0]["managers"]) == 1, f"one manager: {world.platform.runners()}")
    gone(host, "manager")
    check(not world.platform.runners()[0]["managers"], "the manager is removed")


@fault
def resize(world, binary):
    """Another type by a stop and a start, a larger disk whose partition and file system grow; one registration all along."""
    world.partitioned = True
    host = Host(world, binary)
    guest = host.guest
    say(f"the root of the guest is {guest.disk.kind} on {guest.disk.partition}")

    def gib():
        size = guest.sh("df -B1 --output=size,source /").split("\n")[1].split()
        check(size[1] == guest.disk.partition, f"the root is on the partition: {size}")
        return int(size[0]) / 2**30

    def in_metadata():
        ask = "http://169.254.169.254/latest"
        return guest.sh(
            f"t=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {ask}/api/token); "
            f'curl -sf -H "X-aws-ec2-metadata-token: $t" {ask}/meta-data/instance-type'
        ).strip()

    check(280 < gib() < 300 and in_metadata() == "c5.large", f"before: {gib()} GiB, {in_metadata()}")
    ended = host.running("sleep 8")
    words = ["resize", "--instance-type", "c5.xlarge", "--disk-gib", "400", *YES]
    done = host.does(*words, status="resized", seconds=900)
    check(host.status(ended) == "success", f"the job ended by itself: {host.status(ended)}")
    check(guest.boots == 2 and in_metadata() == "c5.xlarge", f"{guest.boots} boots, as {in_metadata()}")
    check(gib() > 380, f"the file system has {gib():.1f} GiB: {done}")
    check("the clock" not in guest.log() and guest.log().count(", again run") == 1, "the script of each boot has run")
    whole(host, "after another type and a larger disk")
    # Whether the file system has grown too is looked at again, and nothing else; the boot's own script may still be at work.
    again = host.does(*words)
    steps = {step["address"] for step in again.json["steps"]}
    check({"host-grow"} <= steps <= {"host-volume-ready", "host-grow", "online"}, f"again: {again}")

    # Stopped and started by somebody, past this program.
    ec2 = world.cloud.client("ec2")
    ec2.stop_instances(InstanceIds=[guest.name])
    until("end of the guest", 60, lambda: not guest.runs)
    until("stop of the instance", 20, lambda: world.cloud.instances()[0]["State"]["Name"] == "stopped")
    host.does("status", "--output", "json", code=4)
    host.does("up", "ec2", *YES)
    check(guest.boots == 3, f"{guest.boots} boots")
    whole(host, "after a stop past this program")

    # AWS changes a volume only every six hours, and nothing is stopped for what it refuses.
    soon = host.does("resize", "--instance-type", "c5.large", "--disk-gib", "500", *YES, code=1)
    check("six hours" in soon.stderr, f"the refusal is told: {soon}")
    settled(host, "dataopslive/dataops-runner:latest")
    check(guest.boots == 3, f"{guest.boots} boots")
    host.does("resize", "--instance-type", "c5.large", "--disk-gib", "400", *YES, status="resized", seconds=900)
    check(gib() > 380 and in_metadata() == "c5.large", f"{gib()} GiB, {in_metadata()}")
    whole(host, "after the type of before")
    gone(host, "runner")


def whole(host, when):
    """It is online, registered once, runs a job, and `doctor` finds nothing."""
    settled(host, "dataopslive/dataops-runner:latest")
    host.deployment.check_job()
    host.deployment.publish_as_ec2()
    ended = host.deployment.run("doctor", "--output", "json", "--timeout", "20")
    found = [row for row in ended.json["checks"] if row["status"] not in ("ok", "skipped")]
    check(ended.code == 0, f"doctor {when}: exit {ended.code}, {found}")
    check(host.world.platform.counts()["POST /api/v4/runners 201"] == 1, "registered once")
