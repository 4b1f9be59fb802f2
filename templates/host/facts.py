# What `dataops-infra doctor` asks a host: prints one line of JSON, each fact as {"known": …} or {"unknown": "why"}.
# Python 3.10 or later with nothing besides; reads and changes nothing, but for a throw-away container that verifies.
# The argument is JSON: {"limit": seconds for each fact, "wanted": {…}, "root": "folder of a test"}; all may be left out.
import calendar, email.utils, fcntl, glob, gzip, json, os, re, shlex, signal, ssl, subprocess, sys, threading, time
import urllib.error, urllib.request

ASKED = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
ROOT = ASKED.get("root", "")
LIMIT = float(ASKED.get("limit", 20))
STATE = ROOT + "/var/lib/dataops-infra"
BEGAN = time.monotonic()
# Values that must not leave the host, found on the way.
SECRETS = set()


class Slow(Exception):
    pass


def left():
    return max(0.5, LIMIT - (time.monotonic() - BEGAN))


# Exit code, output, complaints. What hangs is ended with all its children, so that nobody waits for their pipes.
def run(*argv, merge=False):
    child = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT if merge else subprocess.PIPE,
        start_new_session=True,
        text=True,
        errors="replace",
    )
    try:
        out, complaints = child.communicate(timeout=left())
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        raise Slow(f"`{' '.join(argv[:3])}` did not answer within {LIMIT:.0f} s")
    return child.returncode, out, complaints or ""


def read(path):
    with open(path, errors="replace") as file:
        return file.read()


def read_or(path, other):
    try:
        return read(path)
    except OSError:
        return other


def short(text, most=300):
    return re.sub(r"(?:\x1b\[[0-9;]*m|[\x00-\x20\x7f])+", " ", text).strip()[:most]


def mask(text):
    for secret in sorted(SECRETS, key=len, reverse=True):
        text = text.replace(secret, "[masked]")
    text = re.sub(r"(?:gl[a-z]{2,5}-|GR1348941|dckr_[a-z]+_|AKIA|ASIA)[\w.-]{8,}", "[masked]", text)
    return re.sub(r"://[^/\s@\"]+@", "://[masked]@", text)


# What the host shall be, as the host itself was told: for `doctor --on-host`, which has no record.
def own():
    try:
        return json.loads(read(STATE + "/plan.json"))
    except (OSError, ValueError):
        pass
    cloud = ROOT + "/var/lib/cloud/instance/"
    copy = ROOT + "/usr/local/lib/dataops-infra/bootstrap"
    for path in [*sorted(glob.glob(cloud + "scripts/*")), cloud + "user-data.txt", copy]:
        try:
            data = open(path, "rb").read()
            text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode(errors="replace")
        except (OSError, ValueError, EOFError):
            continue
        found = {}
        for name, key in OWN.items():
            line = re.search(rf"^{name}=('.*)$", text, re.M)
            if line:
                found[key] = "".join(shlex.split(line[1])[:1])
        if "agent" in found and "url" in found:
            # What was changed since by an upgrade or a change of the settings.
            for key in "image", "settings":
                found[key] = read_or(f"{STATE}/{key}", "").strip() or found.get(key)
            found["settings"] = json.loads(found["settings"] or "null")
            return found
    raise LookupError("this host has neither plan.json nor user data of dataops-infra")


OWN = {
    "DEPLOYMENT": "deployment",
    "GENERATION": "generation",
    "REGION": "region",
    "AGENT": "agent",
    "URL": "url",
    "TAG": "tag",
    "IMAGE": "image",
    "SETTINGS": "settings",
}


# Of what was asked for and what the host was told, the first that says.
def wanted(key):
    if ASKED.get("wanted", {}).get(key):
        return ASKED["wanted"][key]
    return own()[key]


def config_path():
    return f"{ROOT}/srv/dataops-runner-{wanted('agent')}/config/config.toml"


