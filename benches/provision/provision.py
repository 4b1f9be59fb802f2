"""Runs `up` and its peers against one emulator, counts what each really made, and prints how they compare.

Started by benches/provision/run, which sets up what this needs; README.md says what is measured and what is equal.
"""

import argparse
import contextlib
import http.client
import itertools
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

import chain
import inventory
import spec
from figures import AGAIN, CREATE, DELETE, FLOOR, MANY, OURS, PREVIEW, PREVIEW_EMPTY, STEPS, printed, summarised
from latency import Proxies

TIMEOUT_S = 900
CLIENTS = 16
CHEAP_CALLS = 1600
PROBE_CALLS = 100
# Of the emulator's 64 vCPUs of quota a hundred hosts would be refused.
MANY_QUOTA = b'"Value": 2048.0'

# Exit codes of a step that did its work; ours tells of differences by 4.
DONE = {(OURS, PREVIEW_EMPTY): {0, 4}, (OURS, PREVIEW): {0, 4}}


class Contender:
    """A tool and its commands for each step.

    `notes` say what has to be known of its figures; `accepted` is what a step that did its work may say when it fails.
    """

    def __init__(self, name, commands, notes="", accepted=None):
        self.name, self.commands, self.notes, self.accepted = name, commands, notes, accepted

    def failed(self, step, result):
        return result["exit_code"] not in DONE.get((self.name, step), {0}) and not (
            self.accepted and self.accepted in result["said"]
        )


def our_options():
    """Returns the options of the one deployment."""
    return [
        *("--name", spec.NAME, "--region", spec.REGION, "--workload", "production"),
        *("--instance-type", spec.INSTANCE_TYPE, "--concurrency", "8", "--disk-gib", str(spec.DISK_GIB)),
        *("--token-parameter", spec.TOKEN),
    ]


