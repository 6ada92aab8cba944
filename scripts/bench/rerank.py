"""What a language model adds to the order of the best candidates.

    python scripts/bench/rerank.py movies --seeds 0 1 2 --keep FOLDER

For each seed the default recipe is trained once (runs stay in FOLDER). Windows of its best items are reordered by each
scorer with the weight that is best on validation, and by "default" only where validation shows a gain (the product's
gate). Histories at test time hold train and validation, of the published splits train alone, as their published figures
do. Figures over all users with a test row, full catalogue; "window": over those whose window holds what they took;
"oracle": those in the first place. Of the gain over the graph's own order, of the mean over seeds: the 95 % interval of
a paired bootstrap over users, and p of a paired randomisation test. The tuned ones need `gnnrec tune
FOLDER/DATASET-SEED` before.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accuracy import FOLDERS, PUBLISHED
from numpy.typing import NDArray
from rows import row, save

from gnnrec import metrics
from gnnrec.datasets import Dataset
from gnnrec.encoders.pretrained import cache_root
from gnnrec.language.local import LocalLM
from gnnrec.language.server import open_model
from gnnrec.llm.blend import blended, bounded_order
from gnnrec.llm.block_scorer import BlockScorer
from gnnrec.llm.cards import CardConfig, Cards
from gnnrec.llm.cosine_scorer import CosineScorer
from gnnrec.llm.past import Past, pasts_of
from gnnrec.llm.rerank import NEAR, NO_WEIGHT, CardScorer, Weight, choose_weight
from gnnrec.llm.settings import LLMConfig
from gnnrec.llm.tuned_scorer import TunedScorer, open_tuned, read_tuned
from gnnrec.models import model_scorer
from gnnrec.pipeline import held_out, train
from gnnrec.ranking import top_k
from gnnrec.recipe import load_recipe, load_settings
from gnnrec.run_folder import Run
from gnnrec.significance import compare

VARIANTS = ("popularity", "random", "cosine", "block", "block + card", "tuned", "tuned + soft tokens")
GATED = {"block": "default", "tuned": "tuned, gated"}  # as the product does it: only where validation is sure
NOUNS = {"movies": "movies", "lfm2k": "musicians", "beauty": "beauty products"}
Scores = NDArray[np.float64]


class Plain:
    """A scorer that cannot fail."""

    def __init__(self) -> None:
        self.failures: list[str] = []


class Popularity(Plain):
    """log(1 + users in train)."""

    name = "popularity"

    def __init__(self, run: Run) -> None:
        super().__init__()
        self.values = np.log1p(np.bincount(run.train.item, minlength=len(run.item_ids)))

    def score(self, histories: Sequence[Past], windows: Sequence[Sequence[int]], users: Sequence[int]) -> list[Scores]:
        return [self.values[list(window)] for window in windows]


class Random(Plain):
    name = "random"

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.random = np.random.default_rng(seed)

    def score(self, histories: Sequence[Past], windows: Sequence[Sequence[int]], users: Sequence[int]) -> list[Scores]:
        return [self.random.random(len(window)) for window in windows]


class Bench:
    """One trained run, its test windows, and what was taken."""

    def __init__(self, name: str, seed: int, keep: Path, window: int) -> None:
        self.dataset, folder = Dataset.load(FOLDERS[name]), keep / f"{name}-{seed}"
        recipe = load_recipe("default", [f"train.seed={seed}"])
        self.run = Run.load(folder) if (folder / "run.json").exists() else train(self.dataset, folder, recipe)
        self.known = self.run.train if name in PUBLISHED else self.run.known
        graph = self.run.graph if name in PUBLISHED else self.run.known_graph
        test = held_out(self.run, self.dataset).test
        self.users = np.unique(test.user).astype(np.int64)
        ranking = top_k(model_scorer(self.run.model, graph), torch.from_numpy(self.users), window, self.known.matrix())
        self.items, self.base = ranking.items.numpy().astype(np.int64), ranking.scores.numpy().astype(np.float64)
        wanted = test.matrix()
        self.hits = metrics.hits_of(self.items, self.users, wanted)
        self.num_wanted = np.diff(wanted.indptr)[self.users]
        self.inside = np.flatnonzero(self.hits.any(axis=1))

    def orders(self, scorer: CardScorer, weight: float, config: LLMConfig) -> NDArray[np.int64]:
        """Places of the windows; those without a hit cannot matter and stay as they are. [n, N]"""
        orders = np.tile(np.arange(self.items.shape[1]), (len(self.users), 1))
        if weight:
            pasts = pasts_of(self.known, self.users[self.inside].tolist())
            judged = scorer.score(pasts, self.items[self.inside].tolist(), self.users[self.inside].tolist())
            for place, values in zip(self.inside, judged):
                orders[place] = bounded_order(blended(self.base[place], values, weight), config.cap, NEAR)
        return orders

    def per_user(self, orders: NDArray[np.int64]) -> Scores:
        """NDCG@10. [n]"""
        return metrics.ndcg(np.take_along_axis(self.hits, orders, axis=1), self.num_wanted, 10)


def open_variant(name: str, bench: Bench, seed: int, llm: LLMConfig, model: LocalLM) -> CardScorer:
    run, folder = bench.run, cache_root() / "llm"
    if name == "popularity":
        return Popularity(run)
    if name == "random":
        return Random(seed)
    if name == "cosine":
        return CosineScorer(run.graph, llm.history)
    if name.startswith("block"):
        assert run.items is not None
        config = CardConfig(history=llm.history, whole=name == "block + card")
        return BlockScorer(model, Cards(run.items, model.tokens, config), llm.noun, folder)
    tuned = replace(read_tuned(run), soft=name == "tuned + soft tokens")
    return open_tuned(run, tuned, open_model(tuned.model, trainable=True), folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=NOUNS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--keep", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--set", nargs="*", default=[], help="llm.key=value; not kept as results")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    (llm,) = load_settings({"llm": LLMConfig}, [f'llm.noun="{NOUNS[options.dataset]}"', *options.set])
    model = open_model(llm.model)
    found: dict[str, list[tuple[Bench, Weight, Scores]]] = {}
    for seed in options.seeds:
        bench = Bench(options.dataset, seed, options.keep, llm.window)
        untouched = np.tile(np.arange(bench.items.shape[1]), (len(bench.users), 1))
        found.setdefault("base", []).append((bench, NO_WEIGHT, bench.per_user(untouched)))
        best = np.argsort(~bench.hits, axis=1, kind="stable")
        found.setdefault("oracle", []).append((bench, NO_WEIGHT, bench.per_user(best)))
        for name in options.variants:
            scorer = open_variant(name, bench, seed, llm, model)
            weight = choose_weight(bench.run, scorer, llm)
            if isinstance(scorer, TunedScorer) and bench.known is not bench.run.train:
                scorer = scorer.knowing_all(bench.run)
            values = bench.per_user(bench.orders(scorer, weight.best, llm))
            shown = f"{name}, {llm.model}" if name.startswith("block") else name
            found.setdefault(shown, []).append((bench, weight, values))
            if name in GATED:
                gated = values if weight.value else found["base"][-1][2]
                found.setdefault(GATED[name], []).append((bench, weight, gated))
            print(options.dataset, seed, name, weight.describe(), f"test {values.mean():.4f}", flush=True)
    base = np.mean([values for _, _, values in found["base"]], axis=0)
    rows = []
    for name, seeds in found.items():
        per_seed = [
            {
                "ndcg@10": float(values.mean()),
                "ndcg@10 in the window": float(values[bench.inside].mean()),
                "weight": weight.value if name in GATED.values() else weight.best,
            }
            for bench, weight, values in seeds
        ]
        mean = np.mean([values for _, _, values in seeds], axis=0)
        tested = compare(mean, base, first_users=seeds[0][0].users, second_users=found["base"][0][0].users)
        more: dict[str, object] = {"gain": tested.difference, "interval": tested.interval, "p": tested.p_randomisation}
        if name.startswith("tuned") and all(taken := [read_tuned(bench.run).cpu_seconds for bench, _, _ in seeds]):
            more["tuning_cpu_minutes"] = float(np.mean(taken)) / 60
        rows.append(row(options.dataset, name, options.seeds, per_seed, 0.0, **more))
        low, high = tested.interval
        print(
            options.dataset, name, f"{mean.mean():.4f}, {tested.difference:+.4f} [{low:+.4f}, {high:+.4f}]", flush=True
        )
    if not options.set:
        save("rerank", rows)


if __name__ == "__main__":
    main()
