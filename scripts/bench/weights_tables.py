"""The tables of where embeddings of ids lie."""

from tables import load, table, value


def memory() -> str:
    """What a process needs, by where its tables are."""
    rows = [
        [
            entry["dataset"],
            entry["variant"],
            *(f"{entry['metrics'][f'{part}_mb'] / 1024:.2f}" for part in ("starting", "training", "saving", "mapped")),
            f"{entry['metrics']['step_seconds']:.2f}",
            f"{entry['metrics']['keep_seconds'] + entry['metrics']['save_seconds']:.1f}",
            f"{entry['metrics']['disk_mb'] / 1024:.2f}",
        ]
        for entry in sorted(load("tables"), key=lambda entry: (entry.get("rows", 0), entry["variant"]))
        if "training_mb" in entry["metrics"]
    ]
    head = ["table", "where", "own GB at the start", "in steps", "best kept, checkpoint", "mapped GB", "s a step"]
    return table([*head, "s to keep and save", "GB of checkpoint"], rows)


def lists() -> str:
    rows = [
        [
            *(entry["dataset"], entry["variant"], value(entry, "ndcg@20"), value(entry, "val ndcg@20")),
            f"{entry['metrics']['last_loss']:.6f}",
            f"{entry['metrics']['epochs']:.0f}",
            f"{entry['metrics']['training_seconds']:.0f}",
        ]
        for entry in load("tables")
        if "ndcg@20" in entry["metrics"]
    ]
    return table(["data", "where", "NDCG@20", "validation", "last loss", "epochs", "seconds in steps"], rows)
