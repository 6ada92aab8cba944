"""What was aimed at, what came out, and what others have: one row a goal, our figures taken from results/*.json."""

from typing import Any, NamedTuple

import numpy as np
from speed_tables import own_entries, shown, times
from tables import against, value

from gnnrec.errors import count


class Goal(NamedTuple):
    what: str
    goal: str
    found: float | None  # None: not measured
    shown: str
    reached: bool
    beside: str  # the peer's figure and where it is from


# dataset, metric, goal, the peer's figure. All of modality_gnn with its default settings unless REFITTED has others.
ACCURACY = (
    ("lfm2k", "recall@20", 0.46, "MGCN .437 (MMRec's table)"),
    ("lfm2k", "ndcg@20", 0.33, "MGCN .307 (MMRec's table)"),
    ("ml100k", "recall@20", 0.235, "FREEDOM .226 (MMRec's logs)"),
    ("ml100k", "ndcg@20", 0.325, "FREEDOM .315 (MMRec's logs)"),
    ("gowalla", "recall@20", 0.19, "GF-CF .185, LightGCN .183 (their papers)"),
    ("gowalla", "ndcg@20", 0.16, "GF-CF .152, LightGCN .155 (their papers)"),
    ("movies", "ndcg@10", 0.095, "LRURec .0705, LlamaRec .0759 (LlamaRec's paper); ties in the file's order"),
)
# Variants of refit.py. gowalla's is a published split without validation: the published models learnt the rows that
# ours has learnt after a refit, whose row stands in the place of the other one. Elsewhere it stands beside it.
REFITTED = {"gowalla": "default", "movies": "default model.sequence=64"}
ONLY_REFITTED = ("gowalla",)
INTERACTIONS_ONLY = (
    *("ease", "slim", "ials", "graph_filter", "item_knn"),
    *("lightgcn_softmax", "simgcl", "xsimgcl"),
)
PIECES = "neighbours, 10 a hop"
SERVED = "≥ 2,000 requests/s, 99 % in ≤ 25 ms, 0 faults, first answer in ≤ 3 s"
NAMES = {"recall": "Recall", "ndcg": "NDCG"}


def goals(load: Any) -> list[list[str]]:
    """Rows of cells; `load` reads a results file by name."""
    found = [*_accuracy(load("accuracy"), load("refit")), *_baby(load("accuracy")), *_speed(load("speed"))]
    found += [*_cost(load("account"), load("rank"), load("cold_start")), *_scale(load("scale"))]
    found += [*_encoding(load("encode")), *_compression(load("compress"))]
    found += [*_fusion(load("content"), load("significance") or {}), *_missing(load("missing"))]
    found += [
        *_transfer(load("transfer"), load("significance") or {}),
        *_serve(load("serve")),
        *_private(load("private")),
        *_sampling(load("sample"), load("huge")),
        *_plan(load("plan")),
        *_language(load("rerank"), load("rerank_speed"), load("explain")),
    ]
    verdict = {True: "yes", False: "no"}
    return [
        [goal.what, goal.goal, goal.shown, "not measured" if goal.found is None else verdict[goal.reached], goal.beside]
        for goal in found
    ]


def at_least(what: str, goal: float, found: float | None, shown: str, beside: str) -> Goal:
    return Goal(what, f"≥ {goal:g}", found, shown, found is not None and found >= goal, beside)


def at_most(what: str, goal: float, unit: str, found: float | None, shown: str, beside: str) -> Goal:
    return Goal(what, f"≤ {goal:g}{unit}", found, shown, found is not None and found <= goal, beside)


def _entry(entries: list[dict[str, Any]], dataset: str, variant: str) -> dict[str, Any] | None:
    return next((e for e in entries if e["dataset"] == dataset and e["variant"] == variant), None)


def _accuracy(entries: list[dict[str, Any]], refits: list[dict[str, Any]]) -> list[Goal]:
    rows = []
    for dataset, metric, goal, beside in ACCURACY:
        name, _, k = metric.partition("@")
        what, entry = f"{dataset}, {NAMES[name]}@{k}", _entry(entries, dataset, "modality_gnn")
        if dataset not in ONLY_REFITTED:
            rows.append(_of_seeds(what, metric, goal, entry, beside))
        if dataset in REFITTED:
            _, *settings = REFITTED[dataset].split()
            what = ", ".join([what, *settings, "after a refit"])
            entry = _entry(refits, dataset, f"{REFITTED[dataset]}, refitted")
            rows.append(_of_seeds(what, metric, goal, entry, beside))
    return rows


def _seeds(entry: dict[str, Any]) -> str:
    return count(len(entry["seeds"]), "seed")