# TOML as the runner writes it, for a Python without tomllib.
def plain_toml(text):
    top = {}
    table, held, opened = top, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not held and (not line or line.startswith("#")):
            continue
        header = None if held else re.fullmatch(r"\[(\[?)([\w.\"-]+)(\]?)\](?:\s*#.*)?", line)
        if header and bool(header[1]) != bool(header[3]):
            raise ValueError(f"line {number}: the header has no end")
        if header:
            table = top
            names = header[2].replace('"', "").split(".")
            for n, name in enumerate(names):
                if header[1] and n == len(names) - 1:
                    table.setdefault(name, []).append({})
                else:
                    table.setdefault(name, {})
                table = table[name][-1] if isinstance(table[name], list) else table[name]
            continue
        held += line
        if held.count("[") > held.count("]"):
            continue
        found = re.fullmatch(r"([\w\"-]+)\s*=\s*(.+)", held)
        if not found:
            raise ValueError(f"line {number} cannot be read")
        held, value = "", re.sub(r",\s*\]$", "]", found[2])
        if re.fullmatch(r"'[^']*'", value):
            value = json.dumps(value[1:-1])
        elif re.match(r"\d{4}-\d\d-\d\d", value):
            value = json.dumps(value)
        try:
            table[found[1].strip('"')] = json.loads(value)
        except ValueError:
            raise ValueError(f"line {number}: the value cannot be read")
    if held:
        raise ValueError("the last value has no end")
    return top


def toml(text):
    try:
        import tomllib
    except ImportError:
        return plain_toml(text)
    return tomllib.loads(text)


def units(*names):
    found = {}
    for name in names:
        code, out, _ = run("systemctl", "show", "-p", "LoadState,ActiveState,UnitFileState,Result", name)
        found[name] = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    return found


def age(path):
    return max(0, int(time.time() - os.stat(path).st_mtime))


def clock():
    synchronised = None
    try:
        code, out, _ = run("timedatectl", "show", "-p", "NTPSynchronized")
        if code == 0 and "=" in out:
            synchronised = out.strip().endswith("=yes")
    except (OSError, Slow):
        pass
    container = os.path.exists(ROOT + "/run/systemd/container")
    uptime = read_or(ROOT + "/proc/uptime", "").split()
    return {
        "now": time.time(),
        "synchronised": synchronised,
        "container": container,
        "uptime_s": int(float(uptime[0])) if uptime else None,
    }


def cloud_init():
    _, out, _ = run("cloud-init", "status", "--long")
    pairs = dict(re.findall(r"^(\w[\w ]*): *(.*)$", out, re.M))
    errors = [short(line[2:]) for line in out.splitlines() if line.startswith("- ")]
    return {"status": pairs.get("status", "unknown"), "detail": short(pairs.get("detail", "")), "errors": errors[:5]}


