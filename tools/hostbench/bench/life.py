"""The life of a host: up, online, clean, rebooted, still clean, up again without a change, down, nothing left."""

import time

from .deployment import CONFIG, NAME, Deployment, check
from .shell import say, until


class Phases:
    """Times each phase."""

    def __init__(self):
        self.took = []

    def __call__(self, name, action):
        say(f"== {name}")
        began = time.monotonic()
        result = action()
        self.took.append((name, time.monotonic() - began))
        return result

    def table(self):
        """Returns a line for each phase."""
        return "\n".join(f"{seconds:8.1f} s  {name}" for name, seconds in self.took)


def doctor(deployment):
    """Runs `doctor`, where the program has it; it must find nothing."""
    if not deployment.knows("doctor"):
        say("skipped: the program has no `doctor`")
        return
    ended = deployment.run("doctor", "--output", "json")
    found = [check for check in ended.json.get("checks", []) if check["status"] not in ("ok", "skipped")]
    for one in found:
        say(f"{one['code']} {one['status']}: {one['evidence']}")
    check(ended.code == 0, f"doctor ends with {ended.code} and {len(found)} findings: {ended.stderr}")


def alarms(deployment):
    """Runs `alarms test`: the agent's metrics come from the guest, those of EC2 from here."""
    deployment.publish_as_ec2()
    ended = deployment.run("alarms", "test", "--yes", "--wait", "3", "--output", "json")
    for one in ended.json.get("alarms", []):
        if one["status"] != "ok":
            say(f"{one['address']} {one['status']}: {'; '.join(one['evidence'])}")
    check(ended.code == 0, f"alarms test: {ended}")
    told = [one for one in ended.json["alarms"] if one["drive"]["fired"] and one["drive"]["notified"]]
    check(len(told) == len(ended.json["alarms"]) > 8, "each alarm fired and told its topic")


def life(world, binary):
    """The case; raises at the first thing that is not as it must be."""
    phase = Phases()
    deployment = Deployment(world, binary, options=["--notify", "https://hooks.example.com/alarms"])
    up = phase("up: the host is launched", deployment.start_up)
    guest = phase("the guest is switched on", lambda: deployment.host(up))
    ended = phase("up: until the runner is online", lambda: deployment.watch(up))
    check(ended.code == 0, f"up: {ended}\n{guest.log()[-3000:]}")
    phase("the host is as it must be", lambda: deployment.check_host(guest))
    phase("cloud-init is done", lambda: until("end of cloud-init", 60, lambda: guest.cloud_init() == "done", 0.5))
    phase("a job runs", deployment.check_job)
    phase("metrics arrive", lambda: deployment.check_metrics(guest))
    phase("doctor", lambda: doctor(deployment))
    phase("alarms fire and are put back", lambda: alarms(deployment))

    before = guest.read(CONFIG), deployment.report()
    phase("reboot", lambda: (guest.reboot(), guest.running()))
    phase("the runner asks for jobs again", lambda: until_polls(world))
    phase("the host says again that it is online", lambda: until_said(deployment, before[1]))
    phase("the host is still as it must be", lambda: deployment.check_host(guest))
    check(guest.read(CONFIG) == before[0], "config.toml is the one from before the reboot")
    phase("doctor", lambda: doctor(deployment))

    again = phase("up again", lambda: deployment.end(deployment.start_up(), 120))
    check(again.code == 0 and not again.json["steps"], f"a second up changes nothing: {again}")

    ended = phase("down", lambda: deployment.run("down", "--yes", "--output", "json"))
    check(ended.code == 0, f"down: {ended}")
    phase("the guest is switched off", lambda: until("end of the guest", 60, lambda: not guest.runs))
    left = deployment.left()
    check(not left, f"left behind: {left}")
    counts = world.platform.counts()
    check(counts.get("POST /api/v4/runners 201") == 1, f"registered once: {counts}")
    check(counts.get("DELETE /api/v4/runners 204") == 1, f"unregistered once: {counts}")
    say(f"done: {NAME} lived\n{phase.table()}")


def until_polls(world):
    """Waits until the platform is asked for jobs."""
    asked = world.platform.requests()
    until("question for jobs", 60, lambda: world.platform.requests() > asked)


def until_said(deployment, before):
    """Waits for a new report."""
    until("new report", 90, lambda: (now := deployment.report()) != before and now.get("stage") == "online", 0.5)
