"""What a rerank of 20 candidates costs.

    python scripts/bench/rerank_speed.py RUN [--threads 2]

Users drawn at random; the model is read before. Wall seconds a user, and seconds of the processor ("CPU"). "one by
one": each asked for alone; "together": the same users, CALL in one call; "again": all of them once more, from the
cache.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rows import row, save

from gnnrec.language.server import open_model
from gnnrec.llm.block_scorer import BlockScorer
from gnnrec.llm.cards import CardConfig, Cards
from gnnrec.llm.past import NOBODY, pasts_of
from gnnrec.recommend import Recommender
from gnnrec.run_folder import Run

CALL = 20  # users


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--users", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--noun", default="movies")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run, model = Run.load(options.run), open_model("smollm2")
    assert run.items is not None
    recommender, cards = Recommender(run), Cards(run.items, model.tokens, CardConfig())
    users = np.random.default_rng(0).choice(len(run.user_ids), options.users, replace=False).tolist()
    windows = [[run.item_index(place.id) for place in recommender.recommend(run.user_ids[user], 20)] for user in users]
    pasts = pasts_of(run.known, users)
    with tempfile.TemporaryDirectory() as kept:
        alone, together = (BlockScorer(model, cards, options.noun, Path(kept) / name) for name in ("alone", "together"))
        # The model is read, and the cards behind no past, which all users share, are in both caches.
        for scorer in (alone, together):
            scorer.score([NOBODY] * len(windows), windows)
        each, tokens, first = [], [], []
        at_once = of_one = of_all = 0.0
        for begin in range(0, len(users), CALL):  # in turns, since what else runs here comes and goes
            some = slice(begin, begin + CALL)
            processor = time.process_time()
            for past, window in zip(pasts[some], windows[some]):
                began = time.perf_counter()
                alone.score([past], [window])
                each.append(time.perf_counter() - began)
                blocks = [alone.prompts.card(item) or () for item in window]
                tokens.append(len(alone.prompts.past(past)) + sum(map(len, blocks)))
            of_one += time.process_time() - processor
            began, processor = time.perf_counter(), time.process_time()
            first += together.score(pasts[some], windows[some])
            at_once, of_all = at_once + time.perf_counter() - began, of_all + time.process_time() - processor
        began = time.perf_counter()
        second = together.score(pasts, windows)
        again = time.perf_counter() - began
    assert all(np.array_equal(one, other, equal_nan=True) for one, other in zip(first, second))
    values = {
        "one by one, median": float(np.median(each)),
        "one by one, 95 %": float(np.quantile(each, 0.95)),
        "one by one": float(np.mean(each)),
        "one by one, CPU": of_one / len(users),
        "together": at_once / len(users),
        "together, CPU": of_all / len(users),
        "again": again / len(users),
        "tokens": float(np.mean(tokens)),
        "threads": float(options.threads),
    }
    print(values)
    name = f"smollm2, {options.threads} thread" + "s" * (options.threads != 1)
    save("rerank_speed", [row(run.provenance["dataset"]["name"], name, [0], [values], sum(each))])


if __name__ == "__main__":
    main()
