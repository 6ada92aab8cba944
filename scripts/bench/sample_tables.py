"""Tables of sampling: lists made from pieces of a graph, and a graph that is never whole in memory."""

from tables import load, table, value

SHOWN_POINTS = 6  # of the curves


def sampled() -> str:
    """Trainings on whole graphs and on pieces."""
    rows = [
        [
            *(entry["dataset"], entry["variant"], value(entry, "ndcg@20"), value(entry, "val ndcg@20")),
            f"{entry['metrics']['epochs']:.0f}",
            str(len(entry["seeds"])),
        ]
        for entry in load("sample")
        if "ndcg@20" in entry["metrics"]
    ]
    return table(["data", "training", "NDCG@20", "validation", "epochs", "seeds"], rows)


def huge() -> str:
    rows = []
    for entry in load("huge"):
        found = entry["metrics"]
        rows.append(
            [
                entry["variant"],
                f"{found['build_seconds']:.0f}",
                f"{found['seconds'] / 60:.0f}",
                f"{found['cpu_seconds'] / 60:.1f}",
                f"{found['steps']:,.0f}",
                f"{found['first_loss']:.2f} → {found['last_loss']:.2f}",
                f"{found['own_gb']:.1f}",
                f"{found['mapped_gb']:.1f}",
                f"{found['edges_per_second'] / 1e6:.2f}",
                f"{found['piece_edges_per_second'] / 1e6:.1f}",
            ]
        )
    head = ["graph", "made in s", "minutes", "of CPU", "steps", "loss", "own GB", "mapped GB"]
    return table([*head, "million edges a CPU second, training", "making pieces"], rows)


def huge_curve() -> str:
    """The largest graph's training in time."""
    entries = load("huge")
    if not entries:
        return table(["minutes"], [])
    curve = max(entries, key=lambda entry: entry["metrics"]["own_gb"])["curve"]
    places = sorted({round(place * (len(curve) - 1) / (SHOWN_POINTS - 1)) for place in range(SHOWN_POINTS)})
    points = [curve[place] for place in places]
    return table(
        ["minutes", *(f"{point['seconds'] / 60:.1f}" for point in points)],
        [
            ["loss", *(f"{point['loss']:.2f}" for point in points)],
            ["own GB", *(f"{point['own_gb']:.2f}" for point in points)],
            ["mapped GB", *(f"{point['mapped_gb']:.2f}" for point in points)],
            ["million edges a CPU second", *(f"{point['edges_per_second'] / 1e6:.2f}" for point in points)],
        ],
    )
