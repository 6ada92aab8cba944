"""The study in pictures: a map of what agrees, and bars with intervals."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from gnnrec import plots
from gnnrec.inspect.folder import save
from gnnrec.modalities.ablation import MEASURES, METRIC
from gnnrec.modalities.missing import NONE


def draw_study(study: Mapping[str, Any], folder: Path) -> list[Path]:
    """PNG files of the sections that are there and not empty."""
    made = []
    if study.get("agreement"):
        names = [row["modality"] for row in study["modalities"]]
        shown = "1 = the same up to a rotation, 0 = independent"
        made.append(_map("Agreement", f"linear CKA; {shown}", names, study["agreement"], "cka"))
        chance = max(row["knn_chance"] for row in study["agreement"])
        finding = f"share of the nearest items that two modalities have in common; by chance {chance:.3f}"
        made.append(_map("Common neighbours", finding, names, study["agreement"], "knn_overlap"))
        pairs = [f"{row['first']}, {row['second']}" for row in study["agreement"]]
        firsts = [row["canonical"][0] for row in study["agreement"]]
        finding = "the first, on items that it was not fitted on; 1 = one direction of both is the same; orange: 95 %"
        intervals = [row["canonical_interval"] for row in study["agreement"]]
        made.append(plots.bars("Canonical correlation", finding, pairs, firsts, "correlation", intervals))
    if rows := study.get("alignment"):
        made.append(
            plots.bars(
                "Retrieval",
                "the other side of a held-out item among the first ten; orange: spread of the seeds; dashes: chance",
                [f"{row['query']} > {row['target']}, {row['method']}" for row in rows],
                [row["r@10"] for row in rows],
                "R@10",
                [_around(row["r@10"], row["r@10 spread"]) for row in rows],
                marks=[row["r@10 chance"] for row in rows],
            )
        )
    if rows := study.get("consumption"):
        finding = "AUC of their likeness for two things of one user; .5 tells nothing; orange: 95 %"
        names, intervals = [row["modality"] for row in rows], [row["auc_interval"] for row in rows]
        made.append(plots.bars("Taken together", finding, names, [row["auc"] for row in rows], "AUC", intervals, 0.5))
    made += value_plots(study)
    if rows := study.get("missing"):
        cold = MEASURES[1]
        by_seed = [[seed[cold] for seed in row["values"]] for row in rows]
        (least,) = (fmean(values) for row, values in zip(rows, by_seed) if row["removed"] == NONE)
        finding = f"NDCG@10 among {cold} where contents are missing, beyond no content at all; orange: the seeds"
        means, ranges = [fmean(values) for values in by_seed], [[min(values), max(values)] for values in by_seed]
        names = [row["removed"] for row in rows]
        made.append(plots.bars("Missing content", finding, names, means, "NDCG@10", ranges, least))
    return save(made, folder)


def value_plots(study: Mapping[str, Any]) -> list[plots.Plot]:
    """What each modality adds, by measure; empty for a study without ablation."""
    made = []
    for measure in MEASURES if study.get("ablation") else ():
        rows = [row for row in study["ablation"]["value"] if row["measure"] == measure]
        names = [f"{row['modality']}, {row['added']}" for row in rows]
        finding = f"what a modality adds to NDCG@10, {measure}; orange: 95 %, paired over users"
        values, intervals = [row[METRIC] for row in rows], [row["interval"] for row in rows]
        made.append(plots.bars(f"Value on {measure}", finding, names, values, "difference of NDCG@10", intervals, 0.0))
    return made


def _map(heading: str, finding: str, names: list[str], rows: list[dict[str, Any]], key: str) -> plots.Plot:
    values = np.full((len(names), len(names)), np.nan)
    np.fill_diagonal(values, 1.0)
    for row in rows:
        first, second = names.index(row["first"]), names.index(row["second"])
        values[first, second] = values[second, first] = row[key]
    return plots.heat_map(heading, finding, names, values)


def _around(value: float, spread: float) -> list[float]:
    return [value - spread, value + spread]
