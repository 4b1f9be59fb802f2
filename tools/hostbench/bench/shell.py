"""Commands, waiting, and saying what goes on."""

import subprocess
import sys
import time

BEGAN = time.monotonic()


class Failed(Exception):
    """Something is not as it must be."""


def say(text):
    """Says a line, with the seconds since the start."""
    print(f"{time.monotonic() - BEGAN:7.1f} s  {text}", file=sys.stderr, flush=True)


def run(*command, check=True, timeout=120, **options):
    """Runs a command; returns what it prints."""
    done = subprocess.run(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=timeout,
        **options,
    )
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: exit {done.returncode}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def until(what, seconds, look, pause=0.2):
    """Looks until there is something, and returns it."""
    end = time.monotonic() + seconds
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise Failed(f"in {seconds} s there was no {what}")
        time.sleep(pause)
