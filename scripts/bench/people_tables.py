"""Tables of what people may ask for."""

from tables import load, table


def forgotten() -> str:
    rows = [
        [
            entry["dataset"],
            entry["variant"],
            f"{entry['metrics']['rows']:.0f}",
            f"{entry['metrics']['changed']:.0f} of {entry['metrics']['files']:.0f}",
            f"{entry['metrics']['same']:.0f} of {entry['metrics']['files']:.0f}",
            f"{entry['metrics']['found']:.0f} of {entry['metrics']['searched']:,.0f}",
            f"{entry['metrics']['training']:.0f}",
            f"{entry['metrics']['forgetting']:.0f}",
        ]
        for entry in load("forget")
    ]
    head = ["data", "forgotten", "rows of hers", "files of tensors that changed", "the same as without her"]
    return table([*head, "files with her id", "CPU s, training", "CPU s, forgetting"], rows)
