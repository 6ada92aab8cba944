"""The worked examples run cell by cell, as a notebook does, on small folders of the same columns."""

import json
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import numpy as np
import polars as pl
import pytest

from gnnrec.serve.static import FOLDER

EXAMPLES = Path(__file__).parents[1] / "scripts" / "examples"
NAMES = ("ecommerce", "social", "education")
SUBJECTS = ("cooking soup, pasta and bread", "programming computers and software")  # what users differ in
DAY, START = 86_400, 1_400_000_000
LOG = 'name = "{}"\n[interactions]\npath = "interactions.csv.gz"\nuser = "user"\nitem = "item"\n'
ITEMS = '[split]\nmethod = "random"\n[items]\npath = "items.csv.gz"\nid = "item"\ntext = ["title"]\n'

Cells = dict[str, Any]  # the variables that a script's cells leave


def write(folder: Path, log: dict[str, Any], items: dict[str, Any]) -> Path:
    folder.mkdir()
    for name, columns in (("interactions", log), ("items", items)):
        pl.DataFrame(columns).write_csv(folder / f"{name}.csv.gz", compression="gzip")
    (folder / "dataset.toml").write_text(LOG.format(folder.name) + ITEMS)
    return folder


def pairs(num_users: int, num_items: int, each: int) -> list[tuple[int, int]]:
    """User u takes `each` items of the subject u % 2, as the items' numbers have it too."""
    random = np.random.default_rng(0)
    return [
        (user, int(item))
        for user in range(num_users)
        for item in random.permutation(np.arange(user % 2, num_items, 2))[:each]
    ]


@pytest.fixture
def run_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Path], Cells]:
    def run(name: str, data: Path) -> Cells:
        script = EXAMPLES / f"{name}.py"
        monkeypatch.chdir(tmp_path)
        monkeypatch.syspath_prepend(EXAMPLES)
        monkeypatch.setattr(sys, "argv", [str(script), str(data)])
        variables: Cells = {}
        for number, cell in enumerate(jupytext.read(script).cells):
            if cell.cell_type == "code":
                exec(compile(cell.source, f"{script}, cell {number}", "exec"), variables)
        return variables

    return run


def check_figures(out: Path, questions: set[str]) -> dict[str, Any]:
    """Each question has figures of our model, with intervals around them."""
    kept: dict[str, Any] = json.loads((out / "examples.json").read_text())
    assert set(kept) == questions
    for found in kept.values():
        for one in found.values():
            low, high = one["confidence"]["ndcg@10"]
            assert low <= one["metrics"]["ndcg@10"] <= high
    assert list((out / "plots").glob("*.png")) and (out / "exported" / "items.parquet").is_file()
    return kept


def best_order(taken: list[tuple[int, int]], new: set[int]) -> float:
    """The mean reciprocal rank of the new items in the order of how many of the regulars take them; no two equally."""
    had = Counter(user for user, item in taken if item not in new)
    rows = [(user, item) for user, item in taken if item in new and had[user] >= 3]
    counts = Counter(item for _, item in rows)
    assert len(set(counts.values())) == len(new)
    order = sorted(new, key=lambda item: -counts[item])
    users = {user for user, _ in rows}
    return sum(1 / min(1 + order.index(item) for who, item in rows if who == user) for user in users) / len(users)


def check_page(said: str) -> None:
    """The script told where the page is, which it fetched with all of its scripts."""
    assert f"/ ({len(list(FOLDER.glob('*.js')))} scripts)" in said


def test_ecommerce(tmp_path: Path, run_cells: Callable[[str, Path], Cells], capsys: pytest.CaptureFixture[str]) -> None:
    taken = pairs(24, 20, 6)
    shades = [(user, shade) for user in range(5) for shade in (20, 21, 22)]  # one review shown at three shades
    rows = [(user, item, 4.0, START + DAY * place) for place, (user, item) in enumerate(taken)]
    rows += [(user, shade, 5.0, START + DAY * (200 + user)) for user, shade in shades]
    user, item, rating, timestamp = (list(column) for column in zip(*rows))
    titles = [f"Product {number} for {SUBJECTS[number % 2]}" for number in range(20)] + ["Nail colour"] * 3
    texts = [f"<b>No. {number}</b> is all about {SUBJECTS[number % 2]}" for number in range(20)]
    texts += ["A polish for all seasons"] * 2 + [
        "Another one, of a warm and shimmering red"
    ]  # the first two are one product
    price = ["$1,200.50", ".page{color:#fff}", None, *(f"${number}.00" for number in range(3, 23))]
    data = write(
        tmp_path / "shop",
        {"user": user, "item": item, "rating": rating, "timestamp": timestamp, "split": ["train"] * len(rows)},
        {"item": list(range(23)), "title": titles, "description": texts, "price": price},
    )
    cells = run_cells("ecommerce", data)
    check_page(capsys.readouterr().out)
    assert len(cells["shared"]) == len(shades)
    assert len(cells["log"]) == len(taken) + 5  # one row of each shared review stays
    assert sorted(cells["items"]["item"]) == [number for number in range(23) if number != 21]
    assert cells["price_of"]["0"] == 1200.5 and not {"1", "2"} & set(cells["price_of"])
    kept = check_figures(cells["out"], {"next purchase", "the log as it came", "new products"})
    assert kept["new products"]["modality_gnn"]["candidates"] == len(cells["hidden"]) == 22 // 5
    assert cells["told"]["item"] in {place["id"] for place in cells["before"]}
    assert cells["told"]["item"] not in {place["id"] for place in cells["after"]}


