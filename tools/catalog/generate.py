#!/usr/bin/env python3
"""Makes the embedded catalog from an installed moto and our own price file.

    .venv/bin/python tools/catalog/generate.py [OUTPUT_FOLDER]

reads   moto's instance_types.json.gz and instance_type_offerings/region/*.json.gz (answers of AWS' public
        DescribeInstanceTypes and DescribeInstanceTypeOfferings, shipped with moto under Apache-2.0)
        botocore's list of EC2 regions
        tools/catalog/prices.csv (ours: item, region, price, unit, date, source)
        src/domain/catalog/sources.csv (ours: what each source id of a price stands for)
writes  src/domain/catalog/instance_types.csv, prices.csv and regions.csv, or the same into OUTPUT_FOLDER

The output depends on nothing but these inputs; a test runs this script and compares byte for byte. Columns and
choice of rows are ours:

* families c, m, r and t of generation 3 and later on the Nitro hypervisor, x86-64, no bare metal, no
  accelerators, at least 1 GiB of memory. The generation flag does not choose: AWS marks c5, m5, r5, m6i and r6i
  as not current, and the vendor names c5.
* max_pods: network interfaces * (IPv4 addresses each - 1) + 2, capped at 110 below 30 vCPUs and at 250 from
  there on, as EKS caps it for managed node groups.
* offered: bit mask in hexadecimal over the rows of regions.csv, lowest bit first. For a region without offerings
  in moto, a type counts as offered where prices.csv has a price for it; a region with neither has `known` no.
"""

import csv
import gzip
import io
import json
import pathlib
import re
import sys

import botocore.session
import moto

MOTO = "5.2.1"
ROOT = pathlib.Path(__file__).resolve().parents[2]
PRICES = ROOT / "tools" / "catalog" / "prices.csv"
SOURCES = ROOT / "src" / "domain" / "catalog" / "sources.csv"
RESOURCES = pathlib.Path(moto.__file__).parent / "ec2" / "resources"
FAMILY = re.compile(r"^[cmrt]([3-9]|[1-9][0-9])[a-z-]*\.")
PARTITIONS = ("aws", "aws-us-gov", "aws-cn")  # without a price in dollars a region is listed, not known
UNITS = {"hour", "gb-month", "iops-month", "mbps-month", "alarm-month", "metric-month", "gb", "vcpu-hour"}
HEADER = "# Made by tools/catalog/generate.py; facts derived from moto {moto} (Apache-2.0), see NOTICE. Do not edit.\n"


def load(path):
    return json.loads(gzip.decompress(path.read_bytes()))


def hosts_a_runner(name, facts):
    return (
        FAMILY.match(name) is not None
        and "x86_64" in facts["ProcessorInfo"]["SupportedArchitectures"]
        and facts.get("Hypervisor") == "nitro"
        and not facts["BareMetal"]
        and not any(facts.get(key) for key in ("GpuInfo", "FpgaInfo", "InferenceAcceleratorInfo", "NeuronInfo"))
        and facts["MemoryInfo"]["SizeInMiB"] >= 1024
    )


def max_pods(facts):
    network, vcpus = facts["NetworkInfo"], facts["VCpuInfo"]["DefaultVCpus"]
    addresses = network["MaximumNetworkInterfaces"] * (network["Ipv4AddressesPerInterface"] - 1) + 2
    return min(addresses, 110 if vcpus < 30 else 250)


def natural(name):
    """Sorts sizes of a family by size: digits as numbers, the sizes below xlarge first."""
    family, size = name.split(".", 1)
    below = ["nano", "micro", "small", "medium", "large", "xlarge"]
    return family, below.index(size) if size in below else 10 * int(size[: -len("xlarge")])


def prices():
    known = {row["id"] for row in csv.DictReader(SOURCES.open())}
    rows, seen = [], set()
    for line, row in enumerate(csv.DictReader(PRICES.open()), start=2):
        complaint = None
        if not re.fullmatch(r"[0-9]{1,6}\.[0-9]{1,6}", row["price"]) or float(row["price"]) <= 0:
            complaint = f"price {row['price']!r} is no positive decimal with at most six places"
        elif not re.fullmatch(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]", row["date"]):
            complaint = f"date {row['date']!r} is not YYYY-MM-DD"
        elif row["unit"] not in UNITS:
            complaint = f"unit {row['unit']!r} is not one of {sorted(UNITS)}"
        elif row["source"] not in known:
            complaint = f"source {row['source']!r} is not in {SOURCES.name}"
        elif (row["region"], row["item"]) in seen:
            complaint = "the same item and region stand above already"
        if complaint:
            sys.exit(f"{PRICES.name}:{line}: {complaint}")
        seen.add((row["region"], row["item"]))
        rows.append(row)
    return rows


def text(columns, rows, **extra):
    out = io.StringIO()
    out.write(HEADER.format(moto=MOTO, **extra))
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def main():
    if moto.__version__ != MOTO:
        sys.exit(f"needs moto {MOTO}, found {moto.__version__}")
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "src" / "domain" / "catalog"

    types = {name: facts for name, facts in load(RESOURCES / "instance_types.json.gz").items() if hosts_a_runner(name, facts)}
    price_rows = [row for row in prices() if "." not in row["item"] or row["item"] in types]
    offered = {}
    for path in sorted((RESOURCES / "instance_type_offerings" / "region").glob("*.json.gz")):
        offered[path.name.removesuffix(".json.gz")] = {row["InstanceType"] for row in load(path)}
    priced = {}
    for row in price_rows:
        priced.setdefault(row["region"], set()).add(row["item"])
    session = botocore.session.get_session()
    regions = sorted({name for partition in PARTITIONS for name in session.get_available_regions("ec2", partition)} | set(offered))
    for region in regions:
        offered.setdefault(region, priced.get(region, set()))

    type_rows = []
    for name in sorted(types, key=natural):
        facts = types[name]
        cpu, ebs = facts["VCpuInfo"], facts["EbsInfo"]["EbsOptimizedInfo"]
        mask = sum(1 << bit for bit, region in enumerate(regions) if name in offered[region])
        if mask == 0:
            continue
        type_rows.append([
            name, cpu["DefaultVCpus"], cpu["DefaultThreadsPerCore"], facts["MemoryInfo"]["SizeInMiB"],
            ebs["BaselineBandwidthInMbps"], facts["NetworkInfo"]["NetworkPerformance"],
            "yes" if facts["CurrentGeneration"] else "no", max_pods(facts), f"{mask:x}",
        ])
    shown = {row[0] for row in type_rows}
    price_rows = [row for row in price_rows if "." not in row["item"] or (row["item"] in shown and row["item"] in offered.get(row["region"], ()))]
    price_rows.sort(key=lambda row: (row["region"], "." in row["item"], natural(row["item"]) if "." in row["item"] else (row["item"], 0)))

    columns = ["instance_type", "vcpus", "threads_per_core", "memory_mib", "ebs_baseline_mbps", "network",
               "current_generation", "max_pods", "offered"]
    (folder / "instance_types.csv").write_text(text(columns, type_rows))
    (folder / "regions.csv").write_text(text(["region", "known"], [[r, "yes" if offered[r] else "no"] for r in regions]))
    columns = ["region", "item", "price", "unit", "date", "source"]
    (folder / "prices.csv").write_text(text(columns, [[row[c] for c in columns] for row in price_rows]))


if __name__ == "__main__":
    main()
