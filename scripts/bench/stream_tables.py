"""The table of a large log by the command line: most memory of each stage, and CPU seconds."""

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
