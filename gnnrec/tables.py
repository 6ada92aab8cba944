"""Tables for the terminal, as text: coloured where stdout is a terminal, plain where it is a file or a pipe."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from gnnrec.errors import count, printable
from gnnrec.language.sanitize import visible

SHOWN = ("recall@10", "recall@20", "ndcg@10", "ndcg@20", "mrr", "coverage@10")  # of several models side by side
WIDTH_OF_A_FILE = 120
STATES = {"ok": "green", "missing": "yellow", "optional": "dim", "warning": "red"}
LONGEST_LIST = 12  # values of one fact
MOST_TRIALS = 10  # of a study that are listed
MOST_TEXTS = 20  # generated texts that are shown
MOST_REJECTED = 50  # rows set aside that are listed


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    title: str = "",
    *,
    numbers: Sequence[str] = (),
    styles: Mapping[int, str] | None = None,
) -> str:
    """Rows as text. `numbers` names the columns that are aligned to the right, `styles` colours rows by position."""
    made = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        right = name in numbers
        made.add_column(plain(name), justify="right" if right else "left", no_wrap=right, overflow="fold")
    for place, row in enumerate(rows):
        made.add_row(*(plain(cell) for cell in row), style=(styles or {}).get(place))
    # Not the title of the table itself, which would be folded to the width of the table.
    return text(Group(Text(plain(title).plain, style="bold"), made) if title else made)


def text(shown: Any) -> str:
    """What rich draws for this terminal, without blanks at the ends of lines."""
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OF_A_FILE, highlight=False)
    with console.capture() as capture:
        console.print(shown)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().splitlines())


def plain(value: Any) -> Text:
    """The value of a cell. Titles come from strangers: control characters in them must not reach the terminal."""
    return Text(printable(shown(value)))


def shown(value: Any) -> str:
    """A number as people read it: 90,274, 0.0498, 12.35, 3.1e-06."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if value and abs(value) < 1e-4:
            return f"{value:.1e}"
        return f"{value:.4f}" if abs(value) < 1 else f"{value:,.2f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {shown(part)}" for name, part in value.items()) or "–"
    if isinstance(value, Sequence) and not isinstance(value, str):
        parts = [shown(part) for part in value[:LONGEST_LIST]]
        return ", ".join(parts + ["…"] * (len(value) > LONGEST_LIST)) or "–"
    return str(value)


def metrics_table(documents: Mapping[str, Mapping[str, Any]], title: str) -> str:
    """Evaluations by name. One: all its metrics with intervals. Several: a line each, the best starred."""
    if len(documents) == 1:
        (name, document), *_ = documents.items()
        rows = [
            (metric, value, *document["confidence"].get(metric, (None, None)))
            for metric, value in (document["metrics"] | document.get("beyond", {})).items()
        ]
        numbers = (name, "95 % from", "to")
        return table(("metric", *numbers), rows, title, numbers=numbers)
    values = {name: document["metrics"] | document.get("beyond", {}) for name, document in documents.items()}
    metrics = [metric for metric in SHOWN if any(metric in row for row in values.values())]
    best = {metric: max(row.get(metric, 0.0) for row in values.values()) for metric in metrics}
    rows = [
        (name, *(shown(row.get(metric)) + ("*" if row.get(metric) == best[metric] else " ") for metric in metrics))
        for name, row in values.items()
    ]
    return table(("model", *metrics), rows, f"{title}; * the largest of a column", numbers=metrics)


def cohorts_table(cohorts: Mapping[str, Any], metric: str = "ndcg@10") -> str:
    """How one evaluation goes for users by activity, items by popularity, cold items, items that lack a modality."""
    groups = [("user activity", name, numbers) for name, numbers in cohorts["user_activity"].items()]
    groups += [("item popularity", name, numbers) for name, numbers in cohorts["item_popularity"].items()]
    groups.append(("items not in train", "", cohorts["cold_items"]))
    for modality, parts in cohorts["missing_modality"].items():
        groups += [(f"{name} {modality}", "", numbers) for name, numbers in parts.items()]
    rows = [
        (kind, name, numbers.get("items"), numbers["users"], numbers.get(metric))
        for kind, name, numbers in groups
        if numbers["users"]
    ]
    return table(("cohort", "group", "items", "users", metric), rows, numbers=("items", "users", metric))


def comparison_table(comparison: Mapping[str, Mapping[str, Any]], first: str, second: str) -> str:
    """The differences of two runs with 95 % intervals and p-values; the last one is corrected for their number."""
    columns = ("metric", "difference", "95 % from", "to", "p t-test", "p Wilcoxon", "p randomised", "p Holm")
    keys = ("p_t", "p_wilcoxon", "p_randomisation", "p_holm")
    rows = [
        (name, f"{row['difference']:+.4f}", *row["interval"], *(row[key] for key in keys))
        for name, row in comparison.items()
    ]
    return table(columns, rows, f"{first} minus {second}, paired over users", numbers=columns[1:])


