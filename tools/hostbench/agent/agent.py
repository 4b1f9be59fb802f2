#!/usr/bin/env python3
"""Stand-in for the CloudWatch agent: sends the metrics of its configuration, with their dimensions, and the files of its logs.

Numbers are those of the host. Each is sent with the dimensions it has by itself and with each set of
`aggregation_dimensions` that it has, as the agent does.
"""

import json
import os
import subprocess
import time
import urllib.request
from urllib.parse import urlencode

CONFIG = "/opt/aws/amazon-cloudwatch-agent/etc/amazon-cloudwatch-agent.json"
IMDS = "http://169.254.169.254/latest/"


def metadata(path):
    """Asks the metadata service."""
    head = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = urllib.request.urlopen(urllib.request.Request(IMDS + "api/token", method="PUT", headers=head), timeout=5).read()
    head = {"X-aws-ec2-metadata-token": token.decode()}
    return urllib.request.urlopen(urllib.request.Request(IMDS + "meta-data/" + path, headers=head), timeout=5).read().decode()


def call(service, host, headers, body):
    """Calls AWS as the role of the instance; curl signs."""
    path = "iam/security-credentials/"
    keys = json.loads(metadata(path + metadata(path)))
    config = f'user = "{keys["AccessKeyId"]}:{keys["SecretAccessKey"]}"\nheader = "x-amz-security-token: {keys["Token"]}"\n'
    words = ["curl", "-sS", "--fail-with-body", "--max-time", "30", "--config", "-", "--aws-sigv4", f"aws:amz:{REGION}:{service}"]
    for header in headers:
        words += ["-H", header]
    words += ["--data-raw", body, f"https://{host}.{REGION}.amazonaws.com/"]
    done = subprocess.run(words, input=config, capture_output=True, text=True)
    if done.returncode:
        print(f"{service}: {done.stdout[-300:]} {done.stderr[-300:]}", flush=True)
    return done.returncode == 0, done.stdout


def cpu_times():
    """Returns busy and all time since the boot."""
    fields = [int(n) for n in open("/proc/stat").readline().split()[1:9]]
    return sum(fields) - fields[3] - fields[4], sum(fields)


def readings(collected, state):
    """Yields (name, value, unit, dimensions) of what is asked for."""
    busy, total = cpu_times()
    was_busy, was_total = state.get("cpu", (0, 0))
    state["cpu"] = busy, total
    memory = {line.split(":")[0]: int(line.split()[1]) for line in open("/proc/meminfo")}
    known = {
        "cpu_usage_active": (100 * (busy - was_busy) / max(1, total - was_total), "Percent"),
        "mem_used_percent": (100 - 100 * memory["MemAvailable"] / memory["MemTotal"], "Percent"),
    }
    for plugin, wanted in collected.items():
        names = [m if isinstance(m, str) else m["name"] for m in wanted["measurement"]]
        for name in names:
            name = name if name.startswith(plugin + "_") else f"{plugin}_{name}"
            if plugin == "disk":
                for path in wanted["resources"]:
                    disk = os.statvfs(path)
                    used = disk.f_blocks - disk.f_bfree
                    value = {
                        "disk_used_percent": (100 * used / max(1, used + disk.f_bavail), "Percent"),
                        "disk_inodes_free": (disk.f_ffree, "Count"),
                    }[name]
                    yield name, *value, {"path": path, "fstype": "ext4"}
            else:
                yield name, *known[name], {"cpu": "cpu-total"} if plugin == "cpu" else {}


def send_metrics(metrics, state):
    """Sends one round."""
    fields, n = {"Action": "PutMetricData", "Version": "2010-08-01", "Namespace": metrics.get("namespace", "CWAgent")}, 0
    for name, value, unit, dimensions in readings(metrics["metrics_collected"], state):
        if "InstanceId" in metrics.get("append_dimensions", {}):
            dimensions["InstanceId"] = INSTANCE
        sets = [dimensions]
        for keys in metrics.get("aggregation_dimensions", []):
            chosen = {key: dimensions[key] for key in keys if key in dimensions}
            if len(chosen) == len(keys) and chosen not in sets:
                sets.append(chosen)
        for chosen in sets:
            n += 1
            datum = f"MetricData.member.{n}."
            fields |= {datum + "MetricName": name, datum + "Value": f"{value:.3f}", datum + "Unit": unit}
            for d, (key, text) in enumerate(sorted(chosen.items()), 1):
                fields |= {f"{datum}Dimensions.member.{d}.Name": key, f"{datum}Dimensions.member.{d}.Value": text}
    return call("monitoring", "monitoring", ["Content-Type: application/x-www-form-urlencoded"], urlencode(fields))[0]


def send_log(entry, state):
    """Sends the new lines of a file."""
    group, stream = entry["log_group_name"], entry["log_stream_name"].replace("{instance_id}", INSTANCE)
    at = state.setdefault(entry["file_path"], 0)
    if not os.path.exists(entry["file_path"]):
        return
    with open(entry["file_path"], "rb") as file:
        file.seek(at)
        data = file.read(500_000)
    lines = data[: data.rfind(b"\n") + 1]
    if not lines:
        return
    now = int(time.time() * 1000)

    def logs(operation, body):
        headers = [f"X-Amz-Target: Logs_20140328.{operation}", "Content-Type: application/x-amz-json-1.1"]
        return call("logs", "logs", headers, json.dumps(body))[0]

    if at == 0:
        logs("CreateLogStream", {"logGroupName": group, "logStreamName": stream})
    events = [{"timestamp": now, "message": line} for line in lines.decode("utf8", "replace").splitlines() if line]
    if logs("PutLogEvents", {"logGroupName": group, "logStreamName": stream, "logEvents": events}):
        state[entry["file_path"]] = at + len(lines)


def main():
    """Sends for as long as it runs."""
    config = json.load(open(CONFIG))
    state = {}
    while True:
        if "metrics" in config:
            send_metrics(config["metrics"], state)
        for entry in config.get("logs", {}).get("logs_collected", {}).get("files", {}).get("collect_list", []):
            send_log(entry, state)
        time.sleep(config.get("agent", {}).get("metrics_collection_interval", 60))


if __name__ == "__main__":
    REGION = metadata("placement/region")
    INSTANCE = metadata("instance-id")
    main()
