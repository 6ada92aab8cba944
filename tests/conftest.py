"""Datasets and runs that several tests share; made once, so no test may change them."""

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from PIL import Image

from gnnrec.cipher import new_key_file
from gnnrec.cli import main
from gnnrec.datasets import Dataset, planted
from gnnrec.datasets.dataset import SPLIT_NAMES
from gnnrec.encoders.pretrained import cache_root
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def write_dataset(folder: Path, dataset: Dataset) -> Path:
    """A dataset folder with the log, the published split, titles and the features of a made dataset."""
    folder.mkdir()
    log = dataset.interactions
    assert dataset.published_split is not None
    pl.DataFrame(
        {
            "user": [dataset.user_ids[user] for user in log.user],
            "item": [dataset.item_ids[item] for item in log.item],
            "split": [SPLIT_NAMES[part] for part in dataset.published_split],
        }
    ).write_csv(folder / "interactions.csv")
    titles = [f"Title of {name}" for name in dataset.item_ids]
    pl.DataFrame({"item": dataset.item_ids, "title": titles}).write_csv(folder / "items.csv")
    described = [
        'name = "made"\n[interactions]\npath = "interactions.csv"\nuser = "user"\nitem = "item"\nsplit = "split"',
        '[items]\npath = "items.csv"\nid = "item"\ntext = ["title"]',
    ]
    for name, values in dataset.item_features.items():
        np.save(folder / f"{name}.npy", values)
        described.append(f'[features.{name}]\npath = "{name}.npy"')
    (folder / "dataset.toml").write_text("\n".join(described))
    return folder


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this call, with the models of the user's own: what earlier calls left there decides nothing."""
    folder, models = tmp_path_factory.mktemp("cache"), cache_root() / "models"
    models.mkdir(parents=True, exist_ok=True)
    (folder / "models").symlink_to(models)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GNNREC_CACHE", str(folder))
        yield folder


@pytest.fixture
def encryption_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a new key, which the environment names."""
    path = tmp_path / "key"
    new_key_file(path)
    monkeypatch.delenv("GNNREC_KEY", raising=False)
    monkeypatch.setenv("GNNREC_KEY_FILE", str(path))
    return path


@pytest.fixture(scope="session")
def planted_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 users and 60 items on disk; text decides. All three modalities have features made elsewhere."""
    return write_dataset(tmp_path_factory.mktemp("data") / "planted", planted("text", num_users=80, num_items=60))


@pytest.fixture(scope="session")
def planted_run(planted_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of the product's own model on it."""
    recipe = load_recipe(overrides=["train.epochs=12", "train.batch_size=128", "model.dim=16"])
    return train(Dataset.load(planted_folder), tmp_path_factory.mktemp("runs") / "planted", recipe)


TINY_USERS, TINY_ITEMS, TINY_EACH = 40, 32, 9
TINY = """
name = "tiny"
licence = "none"
[interactions]
path = "log.csv"
timestamp = "timestamp"
rating = "rating"
[items]
path = "items.csv"
text = ["title", "genres"]
image = "poster"
[features.text]
path = "text.npy"
[features.image]
path = "image.npy"
"""


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users u0… like items i0… of one of two genres, in the order of time; two rows are bad, i5 has no poster.

    The features are made elsewhere, so that no encoder has to run.
    """
    folder, random = tmp_path_factory.mktemp("data") / "tiny", np.random.default_rng(0)
    (folder / "posters").mkdir(parents=True)
    genre = np.arange(TINY_ITEMS) % 2
    rows: list[tuple[str, str, int, int]] = []
    for user in range(TINY_USERS):
        liked = random.permutation(np.flatnonzero(genre == user % 2))[:TINY_EACH]
        rows += [(f"u{user}", f"i{item}", 1 + item % 5, 1000 * user + step) for step, item in enumerate(liked)]
    rows += [("u0", "i1", 3, -5), ("u1", "nowhere", 3, 9)]
    lines = [",".join(map(str, row)) for row in rows]
    (folder / "log.csv").write_text("\n".join(["user,item,rating,timestamp", *lines]) + "\n")
    genres = [("Action|War", "Comedy|Drama")[kind] for kind in genre]
    posters = ["" if item == 5 else f"posters/{item}.png" for item in range(TINY_ITEMS)]
    lines = [f"i{item},Title {item},{genres[item]},{posters[item]}" for item in range(TINY_ITEMS)]
    (folder / "items.csv").write_text("\n".join(["item,title,genres,poster", *lines]) + "\n")
    for item in range(TINY_ITEMS):
        colour = random.integers(0, 255, (30, 20, 3), dtype=np.uint8)
        Image.fromarray(colour).save(folder / "posters" / f"{item}.png")
    for name, dim in (("text", 6), ("image", 4)):
        values = random.normal(size=(2, dim))[genre] + 0.3 * random.normal(size=(TINY_ITEMS, dim))
        if name == "image":
            values[5] = np.nan
        np.save(folder / f"{name}.npy", values.astype(np.float32))
    (folder / "dataset.toml").write_text(TINY)
    return folder


@pytest.fixture(scope="session")
def tiny_runs(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of finished runs on it, by recipe."""
    folder, dataset = tmp_path_factory.mktemp("runs"), Dataset.load(tiny_data)
    few_steps = ("train.epochs=3", "model.dim=8", "train.batch_size=128")
    for name in ("default", "popularity", "item_knn"):
        train(dataset, folder / name, load_recipe(name, few_steps if name == "default" else ()))
    return {name: folder / name for name in ("default", "popularity", "item_knn")}


@pytest.fixture
def tiny_run(tiny_runs: dict[str, Path]) -> Run:
    return Run.load(tiny_runs["default"])


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """A server with pgvector in a temporary folder, reached by a socket alone."""
    pgserver = pytest.importorskip("pgserver")  # has no wheel for Python 3.13
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patched:
        warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR
        patched.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}/usr/sbin")  # of useradd, which root's server asks for
        server = pgserver.get_server(Path(tempfile.mkdtemp(prefix="pg-")), cleanup_mode="delete")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture(scope="module")  # while Playwright is there, its event loop runs in this thread: no other test's can
def browser() -> Iterator["Browser"]:
    """Chromium as the system has it (scripts/browser), else the one that Playwright installed for itself."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            assert not os.environ.get("CI"), "no Chromium: scripts/browser installs it"
            pytest.skip("no Chromium is here; scripts/browser or `playwright install chromium` brings it")
        flags = ["--no-sandbox", "--enable-unsafe-swiftshader"]  # as root; WebGL without a graphics card
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def run_command(capsys):
    """Arguments -> (exit status, stdout, stderr)."""

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as stopped:
            status = stopped.code
        return status, *capsys.readouterr()

    return run


@pytest.fixture
def one_document(run_command):
    """The JSON document on stdout; anything else there, or any word on stderr, fails."""

    def run(*arguments):
        status, out, err = run_command(*arguments, "--json")
        assert (status, err) == (0, "")
        return json.loads(out)

    return run
