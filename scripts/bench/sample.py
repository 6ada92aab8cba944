"""Sampled pieces of a graph: how many edges a second one thread samples, and what lists they make.

    python scripts/bench/sample.py speed
    python scripts/bench/sample.py accuracy --models lightgcn_softmax --seeds 0 1 2
    python scripts/bench/sample.py accuracy --models modality_gnn --seeds 0 1 --short
    python scripts/bench/sample.py accuracy --data lfm2k --models sign

speed: 50 million power-law interactions of 1,000,000 users and 300,000 items, in files; 4,096 users at a time, 15 of
each one's items, 15 users of each of these; edges are drawn, read from the files and given short names, in CPU time of
the thread. accuracy: the recipe as it ships, trained on whole graphs and on pieces; NDCG@20 on test. sign passes no
messages while it is trained, so there is one way.
--short: modality_gnn for 10 epochs with 64 dimensions, without what is fitted once the training is over.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from huge import power_law_blocks
from rows import row, save

from gnnrec.sampling.csr import CSR, build_csr
from gnnrec.sampling.neighbours import LocalNodes, sample_rows

USERS, ITEMS, INTERACTIONS = 1_000_000, 300_000, 50_000_000
SEEDS, FANOUT, ROUNDS = 4_096, 15, 60
SHORT = [
    "train.epochs=10",
    "model.dim=64",
    "model.factors=false",
    "model.spectrum=false",
    "model.paths=false",
    "model.placement=false",
]
SAMPLED: dict[str, list[str]] = {"whole": [], "neighbours, 10 a hop": ["train.sampling=neighbours"]}
PRECOMPUTED: dict[str, list[str]] = {"hops made once": []}


def speed() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        blocks = power_law_blocks(USERS, ITEMS, INTERACTIONS, seed=0)
        to_user = build_csr(blocks, USERS, ITEMS, Path(folder) / "to_user")

        def turned() -> Iterator[tuple[Any, Any, None]]:
            return ((item, user, None) for user, item, _ in blocks())

        to_item = build_csr(turned, ITEMS, USERS, Path(folder) / "to_item")
        rates, numbers = [], []
        for number in range(ROUNDS):
            seconds, count = one_sample(to_user, to_item, np.random.default_rng(number))
            rates.append(count / seconds)
            numbers.append(count)
    low, middle, high = statistics.quantiles(rates[5:], n=4)
    values = {"edges_per_second": middle, "edges": statistics.median(numbers)}
    made = row("synthetic power law", "two hops, one thread", [0], [values], ROUNDS)
    return made | {"spread": {"edges_per_second": high - low, "edges": 0.0}}


def one_sample(to_user: CSR, to_item: CSR, random: np.random.Generator) -> tuple[float, int]:
    """CPU seconds of this thread and edges of one sample of two hops."""
    users, items = LocalNodes(USERS), LocalNodes(ITEMS)
    seeds = random.choice(USERS, SEEDS, replace=False)
    began, count = time.thread_time(), 0
    users.add(seeds)
    rows = seeds
    for csr, heard in ((to_user, items), (to_item, users)):
        columns = csr.columns[sample_rows(csr, rows, FANOUT, random).entries]
        heard.add(columns)
        rows, count = heard.met[-1], count + len(columns)
    return time.thread_time() - began, count


def accuracy(data: str, models: list[str], seeds: list[int], short: bool) -> None:
    from accuracy import Bench

    bench = Bench(data)
    for model in models:
        for name, settings in (PRECOMPUTED if model == "sign" else SAMPLED).items():
            found = [bench.measure(model, seed, [*settings, *(SHORT if short else [])]) for seed in seeds]
            variant = f"{model}, {'10 epochs, ' if short else ''}{name}"
            made = row(data, variant, seeds, [one.values for one in found], found[0].seconds)
            save("sample", [made])
            print(data, variant, made["metrics"]["ndcg@20"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["speed", "accuracy"])
    parser.add_argument("--data", default="movies")
    parser.add_argument("--models", nargs="+", default=["lightgcn_softmax"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--short", action="store_true", help="of modality_gnn")
    options = parser.parse_args()
    if options.what == "speed":
        made = speed()
        print(made["metrics"], made["spread"])
        save("sample", [made])
    else:
        accuracy(options.data, options.models, options.seeds, options.short)


if __name__ == "__main__":
    main()
