"""The commands of GitLab's runner that a host uses, with their flags and the variables that stand for them."""

import datetime
import os
import socket
import sys

import log
import multi
import network
import settings

# Flag: the variable that stands for it. What is a switch may come without a value.
COMMON = {"config": "CONFIG_FILE", "debug": "DEBUG", "log-level": "LOG_LEVEL", "log-format": "LOG_FORMAT"}
RUNNER = {"name": "RUNNER_NAME", "url": "CI_SERVER_URL", "token": "CI_SERVER_TOKEN"}
REGISTER = RUNNER | {
    "registration-token": "REGISTRATION_TOKEN",
    "non-interactive": "REGISTER_NON_INTERACTIVE",
    "executor": "RUNNER_EXECUTOR",
    "leave-runner": "REGISTER_LEAVE_RUNNER",
    "limit": "RUNNER_LIMIT",
    "request-concurrency": "RUNNER_REQUEST_CONCURRENCY",
    "tls-ca-file": "CI_SERVER_TLS_CA_FILE",
    "docker-image": "DOCKER_IMAGE",
    "docker-volumes": "DOCKER_VOLUMES",
    "docker-privileged": "DOCKER_PRIVILEGED",
    "docker-pull-policy": "DOCKER_PULL_POLICY",
    "docker-network-mode": "DOCKER_NETWORK_MODE",
    "tag-list": "RUNNER_TAG_LIST",
    "run-untagged": "REGISTER_RUN_UNTAGGED",
    "locked": "REGISTER_LOCKED",
    "access-level": "REGISTER_ACCESS_LEVEL",
    "maximum-timeout": "REGISTER_MAXIMUM_TIMEOUT",
    "paused": "REGISTER_PAUSED",
    "maintenance-note": "REGISTER_MAINTENANCE_NOTE",
    "output-limit": "RUNNER_OUTPUT_LIMIT",
}
VERIFY = RUNNER | {"delete": "", "tls-ca-file": "CI_SERVER_TLS_CA_FILE"}
UNREGISTER = RUNNER | {"all-runners": "", "tls-ca-file": "CI_SERVER_TLS_CA_FILE"}
RUN = {
    "user": "RUN_USER",
    "working-directory": "WORKING_DIRECTORY",
    "listen-address": "LISTEN_ADDRESS",
    "service": "",
    "syslog": "",
}
SWITCHES = {
    "debug",
    "non-interactive",
    "leave-runner",
    "docker-privileged",
    "run-untagged",
    "locked",
    "paused",
    "delete",
    "all-runners",
    "syslog",
}
SHORT = {"c": "config", "u": "url", "t": "token", "r": "registration-token", "n": "name", "d": "working-directory"}
OTHER_NAMES = {"description": "name"}
LISTS = {"docker-volumes", "docker-pull-policy"}

RESERVED = (
    "Runner configuration other than name and executor configuration is reserved (specifically --locked, --access-level, "
    "--run-untagged, --maximum-timeout, --paused, --tag-list, and --maintenance-note) and cannot be specified when "
    "registering with a runner authentication token. This configuration is specified on the GitLab server. Please try "
    "again without specifying any of those arguments. For more information, see "
    "https://docs.gitlab.com/ci/runners/new_creation_workflow/#changes-to-the-gitlab-runner-register-command-syntax"
)
IGNORED = (
    "You have specified an authentication token in the legacy parameter --registration-token. This has triggered the "
    "'legacy-compatible registration process' which has resulted in the following command line parameters being ignored: "
    "--locked, --access-level, --run-untagged, --maximum-timeout, --paused, --tag-list, and --maintenance-note. For more "
    "information, see https://docs.gitlab.com/ci/runners/new_creation_workflow/#changes-to-the-gitlab-runner-register-"
    "command-syntax These parameters and the legacy-compatible registration process will be removed in a future GitLab "
    "Runner release. "
)
DEPRECATED = (
    "Support for registration tokens and runner parameters in the 'register' command has been deprecated in GitLab Runner "
    "15.6 and will be replaced with support for authentication tokens. For more information, see "
    "https://docs.gitlab.com/ci/runners/new_creation_workflow/"
)


def truth(text):
    return str(text).lower() in ("1", "t", "true")


