"""One host: a Debian system booted in systemd-nspawn, with real cloud-init and a real Docker engine.

It sees cgroup v2 without controllers, has no kernel and no interface set-up of its own, and lacks a few capabilities:
privileged containers and memory limits cannot be shown with it. Its root is an overlay, unless it is to have a disk of its own
with a partition, which can grow.
"""

import os
import signal
import subprocess
from pathlib import Path

from .disk import Disk, Partitioned
from .shell import Failed, run, say, until

# Where everything that guests talk to is; the metadata service has its own.
SERVICES = "10.99.0.1"
SIGRTMIN = 34
POWER_OFF = SIGRTMIN + 4


def own_group(name):
    """Moves this process into a control group of its own: below it, systemd of one guest does not meet another's."""
    for top in "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup":
        if Path(top, "cgroup.procs").exists():
            group = Path(top, name)
            group.mkdir(exist_ok=True)
            (group / "cgroup.procs").write_text("0")


class Guest:
    """A host with its disk, which outlives reboots."""

    def __init__(self, name, number, image, folder, prepare=None, partitioned=False):
        """`prepare(root)` changes the file system before the first boot."""
        self.name = name
        self.number = number
        self.address = f"10.99.{number}.2"
        self.image = Path(image)
        self.folder = Path(folder) / name
        self.root = self.folder / "root"
        # Not on the guest's own disk: when that is full, what is said would end the guest.
        self.console = self.folder.parent / f"{name}.console.log"
        self.prepare = prepare
        self.partitioned = partitioned
        self.disk = None
        self.process = None
        self.init = None
        self.boots = 0
        # Whoever switches it off by hand says so, or it would be started again.
        self.held = False

    @property
    def power(self):
        """A file that is there while it is on, with the number of its first process: for Run Command and the emulator."""
        return self.folder / "init"

    @property
    def runs(self):
        """Whether it is switched on."""
        return self.process is not None and self.process.poll() is None

    def make(self, user_data, meta_data, mebibytes):
        """Makes its disk: the image, or an overlay on it, and the seed that cloud-init reads."""
        if self.partitioned:
            self.folder.mkdir(parents=True)
            self.disk = Partitioned(self.root, mebibytes)
            run("cp", "-a", "--reflink=auto", f"{self.image}/root/.", self.root)
        else:
            self.disk = Disk(self.folder, mebibytes)
            for part in "upper", "work", "root", "docker", "containerd":
                (self.folder / part).mkdir(parents=True)
            self._mount()
        seed = self.root / "var/lib/cloud/seed/nocloud"
        seed.mkdir(parents=True)
        (seed / "user-data").write_bytes(user_data)
        (seed / "meta-data").write_text(meta_data)
        # The sources stay: the public mirror is out of reach. The schema of 22.4 refuses `locale: false`, the program not.
        (self.root / "etc/cloud/cloud.cfg.d/99-bench.cfg").write_text(
            "datasource_list: [NoCloud, None]\napt: {preserve_sources_list: true}\nnetwork: {config: disabled}\nlocale: false\n"
        )
        (self.root / "etc/machine-id").write_text("")
        (self.root / "etc/hostname").write_text(self.name + "\n")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        (self.root / "etc/resolv.conf").write_text(f"nameserver {SERVICES}\n")
        for part in "docker", "containerd":
            (self.root / "var/lib" / part).mkdir(exist_ok=True)
        if self.prepare:
            self.prepare(self.root)

    def _mount(self):
        layers = f"lowerdir={self.image / 'root'},upperdir={self.folder / 'upper'},workdir={self.folder / 'work'}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, self.root)

    def _plug(self):
        """Gives it a network namespace and a cable to the services."""
        near, peer = f"g{self.number}", f"10.99.{self.number}.1"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", near, "type", "veth", "peer", "name", "host0", "netns", self.name)
        run("ip", "addr", "add", f"{peer}/24", "dev", near)
        run("ip", "link", "set", near, "up")
        inside = ("ip", "-n", self.name)
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "addr", "add", f"{self.address}/24", "dev", "host0")
        run(*inside, "link", "set", "host0", "up")
        run(*inside, "route", "add", "default", "via", peer)

    def _binds(self):
        """What it sees of this machine's file system."""
        if self.partitioned:
            return [f"--bind={self.disk.device}", f"--bind={self.disk.partition}"]
        # The upper directory of an overlay cannot be on an overlay.
        return [f"--bind={self.folder}/{part}:/var/lib/{part}" for part in ("docker", "containerd")]

    def cable(self, plugged):
        """Pulls the cable, or plugs it in again."""
        run("ip", "link", "set", f"g{self.number}", "up" if plugged else "down")

    def boot(self):
        """Switches it on, and waits until its first process is there."""
        if self.runs:
            raise Failed(f"{self.name} runs already")
        self.boots += 1
        self._plug()
        environment = os.environ | {
            "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
            "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "yes",
        }
        command = [
            "systemd-nspawn",
            "--quiet",
            f"--directory={self.root}",
            f"--machine={self.name}",
            "--register=no",
            "--keep-unit",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            "--console=read-only",
            f"--network-namespace-path=/run/netns/{self.name}",
            "--capability=CAP_NET_ADMIN",
            "--system-call-filter=add_key keyctl bpf",
            *self._binds(),
            "--boot",
        ]
        group = f"hostbench-{self.folder.parent.parent.name}-{self.number}"
        with self.console.open("ab") as console:
            console.write(f"--- boot {self.boots}\n".encode())
            console.flush()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environment,
                start_new_session=True,
                preexec_fn=lambda: own_group(group),
            )
        self.init = until(f"first process of {self.name}", 30, self._first_process, 0.05)
        self.power.write_text(str(self.init))

    def _first_process(self):
        if not self.runs:
            raise Failed(f"{self.name} did not start: {self.tail()}")
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            # The name changes when the boot begins.
            if Path(f"/proc/{child}/comm").read_text().strip() in ("systemd", "init"):
                return int(child)
        return None

    def run(self, *command, check=False, timeout=60, **options):
        """Runs a command inside as root; returns what it prints."""
        words = ["nsenter", "--target", self.init, "--all", "--root", "--wd", *command]
        return run(*words, check=check, timeout=timeout, **options)

    def sh(self, text, **options):
        """Runs a line of shell inside."""
        return self.run("sh", "-c", text, **options)

    def read(self, path):
        """Returns a file's text; empty where there is none."""
        file = self.root / str(path).lstrip("/")
        return file.read_text(errors="replace") if file.exists() else ""

    def log(self):
        """Returns what the bootstrap said."""
        return self.read("/var/log/dataops-infra.log")

    def tail(self, lines=25):
        """Returns the last lines of the console."""
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-lines:])

    def cloud_init(self):
        """Returns the last word of cloud-init: running, done or error."""
        said = self.run("cloud-init", "status")
        return said.split(":", 1)[1].strip() if ":" in said else ""

    def _unplug(self):
        if self.process:
            self.process.wait()
        self.process = self.init = None
        self.power.unlink(missing_ok=True)
        run("ip", "link", "del", f"g{self.number}", check=False)
        run("ip", "netns", "del", self.name, check=False)

    def _ends(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            say(f"{self.name} does not stop; it is switched off")
            self.process.kill()
        self._unplug()

    def power_off(self, seconds=60):
        """Shuts it down, as EC2 does when an instance is stopped or terminated."""
        if self.runs:
            os.kill(self.init, POWER_OFF)
            self._ends(seconds)

    def kill(self):
        """Pulls the plug: no process gets to say good-bye, and nothing more is written."""
        if self.runs:
            os.kill(self.init, signal.SIGKILL)
            self._ends(20)

    def reboot(self):
        """Restarts it from inside."""
        self.held = True
        self.run("systemctl", "--no-block", "reboot")
        self._ends(90)
        self.boot()
        self.held = False

    def cut_off(self):
        """Pulls the plug and puts it in again."""
        self.held = True
        self.kill()
        self.boot()
        self.held = False

    def running(self, seconds=90):
        """Waits until the boot is over; returns what systemd calls the result."""
        states = ("running", "degraded")
        return until(
            f"end of the boot of {self.name}",
            seconds,
            lambda: (state := self.run("systemctl", "is-system-running").strip()) in states and state,
            0.5,
        )

    def destroy(self):
        """Takes it down and its disk away."""
        self.kill()
        if not self.partitioned:
            run("umount", "--lazy", self.root, check=False)
        if self.disk:
            self.disk.close()
