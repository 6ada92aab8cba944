"""Scorers that ask a server over HTTP: right where it is, and harmless whatever it does."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fake_server import Fake, in_order, letters, said, serving, titles_of
from hypothesis import given
from hypothesis import strategies as st

from gnnrec.datasets import Catalog
from gnnrec.errors import UserError
from gnnrec.language.endpoint import Budget, Endpoint
from gnnrec.llm.cards import CardConfig, Cards
from gnnrec.llm.list_scorers import BROKEN, LetterScorer, ListScorer, PermutationScorer, kendall_tau, named, repaired
from gnnrec.llm.past import NOBODY, Past

TITLES = ["Zulu", "Yak", "Xenon", "Whale", "Vulture", "Unicorn", "Tiger", "Swan"]
WINDOW = [7, 2, 5, 0, 3, 1]
PAST = Past((4, 6))


def scorer_of(
    kind: type[ListScorer],
    fake: Fake,
    cache: Path | None = None,
    seconds: float = 20.0,
    calls: int = 100,
    model: str = "m",
) -> ListScorer:
    catalog = Catalog(pl.DataFrame({"title": TITLES}), ("title",))
    cards = Cards(catalog, lambda text: list(range(len(text.split()))), CardConfig())
    return kind(Endpoint(fake.url, model, Budget(seconds, calls, 10**6)), cards, "animals", cache)


def ranked(scores: Any) -> list[str]:
    return [TITLES[WINDOW[place]] for place in np.argsort(-scores, kind="stable")]


def test_an_order_becomes_scores_whatever_order_it_was_asked_in() -> None:
    with serving(in_order(str)) as fake:
        (scores,) = scorer_of(PermutationScorer, fake).score([PAST], [WINDOW])
    assert ranked(scores) == sorted(TITLES[item] for item in WINDOW)
    assert scores.tolist() == [6, 3, 5, 1, 4, 2]  # both rounds agree, so that their mean is the rank from below
    first, second = fake.requests
    assert titles_of(first) != titles_of(second)
    assert set(titles_of(first)) == {TITLES[item] for item in WINDOW}
    assert "- Tiger\n- Vulture" in first["messages"][1]["content"]


def test_letters_become_scores_without_the_letters_own_bias() -> None:
    # The model likes the letter A by 9 nats and titles by their place in the alphabet.
    with serving(
        letters(lambda title, place: -9.0 * (place > 0) - (0.5 * TITLES.index(title) if title != "n/a" else 0))
    ) as fake:
        (scores,) = scorer_of(LetterScorer, fake).score([PAST], [WINDOW])
    assert scores == pytest.approx([-0.5 * item for item in WINDOW])


@pytest.mark.guarantee("G8")
@pytest.mark.parametrize("kind", [PermutationScorer, LetterScorer])
def test_who_only_looks_at_places_is_not_believed(kind: type[ListScorer]) -> None:
    def places(request: dict[str, Any]) -> dict[str, Any]:
        if "logprobs" in request:
            return letters(lambda title, place: -1.0 * place * (title != "n/a"))(request)
        return said(json.dumps({"order": list(range(1, 20))}))

    with serving(places) as fake:
        scorer = scorer_of(kind, fake)
        found = scorer.score([PAST] * 12, [list(np.random.default_rng(n).permutation(8)) for n in range(12)])
    assert all(np.isnan(scores).all() for scores in found)  # the second order is the first one's reverse
    assert (scorer.disagreements, scorer.failures) == (12, [])


def test_nobody_is_asked_about_someone_unknown() -> None:
    with serving(in_order(str)) as fake:
        (scores,) = scorer_of(PermutationScorer, fake).score([NOBODY], [WINDOW])
    assert np.isnan(scores).all()
    assert fake.requests == []


FAULTS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "status 500": (lambda _: (500, {}, "{}"), "status 500"),
    "status 401": (lambda _: (401, {}, '{"error": {"message": "wrong key sk-secret"}}'), "status 401"),
    "busy": (lambda _: (429, {"retry-after": "3600"}, "{}"), "more patience than the budget"),
    "no JSON": (lambda _: (200, {}, "<html>"), "could not be read|was empty"),
    "a page": (lambda _: (200, {"content-type": "text/html"}, "<html>"), "none of a language model's"),
    "another JSON": (lambda _: {"hello": 1}, "could not be read|was empty"),
    "no choices": (lambda _: said("x") | {"choices": []}, "was empty"),
    "null": (lambda _: said(None), "was empty"),
    "blank": (lambda _: said(" \n"), "was empty"),
    "cut": (lambda _: said('{"order": [1', finish_reason="length"), "was cut"),
    "filtered": (lambda _: said("", finish_reason="content_filter"), "was cut"),
    "refusal": (lambda _: said(None, message={"role": "assistant", "content": None, "refusal": "no"}), "refused"),
    "null choice": (lambda _: said("x") | {"choices": [None]}, "could not be read"),
    "empty choice": (lambda _: said("x") | {"choices": [{}]}, "could not be read|was empty"),
    "choices that are text": (lambda _: said("x") | {"choices": "abc"}, "could not be read"),
    "choices by name": (lambda _: said("x") | {"choices": {"a": 1}}, "could not be read"),
    "a message that is text": (lambda _: said("x", message="hello"), "could not be read"),
    "content that is a list": (lambda _: said(["x"]), "could not be read"),  # type: ignore[arg-type]
    "usage that is text": (lambda _: said("x") | {"usage": {"total_tokens": "many"}}, "could not be read"),
    "chatter": (lambda _: said("Sure! Here is the ranking."), "fewer than half"),
    "nothing thought": (lambda _: said("<think>1 2 3 4 5 6"), "fewer than half"),
    "foreign ids": (lambda _: said('{"order": [101, 102, 103]}'), "fewer than half"),
    "deep": (lambda _: said('{"order": ' + "[" * 9000), "fewer than half"),
}


@pytest.mark.guarantee("G3")
@pytest.mark.parametrize("fault", FAULTS)
def test_faults_of_a_server_leave_everybody_unjudged(fault: str) -> None:
    behave, reason = FAULTS[fault]
    began = time.monotonic()
    with serving(behave) as fake:
        scorer = scorer_of(PermutationScorer, fake)
        found = scorer.score([PAST] * 5, [WINDOW] * 5)
    assert all(np.isnan(scores).all() for scores in found)
    assert len(scorer.failures) == 5
    assert "left alone" in scorer.failures[BROKEN]
    assert all(re.search(reason, failure) for failure in scorer.failures[:BROKEN]), scorer.failures
    assert not any("sk-secret" in failure for failure in scorer.failures)
    assert time.monotonic() - began < 20


@pytest.mark.guarantee("G3", "G18")
def test_a_server_without_log_probabilities_is_found_out() -> None:
    with serving(lambda _: said("A")) as fake:
        scorer = scorer_of(LetterScorer, fake)
        (scores,) = scorer.score([PAST], [WINDOW])
    assert np.isnan(scores).all()
    assert scorer.failures == ["the server gave no log probabilities"]


@pytest.mark.guarantee("G11")
@pytest.mark.parametrize(
    "content",
    [
        [{"token": "A", "logprob": None, "top_logprobs": [{"token": "A", "logprob": None}]}],
        [{"token": "A", "logprob": 0, "top_logprobs": [{"token": None, "logprob": -1.0}]}],
        [{"token": "A", "logprob": 0, "top_logprobs": [{"token": "A", "logprob": "high"}]}],
        "none",
        [{"token": "<think>", "logprob": -0.1, "top_logprobs": [{"token": "<think>", "logprob": -0.1}]}],
    ],
)
def test_log_probabilities_that_are_none_are_no_answer_and_not_kept(content: Any, tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite"
    with serving(lambda _: said("A", logprobs={"content": content, "refusal": None})) as fake:
        for asked in (1, 2):
            scorer = scorer_of(LetterScorer, fake, cache)
            (scores,) = scorer.score([PAST], [WINDOW])
            assert np.isnan(scores).all()
            assert len(scorer.failures) == 1
            assert len(fake.requests) == asked


@pytest.mark.guarantee("G18")
def test_a_server_without_schemas_is_asked_in_plain_words() -> None:
    def behave(request: dict[str, Any]) -> Any:
        if "response_format" in request:
            return 400, {}, '{"error": {"message": "response_format is not supported"}}'
        return in_order(str)(request)

    with serving(behave) as fake:
        scorer = scorer_of(PermutationScorer, fake)
        found = scorer.score([PAST] * 2, [WINDOW] * 2)
    assert [ranked(scores) for scores in found] == [sorted(TITLES[item] for item in WINDOW)] * 2
    assert sum("response_format" in request for request in fake.requests) == 1  # learned once


def test_a_busy_server_is_asked_again() -> None:
    waits = iter([429, 503])

    def behave(request: dict[str, Any]) -> Any:
        status = next(waits, None)
        return in_order(str)(request) if status is None else (status, {"retry-after": "0"}, "{}")

    with serving(behave) as fake:
        scorer = scorer_of(PermutationScorer, fake)
        (scores,) = scorer.score([PAST], [WINDOW])
    assert ranked(scores) == sorted(TITLES[item] for item in WINDOW)
    assert scorer.failures == []


@pytest.mark.guarantee("G3", "G17")
@pytest.mark.parametrize("drip", [0.05, 0.0])
def test_slow_answers_end_with_the_budget(drip: float) -> None:
    def slowly(request: dict[str, Any]) -> Any:
        if not drip:
            time.sleep(5)
        return in_order(str)(request)

    began = time.monotonic()
    with serving(slowly, drip=drip) as fake:
        scorer = scorer_of(PermutationScorer, fake, seconds=1.0)
        found = scorer.score([PAST] * 4, [WINDOW] * 4)
        assert time.monotonic() - began < 3
    assert all(np.isnan(scores).all() for scores in found)
    assert scorer.failures[0] == "no answer in time"
    assert scorer.failures[1:3] == ["the budget of seconds is used up"] * 2


@pytest.mark.guarantee("G17")
def test_calls_and_tokens_stay_within_the_budget() -> None:
    with serving(in_order(str)) as fake:
        few = scorer_of(PermutationScorer, fake, calls=5)
        found = few.score([PAST] * 4, [WINDOW] * 4)
        assert len(fake.requests) == 5
        assert [bool(np.isfinite(scores).all()) for scores in found] == [True, True, False, False]
        assert few.failures == ["the budget of calls is used up"] * 2
        endpoint = Endpoint(fake.url, "m", Budget(20.0, 100, 250))
        sparing = PermutationScorer(endpoint, few.cards, "animals")
        assert [bool(np.isfinite(scores).all()) for scores in sparing.score([PAST] * 3, [WINDOW] * 3)] == [
            True,
            False,
            False,
        ]


@pytest.mark.guarantee("G11")
def test_answers_are_kept_and_failures_are_not(tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite"
    with serving(lambda _: (500, {}, "{}")) as fake:
        scorer_of(PermutationScorer, fake, cache).score([PAST], [WINDOW])
        fake.behave = in_order(str)
        (first,) = scorer_of(PermutationScorer, fake, cache).score([PAST], [WINDOW])
        assert np.isfinite(first).all()
        asked = len(fake.requests)
        (second,) = scorer_of(PermutationScorer, fake, cache).score([PAST], [WINDOW])
        assert (len(fake.requests), second.tolist()) == (asked, first.tolist())
        scorer_of(PermutationScorer, fake, cache, model="another").score([PAST], [WINDOW])
        assert len(fake.requests) == asked + 2
        scorer_of(PermutationScorer, fake, cache).score([PAST.at([0])], [WINDOW])
        assert len(fake.requests) == asked + 4


@pytest.mark.guarantee("G14")
def test_nothing_private_leaves_and_the_key_goes_to_its_server_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GNNREC_LLM_KEY", "sk-canary")
    with serving(in_order(str)) as fake:
        scorer = scorer_of(PermutationScorer, fake, tmp_path / "answers.sqlite")
        scorer.score([PAST], [WINDOW])
    assert fake.headers[0]["authorization"] == "Bearer sk-canary"
    sent = json.dumps(fake.requests)
    assert "canary" not in sent
    assert "canary" not in scorer.name + repr(scorer.__dict__)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"canary" not in kept
    allowed = {*TITLES, "Animals this person liked, the newest first:", "Candidates:"}
    lines = [
        line.split("] ")[-1].removeprefix("- ") for line in fake.requests[0]["messages"][1]["content"].splitlines()
    ]
    assert [line for line in lines if line and line not in allowed] == [
        'Order all candidates, the best first. Answer with JSON only: {"order": [numbers]}'
    ]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ('{"order": [3, 1, 2]}', [3, 1, 2]),
        ('Here: ```json\n{"order": [3, 1]}\n```', [3, 1]),
        ("[3] > [1] > [2]", [3, 1, 2]),
        ("3,1,2", [3, 1, 2]),
        ("1. 1\n2. 3", [1, 2, 3]),
        ('{"order": [3, 3, 9, -1, 0, true, 1.5, "2", null, 1]}', [3, 1]),
        ('{"order": "3 1"}', [3, 1]),
        ('{"ranking": [2, 3]}', [2, 3]),
        ("¹ ² ٣ １ 10^9 2e1", []),
        ("<think>1 2 3</think> 3 2 1", [3, 2, 1]),
        ("", []),
        ("\x00\ud800", []),
    ],
)
def test_numbers_are_read_from_any_answer(text: str, numbers: list[int]) -> None:
    assert named(text, 3) == numbers


@pytest.mark.guarantee("G1")
@given(st.text() | st.from_regex(r'\{"order": \[[0-9, ]*\]\}'), st.integers(1, 20))
def test_whatever_is_answered_every_candidate_is_there_once(text: str, num: int) -> None:
    assert sorted(repaired(text, num)) == list(range(1, num + 1))


def test_kendall_tau_counts_pairs() -> None:
    first = np.array([1.0, 2, 3, 4])
    assert kendall_tau(first, first) == 1
    assert kendall_tau(first, -first) == -1
    assert kendall_tau(first, np.array([2.0, 1, 3, 4])) == pytest.approx((5 - 1) / 6)


@pytest.mark.guarantee("G14")
def test_a_key_goes_where_it_belongs(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = Budget(1.0, 1, 1)

    def key(url: str) -> str:
        return str(Endpoint(url, "m", budget)._client.api_key)

    monkeypatch.delenv("GNNREC_LLM_KEY", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="^llm.base_url: api.openai.com needs a key; allowed: one in GNNREC_LLM_KEY or"):
        key("https://api.openai.com/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-theirs")
    assert key("https://api.openai.com/v1") == "sk-theirs"
    assert key("https://elsewhere.example/v1") == key("http://127.0.0.1:1/v1") == "none"
    monkeypatch.setenv("GNNREC_LLM_KEY", "sk-ours")
    assert key("https://elsewhere.example/v1") == key("http://127.0.0.1:1/v1") == "sk-ours"
    with pytest.raises(UserError, match="allowed with a key: https, or this machine"):
        key("http://elsewhere.example/v1")


@pytest.mark.parametrize("url", ["", "file:///etc/passwd", "127.0.0.1:80"])
def test_an_address_has_to_be_one(url: str) -> None:
    with pytest.raises(UserError, match="llm.base_url: found"):
        Endpoint(url, "m", Budget(1.0, 1, 1))
