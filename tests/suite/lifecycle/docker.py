"""Plays Docker and the runner's image for the scripts of a host; $FAKE is its memory.

Every argument is written down. `platform.json` is what the platform has registered. Files in $FAKE are faults: `no-pull`,
`refused` (the platform registers nobody), `lost` (it does, and its answer never comes), `stays` (it unregisters nobody), `dead` (it knows nobody), `crash` (containers
of the new image log errors), `busy` (jobs do not end), `killed-CALL` (the script is killed after that call).
"""

import json
import os
import re
import signal
import sys
import time

FAKE = os.environ["FAKE"]
words = sys.argv[1:]


def has(name):
    return os.path.exists(f"{FAKE}/{name}")


def load(name, default):
    return json.load(open(f"{FAKE}/{name}")) if has(name) else default


def save(name, value):
    json.dump(value, open(f"{FAKE}/{name}.new", "w"))
    os.replace(f"{FAKE}/{name}.new", f"{FAKE}/{name}")


with open(f"{FAKE}/argv", "a") as log:
    log.write("docker " + " ".join(words) + "\n")

containers = load("docker.json", {})
platform = load("platform.json", [])
images = load("images.json", {})


def end(code=0, out="", err=""):
    save("docker.json", containers)
    save("platform.json", platform)
    if out:
        print(out)
    if err:
        print(err, file=sys.stderr)
    sys.stdout.flush()
    for call in [words[0], inner[0] if (inner := list(image_words)) else ""]:
        if call and has("killed-" + call):
            os.remove(f"{FAKE}/killed-{call}")
            os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(code)


def options(words, flag):
    return [words[n + 1] for n, word in enumerate(words) if word == flag and n + 1 < len(words)]


# The image and what follows it, of `run`.
image_words = []
image = None
if words[0] == "run":
    rest = words[1:]
    while rest:
        word = rest.pop(0)
        if word in ("--rm", "-d"):
            continue
        if word.startswith("-"):
            rest.pop(0)
            continue
        image, image_words = word, rest
        break


def config_of(words):
    for bind in options(words, "-v"):
        source, _, target = bind.partition(":")
        if target == "/etc/gitlab-runner":
            return source + "/config.toml"
    return None


def tokens(path):
    try:
        return re.findall(r'(?m)^\s*token = "([^"]+)"', open(path).read())
    except OSError:
        return []


def runner(path, words):
    if not os.path.exists(os.path.dirname(path) + "/certs/ca.crt"):
        end(1, err="x509: certificate signed by unknown authority")
    if words[0] == "register":
        token = os.environ.get("CI_SERVER_TOKEN") or os.environ.get("REGISTRATION_TOKEN")
        if has("refused"):
            end(1, err=f"PANIC: 410 for {token}")
        new = "CI_SERVER_TOKEN" in os.environ
        own = token if new else f"planted-own-{len(load('made.json', []))}"
        save("made.json", [*load("made.json", []), own])
        value = dict(word.lstrip("-").split("=", 1) for word in words if "=" in word)
        platform.append({"token": own, "tags": value.get("tag-list"), "name": value["description"], "at": path})
        if has("lost"):
            end(1, err="PANIC: Failed to register the runner: context deadline exceeded")
        before = open(path).read() if os.path.exists(path) else "concurrent = 1\n"
        with open(path, "w") as file:
            file.write(before)
            file.write(f'[[runners]]\n  name = "{value["description"]}"\n  url = "{value["url"]}"\n  id = 12\n')
            file.write(f'  token = "{own}"\n  executor = "docker"\n  [runners.docker]\n    image = "x"\n')
        end()
    if words[0] == "verify":
        known = {entry["token"] for entry in platform}
        if has("dead") or not set(tokens(path)) <= known:
            end(1, err="ERROR: Verifying runner... is removed")
        end(out="Verifying runner... is valid")
    if words[0] == "unregister":
        mine = tokens(path)
        known = {entry["token"] for entry in platform}
        if has("stays") or not set(mine) <= known:
            end(1, err="ERROR: unregistering: forbidden")
        for token in mine:
            # Of managers that share a token, the one of this folder.
            own = [entry for entry in platform if entry["token"] == token]
            here = [entry for entry in own if os.path.realpath(entry["at"]) == os.path.realpath(path)]
            platform.remove((here or own)[0])
        with open(path, "w") as file:
            file.write("concurrent = 6\n")
        end()
    end(1, err="no such command of the runner: " + " ".join(words))


name = words[-1]
if words[0] == "info":
    end(1 if has("no-docker") else 0)
elif words[0] == "login":
    with open(f"{FAKE}/password", "w") as file:
        file.write(sys.stdin.read())
    end()
elif words[0] == "pull":
    end(1, err="manifest unknown") if has("no-pull") else end(out=name)
elif words[:2] == ["image", "inspect"]:
    end(out=images[name]) if name in images else end(1, err="No such image")
elif words[:2] == ["container", "inspect"]:
    end(out=json.dumps([containers[name]])) if name in containers else end(1, err="No such container")
elif words[0] == "inspect":
    found = containers.get(name)
    if not found:
        end(1, err="No such object")
    end(out=str(found["State"]["Running"]).lower() if "Running" in words[2] else found["Image"])
elif words[0] == "run" and "--rm" in words:
    runner(config_of(words), image_words)
elif words[0] == "run":
    name = options(words, "--name")[0]
    if name in containers:
        end(125, err="Conflict. The container name is in use")
    taken = {port for one in containers.values() for port in one["ports"]}
    for port in options(words, "-p"):
        if not port.count("-") and port in taken:
            end(125, err="port is already allocated")
    containers[name] = {
        "Image": images.get(image, image),
        "Config": {"Image": image},
        "State": {"Running": True},
        "RestartCount": 0,
        "HostConfig": {"Binds": options(words, "-v")},
        "ports": options(words, "-p"),
        "restart": options(words, "--restart")[0],
    }
    end(out="id")
elif words[0] == "logs":
    bad = has("crash") and containers.get(name, {}).get("Image") == "sha256:new"
    lines = load("log.json", [])
    if "--timestamps" in words:
        since = (options(words, "--since") or [""])[0]
        end(out="\n".join(line for line in lines if line >= since))
    end(err="ERROR: cannot poll" if bad else "")
elif words[0] in ("update", "start", "stop", "kill", "rm", "rename", "wait"):
    names = [word for word in words[1:] if word in containers]
    if not names:
        end(1, err="No such container")
    for one in names:
        found = containers[one]
        if words[0] == "update":
            found["restart"] = words[1].split("=")[1] if "=" in words[1] else words[2]
        elif words[0] == "start":
            found["State"]["Running"] = True
        elif words[0] == "stop":
            found["State"]["Running"] = False
        elif words[0] == "kill":
            found["State"]["Running"] = has("busy")
        elif words[0] == "wait" and found["State"]["Running"]:
            time.sleep(9)
    if words[0] == "rm":
        del containers[names[0]]
    if words[0] == "rename":
        containers[words[2]] = containers.pop(words[1])
    end()
elif words[0] == "port":
    end(out="127.0.0.1:9252")
else:
    end()
