#!/bin/sh
# Work on a host that is there: start, stop, log, settings, upgrade, disk. Sent whole by Run Command; safe to run again.
# What stands in holes is filled in and quoted by `src/domain/lifecycle/script.rs`; no secret stands here.
# The last line that it prints is JSON, the exit code 0: `lifecycle.py` says what is in it.
export WORK=@@WORK@@
# Everything below this folder; not empty only in tests.
ROOT=''
export ROOT HOME="$ROOT/root" PYTHONDONTWRITEBYTECODE=1
exec python3 - main <<'PYTHON'
@@PROGRAM@@
PYTHON
