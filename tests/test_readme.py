"""README says what is there: its tables come from the results, its tree names every file, its Python names exist."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import gnnrec

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts/bench")  # where render.py finds goals.py
    spec = importlib.util.spec_from_file_location("render", ROOT / "scripts/bench/render.py")
    assert spec is not None and spec.loader is not None
    render = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(render)
    assert render.render(README) == README, "run scripts/bench/render.py"


def test_the_tree_names_every_module() -> None:
    tree = README.partition("## Where things are")[2].partition("Data flows one way")[0]
    for path in sorted((ROOT / "gnnrec").rglob("*.py")):
        folder = path.parent.name
        # Kinds of sources, models and report parts are named by their folder.
        assert path.name in tree or path.stem == "__init__" or folder in ("sources", "models", "report", "fitted"), path


@pytest.mark.parametrize("name", gnnrec.__all__)
def test_public_names_exist(name: str) -> None:
    assert getattr(gnnrec, name).__name__ == name


def test_public_verbs_are_functions_whatever_was_imported_before() -> None:
    code = "import gnnrec.training; from gnnrec import train, evaluate; [train.__code__, evaluate.__code__]"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=ROOT)
