"""A node of a Ray cluster dies in the middle of a sweep: `python tests/reliability/ray_nodes.py OUT`.

Starts a cluster of several nodes of one core each as processes on this machine, trains 24 small nets on it, kills a
node once a third of the records are there, and compares every record and prediction with those of a local run, bit for
bit; times of day and durations are left aside. Writes ray.json and ray.md into OUT.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from kills import TIMED

from benchmarks.contract.record import Record, atomic_write, load_records
from benchmarks.contract.trial import Trial
from benchmarks.plan.trials import Plan, Request
from benchmarks.sweep.cluster import run_on_cluster
from benchmarks.sweep.run import Runner

NODES = 3
SETTINGS: dict[str, Any] = {
    "mixer": "dct,conv1x1,random,hadamard", "seed": tuple(range(6)), "epochs": 2, "train_images": 300,
    "profile": "quick", "device": "cpu", "threads": 1, "dim": 8, "depth": 1,
}  # fmt: skip
STORE_BYTES = 80 * 2**20  # the smallest that Ray takes, about


def trials() -> list[Trial]:
    return Plan(Request(**SETTINGS)).accuracy()


def start_cluster() -> Any:
    """A head and two more nodes; `spare` are those that may be killed."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 1, "object_store_memory": STORE_BYTES, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    cluster.spare = [cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES) for _ in range(NODES - 1)]
    return cluster


def timeless(record: Record) -> tuple[Any, ...]:
    """What of a record does not depend on when it was measured."""

    def without(row: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in row.items() if not name.endswith(TIMED)}

    rows = [without(row) for row in record.history]
    return record.trial, record.status, without(record.metrics), rows, record.environment, record.code


def kill_a_node_in_the_middle(cluster: Any, work: Path) -> dict[str, Any]:
    """Figures of one sweep on the cluster and one at home; `work` takes both results folders."""
    wanted = trials()
    results, local = work / "cluster", work / "local"
    records_at_kill: list[int] = []

    def kill() -> None:
        while len(there := list(results.glob("records/*.json"))) < len(wanted) // 3:
            time.sleep(0.05)
        cluster.remove_node(cluster.spare.pop(), allow_graceful=False)
        records_at_kill.append(len(there))

    threading.Thread(target=kill, daemon=True).start()
    done = run_on_cluster(cluster.address, wanted, results, work)
    at_home = {r.record.id: r.record for r in Runner(local, work, own_process=False).run(wanted)}
    spread = {record.id: record for record in load_records(results)}
    differing = [
        name
        for name, record in spread.items()
        if name not in at_home
        or timeless(record) != timeless(at_home[name])
        or (results / "records" / f"accuracy-{name}.npy").read_bytes()
        != (local / "records" / f"accuracy-{name}.npy").read_bytes()
    ]
    left = [p.name for p in results.rglob("*") if p.suffix == ".pt" or p.name.startswith(".") or "heartbeat" in p.name]
    again = run_on_cluster(cluster.address, wanted, results, work)
    return {
        "trials": len(wanted),
        "nodes": NODES,
        "killed_at_records": records_at_kill[0] if records_at_kill else None,
        "good_records": sum(r.record.status == "ok" for r in done),
        "missing": len(at_home.keys() - spread.keys()),
        "differing_from_a_local_run": differing,
        "leftover_files": left,
        "measured_again_by_the_same_command": sum(r.measured_now for r in again),
    }


def passed(seen: dict[str, Any]) -> bool:
    return (
        seen["killed_at_records"] is not None
        and seen["good_records"] == seen["trials"]
        and not seen["missing"]
        and not seen["differing_from_a_local_run"]
        and not seen["leftover_files"]
        and not seen["measured_again_by_the_same_command"]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="folder for the figures")
    options = parser.parse_args()
    cluster = start_cluster()
    try:
        with tempfile.TemporaryDirectory() as name:
            seen = kill_a_node_in_the_middle(cluster, Path(name))
    finally:
        cluster.shutdown()
    import ray

    seen |= {"command": "python tests/reliability/ray_nodes.py OUT", "ray": ray.__version__}
    with atomic_write(options.out / "ray.json") as file:
        file.write(json.dumps(seen, indent=1).encode() + b"\n")
    page = (
        "# A node dies in the middle of a sweep\n\n"
        f"`{seen['command']}`, Ray {seen['ray']}, {seen['nodes']} nodes of one core as processes on one machine, "
        "n = 1 run:\n\n"
        f"{seen['trials']} trials; a node killed when {seen['killed_at_records']} records were there; "
        f"{seen['good_records']} good records at the end, {seen['missing']} missing, "
        f"{len(seen['differing_from_a_local_run'])} records or predictions that differ from a local run's, "
        f"{len(seen['leftover_files'])} files left over, {seen['measured_again_by_the_same_command']} trials measured "
        "again by the same command.\n"
    )
    with atomic_write(options.out / "ray.md") as file:
        file.write(page.encode())
    print(page)
    return 0 if passed(seen) else 1


if __name__ == "__main__":
    sys.exit(main())
