"""The page in a real Chromium, on a small run with real posters, sounds and titles that would like to be markup."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect
from starlette.types import ASGIApp

from gnnrec.datasets import Dataset
from gnnrec.llm.settings import LLMConfig, open_reranker
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run
from gnnrec.serve.app import build_app
from gnnrec.serve.guard import LOCAL
from gnnrec.serve.security import Keys, add_key
from gnnrec.serve.service import Service
from gnnrec.serve.settings import ServeConfig

DATA = Path(__file__).parents[3] / "data"
POSTERS, MUSIC = DATA / "movies/posters", DATA / "music"
WAIT = 60_000  # milliseconds, of a busy machine
expect.set_options(timeout=WAIT)
SHOTS = Path(__file__).parents[3] / "screenshots"
USERS, ITEMS, EACH, RATE = 24, 30, 8, 8000
MARKUP = "<img src=x onerror=\"document.title='broken'\"> " + "Pneumonoultramicroscopicsilicovolcanoconiosis" * 4
DESCRIBED = """
name = "shop"
licence = "none"
[interactions]
path = "log.csv"
user = "user"
item = "item"
rating = "rating"
timestamp = "time"
[items]
path = "items.csv"
id = "item"
text = ["title", "genres", "tags"]
image = "poster"
audio = "clip"
"""


def write_tone(path: Path, pitch: float) -> None:
    import soundfile

    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE), RATE)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Items of two kinds; i3 has neither picture nor sound, i4's title is markup and very long."""
    folder, random = tmp_path_factory.mktemp("page") / "shop", np.random.default_rng(0)
    (folder / "media").mkdir(parents=True)
    rows, items = ["user,item,rating,time"], ["item,title,genres,tags,poster,clip"]
    for user in range(USERS):
        liked = random.permutation(np.arange(user % 2, ITEMS, 2))[:EACH]
        rows += [f"u{user},i{item},{1 + item % 5},{100 * user + step}" for step, item in enumerate(liked)]
    for item, poster in enumerate(sorted(POSTERS.iterdir(), key=lambda path: int(path.stem))[:ITEMS]):
        shutil.copy(poster, folder / "media" / f"{item}.jpg")
        write_tone(folder / "media" / f"{item}.wav", 200 + 90 * item)
        title = '"' + MARKUP.replace('"', '""') + '"' if item == 4 else f"Title {item}"
        media = "," if item == 3 else f"media/{item}.jpg,media/{item}.wav"
        items.append(f"i{item},{title},{('Horror|War', 'Comedy')[item % 2]},dark | ghosts,{media}")
    (folder / "log.csv").write_text("\n".join(rows))
    (folder / "items.csv").write_text("\n".join(items))
    (folder / "dataset.toml").write_text(DESCRIBED)
    return folder


@pytest.fixture(scope="session")
def runs(shop: Path) -> tuple[Path, Path]:
    """A run of the product's own model, and one of another that has no embeddings."""
    few = ["train.epochs=3", "model.dim=16", "train.batch_size=64"]
    own = ["encoders.image=opencv", "encoders.audio=log_mel"]
    dataset = Dataset.load(shop)
    first = train(dataset, shop.parent / "first", load_recipe(overrides=few + own))
    second = train(dataset, shop.parent / "second", load_recipe("popularity", own))
    return first.folder, second.folder


@contextmanager
def served(app: ASGIApp) -> Iterator[str]:
    """Its address, while it is answered from a thread."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def site(runs: tuple[Path, Path]) -> Iterator[str]:
    """The address of the service, started with both runs."""
    config = ServeConfig(timeout=60)
    service = Service(runs[0], runs[0].parent, runs[0].parent / "told.jsonl", config, runs[1])
    with served(build_app(service, None, config, LOCAL)) as url:
        yield url


@pytest.fixture
def bare_site(shop: Path, runs: tuple[Path, Path], tmp_path: Path) -> Iterator[str]:
    """The address of a service whose run knows ids alone, started with a second one that has titles."""
    (tmp_path / "bare").mkdir()
    shutil.copy(shop / "log.csv", tmp_path / "bare")
    (tmp_path / "bare" / "dataset.toml").write_text(DESCRIBED.partition("[items]")[0])
    run = train(Dataset.load(tmp_path / "bare"), tmp_path / "run", load_recipe("item_knn")).folder
    service = Service(run, tmp_path, tmp_path / "told.jsonl", ServeConfig(timeout=60), runs[0])
    with served(build_app(service, None, None, LOCAL)) as url:
        yield url


@pytest.fixture
def few_words_site(shop: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a service whose run reads texts and pictures, and no sounds."""
    how = ["train.epochs=1", "model.dim=8", "encoders.image=opencv", "encoders.audio=none", "encoders.speech=none"]
    run = train(Dataset.load(shop), tmp_path / "run", load_recipe(overrides=how)).folder
    with served(build_app(Service(run, tmp_path, tmp_path / "told.jsonl", ServeConfig()), None, None, LOCAL)) as url:
        yield url


