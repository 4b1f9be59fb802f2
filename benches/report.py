"""Times the whole program and prints the table of `benches/run`: figure, ours, limit or peer, ratio, verdict."""

import json
import os
import subprocess
import sys
import time

RUNS = 5


def program(binary, *arguments):
    """Returns minimum and median wall seconds, least CPU seconds and most memory in MiB of five runs."""
    walls, cpu, memory = [], float("inf"), 0
    for _ in range(RUNS):
        before = time.perf_counter()
        child = subprocess.Popen(
            [binary, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(child.pid, 0)
        walls.append(time.perf_counter() - before)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit(f"error: {' '.join(arguments)} ended with {child.returncode}")
        cpu = min(cpu, usage.ru_utime + usage.ru_stime)
        memory = max(memory, usage.ru_maxrss / 1024)
    walls.sort()
    return walls[0], walls[RUNS // 2], cpu, memory


def read(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def main(work, binary, check):
    ours = read(f"{work}/queue.json")
    simpy, ciw = read(f"{work}/simpy.json"), read(f"{work}/ciw-result.json")
    rows, missed = [], False

    def row(figure, value, limit="", ratio="", ok=None):
        nonlocal missed
        missed |= ok is False
        rows.append((figure, value, limit, ratio, {True: "ok", False: "MISSED", None: ""}[ok]))

    def least(figure, value, limit, unit):
        row(figure, f"{value:.1f} {unit}", f">= {limit:g}", f"{value / limit:.1f}", value >= limit)

    def most(figure, value, limit, unit, digits=1):
        row(figure, f"{value:.{digits}f} {unit}", f"<= {limit:g}", f"{value / limit:.2f}", value <= limit)

    def times(figure, peer, rate, limit):
        ratio = rate * 1e6 / peer["jobs_per_s"]
        text = f"{peer['peer']}: {peer['jobs_per_s'] / 1e3:.1f} k jobs/s"
        row(figure, f"{rate:.1f} M jobs/s", text, f"{ratio:.0f}", None if limit is None else ratio >= limit)

    least("replay, one core, with contention", ours["replay"], 15, "M jobs/s")
    times("replay, at least 300 times SimPy", simpy, ours["replay"], 300)
    times("replay without contention, as SimPy", simpy, ours["replay_undisturbed"], 300)
    times("generation and replay, at least 125 times", simpy, ours["generation_and_replay"], 125)
    times("replay without contention, against Ciw", ciw, ours["replay_undisturbed"], None)
    for peer in (simpy, ciw):
        theirs, mine = peer["mean_wait"], peer["our_mean_wait"]
        row(
            f"mean wait, {peer['jobs']} jobs",
            f"{mine:.6f} s",
            f"{peer['peer']}: {theirs:.6f} s",
            f"{mine / theirs:.6f}",
            abs(mine / theirs - 1) < 1e-6,
        )
    most(f"June 2024, {ours['june_jobs'] / 1e6:.2f} M jobs", ours["june"], 0.3, "CPU s", 3)
    row("generation", f"{ours['generation']:.1f} M jobs/s")
    row("replay of production", f"{ours['replay_production']:.1f} M jobs/s")
    row("one system of 100 slots", f"{ours['replay_100_slots']:.1f} M jobs/s")
    row("one system of 256 slots", f"{ours['replay_256_slots']:.1f} M jobs/s")
    row("1 M jobs", f"{ours['linear_1m']:.1f} ns a job", f"{ours['linear_1m_rss']:.1f} MiB")
    for millions in (10, 100):
        if f"linear_{millions}m" in ours:
            cost, memory = ours[f"linear_{millions}m"], ours[f"linear_{millions}m_rss"]
            ratio = cost / ours["linear_1m"]
            # The same cost within what a shared machine allows, the same memory within a MiB.
            linear = ratio < 1.25 and memory < ours["linear_1m_rss"] + 1
            row(f"{millions} M jobs", f"{cost:.1f} ns a job", f"{memory:.1f} MiB", f"{ratio:.2f}", linear)

    for workload, limit in (("production", 1.0), ("kubernetes", None), ("proof-of-technology", None)):
        least_wall, median, cpu, memory = program(binary, "plan", "--workload", workload)
        figure = f"plan --workload {workload}, median"
        if limit is None:
            row(figure, f"{median:.2f} s", f"{cpu:.2f} CPU s, {memory:.0f} MiB")
        else:
            most(figure, median, limit, "s", 2)
            # Wall time suffers from neighbours, CPU time hardly: it tells a slow program from a busy machine.
            row("  the same, least and CPU", f"{least_wall:.2f} s", f"{cpu:.2f} CPU s")
            most("  the same, memory", memory, 64, "MiB")
    for arguments in (["--help"], ["explain", "fargate"]):
        most(f"{' '.join(arguments)}, median", program(binary, *arguments)[1] * 1e3, 15, "ms")

    widths = [max(len(line[column]) for line in rows) for column in range(5)]
    titles = ("figure", "ours", "limit or peer", "ratio", "")
    widths = [max(width, len(title)) for width, title in zip(widths, titles)]
    for line in (titles, tuple("-" * width for width in widths), *rows):
        cells = (f"{cell:<{width}}" for cell, width in zip(line, widths))
        print("| " + " | ".join(cells) + " |")
    print(f"\nload average of the last minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs")
    if check and missed:
        sys.exit(1)


main(sys.argv[1], sys.argv[2], "--check" in sys.argv[3:])
