"""Tables of what grows (docs/scale.md): update, encoding by Ray, plan, an index in shards."""

from tables import load, table


def update() -> str:
    rows = []
    for entry in load("update"):
        found, against = entry["metrics"], entry.get("against_scratch")
        low, high = against["interval"] if against else (None, None)
        interval = f"{against['difference']:+.4f} [{low:+.4f}, {high:+.4f}]" if against else ""
        figures = [f"{found[name]:.4f}" for name in ("ndcg@10", "recall@10")]
        rows.append([entry["dataset"], entry["variant"], *figures, f"{found['updates']:,.0f}", interval])
    return table(["data", "run", "NDCG@10", "Recall@10", "steps", "NDCG@10 less that from scratch"], rows)


def ray_encode() -> str:
    names = ("contents", "killed", "encoded", "encoded_again")
    rows = [
        [
            entry["dataset"],
            *(f"{entry['metrics'][name]:,.0f}" for name in names),
            f"{entry['metrics']['largest_difference']:.1e}",
        ]
        for entry in load("ray_encode")
    ]
    columns = [
        "data",
        "texts",
        "workers killed by -9",
        "encoded",
        "encoded by the next call",
        "largest difference to the loop",
    ]
    return table(columns, rows)


def plan() -> str:
    rows = []
    for entry in sorted(load("plan"), key=lambda entry: entry["metrics"]["peak_measured"]):
        found, cells = entry["metrics"], [entry["variant"]]
        for name in ("step", "epoch", "evaluation", "graph", "peak"):
            there, unit = f"{name}_measured" in found, 1e9 if name == "peak" else 1
            cells.append(f"{found[f'{name}_measured'] / unit:.3g}" if there else "")
            cells.append(f"{found[f'{name}_ratio']:.2f}" if there else "")
        rows.append(cells)
    parts = ("step, s", "epoch, s", "evaluation, s", "graph, s", "peak, GB")
    return table(["log", *(column for part in parts for column in (part, "predicted / measured"))], rows)


def index_shards() -> str:
    rows = []
    for entry in sorted(load("index_shards"), key=lambda entry: (entry["items"], entry["shards"])):
        found = entry["metrics"]
        rows.append(
            [
                *(f"{entry[name]:,}" for name in ("items", "shards")),
                f"{found['file_mb']:,.0f}",
                *(f"{found[name]:,.0f}" for name in ("build own_mb", "search own_mb")),
                *(f"{found[name]:,.1f}" for name in ("build cpu_seconds", "search cpu_seconds")),
                f"{found['search found']:.1%}",
            ]
        )
    columns = ["items", "files", "MB of the largest", "building, own MB", "searching, own MB", "building, CPU s"]
    return table([*columns, "1,000 queries, CPU s", "queries that find themselves"], rows)
