"""The program, used as a person would: `up`, `doctor`, `down`; and what must be true of the host between them."""

import json
import subprocess
import tomllib

from .shell import Failed, say, until

NAME = "runner-one"
CONFIG = f"/srv/dataops-runner-{NAME}/config/config.toml"
# Nothing is simulated when the size is given.
SIZE = ["--workload", "production", "--instance-type", "c5.large", "--concurrency", "4", "--disk-gib", "300"]


def check(true, what):
    """Fails where something is not so."""
    if not true:
        raise Failed(what)


class Ended:
    """How a run of the program ended."""

    def __init__(self, code, stdout, stderr):
        self.code, self.stdout, self.stderr = code, stdout, stderr

    @property
    def json(self):
        """Returns what it printed."""
        return json.loads(self.stdout)

    def __str__(self):
        said = self.stdout if len(self.stdout) < 2000 else self.stdout[-1500:]
        return f"exit {self.code}\n{said}\n{self.stderr[-2500:]}"


class Deployment:
    """One deployment with one host."""

    def __init__(self, world, binary, token=None, options=()):
        self.world, self.binary = world, binary
        self.token = world.folder / "token"
        self.token.write_text(token or world.platform.registration_token())
        self.options = list(options)

    def start(self, *words):
        """Starts the program."""
        return self.world.program(self.binary, *words, "--name", NAME, "--region", self.world.cloud.region)

    def end(self, process, seconds):
        """Waits for its end."""
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise Failed(f"the program did not end in {seconds} s\n{out}\n{err}") from None
        return Ended(process.returncode, out, err)

    def run(self, *words, seconds=300):
        """Runs the program to its end."""
        return self.end(self.start(*words), seconds)

    def start_up(self, *more):
        """Starts `up`."""
        trust = self.world.authority.certificate
        login = ["--registry-parameter", "/bench/registry", "--ca-file", trust, "--platform-url", self.world.platform_url]
        words = ["up", "ec2", *SIZE, "--token-file", self.token, *login, "--output", "json", "--yes"]
        return self.start(*words, *self.options, *more)

    def host(self, up, seconds=60):
        """Waits for the host that a run of `up` launches, and returns its guest."""

        def look():
            if up.poll() is not None:
                raise Failed(f"up launched nothing: {self.end(up, 10)}")
            if self.world.hosts.trouble:
                raise Failed(f"a host could not be made: {self.world.hosts.trouble}")
            return [guest for guest in self.world.hosts.guests.values() if guest.runs or guest.held]

        return until("host", seconds, look)[-1]

    def report(self):
        """Returns the host's report."""
        return json.loads(self.world.cloud.parameter(f"/dataops-infra/{NAME}/host") or "{}")

    def watch(self, process, seconds=400):
        """Waits until `up` ends, and says each stage the host reports meanwhile."""
        last = None

        def look():
            nonlocal last
            report = self.report()
            if report and report.get("at") != last:
                last = report.get("at")
                say(f"the host says: {report['stage']} {report.get('detail', '')[-600:]}")
            return process.poll() is not None

        until("end of `up`", seconds, look, 0.5)
        return self.end(process, 10)

    def check_host(self, guest):
        """What is true of every host that is online."""
        platform = self.world.platform
        runners = platform.runners()
        check(len(runners) == 1, f"one registration, not {len(runners)}")
        check(runners[0]["status"] == "online", f"the runner is {runners[0]['status']}")
        asked = platform.requests()
        until("question for jobs", 20, lambda: platform.requests() > asked)
        config = tomllib.loads(guest.read(CONFIG))
        check(len(config["runners"]) == 1, "one section of runners in config.toml")
        check((config["concurrent"], config["runners"][0]["limit"]) == (4, 4), f"concurrency of 4: {config}")
        check(config["runners"][0]["docker"]["pull_policy"] == ["always", "if-not-present"], f"pull policies: {config}")
        states = "{{.State.Running}} {{.HostConfig.RestartPolicy.Name}}"
        container = guest.run("docker", "inspect", "-f", states, NAME).strip()
        check(container == "true always", f"the container: {container}")
        check(guest.read("/var/lib/dataops-infra/bootstrapped"), "the marker of success")
        modes = guest.run("stat", "-c", "%a", "/secrets", "/secrets/vault.yml", "/secrets/vault.salt", CONFIG).split()
        check(modes == ["700", "600", "600", "600"], f"modes of secrets: {modes}")
        listening = guest.sh("ss -Hltn 2>/dev/null || true")
        check("127.0.0.1:9252" in listening and "0.0.0.0:9252" not in listening, f"metrics on loopback only: {listening}")

    def check_job(self, seconds=60):
        """A job runs."""
        platform = self.world.platform
        job = platform.job(script=["echo the job ran"], tags=[NAME], image="dataopslive/dataops-utils-runner:latest")
        ended = until(
            "end of a job",
            seconds,
            lambda: (seen := platform.call("GET", f"jobs/{job}"))["status"] not in ("pending", "running") and seen,
        )
        check(ended["status"] == "success", f"the job: {ended}")

    def check_metrics(self, guest):
        """Each alarm on the agent's metrics has a metric of exactly its dimensions."""
        watch = self.world.cloud.client("cloudwatch")
        alarms = watch.describe_alarms()["MetricAlarms"]
        wanted = [alarm for alarm in alarms if alarm.get("Namespace") == "CWAgent"]
        check(wanted, "alarms on the agent's metrics")

        def key(name, dimensions):
            return name, tuple(sorted((d["Name"], d["Value"]) for d in dimensions))

        def missing():
            found = watch.list_metrics(Namespace="CWAgent")["Metrics"]
            there = {key(metric["MetricName"], metric["Dimensions"]) for metric in found}
            return [a["AlarmName"] for a in wanted if key(a["MetricName"], a["Dimensions"]) not in there]

        try:
            until("metric of each alarm", 30, lambda: not missing())
        except Failed:
            agent = guest.run("journalctl", "-u", "amazon-cloudwatch-agent", "-n", "10", "--no-pager")
            raise Failed(f"no metric for {missing()}; the agent says: {agent}") from None

    def publish_as_ec2(self):
        """Publishes what EC2 itself measures of every instance, for the alarms on it."""
        watch = self.world.cloud.client("cloudwatch")
        for alarm in watch.describe_alarms()["MetricAlarms"]:
            if alarm.get("Namespace") == "AWS/EC2":
                value = {"MetricName": alarm["MetricName"], "Dimensions": alarm["Dimensions"], "Value": 0.0}
                watch.put_metric_data(Namespace="AWS/EC2", MetricData=[value])

    def left(self):
        """Returns what is in the account and on the platform that `down` must not leave."""
        cloud = self.world.cloud
        pages = {
            "instances": [i["InstanceId"] for i in cloud.instances() if i["State"]["Name"] != "terminated"],
            "volumes": [v["VolumeId"] for v in cloud.client("ec2").describe_volumes()["Volumes"]],
            "groups": [g["GroupName"] for g in cloud.client("ec2").describe_security_groups()["SecurityGroups"]],
            "roles": [r["RoleName"] for r in cloud.client("iam").list_roles()["Roles"]],
            "profiles": [p["InstanceProfileName"] for p in cloud.client("iam").list_instance_profiles()["InstanceProfiles"]],
            "parameters": [p["Name"] for p in cloud.client("ssm").describe_parameters()["Parameters"]],
            "alarms": [a["AlarmName"] for a in cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]],
            "dashboards": [d["DashboardName"] for d in cloud.client("cloudwatch").list_dashboards()["DashboardEntries"]],
            "topics": [t["TopicArn"] for t in cloud.client("sns").list_topics()["Topics"]],
            "log groups": [g["logGroupName"] for g in cloud.client("logs").describe_log_groups()["logGroups"]],
            "runners": [r["id"] for r in self.world.platform.runners()],
        }
        pages["groups"] = [name for name in pages["groups"] if name != "default"]
        pages["parameters"] = [name for name in pages["parameters"] if name.startswith("/dataops-infra/")]
        return {kind: names for kind, names in pages.items() if names}

    def knows(self, command):
        """Whether the program has a command."""
        return self.world.program(self.binary, command, "--help").wait(20) == 0
