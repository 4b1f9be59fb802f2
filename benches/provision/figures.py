"""Sums up what was measured, and prints the tables.

python figures.py result.json    prints the tables of an earlier run
"""

import json
import statistics
import sys

OURS = "dataops-infra"
FLOOR = "boto3, threads"
PREVIEW_EMPTY, CREATE, AGAIN, PREVIEW, DELETE = "preview, empty", "create", "again", "preview, made", "delete"
STEPS = (PREVIEW_EMPTY, CREATE, AGAIN, PREVIEW, DELETE)
MANY = 100

# Heading, width and value of each column of the table.
COLUMNS = (
    ("step", -15, lambda row: row["step"]),
    ("contender", -16, lambda row: row["contender"]),
    ("min s", 7, lambda row: f"{row['wall_s']['min']:.2f}"),
    ("median", 7, lambda row: f"{row['wall_s']['median']:.2f}"),
    ("max", 7, lambda row: f"{row['wall_s']['max']:.2f}"),
    ("ratio", 8, lambda row: marked_ratio(row)),
    ("cpu s", 6, lambda row: f"{row['cpu_s']['median']:.2f}"),
    ("calls", 6, lambda row: f"{row['calls']['median']:g}"),
    ("writes", 7, lambda row: f"{row['writes']['median']:g}"),
    ("in seq.", 8, lambda row: f"{row['in_sequence']['median']:g}"),
    ("chain", 6, lambda row: f"{row['chain_calls']['median']:g}"),
    ("wall/chain", 11, lambda row: f"{row['wall_over_chain']['median']:.2f}"),
    ("there", 7, lambda row: f"{row['account']['present']}/{row['account']['asked']}"),
    ("exit", 5, lambda row: ",".join(map(str, row["exit_codes"]))),
)


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


def summarised(runs, reference):
    """Returns a row for each contender and step: spreads, ratios to the reference repetition by repetition."""
    rows = []
    for step in STEPS:
        for contender, repetitions in runs.items():
            results = [results[step] for results in repetitions if step in results]
            if not results:
                continue
            pairs = zip(repetitions, runs[reference])
            ratios = [mine[step]["wall_s"] / theirs[step]["wall_s"] for mine, theirs in pairs if step in theirs]
            last = results[-1]
            rows.append(
                {
                    "step": step,
                    "contender": contender,
                    **{key: spread([row[key] for row in results]) for key in ("wall_s", "cpu_s", "calls", "writes")},
                    "ratio": spread(ratios) if ratios else None,
                    **{key: spread([row[key] for row in results]) for key in ("in_sequence", "chain_calls", "chain_s")},
                    "wall_over_chain": spread([row["wall_over_chain"] for row in results if row["chain_s"]] or [0]),
                    "connections": last["connections"],
                    "refused": last["refused"],
                    "not_implemented": last["not_implemented"],
                    "chain": last["chain"],
                    "failed": any(row["failed"] for row in results),
                    "exit_codes": sorted({row["exit_code"] for row in results}),
                    "account": last["account"],
                }
            )
    return rows


def marked_ratio(row):
    """Returns the ratio; `!` instead for a step that failed, `*` after it where less was made than asked for."""
    if row["failed"]:
        return "! "
    if not row["ratio"]:
        return "- "
    account = row["account"]
    less = row["step"] in (CREATE, AGAIN, PREVIEW) and account["present"] < account["asked"]
    return f"{row['ratio']['median']:.2f}x{'*' if less else ' '}"


def cell(text, width):
    return text.ljust(-width) if width < 0 else text.rjust(width)


def print_table(rows):
    print("".join(cell(heading, width) for heading, width, _ in COLUMNS))
    before = None
    for row in rows:
        if before not in (None, row["step"]):
            print()
        before = row["step"]
        print("".join(cell(value(row), width) for _, width, value in COLUMNS))
    print(
        "\n! failed; * made less than was asked for; `there` is counted after the step, the rest README.md explains\n"
    )


def print_machine(document):
    machine, probe = document["machine"], document["probe"]
    print(
        f"{machine['processors']} processors, load {machine['load']:.1f} before; {document['delay_ms']:g} ms added to "
        f"each call, {document['repetitions']} runs; ratios are to {document['reference']}, run by run\n"
        f"the emulator's cheapest call takes {probe['direct_ms']:.2f} ms, the proxy adds {probe['proxy_adds_ms']:.2f} "
        f"ms, and the delay is {probe['late_ms']:.2f} ms late\n"
    )


def print_made(row):
    """Says what is there and should not be, and the other way round."""

    def listed(names):
        return ", ".join(names) or "nothing"

    account = row["account"]
    if row["step"] == CREATE:
        print(
            f"{row['contender']}, after create: {account['present']} of {account['asked']} there; "
            f"missing: {listed(account['missing'])}; not as asked: {listed(account['wrong'])}; "
            f"besides: {listed(account['besides'])}"
        )
    if row["step"] == DELETE:
        left = [f"{kind} {name}" for kind, names in account["there"].items() for name in names]
        print(f"{row['contender']}, left after delete: {listed(left)}")
    if row["not_implemented"]:
        print(f"{row['contender']}, {row['step']}: the emulator has no {listed(row['not_implemented'])}")


def print_chain(row):
    if (row["contender"], row["step"]) in ((OURS, CREATE), (FLOOR, CREATE)):
        path = " → ".join(f"{kind} {1000 * seconds:.0f} ms" for kind, seconds in row["chain"])
        print(f"{row['contender']}, {row['step']}, the longest chain: {path}")


def print_many(document):
    results = document["many"]
    alone = next(row for row in document["rows"] if (row["contender"], row["step"]) == (OURS, CREATE))
    wall = spread([row["wall_s"] for row in results])
    each = spread([row["calls"] / MANY for row in results])
    cheaply = spread([row["wall_s"] / row["cheap_calls_s"] for row in results])
    over = spread([row["wall_s"] / row["emulator_cpu_s"] for row in results])
    cheap = spread([row["cheap_call_ms"] for row in results])
    there = ", ".join(f"{count} of {kind}" for kind, count in results[-1]["present"].items())
    print(
        f"\n{MANY} deployments from one file: {wall['min']:.2f} {wall['median']:.2f} {wall['max']:.2f} s, exit codes "
        f"{sorted({row['exit_code'] for row in results})}\n"
        f"  calls for each: {each['median']:.1f} (one alone: {alone['calls']['median']:g})\n"
        f"  wall ÷ the emulator's own processor time for these calls, one at a time: {over['median']:.2f}\n"
        f"  wall ÷ (calls × {cheap['median']:.2f} ms, what its cheapest call takes): {cheaply['median']:.2f}\n"
        f"  there: {there}"
    )


def printed(document):
    """Prints everything."""
    print_machine(document)
    print_table(document["rows"])
    for contender, notes in document["notes"].items():
        if notes:
            print(f"{contender}: {notes}")
    for row in document["rows"]:
        print_made(row)
        print_chain(row)
    if document["many"]:
        print_many(document)


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        printed(json.load(file))
