"""Tables of content: encoders, fusion, alignment, cold items, compression, queries. Each stands in docs."""

from typing import Any

from tables import against, first_p, load, table, value


def cold() -> str:
    tests, rows = load("significance") or {}, []
    for entry in load("cold"):
        found = tests.get(entry["dataset"], {})
        marks = [
            f"{name.split(' against ')[1]}: {test['p']:.4f}"
            for name, test in found.items()
            if name.split(" against ")[0] == entry["variant"]
        ]
        rows.append([entry["dataset"], entry["variant"], value(entry, "ndcg@10"), "; ".join(marks)])
    return table(["data", "content", "NDCG@10", "p against"], rows)


def content() -> str:
    """Means over seeds with intervals over users; p against no content, and of several against the best one alone."""
    tests, rows = load("significance") or {}, []
    for entry in load("content"):
        found, cells = tests.get(f"{entry['dataset']}, content", {}), []
        for measure in ("validation", "cold items"):
            low, high = entry["intervals"][measure]
            cells.append(f"{entry['metrics'][measure]:.4f} [{low:.4f}, {high:.4f}]")
            compared = against(found, entry["variant"], measure)
            cells.append("; ".join(f"{other}: {test['p']:.4f}" for other, test in compared.items()))
        rows.append([entry["dataset"], entry["variant"], *cells, str(len(entry["seeds"]))])
    return table(
        ["data", "content (encoder), fusion", "validation", "p against", "cold items", "p against", "seeds"], rows
    )


def alignment() -> str:
    rows = []
    for entry in load("alignment"):
        sides, method = entry["variant"].split(", ")
        names, chance = ("r@1", "r@10", "mrr"), entry["chance"]
        found = [f"{value(entry, name)} ({chance[name]:.3f})" for name in names]
        rows.append([entry["dataset"], sides, method, *found, str(entry["candidates"])])
    return table(["data", "query to target", "by", "R@1 (chance)", "R@10 (chance)", "MRR (chance)", "candidates"], rows)


def alignment_ranking() -> str:
    tests, rows = load("significance") or {}, []
    for entry in load("alignment_ranking"):
        found, cells = tests.get(f"{entry['dataset']}, alignment", {}), []
        for measure in ("validation", "cold items"):
            name = f"{measure} ndcg@10"
            cells.append(value(entry, name) if name in entry["metrics"] else "")
            cells.append(first_p(against(found, entry["variant"], measure)))
        rows.append([entry["dataset"], entry["variant"], *cells, str(len(entry["seeds"]))])
    return table(["data", "variant", "validation", "p", "cold items", "p", "seeds"], rows)


def finetune() -> str:
    tests, rows = load("significance") or {}, []
    for entry in load("finetune"):
        found = tests.get(f"{entry['dataset']}, fine-tuning", {})
        variant = entry["variant"].split(": ")[-1]
        cells = []
        for measure in ("validation", "cold items"):
            cells += [value(entry, f"{measure} ndcg@10"), first_p(against(found, variant, measure))]
        rows.append([entry["dataset"], entry["variant"], *cells, str(len(entry["seeds"])), f"{entry['seconds']:.0f}"])
    return table(["content", "encoder", "validation", "p", "cold items", "p", "seeds", "seconds"], rows)


def transfers() -> str:
    tests, rows = load("significance") or {}, []
    for entry in load("transfer"):
        found, cells = tests.get(f"{entry['dataset']}, transfer", {}), []
        for part in ("cold items", "all items"):
            test = found.get(f"transferred against {entry['variant']}, {part}")
            cells += [value(entry, f"{part} ndcg@10"), f"{test['p']:.4f}" if test else ""]
        rows.append([entry["dataset"], entry["variant"], *cells, str(len(entry["seeds"]))])
    return table(["from, to", "ranked by", "cold items", "p", "all items", "p", "seeds"], rows)


def missing() -> str:
    rows = []
    for entry in load("missing"):
        cells = []
        for part in ("cold items", "validation"):
            share = entry["kept"][part]["share"]
            cells += [value(entry, f"{part} ndcg@10"), "–" if share is None else f"{share:.0%}"]
        rows.append([entry["dataset"], entry["variant"], *cells, str(len(entry["seeds"]))])
    return table(["data", "removed, in its place", "cold items", "gain kept", "validation", "gain kept", "seeds"], rows)


def compressed(kind: str) -> list[dict[str, Any]]:
    return [entry for entry in load("compress") if entry["table"] == kind]


def size_and_speed(entry: dict[str, Any], speed: str) -> list[str]:
    metrics = entry["metrics"]
    times = f"{metrics['times_fp32']:.2f} (IQR {entry['spread']['times_fp32']:.2f})"
    return [entry["variant"], f"{metrics['mb']:.1f}", f"{metrics[speed]:.0f}", times, f"{metrics['overlap@10']:.3f}"]


