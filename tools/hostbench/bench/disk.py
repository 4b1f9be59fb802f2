"""A disk for a guest, of any size, which can be filled and freed from outside."""

import os

from .shell import run


class Disk:
    """A file system in a sparse file, mounted in a folder."""

    def __init__(self, place, mebibytes):
        self.place = place
        self.file = place.with_suffix(".disk")
        self.ballast = place / "ballast"
        place.mkdir(parents=True)
        with self.file.open("wb") as file:
            file.truncate(mebibytes << 20)
        # Nothing kept for root: a bootstrap is root.
        run("mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", self.file)
        run("mount", "-o", "loop", self.file, place)

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
