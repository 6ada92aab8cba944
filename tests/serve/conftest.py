"""Services over small runs, asked as a client asks them."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from starlette.testclient import TestClient

from gnnrec.datasets import Dataset
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.serve.app import build_app
from gnnrec.serve.guard import LOCAL
from gnnrec.serve.security import Keys
from gnnrec.serve.service import Service
from gnnrec.serve.settings import ServeConfig

sys.path.insert(0, str(Path(__file__).parents[1] / "llm"))  # its server
Serve = Callable[..., TestClient]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A run folder (and settings) -> a client of its service, which stops when the test ends."""
    with ExitStack() as stack:

        def start(run: Path, keys: Path | None = None, compared: Path | None = None, **settings: Any) -> TestClient:
            config = ServeConfig(**settings)
            service = Service(run, run.parent, tmp_path / "feedback.jsonl", config, compared)
            app = build_app(service, None if keys is None else Keys(keys), config, LOCAL)
            return stack.enter_context(TestClient(app, "http://127.0.0.1", raise_server_exceptions=False))

        yield start


@dataclass
class Server:
    process: subprocess.Popen[str]
    url: str
    feedback: Path

    def wait_until_warm(self) -> None:
        while True:
            with urlopen(f"{self.url}/ready", timeout=10) as answer:
                if json.load(answer)["warm"]:
                    return
            time.sleep(0.05)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A run folder and options -> `gnnrec serve` as a process of its own, which ends with the test."""
    with ExitStack() as stack:

        def start(run: Path, *options: str) -> Server:
            feedback = tmp_path / "told.jsonl"
            command = ["gnnrec.cli", "serve", str(run), "--port", "0", "--feedback", str(feedback), *options]
            process = stack.enter_context(
                subprocess.Popen([sys.executable, "-W", "ignore", "-m", *command], stdout=subprocess.PIPE, text=True)
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            found = re.search(r"https?://\S+?:\d+", process.stdout.readline())
            assert found is not None
            return Server(process, found.group(), feedback)

        yield start


@pytest.fixture(scope="session")
def content_run(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose texts and pictures went through the product's own encoders, so that a query can be placed."""
    described = (tiny_data / "dataset.toml").read_text().partition("[features.text]")[0]
    folder = tmp_path_factory.mktemp("content") / "data"
    shutil.copytree(tiny_data, folder)
    (folder / "dataset.toml").write_text(described)
    recipe = load_recipe(overrides=["train.epochs=1", "model.dim=8", "train.batch_size=128"])
    return train(Dataset.load(folder), folder.parent / "run", recipe).folder
