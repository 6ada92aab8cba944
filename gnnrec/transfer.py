"""A run's model on data that it was not trained on: another catalogue, other users, nothing trained anew.

What goes over are weights that know content alone (`takes_other_graphs`) and the settings; the graph is built of the
other data by the same encoders. Features are standardized by the other catalogue's own mean and scale: what all its
items have in common tells none of them apart.
"""

import copy
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from gnnrec.cold_items import cold_values, folds_of
from gnnrec.comparison import difference_of
from gnnrec.datasets import Dataset, Interactions, Split, split
from gnnrec.datasets.pseudonyms import without_ids
from gnnrec.encoders import Features, encode_dataset, unusable_content
from gnnrec.encoders.encode import MODALITIES
from gnnrec.errors import UserError, count
from gnnrec.evaluation import evaluate_ranking
from gnnrec.files import claim_folder
from gnnrec.graph import item_modalities, with_interactions
from gnnrec.machine import machine, versions
from gnnrec.models import EmbeddingModel, model_scorer
from gnnrec.models.tower import mean_of_content
from gnnrec.pipeline import check_encoders, evaluate_model, known_at_test, origin, training_graph
from gnnrec.ranking import Scorer, embedding_scorer
from gnnrec.recipe import Recipe
from gnnrec.run_folder import FILES, Run, save_rejected, save_run
from gnnrec.significance import holm
from gnnrec.vault import encrypt_folder, is_encrypted
from gnnrec.words.content import Written

