"""AWS: the emulator of tools/bench, and hosts that follow what its instances do."""

import base64
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import boto3
from botocore.config import Config

from .shell import say

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCE = REPOSITORY / "tools/bench/launcher.py"
PROGRAM = REPOSITORY / "tools/hostbench/run-command"


class Cloud:
    """One account in one region."""

    def __init__(self, folder, region):
        self.region = region
        self.folder = folder
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
            "BENCH_RUN_COMMAND": str(PROGRAM),
            "BENCH_POWER": str(folder / "guests"),
            "HOSTBENCH_FOLDER": str(folder),
        }
        self.process = subprocess.Popen(
            [sys.executable, SOURCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / "moto.log").open("ab"),
            env=environment,
            cwd="/tmp",
        )
        self.url = self.process.stdout.readline().decode().strip()
        self.port = int(self.url.rsplit(":", 1)[1])
        self.session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name=region)
        self.clients = {}

    def client(self, service):
        """Returns a client of the emulator."""
        if service not in self.clients:
            settings = Config(retries={"max_attempts": 1}, max_pool_connections=4)
            self.clients[service] = self.session.client(service, endpoint_url=self.url, config=settings)
        return self.clients[service]

    def environment(self):
        """Returns what tells a program to use the account."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def instances(self):
        """Returns all instances that there are or were."""
        pages = self.client("ec2").describe_instances()["Reservations"]
        return [instance for page in pages for instance in page["Instances"]]

    def user_data(self, instance):
        """Returns the bytes that an instance was launched with."""
        said = self.client("ec2").describe_instance_attribute(InstanceId=instance, Attribute="userData")
        return base64.b64decode(said["UserData"].get("Value", ""))

    def role(self, instance):
        """Returns the name of an instance's role."""
        profile = instance["IamInstanceProfile"]["Arn"].rsplit("/", 1)[1]
        found = self.client("iam").get_instance_profile(InstanceProfileName=profile)
        return found["InstanceProfile"]["Roles"][0]["RoleName"]

    def credentials(self, role):
        """Returns keys of a role, in the words of the metadata service."""
        arn = self.client("iam").get_role(RoleName=role)["Role"]["Arn"]
        keys = self.client("sts").assume_role(RoleArn=arn, RoleSessionName="host")["Credentials"]
        return {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "AccessKeyId": keys["AccessKeyId"],
            "SecretAccessKey": keys["SecretAccessKey"],
            "Token": keys["SessionToken"],
            "Expiration": keys["Expiration"].strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def parameter(self, name):
        """Returns a parameter's value, or nothing."""
        found = self.client("ssm").get_parameters(Names=[name], WithDecryption=True)["Parameters"]
        return found[0]["Value"] if found else None


class Follower(threading.Thread):
    """Does with guests what EC2 does with instances: boots, stops and ends them, as the emulator says; their disks grow."""

    def __init__(self, cloud, launch, change):
        """`launch(instance)` returns a guest that was booted; `change(guest, instance)` makes it what it is when it starts."""
        super().__init__(daemon=True)
        self.cloud, self.launch, self.change = cloud, launch, change
        self.guests = {}
        self.trouble = None
        self.paused = False
        self.start()

    def run(self):
        while True:
            try:
                if not self.paused:
                    for instance in self.cloud.instances():
                        self.follow(instance)
                    self.grow()
            except Exception as error:  # noqa: BLE001: whoever waits must hear of it
                self.trouble = error
                say(f"the hosts no longer follow: {type(error).__name__}: {error}")
                return
            time.sleep(0.3)

    def follow(self, instance):
        """Brings one guest to the state of its instance."""
        name, state = instance["InstanceId"], instance["State"]["Name"]
        guest = self.guests.get(name)
        if state == "running" and guest is None:
            self.guests[name] = self.launch(instance)
        elif state in ("pending", "running") and guest and not guest.runs and not guest.held:
            say(f"{name} is started as {instance['InstanceType']}")
            self.change(guest, instance)
            guest.boot()
        elif state in ("stopping", "stopped", "terminated") and guest and guest.runs:
            say(f"{name} is {state}: power off")
            guest.power_off()

    def grow(self):
        """Gives each disk the size of its volume."""
        for volume in self.cloud.client("ec2").describe_volumes()["Volumes"] if self.guests else ():
            guest = self.guests.get(volume["Attachments"][0]["InstanceId"]) if volume["Attachments"] else None
            if guest and guest.partitioned and guest.disk.mebibytes < volume["Size"] << 10:
                say(f"the disk of {guest.name} grows to {volume['Size']} GiB")
                guest.disk.grow(volume["Size"] << 10)