@pytest.fixture
def curve_site(
    runs: tuple[Path, Path], tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[str, list[float]]]:
    """The address of a service whose run has these losses, one an epoch, in its log; and the losses."""
    run = shutil.copytree(runs[0], tmp_path / "run")
    rows = [{"epoch": epoch, "loss": loss, "seconds": 1.0} for epoch, loss in enumerate(request.param, start=1)]
    (run / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with served(build_app(Service(run, tmp_path, tmp_path / "told.jsonl", ServeConfig()), None, None, LOCAL)) as url:
        yield url, request.param


@pytest.fixture
def music_site(tmp_path: Path) -> Iterator[str]:
    """The address of a service of the most liked pieces of the music that is shipped, with their clips as they are."""
    data, log = tmp_path / "music", pl.read_csv(MUSIC / "interactions.csv.gz")
    liked = log.filter(pl.col("rating") > 0.6)["item"].value_counts().sort("count", "item", descending=True)
    few = liked["item"].head(12).to_list()
    items = pl.read_csv(MUSIC / "items.csv.gz").filter(pl.col("item").is_in(few))
    (data / "clips").mkdir(parents=True)
    for clip in items["clip"]:
        shutil.copy(MUSIC / clip, data / clip)
    for name, table in (("items", items), ("interactions", log.filter(pl.col("item").is_in(few)))):
        table.write_csv(data / f"{name}.csv.gz", compression="gzip")
    shutil.copy(MUSIC / "dataset.toml", data)
    recipe = load_recipe("popularity", ["encoders.audio=none", "encoders.text=none", "encoders.speech=none"])
    run = train(Dataset.load(data), tmp_path / "run", recipe).folder
    with served(build_app(Service(run, tmp_path, tmp_path / "told.jsonl", ServeConfig()), None, None, LOCAL)) as url:
        yield url


@pytest.fixture
def worded_site(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The address of a service that reorders lists, by the scorer that needs no language model; the weight is given."""
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    llm = LLMConfig(scorer="cosine")
    open_reranker(Run.load(runs[0]), llm)
    (kept,) = (tmp_path / "cache" / "llm").glob("*.json")
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"value": request.param}))
    config = ServeConfig(timeout=60, llm=llm)
    service = Service(runs[0], runs[0].parent, tmp_path / "told.jsonl", config)
    with served(build_app(service, None, config, LOCAL)) as url:
        yield url


@pytest.fixture
def locked_site(runs: tuple[Path, Path], tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a service that wants a key, and the key."""
    key = add_key(tmp_path / "keys.json", "me")
    service = Service(runs[0], runs[0].parent, tmp_path / "told.jsonl", ServeConfig())
    with served(build_app(service, Keys(tmp_path / "keys.json"), ServeConfig(), LOCAL)) as url:
        yield url, key


@dataclass
class Visit:
    """A visitor's tab; what it asked for and what went wrong in it."""

    page: Page
    url: str
    asked: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def go(self, view: str, ready: str) -> Page:
        self.page.goto(f"{self.url}/#/{view}")
        self.page.wait_for_selector(ready)
        return self.page

    def json(self, path: str) -> Any:
        """What the service answers, asked from within the page."""
        return self.page.evaluate("path => fetch(path).then((answer) => answer.json())", path)

    def ids(self, within: str = ".lists") -> list[str]:
        cards = self.page.locator(f"{within} .card:not(.empty)")
        return cards.evaluate_all("cards => cards.map((card) => card.dataset.id)")

    def expect_ids(self, expected: list[str], within: str = ".lists") -> None:
        """Wait until the cards are these, in this order; or fail."""
        cards = self.page.locator(f"{within} .card:not(.empty)")
        expect(cards).to_have_count(len(expected))
        for card, id in zip(cards.all(), expected):
            expect(card).to_have_attribute("data-id", id)

    def shot(self, name: str) -> None:
        """A picture for people, kept by CI."""
        SHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png", full_page=True)


@pytest.fixture
def visit(site: str, browser: Browser) -> Iterator[Any]:
    """Settings of a browser context -> a Visit. At the end: nothing was asked of other hosts, and no script failed."""
    with ExitStack() as stack:
        visits = []

        def start(url: str = site, **settings: Any) -> Visit:
            settings = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | settings
            context = stack.enter_context(browser.new_context(**settings))
            context.set_default_timeout(WAIT)
            visit = Visit(context.new_page(), url)
            visit.page.on("request", lambda request: visit.asked.append(request.url))
            visit.page.on("pageerror", lambda error: visit.wrong.append(str(error)))
            visit.page.on(
                "console", lambda line: visit.wrong.append(line.text) if "Security Policy" in line.text else 0
            )
            visits.append(visit)
            return visit

        yield start
        for visit in visits:
            foreign = [asked for asked in visit.asked if not asked.startswith((f"{visit.url}/", f"blob:{visit.url}/"))]
            assert foreign == [] and visit.wrong == [] and visit.asked
