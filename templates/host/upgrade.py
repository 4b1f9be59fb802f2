# The second runner of an upgrade, beside the first and then in its place. Stands between `lifecycle.py` and `host.py`.
#
# A mark (upgrade.json) says the image and the folder of the second runner. Whatever was done before the mark goes is
# found again by looking: a container, a token in a config.toml, a link.
MARK = STATE + "/upgrade.json"
DIGEST = STATE + "/token.sha256"
# Registrations of the older kind of which nobody here knows whether the platform has made them, a line each; `doctor` reads it.
STRAYS = STATE + "/strays"


# {"runner": "running|stopped|absent", "image": …, "next": …, "upgrade": …}
def look():
    found = inspect(AGENT)
    image = found["Config"]["Image"] if found else None
    answer(True, runner=state(AGENT), image=image, next=state(NEXT), upgrade=marked())


def marked():
    text = text_of(MARK)
    return json.loads(text) if text else None


def save(mark):
    write(MARK, json.dumps(mark))


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def log_in():
    if not W["registry_call"]:
        return
    E["REGISTRY"] = W["registry"]
    try:
        user, password, place = (printed(registry, text=aws(*W["registry_call"])) + "\n").split("\n")[:3]
    except (KeyError, ValueError, SystemExit) as error:
        raise Failed("pull", "the registry's login cannot be used: %s" % type(error).__name__)
    secret(password)
    # It is in memory alone, and gone after a reboot until the host has been there again.
    os.makedirs(os.path.realpath(E["HOME"] + "/.docker"), mode=0o700, exist_ok=True)
    words = ["login", "--username", user, "--password-stdin"] + [place] * bool(place)
    done = docker(*words, text=password, timeout=120)
    if done.returncode:
        raise Failed("pull", "the registry does not accept the login: " + said(done)[-300:])


def pull():
    log_in()
    for seconds in 5, 20, 0:
        done = docker("pull", "-q", W["image"], timeout=1800)
        if done.returncode == 0:
            found = docker("image", "inspect", "-f", "{{.Id}}", W["image"])
            if found.returncode == 0:
                return found.stdout.strip()
        pause(seconds)
    raise Failed("pull", "the image %s cannot be pulled: %s" % (W["image"], said(done)[-600:]))


# Enters a registration in doubt before it is asked for, or takes it off the list.
def doubt(folder, line=None):
    kept, lines = folder + "/doubt", text_of(STRAYS).splitlines()
    if line:
        write(kept, line)
        lines.append(line)
    elif text_of(kept):
        # One of them: two of the same second read alike.
        if text_of(kept) in lines:
            lines.remove(text_of(kept))
        os.remove(kept)
    write(STRAYS, "".join(one + "\n" for one in lines))


# Registers into a folder, unless it has a token already.
def enrol(folder, description, tag):
    os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.path.isdir(CONFIG + "/certs") and not os.path.isdir(folder + "/certs"):
        shutil.copytree(CONFIG + "/certs", folder + "/certs")
    if tokens(folder):
        doubt(folder)
        return
    text = the_token()
    name, flags = "REGISTRATION_TOKEN", ["--tag-list=" + tag, "--run-untagged=false", "--locked=false"]
    # Tokens of runners made on the platform: tags and locks are set there, and these flags are an error.
    if text.startswith("glrt-"):
        name, flags = "CI_SERVER_TOKEN", []
    # With the old kind any call may have made a runner, so there is one, and it is in doubt until its token is here.
    for seconds in (5, 15, 0) if not flags else (0,):
        if flags:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            doubt(folder, "The platform may list a runner %s that never was online: of its registration of %s no answer came." % (description, now))
        done = throw_away(
            folder,
            W["image"],
            *("register", "--non-interactive", "--url=" + W["url"], "--executor=docker"),
            *("--docker-image=" + W["job_image"], "--description=" + description, *flags),
            options=("-e", name),
            **{name: text},
        )
        if tokens(folder):
            doubt(folder)
            os.chmod(folder + "/config.toml", 0o600)
            return
        pause(seconds)
    why = "the platform does not register the runner: " + said(done)[-800:]
    if re.search(r"\b410\b|disallowed", said(done)):
        why = "the platform takes no registration tokens any more (410): make a runner there, and give its glrt- token to `dataops-infra rotate-token`"
    # Refused, or not even sent: there is nothing that could have been made.
    if re.search(r"(?i)\b4(?!0[89])\d\d\b|disallowed|forbidden|no such host|connection refused|network is unreachable|x509: ", said(done)):
        doubt(folder)
    elif flags:
        NOTES.append(text_of(folder + "/doubt"))
    raise Failed("register", why)


