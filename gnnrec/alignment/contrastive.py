"""Contrastive alignment: each modality is projected into one space in which the modalities of an item meet (InfoNCE).

The symmetric loss of CLIP (Radford et al. 2021) on frozen features, between every two modalities, for items that have
both. Deviations: a fixed temperature, and the epoch is kept that retrieves held-out items best. A collaborative
embedding is one more modality here.

Letters: n items, d dimensions of a feature, D of the common space.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise, permutations
from statistics import fmean

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from gnnrec.alignment.retrieval import retrieve
from gnnrec.encoders.features import Features, mean_and_scale
from gnnrec.errors import UserError
from gnnrec.losses import align_views


@dataclass(frozen=True, slots=True, kw_only=True)
class ContrastConfig:
    dim: int = 128  # D
    hidden: int = 0  # width of one hidden layer with GELU; 0 for a linear projection
    temperature: float = 0.1
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2  # decoupled (AdamW)
    dropout: float = 0.2  # of the features
    batch_size: int = 128  # items; the others of a batch are the negatives
    epochs: int = 200
    patience: int = 15  # epochs without a better retrieval of the held-out items
    seed: int = 0


class Aligner(nn.Module):
    def __init__(self, features: Mapping[str, Features], config: ContrastConfig) -> None:
        super().__init__()
        random = Generator().manual_seed(config.seed)
        self.project = nn.ModuleDict()
        self.standard = {}
        self.dropout = config.dropout
        for name in sorted(features):
            values = torch.from_numpy(features[name].values[features[name].mask])
            self.standard[name] = mean_and_scale(values)
            widths = [values.shape[1], *([config.hidden] if config.hidden else []), config.dim]
            layers: list[nn.Module] = []
            for width, following in pairwise(widths):
                layer = nn.Linear(width, following, bias=False)
                nn.init.normal_(layer.weight, std=width**-0.5, generator=random)
                layers += [nn.GELU(), layer] if layers else [layer]
            self.project[name] = nn.Sequential(*layers)

    def forward(self, name: str, values: Tensor, random: Generator | None = None) -> Tensor:
        """Raw features [n, d] of one modality in the common space [n, D]; with a generator some of them are dropped."""
        mean, scale = self.standard[name]
        x = (values - mean) / scale
        if random is not None and self.dropout:
            x = x * (torch.rand(x.shape, generator=random) >= self.dropout) / (1 - self.dropout)
        projected: Tensor = self.project[name](x)
        return projected

    @torch.no_grad()
    def embed(self, name: str, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same for arrays."""
        rows: NDArray[np.float32] = self(name, torch.from_numpy(values)).numpy()
        return rows


def fit_contrastive(
    features: Mapping[str, Features],
    train: NDArray[np.int64],
    held_out: NDArray[np.int64],
    config: ContrastConfig | None = None,
) -> Aligner:
    """Projections learnt on the items `train`, from the epoch that retrieves the items `held_out` best (mean MRR).

    Raises UserError where no two modalities share ten items on each side.
    """
    config = config or ContrastConfig()
    pairs = [
        (first, second)
        for first, second in permutations(sorted(features), 2)
        if min((features[first].mask & features[second].mask)[items].sum() for items in (train, held_out)) >= 10
    ]
    if not pairs:
        raise UserError(f"alignment: {', '.join(features)}: no two modalities share enough items; allowed: 10 or more")
    seen = {
        name: Features(values=part.values[train], mask=part.mask[train], encoder="") for name, part in features.items()
    }
    aligner = Aligner({name: part for name, part in seen.items() if part.mask.any()}, config)
    values = {name: torch.from_numpy(seen[name].values) for name in aligner.project}
    masks = {name: torch.from_numpy(seen[name].mask) for name in aligner.project}
    optimizer = torch.optim.AdamW(aligner.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    random = Generator().manual_seed(config.seed)
    best, kept, stale = -1.0, copy.deepcopy(aligner.state_dict()), 0
    for _ in range(config.epochs):
        for batch in torch.randperm(len(train), generator=random).split(config.batch_size):
            views = [(aligner(name, values[name][batch], random), masks[name][batch]) for name in aligner.project]
            loss = align_views(views, config.temperature)
            if loss.requires_grad:  # else the batch has no pair
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        found = fmean(_held_out(aligner, features, held_out, *pair) for pair in pairs)
        if found > best:
            best, kept, stale = found, copy.deepcopy(aligner.state_dict()), 0
        elif (stale := stale + 1) >= config.patience:
            break
    aligner.load_state_dict(kept)
    return aligner


def _held_out(
    aligner: Aligner, features: Mapping[str, Features], items: NDArray[np.int64], query: str, target: str
) -> float:
    both = items[(features[query].mask & features[target].mask)[items]]
    return retrieve(*(aligner.embed(name, features[name].values[both]) for name in (query, target))).metrics["mrr"]
