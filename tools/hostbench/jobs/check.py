#!/usr/bin/env python3
"""Lets the fake runner do jobs of Collabora's `gitlab-runner-mock`, through the fake GitLab.

The mock is strict where GitLab's page is not: the form of the system id, the features a runner must have, the type and
the exact range of each piece of a trace. With CI=true its program is built first; else exit code 77 if it is not there.
"""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "image"))

import check as runner  # noqa: E402 (found through the line above)


def program():
    wanted = [] if os.environ.get("CI") == "true" else ["--where"]
    found = subprocess.run([HERE / "build", *wanted], stdout=subprocess.PIPE, text=True)
    if found.returncode:
        print(found.stdout.strip() or "skipped: gitlab-runner-mock is not built (tools/hostbench/jobs/build)")
        sys.exit(77)
    return found.stdout.strip()


def main():
    mock = subprocess.Popen([program()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory(prefix="hostbench-jobs-") as folder:
        bench = runner.Bench(folder)
        try:
            url = mock.stdout.readline().strip()
            made = bench.made(jobs_url=url)
            bench.register(CI_SERVER_TOKEN=made["token"])
            bench.start(concurrent=1)
            for script, state in ("sleep 4", "success"), ("false", "failed"):
                mock.stdin.write(script + "\n")
                mock.stdin.flush()
                number = json.loads(mock.stdout.readline())["id"]
                ended = json.loads(mock.stdout.readline())
                assert (ended["id"], ended["state"]) == (number, state), ended
                assert ended["log"].startswith("\x1b[0KRunning with gitlab-runner") and "hello\n" in ended["log"], ended
                # What a job says while it runs comes before its end.
                assert ended["patches"] == (2 if script == "sleep 4" else 1), ended
                assert number not in bench.platform.jobs
            (known,) = bench.state()["runners"]
            assert known["managers"][0]["version"] == "19.3.0", known
            assert bench.end(signal.SIGQUIT) == 0
        finally:
            mock.kill()
            mock.wait()
            bench.close()
    print("the fake runner does the jobs of gitlab-runner-mock")


if __name__ == "__main__":
    main()
