"""Run Command: what `BENCH_RUN_COMMAND` names runs each script; without it, every command succeeds and says nothing.

The program is called with the instance, the script on its standard input. It ends as the script does, or with 254 where the
host's agent does not answer: the command then stays `Pending`, and is tried again until it expires.
"""

import os
import signal
import subprocess
import threading
import time

from moto.core.responses import ActionResult, EmptyResult
from moto.ec2.models import ec2_backends
from moto.ssm.models import Command
from moto.ssm.responses import SimpleSystemManagerResponse

from . import replaces

NO_AGENT = 254
# What GetCommandInvocation returns of each stream.
MOST_OUTPUT, MOST_ERROR = 24_000, 8_000
CUT = "\n---Output truncated---"
CUT_ERROR = "\n---Error truncated---"


def repair():
    """Does all of it."""
    program = os.environ.get("BENCH_RUN_COMMAND")

    def describe_instance_information(self):
        backend = ec2_backends[self.current_account][self.region]
        running = {instance.id for instance in backend.all_running_instances()}
        for chosen in self._get_param("Filters", []) or []:
            if chosen.get("Key") == "InstanceIds":
                running &= set(chosen["Values"])
        for chosen in self._get_param("InstanceInformationFilterList", []) or []:
            if chosen.get("key") == "InstanceIds":
                running &= set(chosen["valueSet"])
        return ActionResult({"InstanceInformationList": [information(program, name) for name in sorted(running)]})

    def cancel_command(self):
        command = self.ssm_backend.get_command_by_id(self._get_param("CommandId"))
        for run in getattr(command, "bench_runs", []):
            run.cancel()
        return EmptyResult()

    SimpleSystemManagerResponse.describe_instance_information = describe_instance_information
    SimpleSystemManagerResponse.cancel_command = cancel_command

    if program:

        @replaces(Command, "__init__")
        def init(init, self, *args, **kwargs):
            init(self, *args, **kwargs)
            self.status = self.status_details = "InProgress"
            self.bench_runs = [Run(program, self, invocation) for invocation in self.invocations]


def information(program, instance):
    """Returns what is known of an agent."""
    online = True
    if program:
        online = subprocess.run([program, instance], input=b"true", capture_output=True, timeout=30).returncode != NO_AGENT
    return {
        "InstanceId": instance,
        "PingStatus": "Online" if online else "ConnectionLost",
        "LastPingDateTime": time.time() if online else time.time() - 900,
        "AgentVersion": "3.3.1611.0",
        "PlatformType": "Linux",
        "ResourceType": "EC2Instance",
    }


def shortened(data, most, mark):
    """Returns text, cut where AWS cuts it."""
    text = data.decode("utf8", "replace")
    return text if len(text) <= most else text[: most - len(mark)] + mark


class Run(threading.Thread):
    """One script on one instance."""

    def __init__(self, program, command, invocation):
        super().__init__(daemon=True)
        self.program, self.command, self.invocation = program, command, invocation
        self.process = None
        self.cancelled = False
        self.say("Pending", "Pending")
        invocation["ResponseCode"] = -1
        invocation["ExecutionStartDateTime"] = invocation["ExecutionEndDateTime"] = ""
        self.start()

    def say(self, status, details):
        """Sets the status of the invocation, and of the command."""
        self.invocation["Status"], self.invocation["StatusDetails"] = status, details
        if status not in ("Pending", "InProgress"):
            self.command.status = self.command.status_details = status

    def cancel(self):
        """Ends it."""
        self.cancelled = True
        self.kill()

    def kill(self):
        """Ends the program with all that it started here."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)

    def run(self):
        script = "\n".join(self.command.parameters["commands"]).encode()
        seconds = float(self.command.parameters.get("executionTimeout", ["3600"])[0])
        expires = time.monotonic() + self.command.timeout_seconds
        while not self.cancelled:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            self.process = subprocess.Popen(
                [self.program, self.invocation["InstanceId"]], start_new_session=True, **pipes
            )
            self.say("InProgress", "InProgress")
            try:
                out, err = self.process.communicate(script, timeout=seconds)
                late = False
            except subprocess.TimeoutExpired:
                self.kill()
                out, err = self.process.communicate()
                late = True
            if self.process.returncode != NO_AGENT:
                return self.end(out, err, late)
            self.say("Pending", "Pending")
            if time.monotonic() > expires:
                return self.say("TimedOut", "DeliveryTimedOut")
            time.sleep(1)
        self.say("Cancelled", "Cancelled")

    def end(self, out, err, late):
        """Says how the script ended."""
        code = self.process.returncode
        self.invocation["StandardOutputContent"] = shortened(out, MOST_OUTPUT, CUT)
        self.invocation["StandardErrorContent"] = shortened(err, MOST_ERROR, CUT_ERROR)
        self.invocation["ResponseCode"] = code
        if self.cancelled:
            self.say("Cancelled", "Cancelled")
        elif late:
            self.say("TimedOut", "ExecutionTimedOut")
        else:
            self.say("Success" if code == 0 else "Failed", "Success" if code == 0 else "NonZeroExitCode")
