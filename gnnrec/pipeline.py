"""The verbs as functions: a dataset becomes a run, a run is evaluated. The command line and Python users call them."""

import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator
from torch_geometric.data import HeteroData

from gnnrec.checkpoint import TrainState
from gnnrec.datasets import Dataset, Interactions, Split, SplitConfig, in_order, join_logs, settled, split
from gnnrec.datasets.pseudonyms import without_ids
from gnnrec.encoders import Features, default_device, encode_dataset, unusable_content
from gnnrec.encoders.encode import MODALITIES
from gnnrec.encoders.features import describe_content
from gnnrec.encoders.fitted.folder import facts_of
from gnnrec.errors import UserError
from gnnrec.evaluation import Evaluation, evaluate_ranking
from gnnrec.files import claim_folder
from gnnrec.fingerprints import catalog_fingerprint, content_fingerprint, fingerprint
from gnnrec.graph import INTERACTS, build_graph, interactions_of, item_modalities, owners
from gnnrec.lineage import Step
from gnnrec.locking import alone_in
from gnnrec.machine import machine, versions
from gnnrec.models import MODELS, ClosedFormModel, EmbeddingModel, Model, embeddings_of, has_embeddings, model_scorer
from gnnrec.parallel.fit import fit_in_workers
from gnnrec.parallel.settings import ALONE, ParallelConfig
from gnnrec.private_runs import check_private, has_validation, privacy_of
from gnnrec.recipe import Recipe
from gnnrec.run_folder import FILES, Run, save_rejected, save_run
from gnnrec.tracking import Tracker
from gnnrec.training import fit
from gnnrec.validation import ranking_metric
from gnnrec.warm_start import WarmStart
from gnnrec.weights.choose import TABLES_FOLDER, draw_for
from gnnrec.words.content import Written, write_content

Say = Callable[[str], None]
OnEpoch = Callable[[list[dict[str, float]]], None]
MASKS = ("train+val", "train")


def train(
    dataset: Dataset,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    start: WarmStart | None = None,
    like: Run | None = None,
    earlier: Sequence[Step] = (),
    say: Say = lambda line: None,
    on_epoch: OnEpoch = lambda history: None,
    parallel: ParallelConfig = ALONE,
) -> Run:
    """Encode, build the graph, fit, measure on val and save; an interrupted call of the same kind is resumed.

    No test row enters the graph, the training or the run; the dataset's fingerprint knows of all rows. Raises UserError
    where `out` holds a finished run or the checkpoint of another, or another process writes there, and
    training.Interrupted after Ctrl-C. start: a run whose weights this one begins with; what that run learnt stays
    train, whatever the split says. like: a run of the same data, whose train and validation rows are trained on, with
    what that run chose by the latter (refit.py). earlier: the steps that made `start` or `like`.
    """
    out, recipe, began = Path(out), recipe or Recipe(), time.time()
    recipe = recipe.resolved(dataset)
    refuse_finished(out)
    check_encoders(dataset, recipe)
    check_private(dataset, recipe, split_method(dataset, recipe))
    claim_folder(out, FILES)
    with alone_in(out):
        return _train(dataset, out, recipe, began, say, on_epoch, start, like, earlier, parallel)