def known_as(place: Any) -> str:
    """The title of a `recommend.Recommendation` as people know it, without what hides in it; else its id."""
    return visible(place.title or "") or place.id


def recommendations_table(found: Sequence[Any], title: str) -> str:
    """Lists of `recommend.Recommendation`."""
    if any(place.title for place in found):
        rows: list[tuple[Any, ...]] = [(place.rank, known_as(place), place.id, _four(place.score)) for place in found]
        return table(("rank", "title", "id", "score"), rows, title, numbers=("rank", "score"))
    rows = [(place.rank, place.id, _four(place.score)) for place in found]
    return table(("rank", "id", "score"), rows, title, numbers=("rank", "score"))


def reranked_table(found: Sequence[Any], title: str) -> str:
    """Lists of `llm.rerank.Reranked`; "before" is the rank by the graph alone."""
    columns = ("rank", "before", "title", "id", "score", "llm score")
    rows = [
        (place.rank, place.base_rank, known_as(place), place.id, _four(place.score), _four(place.llm_score))
        for place in found
    ]
    return table(columns, rows, title, numbers=("rank", "before", "score", "llm score"))


def generated_table(found: Sequence[Any], title: str) -> str:
    """Lists of `llm.list_writer.Written`; "by the graph" is the rank there."""
    columns = ("rank", "title", "id", "from", "score", "by the graph")
    rows = [
        (place.rank, known_as(place), place.id, place.source, _four(place.score), place.base_rank) for place in found
    ]
    return table(columns, rows, title, numbers=("rank", "score", "by the graph"))


def _four(score: float | None) -> str | None:
    """With four decimals in every row, as `recommend` has them."""
    return None if score is None else f"{score:.4f}"


def explanation_tables(explanation: Mapping[str, Any]) -> str:
    """The document of `llm.explainer.Explainer.explain`."""
    sentences = " ".join(sentence["text"] for sentence in explanation["explanation"])
    pieces = [
        (
            piece["id"],
            piece.get("title"),
            " > ".join(piece["path"]),
            piece.get("rating"),
            piece.get("users_with_both"),
            ", ".join(f"{name} {cosine:.2f}" for name, cosine in piece.get("alike", {}).items()),
            piece["drop"],
        )
        for piece in explanation["evidence"]
    ]
    columns = ("evidence", "title", "path", "rating", "users with both", "alike", "score falls by")
    title = f"{explanation['title']} for user {explanation['user']}, score {shown(explanation['score'])}"
    parts = [sentences or "Nothing found in the graph speaks for it."]
    if explanation["had"]:
        parts.append(f"User {explanation['user']} has had it; this is what else speaks for it.")
    parts.append("")
    parts.append(table(columns, pieces, title, numbers=("rating", "users with both", "score falls by")))
    if explanation["paths"]:
        kinds = [(" > ".join(kind["path"]), kind["drop"]) for kind in explanation["paths"]]
        names = ("path", "score falls by")
        parts += ["", table(names, kinds, "all paths of a kind together", numbers=names[1:])]
    if explanation["modalities"]:
        shares = [(name, part.get("attention"), part["drop_share"]) for name, part in explanation["modalities"].items()]
        of_shares = ("modality", "attention", "share of the fall")
        parts += ["", table(of_shares, shares, "modalities of the item", numbers=of_shares[1:])]
    if "counterfactual" in explanation:
        parts += ["", _against_chance(explanation["counterfactual"])]
    return "\n".join(parts)


def _against_chance(found: Mapping[str, Any]) -> str:
    if not found["removed"]:
        return "Nothing of her past is told of, or there is nothing else in it to compare with."
    drops = found["random_drops"]
    less = sum(drop < found["drop"] for drop in drops)
    return (
        f"Without the {count(found['removed'], 'thing')} told of, the score falls by {shown(found['drop'])}; without "
        f"as many others drawn at random it falls less in {less} of {len(drops)} draws."
    )


def controls_table(controls: Mapping[str, Mapping[str, float]]) -> str:
    """Soft tokens beside what they have to be better than."""
    rows = [
        (name, row["ndcg"], row["likelihood"], None if name == "real" else row["p"]) for name, row in controls.items()
    ]
    columns = ("soft tokens", "ndcg@10 in the window", "log p of what was taken", "p against real")
    return table(columns, rows, "the language model alone, on validation", numbers=columns[1:])


def trials_table(study: Mapping[str, Any]) -> str:
    """The best trials of `tuning.Study`, those that were stopped early or failed after the others."""
    order = {"complete": 0, "pruned": 1, "failed": 2}
    trials = sorted(study["trials"], key=lambda trial: (order[trial["state"]], -(trial["value"] or 0)))
    keys = list(study["best"]["settings"])
    numbers = ("trial", study["metric"], *keys, "seconds")
    rows = [
        (trial["number"], trial["value"], *trial["settings"].values(), trial["seconds"], trial["state"])
        for trial in trials[:MOST_TRIALS]
    ]
    title = f"{study['metric']} on validation, the best of {count(len(trials), 'trial')}"
    return table((*numbers, "state"), rows, title, numbers=numbers)