METRICS = ("ndcg@10", "recall@10")
TESTED = "ndcg@10"
QUESTIONS = ("all items", "cold items")
OWN = "transferred"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A trained model on the graph of other data."""

    dataset: Dataset
    parts: Split
    recipe: Recipe  # the run's, with the split of the other data
    items: Mapping[str, Features]  # of the modalities that the model knows
    graph: HeteroData
    model: EmbeddingModel


ScorerOf = Callable[[Placed, Interactions, int], Scorer]  # with the rows of a log as histories, and a seed
Values = tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]  # users [n], metric -> the value of each [n]


def place(model: Any, recipe: Recipe, source: HeteroData, encoders: Mapping[str, str], dataset: Dataset) -> Placed:
    """`source`: the graph that the model was trained on; `encoders`: what made its features, by modality.

    Raises UserError for a model that knows more than content, where the two catalogues have no modality in common, and
    for features of another encoder; features made elsewhere are taken for those of one encoder if they are as wide.
    """
    if not isinstance(model, EmbeddingModel) or not model.takes_other_graphs:
        raise UserError(f"transfer: the model {recipe.model_name} knows its own items and users only; allowed: tower")
    known = item_modalities(source)
    left_out: dict[str, Any] = {
        name: "none" for name in MODALITIES if name not in known
    }  # nobody listens to what these would cost
    recipe = replace(recipe, split={}, encoders=replace(recipe.encoders, **left_out)).resolved(dataset)
    check_encoders(dataset, recipe)
    parts = split(dataset, recipe.split_config(dataset))
    items = {name: made for name, made in encode_dataset(dataset, recipe.encoders)[0].items() if name in known}
    if not items:
        raise UserError(f"{dataset.root}: no content of the kinds that the model was trained on: {', '.join(known)}")
    for name, made in items.items():
        width = source[name].x.shape[1]
        if made.encoder != encoders[name] or made.values.shape[1] != width:
            raise UserError(
                f"{dataset.root}: {name} was made by {made.encoder} in {count(made.values.shape[1], 'dimension')}; "
                f"allowed: that of the run, {encoders[name]} in {width}"
            )
    graph = training_graph(dataset, parts, items, {}, recipe, Written())
    for name in known:
        if name not in item_modalities(graph):
            _add_empty(graph, source, name)
    model = copy.deepcopy(model)
    model.leave_source()
    return Placed(dataset=dataset, parts=parts, recipe=recipe, items=items, graph=graph, model=model)


def place_run(run: Run, dataset: Dataset) -> Placed:
    return place(run.model, run.recipe, run.graph, run.provenance["encoders"]["items"], dataset)


def _add_empty(graph: HeteroData, source: HeteroData, modality: str) -> None:
    """A modality that no item of the other data has: new items may, measured as in the source."""
    nodes, like = graph[modality], source[modality]
    nodes.x, nodes.imputed, nodes.num_nodes = like.x[:0], like.imputed[:0], 0
    nodes.mean, nodes.scale = like.mean, like.scale
    none = torch.empty((2, 0), dtype=torch.int64)
    graph["item", f"has_{modality}", modality].edge_index = none
    graph[modality, f"rev_has_{modality}", "item"].edge_index = none.clone()


def keep(placed: Placed, run: Run, out: Path) -> Run:
    """A run folder of the other data, which all commands take as they take a trained one; encrypted where `run` is.

    Raises UserError as train.
    """
    if (out / "run.json").exists():
        raise UserError(f"{out}: holds a finished run already; choose another folder (--out)")
    if is_encrypted(run.folder):
        encrypt_folder(out)
    claim_folder(out, FILES)
    train, val = placed.parts.train, placed.parts.val
    metrics = evaluate_model(placed.model, placed.graph, val, train, train).to_json("val") if len(val) else {}
    unusable = unusable_content(placed.dataset, placed.items, {})
    save_rejected(out, unusable)
    provenance = run.provenance | origin(placed.dataset, placed.recipe, placed.parts, placed.items, {}, Written())
    # Modalities that the other data lack stay known: new items may have them.
    provenance["encoders"]["items"] = run.provenance["encoders"]["items"] | provenance["encoders"]["items"]
    provenance |= {
        "transferred_from": str(run.folder.resolve()),
        "unusable_content": len(unusable),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": without_ids(sys.argv),
        "versions": versions(),
        "machine": machine(),
    }
    return save_run(out, placed.recipe, placed.dataset, placed.graph, train, val, placed.model, metrics, provenance)


def transferred(placed: Placed, known: Interactions, seed: int) -> Scorer:
    return model_scorer(placed.model, with_interactions(placed.graph, known))


def by_mean_of_content(placed: Placed, known: Interactions, seed: int) -> Scorer:
    """Cosine to the mean of what a user had: the same content, nothing learnt."""
    plain = mean_of_content(with_interactions(placed.graph, known))
    return embedding_scorer(plain.user, plain.item)


def by_popularity(placed: Placed, known: Interactions, seed: int) -> Scorer:
    """Rows of the other data that are known. Of cold items there are none, so there it is chance."""
    counts = torch.from_numpy(np.bincount(known.item, minlength=known.num_items)).float()
    return lambda users: counts.repeat(len(users), 1)


def by_chance(placed: Placed, known: Interactions, seed: int) -> Scorer:
    generator = torch.Generator().manual_seed(seed)
    return lambda users: torch.rand(len(users), known.num_items, generator=generator)


SCORERS: dict[str, ScorerOf] = {
    OWN: transferred,
    "mean of content": by_mean_of_content,
    "popularity": by_popularity,
    "random": by_chance,
}


def measure_transfer(placed: Placed, seed: int = 0) -> dict[str, Any]:
    """The model beside what needs no training, on both questions; paired tests of NDCG@10, Holm-corrected in each."""
    return {question: _document(found) for question, found in measured_values(placed, SCORERS, seed).items()}


def measured_values(placed: Placed, scorers: Mapping[str, ScorerOf], seed: int = 0) -> dict[str, dict[str, Values]]:
    """What each scorer reaches on each question.

    all items   the full catalogue on the test rows, everything known that `evaluate` takes for known by default
    cold items  folds of items whose rows are all left out, ranked among themselves for who took some of them
    """
    parts, log = placed.parts, placed.dataset.interactions
    known, folds = known_at_test(placed.dataset, placed.recipe, parts), folds_of(log.num_items)
    everything, cold = dict[str, Values](), dict[str, Values]()
    for name, make in scorers.items():
        found = evaluate_ranking(
            make(placed, known, seed), relevant=parts.test, train=parts.train, seen=known, ks=(10,), resamples=0
        )
        everything[name] = found.users, {metric: found.per_user[metric] for metric in METRICS}

        def of_fold(left: Split, make: ScorerOf = make) -> Scorer:
            return make(placed, left.train, seed)

        cold[name] = cold_values(log, parts, of_fold, metrics=METRICS, folds=folds)
    return dict(zip(QUESTIONS, (everything, cold)))


def _document(found: Mapping[str, Values]) -> dict[str, Any]:
    users, mine = found[OWN]
    against = {
        name: difference_of(mine[TESTED], values[TESTED], users, others)
        for name, (others, values) in found.items()
        if name != OWN
    }
    corrected = holm({name: one["p_randomisation"] for name, one in against.items()})
    return {
        "users": len(users),
        "metrics": {
            name: {metric: float(values[metric].mean()) for metric in METRICS} for name, (_, values) in found.items()
        },
        "against": {name: one | {"p_holm": corrected[name]} for name, one in against.items()},
    }