def our_binary(asked):
    """Returns the program, and why there is none that can be measured otherwise."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    candidates = [Path(asked)] if asked else [target / kind / OURS for kind in ("release", "debug")]
    found = next((path.resolve() for path in candidates if path.is_file()), None)
    if found is None:
        return None, "there is no build of it; give --binary"
    command = [found, "up", "--help"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    if "--token-parameter" not in said.stdout:
        return None, "its `up` does not provision"
    return found, None


def contenders(work, binary):
    """Returns all contenders; files that they need are written into `work`."""
    python, bin_folder = sys.executable, Path(sys.executable).parent
    template = work / "template.json"
    template.write_text(json.dumps(spec.template(), indent=1))
    variables = work / "variables.json"
    variables.write_text(json.dumps(spec.ansible_variables()))
    script = [python, str(HERE / "peers" / "boto3_script.py")]
    playbook = [
        *(str(bin_folder / "ansible-playbook"), "-i", "localhost,", "-e", f"@{variables}"),
        str(HERE / "peers" / "playbook.yml"),
    ]
    aws = str(bin_folder / "aws")
    tags = [f"{key}={value}" for key, value in spec.TAGS.items()]
    deploy = [
        *(aws, "cloudformation", "deploy", "--template-file", str(template), "--stack-name", spec.NAME),
        *("--capabilities", "CAPABILITY_NAMED_IAM", "--no-fail-on-empty-changeset", "--tags", *tags),
    ]
    stack = ["--stack-name", spec.NAME]
    undeploy = [
        [aws, "cloudformation", "delete-stack", *stack],
        [aws, "cloudformation", "wait", "stack-delete-complete", *stack],
    ]
    every = [
        Contender(
            "boto3, in order",
            {CREATE: [[*script, "create"]], AGAIN: [[*script, "create"]], DELETE: [[*script, "delete"]]},
            "no preview; alarms are written again each time",
        ),
        Contender(
            FLOOR,
            {
                CREATE: [[*script, "create", "--threads"]],
                AGAIN: [[*script, "create", "--threads"]],
                DELETE: [[*script, "delete", "--threads"]],
            },
            "no preview; alarms are written again each time",
        ),
        Contender(
            "Ansible",
            {
                PREVIEW_EMPTY: [[*playbook, "--check"]],
                CREATE: [playbook],
                AGAIN: [playbook],
                PREVIEW: [[*playbook, "--check"]],
                DELETE: [[*playbook, "-e", "state=absent"]],
            },
            "no module for dashboards, no tags on alarms; an alarm on an expression is changed each time",
        ),
        Contender(
            "CloudFormation",
            {
                PREVIEW_EMPTY: [[*deploy, "--no-execute-changeset"]],
                CREATE: [deploy],
                AGAIN: [deploy],
                PREVIEW: [[*deploy, "--no-execute-changeset"]],
                DELETE: undeploy,
            },
            "the emulator makes no alarms, makes the rest within one call, where AWS takes minutes, and refuses to "
            "make an empty change set, where AWS makes one and the tool ends with 0",
            accepted="No updates are to be performed",
        ),
    ]
    if binary:
        ours = {
            PREVIEW_EMPTY: [[str(binary), "plan", "--live", *our_options()]],
            CREATE: [[str(binary), "up", "ec2", *our_options(), "--yes", "--no-wait"]],
            DELETE: [[str(binary), "down", "--name", spec.NAME, "--yes", "--no-drain"]],
        }
        ours[AGAIN], ours[PREVIEW] = ours[CREATE], ours[PREVIEW_EMPTY]
        every.insert(0, Contender(OURS, ours))
    return every


class Emulator:
    """The launcher of tools/bench, as a context; it ends with its standard input."""

    def __init__(self, log):
        self.log = log

    def __enter__(self):
        python = ROOT / ".venv" / "bin" / "python"
        self.process = subprocess.Popen(
            [python, ROOT / "tools" / "bench" / "launcher.py"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,
        )
        self.url = self.process.stdout.readline().decode().strip()
        if not self.url:
            raise SystemExit("error: the emulator did not start; its log is beside the results")
        return self

    def cpu_s(self):
        """Returns the processor seconds it has used, from Linux's table of processes."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def descendants(pid):
    """Returns the processes below a process, from Linux's table of them."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            child = int(stat.parent.name)
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(child)
    found, left = [], [pid]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def end(process):
    """Ends a process and all below it; Ansible's workers are no part of its group."""
    for pid in [*descendants(process.pid), process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


class Runner:
    """Runs commands of contenders in a clean environment, each with a group of processes of its own."""

    def __init__(self, work, output):
        self.work, self.output = work, output

    def environment(self, url):
        binaries = Path(sys.executable).parent
        return {
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "HOME": str(self.work),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": spec.REGION,
            "AWS_DEFAULT_REGION": spec.REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_PAGER": "",
            # What makes Ansible as fast as it gets here, and keeps what it writes in one place.
            "ANSIBLE_HOME": str(self.work / "ansible"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_LOCALHOST_WARNING": "0",
        }

    def run(self, label, commands, url):
        """Runs commands one after the other and returns seconds, processor seconds and exit code of the last."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        begin = time.monotonic()
        code = 0
        with (self.output / f"{label}.txt").open("wb") as file:
            for command in commands:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    cwd=self.work,
                    env=self.environment(url),
                    start_new_session=True,
                )
                try:
                    code = process.wait(TIMEOUT_S)
                except BaseException as error:
                    end(process)
                    if not isinstance(error, subprocess.TimeoutExpired):
                        raise
                    code = -signal.SIGKILL
                if code:
                    break
        wall = time.monotonic() - begin
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
        said = (self.output / f"{label}.txt").read_text(encoding="utf-8", errors="replace")
        return {"wall_s": wall, "cpu_s": cpu, "exit_code": code, "said": said}


def counted(calls, wall):
    """Returns what the log of a step tells."""
    path = chain.longest(calls)
    seconds = sum(call["seconds"] for call in path)
    return {
        "calls": len(calls),
        "connections": len({call["connection"] for call in calls}),
        "refused": sum(1 for call in calls if call["status"] >= 400 and not call["dry_run"]),
        "not_implemented": sorted(
            {
                f"{call['service']}:{call['operation']}"
                for call in calls
                if call["status"] in (500, 404) and not call["code"]
            }
        ),
        "writes": sum(1 for call in calls if chain.writes(call)),
        "in_sequence": chain.in_sequence(calls),
        "chain": [[call["kind"], round(call["seconds"], 4)] for call in path],
        "chain_calls": len(path),
        "chain_s": seconds,
        "wall_over_chain": wall / seconds if seconds else None,
    }


class Accounts:
    """Accounts of the emulator, each made ready and reached by two proxies: one for the tool, one for the checker."""

    def __init__(self, proxies, delay_s, output):
        self.proxies, self.delay_s, self.output = proxies, delay_s, output
        self.numbers = itertools.count(100000000001)

    @contextlib.contextmanager
    def new(self, label, rewrite=None):
        number = str(next(self.numbers))
        with (self.output / f"{label}.jsonl").open("w", encoding="utf-8") as log:
            slow = self.proxies.open(number, self.delay_s, log, rewrite)
            quick = self.proxies.open(number, 0)
            try:
                account = inventory.Account(quick.url)
                account.prepare()
                yield slow, account
            finally:
                self.proxies.close(slow)
                self.proxies.close(quick)


def slug(*words):
    return "-".join(word.lower().replace(",", "").replace(" ", "-") for word in words)


def measure(contender, repetition, accounts, runner):
    """Runs all steps of a contender once and returns what came of each."""

    def step(name, proxy):
        before = len(proxy.calls)
        label = slug(contender.name, name, str(repetition))
        result = runner.run(label, contender.commands[name], proxy.url)
        result |= counted(proxy.calls[before:], result["wall_s"])
        result["failed"] = contender.failed(name, result)
        del result["said"]
        print(f"  {contender.name:16} {name:15} {result['wall_s']:7.2f} s  {result['calls']:4} calls", file=sys.stderr)
        return result

    results = {}
    if PREVIEW_EMPTY in contender.commands:
        with accounts.new(slug(contender.name, "empty", str(repetition))) as (proxy, account):
            results[PREVIEW_EMPTY] = step(PREVIEW_EMPTY, proxy)
            results[PREVIEW_EMPTY]["account"] = account.checked()
    with accounts.new(slug(contender.name, str(repetition))) as (proxy, account):
        for name in STEPS[1:]:
            if name in contender.commands:
                results[name] = step(name, proxy)
                results[name]["account"] = account.checked()
    return results


class Keeping:
    """A client that keeps its connection where the server does."""

    def __init__(self, url):
        address = urlsplit(url)
        self.connection = http.client.HTTPConnection(address.hostname, address.port)

    def call(self, account="900000000001"):
        """Does GetCallerIdentity, which costs the emulator least, and returns the seconds."""
        scope = f"Credential=test/20260101/{spec.REGION}/sts/aws4_request"
        headers = {
            "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0",
            "Content-Type": "application/x-www-form-urlencoded",
            "x-moto-account-id": account,
        }
        begin = time.monotonic()
        self.connection.request("POST", "/", "Action=GetCallerIdentity&Version=2011-06-15", headers)
        answer = self.connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"error: the emulator answered {answer.status} to GetCallerIdentity")
        return time.monotonic() - begin


def probe(proxies, upstream, delay_s):
    """Returns milliseconds of a cheap call, what the proxy adds to it, and by how much the delay is late.

    With and without in turn, and the median of the differences, for the machine is not quiet.
    """
    account = "900000000001"
    quick, slow = proxies.open(account, 0), proxies.open(account, delay_s)
    direct, through, delayed = (Keeping(url) for url in (upstream, quick.url, slow.url))
    clients = (direct, through, delayed)
    for client in clients * 5:
        client.call()
    rows = [tuple(client.call() for client in clients) for _ in range(PROBE_CALLS)]
    for client in clients:
        client.connection.close()
    proxies.close(quick)
    proxies.close(slow)
    return {
        "direct_ms": 1000 * statistics.median(row[0] for row in rows),
        "proxy_adds_ms": 1000 * statistics.median(row[1] - row[0] for row in rows),
        "late_ms": 1000 * statistics.median(row[2] - row[1] - delay_s for row in rows),
    }


def cheap_call_s(upstream):
    """Returns the emulator's own seconds for each call, with CLIENTS clients at once and no delay."""

    def work():
        client = Keeping(upstream)
        for _ in range(CHEAP_CALLS // CLIENTS):
            client.call()

    threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return (time.monotonic() - begin) / CHEAP_CALLS


def higher_quota(service, operation, body):
    """Answers about the vCPU quota as if it had been raised."""
    if (service, operation) == ("servicequotas", "GetServiceQuota") and b"L-1216C47A" in body:
        return body.replace(b'"Value": 64.0', MANY_QUOTA)
    return body


def many(binary, repetitions, accounts, runner, emulator, work):
    """Makes MANY deployments from one file."""
    deployments = [
        {
            "name": f"{spec.NAME}-{number:03}",
            "region": spec.REGION,
            "workload": "production",
            "instance_type": spec.INSTANCE_TYPE,
            "concurrency": 8,
            "disk_gib": spec.DISK_GIB,
            "token": {"parameter": spec.TOKEN},
        }
        for number in range(1, MANY + 1)
    ]
    # JSON is YAML.
    path = work / "dataops-infra.yaml"
    path.write_text(json.dumps({"schema": "dataops-infra/deployments/v1", "deployments": deployments}, indent=1))
    commands = [[str(binary), "up", "--file", str(path), "--yes", "--no-wait"]]
    results = []
    for repetition in range(1, repetitions + 1):
        each = cheap_call_s(emulator.url)
        label = slug("many", str(repetition))
        with accounts.new(label, higher_quota) as (proxy, account):
            used = emulator.cpu_s()
            result = runner.run(label, commands, proxy.url)
            used = emulator.cpu_s() - used
            del result["said"]
            there = account.everything()
            result |= {
                "calls": len(proxy.calls),
                "connections": len({call["connection"] for call in proxy.calls}),
                "refused": sum(1 for call in proxy.calls if call["status"] >= 400 and not call["dry_run"]),
                "present": {kind: len(names) for kind, names in there.items() if names},
                "cheap_call_ms": 1000 * each,
                "cheap_calls_s": each * len(proxy.calls),
                "emulator_cpu_s": used,
            }
        results.append(result)
        print(f"  {MANY} deployments {result['wall_s']:7.2f} s  {result['calls']:5} calls", file=sys.stderr)
    return results


def options():
    parser = argparse.ArgumentParser(description="Compares `up` with its peers.")
    parser.add_argument("--binary", help="the program to measure (default: release or debug build of this tree)")
    parser.add_argument("--quick", action="store_true", help="one run of each instead of three")
    parser.add_argument("--delay-ms", type=float, default=50, help="added to each call (default: 50)")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this contender; may be repeated")
    parser.add_argument("--no-many", action="store_true", help=f"leave out the {MANY} deployments")
    parser.add_argument(
        "--output", metavar="FOLDER", help="for results and logs (default: provision in the target folder)"
    )
    return parser.parse_args()


def main():
    asked = options()
    # An end from outside ends the contenders too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    repetitions = 1 if asked.quick else 3
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    output = Path(asked.output or target / "provision").resolve()
    output.mkdir(parents=True, exist_ok=True)
    binary, why_not = our_binary(asked.binary)
    if why_not:
        print(f"{OURS}: not available ({why_not})", file=sys.stderr)
    load = os.getloadavg()[0]
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        emulator = stack.enter_context(Emulator(stack.enter_context((output / "emulator.txt").open("wb"))))
        proxies = stack.enter_context(Proxies(emulator.url))
        accounts = Accounts(proxies, asked.delay_ms / 1000, output)
        runner = Runner(work, output)
        chosen = [one for one in contenders(work, binary) if not asked.only or one.name in asked.only]
        if not chosen:
            raise SystemExit("error: nobody is left to measure")
        # What the emulator does once, in nobody's time.
        with accounts.new("warm-up"):
            pass
        document = {
            "machine": {"processors": os.cpu_count(), "load": load},
            "delay_ms": asked.delay_ms,
            "repetitions": repetitions,
            "probe": probe(proxies, emulator.url, asked.delay_ms / 1000),
            "notes": {one.name: one.notes for one in chosen}
            | ({OURS: f"not available ({why_not})"} if why_not else {}),
        }
        runs = {one.name: [] for one in chosen}
        # In turn, so that what slows the machine down meets all of them.
        for repetition in range(1, repetitions + 1):
            print(f"run {repetition} of {repetitions}", file=sys.stderr)
            for one in chosen:
                runs[one.name].append(measure(one, repetition, accounts, runner))
        document["reference"] = next(name for name in (OURS, FLOOR, chosen[0].name) if name in runs)
        document["rows"] = summarised(runs, document["reference"])
        with_many = binary and OURS in runs and not asked.no_many
        document["many"] = many(binary, repetitions, accounts, runner, emulator, work) if with_many else []
    (output / "result.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    printed(document)
    print(f"\nresults and logs: {output}", file=sys.stderr)


if __name__ == "__main__":
    main()
