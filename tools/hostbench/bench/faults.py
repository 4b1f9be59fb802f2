"""What goes wrong with a host, one at a time. Each ends in recovery, or in a report that names the cause."""

import re
import time

from . import clock
from .deployment import CONFIG, NAME, Deployment, check
from .shell import say, until

FAULTS = {}
DOCKER = r"download\.docker\.com"
STATE = "/var/lib/dataops-infra"


def fault(function):
    """Enters a case under its name."""
    FAULTS[function.__name__.replace("_", "-")] = function
    return function


def hasty(root):
    """The unit tries again after seconds instead of minutes."""
    units = root / "etc/systemd/system"
    for unit, text in ("timer", "[Timer]\nOnActiveSec=\nOnActiveSec=3\n"), ("service", "[Service]\nRestartSec=3\n"):
        folder = units / f"dataops-infra-bootstrap.{unit}.d"
        folder.mkdir(parents=True)
        (folder / "hasty.conf").write_text(text)


def begin(world, binary, token=None, options=(), prepare=None):
    """Starts `up`; returns the deployment, the run and the guest, whose disk `prepare(root)` changes before it boots."""

    def prepared(root):
        hasty(root)
        if prepare:
            prepare(root)

    world.prepare = prepared
    deployment = Deployment(world, binary, token, options)
    up = deployment.start_up()
    return deployment, up, deployment.host(up)


def online(deployment, up, guest, seconds=600):
    """`up` ends well, and the host is as it must be."""
    ended = deployment.watch(up, seconds)
    check(ended.code == 0, f"up: {ended}\n{guest.log()[-3000:]}")
    deployment.check_host(guest)
    return ended


def told(deployment, up, *words, seconds=600):
    """`up` fails, and says why."""
    ended = deployment.watch(up, seconds)
    check(ended.code == 1, f"up fails: {ended}")
    for word in words:
        check(re.search(word, ended.stderr + ended.stdout), f"{word!r} in {ended}")
    return ended


def recovered(deployment, guest, seconds=300):
    """The host comes online by itself, and a second `up` is content."""
    until("report that the host is online", seconds, lambda: deployment.report().get("stage") == "online", 0.5)
    deployment.check_host(guest)
    ended = deployment.end(deployment.start_up(), 120)
    check(ended.code == 0, f"the second up: {ended}")


def removed(deployment, registrations=0):
    """`down` leaves nothing, but for runners that the platform no longer answers for."""
    ended = deployment.run("down", "--yes", "--output", "json")
    check(ended.code == 0, f"down: {ended}")
    left = deployment.left()
    runners = left.pop("runners", [])
    check(not left, f"left behind: {left}")
    check(len(runners) == registrations, f"runners on the platform: {runners}")
    return ended


def at(guest, moment, seconds=300):
    """Waits for a moment of the bootstrap: a text in its log."""
    until(f"moment {moment!r}", seconds, lambda: re.search(moment, guest.log()), 0.05)
    say(f"moment: {moment}")


@fault
def network_comes_late(world, binary):
    """The network comes 40 seconds after the boot."""
    world.booted = lambda guest: guest.cable(False)
    deployment, up, guest = begin(world, binary)
    time.sleep(40)
    check("stage boot" not in guest.log(), "nothing is reported without a network")
    guest.cable(True)
    online(deployment, up, guest)
    removed(deployment)


@fault
def network_comes_very_late(world, binary):
    """The network comes after the first run has given up."""
    world.booted = lambda guest: guest.cable(False)
    deployment, up, guest = begin(world, binary)
    until("end of the first run", 400, lambda: "the report could not be written" in guest.log(), 1)
    guest.cable(True)
    online(deployment, up, guest)
    removed(deployment)


@fault
def mirror_dies_midway(world, binary):
    """The download of Docker's packages breaks off, and the mirror is gone for a while."""
    cut = world.front.rule(DOCKER, r"docker-ce_", "cut", 9_000_000, times=1)
    world.front.rule(DOCKER, r".", "drop", skip=4, times=12)
    deployment, up, guest = begin(world, binary)
    online(deployment, up, guest)
    check(cut.seen, "the download was cut")
    removed(deployment)


@fault
def mirror_is_dead(world, binary):
    """Docker's packages cannot be had, until somebody mends the mirror."""
    world.front.rule(DOCKER, r".", "status", 503)
    deployment, up, guest = begin(world, binary)
    told(deployment, up, "docker", "503")
    world.front.heal()
    recovered(deployment, guest)
    removed(deployment)


@fault
def registry_is_down(world, binary):
    """The registry answers 503 to the first calls."""
    world.front.rule(r".*\.docker\.io", r".", "status", 503, times=6)
    deployment, up, guest = begin(world, binary)
    online(deployment, up, guest)
    removed(deployment)


