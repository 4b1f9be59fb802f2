"""Lines as GitLab's runner writes them to stderr: the message in 50 columns, then sorted `key=value`."""

import os
import sys
import threading

LEVELS = {"debug": 0, "info": 1, "warning": 2, "error": 3, "fatal": 4, "panic": 4}
# How often each level was used: the metrics show it.
counts = dict.fromkeys(LEVELS, 0)
_lock = threading.Lock()
_least = "debug" if os.environ.get("DEBUG", "").lower() in ("1", "true", "t") else os.environ.get("LOG_LEVEL", "info")


def say(level, message, **fields):
    counts[level] += 1
    if LEVELS[level] < LEVELS.get(_least, 1):
        return
    prefix = "" if level in ("debug", "info") else level.upper() + ": "
    said = " ".join(f"{key}={value}" for key, value in sorted(fields.items()))
    line = f"{prefix}{message}".ljust(50) + (" " + said if said else "")
    with _lock:
        # One write, or the lines of two threads mix.
        os.write(2, (line + "\n").encode(errors="replace"))


def level(name):
    global _least
    _least = name if name in LEVELS else _least


def debug(message, **fields):
    say("debug", message, **fields)


def info(message, **fields):
    say("info", message, **fields)


def warning(message, **fields):
    say("warning", message, **fields)


def error(message, **fields):
    say("error", message, **fields)


def fatal(message, **fields):
    say("fatal", message, **fields)
    sys.exit(1)


def panic(message, **fields):
    say("panic", message, **fields)
    sys.exit(2)
