"""What `doctor` says of a host that is made ill in one way at a time, and whether what it advises mends it."""

import json
import shutil
import time

from .deployment import CONFIG, NAME, Deployment, check
from .faults import fault
from .shell import say, until

BOOTSTRAP = "/usr/local/lib/dataops-infra/bootstrap"
# About alarms and metrics: a host of minutes has none yet.
SECONDS = 20


class Patient:
    """A host that is well."""

    def __init__(self, world, binary):
        self.world = world
        self.deployment = Deployment(world, binary)
        up = self.deployment.start_up()
        self.guest = self.deployment.host(up)
        ended = self.deployment.watch(up)
        check(ended.code == 0, f"up: {ended}\n{self.guest.log()[-3000:]}")
        self.well("after up")

    def doctor(self, *more):
        """Runs `doctor`; returns its exit code and its checks by code."""
        began = time.monotonic()
        ended = self.deployment.run("doctor", "--output", "json", "--timeout", str(SECONDS), *more)
        took = time.monotonic() - began
        check(took < 2 * SECONDS + 15, f"bounded time: {took:.0f} s")
        checks = {}
        for row in ended.json["checks"]:
            check(row["code"] not in checks, f"{row['code']} is there twice")
            checks[row["code"]] = row
        return ended.code, checks, ended

    def well(self, when):
        """Nothing is found."""
        code, _, ended = self.doctor()
        found = [f"{row['code']} {row['status']}: {row['evidence']}" for row in ended.json["checks"] if row["status"] not in ("ok", "skipped")]
        check(code == 0 and not found, f"{when}: exit {code}, {found}")

    def ill(self, what, wanted, mend=None, only=True):
        """These are found, with a word of evidence each; nothing else is, where `only` says so. Then it is mended."""
        code, checks, _ = self.doctor()
        for name, (status, word) in wanted.items():
            row = checks[name]
            check(row["status"] == status and word in row["evidence"], f"{what}: {name} {status} {word!r}, not {row}")
            check(status not in ("failed", "warning") or row["remedy"]["text"], f"{what}: a remedy for {row}")
        found = [f"{c} {r['evidence']}" for c, r in checks.items() if r["status"] in ("failed", "warning") and c not in wanted]
        check(not only or not found, f"{what}: also {found}")
        check(code == 4, f"{what}: exit {code}")
        say(f"doctor on {what}: " + "; ".join(f"{name}: {checks[name]['evidence'][:150]}" for name in wanted))
        if mend == "fix":
            code, checks, ended = self.doctor("--fix", "--yes")
            check(code == 0, f"{what}: --fix: {ended.json.get('fixes')}, {[r for r in checks.values() if r['status'] == 'failed']}")
        elif mend:
            self.guest.sh(mend, timeout=240)
            until(f"recovery of {what}", 200, lambda: self.doctor()[0] == 0, 2)


