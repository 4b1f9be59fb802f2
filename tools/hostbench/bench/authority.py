"""A certificate authority of the bench's own, made for one run."""

import os
from pathlib import Path

from .clock import preload
from .shell import run


class Authority:
    """Its certificate is what guests must trust. It is a month old, as those of AWS are months old: a clock that is hours behind
    takes it for good."""

    def __init__(self, folder, image):
        self.folder = Path(folder)
        self.environment = os.environ | preload(f"{image}/root", "-30d")
        self.folder.mkdir()
        self.certificate = self.folder / "ca.crt"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        run(
            *("openssl", "req", "-x509", *key, "-days", "60", "-subj", "/CN=Authority of the bench", *usage),
            *("-keyout", self.folder / "ca.key", "-out", self.certificate),
            env=self.environment,
        )

    def issue(self, names):
        """Returns the files of a certificate for names and of its key."""
        certificate, key = self.folder / "server.crt", self.folder / "server.key"
        alternatives = ",".join(f"DNS:{name}" for name in names)
        run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "60", "-subj", "/CN=bench", "-addext", f"subjectAltName={alternatives}"),
            *("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"),
            *("-CA", self.certificate, "-CAkey", self.folder / "ca.key", "-keyout", key, "-out", certificate),
            env=self.environment,
        )
        return certificate, key
