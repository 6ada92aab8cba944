"""How well the modalities of an item find each other once brought into one space, and content the collaborative one.

Items are dealt into three: to fit on, to choose settings and epochs by, and to retrieve. Letters: n items.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import permutations
from statistics import fmean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.alignment import ContrastConfig, chance, fit_cca, fit_contrastive, fit_ridge, retrieve
from gnnrec.datasets import Interactions
from gnnrec.encoders.features import Features
from gnnrec.errors import UserError
from gnnrec.modalities.agreement import shared_items
from gnnrec.models.factors import DIM, ITERATIONS, SETTINGS
from gnnrec.models.ials import item_factors
from gnnrec.progress import progress

COLLABORATIVE = "collaborative"  # the name of the factors among the modalities
FIT, CHOOSE = 0.7, 0.1  # shares of the items; the rest is retrieved
LEAST_ITEMS = 100  # that a pair has to share: ten to choose by, twenty to retrieve
CCA_L2, CCA_COMPONENTS = (0.03, 0.3, 3.0), (16, 64, 256)  # tried
RIDGE_L2 = (0.1, 1.0, 10.0, 100.0)

Rows = NDArray[np.floating]
Pair = tuple[Rows, Rows]  # both sides of the same items
Method = Callable[
    [Sequence[Pair], int], Pair
]  # pairs to fit, to choose, to retrieve; seed -> those to retrieve, aligned


def retrieval(
    features: Mapping[str, Features],
    train: Interactions,
    seeds: Sequence[int] = (0,),
    say: Callable[[str], None] = lambda line: None,
) -> list[dict[str, Any]]:
    """A row for each query, target and method: R@1, R@10 and MRR, mean and standard deviation over the seeds.

    The target is another modality, or the item factors of iALS made from the train rows. Raises UserError for a
    modality that has the name of these.
    """
    if COLLABORATIVE in features:
        raise UserError(f"features.{COLLABORATIVE}: the study calls the item factors so; allowed: any other name")
    known = {**features, COLLABORATIVE: collaborative(train)}
    pairs = [*permutations(sorted(features), 2), *((name, COLLABORATIVE) for name in sorted(features))]
    rows = []
    for query, target in progress(pairs, text="alignment", unit="pair"):
        if (shared := len(shared_items(known, (query, target), 0))) < LEAST_ITEMS:
            say(f"{query} to {target}: only {shared} items have both, retrieval needs {LEAST_ITEMS}: left out")
            continue
        methods = {"cca": by_cca, "infonce": by_contrast} | ({"ridge": by_ridge} if target == COLLABORATIVE else {})
        for name, method in methods.items():
            found = [_retrieved(known, (query, target), method, seed) for seed in seeds]
            spread = {key: stdev(one[0][key] for one in found) if len(found) > 1 else 0.0 for key in found[0][0]}
            rows.append(
                {"query": query, "target": target, "method": name, "candidates": found[0][1], "seeds": len(found)}
                | {key: fmean(one[0][key] for one in found) for key in found[0][0]}
                | {f"{key} spread": value for key, value in spread.items()}
                | {f"{key} chance": value for key, value in chance(found[0][1]).items()}
            )
    return rows


def collaborative(train: Interactions) -> Features:
    """Item factors of iALS from the given rows; items without any have none."""
    l2, confidence = SETTINGS[1]
    factors = item_factors(train.matrix(), DIM, l2, confidence, ITERATIONS, seed=0).numpy()
    taken = np.bincount(train.item, minlength=train.num_items) > 0
    return Features(values=factors * taken[:, None], mask=taken, encoder="ials")


def deal(items: NDArray[np.int64], seed: int) -> list[NDArray[np.int64]]:
    """Items to fit on, to choose by, and the rest."""
    order = np.random.default_rng(seed).permutation(items)
    fit = round(FIT * len(order))
    return np.split(order, [fit, fit + round(CHOOSE * len(order))])


def _retrieved(
    features: Mapping[str, Features], names: tuple[str, str], method: Method, seed: int
) -> tuple[dict[str, float], int]:
    parts = deal(shared_items(features, names, seed), seed)
    first, second = (features[name].values for name in names)
    return retrieve(*method([(first[part], second[part]) for part in parts], seed)).metrics, len(parts[2])


def by_cca(parts: Sequence[Pair], seed: int) -> Pair:
    fit, choose, asked = parts

    def tried() -> Iterator[tuple[float, Pair]]:
        for l2 in CCA_L2:
            cca = fit_cca(*fit, l2=l2)
            known, wanted = ([cca.project(side, rows) for side, rows in enumerate(pair)] for pair in (choose, asked))
            for k in CCA_COMPONENTS:
                cut = [tuple(rows[:, :k] for rows in pair) for pair in (known, wanted)]
                yield retrieve(*cut[0]).metrics["mrr"], (cut[1][0], cut[1][1])

    return max(tried(), key=lambda pair: pair[0])[1]


def by_contrast(parts: Sequence[Pair], seed: int, config: ContrastConfig | None = None) -> Pair:
    sizes = np.cumsum([len(pair[0]) for pair in parts])
    sides = {
        name: Features(
            values=np.concatenate([pair[side] for pair in parts]).astype(np.float32),
            mask=np.ones(sizes[-1], dtype=bool),
            encoder="",
        )
        for side, name in enumerate(("first", "second"))
    }
    fit, choose, _ = np.split(np.arange(sizes[-1]), sizes[:2])
    aligner = fit_contrastive(sides, fit, choose, config or ContrastConfig(seed=seed))
    first, second = parts[2]
    return aligner.embed("first", first.astype(np.float32)), aligner.embed("second", second.astype(np.float32))


def by_ridge(parts: Sequence[Pair], seed: int) -> Pair:
    fit, choose, asked = parts
    maps = [fit_ridge(*fit, l2=l2) for l2 in RIDGE_L2]
    worth = [
        retrieve(*centred(ridge.predict(choose[0]), choose[1], ridge.target_mean)).metrics["mrr"] for ridge in maps
    ]
    best = maps[int(np.argmax(worth))]
    return centred(best.predict(asked[0]), asked[1], best.target_mean)


def centred(first: Rows, second: Rows, mean: Rows) -> Pair:
    """Without what all items have in common, which would make every cosine large."""
    return first - mean, second - mean
