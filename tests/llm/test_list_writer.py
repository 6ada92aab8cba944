"""What is taken of a list that a language model writes, and how `recommend --generate` shows it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from fake_server import said, serving
from hypothesis import example, given
from hypothesis import strategies as st
from stub_server import Stub, past

from gnnrec.datasets import Catalog
from gnnrec.errors import UserError
from gnnrec.language.endpoint import NoAnswer
from gnnrec.language.local import LocalLM
from gnnrec.llm.cards import CardConfig, Cards
from gnnrec.llm.list_writer import ROUNDS, ListWriter, ServerWriter, TreeWriter, told_titles
from gnnrec.llm.past import NOBODY, Past, past_of
from gnnrec.llm.settings import LLMConfig, open_list_writer
from gnnrec.recommend import Recommender
from gnnrec.run_folder import Run

TITLES = ["Alien", "Heat", "Alien", "Big", "Amélie &amp; co", None, "Swan", "Tiger"]


def words(text: str) -> list[int]:
    return list(range(len(text.split())))


def writer_of(server: Any, **more: Any) -> ServerWriter:
    catalog = Catalog(pl.DataFrame({"title": TITLES}), ("title",))
    return ServerWriter(server, Cards(catalog, words, CardConfig()), "films", **more)


def answering(*rounds: Sequence[object]) -> Stub:
    """Answers with these titles, one list a round, then with the last one again."""
    left = list(rounds)
    return Stub(lambda _: json.dumps({"titles": left.pop(0) if len(left) > 1 else left[0]}))


def items(writer: ServerWriter, excluded: Sequence[int] = (), k: int = 4) -> list[int]:
    return [item for item, score in writer.propose(0, Past((6, 7)), excluded, k) if score is None]


def test_titles_count_where_they_are_the_catalogues_to_the_letter() -> None:
    writer = writer_of(answering(["ALIEN", "Heat 2", "  amélie & co ", "Alie", "Big", "“Heat”"]))
    assert items(writer) == [0, 4, 3, 2]
    # Asked again it says the same, and its Alien is the other one then.
    assert dict(writer.dropped) == {"unknown": 6, "repeated": 2}
    assert past(writer.server.prompts[0] + "Candidates:") == ("Tiger", "Swan")
    assert "Recommend 4 others" in writer.server.prompts[0]


def test_a_title_of_two_items_names_the_first_that_is_left() -> None:
    assert items(writer_of(answering(["Alien", "Alien", "Alien"])), k=3) == [0, 2]
    writer = writer_of(answering(["Alien", "Alien", "Heat"]))
    assert items(writer, excluded=[0, 1], k=1) == [2]
    assert dict(writer.dropped) == {"repeated": 1, "known": 1}


def test_what_is_missing_is_asked_for_again_a_few_times() -> None:
    stub = answering(["Alien"], ["Heat"], ["Big"], ["Swan"])
    assert items(writer_of(stub)) == [0, 1, 3]
    assert len(stub.prompts) == ROUNDS == 3
    assert "Already recommended:\n- Alien\n- Heat\n\nRecommend 2 others" in stub.prompts[2]


def test_nobody_is_asked_about_someone_unknown() -> None:
    stub = answering(["Alien"])
    assert writer_of(stub).propose(0, Past((5,)), [], 3) == []  # all that she had has no title
    assert stub.prompts == []


def test_answers_are_kept_and_those_that_name_nothing_are_not(tmp_path: Any) -> None:
    for answer, asked in (("no list", 2), ('{"titles": ["Heat", "Big"]}', 1)):
        stub = Stub(lambda _, answer=answer: answer)
        for _ in range(2):
            items(writer_of(stub, cache=tmp_path / "answers.sqlite"), k=2)
        assert len(stub.prompts) == asked


@pytest.mark.parametrize(
    ("text", "titles"),
    [
        ('{"titles": ["A", 1, null, "B"]}', ["A", "B"]),
        ('Sure: ```json\n["A", "B"]\n```', ["A", "B"]),
        ('<think>["C"]</think>{"titles": []}', []),
        ('{"films": ["A"]}', ["A"]),
        ('{"titles": "A"}', []),
        ("1. A\n2. B", []),
        ("", []),
        ("[" * 9000 + "]" * 9000, []),
    ],
)
def test_titles_are_read_from_a_list_of_json(text: str, titles: list[str]) -> None:
    assert told_titles(text) == titles


def base_of(run: Run, user: str = "u3", k: int = 10) -> list[str]:
    return [place.id for place in Recommender(run).recommend(user, k)]


@pytest.mark.guarantee("G1")
@given(st.text() | st.lists(st.sampled_from([f"Title {n}" for n in range(40)]) | st.text(max_size=9)).map(json.dumps))
@example('["Title 1", "Title 1", "TITLE 2", "title  3", "Title 999"]')
@example("A" * 2**20)
def test_whatever_is_answered_the_list_is_of_the_catalogue(tiny_runs: Any, answer: str) -> None:
    run = Run.load(tiny_runs["default"])
    assert run.items is not None
    writer = ServerWriter(Stub(lambda _: answer), Cards(run.items, words, CardConfig()), "films")
    found = ListWriter(run, writer).recommend(Recommender(run), "u3", 10)
    had = set(run.known.item[run.known.user == run.user_index("u3")].tolist())
    assert len(found) == len({place.id for place in found}) == 10
    assert not had & {run.item_index(place.id) for place in found}
    kinds = [place.source for place in found]
    assert kinds == sorted(kinds, reverse=True)  # the model's own first, then what is filled in
    filled = [place.id for place in found if place.source == "graph"]
    assert (
        filled
        == [item for item in base_of(run) if item not in {place.id for place in found} - set(filled)][: len(filled)]
    )


@pytest.mark.guarantee("G3")
def test_a_server_that_fails_leaves_the_graphs_list(tiny_run: Run) -> None:
    def fails(_: str) -> str:
        raise NoAnswer("no answer in time")

    assert tiny_run.items is not None
    writer = ServerWriter(Stub(fails), Cards(tiny_run.items, words, CardConfig()), "films")
    found = ListWriter(tiny_run, writer).recommend(Recommender(tiny_run), "u3", 10)
    assert [place.id for place in found] == base_of(tiny_run)
    assert {place.source for place in found} == {"graph"}
    assert [place.base_rank for place in found] == list(range(1, 11))
    assert writer.failures == ["no answer in time"]


@pytest.mark.parametrize("answer", ["Hello, I would", '{"titles": []}', '{"titles": [7]}', "[]"])
def test_an_answer_that_names_nothing_is_a_failure_with_its_reason(tiny_run: Run, answer: str) -> None:
    assert tiny_run.items is not None
    writer = ServerWriter(Stub(lambda _: answer), Cards(tiny_run.items, words, CardConfig()), "films")
    ListWriter(tiny_run, writer).recommend(Recommender(tiny_run), "u3", 4)
    assert writer.failures == ["the answer names no titles"]


def test_the_neutral_past_comes_from_all_over_the_catalogue(tiny_run: Run, tiny_lm: LocalLM) -> None:
    assert tiny_run.items is not None
    writer = TreeWriter(tiny_lm, Cards(tiny_run.items, tiny_lm.tokens, CardConfig(history=4)), "films")
    assert writer.anybody() == Past((0, 8, 16, 24))
    assert writer.propose(0, NOBODY, [], 3) == []


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))


def test_generate_with_local_weights(one_document, run_command, tiny_run, tiny_folder):
    asked = ("recommend", tiny_run.folder, "--user", "u3", "--generate", "--set", f"llm.model={tiny_folder}")
    found = one_document(*asked, "llm.beam=4", "-k", 5)
    writer = open_list_writer(tiny_run, LLMConfig(model=str(tiny_folder), beam=4)).writer
    user = tiny_run.user_index("u3")
    had = tiny_run.known.item[tiny_run.known.user == user].tolist()
    proposed = writer.propose(user, past_of(tiny_run.known, user), had, 5)
    own = [place for place in found["items"] if place["source"] == "model"]
    assert [place["id"] for place in own] == [tiny_run.item_ids[item] for item, _ in proposed]
    assert [place["score"] for place in own] == pytest.approx([score for _, score in proposed], abs=1e-4)
    assert len(own) >= 1
    assert len(found["items"]) == 5
    status, out, _ = run_command(*asked, "llm.beam=4")
    assert status == 0
    assert "by the graph" in out


@pytest.mark.guarantee("G17")
def test_generate_with_local_weights_ends_with_its_budget(one_document, tiny_run, tiny_folder):
    asked = ("recommend", tiny_run.folder, "--user", "u3", "--generate", "--set", f"llm.model={tiny_folder}")
    for budget, left in (("llm.calls=2", "calls"), ("llm.tokens=9", "tokens"), ("llm.seconds=1e-9", "seconds")):
        found = one_document(*asked, budget, "-k", 5)
        assert [place["id"] for place in found["items"]] == base_of(tiny_run)[:5]
        assert {place["source"] for place in found["items"]} == {"graph"}
        assert found["failures"] == [f"the budget of {left} is used up"]
    assert one_document(*asked, "llm.beam=4", "llm.calls=99", "-k", 5)["failures"] == []


def test_generate_with_a_server_says_what_was_dropped(run_command, one_document, tiny_run):
    base = base_of(tiny_run)
    had = tiny_run.item_ids[tiny_run.known.item[tiny_run.known.user == tiny_run.user_index("u3")][0]]
    new = next(item for item in tiny_run.item_ids if item not in base[:3] and item != had and item in base)
    told = json.dumps({"titles": [f"title {new[1:]}", "Nothing of ours", f"Title {had[1:]}"]})
    how = ("--generate", "--set", "llm.provider=openai", "llm.model=fake", "llm.noun=films")
    with serving(lambda _: said(told)) as fake:
        asked = ("recommend", tiny_run.folder, "--user", "u3", "-k", 4, *how, f"llm.base_url={fake.url}")
        found = one_document(*asked)
        assert [place["id"] for place in found["items"]] == [new, *base[:3]]
        assert [place["source"] for place in found["items"]] == ["model", "graph", "graph", "graph"]
        assert found["dropped"] == {"unknown": 2, "known": 2, "repeated": 1}
        status, out, err = run_command(*asked)
    assert status == 0
    assert "dropped: 2 known titles, 1 repeated title, 2 unknown titles" in err
    assert "graph" in out


def test_generated_lists_are_explained_too(one_document, tiny_run):
    with serving(lambda _: said('["Title 1"]')) as fake:
        how = ("--generate", "--explain", "--set", "llm.provider=openai", "llm.model=m", f"llm.base_url={fake.url}")
        found = one_document("recommend", tiny_run.folder, "--user", "u3", "-k", 2, *how)
    for place in found["items"]:
        alone = one_document("explain", tiny_run.folder, "--user", "u3", "--item", place["id"])
        assert alone["explanation"] == place["explanation"]


def test_items_without_text_cannot_be_written(tiny_run):
    with pytest.raises(UserError, match="its items have no text"):
        open_list_writer(replace(tiny_run, items=None), LLMConfig())