def _train(
    dataset: Dataset,
    out: Path,
    recipe: Recipe,
    began: float,
    say: Say,
    on_epoch: OnEpoch,
    start: WarmStart | None,
    like: Run | None,
    earlier: Sequence[Step],
    parallel: ParallelConfig,
) -> Run:
    refuse_finished(out)  # by somebody else, meanwhile
    code = versions()  # now: an installation may be changed while a long training goes on
    if (out / "checkpoint.safetensors").exists():
        say(f"{out}: an interrupted training goes on")
    parts = split(dataset, recipe.split_config(dataset))
    parts = parts if start is None else settled(parts, start.train, start.val)
    parts = parts if like is None else Split(like.known, parts.val.rows(np.zeros(0, dtype=np.int64)), parts.test)
    encoders = recipe.encoders_in(out)
    item_features, user_features = encode_dataset(dataset, encoders)
    content = [describe_content(item_features, "items"), describe_content(user_features, "users")]
    say("; ".join(filter(None, content)) or "no content: the graph holds users and items only")
    unusable = unusable_content(dataset, item_features, user_features)
    if len(unusable):
        first = unusable.row(0, named=True)
        say(
            f"{first['file']}, line {first['line']}: {first['value']}: {first['reason']}; content that cannot be used "
            f"counts as missing, {len(unusable):,} in all (rejected.csv in the run)"
        )
    save_rejected(out, unusable)
    written = written_content(dataset, parts, item_features, recipe, say)
    order = parts if like is None or "time" in like.graph[INTERACTS] else replace(parts, train=parts.train.unordered())
    graph = training_graph(dataset, order, item_features, user_features, recipe, written)
    settings = recipe.to_toml() + fingerprint(dataset) + content_fingerprint(graph)
    settings += ("" if start is None else start.origin) + ("" if like is None else origin_of(like))
    fit_in_workers(graph, parts.val, recipe, out, settings, parallel, on_epoch)
    model, state = fit_model(graph, parts.val, recipe, start=start, out=out, settings=settings, on_epoch=on_epoch)
    if like is not None and isinstance(model, EmbeddingModel):
        model.finish_like(graph, like.model)
    metrics = {}
    if len(parts.val):
        metrics = evaluate_model(model, graph, parts.val, parts.train, parts.train).to_json("val")
    provenance = {
        **origin(dataset, recipe, parts, item_features, user_features, written),
        "finetuned": {modality: facts_of(encoders.encoder_of(modality)) for modality in recipe.finetune.chosen()},
        "unusable_content": len(unusable),
        # Weight, l2 and confidence of iALS, see models/factors.py.
        "factor_settings": getattr(model, "factor_settings", torch.empty(0)).tolist(),
        # How many waves of which weight, see models/spectrum.py; none where the weight is missing.
        "waves": getattr(model, "spectrum_values", torch.empty(0)).numel(),
        "waves_weight": getattr(model, "spectrum_weight", torch.empty(0)).tolist(),
        # Of what goes together and of what follows, see models/paths.py.
        "path_weights": getattr(model, "path_weights", torch.empty(0)).tolist(),
        **privacy_of(model),
        "best_epoch": state.best_epoch,
        "epochs": state.epoch,
        "updates": state.updates,
        "started_from": None if start is None else start.origin,
        "refit_of": None if like is None else origin_of(like),
        "earlier": [asdict(step) for step in earlier],
        "training_seconds": round(state.seconds, 3),
        "total_seconds": round(time.time() - began, 3),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": without_ids(sys.argv),
        "versions": code,
        "machine": machine(),
    }
    run = save_run(out, recipe, dataset, graph, parts.train, parts.val, model, metrics, provenance)
    (out / "checkpoint.safetensors").unlink(missing_ok=True)
    shutil.rmtree(out / TABLES_FOLDER, ignore_errors=True)
    return run


def origin_of(run: Run) -> str:
    """Names a run, so that a checkpoint is not taken for that of one made of another."""
    return f"{run.folder.resolve()} {run.provenance['finished']}"


def refuse_finished(out: Path) -> None:
    if (out / "run.json").exists():
        raise UserError(f"{out}: holds a finished run already; choose another folder (--out)")


def origin(
    dataset: Dataset,
    recipe: Recipe,
    parts: Split,
    items: Mapping[str, Features],
    users: Mapping[str, Features],
    written: Written,
) -> dict[str, Any]:
    """What of a run's provenance says which data it is of, how they were cut and what made their features."""
    feedback = dataset.feedback and {"path": str(dataset.feedback.path), "num_events": dataset.feedback.num_events}
    contents = (("items", {**items, **written.items}), ("users", {**users, **written.users}))
    return {
        "dataset": {
            "name": dataset.name,
            "path": str(dataset.root.resolve()),
            "fingerprint": fingerprint(dataset),
            "catalog": catalog_fingerprint(dataset),
            "licence": dataset.licence,
            "rejected_rows": len(dataset.rejected),
            "feedback": feedback,
            "partitions": [{"folder": str(one.folder), "files": one.files} for one in dataset.partitions],
            "retention_days": dataset.retention_days,
            "rating_scale": dataset.rating_scale,
            "pseudonyms": dataset.pseudonyms,
        },
        "split": {"method": split_method(dataset, recipe), "published": published_whole(dataset, recipe)}
        | {"train": len(parts.train), "val": len(parts.val)},
        "encoders": {
            owner: {modality: features.encoder for modality, features in content.items()} for owner, content in contents
        },
        "written": written.record,
    }


