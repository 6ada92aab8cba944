"""What the three examples have in common: their argument, their folders, and a service that is asked over HTTP."""

import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np
import polars as pl
import tomli_w
import torch
from numpy.typing import NDArray

from gnnrec import evaluate, load_recipe, train
from gnnrec.comparison import differences
from gnnrec.datasets import Dataset
from gnnrec.evaluation import Evaluation, evaluate_ranking
from gnnrec.files import write_json
from gnnrec.pipeline import held_out
from gnnrec.plots import bars, save_png
from gnnrec.run_folder import Run
from gnnrec.tables import comparison_table, metrics_table

BASELINES = ("popularity", "item_knn", "ease")
DECIDES = "ndcg@10"
START, STOP = 120, 20  # seconds that the service may take to be warm, and to finish what is under way


def data_folder() -> Path:
    """The only argument. Ends the script with one line where it is missing or no dataset folder."""
    script, *given = sys.argv
    if len(given) != 1:
        sys.exit(f"{script}: expected one argument, the data folder; found {' '.join(given) or 'none'}")
    folder = Path(given[0])
    if not (folder / "dataset.toml").is_file():
        sys.exit(f"{script}: {folder}: expected a folder with dataset.toml, as the first lines of the script say")
    return folder


def new_output(name: str) -> Path:
    """A folder of this start: nothing of an earlier one is overwritten."""
    folder = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    return folder


def write_folder(folder: Path, log: pl.DataFrame, items: pl.DataFrame, described: Mapping[str, Any]) -> Path:
    """A dataset folder: the log, the items, and dataset.toml, which says what their columns are."""
    folder.mkdir(parents=True)
    log.write_csv(folder / "interactions.csv")
    items.write_csv(folder / "items.csv")
    files = {"interactions": {"path": "interactions.csv"}, "items": {"path": "items.csv"}}
    whole = {**described, **{section: files[section] | dict(described[section]) for section in files}}
    (folder / "dataset.toml").write_text(tomli_w.dumps(whole), encoding="utf-8")
    return folder


def hide(log: pl.DataFrame, hidden: Sequence[str | int], seed: int = 0) -> pl.DataFrame:
    """The log with a column `split`: all rows of the hidden items are test, a tenth of the others, by lot, val."""
    lot = pl.Series(np.random.default_rng(seed).random(len(log)))
    warm = pl.when(lot < 0.1).then(pl.lit("val")).otherwise(pl.lit("train"))
    return log.with_columns(split=pl.when(pl.col("item").is_in(hidden)).then(pl.lit("test")).otherwise(warm))


def train_all(data: Dataset, out: Path, settings: list[str]) -> dict[str, Run]:
    """The baselines and, with `settings`, the product's own model, each in a folder of its name."""
    runs = {name: train(data, out / name, load_recipe(name)) for name in BASELINES}
    return runs | {"modality_gnn": train(data, out / "modality_gnn", load_recipe("default", settings))}


def judge(
    runs: Mapping[str, Run], what: str, *, beside: Mapping[str, Evaluation] | None = None, **how: Any
) -> tuple[dict[str, Evaluation], str]:
    """Every run on the test rows; as text side by side, the interval of the last, its test against the best other.

    beside: what else stands in the table and is not tested. how: arguments of `gnnrec.evaluate`.
    """
    found = {name: evaluate(run, **how) for name, run in runs.items()}
    *others, ours = found
    best = max(others, key=lambda name: found[name].metrics[DECIDES])
    low, high = found[ours].confidence[DECIDES]
    title = f"{what}, {found[ours].num_users:,} users, {found[ours].candidates:,} items ranked"
    tested = comparison_table(differences(found[ours], [found[best]])[0], ours, best)
    interval = f"{DECIDES} of {ours}: {found[ours].metrics[DECIDES]:.4f}, 95 % from {low:.4f} to {high:.4f}"
    found |= beside or {}
    side_by_side = metrics_table({name: one.to_json("test") for name, one in found.items()}, title)
    return found, f"{side_by_side}\n\n{interval}\n\n{tested}"


