"""Everything together: the services, the account, and hosts that boot when the account launches them."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

from . import clock
from .authority import Authority
from .cloud import REPOSITORY, Cloud, Follower
from .front import Files, Front, Hub, Plain, WayOut
from .guest import SERVICES, Guest
from .metadata import ADDRESS, Metadata
from .names import serve as serve_names
from .packages import agent, repository
from .platform import NAME as PLATFORM
from .platform import URL, Platform
from .registry import PORT, Registry
from .shell import Failed, run, say

sys.path.insert(0, str(REPOSITORY / "tools/hostbench"))
from sandbox import package_hosts  # noqa: E402

REGION = "eu-west-2"
WAY_OUT = Path("/run/way-out")
AWS = [f"{name}.{REGION}.amazonaws.com" for name in ("ssm", "secretsmanager", "logs", "monitoring", "ec2", "sts")]
AGENT = f"amazoncloudwatch-agent-{REGION}.s3.{REGION}.amazonaws.com"
HUB = ["registry-1.docker.io", "index.docker.io"]
LOGIN = {"username": "bench", "password": "password-of-the-bench"}


class World:
    """One account, one platform, and the hosts."""

    def __init__(self, image, store):
        self.image = Path(image)
        self.folder = Path(os.environ["HOSTBENCH_FOLDER"])
        self.number = 0
        self._network()
        self.authority = Authority(self.folder / "authority", self.image)
        self.front = Front()
        self.metadata = Metadata()
        self.registry = Registry(self.folder / "registry", store)
        self.cloud = Cloud(self.folder, REGION)
        self.platform, self.platform_url = Platform(), URL
        self._routes()
        serve_names(self.front.knows)
        self.front.serve(*self.authority.issue(sorted(self.front.routes)))
        self.metadata.serve()
        self.cloud.client("ssm").put_parameter(Name="/bench/registry", Value=json.dumps(LOGIN), Type="SecureString")
        # Changes the disk of each new host before it boots; for faults.
        self.prepare = lambda _root: None
        # Told of each new host at once when it is on; for faults.
        self.booted = lambda _guest: None
        # Size of their disks; none: as the account has it. They are sparse.
        self.mebibytes = None
        # Whether they have a disk with a partition, which can grow, instead of an overlay; making one takes longer.
        self.partitioned = False
        # How wrong their clock is, such as `-3600`.
        self.clock = None
        self.hosts = Follower(self.cloud, self.launch, self.change)

    def _network(self):
        """Gives the services their addresses; what `up` runs in is this machine, so it finds them by name too."""
        run("mount", "--make-rprivate", "/")
        run("mount", "-t", "tmpfs", "tmpfs", "/run")
        WAY_OUT.symlink_to(self.folder / "way-out")
        run("ip", "link", "set", "lo", "up")
        for address in SERVICES, ADDRESS:
            run("ip", "addr", "add", f"{address}/32", "dev", "lo")
        names = self.folder / "resolv.conf"
        names.write_text(f"nameserver {SERVICES}\n")
        real = Path("/etc/resolv.conf").resolve()
        if real.exists():
            run("mount", "--bind", names, real)

    def _routes(self):
        routes = self.front.routes
        for host, port in package_hosts():
            routes[host] = WayOut(WAY_OUT, host, port, port == 443)
        for host in AWS:
            routes[host] = Plain("127.0.0.1", self.cloud.port)
        docker = self.folder / "docker"
        suite = self.image.name.split("-")[0]
        repository(docker, self.image / "packages", suite)
        routes["download.docker.com"] = Files(docker)
        bucket = self.folder / "agent/ubuntu/amd64/latest"
        bucket.mkdir(parents=True)
        agent(self.folder / "agent").rename(bucket / "amazon-cloudwatch-agent.deb")
        routes[AGENT] = Files(self.folder / "agent")
        routes[PLATFORM] = Plain("127.0.0.1", self.platform.port)
        for host in HUB:
            routes[host] = Hub("127.0.0.1", PORT, LOGIN["username"], LOGIN["password"])

    def launch(self, instance):
        """Boots a host for an instance."""
        name = instance["InstanceId"]
        self.number += 1
        guest = Guest(name, self.number, self.image, self.folder / "guests", self._prepare, self.partitioned)
        role = self.cloud.role(instance)
        data = self.cloud.user_data(name)
        self.metadata.set(
            guest.address,
            {
                "id": name,
                "region": REGION,
                "zone": instance["Placement"]["AvailabilityZone"],
                "type": instance["InstanceType"],
                "account": "123456789012",
                "image": instance["ImageId"],
                "address": guest.address,
                "role": role,
                "credentials": lambda: self.cloud.credentials(role),
                "hops": int(instance.get("MetadataOptions", {}).get("HttpPutResponseHopLimit") or 2),
                "user_data": data,
            },
        )
        plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        say(f"{name} is launched, user data of {len(data)} bytes ({len(plain)} of script); it boots")
        guest.make(data, f"instance-id: {name}\nlocal-hostname: {name}\n", self.mebibytes or self._size(instance))
        guest.boot()
        self.booted(guest)
        return guest

    def change(self, guest, instance):
        """What an instance is from its next start on."""
        self.metadata.instances[guest.address]["type"] = instance["InstanceType"]

    def _size(self, instance):
        """Returns the MiB of an instance's root volume."""
        volumes = [it["Ebs"]["VolumeId"] for it in instance["BlockDeviceMappings"]]
        return self.cloud.client("ec2").describe_volumes(VolumeIds=volumes[:1])["Volumes"][0]["Size"] << 10

    def _prepare(self, root):
        """What a public image has by itself: trust in who signs what it talks to."""
        with (root / "etc/ssl/certs/ca-certificates.crt").open("a") as trusted:
            trusted.write(self.authority.certificate.read_text())
        kept = root / "usr/local/share/ca-certificates/bench.crt"
        kept.write_text(self.authority.certificate.read_text())
        if self.clock:
            clock.wrong(root, self.clock)
        self.prepare(root)

    def program(self, binary, *arguments, log=None):
        """Starts the program in this account."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "DATAOPS_INFRA_CACHE_DIR": str(home / "cache"),
            "SSL_CERT_FILE": str(self.authority.certificate),
            "NO_COLOR": "1",
        }
        return subprocess.Popen(
            [binary, *map(str, arguments)],
            cwd=home,
            env=environment | self.cloud.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log or subprocess.PIPE,
            text=True,
        )

    def close(self):
        """Ends the hosts; what is left ends with the sandbox."""
        self.hosts.paused = True
        for guest in self.hosts.guests.values():
            guest.destroy()
        self.cloud.process.kill()
        self.registry.process.kill()


__all__ = ["Failed", "World"]
