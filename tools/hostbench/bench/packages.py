"""Docker's package repository and the CloudWatch agent's package, made on the fly.

What the packages of Docker's names install is the distribution's engine. The agent is a stand-in that sends what its
configuration says, with the role of the instance.
"""

import gzip
import hashlib
from email.utils import formatdate
from pathlib import Path

from .shell import run

HERE = Path(__file__).parent.parent
# Names of Docker's packages that only stand for others; `docker-ce` is made with the image.
META = {"containerd.io": ["containerd", "runc"], "docker-ce-cli": ["docker-ce"]}


def build(folder, name, version, depends, files=(), scripts=()):
    """Builds a package; `files` and `scripts` are (path, text, mode)."""
    tree = Path(folder) / f"{name}.tree"
    control = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: The bench <bench@example.org>\n"
    control += f"Depends: {', '.join(depends)}\n" if depends else ""
    control += "Description: stand-in of the bench\n"
    for path, text, mode in [("DEBIAN/control", control, 0o644), *scripts, *files]:
        file = tree / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)
    package = Path(folder) / f"{name}_{version}_amd64.deb"
    # Not compressed: small, and read once.
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, package)
    run("rm", "-r", tree)
    return package


def agent(folder):
    """Builds the package of the CloudWatch agent."""
    base = "opt/aws/amazon-cloudwatch-agent/bin"
    files = [
        (f"{base}/amazon-cloudwatch-agent-ctl", (HERE / "agent/ctl").read_text(), 0o755),
        (f"{base}/amazon-cloudwatch-agent", (HERE / "agent/agent.py").read_text(), 0o755),
        (
            "etc/systemd/system/amazon-cloudwatch-agent.service",
            "[Unit]\nDescription=Amazon CloudWatch Agent\nAfter=network.target\n[Service]\n"
            f"ExecStart=/{base}/amazon-cloudwatch-agent\nRestart=on-failure\nRestartSec=5\n"
            "[Install]\nWantedBy=multi-user.target\n",
            0o644,
        ),
    ]
    return build(folder, "amazon-cloudwatch-agent", "1.0", [], files)


def repository(folder, packages, suite):
    """Makes Docker's repository in a folder: its key as `gpg`, signed lists, the packages."""
    base = Path(folder) / "linux/debian"
    pool = base / "pool"
    pool.mkdir(parents=True)
    for package in Path(packages).glob("*.deb"):
        (pool / package.name).symlink_to(package)
    for name, depends in META.items():
        build(pool, name, "5:99.0", depends)
    entries = []
    for package in sorted(pool.glob("*.deb")):
        data = package.read_bytes()
        fields = run("dpkg-deb", "--field", package).strip()
        place = f"pool/{package.name}"
        entries.append(f"{fields}\nFilename: {place}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n")
    listed = "\n".join(entries).encode()
    lists = base / f"dists/{suite}/stable/binary-amd64"
    lists.mkdir(parents=True)
    (lists / "Packages").write_bytes(listed)
    (lists / "Packages.gz").write_bytes(gzip.compress(listed))
    release = f"Origin: Docker\nLabel: Docker CE\nSuite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: stable\n"
    release += f"Date: {formatdate(usegmt=True)}\nSHA256:\n"
    for file in "Packages", "Packages.gz":
        data = (lists / file).read_bytes()
        release += f" {hashlib.sha256(data).hexdigest()} {len(data)} stable/binary-amd64/{file}\n"
    sign(base, suite, release)
    return base


def sign(base, suite, release):
    """Signs the list of lists with a key made for this run."""
    # In the sandbox's own place for sockets: paths of sockets are short.
    home = Path("/run/gnupg-of-the-bench")
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--batch", "--quiet", "--homedir", home, "--pinentry-mode", "loopback", "--passphrase", "")
    dists = base / f"dists/{suite}"
    (dists / "Release").write_text(release)
    run(*gpg, "--quick-generate-key", "bench@example.org", "rsa2048", "sign", "2d")
    (base / "gpg").write_text(run(*gpg, "--armor", "--export"))
    run(*gpg, "--clearsign", "--output", dists / "InRelease", dists / "Release")
    run(*gpg, "--armor", "--detach-sign", "--output", dists / "Release.gpg", dists / "Release")
    run("gpgconf", "--homedir", home, "--kill", "all", check=False)
