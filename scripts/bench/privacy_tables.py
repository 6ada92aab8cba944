"""Tables of what privacy costs, what a run gives away, and what false profiles push."""

from tables import load, table, value


def rows_of(kind: str) -> list[tuple[dict, str]]:
    """Rows of results/privacy.json of one kind, with what stands behind it in their names."""
    parts = [(entry, *entry["variant"].split(": ", 1)) for entry in load("privacy")]
    return [(entry, variant) for entry, found, variant in parts if found == kind]


def curve() -> str:
    rows = [
        [entry["dataset"], variant, value(entry, "ndcg@20"), str(len(entry["seeds"])), f"{entry['seconds']:.0f}"]
        for entry, variant in rows_of("curve")
    ]
    return table(["data", "model", "NDCG@20", "trainings", "seconds"], rows)


def membership() -> str:
    rows = []
    for entry, variant in rows_of("audit"):
        found = entry["metrics"]
        bound = f"{found['bound']:.3f}" if found.get("bound", 1.0) < 1 else "none"
        rates = [f"{found['tpr']:.4f}", f"{found['tpr_low']:.4f}", f"{found['fpr']:.4f}"]
        rows.append([entry["dataset"], variant, f"{found['auc']:.3f}", *rates, bound])
    return table(["data", "model", "AUC", "TPR", "at least", "FPR", "bound on TPR"], rows)


def poisoning() -> str:
    rows = []
    for entry, variant in rows_of("poison"):
        found = entry["metrics"]
        shares = [f"{100 * found[name]:.2f} %" for name in ("before", "after")]
        factor = f"{found['after'] / found['before']:.1f}" if found["before"] else ""
        rows.append([entry["dataset"], variant, *shares, factor, f"{found['ndcg']:.4f}"])
    return table(["data", "model, attack", "lists before", "lists after", "factor", "NDCG@20, validation"], rows)
