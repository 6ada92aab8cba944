"""A Ray cluster of two machines with one place each, both of them on this one and on the loopback interface alone.

Prints its address, and ends with its standard input.
"""

import os
import sys
from typing import Any

STARTS = 3  # of a machine: where this one is busy, Ray gives up after 30 s
OBJECTS = 80_000_000  # bytes of a machine's store; the least that Ray takes is 75 MB


def add(cluster: Any, machine: dict[str, Any]) -> None:
    for again in reversed(range(STARTS)):
        try:
            cluster.add_node(**machine)
            return
        except Exception:  # whatever its many layers raise
            if not again:
                raise


def main() -> None:
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # see gnnrec/ray_cluster.py
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    machine = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": OBJECTS}
    cluster = Cluster()
    try:
        for more in ({"include_dashboard": False}, {}):
            add(cluster, machine | more)
        print(cluster.address, flush=True)
        sys.stdin.read()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