@fault
def layer_breaks_off(world, binary):
    """The download of the runner's image breaks off, twice."""
    world.front.rule(r".*\.docker\.io", r"/blobs/", "cut", 3_000_000, times=2)
    deployment, up, guest = begin(world, binary)
    online(deployment, up, guest)
    removed(deployment)


@fault
def wrong_login(world, binary):
    """The registry refuses the login."""
    world.cloud.client("ssm").put_parameter(
        Name="/bench/registry", Value='{"username": "bench", "password": "another"}', Type="SecureString", Overwrite=True
    )
    deployment, up, _ = begin(world, binary)
    ended = told(deployment, up, "registered", "401 Unauthorized", "does not take the login")
    check("another" not in ended.stderr + ended.stdout, "the password is not told")
    removed(deployment)


@fault
def wrong_token(world, binary):
    """The platform refuses the registration token with 403; another token is taken."""
    deployment, up, guest = begin(world, binary, "token-that-nobody-knows")
    ended = told(deployment, up, "registration token", "403", "registered")
    check("token-that-nobody-knows" not in ended.stderr + ended.stdout + guest.log(), "the token is not told")
    time.sleep(8)
    calls = world.platform.counts().get("POST /api/v4/runners 403")
    check(calls == 1, f"the platform is not asked about the same token again: {calls}")
    deployment.token.write_text(world.platform.registration_token())
    # The report of the failure is still there when this run begins; the host is told to try again.
    online(deployment, deployment.start_up(), guest)
    recovered(deployment, guest)
    removed(deployment)


@fault
def registration_is_off(world, binary):
    """The platform takes no registration tokens any more: 410."""
    world.platform.call("PATCH", "state", {"legacy": False})
    deployment, up, _ = begin(world, binary)
    told(deployment, up, "410", "glrt-")
    removed(deployment)


@fault
def new_token(world, binary):
    """A token of the new kind: registered, rebooted, and only its manager is removed."""
    runner = world.platform.call("POST", "runners", {"description": NAME, "tag_list": [NAME]})
    deployment, up, guest = begin(world, binary, runner["token"])
    online(deployment, up, guest)
    deployment.check_job()
    guest.reboot()
    until("report after the reboot", 120, lambda: deployment.report().get("stage") == "boot")
    recovered(deployment, guest)
    check(len(world.platform.runners()[0]["managers"]) == 1, f"one manager: {world.platform.runners()}")
    ended = removed(deployment, 1)
    check("manager" in ended.stdout, f"down says that the manager is gone: {ended}")
    check(not world.platform.runners()[0]["managers"], "the manager is removed")


@fault
def new_token_wrong(world, binary):
    """A token of the new kind that the platform does not know: nothing is begun."""
    deployment = Deployment(world, binary, "-".join(["glrt", "nobody-knows-this-one"]))
    ended = deployment.end(deployment.start_up(), 60)
    check(ended.code == 3 and "403" in ended.stderr, f"up is refused: {ended}")
    check(not deployment.left(), f"nothing is left: {deployment.left()}")


@fault
def new_token_revoked_meanwhile(world, binary):
    """A token of the new kind that is good when `up` asks, and not any more when the host does."""
    runner = world.platform.call("POST", "runners", {"description": NAME, "tag_list": [NAME]})
    world.booted = lambda _guest: world.platform.call("POST", "revoke", {"token": runner["token"]})
    deployment, up, _ = begin(world, binary, runner["token"])
    told(deployment, up, "refuses the token", "403")
    removed(deployment)


@fault
def revoked_token(world, binary):
    """Somebody deletes the runner on the platform; after a reboot the host says so, and does not register anew."""
    deployment, up, guest = begin(world, binary)
    online(deployment, up, guest)
    world.platform.call("POST", "revoke", {"token": world.platform.runners()[0]["token"]})
    guest.reboot()
    until("report of the failure", 200, lambda: deployment.report().get("stage") == "failed", 0.5)
    report = deployment.report()
    check("does not know this runner" in report["detail"], f"the report names the cause: {report}")
    check(not world.platform.runners(), "no second registration")
    removed(deployment)


@fault
def answer_is_lost(world, binary):
    """The platform registers the runner, but its answer is lost: it is told that there may be two."""
    world.platform.fault("POST /api/v4/runners", drop=True, times=1)
    deployment, up, guest = begin(world, binary)
    told(deployment, up, "registered", "did not register")
    until("report that the host is online", 300, lambda: deployment.report().get("stage") == "online", 0.5)
    report = deployment.report()
    check("may list 1 more" in report["detail"], f"the doubt is told: {report}")
    check(len(world.platform.runners()) == 2, "two, of which one was never online")
    removed(deployment, 1)


