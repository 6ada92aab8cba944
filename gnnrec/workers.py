"""Data-parallel training: the processes of one training, each of which takes its share of every batch.

Written against torch.distributed alone, so that it does not matter who started the processes; without a process group
there is one worker, and nothing is sent. All draw the same batches and negatives, each makes the gradients of its own
rows, and the sum of these moves the same weights everywhere (synchronous SGD, Goyal et al. 2017).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Workers:
    rank: int = 0  # this process's place
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def share_of(self, num_rows: int) -> tuple[slice, float]:
        """Its rows of a batch, and what their mean weighs in that of the batch: the weights of all sum to one.

        Of fewer rows than workers each takes all.
        """
        if num_rows < self.size:
            return slice(None), 1 / self.size
        begin, end = num_rows * self.rank // self.size, num_rows * (self.rank + 1) // self.size
        return slice(begin, end), (end - begin) / num_rows

    def sum_gradients(self, parameters: Iterable[Tensor], loss: Tensor) -> float:
        """Put the sums over all workers in the places of the gradients, sparse ones too; returns the sum of losses."""
        if self.size == 1:
            return loss.item()
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        dense = [gradient for gradient in gradients if not gradient.is_sparse]
        # One message: many small ones would each wait for the slowest worker.
        together = torch.cat([*(gradient.reshape(-1) for gradient in dense), loss.detach().reshape(1)])
        dist.all_reduce(together)
        *sums, total = together.split([*(gradient.numel() for gradient in dense), 1])
        for gradient, summed in zip(dense, sums, strict=True):
            gradient.copy_(summed.view_as(gradient))
        for gradient in gradients:
            if gradient.is_sparse:
                dist.all_reduce(gradient)
        return total.item()

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all workers, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    def any(self, *flags: bool) -> list[bool]:
        """Of each flag whether it is set at any worker."""
        if self.size == 1:
            return list(flags)
        return [bool(flag) for flag in self.sum(torch.tensor(flags, dtype=torch.int32))]


def world() -> Workers:
    """The workers of the process group that this process is in."""
    if not dist.is_available() or not dist.is_initialized():
        return Workers()
    return Workers(dist.get_rank(), dist.get_world_size())
