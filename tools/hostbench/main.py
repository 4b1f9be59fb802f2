"""Runs cases, each in a sandbox and a world of its own.

    main.py --binary PROGRAM --image FOLDER --store FOLDER --folder FOLDER [--case NAME]... [--faults] [--list] [--keep]
"""

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import bench.ailments  # noqa: F401: enters its cases
import bench.work  # noqa: F401: the same
from bench.faults import FAULTS
from bench.life import life

HERE = Path(__file__).resolve().parent
CASES = {"life": life}
PR_SET_PDEATHSIG = 1


def main():
    """Returns the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary")
    parser.add_argument("--image")
    parser.add_argument("--store")
    parser.add_argument("--folder")
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    options = parser.parse_args()
    known = FAULTS if options.faults else CASES
    if options.inside:
        return inside((CASES | FAULTS)[options.inside], options)
    if options.list:
        for name, case in known.items():
            print(f"{name:28} {case.__doc__.splitlines()[0]}")
        return 0
    ended = []
    for name in options.case or known:
        if name not in known:
            print(f"there is no case {name}; there are {', '.join(known)}", file=sys.stderr)
            return 2
        print(f"case {name}: {known[name].__doc__.splitlines()[0]}", file=sys.stderr)
        began = time.monotonic()
        code = sandboxed(name, len(ended), options)
        ended.append((name, time.monotonic() - began, code))
    for name, seconds, code in ended:
        print(f"{'FAILED' if code else 'ok':6} {seconds:7.1f} s  {name}")
    return 1 if any(code for *_, code in ended) else 0


def sandboxed(name, number, options):
    """Runs one case; returns its exit code."""
    libc = ctypes.CDLL(None)
    command = [sys.executable, "-B", HERE / "sandbox.py", f"{options.folder}.{number}"]
    command += [sys.executable, "-B", __file__, "--inside", name, "--binary", options.binary, "--image", options.image]
    command += ["--store", options.store]
    process = subprocess.Popen(
        command + ["--keep"] * options.keep, preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        return process.wait()


def inside(case, options):
    """The case itself; returns an exit code."""
    # Needs the Python environment of the repository, which a list of names does not.
    from bench.shell import say
    from bench.world import World

    world = World(options.image, options.store)
    code = 0
    try:
        case(world, options.binary)
    except Exception:  # noqa: BLE001: told
        say(traceback.format_exc())
        code = 1
    if options.keep:
        space = os.readlink("/proc/self/ns/pid")
        say(f"the world stands until a line is entered; its processes are those of the namespace {space} (see lsns)")
        for name, guest in world.hosts.guests.items():
            say(f"{name}: nsenter --all --root --wd --target {guest.init} sh, inside of that namespace")
        sys.stdin.readline()
    world.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
