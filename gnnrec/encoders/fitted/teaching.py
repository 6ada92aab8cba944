"""One text encoder learns to give what another one gives, on the texts of the items.

Letters: n texts, d dimensions.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gnnrec.encoders.features import Encoder
from gnnrec.encoders.huggingface import HuggingFaceTextEncoder
from gnnrec.errors import UserError

HELD_OUT = 10  # one text in so many tells when to stop
PATIENCE = 2  # epochs without a better distance


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    """Batches of texts, and what the teacher gives to them."""

    held: list[tuple[list[str], Tensor]]
    taught: list[tuple[list[str], Tensor]]


def held_out(texts: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """The different texts that tell when to stop, and those to learn from."""
    different = sorted(set(texts))
    if len(different) < 2:
        raise UserError(f"fit-encoder: found {len(different)} different text; allowed: 2 or more")
    order = np.random.default_rng(seed).permutation(len(different))
    cut = max(1, len(different) // HELD_OUT)
    return [different[place] for place in order[:cut]], [different[place] for place in order[cut:]]


def lessons(teacher: Encoder, texts: Sequence[str], batch_size: int, seed: int) -> Lessons:
    def batches(part: list[str]) -> list[tuple[list[str], Tensor]]:
        part = sorted(part, key=len)  # texts of like length together: little padding
        cut = [part[start : start + batch_size] for start in range(0, len(part), batch_size)]
        return [(batch, torch.from_numpy(teacher.encode(batch))) for batch in cut]

    held, taught = held_out(texts, seed)
    return Lessons(held=batches(held), taught=batches(taught))


def teach(
    encoder: HuggingFaceTextEncoder, given: Lessons, *, epochs: int, learning_rate: float, seed: int
) -> dict[str, float]:
    """Train the encoder's model in place; what was best on the texts held out stays.

    Returns the mean of 1 - cosine on these, before and after. Dropout stays off: the aim has no noise.
    """
    model: Any = encoder.model
    before = best = _distance(encoder, given.held)
    kept, since = copy.deepcopy(model.state_dict()), 0
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.01)
    shuffle = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for place in torch.randperm(len(given.taught), generator=shuffle).tolist():
            loss = _far(encoder, *given.taught[place]).mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        found = _distance(encoder, given.held)
        if found < best:
            best, since, kept = found, 0, copy.deepcopy(model.state_dict())
        else:
            since += 1
            if since == PATIENCE:
                break
    model.load_state_dict(kept)
    return {"before": before, "after": best}


def _far(encoder: HuggingFaceTextEncoder, batch: list[str], wanted: Tensor) -> Tensor:
    """1 - cosine of what `encode` gives, with its gradient. [n]"""
    return 1 - torch.nn.functional.cosine_similarity(encoder.embed(batch), wanted, dim=1)


@torch.inference_mode()
def _distance(encoder: HuggingFaceTextEncoder, held: list[tuple[list[str], Tensor]]) -> float:
    return float(torch.cat([_far(encoder, *lesson) for lesson in held]).mean())
