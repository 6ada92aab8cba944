"""Poisoning: false profiles that push an item, and how many lists they bring it into.

Shilling attacks after Mobasher et al. 2007, "Toward trustworthy recommender systems": a profile holds the pushed item
and as many fillers as users have on the median: drawn uniformly (random), by popularity (average, for a log without
ratings), or half of them the best known items, the same for all profiles, and half by lot (bandwagon). The pushed
items are among the least taken half of those that anybody took.

Letters: F false users, n fillers, U true users.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec.audit.shadows import Shadows
from gnnrec.datasets import Interactions
from gnnrec.models import Model, model_scorer
from gnnrec.progress import progress
from gnnrec.ranking import top_k
from gnnrec.recipe import Recipe
from gnnrec.run_folder import Run
from gnnrec.validation import ranking_metric

ATTACKS = ("random", "average", "bandwagon")
SHARE = 0.01  # of users that are false
K = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisoning:
    """Of one attack, over the pushed items: the share of true users' first ten that hold the item, on the mean."""

    attack: str
    robust: bool
    targets: int
    before: float
    after: float
    ndcg: float  # @20 on validation, of the model that was attacked

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"gained": self.after - self.before}


def audit_poisoning(run: Run, targets: int, dataset: Any = None) -> list[Poisoning]:
    """Every attack on the run's recipe, and on the same with `graph.robust` set to the attackers' share."""
    shadows = Shadows(run, run.dataset() if dataset is None else dataset)
    random = np.random.default_rng(0)
    pushed = pushed_items(run.train, targets, random)
    profiles = {attack: [false_profiles(run.train, int(item), attack, random) for item in pushed] for attack in ATTACKS}
    # A private model bounds what false users can do by itself, and takes no rows that depend on others.
    kinds = (False,) if "privacy" in run.provenance else (False, True)
    recipes = {robust: with_robustness(run.recipe, SHARE if robust else 0.0) for robust in kinds}
    clean = {robust: shadows.fit(run.train, recipe) for robust, recipe in recipes.items()}
    before = {robust: [exposure(*fitted, run.train, item) for item in pushed] for robust, fitted in clean.items()}
    jobs = [(attack, robust) for attack in ATTACKS for robust in recipes]
    found = []
    for attack, robust in progress(jobs, text="poisoning", unit="attack"):
        after, ndcg = [], []
        for item, fakes in zip(pushed, profiles[attack]):
            log = with_users(run.train, fakes)
            model, graph = shadows.fit(log, recipes[robust])
            after.append(exposure(model, graph, run.train, int(item)))
            ndcg.append(ranking_metric(model_scorer(model, graph), log, wider(run.val, log.num_users), "ndcg@20"))
        values = {"before": before[robust], "after": after, "ndcg": ndcg}
        means = {name: float(np.mean(value)) for name, value in values.items()}
        found.append(Poisoning(attack=attack, robust=robust, targets=len(pushed), **means))
    return found


def with_robustness(recipe: Recipe, share: float) -> Recipe:
    return replace(recipe, graph=replace(recipe.graph, robust=share))


def pushed_items(log: Interactions, number: int, random: np.random.Generator) -> NDArray[np.int64]:
    count = np.bincount(log.item, minlength=log.num_items)
    taken = np.flatnonzero(count)
    rare = taken[np.argsort(count[taken], kind="stable")[: max(len(taken) // 2, 1)]]
    return random.choice(rare, min(number, len(rare)), replace=False)


def false_profiles(log: Interactions, pushed: int, attack: str, random: np.random.Generator) -> list[NDArray[np.int64]]:
    """Items of each of the F false users, the pushed one last."""
    count = np.bincount(log.item, minlength=log.num_items).astype(float)
    count[pushed] = 0
    sizes = np.bincount(log.user, minlength=log.num_users)
    fillers = max(int(np.median(sizes[sizes > 0])) - 1, 1)
    chance = (count if attack == "average" else (count > 0).astype(float)) / (
        count.sum() if attack == "average" else (count > 0).sum()
    )
    best = np.argsort(-count, kind="stable")[: fillers // 2] if attack == "bandwagon" else np.zeros(0, dtype=np.int64)
    profiles = []
    for _ in range(max(round(SHARE * log.num_users), 1)):
        drawn = random.choice(log.num_items, min(fillers, int((chance > 0).sum())), replace=False, p=chance)
        others = drawn[~np.isin(drawn, best)][: fillers - len(best)]
        profiles.append(np.concatenate([best, others, [pushed]]))
    return profiles


def with_users(log: Interactions, profiles: list[NDArray[np.int64]]) -> Interactions:
    """The log with further users, all of them at its end."""
    user = np.repeat(np.arange(len(profiles)) + log.num_users, [len(profile) for profile in profiles])
    last = None if log.timestamp is None else np.full(len(user), log.timestamp[-1])
    return Interactions(
        user=np.concatenate([log.user, user]).astype(np.int32),
        item=np.concatenate([log.item, *profiles]).astype(np.int32),
        num_users=log.num_users + len(profiles),
        num_items=log.num_items,
        timestamp=None if last is None or log.timestamp is None else np.concatenate([log.timestamp, last]),
    )


def wider(log: Interactions, num_users: int) -> Interactions:
    return replace(log, num_users=num_users)


@torch.no_grad()
def exposure(model: Model, graph: Any, log: Interactions, item: int) -> float:
    """The share of the users of `log` without the item whose first ten hold it."""
    seen = wider(log, graph["user"].num_nodes).matrix()
    without = np.setdiff1d(np.arange(log.num_users), log.user[log.item == item])
    lists = top_k(model_scorer(model, graph), torch.from_numpy(without), K, seen)
    return float((lists.items == item).any(1).float().mean())
