"""The same queue in SimPy: pipelines with stages on a runner's slots, one Environment per runner.

Replays the trace that `queue --traces` wrote and prints CPU time and mean wait as JSON. The wait must be ours to
rounding, for the jobs are the same. Only the event loop is timed, not the reading of the trace.
"""

import json
import sys
import time

import simpy


def job(env, slots, ready, pickup, duration, waits):
    with slots.request() as slot:
        yield slot
        waits[0] += env.now - ready + pickup
        waits[1] += 1
        yield env.timeout(pickup + duration)


def pipeline(env, slots, arrival, stages, gap, waits):
    yield env.timeout(arrival)
    for index, stage in enumerate(stages):
        if index:
            yield env.timeout(gap)
        ready = env.now
        jobs = [env.process(job(env, slots, ready, *times, waits)) for times in stage]
        yield jobs[0] if len(jobs) == 1 else simpy.AllOf(env, jobs)


def replay(head, runners):
    waits = [0.0, 0]
    for runner in runners:
        env = simpy.Environment()
        slots = simpy.Resource(env, capacity=head["slots"])
        for arrival, stages in runner:
            env.process(pipeline(env, slots, arrival, stages, head["stage_gap"], waits))
        env.run()
    return waits


def main(path, best_of):
    with open(path, encoding="utf-8") as lines:
        head = json.loads(next(lines))
        runners = [json.loads(line) for line in lines]
    best = float("inf")
    for _ in range(best_of):
        before = time.process_time()
        total, jobs = replay(head, runners)
        best = min(best, time.process_time() - before)
    print(
        json.dumps(
            {
                "peer": f"SimPy {simpy.__version__}",
                "jobs": jobs,
                "cpu_s": best,
                "jobs_per_s": jobs / best,
                "mean_wait": total / jobs,
                "our_mean_wait": head["mean_wait"],
            }
        )
    )


main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)