@fault
def platform_is_down(world, binary):
    """The platform answers 503 for a minute."""
    world.platform.fault(".*", status=503, times=6)
    deployment, up, guest = begin(world, binary)
    deployment.watch(up, 600)
    until("report that the host is online", 300, lambda: deployment.report().get("stage") == "online", 0.5)
    say(f"registrations: {len(world.platform.runners())}, the host says {deployment.report()}")
    check(len(world.platform.runners()) == 1, "one registration")
    removed(deployment)


def full(moment, stage):
    """Makes the case of a disk that is full from a moment on."""

    def case(world, binary):
        world.mebibytes = 4000
        deployment, up, guest = begin(world, binary)
        at(guest, moment)
        guest.disk.fill()
        told(deployment, up, stage, "disk.*full")
        guest.disk.free()
        recovered(deployment, guest)
        removed(deployment)

    case.__doc__ = f"The disk is full from `{moment}` on: told, and mended by itself when there is room."
    return case


FAULTS["disk-full-docker"] = full("stage boot", "docker")
FAULTS["disk-full-registered"] = full("stage docker", "registered")
FAULTS["disk-full-online"] = full("stage registered", "online")


@fault
def docker_is_spoilt(world, binary):
    """Somebody writes nonsense into daemon.json; the next boot mends it."""
    deployment, up, guest = begin(world, binary)
    online(deployment, up, guest)
    guest.sh("echo '{nonsense' >/etc/docker/daemon.json")
    guest.reboot()
    until("report after the reboot", 120, lambda: deployment.report().get("stage") == "boot")
    recovered(deployment, guest)
    removed(deployment)


@fault
def docker_does_not_start(world, binary):
    """Docker does not start in the first run: the report has its last words."""
    deployment, up, guest = begin(world, binary)
    at(guest, "Unpacking docker-ce ")
    guest.sh("mkdir -p /etc/systemd/system/docker.service.d && "
             "printf '[Service]\\nExecStart=\\nExecStart=/bin/sh -c \"echo the engine is ill; exit 1\"\\n' "
             ">/etc/systemd/system/docker.service.d/ill.conf")
    told(deployment, up, "docker", "Docker does not answer", "the engine is ill")
    guest.sh("rm -r /etc/systemd/system/docker.service.d && systemctl daemon-reload")
    recovered(deployment, guest)
    removed(deployment)


@fault
def config_is_spoilt(world, binary):
    """Somebody breaks config.toml; the next boot takes the last good one."""
    deployment, up, guest = begin(world, binary)
    online(deployment, up, guest)
    before = guest.read(CONFIG)
    guest.sh(f"echo 'concurrent = = 9' >>{CONFIG}")
    guest.reboot()
    until("report after the reboot", 120, lambda: deployment.report().get("stage") == "boot")
    recovered(deployment, guest)
    check(guest.read(CONFIG) == before, "config.toml is the one from before")
    check("= = 9" in guest.read(CONFIG + ".spoilt"), "the spoilt one is kept")
    check(world.platform.counts()["POST /api/v4/runners 201"] == 1, "registered once")
    removed(deployment)


@fault
def config_is_changed(world, binary):
    """Somebody changes a setting in config.toml; the next boot lets it be."""
    deployment, up, guest = begin(world, binary)
    online(deployment, up, guest)
    guest.sh(f"sed -i 's/^check_interval = 1/check_interval = 7/' {CONFIG}")
    guest.reboot()
    until("report after the reboot", 120, lambda: deployment.report().get("stage") == "boot")
    recovered(deployment, guest)
    check("check_interval = 7" in guest.read(CONFIG), "the change is there")
    removed(deployment)


@fault
def container_is_removed(world, binary):
    """Somebody removes the runner's container; the next boot makes it anew, without a second registration."""
    deployment, up, guest = begin(world, binary)
    online(deployment, up, guest)
    guest.run("docker", "rm", "-f", NAME)
    guest.reboot()
    until("report after the reboot", 120, lambda: deployment.report().get("stage") == "boot")
    recovered(deployment, guest)
    check(world.platform.counts()["POST /api/v4/runners 201"] == 1, "registered once")
    removed(deployment)


@fault
def container_is_stopped(world, binary):
    """Somebody stopped the runner for good; a boot does not start it."""
    deployment, up, guest = begin(world, binary)
    online(deployment, up, guest)
    guest.sh(f"docker update --restart=no {NAME} && docker stop {NAME}")
    guest.reboot()
    until("report after the reboot", 120, lambda: deployment.report().get("stage") == "stopped")
    check(guest.run("docker", "inspect", "-f", "{{.State.Running}}", NAME).strip() == "false", "it is stopped")
    removed(deployment)


