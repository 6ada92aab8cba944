"""From scores to ranked lists: the one place where seen items are masked and the best k are cut.

Letters: U users, I items, d dimensions, n users asked for, B users of one batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

Scorer = Callable[[Tensor], Tensor]
"""User indexes [B] int64 -> scores [B, I] float32. The result is a tensor of its own (no view of a weight, not
expanded): `top_k` writes into it."""

CACHED_SCORES = 2**21  # scores of one batch: 8 MB stay near the core, measured 10-15 % faster than batches of 30 MB


@dataclass(frozen=True, slots=True)
class Ranking:
    """Best first. Where fewer than k items can be ranked, the rest holds item -1 and score -inf. On the CPU."""

    users: Tensor  # [n] int64
    items: Tensor  # [n, k] int64
    scores: Tensor  # [n, k] float32


def unseen(relevant: csr_array, seen: csr_array) -> csr_array:
    """What can be found at all: relevant items that are not masked as seen. Both users by items."""
    left = csr_array(relevant - relevant.multiply(seen))
    left.eliminate_zeros()
    return left


def embedding_scorer(user: Tensor, item: Tensor) -> Scorer:
    """The inner product of user [U, d] and item [I, d] embeddings, on the device they live on."""
    columns = item.detach().T  # [d, I]

    def score(users: Tensor) -> Tensor:
        return user.detach()[users.to(user.device)] @ columns

    return score


def top_k(
    scorer: Scorer,
    users: Tensor | NDArray[np.integer],
    k: int,
    seen: csr_array | None = None,
    *,
    candidates: NDArray[np.bool_] | None = None,
    batch_size: int | None = None,
) -> Ranking:
    """The k best items of each user [n] over the full catalogue.

    `seen` (users by items, `Interactions.matrix()`) is masked before the cut and never appears, nor does an item
    outside `candidates` [I]. Equal scores stand in ascending order of the item index, whatever k and batch_size are;
    indexes are a random permutation of the file, so that is fair. Raises ValueError where the scorer gives NaN.
    """
    users = torch.as_tensor(users, dtype=torch.int64).cpu()
    if not len(users):
        return Ranking(users, torch.empty((0, k), dtype=torch.int64), torch.empty((0, k)))
    excluded = None if candidates is None else torch.from_numpy(~np.asarray(candidates, dtype=bool))
    items, values = [], []
    start = 0
    size = batch_size or 64  # until the first batch has shown how many items there are
    with torch.no_grad():
        while start < len(users):
            batch = users[start : start + size]
            scores = scorer(batch).contiguous()  # [B, I]
            if seen is not None:
                _mask_seen(scores, batch.numpy(), seen)
            if excluded is not None:
                scores.masked_fill_(excluded.to(scores.device), -torch.inf)
            best, position = _best(scores, k)
            items.append(position.cpu())
            values.append(best.float().cpu())
            start += len(batch)
            size = batch_size or max(16, CACHED_SCORES // scores.shape[1])
    return Ranking(users, torch.cat(items), torch.cat(values))


def _mask_seen(scores: Tensor, users: NDArray[np.int64], seen: csr_array) -> None:
    """Set the cells of `scores` [B, I] that `seen` has to -inf, in place."""
    first = seen.indptr[users].astype(np.int64)
    count = seen.indptr[users + 1] - first
    row = np.repeat(np.arange(len(users)), count)
    # Position of each cell inside seen.indices: the row's first one, plus 0, 1, 2 … within the row.
    within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
    flat = row * scores.shape[1] + seen.indices[np.repeat(first, count) + within]
    scores.view(-1).index_fill_(0, torch.from_numpy(flat).to(scores.device), -torch.inf)


def _best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and indexes [B, k] by descending score, then ascending index; -inf gives index -1."""
    wide = min(k + 1, scores.shape[1])
    values, items = scores.topk(wide)  # one more than needed: an equal pair across the cut leaves the choice to chance
    if values.isnan().any():  # NaN ranks highest, so none is overlooked
        raise ValueError("scores are NaN: the model has diverged")
    if wide > k:
        tied = (values[:, k - 1] == values[:, k]) & (values[:, k] > -torch.inf)
        values, items = values[:, :k], items[:, :k]
        if tied.any():
            items[tied] = _lowest_index_first(scores[tied], values[tied, -1:], k)
            values[tied] = scores[tied].gather(1, items[tied])
    by_index = items.argsort(dim=1)
    values, items = values.gather(1, by_index), items.gather(1, by_index)
    values, order = values.sort(dim=1, descending=True, stable=True)
    items = items.gather(1, order).masked_fill(values == -torch.inf, -1)
    if wide < k:
        values = torch.nn.functional.pad(values, (0, k - wide), value=-torch.inf)
        items = torch.nn.functional.pad(items, (0, k - wide), value=-1)
    return values, items


def _lowest_index_first(scores: Tensor, cut: Tensor, k: int) -> Tensor:
    """The k items [B, k] above or at the score of `cut` [B, 1], of those at it the ones with the lowest index."""
    num_items = scores.shape[1]
    backwards = torch.arange(num_items, 0, -1, dtype=torch.int32, device=scores.device)  # distinct, so no tie is left
    key = (scores >= cut) * backwards + (scores > cut) * num_items
    return key.topk(k).indices