def learnt_from(dataset: Dataset, recipe: Recipe) -> dict[str, Any]:
    """Whose log, cut how: what an encoder that learnt the train rows keeps in mind."""
    return {"data": fingerprint(dataset), "split": asdict(recipe.split_config(dataset))}


def check_encoders(dataset: Dataset, recipe: Recipe) -> None:
    """Raises UserError for an encoder that learnt this very log from other train rows: it may know of test rows."""
    for modality in MODALITIES:
        encoder = recipe.encoders.encoder_of(modality)
        known = (facts_of(encoder) or {}).get("learnt_from")
        if not known or known["data"] != fingerprint(dataset):
            continue
        before = asdict(SplitConfig()) | known["split"]  # which may be from before there was a key
        if before != (here := learnt_from(dataset, recipe)["split"]):
            key = next(key for key in here if here[key] != before[key])
            raise UserError(
                f"encoders.{modality}: {encoder} learnt this log with split.{key} = {before[key]!r}, "
                f"so it may know of test rows; found {here[key]!r}; allowed: the same split"
            )


def written_content(
    dataset: Dataset,
    parts: Split,
    items: Mapping[str, Features],
    recipe: Recipe,
    say: Callable[[str], None] = lambda line: None,
) -> Written:
    """The descriptions and profiles that the recipe asks for; of the log only the train rows are looked at."""
    return write_content(
        dataset, parts.train, items, recipe.encoders, recipe.graph, recipe.describe, recipe.profiles, say=say
    )


def training_graph(
    dataset: Dataset,
    parts: Split,
    items: Mapping[str, Features],
    users: Mapping[str, Features],
    recipe: Recipe,
    written: Written | None = None,
) -> HeteroData:
    """The graph of the train rows; it knows their order only where the split respects it.

    written: what `written_content` gave, made here where it is left out.
    """
    log = parts.train if in_order(parts.train, parts.val) else parts.train.unordered()
    written = written_content(dataset, parts, items, recipe) if written is None else written
    return build_graph(log, {**items, **written.items}, {**users, **written.users}, dataset.friends, recipe.graph)


def fit_model(
    graph: HeteroData,
    val: Interactions,
    recipe: Recipe,
    *,
    start: WarmStart | None = None,
    out: Path | None = None,
    settings: str = "",
    on_epoch: Callable[[list[dict[str, float]]], None] = lambda history: None,
) -> tuple[Model, TrainState]:
    """The recipe's model, trained on the interactions of `graph`; with `out`, logged and resumable there.

    Gradient training runs on CUDA where there is any; model and graph are on the CPU before and after. `on_epoch`
    is called as by `training.fit`, after the log is written, and may raise to end the training.
    """
    generator = Generator().manual_seed(recipe.train.seed)
    kind = MODELS[recipe.model_name][0]
    model: Model = kind(recipe.model, graph, generator, *draw_for(recipe.train.tables, kind, out))
    if isinstance(model, ClosedFormModel):
        began = time.monotonic()
        model.fit_closed_form(graph)
        return model, TrainState(finished=True, seconds=time.monotonic() - began)
    if start is None:
        model.begin(graph)
    else:
        start.apply(model, graph)
    where: dict[str, Any] = {"on_epoch": on_epoch}
    tracker = None
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        tracker = Tracker(out, on_epoch)
        where = {"checkpoint": out / "checkpoint.safetensors", "settings": settings, "on_epoch": tracker}
    device = default_device()
    try:
        state = fit(model.to(device), graph.to(device), val, recipe.train, **where)
    finally:
        model.cpu()
        graph.to("cpu")
        if tracker is not None:
            tracker.close()
    if len(val):
        model.eval()
        log = interactions_of(graph)
        model.finish(graph, lambda scorer: ranking_metric(scorer, log, val, recipe.train.metric))
    return model, state


