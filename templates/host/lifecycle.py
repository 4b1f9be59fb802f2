# Work on a host that is there. `host.py` stands below this, and its functions are used here.
# The answer is one line of JSON: `ok`, `did`, and what the function of that name says; `detail` is for people.
import contextlib, fcntl, hashlib, io, json, os, re, shutil, subprocess, sys, time

E = os.environ
ROOT = E["ROOT"]
W = json.loads(E["WORK"])
AGENT = W["agent"]
NEXT = AGENT + "-next"
STATE = ROOT + "/var/lib/dataops-infra"
PLACE = ROOT + "/srv/dataops-runner-" + AGENT
CONFIG = PLACE + "/config"
LOG = ROOT + "/var/log/dataops-infra.log"
IMDS = "http://169.254.169.254/latest"
BAD = r"Checking for jobs\.\.\. *(failed|forbidden)|ERROR|FATAL|PANIC|level=(error|fatal|panic)"
ASKED = r'(?m)^gitlab_runner_api_request_statuses_total\{.*endpoint="request_job".*status="20[14]".*\} [1-9]'
REFUSED = r"(?i)is removed|is not valid|client error|failed|fatal"
GONE = r"(?i)is removed|is not valid|forbidden|\b40[34]\b"
NOTES = []


class Failed(Exception):
    def __init__(self, stage, detail):
        super().__init__(detail)
        self.stage = stage


def tidy(text, most=1500):
    return re.sub(r"[^\n\x20-\x7e]", "?", mask(text)).strip()[-most:]


def say(text):
    line = time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + tidy(W["do"] + ": " + text, 4000) + "\n"
    with contextlib.suppress(OSError), open(LOG, "a") as log:
        log.write(line)


def answer(ok, detail="", **more):
    detail = tidy("; ".join([detail] * bool(detail) + NOTES))
    say(("done" if ok else "not done") + (": " + detail if detail else ""))
    print(json.dumps({"ok": ok, "did": W["do"], **more, "detail": detail}), flush=True)
    sys.exit(0)


