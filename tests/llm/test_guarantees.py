"""Every guarantee of the language model stage is held by a test that carries its number.

G1 a list is a permutation of its window, the tail untouched; G2 items of one title stay two; G3 any fault leaves
exactly the graph's list, in time and flagged; G4 no weight, no change; G5 blocks are scored as if each stood alone;
G6 a text wins the cap at most; G7 letters are single tokens; G8 the gate shuts for who looks at places; G9 no prompt
holds what is looked for; G10 nor does a retry depend on it; G11 keys of the cache; G12 explanations say what the
evidence holds; G13 evidence is causal; G14 nothing private leaves; G15 soft tokens matter, or training says "no
effect"; G16 the same list from figures that shake; G17 the budget is kept; G18 what a server cannot do is found out.
"""

import ast
from pathlib import Path

GUARANTEES = {f"G{number}" for number in range(1, 19)}
SOURCES = sorted(Path(__file__).parent.glob("test_*.py"))


def carried(source: str) -> dict[str, list[str]]:
    """Guarantee -> names of the tests that are marked with it."""
    found: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.guarantee":
                for name in mark.args:
                    assert isinstance(name, ast.Constant) and name.value in GUARANTEES, (
                        f"{node.name}: unknown guarantee"
                    )
                    found.setdefault(name.value, []).append(node.name)
    return found


def test_every_guarantee_has_a_test_that_carries_its_number() -> None:
    found = {name for path in SOURCES for name in carried(path.read_text(encoding="utf-8"))}
    assert sorted(GUARANTEES - found) == []


def test_the_scan_finds_marks_of_tests_alone() -> None:
    source = (
        '@pytest.mark.guarantee("G1", "G2")\ndef test_a(): ...\n\n@pytest.mark.guarantee("G3")\ndef helper(): ...\n'
    )
    assert carried(source) == {"G1": ["test_a"], "G2": ["test_a"]}
