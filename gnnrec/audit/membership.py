"""Membership inference of whole users: can the item side of a run tell that somebody's log was in it?

The attack is LiRA (Carlini et al. 2022, "Membership inference attacks from first principles") on users: the recipe of
the run is trained again on random halves of the users, many times; of each user one measures how well the item side,
given half of her items, foretells the other half; and the distributions of that with and without her give a
likelihood ratio for every training that is judged, made from the other trainings. Each user is folded in as somebody
new, so that what is attacked is what others get, not her own vector.

For a private run every attack has to stay within TPR <= e^epsilon FPR + delta (Kairouz et al. 2015, "The composition
theorem for differential privacy"). An attack that stays within proves nothing; one above it proves an error.

Letters: T shadow trainings, U users.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gnnrec.audit.shadows import Shadows, halves, standing
from gnnrec.errors import UserError
from gnnrec.files import atomic_path
from gnnrec.models.fold_in import FoldIn, history_log
from gnnrec.progress import progress
from gnnrec.run_folder import Run
from gnnrec.untrusted import parse_npy
from gnnrec.vault import is_encrypted

FPR = 0.01
LEVEL = 0.95  # of the intervals
BLOCK = 512  # users whose scores are held at a time
FOLDER = "audit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Membership:
    """What the attack found over all pairs of a shadow training and a user."""

    trials: int
    users: int
    auc: float
    tpr: float  # at a false positive rate of FPR
    tpr_interval: tuple[float, float]
    fpr: float  # as it came out
    fpr_interval: tuple[float, float]
    bound: float | None = None  # e^epsilon FPR + delta at the upper end of the FPR, for a private run
    within: bool | None = None  # whether the lower end of the TPR stays below it

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def audit_membership(run: Run, trials: int, dataset: Any = None, say: Callable[[str], None] = print) -> Membership:
    """Trains `trials` shadows (those of an earlier call are kept in RUN/audit) and attacks. Raises UserError."""
    if trials < 4:
        raise UserError(f"audit --trials: found {trials}; allowed: 4 or more")
    shadows = Shadows(run, run.dataset() if dataset is None else dataset)
    rows = [shadow_row(shadows, number) for number in progress(range(trials), text="shadow trainings", unit="shadow")]
    member, statistic = (np.stack(part) for part in zip(*rows))
    active = np.bincount(run.train.user, minlength=run.train.num_users) >= 2
    member, statistic = member[:, active] > 0, statistic[:, active]
    spent = run.provenance.get("privacy")
    return judge(likelihood_ratios(member, statistic), member, spent and (spent["epsilon"], spent["delta"]))


def shadow_row(shadows: Shadows, number: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Who was in shadow `number` [U], and how well each user's items are foretold by it [U]; kept in the run."""
    told = shadows.run.provenance  # a run that was made anew in this folder has other shadows
    made_of = sha256((told["settings_sha256"] + told["dataset"]["fingerprint"]).encode()).hexdigest()[:12]
    path = shadows.run.folder / FOLDER / f"{made_of}_{number}.npy"
    if path.exists():
        return read_rows(path, len(shadows.run.user_ids))
    member = np.random.default_rng((number, 1)).random(len(shadows.run.user_ids)) < 0.5
    log = shadows.run.train
    model, graph = shadows.fit(log.rows(member[log.user]))
    found = member.astype(np.float64), foretold(model, graph, log)
    if not is_encrypted(shadows.run.folder):  # where nothing is written plain, every audit begins anew
        save(path, np.stack(found))
    return found


def read_rows(path: Path, num_users: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What `shadow_row` kept: [U] twice. Raises UserError for anything else: the run may be a stranger's."""
    kept = parse_npy(path.read_bytes(), path)
    if kept.shape != (2, num_users) or kept.dtype != np.float64:
        found = f"{kept.dtype} {list(kept.shape)}"
        raise UserError(f"{path}: found {found}; expected float64 [2, {num_users}]; it may be deleted")
    return kept[0], kept[1]


def save(path: Path, rows: NDArray[np.float64]) -> None:
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, rows, allow_pickle=False)


@torch.no_grad()
def foretold(model: Any, graph: Any, log: Any) -> NDArray[np.float64]:
    """How far half of each user's items stand above all others by a model that knows the other half of hers. [U]"""
    history, wanted = halves(log)
    own = [[] for _ in range(log.num_users)]  # type: list[list[int]]
    for user, item in zip(history.user.tolist(), history.item.tolist()):
        own[user].append(item)
    fold_in, targets = FoldIn(model, graph), wanted.matrix()
    parts = []
    for start in range(0, log.num_users, BLOCK):
        block = list(range(start, min(start + BLOCK, log.num_users)))
        scorer = fold_in.scorer([-1] * len(block), history_log([own[user] for user in block], log.num_items))
        scores = scorer(torch.arange(len(block)))
        parts.append(standing(scores, torch.from_numpy(targets[block].toarray())))
    return torch.cat(parts).double().numpy()


def likelihood_ratios(member: NDArray[np.bool_], statistic: NDArray[np.float64]) -> NDArray[np.float64]:
    """log p(statistic | in) - log p(statistic | out) of each training and user, from the other trainings. [T, U]

    Normal distributions with a mean for each user, in and out, and one variance over all.
    """
    member, trials = member.astype(np.float64), len(member)
    ratios = np.zeros_like(statistic)
    for judged in range(trials):
        others = np.arange(trials) != judged
        inside, values = member[others], statistic[others]
        means = []
        for weight in (inside, 1 - inside):
            prior = values.mean(0)  # of a user who was never in, or never out
            means.append((prior + (weight * values).sum(0)) / (1 + weight.sum(0)))
        fitted = inside * means[0] + (1 - inside) * means[1]
        variance = max(float(((values - fitted) ** 2).mean()), 1e-12)
        distance = [(statistic[judged] - mean) ** 2 for mean in means]
        ratios[judged] = (distance[1] - distance[0]) / (2 * variance)
    return ratios


def judge(
    ratios: NDArray[np.float64], member: NDArray[np.bool_], budget: tuple[float, float] | None = None
) -> Membership:
    """AUC, and the true positives at the threshold that 1 % of the pairs without the user pass.

    The intervals are Clopper & Pearson's and take the pairs for independent, as users of one training nearly are.
    """
    inside, outside = ratios[member], ratios[~member]
    threshold = np.quantile(outside, 1 - FPR, method="higher")
    found = [int((part > threshold).sum()) for part in (inside, outside)]
    tpr, fpr = (clopper_pearson(hits, len(part)) for hits, part in zip(found, (inside, outside)))
    bound = None if budget is None else math.exp(min(budget[0], 700.0)) * fpr[1] + budget[1]
    return Membership(
        trials=len(ratios),
        users=ratios.shape[1],
        auc=area_under_curve(inside, outside),
        tpr=found[0] / len(inside),
        tpr_interval=tpr,
        fpr=found[1] / len(outside),
        fpr_interval=fpr,
        bound=None if bound is None else min(bound, 1.0),
        within=None if bound is None else tpr[0] <= bound,
    )


def area_under_curve(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(inside, outside).statistic / (len(inside) * len(outside)))


def clopper_pearson(hits: int, trials: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    interval = binomtest(hits, trials).proportion_ci(LEVEL, method="exact")
    return float(interval.low), float(interval.high)