def _of_seeds(what: str, metric: str, goal: float, entry: dict[str, Any] | None, beside: str) -> Goal:
    if entry is None:
        return at_least(what, goal, None, "", beside)
    shown = f"{value(entry, metric)} ({_seeds(entry)})"
    return at_least(what, goal, entry["metrics"][metric], shown, beside)


def _baby(entries: list[dict[str, Any]]) -> list[Goal]:
    """Ours over the best model that knows interactions only, on validation."""
    metric, own = "val recall@20", _entry(entries, "baby", "modality_gnn")
    others = [e for e in entries if e["dataset"] == "baby" and e["variant"] in INTERACTIONS_ONLY]
    if own is None or not others:
        return []
    best = max(others, key=lambda e: e["metrics"][metric])
    ratio = own["metrics"][metric] / best["metrics"][metric]
    left = [name for name in INTERACTIONS_ONLY if not _entry(entries, "baby", name)]
    beside = f"best so far: {best['variant']} {best['metrics'][metric]:.4f}"
    beside += f"; not trained yet: {', '.join(left)}" if left else ""
    shown = f"{ratio:.3f} ({own['metrics'][metric]:.4f}, {_seeds(own)})"
    return [at_least("baby, Recall@20 on validation over the best of interactions alone", 1.05, ratio, shown, beside)]


def _speed(entries: list[dict[str, Any]]) -> list[Goal]:
    rows = []
    for dataset in ("lfm2k", "movies", "gowalla"):
        for peer in ("recbole", "pyg"):
            entry = _entry(entries, dataset, f"{peer}, 1 thread(s)")
            beside = "" if entry is None else f"its best {entry['metrics']['val ndcg@20']:.4f}"
            beside += " when its budget was spent" if entry and entry["budget"] else ""
            for start, own in zip(("from factors", "from random tables"), own_entries(entries, dataset)):
                ratio = None if entry is None else times(entry, own)
                what = f"{dataset}, time of {peer}'s LightGCN over ours {start}"
                rows.append(at_least(what, 10, ratio, shown(ratio), beside))
    return rows


def _cost(account: list[dict[str, Any]], rank: list[dict[str, Any]], cold_start: list[dict[str, Any]]) -> list[Goal]:
    rows = []
    for e in account:
        if e["variant"].startswith("whole step"):
            times = e["metrics"]["times_floor"]
            rows.append(at_most("a training step over its floors", 1.6, "", times, f"{times:.2f}", ""))
    for e in rank:
        if e["variant"] == "gnnrec, seen items dropped, 2 thread(s)":
            users, times = e["metrics"]["users_per_second"], e["metrics"]["times_faiss"]
            rows.append(at_least("full ranking, users/s on 2 threads", 35_000, users, f"{users:,.0f}", ""))
            rows.append(at_least("full ranking over faiss IndexFlatIP", 1, times, f"{times:.2f}", "same run"))
    for e in cold_start:
        if e["variant"] == "modality_gnn, --user":
            seconds = e["metrics"]["seconds"]
            what = "cold start of gnnrec recommend, a known user"
            rows.append(at_most(what, 2, " s", seconds, f"{seconds:.2f} s", ""))
    return rows


def _encoding(entries: list[dict[str, Any]]) -> list[Goal]:
    """The dearest of the networks; log_mel is none, and decoding costs more than it does."""
    rows = [e for e in entries if e["table"] == "speed" and not e["variant"].startswith("log_mel")]
    if not rows:
        return []
    dearest = max(rows, key=lambda e: e["metrics"]["times_bare_wall"])
    found, thread = dearest["metrics"]["times_bare_wall"], max(e["metrics"]["times_bare_thread"] for e in rows)
    waiting = dearest["metrics"]["bare_wall_over_cpu"]
    beside = (
        f"beside work that took {1 - 1 / waiting:.0%} of the core; CPU of the network's thread at most {thread:.2f}"
    )
    what = f"encoding from disk over the bare network, wall, {dearest['variant']}"
    return [at_most(what, 1.15, "", found, f"{found:.2f}", beside)]


def _compression(entries: list[dict[str, Any]]) -> list[Goal]:
    rows = []
    for e in entries:
        found = e["metrics"]
        if e["variant"] == "minilm, onnx_int8":
            times, overlap = found["times_fp32"], found["overlap@10"]
            rows.append(at_least("int8 text encoder, times fp32 eager", 3, times, f"{times:.2f}", ""))
            rows.append(at_least("the same, top-10 overlap", 0.95, overlap, f"{overlap:.3f}", ""))
        if e["variant"] == "int8":
            change = found["change"]
            rows.append(at_least("int8 embeddings, change of NDCG@10", -0.01, change, f"{change:+.1%}", ""))
    return rows


