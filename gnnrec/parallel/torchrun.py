"""Workers on this machine, started and watched by torch.distributed.elastic, which is what `torchrun` calls.

Where one is lost, all are started again and go on from the checkpoint.
"""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError
from gnnrec.parallel.settings import ParallelConfig

LOOPBACK = "127.0.0.1"


def run_workers(folder: Path, config: ParallelConfig) -> None:
    """Run the job in `folder` to its end. Raises KeyboardInterrupt after Ctrl-C, once all have stopped, and UserError
    where workers were lost more often than they may be."""
    threads = max(1, (os.cpu_count() or 1) // config.nproc)
    run_function(worker, (str(folder), threads), folder, config)


def run_function(
    function: Callable[..., None], arguments: tuple[Any, ...], folder: Path, config: ParallelConfig
) -> None:
    """The same of any function of a module, which is called in each process, in one process group."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Else the agent opens a port on all interfaces for workers that have no other way to find each other.
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    logging.getLogger("torch.distributed.elastic").setLevel(logging.ERROR)  # of a lost worker, not of Ctrl-C
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=config.nproc,
        run_id="gnnrec",
        rdzv_backend="c10d",
        rdzv_endpoint=str(folder / "rendezvous"),
        rdzv_configs={"store_type": "file"},
        local_addr=LOOPBACK,
        max_restarts=config.restarts,
    )
    try:
        elastic_launch(launch, in_group)(function, str(folder), *arguments)
    except SignalException as stopped:
        raise KeyboardInterrupt from stopped
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        raise UserError(
            f"training: worker {rank} was lost ({failure.message}), and so were those started again, "
            f"{config.restarts} times; the same command goes on from the checkpoint"
        ) from error


def in_group(function: Callable[..., None], folder: str, *arguments: Any) -> None:
    """Called in each process: the function, in the process group of all."""
    # A group of its own: Ctrl-C comes from the agent alone, once, and not from the terminal as well.
    os.setpgrp()
    from gnnrec.parallel.group import local_group

    attempt = os.environ["TORCHELASTIC_RESTART_COUNT"]
    with local_group(Path(folder) / f"group-{attempt}", int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])):
        function(*arguments)


def worker(folder: str, threads: int) -> None:
    from gnnrec.parallel.job import work

    work(Path(folder), threads)
