"""How many processes share a training, and who starts them."""

from dataclasses import dataclass

from gnnrec.errors import UserError
from gnnrec.ray_cluster import host_and_port

ENGINES = ("torchrun", "ray")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelConfig:
    nproc: int = 1  # workers; 1 with torchrun trains in this process
    engine: str = "torchrun"
    address: str | None = None  # HOST:PORT of a running Ray cluster; without it nothing leaves this machine
    restarts: int = 3  # how often the workers are started again after one was lost

    def __post_init__(self) -> None:
        if self.nproc < 1:
            raise UserError(f"--nproc: found {self.nproc}; allowed: 1 or more")
        if self.engine not in ENGINES:
            raise UserError(f"--engine: found {self.engine!r}; allowed: {', '.join(ENGINES)}")
        if self.address is None:
            return
        host_and_port(self.address)
        if self.engine != "ray":
            raise UserError(f"--address: goes with --engine ray; found {self.engine!r}")

    @property
    def alone(self) -> bool:
        """Whether the training needs no other process."""
        return self.nproc == 1 and self.engine == "torchrun"


ALONE = ParallelConfig()