@fault
def doctor_names_the_cause(world, binary):
    """A host made ill in one way at a time; `doctor` names it, and what it advises mends it."""
    patient = Patient(world, binary)
    guest = patient.guest

    guest.sh(f"docker stop -t 5 {NAME}")
    patient.ill("a container that is stopped", {"RUNNER-CONTAINER": ("failed", "exited"), "RUNNER-POLLING": ("failed", "does not run")}, "fix")

    guest.sh(f"docker update --restart no {NAME}")
    patient.ill("a restart policy that is gone", {"RUNNER-RESTART-POLICY": ("warning", "`no`")}, "fix")

    guest.sh(f"docker rm -f {NAME}")
    patient.ill(
        "a container that is gone",
        {"RUNNER-CONTAINER": ("failed", "no container"), "RUNNER-POLLING": ("failed", "does not run")},
        f"{BOOTSTRAP} >/dev/null 2>&1",
    )

    guest.sh(f"sed -i 's/^concurrent = .*/concurrent = 40/' {CONFIG}")
    patient.ill(
        "an edited config.toml",
        {"RUNNER-PLAN": ("warning", "concurrent is 40, not 4")},
        f"rm /var/lib/dataops-infra/settings; {BOOTSTRAP} >/dev/null 2>&1",
    )

    guest.sh(f"chmod 644 {CONFIG}")
    patient.ill("an open config.toml", {"RUNNER-CONFIG": ("warning", "mode 644")}, "fix")

    guest.sh(f"cp -p {CONFIG} /var/tmp/kept; sed -i 's/^\\[\\[runners\\]\\]/[[runners]/' {CONFIG}")
    patient.ill("a broken config.toml", {"RUNNER-CONFIG": ("failed", "no valid TOML")}, f"cp -p /var/tmp/kept {CONFIG}", only=False)

    guest.sh("systemctl stop dataops-infra-disk-guard.timer; systemctl disable dataops-infra-disk-guard.timer 2>&1")
    patient.ill("a disk guard that is off", {"HOST-DISK-GUARD": ("failed", "inactive and disabled")}, "fix")

    guest.sh("systemctl stop amazon-cloudwatch-agent")
    patient.ill("a CloudWatch agent that is off", {"HOST-METRICS-AGENT": ("failed", "inactive")}, "fix")

    guest.sh("mv /var/lib/dataops-infra/bootstrapped /var/tmp/marker")
    patient.ill("a bootstrap that did not end", {"HOST-BOOTSTRAP": ("failed", "no marker")}, "mv /var/tmp/marker /var/lib/dataops-infra/bootstrapped")

    world.front.rule(r".*\.docker\.io", r".", "drop")
    code, checks, _ = patient.doctor("--check", "HOST-EGRESS")
    check(code == 4 and "registry-1.docker.io" in checks["HOST-EGRESS"]["evidence"], f"a registry out of reach: {checks}")
    world.front.heal()

    guest.sh("kill -STOP $(pidof dockerd)")
    patient.ill("a Docker daemon that hangs", {"HOST-DOCKER": ("failed", "did not answer within")}, "kill -CONT $(pidof dockerd)", only=False)

    guest.sh("systemctl stop docker.socket docker")
    patient.ill("a Docker daemon that is stopped", {"HOST-DOCKER": ("failed", "does not answer")}, "fix", only=False)

    guest.cable(False)
    patient.ill("a host without a network", {"HOST-EGRESS": ("failed", "platform")}, only=False)
    guest.cable(True)
    until("recovery of the network", 200, lambda: patient.doctor()[0] == 0, 3)

    world.platform.call("POST", "revoke", {"token": world.platform.runners()[0]["token"]})
    time.sleep(5)
    patient.ill("a token that was revoked", {"RUNNER-VERIFY": ("failed", ""), "RUNNER-POLLING": ("failed", "")})

    ended = patient.deployment.run("down", "--yes", "--output", "json")
    check(ended.code == 0, f"down: {ended}")


@fault
def doctor_on_the_host(world, binary):
    """The same checks on the host itself, without AWS; a runner that is stopped is started from there."""
    patient = Patient(world, binary)
    guest = patient.guest
    shutil.copy(binary, guest.root / "usr/local/bin/dataops-infra")

    def look(*more):
        said = guest.run("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/bin", "HOME=/var/tmp", "dataops-infra",
                         "doctor", "--on-host", "--output", "json", *more, timeout=120)
        document = json.loads(said)
        return document["summary"]["verdict"], {row["code"]: row for row in document["checks"]}

    verdict, checks = look()
    bad = [row for row in checks.values() if row["status"] not in ("ok", "skipped")]
    check(verdict == "clean" and len(checks) > 20, f"a host that is well: {verdict} {bad}")
    guest.sh(f"docker stop -t 5 {NAME}")
    verdict, checks = look()
    check(verdict == "findings" and checks["RUNNER-CONTAINER"]["status"] == "failed", f"a stopped runner: {checks}")
    check("docker start" in checks["RUNNER-CONTAINER"]["remedy"]["command"], f"its remedy: {checks['RUNNER-CONTAINER']}")
    verdict, checks = look("--fix", "--yes")
    check(verdict == "clean", f"mended: {[row for row in checks.values() if row['status'] not in ('ok', 'skipped')]}")


@fault
def doctor_on_a_full_disk(world, binary):
    """The disk is full while the runner is online: `doctor` names it, and is content when there is room."""
    world.mebibytes = 4000
    patient = Patient(world, binary)
    guest = patient.guest
    guest.sh("systemctl stop dataops-infra-disk-guard.timer")
    guest.disk.fill()
    patient.ill("a full disk", {"HOST-DISK-SPACE": ("failed", "")}, only=False)
    guest.disk.free()
    guest.sh("systemctl start dataops-infra-disk-guard.timer")
    until("recovery of a full disk", 200, lambda: patient.doctor()[0] == 0, 2)
    ended = patient.deployment.run("down", "--yes", "--output", "json")
    check(ended.code == 0, f"down: {ended}")
