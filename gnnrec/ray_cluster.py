"""Ray, opened as it has to be: on this machine for this process alone, or on the cluster that the user named.

On this machine it listens on the loopback interface alone and shows no dashboard, whose interface runs whatever it is
sent (CVE-2023-48022). Nothing is reported to anybody.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gnnrec.errors import UserError, missing_extra


@contextmanager
def open_ray(address: str | None, workers: int) -> Iterator[Any]:
    """The module, connected; RAY_ADDRESS is not asked. Raises UserError where there is no such cluster."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # a lost worker is no error here
    if address is None:
        # The one switch that makes all of Ray's servers on this machine listen on the loopback interface alone.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError as error:
        raise missing_extra("scale", "ray") from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            ray.init(address="local", include_dashboard=False, num_cpus=workers, num_gpus=0, **quiet)
        else:
            ray.init(address=address, **quiet)
    except Exception as error:  # whatever its many layers raise
        where = address or "this machine"
        raise UserError(f"--engine ray: cannot start on {where}: {str(error).strip().splitlines()[0]}") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        yield ray
    finally:
        ray.shutdown()
