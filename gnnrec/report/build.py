"""A run becomes a report: what was measured, beside other runs, and what the lists look like to people.

Letters: n users with a positive in the split, k length of the lists, I items.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.commit import together
from gnnrec.comparison import COMPARED, check_same_data, differences, due_in, measure
from gnnrec.datasets import Dataset, Interactions
from gnnrec.errors import UserError, count
from gnnrec.evaluation import Evaluation, popularity_groups
from gnnrec.files import refuse_plain, write_text
from gnnrec.inspect.facts import describe_log, modality_weights
from gnnrec.metrics import exposure
from gnnrec.modalities.pictures import value_plots
from gnnrec.pipeline import held_out, modality_masks
from gnnrec.report import html
from gnnrec.report.data import Bars, ModelRow, ReportData
from gnnrec.report.item_map import embedding_map
from gnnrec.report.measured import Measured
from gnnrec.report.model_card import model_card
from gnnrec.report.origin import origin
from gnnrec.report.people import LIST, Cards, failures, samples
from gnnrec.report.reliance import reliance, reliance_plots
from gnnrec.run_folder import Run
from gnnrec.tracking import read_log
from gnnrec.tuning import Study, read_study

BEYOND = ("coverage@10", "gini@10", "novelty@10", "popularity@10", "popularity_lift@10", "diversity@10")
MODEL_CARD = "model_card.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What else a report shows, where it is at hand."""

    study: Study | None = None  # a search of settings
    modalities: Mapping[str, Any] = field(default_factory=dict)  # what gnnrec modalities --json prints


def write_report(
    run_folder: Path,
    out: Path | None = None,
    against: Sequence[Path] = (),
    study: Path | None = None,
    modalities: Path | None = None,
) -> Path:
    """Write the report about a run, by default as report.html into its folder, and return its path.

    A model card in Markdown is written beside it. Both are plain, so that an encrypted run needs `out`.
    Measured on test, or on val where the folder of the data has gone or changed. `study` is a folder of tune-settings,
    `modalities` a file of what `gnnrec modalities --json` printed. Raises UserError where one of `against` was trained
    on other data, and for what is no study.
    """
    path = out or run_folder / "report.html"
    refuse_plain(path)
    beside = Beside(
        study=None if study is None else read_study(study),
        modalities={} if modalities is None else read_modalities(modalities),
    )
    runs = [Run.load(folder) for folder in (run_folder, *against)]
    for other in runs[1:]:
        check_same_data(runs[0], other)
    data = collect(runs, *read_held_out(runs[0]), beside)
    with together(path.parent) as staged:
        html.write_report(data, staged / path.name)
        write_text(staged / MODEL_CARD, model_card(runs[0], data))
    return path