def test_social(tmp_path: Path, run_cells: Callable[[str, Path], Cells], capsys: pytest.CaptureFixture[str]) -> None:
    some = [(user, 29) for user in range(12)] + [(user, 28) for user in range(5, 10)]
    taken = list(dict.fromkeys(pairs(24, 30, 6) + some))
    rows = taken + taken[:10] + taken[:3]  # repeated pairs
    data = write(
        tmp_path / "stories",
        {
            "user": [f"{user:04}" for user, _ in rows],
            "item": [100 + item for _, item in rows],
            "count": [1] * len(rows),
        },
        {
            "item": list(range(100, 130)),
            "title": [f"{number} things on {SUBJECTS[number % 2]}" for number in range(30)],
            "score": list(range(500, 530)),
            "poster": ["somebody"] * 30,
        },
    )
    cells = run_cells("social", data)
    check_page(capsys.readouterr().out)
    comments = {(user, item): number for user, item, number in cells["log"].iter_rows()}
    assert len(comments) == len(taken) and sum(comments.values()) == len(rows)
    assert comments[f"{taken[0][0]:04}", 100 + taken[0][1]] == 3
    assert sorted(cells["newest"]) == [127, 128, 129]
    kept = check_figures(cells["out"], {"stories held out", "newest stories"})
    fresh = cells["fresh_runs"]["modality_gnn"]
    assert not {fresh.item_ids[item] for item in fresh.known.item} & {"127", "128", "129"}
    assert kept["newest stories"]["hindsight"]["metrics"]["mrr"] == pytest.approx(best_order(taken, {27, 28, 29}))
    # Popularity knows nothing of the newest; titles tell the two subjects apart.
    newest = {name: one["metrics"]["mrr"] for name, one in kept["newest stories"].items()}
    assert newest["modality_gnn"] > newest["chance"]
    assert {place["title"].partition(" things on ")[2] for place in cells["like"]} <= set(SUBJECTS)


def test_education(tmp_path: Path, run_cells: Callable[[str, Path], Cells], capsys: pytest.CaptureFixture[str]) -> None:
    taken = pairs(24, 20, 6)
    titles = [f"Course {number} on {SUBJECTS[number % 2]}" for number in range(30)]
    data = write(
        tmp_path / "courses",
        {"user": [user for user, _ in taken], "item": [f"C{item}" for _, item in taken], "rating": [3.0] * len(taken)},
        {
            "item": [f"C{number}" for number in range(30)],
            "title": titles,
            "description": titles,
            "genres": ["Cooking" if number % 2 == 0 else "Software" for number in range(30)],
        },
    )
    cells = run_cells("education", data)
    check_page(capsys.readouterr().out)
    assert cells["never"] == sorted(f"C{number}" for number in range(20, 30))
    kept = check_figures(cells["out"], {"all courses", "courses that were taken", "new courses"})
    assert kept["courses that were taken"]["ease"]["candidates"] == 20
    # Nobody has taken C20 to C29, and the texts alone say which of them are of the user's subject.
    first = [int(place.id[1:]) for place in cells["everything"] if place.id in cells["never"]][:3]
    assert {number % 2 for number in first} == {int(cells["user"]) % 2}


@pytest.mark.parametrize("name", NAMES)
def test_is_a_notebook(name: str) -> None:
    written = jupytext.writes(jupytext.read(EXAMPLES / f"{name}.py"), fmt="ipynb")
    notebook = nbformat.reads(written, as_version=4)
    nbformat.validate(notebook)
    assert [cell.cell_type for cell in notebook.cells[:2]] == ["markdown", "code"]
    assert notebook.cells[0].source.startswith("# ")


def test_says_what_it_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from steps import data_folder

    for given, said in (([], "found none"), ([str(tmp_path)], "with dataset.toml")):
        monkeypatch.setattr(sys, "argv", ["social.py", *given])
        with pytest.raises(SystemExit, match=said):
            data_folder()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a server of the page's own files, and their folder, to take some away."""
    shutil.copytree(FOLDER, tmp_path / "page")
    shutil.copy(FOLDER / "index.html", tmp_path / "index.html")

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", tmp_path
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_page_has_to_come_with_every_script(monkeypatch: pytest.MonkeyPatch, site: tuple[str, Path]) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    from steps import fetch_page

    url, folder = site
    assert fetch_page(url) == sorted(f"{url}/page/{path.name}" for path in FOLDER.glob("*.js"))
    (folder / "page" / "scatter.js").unlink()  # which only the map imports
    with pytest.raises(SystemExit, match="scatter.js: HTTP Error 404"):
        fetch_page(url)
    (folder / "index.html").write_text("<title>Somebody else</title>")
    with pytest.raises(SystemExit, match="expected the page of gnnrec"):
        fetch_page(url)
