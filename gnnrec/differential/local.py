"""Local differential privacy: a report that is noisy before it leaves whoever makes it.

Optimized unary encoding (Wang et al. 2017, "Locally differentially private protocols for frequency estimation", 4.2),
of the family of RAPPOR (Erlingsson et al. 2014): a user draws one of her items and reports a bit for every item of the
catalogue, 1 with probability 1/2 at the drawn one and 1 / (e^epsilon + 1) at each other. Whatever items she had, any
report is at most e^epsilon times as likely as with others. Each further report of hers spends epsilon again.

Letters: U users, I items.
"""

import csv
import math
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.files import atomic_path

KEPT = 0.5  # chance of the drawn item's bit


def other(epsilon: float) -> float:
    """Chance of the bit of an item that was not drawn. Raises UserError."""
    if not (epsilon > 0 and math.isfinite(epsilon)):
        raise UserError(f"randomize --epsilon: found {epsilon}; allowed: above 0, finite")
    return 1 / (math.exp(min(epsilon, 700.0)) + 1)


def randomized_report(
    items: Sequence[int], num_items: int, epsilon: float, random: np.random.Generator | None = None
) -> NDArray[np.bool_]:
    """One user's report [I], who has at least one item. random: for tests only, else seeded by the system."""
    random = np.random.default_rng(secrets.randbits(256)) if random is None else random
    chance = np.full(num_items, other(epsilon))
    chance[items[int(random.integers(len(items)))]] = KEPT
    return random.random(num_items) < chance


def estimated_counts(bits: NDArray[np.int64], num_users: int, epsilon: float) -> NDArray[np.float64]:
    """Unbiased: how many users drew each item, from the sums of their bits [I].

    Expected, this is the sum over users of 1 / (number of her items), at each of hers.
    """
    q = other(epsilon)
    return ((bits - num_users * q) / (KEPT - q)).astype(np.float64)


def standard_error(num_users: int, epsilon: float) -> float:
    """Of an estimated count that is small against the users: sqrt(4 e^eps U) / (e^eps - 1)."""
    q = other(epsilon)
    return (num_users * q * (1 - q)) ** 0.5 / (KEPT - q)


def randomize_dataset(dataset: Dataset, to: Path, epsilon: float) -> dict[str, Any]:
    """Write one report of every user who has any item as rows user,item, and say how it is to be read.

    Raises UserError where there is a file already.
    """
    chance = other(epsilon)
    if to.exists():
        raise UserError(f"{to}: there is something already; expected a new file")
    matrix = dataset.interactions.matrix()
    users = np.flatnonzero(np.diff(matrix.indptr))
    num_items, rows = len(dataset.item_ids), 0
    with atomic_path(to) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user", "item"])
        for user in users:
            own = matrix.indices[matrix.indptr[user] : matrix.indptr[user + 1]]
            for item in np.flatnonzero(randomized_report(own, num_items, epsilon)):
                writer.writerow([dataset.user_ids[user], dataset.item_ids[item]])
                rows += 1
    return {
        "file": str(to),
        "users": len(users),
        "rows": rows,
        "epsilon": epsilon,
        "chance of a reported item": KEPT,
        "chance of any other": chance,
        "standard error of an estimated count": standard_error(len(users), epsilon),
    }