def is_second(container, mark):
    return container is not None and folder_of(container) == os.path.realpath(mark["slot"] + "/config")


# Whether the host has what is asked for already.
def is_there(image, former):
    if W["why"] == "rotate":
        text = the_token()
        known = text_of(DIGEST).strip()
        return known == digest(text) if known else text in tokens(CONFIG)
    return former["Image"] == image and former["State"]["Running"]


# Puts a second runner beside the first. {"nothing": whether the host has it already, "stage": where it failed,
# "rolled_back": whether nothing is left of it}
def attempt():
    mark = marked()
    former = inspect(AGENT)
    if mark and (mark["image"], mark["why"]) != (W["image"], W["why"]):
        answer(False, "the change to %s is not finished" % mark["image"], stage="another", upgrade=mark)
    if not mark:
        if former is None or not tokens(CONFIG):
            raise Failed("former", "there is no runner on this host that could be replaced")
        image = pull()
        if is_there(image, former):
            write(STATE + "/image", W["image"] + "\n")
            answer(True, nothing=True, runner=state(AGENT))
        here = os.path.realpath(PLACE)
        slot = next(place for place in (PLACE + ".a", PLACE + ".b") if os.path.realpath(place) != here)
        mark = {"image": W["image"], "why": W["why"], "slot": slot, "id": image}
        # What an earlier one left without a mark is of nobody.
        shutil.rmtree(slot, ignore_errors=True)
        save(mark)
    # Past the point of no return.
    if mark.get("promoted") or is_second(former, mark):
        answer(True, nothing=False, runner=state(AGENT), next=state(NEXT))
    config = mark["slot"] + "/config"
    try:
        enrol(config, W["trial_name"], W["trial_tag"])
        # Both run on one machine: until it is trusted, it takes one job at a time.
        configure(config, 1)
        found = inspect(NEXT)
        if found and (found["Image"] != mark["id"] or not is_second(found, mark)):
            docker("rm", "-f", NEXT)
            found = None
        if found is None:
            create(NEXT, config, mark["id"])
        else:
            docker("start", NEXT)
        verified(config, mark["id"])
        polls(NEXT)
    except Failed as error:
        undone, why = undo(mark, now=True)
        left = "" if undone else "; what was begun is left: " + why
        answer(False, str(error) + left, stage=error.stage, rolled_back=undone, runner=state(AGENT))
    answer(True, nothing=False, runner=state(AGENT), next=state(NEXT))


# Takes the second runner away again and lets the first go on; says whether that worked, and why not.
def undo(mark, now):
    former = inspect(AGENT)
    if former is None or is_second(former, mark):
        return False, "the former runner is gone already; upgrade to its version instead"
    W["now"] = now or W.get("now")
    if not quit(NEXT):
        return False, busy()
    for part in "/config", "/final", "/trial":
        how, why = unregistered(mark["slot"] + part, mark["id"])
        if how == "no":
            return False, "the second runner cannot be unregistered: " + why
    docker("rm", "-f", NEXT)
    shutil.rmtree(mark["slot"], ignore_errors=True)
    docker("update", "--restart", "always", AGENT)
    docker("start", AGENT)
    with contextlib.suppress(OSError):
        os.remove(MARK)
    return True, ""