def bootstrap():
    marker = STATE + "/bootstrapped"
    there = os.path.exists(marker)
    running = False
    try:
        with open(STATE + "/lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                running = True
    except OSError:
        pass
    # Runners that the disk guard or the reboot window lets finish, and starts again.
    held, window = read_or(STATE + "/stopped", "").split(), False
    try:
        with open(ROOT + "/run/dataops-infra-reboot-window") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                window = True
    except OSError:
        pass
    try:
        upgrade = json.loads(read(STATE + "/upgrade.json")).get("image")
    except (OSError, ValueError, AttributeError):
        upgrade = None
    log = read_or(ROOT + "/var/log/dataops-infra.log", "")
    unregistered = read_or(STATE + "/unregistered", "").strip()
    return {
        # With the time before it.
        "marker": "".join(read(marker).split()[-1:]) if there else None,
        "age_s": age(marker) if there else None,
        "running": running,
        "log": [short(line) for line in log.splitlines()[-6:]],
        "unregistered": short(unregistered) or None,
        "strays": read_or(STATE + "/strays", "").split("\n")[:10],
        "held": held[:20],
        "window": window,
        "upgrade": upgrade,
    }


def docker():
    try:
        code, out, complaint = run("docker", "version", "--format", "{{json .}}")
    except FileNotFoundError:
        return {"installed": False, "answers": False, "says": "there is no program `docker`"}
    unit = {}
    try:
        unit = units("docker.service")["docker.service"]
    except (OSError, Slow):
        pass
    try:
        known = json.loads(out) if out.strip() else {}
    except ValueError:
        known = {}
    server = known.get("Server") or {}
    return {
        "installed": True,
        "answers": code == 0 and bool(server),
        "says": short(complaint),
        "version": server.get("Version"),
        "api": server.get("ApiVersion"),
        "min_api": server.get("MinAPIVersion"),
        "active": unit.get("ActiveState"),
        "enabled": unit.get("UnitFileState"),
    }


def disks():
    found, seen = [], set()
    for path in ["/", "/var/lib/docker", "/var/lib/containerd", "/var/log"]:
        try:
            device, fs = os.stat(ROOT + path).st_dev, os.statvfs(ROOT + path)
        except OSError:
            continue
        if device in seen or not fs.f_blocks:
            continue
        seen.add(device)
        # As `df` counts: what is kept for root is neither used nor free.
        used = fs.f_blocks - fs.f_bfree
        found.append({
            "path": path,
            "gib": round(fs.f_blocks * fs.f_frsize / 2**30, 1),
            "free_gib": round(fs.f_bavail * fs.f_frsize / 2**30, 1),
            "used_percent": round(100 * used / max(1, used + fs.f_bavail), 1),
            "inodes_percent": round(100 * (fs.f_files - fs.f_ffree) / fs.f_files, 1) if fs.f_files else 0.0,
        })
    return found


def memory():
    pairs = dict(re.findall(r"^(\w+):\s+(\d+)", read(ROOT + "/proc/meminfo"), re.M))
    kills = re.search(r"^oom_kill (\d+)", read_or(ROOT + "/proc/vmstat", ""), re.M)
    return {
        "total_mib": int(pairs["MemTotal"]) // 1024,
        "available_mib": int(pairs["MemAvailable"]) // 1024,
        "oom_kills": int(kills[1]) if kills else None,
    }


def environment():
    lines = read_or(STATE + "/env", "").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


# Any answer will do, also "not allowed": that there is one is what is asked.
def ask(what, url):
    known = environment()
    proxies = {}
    for scheme in "http", "https":
        if known.get(scheme.upper() + "_PROXY"):
            proxies[scheme] = known[scheme.upper() + "_PROXY"]
    # What is excepted is read from the environment by the library itself.
    os.environ["no_proxy"] = known.get("NO_PROXY", "")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), Still())
    answer = {"what": what, "url": url, "ok": True, "says": "", "skew_s": None, "login": None}
    sent = time.time()
    try:
        reply = opener.open(urllib.request.Request(url, headers={"User-Agent": "dataops-infra-doctor"}), timeout=left())
        status, headers = reply.status, reply.headers
    except urllib.error.HTTPError as error:
        status, headers = error.code, error.headers
    except Exception as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError) or "timed out" in str(reason):
            says = f"no answer within {LIMIT:.0f} s"
        elif isinstance(reason, ssl.SSLError):
            says = f"its certificate is not trusted here: {getattr(reason, 'verify_message', '') or reason}"
        else:
            says = str(reason)
        return answer | {"ok": False, "says": short(says)}
    answer["says"] = f"HTTP {status}"
    # A registry says itself who gives out its tokens.
    realm = re.search(r'realm="(https?://[^"]+)"', headers.get("WWW-Authenticate", "") or "")
    if realm and "bearer" in headers["WWW-Authenticate"].lower():
        answer["login"] = realm[1]
    date = email.utils.parsedate(headers.get("Date", "") or "")
    if date:
        # The time at the server lies between sending and receiving, to the second.
        answer["skew_s"] = round((sent + time.time()) / 2 - calendar.timegm(date) - 0.5, 1)
    return answer