def _fusion(entries: list[dict[str, Any]], tests: dict[str, Any]) -> list[Goal]:
    """The default fusion of text and pictures against the best encoder of either alone, among cold items."""
    rows = []
    for dataset in ("ml100k", "movies"):
        variant = next((e["variant"] for e in entries if e["dataset"] == dataset and " attention" in e["variant"]), "")
        compared = against(tests.get(f"{dataset}, content", {}), variant, "cold items")
        best = next((name for name in compared if name != "none"), None)
        if best is None:
            rows.append(Goal(f"{dataset}, cold items: text + image over {best}", "p < .05", None, "", False, ""))
            continue
        test = compared[best]
        shown = f"{test['difference']:+.4f}, p {test['p']:.4f}"
        reached = test["difference"] > 0 and test["p"] < 0.05
        what = f"{dataset}, cold items: text + image over {best} alone, NDCG@10"
        rows.append(Goal(what, "> 0, p < .05", test["p"], shown, reached, ""))
    return rows


def _missing(entries: list[dict[str, Any]]) -> list[Goal]:
    rows = []
    for e in entries:
        if e["variant"].startswith("50%") and e["variant"].endswith("propagate"):
            gone = e["variant"].removesuffix(", propagate")
            what = f"{e['dataset']}, cold items: gain of content kept with {gone} missing"
            share = e["kept"]["cold items"]["share"]
            rows.append(at_least(what, 0.5, share, f"{share:.0%}", _seeds(e)))
    return rows


def _transfer(entries: list[dict[str, Any]], tests: dict[str, Any]) -> list[Goal]:
    rows = []
    for e in entries:
        if (
            e["variant"] == "transferred"
            and e["dataset"].startswith("movies to ml100k")
            and "title+genres" in e["dataset"]
        ):
            test = tests[f"{e['dataset']}, transfer"]["transferred against popularity, cold items"]
            shown = f"{test['difference']:+.4f}, p {test['p']:.4f}"
            what = "movies to ml100k: transferred tower over popularity, cold items, NDCG@10"
            reached = test["difference"] > 0 and test["p"] < 0.05
            rows.append(Goal(what, "> 0, p < .05", test["p"], shown, reached, "shared films left out of training"))
    return rows


def slope(entries: list[dict[str, Any]]) -> float:
    """Of a straight line through log(interactions), log(epoch seconds)."""
    x, y = (np.log([e["metrics"][key] for e in entries]) for key in ("interactions", "epoch_seconds"))
    return float(np.polyfit(x, y, 1)[0])


def _scale(entries: list[dict[str, Any]]) -> list[Goal]:
    if len(entries) < 2:
        return []
    growth = slope(entries)
    largest = max(entries, key=lambda e: e["metrics"]["interactions"])
    size, peak = largest["metrics"]["interactions"] / 1e6, largest["peak_mb"] / 1024
    steps = f"{largest['metrics']['measured_steps']:.0f} of {largest['metrics']['steps']:.0f} steps run"
    return [
        at_most("growth of an epoch's seconds, log-log slope", 1.05, "", growth, f"{growth:.2f}", ""),
        at_most(f"memory with {size:.0f} million interactions", 24, " GB", peak, f"{peak:.1f} GB", steps),
    ]


def _private(entries: list[dict[str, Any]]) -> list[Goal]:
    rows = []
    for e in entries:
        if e["metrics"]["items"] == 4096:
            seconds, same = e["metrics"]["whole_ms"] / 1000, e["metrics"]["same_best_share"]
            by_http = "HTTP" in e["variant"]
            said = "two processes" if by_http else f"1 thread, CPU {e['metrics']['cpu_ms']:.0f} ms, without HTTP"
            what = f"private scoring of 4,096 items, 64 dimensions{', by HTTP' * by_http}"
            rows.append(at_most(what, 0.5, " s", seconds, f"{seconds:.2f} s", said))
            rows.append(at_least(f"{what}: lists of ten as without encryption", 1, same, f"{same:.0%}", "100 users"))
    return rows


def _serve(entries: list[dict[str, Any]]) -> list[Goal]:
    rows = []
    for e in entries:
        if e["dataset"] == "movies":
            found, what = e["metrics"], f"gnnrec serve, movies, {e['variant']}"
            if processor := e["machine"].get("processor"):
                what += f" ({processor})"
            load = f"load of the machine {found['load']:.1f}, on {e['machine']['cpus']} cores"
            rate, last, first = found["requests_per_second"], found["p99_ms"], found["first_answer_s"]
            faults = found["faults"] + found["not_answered"]
            reached = rate >= 2000 and last <= 25 and not faults and first <= 3
            shown = f"{rate:,.0f}/s, {last:.1f} ms, {faults:.0f}, {first:.1f} s"
            rows.append(Goal(what, SERVED, rate, shown, reached, load))
    return rows