def evaluate(
    run: Run | str | Path,
    *,
    split_name: str = "test",
    mask: str | None = None,
    dataset: Dataset | None = None,
    candidates: NDArray[np.bool_] | None = None,
    ks: tuple[int, ...] = (10, 20),
    left_out: NDArray[np.bool_] | None = None,
) -> Evaluation:
    """Rank the full catalogue for every user with a positive in val or test.

    left_out: of whom nothing is measured, by default those whom the run is due to forget. [U]

    `mask`: which interactions count as known, that is, are histories and cannot be recommended. "train" for published
    splits with validation rows, as their published figures are, else "train+val", as in serving; the rows that were
    drawn for validation from a published train belong to what its figures know. For val it is always train. The test
    rows come from the dataset's folder, whose fingerprint has to fit the run.
    """
    run = run if isinstance(run, Run) else Run.load(run)
    if split_name not in ("val", "test"):
        raise UserError(f"evaluate --split: found {split_name!r}; allowed: val, test")
    if mask is not None and mask not in MASKS:
        raise UserError(f"evaluate --mask: found {mask!r}; allowed: {', '.join(MASKS)}")
    relevant = run.val if split_name == "val" else held_out(run, dataset).test
    relevant = relevant.rows(~(run.due if left_out is None else left_out)[relevant.user])
    if split_name == "val":
        return evaluate_model(run.model, run.graph, relevant, run.train, run.train, ks=ks, candidates=candidates)
    mask = mask or default_mask(run)
    known = run.known if mask == "train+val" else run.train
    graph = run.known_graph if mask == "train+val" else run.graph
    return evaluate_model(run.model, graph, relevant, run.train, known, ks=ks, candidates=candidates)


def known_at_test(dataset: Dataset, recipe: Recipe, parts: Split) -> Interactions:
    """What counts as known at test by default, as `default_mask` says of a run."""
    return parts.train if published_whole(dataset, recipe) else join_logs(parts.train, parts.val)


def default_mask(run: Run) -> str:
    told = run.provenance["split"]
    # Runs from before the key said nothing of who chose the validation rows.
    return "train" if told.get("published", told["method"] == "published") is True else "train+val"


def held_out(run: Run, dataset: Dataset | None = None) -> Split:
    """The split that the run was trained on, read again from the dataset's folder."""
    dataset = dataset or run.dataset()
    if fingerprint(dataset) != run.provenance["dataset"]["fingerprint"]:
        raise UserError(
            f"{dataset.root}: the data is not what {run.folder} was trained on; pass the right one by --data"
        )
    parts = split(dataset, run.recipe.split_config(dataset))
    return settled(parts, run.train, run.val) if run.provenance.get("started_from") else parts


def evaluate_model(
    model: Model,
    graph: HeteroData,
    relevant: Interactions,
    train_log: Interactions,
    known: Interactions,
    *,
    ks: tuple[int, ...] = (10, 20),
    candidates: NDArray[np.bool_] | None = None,
    resamples: int = 1000,
) -> Evaluation:
    """A model on the rows `relevant`, with the interactions of `graph` as histories and those of `known` masked."""
    embeddings = embeddings_of(model, graph) if has_embeddings(model) else None
    return evaluate_ranking(
        model_scorer(model, graph, embeddings),
        relevant=relevant,
        train=train_log,
        seen=known,
        ks=ks,
        item_vectors=None if embeddings is None else embeddings.item,
        modality_masks=modality_masks(graph),
        candidates=candidates,
        resamples=resamples,
    )


def modality_masks(graph: HeteroData) -> dict[str, NDArray[np.bool_]]:
    """Which items have real content of each modality: what was filled in from others does not count. [I] each"""
    masks = {}
    for modality in item_modalities(graph):
        mask = np.zeros(graph["item"].num_nodes, dtype=bool)
        mask[owners(graph, modality)[~graph[modality].imputed].numpy()] = True
        masks[modality] = mask
    return masks


def split_method(dataset: Dataset, recipe: Recipe) -> str:
    """The method by which the log is cut in the end: what "auto" stands for."""
    method = recipe.split_config(dataset).method
    if method != "auto":
        return method
    if dataset.published_split is not None:
        return "published"
    return "random" if dataset.interactions.timestamp is None else "leave_last"


def published_whole(dataset: Dataset, recipe: Recipe) -> bool:
    """Whether the split is a published one, its validation rows too, and not drawn here from its train rows."""
    return split_method(dataset, recipe) == "published" and has_validation(dataset)
