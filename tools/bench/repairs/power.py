"""What EC2 does with an instance and its disk over time, which moto has done at once.

Where `BENCH_POWER` names a folder, an instance has a host behind it while there is a folder of its name there: it is `pending`
until the host is on, which the file `init` in that folder says, and `stopping` until it is off. What such a host writes to its
console (`NAME.console.log`, beside its folder) is what GetConsoleOutput has.
"""

import base64
import os
from datetime import timedelta
from pathlib import Path

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.ec2.models import EC2Backend
from moto.ec2.models.elastic_block_store import Volume
from moto.ec2.models.instances import Instance
from moto.ec2.responses.general import General

from . import replaces
from .ec2 import refuse

CODES = {"pending": 0, "running": 16, "stopping": 64, "stopped": 80}
# On the way, and where to, by whether the host is on.
WAYS = {"pending": ("running", True), "stopping": ("stopped", False)}
BETWEEN_CHANGES = timedelta(hours=6)
# GetConsoleOutput has the last 64 KB.
CONSOLE = 64 << 10


def repair():
    """Does all of it."""
    limit_volume_changes()
    if os.environ.get("BENCH_POWER"):
        follow_hosts(Path(os.environ["BENCH_POWER"]))


def limit_volume_changes():
    """ModifyVolume: a volume is not changed twice within six hours."""

    @replaces(Volume, "modify")
    def modify(change, self, *args, **kwargs):
        last = self.modifications[-1].start_time if self.modifications else None
        if last and utcnow() - last < BETWEEN_CHANGES:
            refuse(
                "VolumeModificationRateExceeded",
                "You've reached the maximum modification rate per volume limit. Wait at least 6 hours between "
                "modifications per EBS volume.",
            )
        return change(self, *args, **kwargs)


def enter(instance, state):
    instance._state.name, instance._state.code = state, CODES[state]


def follow_hosts(folder):
    """An instance is what its host is."""

    def settle(instance):
        way = WAYS.get(instance._state.name)
        if way and (folder / instance.id / "init").exists() == way[1]:
            enter(instance, way[0])

    for name, state in ("start", "pending"), ("stop", "stopping"):

        @replaces(Instance, name)
        def change(method, self, *args, state=state, **kwargs):
            before = self._state.name
            answer = method(self, *args, **kwargs)
            if (folder / self.id).is_dir() and before not in (state, self._state.name):
                enter(self, state)
            return answer

    for name in "all_instances", "get_multi_instances_by_id":

        @replaces(EC2Backend, name)
        def look(method, self, *args, **kwargs):
            instances = method(self, *args, **kwargs)
            for instance in instances:
                settle(instance)
            return instances

    for name in "all_reservations", "describe_instances":

        @replaces(EC2Backend, name)
        def look_through(method, self, *args, **kwargs):
            for reservation in self.reservations.values():
                for instance in reservation.instances:
                    settle(instance)
            return method(self, *args, **kwargs)

    @replaces(EC2Backend, "get_instance")
    def get_instance(get, self, instance_id):
        instance = get(self, instance_id)
        settle(instance)
        return instance

    @replaces(General, "get_console_output")
    def get_console_output(get, self):
        name = self._get_param("InstanceId")
        file = folder / f"{name}.console.log"
        if not file.exists():
            return get(self)
        text = base64.b64encode(file.read_bytes()[-CONSOLE:]).decode()
        return ActionResult({"InstanceId": name, "Output": text, "Timestamp": utcnow()})
