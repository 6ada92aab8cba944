"""Adam whose tables move only where a step looked: moments and weights of the other rows stay as they are.

The rule of torch.optim.SparseAdam for parameters with sparse gradients beside that of torch.optim.Adam (Kingma & Ba
2015) for the others, in one optimizer, so that a checkpoint holds one state. One parameter may have gradients of one
kind only. Deviation: weight decay of a table acts on the rows that a step looked at.

Letters: N rows, n that a step looked at, d dimensions.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class LazyAdam(torch.optim.Optimizer):
    def __init__(
        self,
        parameters: Iterable[Tensor] | Iterable[dict[str, Any]],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None, "not needed"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, self.state[parameter], group)

    @staticmethod
    def _update(parameter: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        first, second = group["betas"]
        gradient = parameter.grad
        rows: Tensor | slice = slice(None)
        assert gradient is not None
        if gradient.is_sparse:
            gradient = gradient.coalesce()
            gradient, rows = gradient.values(), gradient.indices()[0]  # [n, d], [n]
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * parameter[rows]
        mean = state["exp_avg"][rows].lerp(gradient, 1 - first)
        square = (state["exp_avg_sq"][rows] * second).addcmul_(gradient, gradient, value=1 - second)
        state["exp_avg"][rows], state["exp_avg_sq"][rows] = mean, square
        count = state["step"].item()
        root = (square / (1 - second**count)).sqrt_().add_(group["eps"])
        parameter[rows] -= (group["lr"] / (1 - first**count)) * mean / root
