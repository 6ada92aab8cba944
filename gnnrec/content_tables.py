"""Tables of what content is worth: the study of the modalities, and transfer to other data."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from gnnrec.errors import count
from gnnrec.modalities.ablation import MEASURES
from gnnrec.tables import facts_tables, table, within
from gnnrec.transfer import METRICS, QUESTIONS, TESTED


def transfer_tables(document: Mapping[str, Any]) -> str:
    """`transfer.measure_transfer` for people."""
    return "\n\n".join(_question(document, name) for name in QUESTIONS)


def _question(document: Mapping[str, Any], name: str) -> str:
    found = document[name]
    rows = []
    for variant, values in found["metrics"].items():
        test = found["against"].get(variant)
        compared = [test["difference"], test["p_holm"]] if test else [None, None]
        rows.append([variant, *(values[metric] for metric in METRICS), *compared])
    columns = ["ranked by", *METRICS, f"{TESTED}, ours more by", "p (Holm)"]
    title = f"{document['data']}, {name}, {count(found['users'], 'user')}"
    return table(columns, rows, title, numbers=columns[1:])


def study_tables(study: Mapping[str, Any]) -> str:
    """The document of `modalities.study_modalities`, a table for each section that is not empty."""
    drawn = [facts_tables({"modalities": study["modalities"]})]

    def add(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str, left: int) -> None:
        if rows:
            drawn.append(table(columns, rows, title, numbers=columns[left:]))

    add(
        ("first", "second", "items", "CKA", "common of 10 nearest", "chance", "1st canonical", "others"),
        [
            (
                *(row["first"], row["second"], row["items"], within(row["cka"], row["cka_interval"])),
                *(within(row["knn_overlap"], row["knn_interval"]), f"{row['knn_chance']:.3f}"),
                within(row["canonical"][0], row["canonical_interval"]),
                " ".join(f"{value:.2f}" for value in row["canonical"][1:]),
            )
            for row in study.get("agreement", ())
        ],
        "which modalities agree (canonical correlations: on the half of the items that they were not fitted on)",
        2,
    )
    add(
        ("query", "target", "by", "candidates", "R@1", "R@10", "MRR", "chance: R@1, R@10, MRR"),
        [
            (
                *(row[key] for key in ("query", "target", "method", "candidates")),
                *(f"{row[key]:.4f}" for key in ("r@1", "r@10", "mrr")),
                ", ".join(f"{row[f'{key} chance']:.4f}" for key in ("r@1", "r@10", "mrr")),
            )
            for row in study.get("alignment", ())
        ],
        "which find each other, among items that nothing was fitted on",
        3,
    )
    add(
        ("modality", "pairs", "users", "AUC", "adds to all others"),
        [
            (
                *(row["modality"], row["pairs"], row["users"], within(row["auc"], row["auc_interval"])),
                "–" if row["gain"] is None else within(row["gain"], row["gain_interval"], sign="+"),
            )
            for row in study.get("consumption", ())
        ],
        "which predict what one user takes together (AUC; against the same items paired anew)",
        1,
    )
    ablation = study.get("ablation", {"variants": (), "value": ()})
    add(
        ("trained with", "seeds", "validation", "cold items"),
        [
            (
                *(row["modalities"], row["seeds"]),
                *(within(row[name], row[f"{name} interval"], 4) for name in ("validation", "cold items")),
            )
            for row in ablation["variants"]
        ],
        "NDCG@10 by the modalities that were trained with",
        1,
    )
    add(
        ("modality", "added", "measured on", "users", "NDCG@10", "p Holm"),
        [
            (
                *(row[key] for key in ("modality", "added", "measure", "users")),
                *(within(row["ndcg@10"], row["interval"], 4, "+"), row["p_holm"]),
            )
            for row in ablation["value"]
        ],
        "what each modality adds, paired over users",
        3,
    )
    add(
        ("removed, in its place", *(f"{name}{what}" for name in MEASURES for what in ("", ", gain kept"))),
        [
            (row["removed"], *(cell for name in MEASURES for cell in _kept(row, name)))
            for row in study.get("missing", ())
        ],
        "NDCG@10 where a share of the contents is missing, and how much is left of what content gains",
        1,
    )
    return "\n\n".join(drawn)


def _kept(row: Mapping[str, Any], name: str) -> tuple[str, str]:
    share = row["kept"][name]["share"]
    return f"{fmean(value[name] for value in row['values']):.4f}", "–" if share is None else f"{share:.0%}"
