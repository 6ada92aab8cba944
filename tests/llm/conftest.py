"""A tiny language model with random weights and a vocabulary of bytes: real code paths, no download."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_model import KINDS, save_tiny

from gnnrec.language.local import LocalLM
from gnnrec.language.server import open_model
from gnnrec.run_folder import Run


@pytest.fixture(scope="session", params=KINDS)
def every_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every kind: where its numbers are looked at."""
    return save_tiny(request.param, tmp_path_factory.mktemp("llm") / request.param)


@pytest.fixture(scope="session")
def every_lm(every_folder: Path) -> LocalLM:
    return LocalLM(every_folder, f"{every_folder.name}@1", torch.device("cpu"))


@pytest.fixture(scope="session", params=["llama", "gemma3_text"])
def tiny_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two kinds that differ much: where the numbers are only used."""
    return save_tiny(request.param, tmp_path_factory.mktemp("llm") / request.param)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one kind, where the kind does not matter."""
    return save_tiny("llama", tmp_path_factory.mktemp("llm") / "llama")


@pytest.fixture(scope="session")
def smollm2() -> LocalLM:
    """The shipped model, which scripts/test brings (gnnrec models get smollm2)."""
    return open_model("smollm2")


@pytest.fixture(scope="session")
def tiny_lm(tiny_folder: Path) -> LocalLM:
    return LocalLM(tiny_folder, f"{tiny_folder.name}@1", torch.device("cpu"))


@pytest.fixture
def llama(llama_folder: Path) -> Callable[[], LocalLM]:
    """A new one at each call: tuning changes a model."""
    return lambda: LocalLM(llama_folder, "tiny@1", torch.device("cpu"), trainable=True)


@pytest.fixture
def own_run(planted_run: Run, tmp_path: Path) -> Run:
    """A copy to write into."""
    return Run.load(shutil.copytree(planted_run.folder, tmp_path / "run"))
