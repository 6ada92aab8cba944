"""Workers started and watched by Ray Train: on this machine, or on the cluster whose address the user gave.

On this machine Ray listens on the loopback interface alone and shows no dashboard, whose interface runs whatever it is
sent. On a cluster the run's folder has to be on a file system that all machines see, at the same path.
"""

import os
import uuid
from pathlib import Path
from typing import Any

from gnnrec.errors import UserError
from gnnrec.parallel.settings import ParallelConfig


def run_workers(folder: Path, config: ParallelConfig) -> None:
    """As `torchrun.run_workers`. On a cluster that has fewer places than asked for, as many workers as it has."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing is reported to anybody
    os.environ["RAY_TRAIN_V2_ENABLED"] = "1"
    if config.address is None:
        # No cluster: the one thing that makes all of Ray's servers listen on the loopback interface alone.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
    except ImportError as error:
        raise UserError("--engine ray: needs the extra 'scale': pip install gnnrec[scale]") from error
    _connect(ray, config)
    folder, threads = folder.absolute(), max(1, (os.cpu_count() or 1) // config.nproc)
    told = {"folder": str(folder), "threads": threads}
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
        scaling = ScalingConfig(num_workers=(1, config.nproc))  # type: ignore[arg-type]  # elastic
        trainer = TorchTrainer(worker, train_loop_config=told, scaling_config=scaling, run_config=run_config)
    try:
        trainer.fit()
    except KeyboardInterrupt:
        raise
    except Exception as error:  # whatever its controller raises once it has given up
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise UserError(f"training by Ray: {reason[0]}; the same command goes on from the checkpoint") from error
    finally:
        ray.shutdown()


def _connect(ray: Any, config: ParallelConfig) -> None:
    """To the named cluster, else to a new one of this process alone, whatever RAY_ADDRESS says."""
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    try:
        if config.address is not None:
            ray.init(address=config.address, **quiet)
        else:
            places = {"num_cpus": config.nproc, "num_gpus": 0}
            ray.init(address="local", include_dashboard=False, **places, **quiet)
    except Exception as error:
        where = config.address or "this machine"
        raise UserError(f"--engine ray: cannot start on {where}: {str(error).strip().splitlines()[0]}") from error


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
