"""README's tables on encryption."""

from tables import load, table


def encryption() -> str:
    rows = []
    for entry in load("encrypt"):
        found = entry["metrics"]
        if "load_s" in found:
            times = [f"{found[name]:.2f}" for name in ("load_s", "load_cpu_s", "ask_s", "ask_cpu_s")]
            rows.append([entry["dataset"], entry["variant"], f"{found['mb']:.0f}", *times, f"{found['ask_mb']:.0f}"])
    head = ["run", "", "MB", "load s", "load CPU s", "recommend s", "recommend CPU s", "recommend peak MB"]
    return table(head, rows)


def cipher() -> str:
    rows = [
        [entry["dataset"], entry["variant"], *(f"{entry['metrics'][key]:,.0f}" for key in ("mb_per_s", "mb_per_cpu_s"))]
        for entry in load("encrypt")
        if "mb_per_s" in entry["metrics"]
    ]
    return table(["in memory", "", "MB/s", "MB per CPU s"], rows)
