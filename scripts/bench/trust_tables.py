"""Tables on trust (docs). Of promises: what is promised, how it is tested, and the figure, a row for each result.

Another promise is a function of the loaded results and a line in PROMISES; one without a figure is a line in TESTED.
"""

from collections.abc import Callable
from typing import Any

from tables import load, table

Rows = list[dict[str, Any]]


def kills(rows: Rows) -> list[list[str]]:
    killed = [row for row in rows if "kills" in row["metrics"]]
    failed = [row for row in rows if "faults" in row["metrics"]]
    count, wrong = (sum(row["metrics"][name] for row in killed) for name in ("kills", "wrong"))
    kinds = "; ".join(f"{row['variant']} {row['metrics']['kills']:.0f}" for row in killed)
    faults, unsound = (sum(row["metrics"][name] for row in failed) for name in ("faults", "wrong"))
    calls = sum(row["metrics"]["calls"] for row in failed)
    names = "; ".join(f"{row['variant'].partition(': ')[2]} {row['metrics']['faults']:.0f}" for row in failed)
    return [
        [
            "a run, an export, a report, features and feedback survive SIGKILL",
            f"scripts/bench/faults.py: {kinds}",
            f"{count:,.0f} kills, {wrong:.0f} states neither old nor new",
        ],
        [
            "they survive a disk that is full or broken at any write call of a command, and the same command goes on",
            f"scripts/bench/write_faults.py: {names}",
            f"{faults:,.0f} faults injected, at {len(failed)} commands of {calls:,.0f} calls, evenly spread; "
            f"{unsound:.0f} states neither old nor new",
        ],
    ]


def fuzzing(rows: Rows) -> list[list[str]]:
    count, finds = (sum(row["metrics"][name] for row in rows) for name in ("executions", "finds"))
    least, most = (pick(rows, key=lambda row: row["metrics"]["executions"]) for pick in (min, max))
    hours = sum(row["seconds"] for row in rows) / 3_600
    spread = ", ".join(f"{row['variant']} {row['metrics']['executions']:,.0f}" for row in (least, most))
    return [
        [
            "whatever a file or a request holds: an answer, or an error in one line",
            f"scripts/fuzz: atheris, and damage at random, on {len(rows)} readers; finds: tests/test_corpus.py",
            f"{count:,.0f} executions in {hours:.1f} hours (least and most: {spread}), {finds:.0f} finds, all mended",
        ]
    ]


def long_run(rows: Rows) -> list[list[str]]:
    found = rows[-1]["metrics"]
    return [
        [
            "the service stays as it is under load, with feedback and swaps of the run",
            f"scripts/bench/soak.py: {found['minutes']:.0f} minutes, {found['requests']:,.0f} requests, "
            f"{found['swaps']:.0f} retrained runs swapped in",
            f"{found['faults']:.0f} faults; {found['mb_first']:.0f} → {found['mb_half']:.0f} MB while "
            f"{found['told']:,.0f} events were told, {found['mb_last']:.0f} MB after as long without; "
            f"{found['files_first']:.0f} → {found['files_last']:.0f} open files",
        ]
    ]


def private(rows: Rows) -> list[list[str]]:
    """Audits of private runs whose epsilon is finite, and false profiles on the data that they push most."""
    audits = [row for row in rows if row["variant"].startswith("audit: ") and 0 < row["metrics"].get("bound", 1) < 1]
    leaks = "; ".join(f"{row['dataset']}, {row['variant'].partition(' ')[2]}: {leak(row)}" for row in audits)
    pushed = {
        row["variant"]: factor(row) for row in rows if "poison: " in row["variant"] and "planted" in row["dataset"]
    }
    plain, robust = ({name: f for name, f in pushed.items() if name.endswith("robust") is end} for end in (False, True))
    plain = {name: f for name, f in plain.items() if "dp_filter" not in name}
    return [
        [
            "the epsilon of a private run is true",
            "scripts/bench/privacy.py: 16 shadow trainings, user-level LiRA; by construction for all private models: "
            "tests/models/test_private_release.py",
            leaks,
        ],
        [
            "1 % false profiles raise an item's exposure by a stated factor at most; `graph.robust` at least halves it "
            "for item_knn and EASE",
            "scripts/bench/privacy.py on made dense data, item_knn, EASE and modality_gnn, three kinds of fillers",
            f"at most {max(plain.values()):.1f} times the lists, with graph.robust {max(robust.values()):.1f} times",
        ],
    ]


