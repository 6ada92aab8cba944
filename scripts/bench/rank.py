"""Full ranking: users a second, top 20 of 15,000 items, d 64, beside faiss IndexFlatIP in the same process.

    python scripts/bench/rank.py --threads 2

"with seen items dropped": every user has some 30 items that may not appear. top_k masks them before the cut; faiss has
no mask per user, so it is asked for 20 + the history's length (users in groups by the next power of two), and what was
seen is dropped after, in NumPy. Rounds
alternate between the variants, so that a machine that drifts slows all of them; medians and quartiles over the rounds,
wall time, the ratio to faiss taken round by round. Before the first round the lists are compared.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import faiss
import numpy as np
import torch
from numpy.typing import NDArray
from rows import row, save

from gnnrec.datasets import powerlaw
from gnnrec.ranking import embedding_scorer, top_k

USERS, ITEMS, DIM, K = 20_000, 15_000, 64, 20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    random = torch.Generator().manual_seed(0)
    user, item = torch.randn(USERS, DIM, generator=random), torch.randn(ITEMS, DIM, generator=random)
    seen = powerlaw(USERS, ITEMS, 30 * USERS, seed=0).interactions.matrix()
    history = np.diff(seen.indptr)
    groups = np.ceil(np.log2(np.maximum(history, 1))).astype(int)
    everybody, scorer = torch.arange(USERS), embedding_scorer(user, item)
    index = faiss.IndexFlatIP(DIM)
    index.add(item.numpy())

    cell = np.repeat(np.arange(USERS), history) * ITEMS + seen.indices  # ascending

    def without_seen() -> NDArray[np.int64]:
        lists = np.empty((USERS, K), dtype=np.int64)
        for group in np.unique(groups):
            users = np.flatnonzero(groups == group)
            found = index.search(user.numpy()[users], K + 2 ** int(group))[1]
            wanted = users[:, None] * ITEMS + found
            old = cell[np.searchsorted(cell, wanted).clip(max=len(cell) - 1)] == wanted
            lists[users] = np.take_along_axis(found, np.argsort(old, axis=1, kind="stable")[:, :K], axis=1)
        return lists

    variants: dict[str, Callable[[], NDArray[np.int64]]] = {
        "gnnrec, seen items dropped": lambda: top_k(scorer, everybody, K, seen).items.numpy(),
        "faiss IndexFlatIP, seen items dropped": without_seen,
        "gnnrec, nothing dropped": lambda: top_k(scorer, everybody, K).items.numpy(),
        "faiss IndexFlatIP, nothing dropped": lambda: index.search(user.numpy(), K)[1],
    }
    lists = [make() for make in variants.values()]
    same = [float((lists[place] == lists[place + 1]).mean()) for place in (0, 2)]
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(options.rounds):
        for name, make in variants.items():
            began = time.perf_counter()
            make()
            rates[name].append(USERS / (time.perf_counter() - began))
    rows = []
    for place, (name, values) in enumerate(rates.items()):
        ratios = [rate / other for rate, other in zip(values, list(rates.values())[place // 2 * 2 + 1])]
        kept = {"users_per_second": values, "times_faiss": ratios}
        made = row(
            "15,000 items, d 64, top 20",
            f"{name}, {options.threads} thread(s)",
            [0],
            [{key: statistics.median(value) for key, value in kept.items()} | {"same_places": same[place // 2]}],
            sum(USERS / value for value in values),
        )
        quartiles = {key: statistics.quantiles(value, n=4) for key, value in kept.items()}
        made["spread"] = {key: high - low for key, (low, _, high) in quartiles.items()}
        rows.append(made)
        shown = made["metrics"]
        print(
            f"{name:38} {shown['users_per_second']:9,.0f}/s {shown['times_faiss']:.2f} x faiss {same[place // 2]:.6f}"
        )
    save("rank", rows)


if __name__ == "__main__":
    main()
