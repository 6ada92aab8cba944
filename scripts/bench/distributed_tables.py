"""The table of trainings in several processes."""

from tables import load, table, value


def distributed() -> str:
    """Beside the same in one process: what differs, and what was made again after a kill."""
    entries = load("distributed")
    alone = {entry["dataset"]: entry["metrics"] for entry in entries if entry["variant"] == "one process"}
    rows = []
    for entry in entries:
        found, one = entry["metrics"], alone.get(entry["dataset"], entry["metrics"])
        killed = entry["variant"].endswith("killed")
        rows.append(
            [
                *(entry["dataset"], entry["variant"], value(entry, "ndcg@20"), value(entry, "val ndcg@20")),
                f"{abs(found['ndcg@20'] - one['ndcg@20']):.4f}",
                f"{abs(found['last_loss'] / one['last_loss'] - 1):.0e}",
                f"{found['training_seconds']:.0f}",
                f"{entry['seconds']:.0f}",
                f"{found['epochs_made_again']:.0f}" if killed else "",
            ]
        )
    head = ["data", "processes", "NDCG@20", "validation", "from one process", "last loss, relative"]
    return table([*head, "seconds in steps", "seconds in all", "epochs made again"], rows)