def parsed(arguments, known):
    """Flags as a table: what was typed goes before what the environment says."""
    known = COMMON | known
    said = {}
    for flag, variable in known.items():
        if variable and os.environ.get(variable):
            said[flag] = os.environ[variable].split(",") if flag in LISTS else os.environ[variable]
    typed = set()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        name, given, text = word.lstrip("-").partition("=")
        name = SHORT.get(name, name) if not word.startswith("--") else OTHER_NAMES.get(name, name)
        if word.startswith("--") and name == "n" or (word == "-n" and "non-interactive" in known):
            name = "non-interactive"
        if not word.startswith("-") or name not in known:
            log.fatal(
                f"flag provided but not defined: {word}" if word.startswith("-") else f"No help topic for '{word}'"
            )
        if not given:
            text = "true" if name in SWITCHES else rest.pop(0) if rest else log.fatal(f"flag needs an argument: {word}")
        if name in LISTS:
            said[name] = (said[name] if name in typed else []) + [text]
        else:
            said[name] = text
        typed.add(name)
    for name in SWITCHES & said.keys():
        said[name] = truth(said[name])
    log.level("debug" if said.get("debug") else said.get("log-level", "info"))
    said.setdefault("config", "/etc/gitlab-runner/config.toml")
    return said


def platform():
    log.info(
        "Runtime platform",
        arch="amd64",
        os="linux",
        pid=os.getpid(),
        revision=network.revision(),
        version=network.version(),
    )


def mode():
    log.info("Running in system-mode." if os.getuid() == 0 else "Running in user-mode.")
    log.info("")


def register(said):
    mode()
    token = said.get("token") or said.get("registration-token")
    for name, text in ("url", said.get("url")), ("registration-token", token), ("executor", said.get("executor")):
        if not text:
            log.panic(f"The {name} needs to be entered")
    if not said.get("non-interactive"):
        log.panic("EOF")
    path = said["config"]
    runner = {"name": said.get("name", socket.gethostname()), "url": said["url"], "id": 0, "token": token}
    if said.get("tls-ca-file"):
        runner["tls-ca-file"] = said["tls-ca-file"]
    config = settings.complete(settings.load(path))
    client = network.Client(runner | {"executor": said["executor"]}, path)
    if settings.created_on_the_platform(token):
        if any(other.get("token") == token for other in config.get("runners", [])):
            log.warning("A runner with this system ID and token has already been registered.")
        reserved = ("access-level", "run-untagged", "maximum-timeout", "paused", "tag-list", "maintenance-note")
        if any(said.get(name) for name in reserved) or said.get("locked") is False:
            if said.get("token"):
                log.fatal(RESERVED)
            log.warning(IGNORED)
        known = client.verify()
        if not known or not known.get("id"):
            log.panic("Failed to verify the runner.")
    else:
        if said.get("token"):
            log.info("Token specified trying to verify runner...")
            log.warning("If you want to register use the '-r' instead of '-t'.")
            known = client.verify()
            if known is None:
                log.panic("Failed to verify the runner. You may be having network problems.")
        else:
            log.warning(DEPRECATED)
            tags = said.get("tag-list", "")
            known = client.register(
                {
                    "description": runner["name"],
                    "tag_list": tags,
                    "locked": said.get("locked", True),
                    "run_untagged": said.get("run-untagged", False) or not tags,
                    "paused": said.get("paused", False),
                    "access_level": said.get("access-level", ""),
                    "maximum_timeout": int(said.get("maximum-timeout", 0)),
                    "maintenance_note": said.get("maintenance-note", ""),
                }
            )
            if known is None:
                log.panic("Failed to register the runner.")
    runner["id"] = known.get("id", 0)
    runner["token"] = known.get("token") or token
    runner["token_obtained_at"] = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
    runner["token_expires_at"] = datetime.datetime(1, 1, 1, tzinfo=datetime.timezone.utc)
    runner["executor"] = said["executor"]
    for name in "limit", "request-concurrency", "output-limit":
        if said.get(name):
            runner[name.replace("-", "_")] = int(said[name])
    runner["cache"] = {}
    if said["executor"] == "docker":
        if not said.get("docker-image"):
            client.token = runner["token"]
            client.unregister()
            log.panic("The docker-image needs to be entered")
        runner["docker"] = docker_settings(said)
    elif said["executor"] not in ("shell", "kubernetes", "docker-autoscaler", "docker+machine", "custom", "ssh"):
        log.panic("Invalid executor specified")
    config.setdefault("runners", []).append(runner)
    settings.save(path, config)
    log.info(
        "Runner registered successfully. Feel free to start it, but if it's running already the config should be "
        "automatically reloaded!"
    )
    log.info(f'Configuration (with the authentication token) was saved in "{path}"')


