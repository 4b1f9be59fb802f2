"""A certificate authority of the bench's own, made for one run."""

from pathlib import Path

from .shell import run


class Authority:
    """Its certificate is what guests must trust."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir()
        self.certificate = self.folder / "ca.crt"
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        run(
            *("openssl", "req", "-x509", *key, "-days", "2", "-subj", "/CN=Authority of the bench", *usage),
            *("-keyout", self.folder / "ca.key", "-out", self.certificate),
        )

    def issue(self, names):
        """Returns the files of a certificate for names and of its key."""
        certificate, key = self.folder / "server.crt", self.folder / "server.key"
        alternatives = ",".join(f"DNS:{name}" for name in names)
        run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=bench", "-addext", f"subjectAltName={alternatives}"),
            *("-addext", "basicConstraints=critical,CA:FALSE", "-addext", "extendedKeyUsage=serverAuth"),
            *("-CA", self.certificate, "-CAkey", self.folder / "ca.key", "-keyout", key, "-out", certificate),
        )
        return certificate, key