class Still(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def egress():
    targets = [("platform", wanted("url") + "/")]
    try:
        mirrors = json.loads(read(ROOT + "/etc/docker/daemon.json")).get("registry-mirrors", [])
    except (OSError, ValueError):
        mirrors = []
    targets += [("mirror", mirror.rstrip("/") + "/v2/") for mirror in mirrors]
    first = wanted("image").split("/")[0]
    other = "/" in wanted("image") and (re.search(r"[.:]", first) or first == "localhost")
    if other:
        targets.append(("registry", f"https://{first}/v2/"))
    else:
        targets.append(("registry", "https://registry-1.docker.io/v2/"))
    answers, logins = [None] * len(targets), []
    late = f"no answer within {LIMIT:.0f} s"

    def one(n):
        answer = ask(*targets[n])
        login = answer.pop("login", None)
        answers[n] = answer
        if login and answer["what"] == "registry":
            logins.append({"what": "login", "url": login, "ok": False, "says": late, "skew_s": None})
            logins[0] = {key: value for key, value in ask("login", login).items() if key != "login"}

    threads = [threading.Thread(target=one, args=(n,), daemon=True) for n in range(len(targets))]
    for thread in threads:
        thread.start()
    for thread in threads:
        # A moment before the fact itself is late, so that what did answer is told.
        thread.join(max(0.1, left() - 0.3))
    return [
        answers[n] or {"what": what, "url": url, "ok": False, "says": late, "skew_s": None}
        for n, (what, url) in enumerate(targets)
    ] + logins


def guard():
    name = "dataops-infra-disk-guard"
    known = units(name + ".timer", name + ".service")
    health, why = None, None
    try:
        health = json.loads(read(STATE + "/health.json"))
        health = {key: health.get(key) for key in ("healthy", "at", "why", "freed_bytes", "paused")}
        health["age_s"] = age(STATE + "/health.json")
    except FileNotFoundError:
        why = "it has not reported yet"
    except (OSError, ValueError, AttributeError) as error:
        why = f"health.json cannot be read: {error}"
    timer, service = known[name + ".timer"], known[name + ".service"]
    return {
        "loaded": timer.get("LoadState"),
        "active": timer.get("ActiveState"),
        "enabled": timer.get("UnitFileState"),
        "result": service.get("Result"),
        "health": health,
        "why": why,
    }


def cloudwatch_agent():
    base = ROOT + "/opt/aws/amazon-cloudwatch-agent"
    unit = units("amazon-cloudwatch-agent.service")["amazon-cloudwatch-agent.service"]
    return {
        "installed": os.path.exists(base + "/bin/amazon-cloudwatch-agent-ctl"),
        "configured": os.path.exists(base + "/etc/dataops-infra.json"),
        "active": unit.get("ActiveState"),
        "result": unit.get("Result"),
    }


def reboot():
    path = ROOT + "/run/reboot-required"
    try:
        name = "dataops-infra-reboot-window.timer"
        timer = units(name)[name]
    except (OSError, Slow):
        timer = {}
    window = {"loaded": timer.get("LoadState"), "active": timer.get("ActiveState"), "enabled": timer.get("UnitFileState")}
    if not os.path.exists(path):
        return {"required": False, "age_s": None, "packages": [], "window": window}
    packages = sorted(set(read_or(path + ".pkgs", "").split()))
    return {"required": True, "age_s": age(path), "packages": packages[:8], "window": window}


def inspected():
    code, out, complaint = run("docker", "inspect", "--type", "container", wanted("agent"))
    if code == 0:
        return json.loads(out)[0]
    if re.search("no such", complaint, re.I):
        return None
    raise RuntimeError(short(complaint) or f"docker inspect ended with {code}")


def container():
    it = inspected()
    if it is None:
        return {"exists": False}
    state, policy = it.get("State", {}), it.get("HostConfig", {}).get("RestartPolicy", {})
    started = state.get("StartedAt", "")
    up = None
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)", started)
    if found and not started.startswith("0001"):
        up = int(time.time() - calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S")))
    return {
        "exists": True,
        "running": bool(state.get("Running")),
        "status": state.get("Status"),
        "exit_code": state.get("ExitCode"),
        "oom_killed": bool(state.get("OOMKilled")),
        "error": short(state.get("Error") or ""),
        "restarts": it.get("RestartCount", 0),
        "policy": policy.get("Name") or "no",
        "up_s": up,
        "image": it.get("Config", {}).get("Image"),
        "image_id": it.get("Image"),
    }


def image():
    it = inspected()
    name = it["Image"] if it else wanted("image")

    def one(name):
        code, out, _ = run("docker", "image", "inspect", name)
        return json.loads(out)[0] if code == 0 else None

    found = one(name)
    if found is None:
        return {"exists": False}
    tagged = one(wanted("image"))
    return {
        "exists": True,
        "id": found.get("Id"),
        "created": found.get("Created"),
        "tagged_id": tagged.get("Id") if tagged else None,
    }


KINDS = [("glrt-", "authentication"), ("glrtr-", "registration"), ("GR1348941", "registration-token"), ("", "registration")]


def config():
    try:
        path = config_path()
        mode = os.stat(path).st_mode & 0o777
        text = read(path)
    except FileNotFoundError:
        return {"exists": False}
    # Also where the file cannot be read as a whole.
    SECRETS.update(re.findall(r"token\s*=\s*[\"']([^\"']{4,})[\"']", text))
    answer = {"exists": True, "mode": f"{mode:o}", "valid": True, "error": None, "top": {}, "runners": []}
    try:
        known = toml(text)
    except ValueError as error:
        return answer | {"valid": False, "error": short(str(error))}
    answer["top"] = {key: known.get(key) for key in ("concurrent", "check_interval", "listen_address") if key in known}
    runners = known.get("runners", [])
    if not isinstance(runners, list) or not all(isinstance(runner, dict) for runner in runners):
        return answer | {"valid": False, "error": "`runners` is not a list of tables"}
    for runner in runners:
        token = str(runner.get("token", ""))
        inner = runner.get("docker") if isinstance(runner.get("docker"), dict) else {}
        policy = inner.get("pull_policy", [])
        answer["runners"].append({
            "name": short(str(runner.get("name", ""))),
            "url": short(str(runner.get("url", ""))),
            "id": runner.get("id"),
            "limit": runner.get("limit", 0),
            "executor": short(str(runner.get("executor", ""))),
            "token_kind": next(kind for start, kind in KINDS if token.startswith(start)) if token else "none",
            "expires_at": str(runner.get("token_expires_at", ""))[:20],
            "volumes": [short(str(volume)) for volume in inner.get("volumes", [])][:20],
            "pull_policy": [policy] if isinstance(policy, str) else [str(one) for one in policy],
            "privileged": bool(inner.get("privileged")),
        })
    return answer


def verify():
    if not os.path.exists(config_path()):
        return {"ok": False, "says": ["there is no config.toml"]}
    it = inspected()
    name = f"dataops-infra-verify-{os.getpid()}"
    arguments = ["--rm", "--pull=never", "--name", name, "-v", f"{os.path.dirname(config_path())}:/etc/gitlab-runner"]
    if os.path.exists(STATE + "/env"):
        arguments += ["--env-file", STATE + "/env"]
    try:
        code, out, _ = run("docker", "run", *arguments, it["Image"] if it else wanted("image"), "verify", merge=True)
    except Slow:
        subprocess.Popen(
            ["docker", "rm", "-f", name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        raise
    said = [short(line) for line in out.splitlines() if line.strip()]
    bad = [line for line in said if re.search("is removed|is not valid|client error|failed|fatal|panic|forbidden", line, re.I)]
    return {"ok": code == 0 and not bad, "exit": code, "says": bad[:3] or said[-3:]}


POLL = re.compile(r"Checking for jobs\.\.\. *(failed|forbidden)|not healthy and will be disabled", re.I)
WORSE = re.compile(r"ERROR|FATAL|PANIC|level=(?:error|fatal|panic)")
OLD = re.compile(r"client version [\d.]+ is too old[^\"]*", re.I)


# A line of `docker logs --timestamps` without its time, and how many seconds ago it was; 0 where it has none.
def aged(line):
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\S*Z (.*)", line)
    if not found:
        return line, 0
    return found[2], int(time.time() - calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S")))


# Answers to questions for jobs by status, since the runner started; nothing where its metrics do not listen.
def requests():
    found = {}
    try:
        port = str(wanted("settings")[0].get("listen_address", "")).rsplit(":", 1)[-1]
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        text = opener.open(f"http://127.0.0.1:{int(port)}/metrics", timeout=3).read(2_000_000).decode()
        for line in re.findall(r"^gitlab_runner_api_request_statuses_total\{(.*)\} (\S+)$", text, re.M):
            if 'endpoint="request_job"' in line[0]:
                status = re.search(r'status="(\w+)"', line[0])[1]
                found[status] = found.get(status, 0) + int(float(line[1]))
    except Exception:
        pass
    return found


def answered(found):
    return sum(count for status, count in found.items() if status.startswith("2"))


# Within so many seconds what the log complains about is still going on.
LATELY = 120


def polling():
    before = requests()
    code, out, complaint = run("docker", "logs", "--timestamps", "--since", "65m", "--tail", "2000", wanted("agent"), merge=True)
    if code != 0:
        raise RuntimeError(short(out))
    lines = [aged(line) for line in out.splitlines() if line.strip()]
    failed = [(n, line, ago) for n, (line, ago) in enumerate(lines) if POLL.search(line)]
    # That a job failed is the job's business.
    errors = [line for line, ago in lines if ago < LATELY and WORSE.search(line) and not POLL.search(line) and "Job failed" not in line]
    old = OLD.search("\n".join(line for line, ago in lines if ago < LATELY))
    over = False
    if failed:
        number, last, ago = failed[-1]
        # After several refusals the runner asks no more for an hour, and says nothing.
        over = ago >= LATELY and "will be disabled" not in last
        over |= any(re.search("Checking for jobs.*received|job=", line) for line, _ in lines[number + 1 :])
    now = before
    if failed and before and not over:
        # Answers that come in while we look.
        time.sleep(min(4, left() / 2))
        now = requests()
        over = answered(now) > answered(before)
    return {
        "lines": len(lines),
        "failed": len(failed),
        "last_failed": short(failed[-1][1]) if failed else None,
        "over": over,
        "errors": [short(line) for line in errors[-3:]],
        "too_old": short(old[0]) if old else None,
        "requests": now,
    }


FACTS = {
    "wanted": own,
    "clock": clock,
    "cloud_init": cloud_init,
    "bootstrap": bootstrap,
    "docker": docker,
    "disks": disks,
    "memory": memory,
    "egress": egress,
    "guard": guard,
    "cloudwatch_agent": cloudwatch_agent,
    "reboot": reboot,
    "container": container,
    "image": image,
    "config": config,
    "verify": verify,
    "polling": polling,
}
FOUND = {}


def gather(name):
    try:
        FOUND[name] = {"known": FACTS[name]()}
    except Slow as slow:
        FOUND[name] = {"unknown": str(slow)}
    except FileNotFoundError as error:
        FOUND[name] = {"unknown": f"there is no {error.filename}"}
    except LookupError as error:
        FOUND[name] = {"unknown": str(error.args[0]) if error.args else "a value is missing"}
    except Exception as error:
        FOUND[name] = {"unknown": short(f"{type(error).__name__}: {error}")}


def main():
    threads = [threading.Thread(target=gather, args=(name,), daemon=True) for name in FACTS]
    for thread in threads:
        thread.start()
    end = BEGAN + LIMIT + 1
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    late = {"unknown": f"did not answer within {LIMIT:.0f} s"}
    found = {name: FOUND.get(name, late) for name in FACTS}
    text = mask(json.dumps({"schema": "dataops-infra/facts/v1", "facts": found}))
    print(text, flush=True)
    # What still hangs does not keep us.
    os._exit(0)


main()
