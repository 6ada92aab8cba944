"""From scores to ranked lists: the one place where seen items are masked and the best k are cut.

Letters: U users, I items, d dimensions, n users asked for, B users of one batch.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from gnnrec.progress import progress

if TYPE_CHECKING:
    from gnnrec.shortlist import Shortlist

Scorer = Callable[[Tensor], Tensor]
"""User indexes [B] int64 -> scores [B, I] float32. The result is a tensor of its own (no view of a weight, not
expanded): `top_k` writes into it."""

CACHED_SCORES = 2**21  # scores of one batch: 8 MB stay near the core, measured 10-15 % faster than batches of 30 MB
BLOCK = 8  # scores that one maximum stands for
MANY_SCORES = 2**22  # from here on the compiled shortlist is worth its start


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


@dataclass(frozen=True, slots=True)
class EmbeddingScorer:
    """The inner product of user [U, d] and item [I, d] embeddings, on the device they live on."""

    user: Tensor
    item: Tensor

    def query(self, users: Tensor) -> Tensor:
        return self.user[users.to(self.user.device)]

    def __call__(self, users: Tensor) -> Tensor:
        return self.query(users) @ self.item.T


def embedding_scorer(user: Tensor, item: Tensor) -> EmbeddingScorer:
    return EmbeddingScorer(user.detach(), item.detach())


def fast_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 matrices are faster than those of float32."""
    return device.type == "cuda" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def fast_arithmetic(device: torch.device) -> Any:
    """A context of bfloat16 products where the hardware has them: twice as fast, and exact enough to learn by."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if fast_bfloat16(device) else nullcontext()


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
    indexes are a random permutation of the file, so that is fair. Raises ValueError where the scorer gives NaN or
    infinity.

    Embeddings on a CPU with bfloat16 are ranked by a `Shortlist` where there is much to rank: the same lists, but for
    items whose float32 scores differ in the last bits.
    """
    users = torch.as_tensor(users, dtype=torch.int64).cpu()
    if not len(users):
        return Ranking(users, torch.empty((0, k), dtype=torch.int64), torch.empty((0, k)))
    excluded = None if candidates is None else torch.from_numpy(~np.asarray(candidates, dtype=bool))
    if (shortlist := _shortlist(scorer, users, k)) is not None:
        size = batch_size or max(16, CACHED_SCORES // len(shortlist.items))
        found = shortlist.rank(users.split(size), lambda batch: _rows_of(seen, batch), excluded, k)
    else:
        found = []
        start = 0
        size = batch_size or 64  # until the first batch has shown how many items there are
        with torch.no_grad(), progress(total=len(users), text="ranking", unit="user") as bar:
            while start < len(users):
                batch = users[start : start + size]
                scores = scorer(batch).contiguous()  # [B, I]
                _mask(scores, _rows_of(seen, batch), excluded)
                values, items = _best(scores, k)
                found.append((values.float().cpu(), items.cpu()))
                start += len(batch)
                bar.update(len(batch))
                size = batch_size or max(16, CACHED_SCORES // scores.shape[1])
    return Ranking(users, torch.cat([items for _, items in found]), torch.cat([values for values, _ in found]))


def _shortlist(scorer: Scorer, users: Tensor, k: int) -> "Shortlist | None":
    """Where it pays and where its bounds hold."""
    if not isinstance(scorer, EmbeddingScorer) or scorer.item.is_cuda or scorer.item.dtype != torch.float32:
        return None
    if len(users) * len(scorer.item) < MANY_SCORES or not fast_bfloat16(scorer.item.device):
        return None
    from gnnrec.shortlist import LONGEST, Shortlist

    shortlist = Shortlist(scorer.user, scorer.item)
    return shortlist if k <= LONGEST and shortlist.bound.isfinite().all() else None


def _rows_of(seen: csr_array | None, users: Tensor) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The rows of some users [B] as CSR: offsets [B + 1] and item indexes."""
    if seen is None:
        return np.zeros(len(users) + 1, dtype=np.int64), np.zeros(0, dtype=np.int32)
    rows = users.numpy()
    first = seen.indptr[rows].astype(np.int64)
    count = seen.indptr[rows + 1] - first
    offsets = np.concatenate([[0], np.cumsum(count)])
    return offsets, seen.indices[np.arange(offsets[-1]) + np.repeat(first - offsets[:-1], count)]


def _mask(scores: Tensor, hidden: tuple[NDArray[np.int64], NDArray[Any]], excluded: Tensor | None) -> None:
    """Set what is hidden from each user, and what is excluded for everybody, to -inf in `scores` [B, I]."""
    offsets, items = hidden
    flat = np.repeat(np.arange(len(scores)), np.diff(offsets)) * scores.shape[1] + items
    scores.view(-1).index_fill_(0, torch.from_numpy(flat).to(scores.device), -torch.inf)
    if excluded is not None:
        scores.masked_fill_(excluded.to(scores.device), -torch.inf)


def _best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and indexes [B, k] by descending score, then ascending index; -inf gives index -1."""
    wide = min(k + 1, scores.shape[1])
    values, items = _largest(scores, wide)  # one more: an equal pair across the cut leaves the choice to chance
    if not (values < torch.inf).all():  # NaN ranks highest, so none is overlooked
        raise ValueError("scores are NaN or infinite: the model has diverged")
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


def _largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """What `scores.topk(k)` gives [B, k], several times faster: the k largest scores stand in the k blocks with the
    largest maxima, which are found in the same way."""
    num_rows, num_columns = scores.shape
    num_blocks = num_columns // BLOCK
    if num_blocks < 4 * k:
        return scores.topk(k)
    # Block b holds columns b, b + num_blocks, …, so that neighbours in memory belong to different maxima.
    blocks = scores[:, : BLOCK * num_blocks].view(num_rows, BLOCK, num_blocks)
    chosen = _largest(blocks.amax(1), k)[1][:, None]  # [B, 1, k]
    columns = torch.arange(num_columns, device=scores.device)
    first, rest = columns[: BLOCK * num_blocks : num_blocks, None], columns[BLOCK * num_blocks :]
    inside = torch.cat([(chosen + first).flatten(1), rest.expand(num_rows, -1)], dim=1)
    values, place = scores.gather(1, inside).topk(k)
    return values, inside.gather(1, place)


def _lowest_index_first(scores: Tensor, cut: Tensor, k: int) -> Tensor:
    """The k items [B, k] above or at the score of `cut` [B, 1], of those at it the ones with the lowest index."""
    num_items = scores.shape[1]
    backwards = torch.arange(num_items, 0, -1, dtype=torch.int32, device=scores.device)  # distinct, so no tie is left
    key = (scores >= cut) * backwards + (scores > cut) * num_items
    return key.topk(k).indices
