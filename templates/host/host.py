# What the bootstrap of a host does better in Python than in bash: JSON, TOML and masking.
# Secrets come in through stdin and the environment, never as arguments. The renderer leaves out lines of comments.
import datetime, json, os, re, sys
E = os.environ


# Also what nobody told us is a secret, by its look: tokens, AWS keys, passwords in addresses.
def mask(text):
    for secret in sorted(E.get("SECRETS", "").split("\n"), key=len, reverse=True):
        if len(secret) > 3:
            text = text.replace(secret, "[masked]")
    text = re.sub(r"(?:gl[a-z]{2,5}-|GR1348941|dckr_[a-z]+_|AKIA|ASIA)[\w.-]{8,}", "[masked]", text)
    return re.sub(r"://[^/\s@]+@", "://[masked]@", text)


# The credentials of the instance role as a configuration of curl.
def credentials():
    c = json.load(sys.stdin)
    print("user =", json.dumps(c["AccessKeyId"] + ":" + c["SecretAccessKey"]))
    print("header =", json.dumps("x-amz-security-token: " + c["Token"]))


def value():
    answer = json.load(sys.stdin)
    return (answer["Parameter"]["Value"] if "Parameter" in answer else answer["SecretString"]).strip()


def one_line(name, text):
    if not re.fullmatch(r"[\x20-\x7e]+", text):
        sys.exit(f"the {name} is empty or is not one line of ASCII")
    return text


# The token itself, or JSON with the key `token`, as the console of Secrets Manager likes to keep it.
def token():
    text = value()
    if text.startswith("{"):
        text = json.loads(text).get("token", "").strip()
    if " " in one_line("token", text):
        sys.exit("the token has a blank in it")
    print(text)


# User name, password and, for all but Docker Hub, the registry, one a line.
def registry():
    login = json.loads(value())
    for name in "username", "password":
        print(one_line(name, login[name]))
    print(login.get("registry", E["REGISTRY"]))


# The body of PutParameter. A parameter takes no `{{`, and ours at most 2 KB.
def report(stage, failed_stage):
    known = {"stage": stage, "at": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")}
    known["generation"] = E["GENERATION"]
    if E.get("INSTANCE"):
        known["instance"] = E["INSTANCE"]
    known |= {k: v for k, v in json.loads(E["SETTINGS"])[0].items() if k in ("concurrent", "check_interval")}
    if E.get("RUNNER_ID"):
        known["runner_id"] = int(E["RUNNER_ID"])
    if failed_stage:
        known["failed_stage"] = failed_stage
    detail = re.sub(r"[^\n\x20-\x7e]", "?", mask(E.get("DETAIL", "")))
    detail = re.sub(r"([{}])(?=[{}])", r"\1 ", detail)[-1900:]
    while len(text := json.dumps(known | {"detail": detail})) > 2048:
        detail = detail[50:]
    print(json.dumps({"Name": E["REPORT"], "Value": text, "Type": "String", "Overwrite": True}))


def parse(text):
    import tomllib
    return tomllib.loads(text)


# The number of the runner that has a token for our platform; None without one.
def ours(config):
    for n, runner in enumerate(config.get("runners", [])):
        if runner.get("token") and runner.get("url", "").rstrip("/") == E["URL"]:
            return n


# What is in a file, and whether it is TOML; nothing where there is no file.
def read(path):
    try:
        return parse(open(path).read()), True
    except FileNotFoundError:
        return {}, True
    except ValueError:
        return {}, False


# "ID TOKEN" of our runner, or nothing. A file that was spoilt is put aside, and the last good one takes its place.
def registered():
    path = E["CONFIG"] + "/config.toml"
    config, readable = read(path)
    if not readable or ours(config) is None:
        kept, _ = read(E.get("KEPT", ""))
        if not readable or ours(kept) is not None:
            if os.path.exists(path):
                os.replace(path, path + ".spoilt")
                print("config.toml had no runner of ours that can be read; it is kept as config.toml.spoilt", file=sys.stderr)
            config = kept
        if ours(kept) is not None:
            write(path, toml(kept, ""))
            print("config.toml is the last good one again", file=sys.stderr)
    n = ours(config)
    if n is not None:
        runner = config["runners"][n]
        print(runner.get("id", "-"), runner["token"])


# A table as TOML: plain values first, then tables and lists of tables. Comments are lost, as when the runner writes it.
def toml(table, path):
    plain, inner = "", ""
    for key, new in table.items():
        name = key if re.fullmatch(r"[\w-]+", key, re.A) else json.dumps(key)
        tables = new if isinstance(new, list) and new and isinstance(new[0], dict) else None
        if isinstance(new, dict):
            inner += f"\n[{path}{name}]\n" + toml(new, f"{path}{name}.")
        elif tables:
            inner += "".join(f"\n[[{path}{name}]]\n" + toml(t, f"{path}{name}.") for t in tables)
        else:
            when = isinstance(new, (datetime.date, datetime.time))
            plain += f"{name} = {new.isoformat() if when else json.dumps(new, ensure_ascii=False)}\n"
    return plain + inner


# Writes our settings into config.toml, for our runner only. The text is read back before it takes the old one's place.
def settings():
    path = E["CONFIG"] + "/config.toml"
    config = parse(open(path).read())
    n = ours(config)
    if n is None:
        sys.exit("config.toml has no runner for " + E["URL"])
    top, runner, docker = json.loads(E["SETTINGS"])
    config.update(top)
    config["runners"][n].update(runner)
    config["runners"][n].setdefault("docker", {}).update(docker)
    text = toml(config, "")
    if parse(text) != config:
        sys.exit("config.toml would not be what it should be; it is left as it was")
    write(path, text)


def write(path, text):
    with open(os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    os.replace(path + ".new", path)


def masked():
    for line in sys.stdin:
        print(mask(line), end="", flush=True)


globals()[sys.argv[1]](*sys.argv[2:])