def judge_new(
    data: Dataset, out: Path, name: str, hidden: Sequence[str | int], what: str, epochs: int
) -> tuple[dict[str, Run], dict[str, Evaluation], str]:
    """The product's own model on items that lost all their rows, and the runs in OUT/NAME_…; else as `judge`.

    Beside it `chance`, which is popularity, since that cannot tell such items apart, and `hindsight`.
    """
    runs = {
        "chance": train(data, out / f"{name}_chance", load_recipe("popularity")),
        "modality_gnn": train(data, out / f"{name}_gnn", load_recipe("default", [f"train.epochs={epochs}"])),
    }
    new = np.isin(data.item_ids, np.array(hidden).astype(str))
    return runs, *judge(runs, what, candidates=new, beside={"hindsight": hindsight(runs["chance"], new)})


def hindsight(run: Run, candidates: NDArray[np.bool_]) -> Evaluation:
    """The same list for everybody, in the order of how often the candidates are taken in the test rows themselves.

    Nobody can know that beforehand. It is about the most that can be had without knowing who asks.
    """
    test = held_out(run).test
    taken = torch.from_numpy(np.bincount(test.item, minlength=test.num_items).astype(np.float32))
    return evaluate_ranking(
        lambda users: taken.expand(len(users), -1),
        relevant=test,
        train=run.train,
        seen=run.train,
        candidates=candidates,
    )


def keep(out: Path, questions: Mapping[str, Mapping[str, Evaluation]]) -> None:
    """The figures of this start: examples.json, question -> model -> its evaluation, and a plot of each question."""
    write_json(
        out / "examples.json",
        {what: {name: one.to_json("test") for name, one in found.items()} for what, found in questions.items()},
    )
    for what, found in questions.items():
        values, intervals = zip(*((one.metrics[DECIDES], one.confidence[DECIDES]) for one in found.values()))
        plot = bars(what.capitalize(), "Bars: mean over users; lines: 95 %", list(found), values, DECIDES, intervals)
        save_png(plot, out / "plots" / f"{what.replace(' ', '_')}.png")


@contextmanager
def serving(run: Path) -> Iterator[str]:
    """`gnnrec serve` of a run as a process of its own, on a free port of this machine: its address.

    Its web page is fetched as a browser would, and the address to look at is said; it is there as long as the service.
    """
    command = [sys.executable, "-W", "ignore", "-m", "gnnrec.cli", "serve", str(run), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://\S+?:\d+", said)
        if found is None:
            sys.exit(f"gnnrec serve {run}: did not start; it said {said.strip() or 'nothing'}")
        url, latest = found.group(), time.monotonic() + START
        while not ask(f"{url}/ready")["warm"]:  # known users are answered at once, histories once torch is loaded
            if time.monotonic() > latest:
                sys.exit(f"gnnrec serve {run}: not warm after {START} s")
            time.sleep(0.2)
        scripts = fetch_page(url)
        print(f"the page is at {url}/ ({len(scripts)} scripts)")
        yield url
    finally:
        process.terminate()
        process.wait(STOP)


def fetch_page(url: str) -> list[str]:
    """Fetch the page and all scripts that it loads, by their addresses. Ends the script where one does not come."""
    page = fetch(f"{url}/", "text/html")
    if "<title>gnnrec</title>" not in page:
        sys.exit(f"{url}/: expected the page of gnnrec; found {page[:80]!r}")
    found, left = (
        dict[str, str](),
        [urljoin(f"{url}/", path) for path in re.findall(r'<script [^>]*src="([^"]+)"', page)],
    )
    while left:
        script = left.pop()
        if script not in found:
            found[script] = fetch(script, "text/javascript")
            left += [urljoin(script, path) for path in re.findall(r'^import .*from "([^"]+)";', found[script], re.M)]
    if not found:
        sys.exit(f"{url}/: loads no scripts")
    return sorted(found)


def fetch(url: str, kind: str) -> str:
    """The text at an address. Ends the script where there is none, or one of another kind."""
    try:
        with urllib.request.urlopen(url, timeout=START) as answer:
            if (found := answer.headers.get_content_type()) != kind:
                sys.exit(f"{url}: found {found}; expected {kind}")
            text: str = answer.read().decode()
            return text
    except OSError as error:  # an answer of 404 or 500 is one, too
        sys.exit(f"{url}: {error}")


def ask(url: str, **fields: Any) -> Any:
    """What a GET of `url` with these query fields answers."""
    with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(fields, doseq=True)}", timeout=START) as answer:
        return json.load(answer)


def tell(url: str, **fields: Any) -> Any:
    """What a POST of these fields as JSON answers."""
    body, kind = json.dumps(fields).encode(), {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, body, kind), timeout=START) as answer:
        return json.load(answer)
