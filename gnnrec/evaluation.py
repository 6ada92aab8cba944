"""Full-catalogue evaluation of a scorer: accuracy with intervals, cohorts, and what the lists are like.

Letters: n users with a positive in the split, k length of the lists, I items, d dimensions.
"""

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from gnnrec import metrics
from gnnrec.datasets.interactions import Interactions
from gnnrec.errors import UserError, count
from gnnrec.notebook import table
from gnnrec.progress import progress
from gnnrec.ranking import Scorer, top_k, unseen

COHORT_METRICS = ("recall", "ndcg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a scorer is worth on one split. `users` and `per_user` are for paired tests and stay out of the JSON."""

    candidates: int  # items that were ranked: all, or those of the part that was asked for
    metrics: dict[str, float]  # "ndcg@10" -> mean over users
    confidence: dict[str, list[float]]  # "ndcg@10" -> 95 % interval [low, high], bootstrap over users
    cohorts: dict[str, Any]
    beyond: dict[str, float]  # "coverage@10" …
    users: NDArray[np.int64]  # [n] internal indexes, ascending
    per_user: dict[str, NDArray[np.float64]] = field(repr=False)  # "ndcg@10" -> [n]

    @property
    def num_users(self) -> int:
        return len(self.users)

    def to_json(self, split: str) -> dict[str, Any]:
        return {
            "split": split,
            "users": self.num_users,
            "candidates": self.candidates,
            "metrics": self.metrics,
            "confidence": self.confidence,
            "cohorts": self.cohorts,
            "beyond": self.beyond,
        }

    def _repr_html_(self) -> str:
        """For notebooks: the metrics with their intervals, and what the lists are like."""
        caption = f"{count(self.num_users, 'user')}, {count(self.candidates, 'item')} ranked; 95 % intervals"
        rows = [[name, value, *self.confidence.get(name, (None, None))] for name, value in self.metrics.items()]
        beyond = [[name, value] for name, value in self.beyond.items()]
        return table(caption, ("metric", "mean", "low", "high"), rows) + table("Beyond accuracy", (), beyond)


def evaluate_ranking(
    scorer: Scorer,
    *,
    relevant: Interactions,
    train: Interactions,
    seen: Interactions | None,
    ks: Sequence[int] = (10, 20),
    item_vectors: Tensor | NDArray[np.float32] | None = None,
    modality_masks: Mapping[str, NDArray[np.bool_]] | None = None,
    candidates: NDArray[np.bool_] | None = None,
    users: NDArray[np.int64] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Rank the full catalogue for every user with at least one positive in `relevant` (the rows of a split).

    `seen` is masked; a relevant item that is masked cannot be ranked and does not count as relevant. `train` gives
    popularity, history and cohorts. `item_vectors` [I, d] make the diversity of lists, `modality_masks` (modality ->
    [I], has it) the cohorts of missing content. `candidates` [I] restricts the items that are ranked and that count
    to one part of the catalogue, such as the cold items, alike for everybody; the result says how many are left.
    `users` restricts the users. Raises UserError where no user has anything to rank, and for sampled candidates.
    """
    if candidates is not None and not _is_mask(candidates, relevant.num_items):
        refuse_samples(candidates)
    history, seen_matrix = train.matrix(), None if seen is None else seen.matrix()
    wanted = _wanted(relevant.matrix(), seen_matrix, candidates, users)
    asked = np.flatnonzero(np.diff(wanted.indptr))  # [n]
    if not len(asked):
        raise UserError("evaluate: no user has an unseen positive in this split; expected at least one")
    ranking = top_k(scorer, torch.from_numpy(asked), max(ks), seen_matrix, candidates=candidates)
    lists = _Lists(asked, ranking.items.numpy(), wanted, tuple(ks))
    per_user = lists.accuracy()
    cohorts: dict[str, Any] = {
        "user_activity": _user_activity(lists, per_user, history),
        "item_popularity": {name: lists.restricted(group) for name, group in popularity_groups(history).items()},
        "cold_items": _cold_items(lists, scorer, history, seen_matrix, candidates),
        "missing_modality": {
            name: {"has": lists.restricted(mask), "lacks": lists.restricted(~mask)}
            for name, mask in (modality_masks or {}).items()
        },
    }
    return Evaluation(
        candidates=relevant.num_items if candidates is None else int(candidates.sum()),
        metrics={name: float(values.mean()) for name, values in per_user.items()},
        confidence=bootstrap(per_user, resamples, seed) if resamples else {},
        cohorts=cohorts,
        beyond=_beyond(lists, history, item_vectors),
        users=asked,
        per_user=per_user,
    )


@dataclass(frozen=True, slots=True)
class _Lists:
    """Ranked lists and what each user wanted."""

    users: NDArray[np.int64]  # [n]
    items: NDArray[np.int64]  # [n, k]
    wanted: csr_array  # users by items
    ks: tuple[int, ...]

    def accuracy(self) -> dict[str, NDArray[np.float64]]:
        num_wanted = np.diff(self.wanted.indptr)[self.users]
        return metrics.accuracy(metrics.hits_of(self.items, self.users, self.wanted), num_wanted, self.ks)

    def restricted(self, group: NDArray[np.bool_]) -> dict[str, Any]:
        """Recall and NDCG where only the wanted items of a group [I] count, at their ranks in the whole list."""
        wanted = _only(self.wanted, group)
        some = np.diff(wanted.indptr)[self.users] > 0
        summary: dict[str, Any] = {"items": int(group.sum()), "users": int(some.sum())}
        if some.any():
            within = _Lists(self.users[some], self.items[some], wanted, self.ks)
            summary |= summarise(within.accuracy())
        return summary


def _is_mask(found: object, size: int) -> bool:
    return isinstance(found, np.ndarray) and found.dtype == bool and found.shape == (size,)


def refuse_samples(found: object) -> NoReturn:
    """Raise UserError: metrics over a positive and some sampled negatives order models otherwise than they are.

    Krichene & Rendle 2020, "On sampled metrics for item recommendation".
    """
    what = f"an array of shape {found.shape}" if isinstance(found, np.ndarray) else reprlib.repr(found)
    raise UserError(
        f"evaluate candidates: found {what}; allowed: all, or in Python one mask [items] of booleans for everybody; "
        "sampled metrics can rank models in the wrong order (Krichene & Rendle 2020)"
    )


def summarise(per_user: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Means of the metrics that cohorts are reported in."""
    return {name: float(value.mean()) for name, value in per_user.items() if name.split("@")[0] in COHORT_METRICS}


def popularity_groups(history: csr_array) -> dict[str, NDArray[np.bool_]]:
    """head, mid, tail [I]: the most popular items that share the first, second and last third of train interactions.

    Items without a train interaction are in none: they are the cold ones.
    """
    popularity = np.bincount(history.indices, minlength=history.shape[1])
    order = np.argsort(-popularity, kind="stable")
    before = np.empty(len(order))  # share of the interactions that more popular items have
    before[order] = (np.cumsum(popularity[order]) - popularity[order]) / max(popularity.sum(), 1)
    third = np.minimum((before * 3).astype(int), 2)
    return {name: (third == place) & (popularity > 0) for place, name in enumerate(("head", "mid", "tail"))}


def bootstrap(
    per_user: Mapping[str, NDArray[np.float64]], resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, list[float]]:
    """Percentile interval [low, high] of each mean, from drawing the users again with replacement."""
    values = np.stack(list(per_user.values()), axis=1)  # [n, metrics]
    num_users = len(values)
    random = np.random.default_rng(seed)
    means = np.empty((resamples, values.shape[1]))
    for row in progress(range(resamples), text="drawing users again", unit="sample"):
        times = np.bincount(random.integers(num_users, size=num_users), minlength=num_users)
        means[row] = times @ values / num_users
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2), axis=0)
    return {name: [float(low[column]), float(high[column])] for column, name in enumerate(per_user)}