def docker_settings(said):
    volumes = said.get("docker-volumes", [])
    if not any(volume.split(":")[-1] == "/cache" for volume in volumes):
        volumes = [*volumes, "/cache"]
    made = {
        "tls_verify": False,
        "image": said["docker-image"],
        "privileged": said.get("docker-privileged", False),
        "disable_entrypoint_overwrite": False,
        "oom_kill_disable": False,
        "disable_cache": False,
        "volumes": volumes,
    }
    if said.get("docker-pull-policy"):
        made["pull_policy"] = said["docker-pull-policy"]
    if said.get("docker-network-mode"):
        made["network_mode"] = said["docker-network-mode"]
    return made | {"shm_size": 0, "network_mtu": 0}


def selected(said, config):
    """The runners that the flags name; all if they name none."""
    runners = config.get("runners", [])
    # In an image the address is often in the environment for other commands, so it alone selects nothing.
    if not said.get("name") and not said.get("token"):
        return runners
    found = [
        runner
        for runner in runners
        if said.get("name") in (None, runner.get("name")) and said.get("token") in (None, runner.get("token"))
    ]
    return found or log.fatal("No runner matches the filtering parameters")


def verify(said):
    mode()
    config = settings.load(said["config"])
    gone = [runner for runner in selected(said, config) if network.Client(runner, said["config"]).verify() is None]
    if gone and not said.get("delete"):
        log.fatal("Failed to verify runners")
    if gone:
        config["runners"] = [runner for runner in config["runners"] if runner not in gone]
        settings.save(said["config"], config)
        log.info(f"Updated {said['config']}")


def unregister(said):
    mode()
    config = settings.load(said["config"])
    if said.get("all-runners"):
        log.warning("Unregistering all runners")
        chosen = config.get("runners", [])
    elif said.get("name") or said.get("token"):
        chosen = selected(said, config)
    else:
        log.fatal("at least one runner name or token is needed, or --all-runners")
    left = []
    for runner in config.get("runners", []):
        if runner in chosen and network.Client(runner, said["config"]).unregister():
            continue
        if runner in chosen:
            log.error(f"Failed to unregister runner {runner.get('name', '')}")
            if not said.get("all-runners"):
                sys.exit(1)
        # One that the platform keeps is kept here too.
        left.append(runner)
    if len(left) != len(config.get("runners", [])):
        config["runners"] = left
        if not left:
            del config["runners"]
        settings.save(said["config"], config)
        log.info(f"Updated {said['config']}")


def list_runners(said):
    log.info("Listing configured runners", ConfigFile=said["config"])
    for runner in settings.load(said["config"]).get("runners", []):
        log.info(
            runner.get("name", ""), Executor=runner.get("executor"), Token=runner.get("token"), URL=runner.get("url")
        )


def run(said):
    sys.exit(multi.Multi(said["config"], said.get("listen-address")).run())


def version(*_):
    number = network.version()
    branch = "-".join(number.split(".")[:2]) + "-stable"
    print(
        f"Version:      {number}\nGit revision: {network.revision()}\nGit branch:   {branch}\nGO version:   none (bench)\n"
        "Built:        2026-11-01T00:00:00Z\nOS/Arch:      linux/amd64"
    )


COMMANDS = {
    "register": (register, REGISTER),
    "verify": (verify, VERIFY),
    "unregister": (unregister, UNREGISTER),
    "list": (list_runners, {}),
    "run": (run, RUN),
}


def main(arguments):
    # Flags of the program itself go before the command.
    ahead = []
    while arguments and arguments[0].startswith("-") and arguments[0] not in ("--version", "-v"):
        ahead.append(arguments.pop(0))
    if not arguments:
        log.fatal("a command is needed: " + ", ".join(COMMANDS))
    name = arguments.pop(0)
    if name in ("--version", "-v", "version"):
        return version()
    if name not in COMMANDS:
        log.fatal(f"Command {name} not found.")
    command, flags = COMMANDS[name]
    said = parsed(ahead + arguments, flags)
    platform()
    try:
        command(said)
    except (OSError, ValueError) as problem:
        log.fatal(str(problem))