# Secrets are in no variable of the environment that a program gets, but for the one it is for.
def run(*argv, timeout=60, text=None, **more):
    try:
        return subprocess.run(
            argv,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout,
            env={**os.environ, **more},
            encoding="utf-8",
            errors="replace",
            **({"stdin": subprocess.DEVNULL} if text is None else {"input": text}),
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(argv, 124, "", "%s did not end within %d s" % (argv[0], timeout))
    except OSError as error:
        return subprocess.CompletedProcess(argv, 127, "", str(error))


def said(done):
    return (done.stdout + "\n" + done.stderr).strip()


def docker(*argv, **how):
    return run("docker", *argv, **how)


def pause(seconds):
    run("sleep", str(seconds), timeout=seconds + 60)


# What a function of host.py prints, given what it reads.
def printed(function, *words, text=""):
    before, sys.stdin = sys.stdin, io.StringIO(text)
    try:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            function(*words)
    finally:
        sys.stdin = before
    return out.getvalue().strip()


def imds(path):
    how = ("curl", "-sf", "--noproxy", "*", "--max-time", "5")
    got = run(*how, "-X", "PUT", "-H", "X-aws-ec2-metadata-token-ttl-seconds: 300", IMDS + "/api/token")
    config = 'header = "X-aws-ec2-metadata-token: %s"\n' % got.stdout.strip()
    return run(*how, "--config", "-", IMDS + "/meta-data/" + path, text=config).stdout


# Calls AWS as the instance role. The answer may hold a secret, so only an error's text is told.
def aws(region, service, operation, body):
    path = "iam/security-credentials/"
    why = "the instance has no role"
    for seconds in 2, 4, 8, 0:
        role = imds(path).strip()
        keys = imds(path + role) if role else ""
        if keys:
            got = run(
                *("curl", "-sS", "--fail-with-body", "--config", "-", "--connect-timeout", "10", "--max-time", "30"),
                *("--aws-sigv4", "aws:amz:%s:%s" % (region, service), "-H", "X-Amz-Target: " + operation),
                *("-H", "Content-Type: application/x-amz-json-1.1", "--data-raw", body),
                "https://%s.%s.%s/" % (service, region, W["dns_suffix"]),
                text=printed(credentials, text=keys) + "\n",
            )
            if got.returncode == 0:
                return got.stdout
            why = got.stdout if '"__type"' in got.stdout else got.stderr
        pause(seconds)
    raise Failed("aws", operation + ": " + tidy(why, 300))


def secret(text):
    E["SECRETS"] = E.get("SECRETS", "") + text + "\n"
    return text


# The token of the deployment, as it is now.
def the_token():
    got = aws(*W["token_call"])
    try:
        return secret(printed(token, text=got))
    except SystemExit as error:
        raise Failed("token", str(error))


def tell(stage, detail=""):
    if stage == "online":
        # What user-data.sh takes when somebody spoils the file.
        write(STATE + "/config.toml", text_of(CONFIG + "/config.toml"))
    E.update(INSTANCE=imds("instance-id").strip(), DETAIL=detail)
    try:
        aws(W["region"], "ssm", "AmazonSSM.PutParameter", printed(report, stage, ""))
    except Failed as error:
        NOTES.append("the report could not be written: %s" % error)


def text_of(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


# The tokens in the config.toml of a folder, also of one that somebody broke.
def tokens(folder):
    text = text_of(folder + "/config.toml")
    try:
        found = [runner.get("token", "") for runner in parse(text).get("runners", [])]
    except ValueError:
        found = re.findall(r"""(?m)^\s*token\s*=\s*["']([^"']+)""", text)
    return [secret(one) for one in found if one]


def kind(folder):
    return "manager" if any(one.startswith("glrt-") for one in tokens(folder)) else "runner"


def inspect(name):
    done = docker("container", "inspect", name)
    return json.loads(done.stdout)[0] if done.returncode == 0 else None


def is_running(name):
    found = inspect(name)
    return bool(found and found["State"]["Running"])


def state(name):
    found = inspect(name)
    if found is None:
        return "absent"
    return "running" if found["State"]["Running"] else "stopped"


def folder_of(container):
    for bind in container["HostConfig"].get("Binds") or []:
        source, _, rest = bind.partition(":")
        if rest.split(":")[0] == "/etc/gitlab-runner":
            return os.path.realpath(source)
    return os.path.realpath(CONFIG)


# The runner in a throw-away container with the configuration of a folder.
def throw_away(folder, image, *words, options=(), **more):
    env = STATE + "/env"
    if not os.path.exists(env):
        write(env, "")
    mounts = ("--env-file", env, "-v", folder + ":/etc/gitlab-runner")
    return docker("run", "--rm", *mounts, *options, image, *words, timeout=300, **more)


def verified(folder, image):
    for seconds in 5, 10, 0:
        done = throw_away(folder, image, "verify")
        if done.returncode == 0 and not re.search(REFUSED, said(done)):
            return
        pause(seconds)
    raise Failed("verify", "the platform does not accept the runner: " + said(done)[-600:])


# Silence counts, as in user-data.sh: a runner that polls and finds no job says nothing.
def polls(name):
    good, was = 0, None
    for _ in range(36):
        pause(5)
        found = inspect(name) or {"State": {"Running": False}, "RestartCount": 0}
        now = found["State"]["Running"], found.get("RestartCount", 0)
        lines = said(docker("logs", "--since", "8s", name))
        good = good + 1 if now[0] and was in (None, now) and not re.search(BAD, lines) else 0
        if good and ("Checking for jobs" in lines or re.search(ASKED, metrics(name))):
            return
        if good == 4:
            return
        was = now
    raise Failed("poll", "the runner does not poll: " + said(docker("logs", "--tail", "10", name))[-800:])


# Lets a container finish its jobs and end; says whether it has. It stays down.
def quit(name):
    if inspect(name) is None:
        return True
    # Or the disk guard would start again what it, or the reboot window, has stopped.
    if os.path.exists(STATE + "/stopped"):
        os.remove(STATE + "/stopped")
    docker("update", "--restart=no", name)
    if not is_running(name):
        return True
    if W.get("now"):
        docker("stop", "-t", "60", name, timeout=120)
    else:
        # SIGQUIT: no new jobs, the running ones end; SIGTERM would abort them.
        docker("kill", "--signal=QUIT", name)
        docker("wait", name, timeout=max(1, W["seconds"]))
    return not is_running(name)


def busy():
    jobs = docker("ps", "-q", "--filter", "label=com.gitlab.gitlab-runner.managed=true").stdout.split()
    return "jobs still run after %d s (%d containers); the runner takes no new ones" % (W["seconds"], len(jobs))


# Takes what a folder has registered off the platform: runner, manager (the runner made there stays), gone, or no.
def unregistered(folder, image):
    what = kind(folder)
    if not tokens(folder):
        return "none", ""
    done = throw_away(folder, image, "unregister", "--all-runners")
    if not tokens(folder):
        return what, ""
    # A runner that its owner has removed cannot be unregistered any more.
    if re.search(GONE, said(throw_away(folder, image, "verify"))):
        return "gone", ""
    return "no", said(done)[-600:]


def image_of(name):
    found = inspect(name)
    return found["Image"] if found else text_of(STATE + "/image").strip() or W["image"]


# A service container as user-data.sh makes it; what else the former one had, such as mounts, is taken from it.
def create(name, folder, image):
    former = inspect(AGENT)
    binds = ["/var/run/docker.sock:/var/run/docker.sock"]
    if os.path.isdir(E["HOME"] + "/.docker"):
        binds.append(E["HOME"] + "/.docker:" + E["HOME"] + "/.docker:ro")
    if former:
        binds = [
            bind
            for bind in former["HostConfig"].get("Binds") or []
            if bind.partition(":")[2].split(":")[0] != "/etc/gitlab-runner"
        ]
    options = ["-v", folder + ":/etc/gitlab-runner"]
    for bind in binds:
        options += ["-v", bind]
    port = W["settings"][0].get("listen_address", "").strip(":")
    if port:
        # Its usual port belongs to the first runner of the host, which may be there beside it.
        first = int(port) + (name == NEXT)
        options += ["-p", "127.0.0.1:%d-%d:%s" % (first, first + 6, port)]
    done = docker(
        *("run", "-d", "--name", name, "--restart", "always", "--env-file", STATE + "/env"), *options, image, timeout=300
    )
    if done.returncode:
        docker("rm", "-f", name)
        raise Failed("container", "the container cannot be made: " + said(done))


def configure(folder, concurrent=None):
    top, runner, inner = json.loads(json.dumps(W["settings"]))
    if concurrent:
        top["concurrent"] = runner["limit"] = concurrent
    E.update(CONFIG=folder, SETTINGS=json.dumps([top, runner, inner]))
    try:
        settings()
    except (OSError, ValueError, SystemExit) as error:
        raise Failed("settings", "config.toml cannot be written: %s" % error)
    finally:
        E["SETTINGS"] = json.dumps(W["settings"])


# A host that was just switched on takes commands before Docker does, and even before systemd answers.
def boots():
    over = ("running", "degraded", "maintenance", "stopping")
    return os.path.isdir(ROOT + "/run/systemd/system") and run("systemctl", "is-system-running").stdout.strip() not in over


def need_docker():
    for left in range(40, -1, -1):
        # Asked before Docker is: what comes in between is not missed.
        wait = left and boots()
        done = docker("info", timeout=30)
        if done.returncode == 0:
            return
        if not wait:
            raise Failed("docker", "Docker does not answer: " + said(done)[-300:])
        pause(3)


def up_again():
    if inspect(AGENT) is None:
        if not tokens(CONFIG):
            raise Failed("container", "there is no runner on this host, neither a container nor a registration")
        create(AGENT, os.path.realpath(CONFIG), text_of(STATE + "/image").strip() or W["image"])
        NOTES.append("the container was gone and is made anew")
    else:
        docker("update", "--restart", "always", AGENT)
        done = docker("start", AGENT)
        if done.returncode:
            raise Failed("container", "the container cannot be started: " + said(done))
    verified(folder_of(inspect(AGENT)), image_of(AGENT))
    polls(AGENT)
    tell("online")


# {"was": …, "runner": …}
def start():
    was = state(AGENT)
    up_again()
    answer(True, was=was, runner=state(AGENT))


# {"was": …, "runner": …, "drained": whether the jobs ended by themselves}
def stop():
    was = state(AGENT)
    if not quit(AGENT):
        answer(False, busy(), stage="drain", was=was, runner=state(AGENT), drained=False)
    tell("stopped", "somebody stopped the runner")
    answer(True, was=was, runner=state(AGENT), drained=not W.get("now"))


def restart():
    was = state(AGENT)
    if not quit(AGENT):
        answer(False, busy(), stage="drain", was=was, runner=state(AGENT), drained=False)
    up_again()
    answer(True, was=was, runner=state(AGENT), drained=not W.get("now"))


# Prints lines with their times, then {"lines": …, "cut": whether earlier ones are left out, "last": time of the last}
def logs():
    if inspect(AGENT) is None:
        raise Failed("container", "there is no container of the runner on this host")
    tokens(CONFIG)
    words = ["logs", "--timestamps"]
    for flag, value in ("--tail", W.get("tail")), ("--since", W.get("since")):
        if value is not None:
            words += [flag, str(value)]
    done = docker(*words, AGENT)
    if done.returncode:
        raise Failed("logs", "the log cannot be read: " + said(done)[-300:])
    lines = sorted((done.stdout + done.stderr).splitlines())
    times = [line.split(" ", 1)[0] for line in lines]
    # Docker's `--since` is inclusive.
    kept = [mask(line) for line, at in zip(lines, times) if at != W.get("since")]
    room, shown = 18000, []
    for line in reversed(kept):
        line = re.sub(r"[^\t\x20-\x7e\u00a0-\uffff]", "?", line)[:4000]
        room -= len(line.encode()) + 1
        if room < 0:
            break
        shown.append(line)
    for line in reversed(shown):
        print(line)
    print(json.dumps({
        "ok": True, "did": "logs", "lines": len(shown), "cut": len(shown) < len(kept),
        "last": times[-1] if times else W.get("since"), "detail": "",
    }))


# {"runner": …, "concurrent": what the runner itself says, null where it does not}
def apply_settings():
    if not tokens(CONFIG):
        raise Failed("settings", "there is no runner on this host")
    configure(os.path.realpath(CONFIG))
    wanted, seen = W["settings"][0]["concurrent"], None
    if is_running(AGENT):
        # It looks at its configuration every few seconds.
        for _ in range(5):
            pause(3)
            seen = concurrent_now()
            if seen in (None, wanted):
                break
        if seen not in (None, wanted):
            raise Failed("settings", "config.toml says %d jobs at once, the runner still %d" % (wanted, seen))
    tell("online" if is_running(AGENT) else "stopped")
    answer(True, runner=state(AGENT), concurrent=seen)


# What a runner says of itself; nothing where it does not.
def metrics(name):
    port = W["settings"][0].get("listen_address", "").strip(":")
    place = docker("port", name, port).stdout.split("\n")[0] if port else ""
    return run("curl", "-sf", "--noproxy", "*", "--max-time", "5", "http://%s/metrics" % place).stdout if place else ""


def concurrent_now():
    found = re.search(r"(?m)^gitlab_runner_concurrent (\d+)", metrics(AGENT))
    return int(found.group(1)) if found else None


# {"before": GiB, "after": GiB, "disk": GiB}
def grow():
    def gib():
        found = os.statvfs(ROOT + "/")
        return round(found.f_blocks * found.f_frsize / 2**30, 1)

    before = gib()
    source, fstype = (run("findmnt", "-no", "SOURCE,FSTYPE", "/").stdout.split() + ["", ""])[:2]
    # /dev/root is the kernel's name for it, which no tool takes.
    source = os.path.realpath(source) if source != "/dev/root" else ""
    if not source:
        number = run("findmnt", "-no", "MAJ:MIN", "/").stdout.strip()
        source = "/dev/" + os.path.basename(os.path.realpath(ROOT + "/sys/dev/block/" + number))
    parts = run("lsblk", "-nbdo", "PKNAME,SIZE", source).stdout.split()
    if len(parts) < 2:
        raise Failed("grow", "the root volume %s is in no partition of a disk" % source)
    disk, number = "/dev/" + parts[0], re.search(r"(\d+)$", source).group(1)
    for _ in range(12):
        size = run("lsblk", "-nbdo", "SIZE", disk).stdout.strip()
        size = round(int(size) / 2**30, 1) if size.isdigit() else 0
        if size >= W.get("gib", 0):
            break
        pause(5)
    if W.get("gib") and size < W["gib"]:
        raise Failed("grow", "the disk %s has %s GiB; the system does not see %d GiB yet" % (disk, size, W["gib"]))
    done = run("growpart", disk, number, timeout=120)
    if done.returncode and "NOCHANGE" not in said(done):
        raise Failed("grow", "growpart: " + said(done))
    how = ("xfs_growfs", "/") if fstype == "xfs" else ("resize2fs", source)
    done = run(*how, timeout=600)
    if done.returncode:
        raise Failed("grow", how[0] + ": " + said(done))
    answer(True, before=before, after=gib(), disk=size)


# Begins the bootstrap anew, unless it runs or has done its work; by itself it waits for minutes, or for the next boot.
# {"begun": …}
def again():
    unit = "dataops-infra-bootstrap.service"
    state = run("systemctl", "show", "--property=SubState", "--value", unit).stdout.strip()
    begun = state not in ("running", "start") and not os.path.exists(STATE + "/bootstrapped")
    if begun:
        done = run("systemctl", "restart", "--no-block", unit)
        if done.returncode:
            raise Failed("again", said(done))
    answer(True, begun=begun)


WORKS = {
    "start": start, "stop": stop, "restart": restart, "logs": logs, "settings": apply_settings, "grow": grow, "again": again,
}


# One at a time, and not during the bootstrap, which holds the same lock. Looking needs none.
def locked():
    os.makedirs(STATE, exist_ok=True)
    lock = open(STATE + "/lock", "a")
    until = time.monotonic() + W["patience"]
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except OSError:
            if time.monotonic() >= until:
                raise Failed("lock", "something else is at work on the host: its bootstrap, or another command")
            time.sleep(0.5)


def main():
    global E
    E = dict(os.environ)
    os.umask(0o077)
    E.update(GENERATION=W["generation"], REPORT=W["report"], URL=W["url"], SETTINGS=json.dumps(W["settings"]))
    try:
        lock = None if W["do"] in ("look", "logs", "grow", "again") else locked()
        if W["do"] not in ("grow", "again"):
            need_docker()
        WORKS[W["do"]]()
    except Failed as error:
        answer(False, str(error), stage=error.stage)
    except Exception as error:
        answer(False, "%s in the script: %s" % (type(error).__name__, error), stage="script")
