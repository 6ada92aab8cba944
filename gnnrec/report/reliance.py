"""How much a finished model leans on each modality: measured again on its own graph with the content taken out.

Nothing is trained, so that this is not what a modality is worth: a model trained without it would have learnt to do
with the rest (`gnnrec modalities` trains them all). What shows little may be redundant, and all of it is of this model.

Letters: n users measured.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch_geometric.data import HeteroData

from gnnrec import plots
from gnnrec.comparison import difference_of
from gnnrec.evaluation import Evaluation
from gnnrec.graph import item_modalities
from gnnrec.models.modality_gnn import ModalityGNN
from gnnrec.pipeline import evaluate_model
from gnnrec.progress import progress
from gnnrec.removal import without_modality
from gnnrec.report.measured import MOST_USERS, Measured
from gnnrec.significance import holm

METRIC = "ndcg@10"
MOST_ROWS = 5_000_000  # of train: each set of modalities is a pass over all of them
MOST_MODALITIES = 5  # each one more is two more passes


def reliance(measured: Measured) -> list[dict[str, Any]]:
    """A row for each modality and question: by how much NDCG@10 falls, with a paired 95 % interval and p over users.

    with all others: without this modality alone. alone: with it alone against without any. Empty for a model that does
    not fuse, and where it would take long. Of more than MOST_USERS users some are drawn at random.
    """
    names = item_modalities(measured.run.graph)
    fuses = isinstance(measured.run.model, ModalityGNN) and 0 < len(names) <= MOST_MODALITIES
    users = drawn(measured)
    if not fuses or len(measured.run.train) > MOST_ROWS or len(users) < 2:
        return []
    questions = {
        (name, added): pair
        for name in names
        for added, pair in (("with all others", (names, others(names, name))), ("alone", ((name,), ())))
        if added == "alone" or len(names) > 1
    }
    sets = dict.fromkeys(kept for pair in questions.values() for kept in pair)
    found = {kept: measure(measured, kept, users) for kept in progress(sets, text="taking out", unit="set")}
    rows = [
        {"modality": name, "added": added} | fall(found[first], found[second])
        for (name, added), (first, second) in questions.items()
    ]
    corrected = holm({str(place): row["p_randomisation"] for place, row in enumerate(rows)})
    return [row | {"p_holm": corrected[str(place)]} for place, row in enumerate(rows)]


def others(names: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(other for other in names if other != name)


def drawn(measured: Measured) -> NDArray[np.int64]:
    """Whom to measure on: everybody with a held-out row, or some of them."""
    users = np.unique(measured.relevant.user).astype(np.int64)
    return users if len(users) <= MOST_USERS else np.random.default_rng(0).choice(users, MOST_USERS, replace=False)


def measure(measured: Measured, kept: Iterable[str], users: NDArray[np.int64]) -> Evaluation:
    """The model as it is, where items have content of these modalities only."""
    run, graph = measured.run, only(measured.graph, kept)
    relevant = measured.relevant.rows(np.isin(measured.relevant.user, users))
    return evaluate_model(run.model, graph, relevant, run.train, measured.known, ks=(10,), resamples=0)


def only(graph: HeteroData, kept: Iterable[str]) -> HeteroData:
    for name in set(item_modalities(graph)) - set(kept):
        graph = without_modality(graph, name)
    return graph


def fall(first: Evaluation, second: Evaluation) -> dict[str, Any]:
    return difference_of(first.per_user[METRIC], second.per_user[METRIC], first.users, second.users)


def reliance_plots(rows: Sequence[dict[str, Any]]) -> list[plots.Plot]:
    """Lying bars of `reliance`; none where it is empty."""
    if not rows:
        return []
    about = "by how much NDCG@10 falls where content is taken out of this finished model; nothing is trained anew, so "
    about += "that redundant content shows little; orange: 95 %, paired over users; p by randomisation, Holm"
    names = [f"{row['modality']}, {row['added']} (p {row['p_holm']:.3f})" for row in rows]
    values, intervals = [row["difference"] for row in rows], [row["interval"] for row in rows]
    return [plots.bars("Reliance", about, names, values, "difference of NDCG@10", intervals, 0.0)]
