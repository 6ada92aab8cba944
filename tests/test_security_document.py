"""SECURITY.md names a test for each claim; all of these exist, and so do those that other documents name."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))
ROWS = [line for line in TEXT.splitlines() if line.startswith("|") and not re.match(r"\|(---|\s*what they do)", line)]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_each_named_test_is_there(file, name):
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_claim_of_a_table_names_one():
    assert len(ROWS) > 15
    assert [row for row in ROWS if not re.search(r"`tests/[\w/]+\.py::test_\w+`", row)] == []
    assert TEXT.count("tests/") == len(re.findall(r"`tests/[\w/]+\.py(?:::test_\w+)?`", TEXT))  # none is misspelt


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"], ids=lambda path: path.name
)
def test_tests_and_scripts_that_a_document_names_are_there(path):
    found = set(re.findall(r"\b((?:tests|scripts)/[\w/]+(?:\.\w+)?)", path.read_text(encoding="utf-8")))
    assert [name for name in sorted(found) if not (ROOT / name).exists()] == []