def leak(row: dict[str, Any]) -> str:
    found = row["metrics"]
    told = f"{found['tpr']:.1%} of members told at {found['fpr']:.1%} false ones (allowed {found['bound']:.1%})"
    return f"{told}, AUC {found['auc']:.2f}"


def factor(row: dict[str, Any]) -> float:
    return row["metrics"]["after"] / row["metrics"]["before"]


def encrypted_scores(rows: Rows) -> list[list[str]]:
    first = rows[0]["metrics"]
    by_http = [row["metrics"] for row in rows if "HTTP" in row["variant"]]
    more = "".join(f"; {found['whole_ms']:.0f} ms as two processes by HTTP" for found in by_http)
    return [
        [
            "a service scores 4,096 items for a vector that it cannot read",
            "scripts/bench/private.py: encrypt, score and decrypt, 100 users, one thread",
            f"{first['whole_ms']:.0f} ms; {first['same_best_share']:.0%} the same ten best; "
            f"{first['security_bits']:.0f} bits{more}",
        ]
    ]


def forgotten(rows: Rows) -> list[list[str]]:
    found = "; ".join(f"{row['dataset']}: {gone(row['metrics'])}" for row in rows)
    return [
        ["a user who is forgotten is in no file", "scripts/bench/forget.py: sha256 against a run without her", found]
    ]


def gone(found: dict[str, float]) -> str:
    same = f"{found['same']:.0f} of {found['files']:.0f} files as if never seen"
    return f"{same}, id in {found['found']:.0f} of {found['searched']:,.0f} files"


PROMISES: dict[str, Callable[[Rows], list[list[str]]]] = {
    "faults": kills,
    "fuzz": fuzzing,
    "soak": long_run,
    "privacy": private,
    "private": encrypted_scores,
    "forget": forgotten,
}


# Promises that the suite holds, each with its files of tests.
TESTED: dict[str, tuple[str, ...]] = {
    "an encrypted run, export or feedback log has nothing plain in it at any moment": (
        "test_encryption",
        "test_cipher",
    ),
    "one byte flipped, a cut, parts or files exchanged: refused in one line": ("test_encryption", "test_sealed_log"),
    "a stolen key is replaced, at any moment of a stop": ("test_rekey",),
    "a service is reached by TLS 1.2 or newer": ("serve/test_tls",),
    "a second training into a folder is refused": ("test_locking",),
    "a killed training goes on to the same bits": ("test_resume",),
    "a stranger's run folder runs nothing and reads nothing of yours": ("test_hostile_run",),
    "packages are those of the lock, by sha256": ("test_supply",),
    "a local report is at most e^epsilon times as likely with another item": ("differential/test_local_reports",),
    "a run under pseudonyms holds no id": ("privacy/test_pseudonyms",),
    "no line that a service writes names a user": ("serve/test_people",),
    "an export under k-anonymity leaves out who is rare": ("privacy/test_anonymity",),
    "limits of time hold, of a log from its newest row, of feedback from now": ("datasets/test_retention",),
    "each sentence of a policy follows from a fact": ("privacy/test_policy",),
}


def trust() -> str:
    rows = [line for name, lines in PROMISES.items() if (found := load(name)) for line in lines(found)]
    for promise, names in TESTED.items():
        rows.append([promise, ", ".join(f"tests/{name}.py" for name in names), "passes in the suite"])
    return table(["promise", "how it is tested", "figure"], rows)


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