def _language(rerank: list[dict[str, Any]], speed: list[dict[str, Any]], explain: list[dict[str, Any]]) -> list[Goal]:
    """What a language model adds to the order; "tuned" stands with the weight that is best on validation, "default" as
    the product does it."""
    rows = []
    for dataset in ("movies", "lfm2k", "beauty"):
        default, tuned = (_entry(rerank, dataset, name) for name in ("default", "tuned"))
        seeds = "" if default is None else _seeds(default)
        found = None if default is None else default["gain"]
        shown = "" if found is None else f"{found:+.4f}"
        rows.append(at_least(f"{dataset}, --rerank as shipped over the graph's order, NDCG@10", 0, found, shown, seeds))
        gain = None if tuned is None else tuned["gain"] / (tuned["metrics"]["ndcg@10"] - tuned["gain"])
        shown, p = (
            ("", "") if tuned is None or gain is None else (f"{gain:+.1%}", f"p {tuned['p']:.4f}, {_seeds(tuned)}")
        )
        rows.append(at_least(f"{dataset}, tuned reranker over the graph's order, NDCG@10", 0.03, gain, shown, p))
    if with_words := _entry(rerank, "movies", "default"):
        found = with_words["metrics"]["ndcg@10"]
        shown = value(with_words, "ndcg@10")
        rows.append(at_least("movies, NDCG@10 with --rerank", 0.1, found, shown, _seeds(with_words)))
    for e in speed:
        found = e["metrics"]["one by one, median"]
        ratio = e["metrics"]["one by one"] / e["metrics"]["together"]
        what = f"20 candidates of one user reranked, {e['variant']}, median"
        rows.append(
            at_most(what, 1.5, " s", found, f"{found:.2f} s", f"95 % under {e['metrics']['one by one, 95 %']:.2f} s")
        )
        rows.append(
            at_least("20 users reranked together over one by one", 1, ratio, f"{ratio:.2f}", "times as fast; 60 users")
        )
    for e in explain:
        true, falls = e["metrics"]["true"], e["metrics"]["falls further than one random removal"]
        pairs = f"{e['metrics']['pairs']:,.0f} pairs of {e['dataset']}"
        told = f"{e['metrics']['pairs with things told of']:,.0f} of them, in which things of the past are told of"
        rows.append(at_least("statements of explanations that are true", 1, true, f"{true:.1%}", pairs))
        rows.append(at_least("evidence that lowers the score more than chance", 0.8, falls, f"{falls:.1%}", told))
    return rows


def _sampling(sample: list[dict[str, Any]], large: list[dict[str, Any]]) -> list[Goal]:
    by_name = {entry["variant"]: entry["metrics"] for entry in sample}
    speed = by_name.get("two hops, one thread", {}).get("edges_per_second")
    shown = "" if speed is None else f"{speed / 1e6:.1f} million"
    goals = [at_least("sampled edges/s of one thread, millions", 20, speed and speed / 1e6, shown, "CPU time")]
    for model in ("lightgcn_softmax", "modality_gnn, 10 epochs"):
        whole, pieces = (by_name.get(f"{model}, {name}", {}).get("ndcg@20") for name in ("whole", PIECES))
        ratio = pieces / whole if whole and pieces else None
        what = f"movies, NDCG@20 on sampled pieces over whole graphs, {model}"
        what += ", small" if "epochs" in model else ""
        seeds = next((_seeds(entry) for entry in sample if entry["variant"] == f"{model}, {PIECES}"), "")
        shown = "" if ratio is None else f"{ratio:.3f}"
        goals.append(at_least(what, 0.98, ratio, shown, seeds))
    found = next((entry for entry in large if "200,000,000" in entry["variant"]), None)
    memory = None if found is None else found["peak_mb"] / 1024
    shown = "" if memory is None else f"{memory:.1f} GB"
    what = "memory with 200 million interactions, mapped pages too"
    goals.append(at_most(what, 20, " GB", memory, shown, "the training loop alone, without similar and together edges"))
    return goals


def _plan(entries: list[dict[str, Any]]) -> list[Goal]:
    ratios = {
        (entry["variant"], name): value
        for entry in entries
        for name, value in entry["metrics"].items()
        if name.endswith("_ratio")
    }
    if not ratios:
        return []
    (size, name), worst = max(ratios.items(), key=lambda one: abs(one[1] - 1))
    what = "gnnrec plan over measured runs of 10,000 to 10 million interactions, largest error"
    beside = f"{len(ratios)} of them; {name.removesuffix('_ratio')} of {size}"
    return [at_most(what, 0.25, "", abs(worst - 1), f"{abs(worst - 1):.2f}", beside)]