def killed(moment):
    """Makes the case of a host that loses its power at a moment of the first run."""

    def case(world, binary):
        deployment, up, guest = begin(world, binary)
        at(guest, moment)
        guest.cut_off()
        online(deployment, up, guest)
        check(world.platform.counts()["POST /api/v4/runners 201"] == 1, "registered once")
        removed(deployment)

    case.__doc__ = f"The power goes at `{moment}`; the next boot goes on."
    return case


for name, moment in {
    "boot": "stage boot",
    "packages": "Unpacking docker-ce ",
    "configuring": "Setting up containerd",
    "docker": "stage docker",
    "pull": "Login Succeeded",
    "registered": "stage registered",
    "online": "stage online",
}.items():
    FAULTS[f"killed-at-{name}"] = killed(moment)


@fault
def killed_while_registering(world, binary):
    """The power goes after the platform was asked to register, and before its answer: it is told that there may be two."""
    world.platform.fault("POST /api/v4/runners", delay=3, times=1)
    deployment, up, guest = begin(world, binary)
    until("mark of the registration", 300, lambda: guest.read(f"{STATE}/registering"), 0.05)
    until("call", 60, lambda: world.front.called(r"platform.*", r"^/api/v4/runners$"), 0.05)
    guest.cut_off()
    ended = online_twice(deployment, up, world)
    check("may list 1 more" in ended.stdout + ended.stderr, f"the doubt is told: {ended}")
    removed(deployment, 1)


@fault
def reboot_while_registering(world, binary):
    """A reboot while the platform is asked to register: the host is online after it, and says what may be left."""
    world.platform.fault("POST /api/v4/runners", delay=3, times=1)
    deployment, up, guest = begin(world, binary)
    until("call", 300, lambda: world.front.called(r"platform.*", r"^/api/v4/runners$"), 0.05)
    guest.reboot()
    deployment.watch(up, 600)
    until("report that the host is online", 300, lambda: deployment.report().get("stage") == "online", 0.5)
    runners = world.platform.runners()
    say(f"registrations: {len(runners)}; the host says {deployment.report().get('detail')!r}")
    check(len(runners) == 1 or "may list 1 more" in deployment.report()["detail"], "what is left is told")
    removed(deployment, len(runners) - 1)


def online_twice(deployment, up, world):
    """`up` ends well, with a runner that is online and one that never was."""
    ended = deployment.watch(up, 600)
    check(ended.code == 0, f"up: {ended}")
    check(len(world.platform.runners()) == 2, f"runners: {world.platform.runners()}")
    return ended


@fault
def clock_is_ahead(world, binary):
    """The clock is an hour ahead, so AWS refuses what the host signs; it lets the service that keeps the time set it."""
    world.clock = "+3600"

    def kept(root):
        """Plays the service: it sets the clock when it is started."""
        (root / "etc/systemd/system/chrony.service").write_text(
            f"[Service]\nType=oneshot\nExecStart=/bin/rm -f /{clock.WRONG}\n"
        )

    deployment, up, guest = begin(world, binary, prepare=kept)
    until("word of the clock", 200, lambda: "the clock of this host is wrong" in guest.log())
    online(deployment, up, guest)
    check("Signature not yet current" in guest.log(), "AWS has refused it")
    check(not guest.read(clock.WRONG), "the clock is right now")
    removed(deployment)


@fault
def clock_is_behind(world, binary):
    """The clock is an hour behind and nothing keeps it: the console and `up` say so, `doctor` names it, and what it advises mends it."""
    world.clock = "-3600"

    def kept(root):
        """Plays the service, which is not switched on."""
        (root / "etc/systemd/system/chrony.service").write_text("[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n")
        program = root / "usr/bin/chronyc"
        program.write_text(f"#!/bin/sh\n[ \"$1\" = makestep ] && rm -f /{clock.WRONG}\n")
        program.chmod(0o755)

    deployment, up, guest = begin(world, binary, options=["--wait-minutes", "2"], prepare=kept)
    ended = told(deployment, up, "clock of this host is wrong")
    check("Signature expired" in guest.log(), f"AWS has refused it: {ended}")
    found = deployment.run("doctor", "--output", "json", "--timeout", "30")
    row = next(row for row in found.json["checks"] if row["code"] == "HOST-CLOCK")
    say(f"doctor: {row['status']} {row['evidence']}; {row['remedy']}")
    check(found.code == 4 and row["status"] == "failed" and re.search(r"3[56]\d\d s behind", row["evidence"]), f"doctor: {found}")
    guest.sh("systemctl enable --now chrony; chronyc makestep")
    online(deployment, deployment.start_up(), guest)
    found = deployment.run("doctor", "--output", "json", "--check", "HOST-CLOCK")
    check(found.code == 0, f"doctor, once it is mended: {found}")
    removed(deployment)
