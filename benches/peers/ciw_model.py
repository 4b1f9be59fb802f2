"""The same queue in Ciw: independent jobs on a runner's slots, one node.

Ciw knows no stages, so it gets independent jobs; arrivals and services are those that `queue --traces` wrote, and
the mean wait must be ours to rounding. Only the simulation is timed, with Ciw's own record of each job.
"""

import json
import sys
import time

import ciw


def replay(document):
    arrivals, services = document["arrivals"], document["services"]
    gaps = [after - before for before, after in zip([0.0] + arrivals, arrivals)]
    network = ciw.create_network(
        # A gap that never ends: sequences start again.
        arrival_distributions=[ciw.dists.Sequential(gaps + [float("inf")])],
        service_distributions=[ciw.dists.Sequential(services)],
        number_of_servers=[document["slots"]],
    )
    simulation = ciw.Simulation(network)
    before = time.process_time()
    simulation.simulate_until_max_customers(len(arrivals), method="Finish")
    spent = time.process_time() - before
    waits = [record.waiting_time for record in simulation.get_all_records()]
    return spent, len(waits), sum(waits) / len(waits)


def main(path, best_of):
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    best, jobs, mean_wait = min(replay(document) for _ in range(best_of))
    print(
        json.dumps(
            {
                "peer": f"Ciw {ciw.__version__}",
                "jobs": jobs,
                "cpu_s": best,
                "jobs_per_s": jobs / best,
                "mean_wait": mean_wait,
                "our_mean_wait": document["mean_wait"],
            }
        )
    )


main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3)
