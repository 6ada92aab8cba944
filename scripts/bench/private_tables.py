"""The table of private scoring."""

from tables import load, table


def private() -> str:
    rows = []
    for entry in load("private"):
        found = entry["metrics"]
        rows.append(
            [
                entry["dataset"] + (", by HTTP" if "HTTP" in entry["variant"] else ""),
                f"{found['items']:,.0f} x {found['dimensions']:.0f}",
                *(f"{found[name]:.0f}" for name in ("encrypt_ms", "score_ms", "decrypt_ms", "whole_ms")),
                f"{found['cpu_ms']:.0f}" if "cpu_ms" in found else "",
                f"{found['bytes_up'] / 1e6:.1f}",
                f"{found['bytes_down'] / 1e6:.2f}",
                f"{found['largest_error']:.0e}" if "largest_error" in found else "",
                f"{found['same_best_share']:.0%}",
            ]
        )
    head = ["items of", "items x dimensions", "encrypt ms", "score ms", "decrypt ms", "whole ms", "CPU ms", "MB up"]
    return table([*head, "MB down", "largest error", "same ten best"], rows)
