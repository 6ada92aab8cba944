"""People, a run on them, and a run on the same people without one of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
from crowd import HER, trained, write_people

from gnnrec.datasets.pseudonyms import KEY, Pseudonyms
from gnnrec.run_folder import Run


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return write_people(tmp_path / "people")


@pytest.fixture
def run(people: Path, tmp_path: Path) -> Run:
    return trained(people, tmp_path / "run")


@pytest.fixture(scope="session")
def never(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run on data that never had her."""
    folder = tmp_path_factory.mktemp("never")
    return trained(write_people(folder / "people", without=HER), folder / "run")


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Pseudonyms]:
    monkeypatch.setenv(KEY, "correct horse battery staple")
    return Pseudonyms.required
