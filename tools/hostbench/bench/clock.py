"""A clock that is wrong in one guest: all share the machine's, so each program is told another time as it asks.

`libfaketime` stands between a program and the C library. What asks the kernel itself is not deceived: Docker and what is in
containers, which are written in Go, and systemd's first process, which starts without it.
"""

LIBRARY = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
# Says how wrong the clock is; without it, it is right.
WRONG = "etc/clock-of-the-bench"


def preload(root, by):
    """Returns the environment in which a program of this machine has another time."""
    return {"LD_PRELOAD": f"{root}{LIBRARY}", "FAKETIME": by, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def wrong(root, by):
    """Makes the clock of a guest wrong, in all that systemd and Run Command start there."""
    words = [f"LD_PRELOAD={LIBRARY}", f"FAKETIME_TIMESTAMP_FILE=/{WRONG}", "FAKETIME_DONT_FAKE_MONOTONIC=1"]
    (root / WRONG).write_text(by + "\n")
    folder = root / "etc/systemd/system.conf.d"
    folder.mkdir(parents=True)
    (folder / "clock.conf").write_text("[Manager]\nDefaultEnvironment=" + " ".join(words) + "\n")
    (root / "etc/environment-of-the-bench").write_text("\n".join(words) + "\n")