def features_table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = ("owner", "modality", "encoder", "dimensions", "rows", "encoded", "unusable")
    lines = [[row[name] for name in columns] for row in rows]
    return table(columns, lines, "content features", numbers=columns[3:])


def fitted_table(made: Mapping[str, Any]) -> str:
    """An encoder that was fitted, and how content alone ranks by it and by the one beside it."""
    title = f"lists by {made['modality']} alone, on validation"
    return table(("encoder", "ndcg@10"), list(made["ndcg@10"].items()), title, numbers=("ndcg@10",))


def texts_table(name: str, rows: Sequence[Mapping[str, str]], facts: Mapping[str, Any]) -> str:
    """Generated texts, the first ones of them, with who made how many and why a model had no answer."""
    failures = facts["failures"]
    notes = [f"by {maker}: {shown(number)}" for maker, number in _flat(facts["made_by"]).items()]
    notes += [f"refused for saying more than was shown: {facts['refused']:,}"] if facts.get("refused") else []
    notes += [f"without an answer: {len(failures):,} ({failures[0]})"] if failures else []
    columns = tuple(rows[0]) if rows else ()
    drawn = table(columns, [[row[key] for key in columns] for row in rows[:MOST_TEXTS]], f"{name}, generated")
    more = [f"the first {MOST_TEXTS} of {len(rows):,}; --json and --out have all"] if len(rows) > MOST_TEXTS else []
    return "\n".join([drawn, *more, *notes]) if rows else f"no {name}: there is nothing to make them from"


def _flat(counts: Mapping[str, Any]) -> dict[str, int]:
    """Nested counts with the keys joined: {"user": {"x": 1}} -> {"user, x": 1}."""
    flat: dict[str, int] = {}
    for key, value in counts.items():
        flat |= {f"{key}, {name}": n for name, n in value.items()} if isinstance(value, Mapping) else {key: value}
    return flat


def rejected_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows in the shape of Dataset.rejected, the first ones of them."""
    columns = ("file", "line", "reason", "value")
    lines = [[row[name] for name in columns] for row in rows[:MOST_REJECTED]]
    more = f", the first {MOST_REJECTED} of {len(rows):,}; --json lists all" if len(rows) > MOST_REJECTED else ""
    return table(columns, lines, f"content that cannot be used and counts as missing{more}", numbers=("line",))


def findings_table(data: str, kinds: Sequence[Mapping[str, Any]], copied: str) -> str:
    """The rows of `cleaning.Cleaning.kinds`; what was done where there is a copy, else what could be."""
    if not kinds:
        return "\n".join(filter(None, (f"{data}: nothing found", copied)))
    last = "repaired" if copied else "--repair"
    rows = [
        (
            row["kind"],
            row["found"],
            row["example"],
            row["reason"],
            row["repair"],
            row["done"] if copied else "by default" if row["safe"] else "if named",
        )
        for row in kinds
    ]
    numbers = ("found", last) if copied else ("found",)
    columns = ("kind", "found", "example", "why", "repair", last)
    title = f"{data}: {count(sum(row['found'] for row in kinds), 'finding')}"
    return "\n\n".join(filter(None, (table(columns, rows, title, numbers=numbers), copied)))


def facts_tables(facts: Mapping[str, Any]) -> str:
    """One table for each section: a dict is a list of facts, a list of dicts has a column for each key."""
    drawn = []
    for heading, content in facts.items():
        if isinstance(content, Mapping) and content:
            rows = [(words(name), value) for name, value in content.items()]
            drawn.append(table(("what", "value"), rows, words(heading)))
        elif content:
            keys = list(content[0])
            right = [words(key) for key in keys if all(is_number(row[key]) for row in content)]
            rows = [tuple(row[key] for key in keys) for row in content]
            drawn.append(table([words(key) for key in keys], rows, words(heading), numbers=right))
    return "\n\n".join(drawn)


def words(name: str) -> str:
    """A key of facts as people read it; names of settings, such as model.init_scale, stay as they are typed."""
    return name if "." in name else name.replace("_", " ")


def within(value: float, interval: Sequence[float], digits: int = 3, sign: str = "") -> str:
    """0.412 [0.400, 0.424]"""
    low, high = (f"{end:{sign}.{digits}f}" for end in interval)
    return f"{value:{sign}.{digits}f} [{low}, {high}]"


def is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def models_table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = ("name", "task", "MB", "dim", "here", "licence", "source")
    lines = [[row["megabytes" if name == "MB" else name] for name in columns] for row in rows]
    styles = {place: "green" for place, row in enumerate(rows) if row["here"]}
    title = "pretrained models; gnnrec models get NAME brings one"
    return table(columns, lines, title, numbers=("MB", "dim"), styles=styles)


def doctor_table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = ("state", "what", "detail", "how")
    lines = [[row[name] for name in columns] for row in rows]
    return table(columns, lines, styles={place: STATES[row["state"]] for place, row in enumerate(rows)})
