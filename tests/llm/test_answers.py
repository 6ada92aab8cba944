"""Answers on disk: known by all they depend on, never a failure, safe with several writers."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from stub_server import Stub, candidates

from gnnrec.datasets import Catalog
from gnnrec.errors import UserError
from gnnrec.language.answers import AnswerCache, answer_key
from gnnrec.language.endpoint import NoAnswer
from gnnrec.language.local import LocalLM
from gnnrec.llm import block_scorer, list_scorers
from gnnrec.llm.block_scorer import BlockScorer
from gnnrec.llm.cards import CardConfig, Cards
from gnnrec.llm.list_scorers import LetterScorer, ListScorer, PermutationScorer
from gnnrec.llm.past import Past
from gnnrec.llm.settings import LLMConfig, open_server

TITLES = ["Zulu", "Yak", "Xenon", "Whale", "Vulture", "Unicorn"]
PART = {
    "model": "m@1",
    "template": "letters 1",
    "system": "Be fair.",
    "prompt": "Which?",
    "schema": {"type": "object"},
    "max_tokens": 9,
    "temperature": 0,
}


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("model", "n@1"),
        ("model", "m@2"),  # another revision
        ("template", "permutation 1"),
        ("template", "letters 2"),  # another version
        ("system", "Be kind."),
        ("prompt", "Which one?"),  # other content
        ("schema", {"type": "array"}),
        ("max_tokens", 10),
        ("temperature", 1),
    ],
)
def test_a_key_changes_with_everything_that_an_answer_depends_on(part: str, other: Any) -> None:
    assert answer_key(**PART) == answer_key(**dict(reversed(PART.items())))
    assert answer_key(**PART) != answer_key(**PART | {part: other})


def test_a_key_does_not_run_its_parts_together() -> None:
    assert answer_key("a", "bc", "d", "e") != answer_key("ab", "c", "d", "e")


def best_first(prompt: str) -> str:
    titles = candidates(prompt)
    return str(sorted(range(1, len(titles) + 1), key=lambda place: titles[place - 1]))


def letters(prompt: str) -> dict[str, float]:
    return {chr(65 + place): -float(len(title)) for place, title in enumerate(candidates(prompt))}


def scorer_of(kind: type[ListScorer], cache: Path, **changed: Any) -> tuple[ListScorer, Stub]:
    stub = Stub(best_first, letters, name=changed.get("server", "m@1"))
    config = CardConfig(history=changed.get("history", 10), title_tokens=changed.get("title_tokens", 24))
    titles = [*TITLES[:5], changed.get("content", "Unicorn")]
    cards = Cards(Catalog(pl.DataFrame({"title": titles}), ("title",)), lambda text: [0] * len(text.split()), config)
    return kind(stub, cards, changed.get("noun", "animals"), cache, changed.get("seed", 0)), stub


CHANGES: list[dict[str, Any]] = [
    *({"server": "n@1"}, {"server": "m@2"}, {"history": 3}, {"title_tokens": 5}, {"noun": "films"}, {"seed": 1}),
    {"content": "Unicorns"},
]


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize("kind", [PermutationScorer, LetterScorer])
@pytest.mark.parametrize("changed", CHANGES, ids=str)
def test_a_question_is_asked_anew_where_anything_is_different(
    tmp_path: Path, kind: type[ListScorer], changed: dict[str, Any]
) -> None:
    for settings, asked in (({}, True), ({}, False), (changed, True), (changed, False), ({}, False)):
        scorer, stub = scorer_of(kind, tmp_path / "answers.sqlite", **settings)
        (found,) = scorer.score([Past((0, 1))], [[2, 3, 4, 5]])
        assert np.isfinite(found).all()
        assert bool(stub.prompts) == asked, settings


@pytest.mark.guarantee("G11")
def test_another_revision_of_a_servers_model_has_another_name() -> None:
    how = {"provider": "openai", "model": "m", "base_url": "http://127.0.0.1:9/v1"}
    names = [open_server(LLMConfig(**how, revision=revision)).name for revision in ("", "1", "2")]
    assert names == ["m@http://127.0.0.1:9/v1", "m@http://127.0.0.1:9/v1 1", "m@http://127.0.0.1:9/v1 2"]


@pytest.mark.guarantee("G11")
def test_another_version_of_the_wording_is_asked_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_lm: LocalLM
) -> None:
    scorer, _ = scorer_of(PermutationScorer, tmp_path / "answers.sqlite")
    names = {scorer.name, BlockScorer(tiny_lm, scorer.cards, "animals").name}
    for module in (list_scorers, block_scorer):
        monkeypatch.setattr(module, "CARD_VERSION", 99)
    assert not names & {scorer.name, BlockScorer(tiny_lm, scorer.cards, "animals").name}
    assert names.isdisjoint({BlockScorer(LocalLM(tiny_lm.path, "x@2", tiny_lm.device), scorer.cards, "animals").name})


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize("answer", ["", "no numbers", "<think>1 2 3 4", '{"order": [9]}', None])
def test_failures_are_never_kept(tmp_path: Path, answer: str | None) -> None:
    def fails(_: str) -> str:
        if answer is None:
            raise NoAnswer("refused")
        return answer

    for _ in range(2):
        scorer, stub = scorer_of(PermutationScorer, tmp_path / "answers.sqlite")
        stub.answer = fails
        (found,) = scorer.score([Past((0, 1))], [[2, 3, 4, 5]])
        assert np.isnan(found).all()
        assert stub.prompts  # asked again the second time
    with AnswerCache(tmp_path / "answers.sqlite") as cache:
        assert cache.connection.execute("SELECT count(*) FROM answers").fetchone() == (0,)


@pytest.mark.guarantee("G11")
def test_several_processes_may_write_at_once(tmp_path: Path) -> None:
    code = """if True:
        import sys
        from pathlib import Path
        from gnnrec.language.answers import AnswerCache
        for number in range(60):
            with AnswerCache(Path(sys.argv[1])) as cache:
                cache.put(f"{sys.argv[2]} {number}", "x" * 2000)
                cache.put("shared", f"{sys.argv[2]} {number}")
                assert cache.get("shared").split()[0] in "abc"
    """
    path = tmp_path / "answers.sqlite"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "abc"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    with AnswerCache(path) as cache:
        assert all(cache.get(f"{name} {number}") == "x" * 2000 for name in "abc" for number in range(60))


def test_a_broken_file_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").write_text("no database at all, but long enough to be read as one" * 20)
    with pytest.raises(UserError, match=r"answers.sqlite: the cache of answers cannot be used .* may be deleted"):
        AnswerCache(tmp_path / "answers.sqlite")
