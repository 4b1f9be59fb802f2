"""A disk for a guest, of any size, which can be filled and freed from outside."""

import os
import subprocess
from pathlib import Path

from .shell import run

# Number of CAP_SYS_RESOURCE, without which the kernel lets no mounted ext4 grow.
SYS_RESOURCE = 24


class Disk:
    """A file system in a sparse file, mounted in a folder."""

    def __init__(self, place, mebibytes):
        self.place = place
        self.file = place.with_suffix(".disk")
        self.ballast = place / "ballast"
        place.mkdir(parents=True)
        with self.file.open("wb") as file:
            file.truncate(mebibytes << 20)
        self._mount()

    def _mount(self):
        # Nothing kept for root: a bootstrap is root.
        run("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", self.file)
        run("mount", "-o", "loop", self.file, self.place)

    @property
    def mebibytes(self):
        """Its size."""
        return self.file.stat().st_size >> 20

    def grow(self, mebibytes):
        """Makes the disk larger, and nothing on it."""
        os.truncate(self.file, mebibytes << 20)

    def fill(self, left=0):
        """Leaves so many MiB free, or nothing at all."""
        with self.ballast.open("wb", buffering=0) as file:
            disk = os.statvfs(self.place)
            free = disk.f_bavail * disk.f_frsize - (left << 20)
            os.posix_fallocate(file.fileno(), 0, max(4096, free - (8 << 20)))
            if left == 0:
                # The rest, which is too small for whole extents.
                try:
                    while True:
                        file.seek(0, 2)
                        file.write(bytes(65536))
                except OSError:
                    pass

    def free(self):
        """Makes room again."""
        self.ballast.unlink()

    def close(self):
        """Takes it away."""
        run("umount", "--lazy", self.place, check=False)
        self.file.unlink(missing_ok=True)


def grows():
    """Returns a kind of file system that this machine's kernel lets grow while it is mounted: ext4 as Ubuntu's, else XFS."""
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    return "ext4" if int(held.split()[1], 16) >> SYS_RESOURCE & 1 else "xfs"


class Partitioned(Disk):
    """A disk with a table of partitions, of which the first is a system's root, as a cloud image has it."""

    def _mount(self):
        self.kind = grows()
        run("sfdisk", "--quiet", self.file, input="label: gpt\nstart=2048\n")
        # A kernel may know no table by itself; what is said of partitions it takes.
        self.device = run("losetup", "--find", "--show", "--partscan", self.file).strip()
        self.partition = self.device + "p1"
        subprocess.run(["partx", "--add", self.device], stderr=subprocess.DEVNULL, check=False)
        how = {"ext4": ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0"], "xfs": ["mkfs.xfs", "-q", "-f"]}[self.kind]
        run(*how, self.partition)
        run("mount", self.partition, self.place)
        # It goes with whoever uses it last, also when that one is killed.
        run("losetup", "--detach", self.device)

    def grow(self, mebibytes):
        super().grow(mebibytes)
        run("losetup", "--set-capacity", self.device)
