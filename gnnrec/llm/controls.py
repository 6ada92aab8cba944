"""Do soft tokens say anything? The real ones against none, zero, shuffled ones, and another user's.

A projector can learn a good bias, or nothing, whatever is fed to it. Only where the real embeddings beat every control
do they carry what the graph knows.

Letters: n users, N candidates of each.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from gnnrec.llm.past import Past
from gnnrec.llm.rerank import SURE, window_ndcg
from gnnrec.llm.soft_tokens import Vectors
from gnnrec.llm.tuned_scorer import TunedScorer
from gnnrec.significance import randomisation_test

Asked = tuple[list[Past], list[list[int]], list[int]]  # pasts and windows of users
Control = Mapping[str, float]  # ndcg, likelihood, p


def _zero(vectors: Vectors, generator: Generator) -> Vectors:
    return torch.zeros_like(vectors[0]), torch.zeros_like(vectors[1])


def _shuffled(vectors: Vectors, generator: Generator) -> Vectors:
    users, items = (_dealt_anew(table, generator) for table in vectors)
    return users, items


def _another_users(vectors: Vectors, generator: Generator) -> Vectors:
    return _dealt_anew(vectors[0], generator), vectors[1]


def _dealt_anew(table: Tensor, generator: Generator) -> Tensor:
    """Every row has another one's."""
    order = torch.randperm(len(table), generator=generator)
    dealt = torch.empty_like(table)
    dealt[order] = table[order.roll(1)]
    return dealt


CONTROLS: dict[str, Callable[[Vectors, Generator], Vectors]] = {
    "zero": _zero,
    "shuffled": _shuffled,
    "another user's": _another_users,
}


def held_against_controls(
    soft: TunedScorer, text: TunedScorer, vectors: Vectors, asked: Asked, hits: NDArray[np.bool_], seed: int
) -> dict[str, dict[str, float]]:
    """How well the model alone orders windows with the real soft tokens ("real"), without any ("text"), and with each
    control: {"ndcg", "likelihood", "p"}. Nothing where there are no windows.

    ndcg: NDCG@10 within the window. likelihood: mean log probability, by a softmax over the window, of what was taken.
    p: of the paired difference in likelihood from the real ones, two-sided. hits: [n, N].
    """
    if not len(hits):
        return {}
    generator = Generator().manual_seed(seed)
    scorers = {"real": soft, "text": text}
    scorers |= {name: soft.reading(change(vectors, generator), name) for name, change in CONTROLS.items()}
    likelihood: dict[str, NDArray[np.float64]] = {}
    found: dict[str, dict[str, float]] = {}
    for name, scorer in scorers.items():
        scores = np.nan_to_num(np.stack(scorer.score(*asked)), nan=-1e9)  # [n, N]
        orders = np.argsort(-scores, axis=1, kind="stable")
        likelihood[name] = _likelihood(scores, hits)
        p = 1.0 if name == "real" else randomisation_test(likelihood["real"] - likelihood[name])
        ndcg = window_ndcg(np.take_along_axis(hits, orders, axis=1)).mean()
        found[name] = {"ndcg": float(ndcg), "likelihood": float(likelihood[name].mean()), "p": p}
    return found


def matters(controls: Mapping[str, Control]) -> bool:
    """Whether the real ones are surely better than every control."""
    real = controls.get("real")
    others = [row for name, row in controls.items() if name != "real"]
    return real is not None and all(row["p"] < SURE and row["likelihood"] < real["likelihood"] for row in others)


def _likelihood(scores: NDArray[np.float64], hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean log probability of the hits of each window, by a softmax over it. [n, N] -> [n]"""
    shifted = scores - scores.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    means: NDArray[np.float64] = np.where(hits, log_p, 0.0).sum(axis=1) / hits.sum(axis=1)
    return means
