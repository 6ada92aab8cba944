"""The books case: a spoken, written and shown wish for technical books, in a catalogue of two languages."""

import importlib.util
import io
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from random import Random
from types import ModuleType

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from gnnrec.datasets import Dataset
from gnnrec.pipeline import train
from gnnrec.query import ContentQuery
from gnnrec.recipe import load_recipe
from gnnrec.recommend import Recommender

ROOT = Path(__file__).parents[1]
BOOKS = ROOT / "data/books"
ITEMS = pl.read_csv(BOOKS / "items.csv")
KIND = dict(ITEMS.select("item", "kind").iter_rows())
WISH = "我喜欢阅读科技类的书籍。"  # I like to read technical books.
NAMED = {"深度学习", "人工智能：一种现代的方法"}
SPOKEN = "I would like to learn more about artificial intelligence and deep learning."


def script(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    spec = importlib.util.spec_from_file_location(name, ROOT / f"scripts/{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    recipe = load_recipe(overrides=["train.epochs=30"])
    return Recommender(train(Dataset.load(BOOKS), tmp_path_factory.mktemp("runs") / "books", recipe))


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """Made now where espeak-ng is installed, else as it was made for the folder."""
    if not shutil.which("espeak-ng"):
        return BOOKS / "query/talk.ogg"
    made = tmp_path / "talk.wav"
    subprocess.run(["espeak-ng", "-v", "en", "-s", "150", "-w", made, SPOKEN], check=True)
    return made


def test_the_catalogue_is_whole() -> None:
    data = Dataset.load(BOOKS)
    assert len(data.rejected) == 0 and len(data.item_ids) == len(ITEMS) >= 200
    assert data.items is not None and all(path and path.is_file() for path in (data.items.media or {})["image"])
    assert not any(ITEMS[column].null_count() for column in ITEMS.columns)
    assert ITEMS["title"].n_unique() == len(ITEMS)
    languages = Counter(ITEMS["language"])
    assert min(languages["zh"], languages["en"]) >= 100 and len(languages) == 2
    assert Counter(KIND.values())["technology"] >= 40 and set(ITEMS["title"]) >= NAMED
    covers = [path.stat().st_size for path in (BOOKS / "covers").iterdir()]
    assert max(covers) <= 6_000 and sum(covers) < 1_500_000
    assert "made up" in (BOOKS / "LICENCE.md").read_text(encoding="utf-8").lower()


def test_the_script_makes_what_is_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    make = script("make_books", monkeypatch)
    log = pl.read_csv(BOOKS / "interactions.csv.gz")
    assert make.make_log(ITEMS).equals(log)
    own = log.with_columns(pl.col("item").replace_strict(KIND).alias("kind"))
    top = own.group_by("user").agg(
        pl.col("kind").value_counts(sort=True).struct.field("count").head(3).sum() / pl.len()
    )
    assert top["count"].mean() > 0.85  # readers keep to three kinds at most
    for item in ITEMS.sample(8, seed=0).iter_rows(named=True):
        drawn, file = make.cover(item["kind"], item["topic"], item["title"], Random(item["item"])), io.BytesIO()
        drawn.save(file, "JPEG", quality=make.QUALITY)
        new, shipped = (np.asarray(Image.open(source), dtype=float) for source in (file, BOOKS / item["cover"]))
        assert np.abs(new - shipped).mean() < 1, item["title"]  # decoders differ in the last bit


def test_the_wish_for_technical_books(books: Recommender, talk: Path) -> None:
    cover = BOOKS / "query/cover.jpg"
    for query in (
        {"text": WISH},
        {"text": WISH, "image": cover},
        {"text": WISH, "image": cover, "audio": talk},
    ):
        found = books.recommend_query(**query)
        technical = sum(KIND[book.id] == "technology" for book in found)
        assert technical >= 8 and KIND[found[0].id] == "technology", query
        assert {book.title for book in found} >= NAMED, query


def test_neighbours_place_a_query_and_content_a_new_item(books: Recommender) -> None:
    query = ContentQuery(books.run)
    grown = query.grown("历史", None, None)
    with torch.no_grad():
        asked = query.model.with_waves(grown, query.model.asked(grown)).item  # a query goes without them
        placed = query.model(grown).item
    torch.testing.assert_close(asked[:-1], placed[:-1])  # all others have readers
    assert not torch.allclose(asked[-1], placed[-1], atol=1e-2)


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("cooking", "我想学做饭"),  # I want to learn to cook
        ("history", "a history of ancient Rome"),
        ("history", "我喜欢阅读历史类的书籍。"),  # I like to read books of history
        ("medicine", "I like to read books about medicine."),
        ("children", "给孩子看的童话故事"),  # fairy tales for children
        ("sports", "a book on football and tennis players"),
        ("economics", "怎样投资理财和管理公司"),  # how to invest and to run a company
        ("philosophy", "philosophers on the good life"),
        ("travel", "旅行游记"),  # travel notes
        ("art", "painting and drawing"),
    ],
)
def test_other_wishes(books: Recommender, kind: str, query: str) -> None:
    found = books.recommend_query(text=query)
    assert sum(KIND[book.id] == kind for book in found) >= 8
