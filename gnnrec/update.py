"""The verb update: a run takes in what came after it, by a warm start and few epochs, and says what changed.

The new run is one like any other, of the old data with the new partitions below it. What the old run trained on stays
train. Measured are the newest rows: of the new test part, those that came with the partitions, which neither run has
seen. "before" is the old run as it would have served: everything known at test folded into its histories
(models/fold_in.py), its own catalogue, so that it cannot find items that came later; the figures for items that it
knows stand beside. "after" is the new run (test-then-train, Gama et al. 2013, "On evaluating stream learning
algorithms").

Letters: U users, I items, E rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import HeteroData

from gnnrec.comparison import difference_of
from gnnrec.datasets import Dataset, Interactions
from gnnrec.datasets.pseudonyms import Pseudonyms
from gnnrec.datasets.sources.partitions import Partitions, open_partitions
from gnnrec.datasets.split import same_rows
from gnnrec.drift import feature_drift, popularity_drift
from gnnrec.errors import UserError
from gnnrec.evaluation import Evaluation, evaluate_ranking
from gnnrec.fingerprints import fingerprint
from gnnrec.graph import item_modalities, nodes_of
from gnnrec.lineage import steps_of
from gnnrec.models import EmbeddingModel, model_scorer
from gnnrec.models.fold_in import FoldIn, history_log
from gnnrec.pipeline import default_mask, held_out, origin_of, train
from gnnrec.ranking import Scorer
from gnnrec.recipe import Recipe
from gnnrec.run_folder import Run
from gnnrec.successor import begin, recipe_of
from gnnrec.vault import write_json
from gnnrec.warm_start import WarmStart, moved, places

EPOCHS = 10  # by default; a training from the beginning has 100 at most
METRICS = ("ndcg@10", "recall@10")
FILE = "update.json"
BLOCK = 256  # histories that are folded in at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    run: Run
    document: dict[str, Any]  # as in update.json: new, drift, newest


def update(
    old: Run,
    folder: Path,
    out: Path,
    settings: Sequence[str] = (),
    *,
    data: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Update:
    """Fold the Parquet partitions in `folder` that `old` does not have into a new run in `out`.

    settings: "section.key=value" over those of the old run, such as train.epochs. data: the dataset's folder, where it
    has moved. A stopped call goes on. Raises UserError where there is nothing new, where the old data changed, where
    the settings ask for another model, and as `pipeline.train`.
    """
    recipe = recipe_of(old, [f"train.epochs={EPOCHS}", *settings])
    if (recipe.model_name, recipe.model) != (old.recipe.model_name, old.recipe.model):
        raise UserError(
            "update --set model.…: the weights of the run fit its own model only; allowed: train.… and others"
        )
    before = begin(old, out, data, "update")
    partitions = (*old.partitions, open_partitions(folder, old.partitions))
    return take_in(old, before, partitions, out, recipe, say=say)


def take_in(
    old: Run,
    before: Dataset,
    partitions: Sequence[Partitions],
    out: Path,
    recipe: Recipe,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> Update:
    """The update itself. before: the data of `old`; partitions: all that the new run is to have, those of `old` first.

    Raises UserError as `pipeline.train`.
    """
    pseudonyms = None if before.pseudonyms is None else Pseudonyms.required(before.pseudonyms)
    dataset = Dataset.load(before.root, before.feedback, pseudonyms, partitions)
    say(dataset.summary())
    users, items = places(dataset.user_ids, old.user_ids), places(dataset.item_ids, old.item_ids)
    start = WarmStart(
        origin=origin_of(old),
        weights=dict(old.model.named_parameters()) if isinstance(old.model, EmbeddingModel) else {},
        users=users,
        items=items,
        train=moved(old.train, users, items),
        val=moved(old.val, users, items),
    )
    recipe = recipe.resolved(dataset)
    run = unmeasured(dataset, out, recipe, start) or train(
        dataset, out, recipe, start=start, earlier=steps_of(old), say=say
    )
    earlier = moved(
        before.interactions, places(dataset.user_ids, before.user_ids), places(dataset.item_ids, before.item_ids)
    )
    new = ~same_rows(dataset.interactions, earlier)
    document = {
        "from": str(old.folder.resolve()),
        "epochs": run.provenance["epochs"],
        "updates": run.provenance["updates"],
        "new": what_is_new(dataset, new, users, items),
        "drift": {
            "popularity": popularity_drift(earlier_counts(dataset, new), new_counts(dataset, new))
            if new.any()
            else None,
            "features": features_drift(run.graph, items),
        },
        "newest": newest(old, run, dataset, new, users, items),
    }
    write_json(out / FILE, document)
    return Update(run=run, document=document)


def unmeasured(dataset: Dataset, out: Path, recipe: Recipe, start: WarmStart) -> Run | None:
    """The new run, where a call was stopped after it was trained and before it was measured."""
    if not (out / "run.json").exists() or (out / FILE).exists():
        return None
    run = Run.load(out)
    found = run.provenance.get("started_from"), run.provenance["dataset"]["fingerprint"], run.recipe
    return run if found == (start.origin, fingerprint(dataset), recipe) else None


def what_is_new(
    dataset: Dataset, new: NDArray[np.bool_], users: NDArray[np.int64], items: NDArray[np.int64]
) -> dict[str, Any]:
    """Counts, and shares of the new rows that are of new users and of new items. new [E]"""
    log = dataset.interactions
    rows = log.rows(new)
    counts = {"rows": len(rows), "users": int((users < 0).sum()), "items": int((items < 0).sum())}
    shares = {
        "rows_of_new_users": float((users[rows.user] < 0).mean()) if len(rows) else 0.0,
        "rows_of_new_items": float((items[rows.item] < 0).mean()) if len(rows) else 0.0,
    }
    return counts | {"set_aside": len(dataset.rejected)} | shares


def earlier_counts(dataset: Dataset, new: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.bincount(dataset.interactions.item[~new], minlength=len(dataset.item_ids))


def new_counts(dataset: Dataset, new: NDArray[np.bool_]) -> NDArray[np.int64]:
    return np.bincount(dataset.interactions.item[new], minlength=len(dataset.item_ids))


def features_drift(graph: HeteroData, items: NDArray[np.int64]) -> dict[str, dict[str, float]]:
    """By modality, of the items that have content of their own; none without new ones. items [I]"""
    found = {}
    for modality in item_modalities(graph):
        nodes = nodes_of(graph, modality).numpy()
        own = (nodes >= 0) & ~graph[modality].imputed.numpy()[nodes]
        before, after = (graph[modality].x.numpy()[nodes[own & part]] for part in (items >= 0, items < 0))
        if len(before) and len(after):
            found[modality] = feature_drift(before, after)
    return found


def newest(
    old: Run,
    run: Run,
    dataset: Dataset,
    new: NDArray[np.bool_],
    users: NDArray[np.int64],
    items: NDArray[np.int64],
) -> dict[str, Any] | None:
    """Both runs on the newest rows, and on those of items that the old run knows; None where no test row is new."""
    parts = held_out(run, dataset)
    rows = parts.test.rows(same_rows(parts.test, dataset.interactions.rows(new)))
    known, graph = (run.known, run.known_graph) if default_mask(run) == "train+val" else (run.train, run.graph)
    scorers = {"before": served(old, known, users, items), "after": model_scorer(run.model, graph)}
    found: dict[str, Any] = {}
    for name, part in (("all", rows), ("known items", rows.rows(items[rows.item] >= 0))):
        if not np.any(~same_rows(part.unordered(), known.unordered())):
            continue
        measured = {
            which: evaluate_ranking(scorer, relevant=part, train=run.train, seen=known, ks=(10,))
            for which, scorer in scorers.items()
        }
        found[name] = _document(measured)
    return found or None


def _document(measured: dict[str, Evaluation]) -> dict[str, Any]:
    before, after = measured["before"], measured["after"]
    document: dict[str, Any] = {"users": after.num_users}
    for which, found in measured.items():
        document[which] = {name: found.metrics[name] for name in METRICS}
    if after.num_users > 1:
        document["difference"] = {
            name: difference_of(after.per_user[name], before.per_user[name], after.users, before.users)
            for name in METRICS
        }
    return document


def served(old: Run, known: Interactions, users: NDArray[np.int64], items: NDArray[np.int64]) -> Scorer:
    """The old run with these histories folded in, over the items of the new data: new ones are never found.

    users [U], items [I]: the indexes in the old run, -1 for who is new.
    """
    fold_in = FoldIn(old.model, old.known_graph)
    rows = known.rows(items[known.item] >= 0)
    order = np.argsort(rows.user, kind="stable")
    past = np.split(items[rows.item[order]], np.cumsum(np.bincount(rows.user, minlength=len(users)))[:-1])
    there = torch.from_numpy(np.flatnonzero(items >= 0))
    place = torch.from_numpy(items[items >= 0])

    def score(asked: Tensor) -> Tensor:
        scores = torch.full((len(asked), len(items)), -torch.inf)
        for block in torch.arange(len(asked)).split(BLOCK):
            who = asked[block].tolist()
            log = history_log([past[user] for user in who], len(old.item_ids))
            found = fold_in.scorer([int(users[user]) for user in who], log)
            scores[block[:, None], there] = found(torch.arange(len(who)))[:, place].float()
        return scores

    return score
