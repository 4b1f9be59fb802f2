"""Runs a program as the first of its own machine: own processes, mounts and network, which are gone when it is.

    sandbox.py FOLDER PROGRAM ARGUMENT...

However this process ends, `kill -9` included, the kernel ends everything inside and takes its mounts, interfaces and rules
away: none of them was ever the machine's own. FOLDER is made for the program's files and removed with it; folders that
killed runs left are removed by the next one. Inside there is no way out but the socket FOLDER/way-out, whose first line is
`HOST PORT`; only the machine's own sources of packages are behind it.
"""

import ctypes
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

PR_SET_PDEATHSIG = 1
NAMESPACES = ["--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--mount-proc"]


def package_hosts():
    """Returns (host, port) of each of the machine's package sources."""
    found = set()
    for file in [*Path("/etc/apt/sources.list.d").glob("*.sources"), Path("/etc/apt/sources.list")]:
        text = file.read_text() if file.exists() else ""
        for scheme, host, port in re.findall(r"^[^#]*?\b(https?)://([^/:\s]+)(?::(\d+))?", text, re.M):
            found.add((host, int(port or {"http": 80, "https": 443}[scheme])))
    return found


def pipe(source, target):
    """Copies until the source ends."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for end in source, target:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def serve_way_out(listener, allowed):
    """Connects whoever asks to a host that is allowed."""

    def serve(inside):
        line = b""
        while not line.endswith(b"\n"):
            byte = inside.recv(1)
            if not byte:
                return
            line += byte
        host, port = line.decode().split()
        if (host, int(port)) not in allowed:
            inside.close()
            return
        try:
            outside = socket.create_connection((host, int(port)), timeout=30)
        except OSError as error:
            print(f"way out: {host}: {error}", file=sys.stderr)
            inside.close()
            return
        outside.settimeout(None)
        threading.Thread(target=pipe, args=(outside, inside), daemon=True).start()
        pipe(inside, outside)

    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def sweep(parent):
    """Removes folders whose run is over: nobody holds their lock."""
    for lock in parent.glob("hostbench.*/lock"):
        try:
            with lock.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(lock.parent, ignore_errors=True)
        except OSError:
            pass


def sweep_groups():
    """Removes the empty control groups that guests left; a group that is in use cannot be removed."""
    for top in "/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd":
        for group in Path(top).glob("hostbench-*"):
            for path, _, _ in os.walk(group, topdown=False):
                try:
                    os.rmdir(path)
                except OSError:
                    pass


def main():
    folder = Path(sys.argv[1]).absolute()
    sweep(folder.parent)
    sweep_groups()
    folder.mkdir(parents=True)
    lock = (folder / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    listener = socket.socket(socket.AF_UNIX)
    # Paths of sockets are short.
    here = os.getcwd()
    os.chdir(folder)
    listener.bind("way-out")
    os.chdir(here)
    listener.listen(64)
    threading.Thread(target=serve_way_out, args=(listener, package_hosts()), daemon=True).start()

    libc = ctypes.CDLL(None)
    child = subprocess.Popen(
        ["unshare", *NAMESPACES, *sys.argv[2:]],
        preexec_fn=lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        env=os.environ | {"HOSTBENCH_FOLDER": str(folder)},
    )
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, lambda *_: child.kill())
    code = child.wait()
    shutil.rmtree(folder, ignore_errors=True)
    sweep_groups()
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