def _wanted(
    relevant: csr_array,
    seen: csr_array | None,
    candidates: NDArray[np.bool_] | None,
    users: NDArray[np.int64] | None,
) -> csr_array:
    """What counts as relevant: not seen, a candidate, of one of the users."""
    if seen is not None:
        relevant = unseen(relevant, seen)
    if candidates is not None:
        relevant = _only(relevant, candidates)
    if users is not None:
        keep = np.zeros(relevant.shape[0], dtype=np.float32)
        keep[users] = 1
        relevant = csr_array(relevant.multiply(keep[:, None]))
    relevant.eliminate_zeros()
    return relevant


def _only(matrix: csr_array, items: NDArray[np.bool_]) -> csr_array:
    """The same matrix without the columns outside `items` [I]."""
    kept = items[matrix.indices]
    indptr = np.concatenate([[0], np.cumsum(kept)])[matrix.indptr]
    return csr_array((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)


def _user_activity(
    lists: _Lists, per_user: Mapping[str, NDArray[np.float64]], history: csr_array
) -> dict[str, dict[str, Any]]:
    """The users in thirds by the number of their train interactions; those with none on their own."""
    activity = np.diff(history.indptr)[lists.users]
    groups = {"none (0)": activity == 0}
    if activity.any():
        first, second = np.quantile(activity[activity > 0], (1 / 3, 2 / 3), method="lower")
        bounds = {"low": (0, first), "medium": (first, second), "high": (second, activity.max())}
        for name, (above, upto) in bounds.items():
            group = (activity > above) & (activity <= upto)
            if group.any():
                groups[f"{name} ({activity[group].min()}-{activity[group].max()})"] = group
    return {
        name: {"users": int(group.sum())} | summarise({key: value[group] for key, value in per_user.items()})
        for name, group in groups.items()
        if group.any()
    }


def _cold_items(
    lists: _Lists,
    scorer: Scorer,
    history: csr_array,
    seen: csr_array | None,
    candidates: NDArray[np.bool_] | None,
) -> dict[str, Any]:
    """Items without any train interaction: found in the full catalogue, and ranked among themselves."""
    cold = np.bincount(history.indices, minlength=history.shape[1]) == 0
    if candidates is not None:
        cold &= candidates
    summary = lists.restricted(cold)
    if not summary["users"]:
        return summary
    wanted = _only(lists.wanted, cold)
    users = np.flatnonzero(np.diff(wanted.indptr))
    ranking = top_k(scorer, torch.from_numpy(users), max(lists.ks), seen, candidates=cold)
    among = _Lists(users, ranking.items.numpy(), wanted, lists.ks)
    return summary | {"among_cold": summarise(among.accuracy())}


def _beyond(lists: _Lists, history: csr_array, item_vectors: Tensor | NDArray[np.float32] | None) -> dict[str, float]:
    """Coverage, Gini, novelty, popularity and diversity of the lists, at every k."""
    num_users, num_items = history.shape
    popularity = np.bincount(history.indices, minlength=num_items)
    vectors = None if item_vectors is None else torch.as_tensor(item_vectors).detach().cpu().float().numpy()
    values = {}
    for k in lists.ks:
        items = lists.items[:, :k]
        values[f"coverage@{k}"] = metrics.coverage(items, num_items)
        values[f"gini@{k}"] = metrics.gini(items, num_items)
        means = {
            "novelty": metrics.novelty(items, popularity, num_users),
            "popularity": metrics.average_popularity(items, popularity),
            "popularity_lift": metrics.popularity_lift(items, lists.users, history),
        }
        if vectors is not None:
            means["diversity"] = metrics.diversity(items, vectors)
        for name, per_user in means.items():
            if not np.isnan(per_user).all():  # a mean of nothing is left out, since JSON has no NaN
                values[f"{name}@{k}"] = float(np.nanmean(per_user))
    return values
