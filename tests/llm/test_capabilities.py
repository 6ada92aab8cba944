"""What a server can do is seen from its first answers, whatever it claims by answering 200 (G18)."""

import json
from typing import Any

import pytest
from fake_server import in_order, letters, said, serving

from gnnrec.language.endpoint import Budget, Capabilities, Endpoint, NoAnswer

SCHEMA = {"type": "object", "properties": {"order": {"type": "array"}}, "required": ["order"]}
PROMPT = "Candidates:\n[1] Zulu\n[2] Yak\n"


def endpoint(fake: Any) -> Endpoint:
    return Endpoint(fake.url, "m", Budget(20.0, 100, 10**6))


def refuses(request: dict[str, Any]) -> Any:
    return (400, {}, "{}") if "response_format" in request else said('{"order": [2, 1]}')


@pytest.mark.guarantee("G18")
@pytest.mark.parametrize(
    ("behave", "obeyed", "schemas"),
    [
        (in_order(str), True, 3),
        (lambda _: said("Sure! [2] > [1]"), False, 1),
        (lambda _: said('{"ranking": [2, 1]}'), False, 1),
        (lambda _: said('{"order": [2, 1], "why": "so"}'), False, 1),
        (lambda _: said("[2, 1]"), False, 1),
        (lambda _: said('```json\n{"order": [2, 1]}\n```'), False, 1),
        (refuses, False, 1),
    ],
)
def test_a_schema_that_is_ignored_is_not_sent_again(behave: Any, obeyed: bool, schemas: int) -> None:
    with serving(behave) as fake:
        asked = endpoint(fake)
        assert asked.capabilities == Capabilities(schema=None, log_probs=None)
        answers = [asked.complete("s", PROMPT, SCHEMA, 9) for _ in range(3)]
        assert asked.capabilities.schema is obeyed
        assert sum("response_format" in request for request in fake.requests) == schemas
        assert len(set(answers)) == 1
        assert asked.capabilities.log_probs is None


@pytest.mark.guarantee("G18")
@pytest.mark.parametrize(
    "told",
    [None, {}, {"content": None}, {"content": []}, {"content": [{"token": "A", "logprob": -1.0, "top_logprobs": []}]}],
)
def test_missing_log_probabilities_are_found_out_by_one_question(told: Any) -> None:
    with serving(lambda _: said("A", **({} if told is None else {"logprobs": told}))) as fake:
        asked = endpoint(fake)
        for _ in range(3):
            with pytest.raises(NoAnswer, match="the server gave no log probabilities"):
                asked.letter_log_probs("s", PROMPT)
        assert asked.capabilities.log_probs is False
        assert len(fake.requests) == asked.budget.used_calls == 1


@pytest.mark.guarantee("G18")
def test_log_probabilities_that_are_there_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(letters(lambda title, place: -float(place))) as fake:
        asked = endpoint(fake)
        found = asked.letter_log_probs("s", PROMPT.replace("[1]", "(A)").replace("[2]", "(B)"))
        assert asked.capabilities.log_probs is True
    assert found == {"A": 0.0, "B": -1.0}


@pytest.mark.guarantee("G18")
def test_a_failure_says_nothing_about_what_a_server_can() -> None:
    """A busy server is not one that ignores schemas."""
    with serving(lambda _: (401, {}, json.dumps({}))) as fake:
        asked = endpoint(fake)
        for ask in (lambda: asked.complete("s", PROMPT, SCHEMA, 9), lambda: asked.letter_log_probs("s", PROMPT)):
            with pytest.raises(NoAnswer):
                ask()
        assert asked.capabilities == Capabilities(schema=None, log_probs=None)


@pytest.mark.guarantee("G17")
@pytest.mark.parametrize(
    "usage", [{}, {"usage": None}, {"usage": {"total_tokens": 0}}, {"usage": {"total_tokens": -9}}]
)
def test_where_a_server_tells_no_tokens_they_are_counted_by_the_letters(usage: dict[str, Any]) -> None:
    plain = {key: value for key, value in said("x" * 30).items() if key != "usage"}
    with serving(lambda _: plain | usage) as fake:
        asked = Endpoint(fake.url, "m", Budget(20.0, 100, 2_000))
        for _ in range(2):
            asked.complete("s" * 300, "p" * 600, SCHEMA, 9)  # 100 and 200 tokens of three letters, and 10
        assert asked.budget.used_tokens == 620
        with pytest.raises(NoAnswer, match="the budget of tokens is used up"):
            asked.complete("s" * 300, "p" * 3_900, SCHEMA, 9)  # more than the 1,380 that are left
        assert len(fake.requests) == 2


@pytest.mark.guarantee("G17")
def test_a_question_that_might_cost_more_than_is_left_is_not_asked() -> None:
    with serving(in_order(str)) as fake:  # a hundred tokens a question
        asked = Endpoint(fake.url, "m", Budget(20.0, 100, 250))
        for _ in range(2):
            asked.complete("s", PROMPT, SCHEMA, 9)
        with pytest.raises(NoAnswer, match="the budget of tokens is used up"):
            asked.complete("s", PROMPT, SCHEMA, 9)
        assert (len(fake.requests), asked.budget.used_tokens) == (2, 200)
        exact = Endpoint(fake.url, "m", Budget(20.0, 100, 200))
        assert [bool(exact.complete("s", PROMPT, SCHEMA, 9)) for _ in range(2)] == [True, True]
