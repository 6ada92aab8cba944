"""The weights of a model in training, each worker having all of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from gnnrec.checkpoint import TrainState
from gnnrec.datasets.interactions import Interactions
from gnnrec.models import EmbeddingModel
from gnnrec.validation import validation_metric
from gnnrec.weights.average import Decay

Groups = dict[str, dict[str, Tensor]]


class Weights:
    """As they are (those of the model), on average over the updates, and at their best."""

    def __init__(self, model: EmbeddingModel, decay: Decay) -> None:
        self.model, self.decay = model, decay
        self.average = {name: value.detach().clone() for name, value in self.shared().items()}
        self.best = _copied(self._state())

    def shared(self) -> dict[str, nn.Parameter]:
        """The parameters that every worker has and moves alike."""
        return dict(self.model.named_parameters())

    def prepare(self, piece: HeteroData) -> None:
        """Before the model sees a piece of the graph. Nothing here."""

    @torch.no_grad()
    def update(self, updates: int) -> None:
        """After that many steps of the optimizer."""
        if self.decay:
            for name, value in self.shared().items():
                self.average[name].lerp_(value, self.decay.share(updates))

    @contextmanager
    def averaged(self, updates: int) -> Iterator[None]:
        """The model with the averaged weights in the place of the last ones."""
        if not self.decay:
            yield
            return
        last = {name: value.detach().clone() for name, value in self.shared().items()}
        self._set(self.average)
        try:
            yield
        finally:
            self._set(last)

    def measure(self, graph: HeteroData, train: Interactions, val: Interactions, metric: str) -> float:
        """What the model is worth on `val`, as `validation_metric` has it."""
        return validation_metric(self.model, graph, train, val, metric)

    def keep(self, epoch: int) -> None:
        """The weights of this epoch are the best ones so far."""
        self.best = _copied(self._state())

    def finish(self) -> None:
        """The best weights become those of the model."""
        self._load(self.best)

    def groups(self) -> Groups:
        """What the checkpoint's one file holds of them."""
        return {"model": self._state(), "average": self.average, "best": self.best}

    def save(self, saves: int) -> None:
        """What is kept beside that file, before it is written. Nothing here."""

    def saved(self, state: TrainState) -> None:
        """Once that file is there. Nothing here."""

    def resume(self, groups: Groups, state: TrainState) -> None:
        """From what `groups` gave and `save` kept."""
        self._load(groups.get("model", {}))
        for name, value in groups.get("average", {}).items():  # of a model of tables alone there are no such groups
            self.average[name].copy_(value)
        self.best = groups.get("best", {})

    def _state(self) -> dict[str, Tensor]:
        return dict(self.model.state_dict())

    def _load(self, state: Mapping[str, Tensor]) -> None:
        self.model.load_state_dict(state)

    @torch.no_grad()
    def _set(self, weights: Mapping[str, Tensor]) -> None:
        for name, value in self.shared().items():
            value.copy_(weights[name])


def _copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}