def encoders() -> str:
    rows = [
        [
            *size_and_speed(entry, "texts_per_second"),
            f"{entry['metrics']['overlap@10 held out']:.3f}",
            f"{entry['metrics']['ndcg@10']:.4f}",
        ]
        for entry in compressed("encoders")
    ]
    head = [
        "text encoder",
        "MB",
        "texts/s",
        "times fp32",
        "top-10 overlap",
        "of items held out",
        "NDCG@10, content alone",
    ]
    return table(head, rows)


def picture_encoders() -> str:
    rows = [size_and_speed(entry, "pictures_per_second") for entry in compressed("pictures")]
    return table(["encoder of pictures", "MB", "pictures/s", "times fp32", "top-10 overlap"], rows)


def exports() -> str:
    rows = [
        [
            entry["variant"],
            f"{entry['metrics']['mb']:.2f}",
            f"{entry['metrics']['times_smaller']:.1f}",
            f"{entry['metrics']['overlap@10']:.3f}",
            f"{entry['metrics']['ndcg@10']:.4f}",
            f"{entry['metrics']['change']:+.1%}",
            f"{entry['metrics']['read_ms']:.1f}",
            f"{entry['metrics']['users_per_second']:,.0f}",
        ]
        for entry in compressed("embeddings")
    ]
    names = ["MB", "times smaller", "top-10 overlap", "NDCG@10", "change", "read back, ms", "lists, users/s"]
    return table(["embeddings of movies", *names], rows)


def targets() -> str:
    rows = [
        [
            entry["dataset"],
            entry["variant"],
            f"{entry['seconds']:.1f}",
            f"{entry['metrics']['recall@10']:.3f}",
            f"{entry['metrics']['milliseconds']:.1f}",
        ]
        for entry in load("targets")
    ]
    return table(["embeddings of", "place, search", "seconds to write", "Recall@10", "ms a query"], rows)


def asked(kind: str) -> list[dict[str, Any]]:
    return [entry for entry in load("books") if entry["table"] == kind]


def centring() -> str:
    rows = [
        [entry["dataset"], entry["variant"], *(f"{entry['metrics'][name]:.3f}" for name in ("zh", "en"))]
        for entry in asked("centring")
    ]
    return table(["data", "items and queries", "in Chinese", "in English"], rows)


def books() -> str:
    rows = []
    for entry in asked("subjects"):
        cells = [f"{entry['metrics'][name]:.2f}" for name in ("zh", "en", "zh uniform", "en uniform")]
        rows.append([entry["variant"], entry["queries"][0], cells[0], entry["queries"][1], *cells[1:]])
    head = [
        "kind",
        "in Chinese",
        "precision",
        "in English",
        "precision",
        "我喜欢阅读…类的书籍。",
        "I like to read books about …",
    ]
    return table(head, rows)


def books_example() -> str:
    rows = []
    for entry in asked("example"):
        technical, *places = entry["metrics"].values()
        rows.append(
            [entry["variant"], f"{technical:.2f}", *(f"{place:.1f}" for place in places), str(len(entry["seeds"]))]
        )
    return table(
        ["query", "technical of ten", "place of 《深度学习》", "of 《人工智能：一种现代的方法》", "seeds"], rows
    )


def encoding() -> str:
    rows = [
        [
            entry["variant"],
            *(f"{entry['metrics'][name]:.1f}" for name in ("items_per_second", "bare_per_second")),
            *(
                f"{entry['metrics'][f'times_bare_{clock}']:.2f} ± {entry['spread'][f'times_bare_{clock}']:.2f}"
                for clock in ("wall", "thread", "cpu")
            ),
            f"{entry['metrics']['bare_wall_over_cpu']:.1f}",
        ]
        for entry in load("encode")
        if entry["table"] == "speed"
    ]
    head = [
        "encoder, content",
        "items/s",
        "bare/s",
        "wall",
        "CPU, network's thread",
        "CPU, all threads",
        "bare, wall / CPU",
    ]
    return table(head, rows)


def encoding_memory() -> str:
    names = ("features_mb", "peak_mb", "kept_at_kill", "seconds_to_kill", "seconds_of_the_rest")
    rows = [
        [entry["variant"], *(f"{entry['metrics'][name]:,.0f}" for name in names)]
        for entry in load("encode")
        if entry["table"] == "memory"
    ]
    head = [
        "texts and pictures of",
        "features, MB",
        "peak MB",
        "rows kept when killed",
        "seconds to that",
        "of the rest",
    ]
    return table(head, rows)