def read_modalities(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(found, dict) or "modalities" not in found:
        raise UserError(f"{path}: no study of modalities; expected what gnnrec modalities DATA --json prints")
    return found


def read_held_out(run: Run) -> tuple[Dataset | None, Interactions]:
    """The dataset and its test rows; None and the val rows where the data is not there any more."""
    try:
        dataset = run.dataset()
        relevant = held_out(run, dataset).test
    except UserError:
        return None, run.val
    return (dataset, relevant) if len(relevant) else (None, run.val)


def collect(
    runs: Sequence[Run], dataset: Dataset | None, relevant: Interactions, beside: Beside | None = None
) -> ReportData:
    """Everything a report shows; the first run is ours, `relevant` are the rows of the split it is measured on."""
    run, split, beside = runs[0], "val" if dataset is None else "test", beside or Beside()
    relevant = relevant.rows(~due_in(runs)[relevant.user])
    measured = Measured(run=run, split=split, relevant=relevant)
    evaluations = dict(zip(names_of(runs), measure(runs, split, dataset=dataset)))
    fitted = measured.baselines({one.recipe.model_name for one in runs})
    fitted = {unused_name(name, evaluations): one for name, one in fitted.items()}
    evaluations |= fitted
    ours = next(iter(evaluations.values()))
    lists = measured.lists(ours.users, LIST)
    shown = exposure(lists, run.train.num_items)
    told = run.provenance
    return ReportData(
        title=f"{told['dataset']['name']}: {run.recipe.model_name}",
        subtitle=(
            f"{split} split by {told['split']['method']}, {count(ours.num_users, 'user')}; made {told['finished'][:10]}"
        ),
        headline={
            "NDCG@10": ours.metrics["ndcg@10"],
            "Recall@20": ours.metrics["recall@20"],
            "Catalogue covered": f"{ours.beyond['coverage@10']:.0%}",
            "Training": duration(told["training_seconds"]),
        },
        facts=facts_of(run, None if dataset is None else len(relevant)),
        models=model_rows(evaluations),
        fitted_here=list(fitted),
        beyond={name: beyond_accuracy(one) for name, one in evaluations.items()},
        log=read_log(run.folder),
        validation_metric=run.recipe.train.metric,
        popularity=np.bincount(run.train.item, minlength=run.train.num_items),
        exposure=shown,
        activity=np.bincount(run.train.user, minlength=run.train.num_users),
        tail=tail_shares(run, shown),
        cohorts={name: evaluations[name].cohorts for name in ours_and_best_other(evaluations)},
        modality_shares=modality_weights(run),
        modality_plots=reliance_plots(reliance(measured)) + value_plots(beside.modalities),
        map=embedding_map(run, run.item_vectors, Cards(run)) if run.has_embeddings else None,
        samples=samples(measured, ours.users, lists),
        failures=failures(measured),
        study=beside.study,
        settings=run.recipe.to_toml(),
        provenance=origin(run),
    )


def names_of(runs: Sequence[Run]) -> list[str]:
    """The names of the folders; whole paths where two are the same."""
    names = [run.folder.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def unused_name(name: str, taken: Mapping[str, Any]) -> str:
    """A run's folder may be called like a baseline and hold another model."""
    return f"{name}, fitted here" if name in taken else name


def model_rows(evaluations: Mapping[str, Evaluation]) -> list[ModelRow]:
    """Ours first, then all others tested against it."""
    ours, *others = evaluations.values()
    found = differences(ours, others)
    p_values = [{metric: row["p_holm"] for metric, row in one.items()} for one in ({}, *found)]  # ours not with itself
    return [
        ModelRow(
            name=name,
            metrics={metric: one.metrics[metric] for metric in COMPARED},
            confidence={metric: one.confidence[metric] for metric in COMPARED},
            p_values=p_value,
            ours=one is ours,
        )
        for (name, one), p_value in zip(evaluations.items(), p_values)
    ]


def beyond_accuracy(evaluation: Evaluation) -> dict[str, float]:
    return {name: evaluation.beyond[name] for name in BEYOND if name in evaluation.beyond}


def ours_and_best_other(evaluations: Mapping[str, Evaluation]) -> list[str]:
    """Names of the models whose cohorts are drawn: more than two at a time cannot be read."""
    ours, *others = evaluations
    return [ours, *sorted(others, key=lambda name: -evaluations[name].metrics["ndcg@10"])[:1]]


def tail_shares(run: Run, shown: NDArray[np.int64]) -> Bars:
    """The shares of head, middle and tail in the catalogue, in the log and in the lists, which hold items `shown` [I]
    times."""
    popularity = np.bincount(run.train.item, minlength=run.train.num_items)
    groups = {**popularity_groups(run.train.matrix()), "never seen": popularity == 0}
    counts = {"items": np.ones_like(popularity), "interactions": popularity, "recommended": shown}
    return Bars(
        heading="Who gets the places",
        caption="Shares of the catalogue, of train and of the lists; head, mid and tail have a third of train each.",
        groups={
            f"{name}, {count(int(group.sum()), 'item')}": {
                series: float(values[group].sum() / max(values.sum(), 1)) for series, values in counts.items()
            }
            for name, group in groups.items()
            if group.any()
        },
    )


def facts_of(run: Run, num_test: int | None) -> dict[str, Any]:
    told = describe_log(run.known)
    content = {
        modality: f"{int(mask.sum()):,} of {len(mask):,} items ({mask.mean():.0%})"
        for modality, mask in modality_masks(run.graph).items()
    }
    return {
        "Users": told["users"],
        "Items": told["items"],
        "Interactions": told["interactions"] + (num_test or 0),
        "Split": run.provenance["split"]["method"],
        "Train": len(run.train),
        "Validation": len(run.val),
        **({} if num_test is None else {"Test": num_test}),
        "Density": told["density"] + (num_test or 0) / max(told["users"] * told["items"], 1),
        "Items nobody took in train": int((np.bincount(run.train.item, minlength=run.train.num_items) == 0).sum()),
        **({"From": told["first"][:10], "To": told["last"][:10]} if "first" in told else {}),
        **{f"Content: {modality}": text for modality, text in content.items()},
        "Rows set aside": run.provenance["dataset"]["rejected_rows"],
        "Contents that cannot be used": run.provenance.get("unusable_content", "not recorded"),
        "Licence": run.provenance["dataset"]["licence"] or "not stated",
    }


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds / 60:.1f} min"
