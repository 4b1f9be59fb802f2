"""`config.toml` and `.runner_system_id`, which stands beside it."""

import datetime
import hashlib
import hmac
import json
import os
import re
import secrets
import string
import tomllib

import log

DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def load(path):
    """The settings; those of a new file if there is none."""
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}


def complete(config):
    """Puts in what GitLab's runner writes although nobody said it."""
    whole = {"concurrent": 1, "check_interval": 0, "shutdown_timeout": 0, "session_server": {"session_timeout": 1800}}
    return whole | config


def save(path, config):
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    text = toml(config)
    assert tomllib.loads(text) == config
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)


def toml(table, path=(), indent=""):
    plain, inner = "", ""
    for key, value in table.items():
        name = key if re.fullmatch(r"[\w-]+", key, re.A) else json.dumps(key)
        below = (*path, name)
        if isinstance(value, dict):
            inner += f"{indent}[{'.'.join(below)}]\n" + toml(value, below, indent + "  ")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for item in value:
                inner += f"\n{indent}[[{'.'.join(below)}]]\n" + toml(item, below, indent + "  ")
        else:
            plain += f"{indent}{name} = {literal(value)}\n"
    return plain + ("\n" if plain and inner and not path else "") + inner


def literal(value):
    if isinstance(value, datetime.datetime):
        return value.isoformat().replace("+00:00", "Z")
    return json.dumps(value, ensure_ascii=False)


def system_id(config_path):
    """Ours, made when first asked for: of the machine if it has an id, or by chance, as in a container."""
    path = os.path.join(os.path.dirname(config_path), ".runner_system_id")
    try:
        with open(path) as file:
            known = file.read().strip()
    except FileNotFoundError:
        known = ""
    if re.fullmatch(r"[sr]_[0-9a-zA-Z]{12}", known):
        return known
    try:
        with open("/etc/machine-id") as file:
            machine = file.read().strip()
    except FileNotFoundError:
        machine = ""
    if machine:
        made = "s_" + hmac.new(machine.encode(), b"gitlab-runner", hashlib.sha256).hexdigest()[:12]
    else:
        made = "r_" + "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(12))
    log.info("Created missing unique system ID", system_id=made)
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(made)
    except OSError as problem:
        log.warning(f"Couldn't save new system ID on state file: {problem}")
    return made


def seconds(text, usual):
    """A duration such as `1h0m0s`."""
    match = DURATION.fullmatch(text) if isinstance(text, str) and text else None
    if match is None:
        return usual
    hours, minutes, rest = match.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def duration(whole):
    """Seconds the way Go writes them."""
    hours, rest = divmod(int(whole), 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s" if minutes else f"{rest}s"


def created_on_the_platform(token):
    return token.startswith("glrt-")


def short(token):
    """As much of a token as the log may show."""
    match = re.match(r"(?:glrt-|glrtr-|glcbt-|GR1348941)?(?:t\d_)?(.{0,9})", token)
    return match[1]


def value(text):
    """`url` and `token` may name variables of the environment."""
    return os.path.expandvars(text or "")
