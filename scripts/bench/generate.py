"""Lists that the language model writes by itself, beside the graph's own lists of the same users.

    python scripts/bench/generate.py RUN --users 100

Of a run on movies: users with a test row, drawn at random; full catalogue; histories hold train and validation.
"rerank": the graph's lists reordered by the same model, with the weight that is best on validation. "soft tokens": by
the model that `gnnrec tune` made, where it did; read whether or not they passed their controls.
"from the model": the share of places that are not filled up from the graph; "popularity": train users of an item, mean.
Seconds are those of the processor for one list. p: paired randomisation test of NDCG@10 against the graph's lists.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rows import row, save

from gnnrec import metrics
from gnnrec.datasets import Dataset
from gnnrec.llm.block_scorer import BlockScorer
from gnnrec.llm.list_writer import ListWriter
from gnnrec.llm.settings import LLMConfig, open_list_writer, open_reranker, tuned_writer
from gnnrec.llm.tuned_scorer import FILE, read_tuned
from gnnrec.pipeline import held_out
from gnnrec.recipe import load_settings
from gnnrec.recommend import Recommender
from gnnrec.run_folder import Run
from gnnrec.significance import randomisation_test

K = 10
UNBOUNDED = ("llm.seconds=1e6", "llm.calls=1_000_000_000", "llm.tokens=1_000_000_000")
Lists = Callable[[int], tuple[list[int], float]]  # user -> items, and the share of them that is the model's own


def measured(
    run: Run, dataset: Dataset, users: NDArray[np.int64], lists: Lists
) -> tuple[dict[str, float], NDArray[np.float64], float]:
    """Metrics, NDCG@10 of each user, and seconds for one list."""
    wanted = held_out(run, dataset).test.matrix()
    num_wanted = np.diff(wanted.indptr)[users]
    popularity, found, shares = np.bincount(run.train.item, minlength=len(run.item_ids)), [], []
    began = time.process_time()
    for number, user in enumerate(users.tolist(), 1):
        listed, share = lists(user)
        found.append(listed)
        shares.append(share)
        if number % 10 == 0:
            print(f"{number} users, {(time.process_time() - began) / number:.1f} s each", flush=True)
    seconds = (time.process_time() - began) / len(users)
    items = np.array(found)  # [n, K]
    hits = metrics.hits_of(items, users, wanted)
    ndcg, recall = metrics.ndcg(hits, num_wanted, K), hits[:, :K].sum(1) / num_wanted
    values = {
        "ndcg@10": float(ndcg.mean()),
        "recall@10": float(recall.mean()),
        "popularity": float(popularity[items].mean()),
        "different items": float(len(np.unique(items))),
        "from the model": float(np.mean(shares)),
    }
    return values, ndcg, seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path, help="of movies")
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[], help="llm.key=value; not kept as results")
    options = parser.parse_args()
    torch.set_num_threads(1)
    run, dataset = Run.load(options.run), Dataset.load(Path("data/movies"))
    (config,) = load_settings({"llm": LLMConfig}, ['llm.noun="movies"', *UNBOUNDED, *options.set])
    recommender, writer = Recommender(run), open_list_writer(run, replace(config, scorer="block"))
    reranker = open_reranker(run, replace(config, scorer="block"), say=print)
    reranker.weight = replace(reranker.weight, value=reranker.weight.best)
    assert isinstance(reranker.scorer, BlockScorer)
    prompts = reranker.scorer.prompts
    reranker.scorer = BlockScorer(
        prompts.model, prompts.cards, prompts.noun
    )  # without a cache, so that it can be timed
    drawn = np.random.default_rng(options.seed).permutation(np.unique(held_out(run, dataset).test.user))
    users = np.sort(drawn[: options.users]).astype(np.int64)

    def base(user: int) -> tuple[list[int], float]:
        return [run.item_index(place.id) for place in recommender.recommend(run.user_ids[user], K)], 0.0

    def reranked(user: int) -> tuple[list[int], float]:
        found = reranker.recommend(recommender, run.user_ids[user], K)
        return [run.item_index(place.id) for place in found], 0.0

    def written(lists: ListWriter) -> Lists:
        def by(user: int) -> tuple[list[int], float]:
            found = lists.recommend(recommender, run.user_ids[user], K)
            return [run.item_index(place.id) for place in found], sum(place.source == "model" for place in found) / K

        return by

    variants = {"base": base, f"rerank, {config.model}": reranked, f"generate, {config.model}": written(writer)}
    if (run.folder / FILE).exists() and (tuned := read_tuned(run)).projectors:
        soft = ListWriter(run, tuned_writer(run, replace(tuned, soft=True), config))
        variants["generate, tuned + soft tokens"] = written(soft)
    rows, before = [], np.zeros(len(users))
    for name, lists in variants.items():
        values, after, seconds = measured(run, dataset, users, lists)
        if name == "base":
            before = after
        p = randomisation_test(after - before) if (after != before).any() else 1.0
        rows.append(row("movies", name, [options.seed], [values], seconds, p=p, users=len(users)))
        print(name, values, f"{seconds:.2f} s, p {p:.3f}", flush=True)
    if not options.set:
        save("generate", rows)


if __name__ == "__main__":
    main()
