"""Workers started and watched by Ray Train: on this machine, or on the cluster whose address the user gave.

On a cluster the run's folder has to be on a file system that all machines see, at the same path.
"""

import os
import signal
import threading
import uuid
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError
from gnnrec.parallel.settings import ParallelConfig
from gnnrec.ray_cluster import open_ray


def run_workers(folder: Path, config: ParallelConfig) -> None:
    """As `torchrun.run_workers`. On a cluster that has fewer places than asked for, as many workers as it has."""
    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    with open_ray(config.address, config.nproc):
        _run(folder.absolute(), config)


def _run(folder: Path, config: ParallelConfig) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    told = {"folder": str(folder), "threads": max(1, (os.cpu_count() or 1) // config.nproc)}
    run_config = RunConfig(
        name="ray", storage_path=str(folder), failure_config=FailureConfig(max_failures=config.restarts)
    )
    trainer: Any
    if config.address is None:
        scaling = ScalingConfig(num_workers=config.nproc)
        trainer = DataParallelTrainer(
            local_worker, train_loop_config=told, scaling_config=scaling, run_config=run_config
        )
    else:
        scaling = ScalingConfig(num_workers=(1, config.nproc))  # elastic
        trainer = TorchTrainer(worker, train_loop_config=told, scaling_config=scaling, run_config=run_config)
    handler = signal.getsignal(signal.SIGINT)  # Ray puts its own in the place of it
    try:
        trainer.fit()
    except SystemExit as stopped:  # that is how Ray answers Ctrl-C, once its workers have ended
        raise KeyboardInterrupt from stopped
    except Exception as error:  # whatever its controller raises once it has given up
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(f"training by Ray: {reason[0]}; the same command goes on from the checkpoint") from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, handler)


def worker(told: dict[str, Any]) -> None:
    """Called in each process, in the process group that Ray has made."""
    from gnnrec.parallel.job import work

    work(Path(told["folder"]), told["threads"])


def local_worker(told: dict[str, Any]) -> None:
    """The same on this machine: in a group of our own, since Ray's opens a port on all interfaces."""
    import ray.train
    from ray.train.collective import broadcast_from_rank_zero

    from gnnrec.parallel.group import local_group

    context = ray.train.get_context()
    name = broadcast_from_rank_zero(uuid.uuid4().hex)  # of this attempt
    with local_group(Path(told["folder"]) / name, context.get_world_rank(), context.get_world_size()):
        worker(told)
