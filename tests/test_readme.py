"""README and docs say what is there: tables come from the results, the tree names every file, links lead somewhere,
every command and flag is told of, and Python names exist."""

import argparse
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import gnnrec
from gnnrec import cli

ROOT = Path(__file__).parents[1]
PAGES = {page: page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
README = PAGES[ROOT / "README.md"]


@pytest.fixture
def render(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts/bench")  # where render.py finds goals.py
    spec = importlib.util.spec_from_file_location("render", ROOT / "scripts/bench/render.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_results(render: ModuleType) -> None:
    assert set(render.PAGES) == set(PAGES)
    assert render.render(PAGES) == PAGES, "run scripts/bench/render.py"
    marks = [mark for text in PAGES.values() for mark in re.findall(r"^<!-- (\w+) -->$", text, flags=re.M)]
    assert sorted(marks) == sorted(render.TABLES)


def test_promises_name_tests_that_are_there(render: ModuleType) -> None:
    named = re.findall(r"tests/[\w/]+\.py", PAGES[ROOT / "docs/trust.md"])
    assert (
        len(named) > len(render.trust_tables.TESTED) and [name for name in named if not (ROOT / name).is_file()] == []
    )


def test_a_table_is_filled_in_the_page_that_has_its_markers(render: ModuleType, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(render, "TABLES", {"one": lambda: "1", "two": lambda: "2"})
    first, second = tmp_path / "README.md", tmp_path / "more.md"
    pages = {first: "a\n<!-- two -->\nold\n<!-- /two -->\nb", second: "c\n<!-- one -->\nold\n<!-- /one -->\n"}
    made = {first: "a\n<!-- two -->\n2\n<!-- /two -->\nb", second: "c\n<!-- one -->\n1\n<!-- /one -->\n"}
    assert render.render(pages) == made
    for wrong in (pages | {first: "a"}, pages | {first: pages[first] * 2}, pages | {second: "<!-- one -->\n"}):
        with pytest.raises(SystemExit, match="allowed: one pair in one page"):
            render.render(wrong)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_named_documents_are_there(page: Path) -> None:
    text = PAGES[page]
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve()
        assert found.is_file(), target
        assert not anchor or f"## {anchor}" in found.read_text(encoding="utf-8").lower(), target
    for path in re.findall(r"\bdocs/\w+\.md", text):
        assert (ROOT / path).is_file(), path


def test_readme_names_every_document_and_can_be_read_at_a_sitting() -> None:
    assert [page for page in PAGES if page.parent.name == "docs" and f"(docs/{page.name})" not in README] == []
    assert README.count("\n") <= 450


def test_every_command_and_flag_is_told_of() -> None:
    text = "\n".join(PAGES.values())
    verbs = next(action for action in cli.build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    for verb, parser in verbs.choices.items():
        assert re.search(rf"gnnrec .*\b{verb}\b", README) or f"scripts/{verb}" in README, verb
        flags = [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]
        for flag in set(flags) - {"--help"}:
            assert re.search(rf"{flag}(?![\w-])", text), f"{verb} {flag}"


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
