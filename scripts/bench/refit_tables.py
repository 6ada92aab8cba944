"""The table of refits: runs beside themselves trained once more on their validation rows too."""

from tables import load, table, value


def refitted() -> str:
    rows = []
    for entry in load("refit"):
        tests = entry.get("against once", {})
        p = tests["ndcg@20"]["p"] if tests else None
        rows.append(
            [
                *(entry["dataset"], entry["variant"]),
                *(value(entry, name) for name in ("recall@20", "ndcg@10", "ndcg@20")),
                "" if p is None else f"{tests['ndcg@20']['difference']:+.4f} (p {p:.4f})",
                str(len(entry["seeds"])),
            ]
        )
    return table(["data", "training", "Recall@20", "NDCG@10", "NDCG@20", "against once, NDCG@20", "seeds"], rows)
