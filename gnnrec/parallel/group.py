"""Processes of this machine as one process group. They find each other by a file, and talk over the loopback interface:
no port is open to anybody else, as that of torch's own TCPStore would be."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def local_group(store: Path, rank: int, size: int) -> Iterator[None]:
    """store: a file that no group has used before."""
    os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    warnings.filterwarnings("ignore", message=".*torch.jit.*is deprecated")  # as in the command itself
    import torch
    import torch.distributed as dist
    from torch.distributed import FileStore  # type: ignore[attr-defined]  # documented, but not in its list of names

    backend = "gloo"
    if torch.cuda.is_available():
        backend = "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(rank % torch.cuda.device_count())
    dist.init_process_group(backend, store=FileStore(str(store), size), rank=rank, world_size=size)
    try:
        yield
    finally:
        dist.destroy_process_group()
