"""Tables of a large log by the command line: most memory of each stage, CPU seconds, memory of an interaction."""

from tables import load, table

STAGES = {  # as they are headed, and how their names begin
    "load, split": ("train: load", "train: split"),
    "features, graph": ("train: features", "train: graph"),
    "steps": ("train: train",),
    "validation": ("train: evaluate",),
    "saving": ("train: save",),
    "evaluate": ("evaluate",),
    "export": ("export",),
}


def stream() -> str:
    rows = []
    for entry in sorted(load("stream"), key=lambda entry: len(entry["variant"].split(";")[0])):  # by size
        found, (graph, variant) = entry["stages"], entry["variant"].split("; ")
        groups = [[stage for key, stage in found.items() if key.startswith(names)] for names in STAGES.values()]
        own = [f"{max(stage['own_gb'] for stage in group):.2f}" if group else "" for group in groups]
        mapped = max(stage["mapped_gb"] for stage in found.values())
        seconds = sum(stage["seconds"] for stage in found.values())
        rows.append([graph, variant, *own, f"{mapped:.2f}", f"{seconds:.0f}"])
    return table(["log", "gnnrec", *(f"{name}, own GB" for name in STAGES), "mapped GB at most", "CPU s"], rows)


def long_log() -> str:
    """Of one pair of sizes each: what one interaction more takes in a stage."""
    names = {"reading": "load", "split": "split", "graph": "graph", "steps": "train", "saving": "save"}
    rows = []
    for entry in sorted(load("long_log"), key=lambda entry: entry["sizes"]):
        small, large = (f"{size / 1e6:,.3g}" for size in entry["sizes"])
        found = entry["metrics"]
        spent = [f"{found[f'{stage} bytes']:.0f}" if f"{stage} bytes" in found else "" for stage in names.values()]
        most = max(stage["own_gb"] for stage in entry["stages"][1].values())
        place = entry["variant"].split(",")[0]
        rows.append([f"{small} to {large} million", place, *spent, f"{most:.2f}", f"{entry['seconds']:.0f}"])
    heads = [f"{name}, bytes" for name in names]
    return table(["interactions", "log", *heads, "own GB of the larger at most", "its CPU s"], rows)