# {"rolled_back": …, "nothing": whether there was nothing to take back}
def rollback():
    mark = marked()
    if not mark:
        answer(True, nothing=True, rolled_back=True, runner=state(AGENT))
    undone, why = undo(mark, now=False)
    if undone:
        tell("online")
    answer(undone, why, stage="rollback", nothing=False, rolled_back=undone, runner=state(AGENT))


# Gives the second runner the name and the tag of the first. A runner of the old kind was registered under a tag of its
# own, which only its owner could change; so it is registered once more, complete, and changes over while it runs.
def promote(mark):
    config, final, trial = (mark["slot"] + part for part in ("/config", "/final", "/trial"))
    if not mark.get("promoted"):
        if kind(config) == "runner":
            if not os.path.exists(trial + "/config.toml"):
                # With the certificates, which taking it back needs too.
                shutil.copytree(config, trial, dirs_exist_ok=True, ignore=shutil.ignore_patterns("config.toml*"))
                write(trial + "/config.toml", text_of(config + "/config.toml"))
            enrol(final, AGENT, W["tag"])
            configure(final)
            write(config + "/config.toml", text_of(final + "/config.toml"))
        else:
            configure(config)
        mark["promoted"] = True
        save(mark)
    how, why = unregistered(trial, mark["id"])
    if how == "no":
        raise Failed("trial", "the registration of the trial cannot be taken back: " + why)
    # The token is in the other folder too; this copy must not take it off the platform.
    shutil.rmtree(final, ignore_errors=True)
    shutil.rmtree(trial, ignore_errors=True)


# Puts the second runner in the place of the first. {"unregistered": "runner|manager|gone", "stage": …}
def finish():
    mark = marked()
    if not mark:
        found = inspect(AGENT)
        if found is None:
            raise Failed("former", "there is no runner on this host")
        answer(True, nothing=True, runner=state(AGENT), unregistered=text_of(STATE + "/replaced").strip() or None)
    former = inspect(AGENT)
    if not is_second(former, mark):
        if not is_running(NEXT):
            raise Failed("next", "the second runner does not run; the former one is left as it is")
        promote(mark)
        if former is not None:
            if not quit(AGENT):
                answer(False, busy(), stage="drain", runner=state(AGENT), next=state(NEXT))
            folder = folder_of(former)
            how, why = unregistered(folder, former["Image"])
            if how == "no":
                answer(False, "the former runner cannot be unregistered: " + why, stage="unregister", runner=state(NEXT))
            if how != "none":
                write(STATE + "/replaced", how + "\n")
            mark["former"] = os.path.dirname(folder)
            save(mark)
            docker("rm", AGENT)
        done = docker("rename", NEXT, AGENT)
        if done.returncode:
            raise Failed("rename", "the container cannot be renamed: " + said(done))
    # The folder stays where the container expects it; its usual name leads there.
    if os.path.realpath(PLACE) != os.path.realpath(mark["slot"]):
        if os.path.isdir(PLACE) and not os.path.islink(PLACE):
            os.rename(PLACE, PLACE + ".former")
        with contextlib.suppress(OSError):
            os.remove(PLACE + ".link")
        os.symlink(os.path.basename(mark["slot"]), PLACE + ".link")
        os.replace(PLACE + ".link", PLACE)
    write(STATE + "/image", mark["image"] + "\n")
    with contextlib.suppress(Failed):
        write(DIGEST, digest(the_token()) + "\n")
    for former in mark.get("former"), PLACE + ".former":
        if former and os.path.realpath(former) != os.path.realpath(PLACE) and not tokens(former + "/config"):
            shutil.rmtree(former, ignore_errors=True)
    os.remove(MARK)
    tell("online")
    how = text_of(STATE + "/replaced").strip() or None
    answer(True, nothing=False, runner=state(AGENT), unregistered=how)


WORKS.update({"look": look, "try": attempt, "finish": finish, "rollback": rollback})
