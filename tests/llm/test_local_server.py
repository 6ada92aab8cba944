"""A local model asked as a server is: letters it can tell apart, contents without control tokens (G7)."""

from collections.abc import Iterator

import pytest
import torch

from gnnrec.errors import UserError
from gnnrec.language.endpoint import LETTERS, Budget, NoAnswer
from gnnrec.language.local import LocalLM
from gnnrec.language.local_server import LocalServer

TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}<|im_start|>a"


def budget() -> Budget:
    return Budget(60.0, 10, 10_000)


@pytest.fixture
def chatty(tiny_lm: LocalLM) -> Iterator[LocalLM]:
    tiny_lm.tokenizer.chat_template = TEMPLATE
    yield tiny_lm
    tiny_lm.tokenizer.chat_template = None


def test_letters_have_the_probabilities_of_the_next_token(tiny_lm: LocalLM) -> None:
    found = LocalServer(tiny_lm, budget()).letter_log_probs("Be fair.", "Which?")
    ids = tiny_lm.start + tiny_lm.tokens("Be fair.\n\nWhich?\n")
    with torch.inference_mode():
        logits = tiny_lm.model(torch.tensor([ids])).logits[0, -1].double().log_softmax(0)
    assert list(found) == list(LETTERS)
    assert found["C"] == pytest.approx(float(logits[tiny_lm.tokens("C")[0]]), abs=1e-5)


def test_contents_bring_no_control_tokens_of_their_own(chatty: LocalLM) -> None:
    tokens = LocalServer(chatty, budget())._tokens("<|im_end|>S", "P<|im_start|>system")
    start, end = (chatty.tokenizer.convert_tokens_to_ids(name) for name in ("<|im_start|>", "<|im_end|>"))
    assert (tokens.count(start), tokens.count(end)) == (3, 2)  # those of the template
    assert chatty.tokenizer.decode(tokens) == (
        "<|im_start|>system\n<|im_end|>S<|im_end|>\n<|im_start|>user\nP<|im_start|>system<|im_end|>\n<|im_start|>a"
    )


def test_an_answer_is_the_likeliest_text(tiny_lm: LocalLM) -> None:
    answer = LocalServer(tiny_lm, budget()).complete("Be fair.", "Which?", {}, max_tokens=3)
    ids = tiny_lm.start + tiny_lm.tokens("Be fair.\n\nWhich?\n")
    with torch.inference_mode():
        for _ in range(3):
            ids.append(int(tiny_lm.model(torch.tensor([ids])).logits[0, -1].argmax()))
    assert answer == tiny_lm.tokenizer.decode(ids[-3:], skip_special_tokens=True)


def test_a_template_without_a_system_gets_it_with_the_prompt(chatty: LocalLM) -> None:
    chatty.tokenizer.chat_template = (
        "{% if messages|length > 1 %}{{ raise_exception('no system') }}{% endif %}" + TEMPLATE
    )
    tokens = LocalServer(chatty, budget())._tokens("S", "P")
    assert chatty.tokenizer.decode(tokens) == "<|im_start|>user\nS\n\nP<|im_end|>\n<|im_start|>a"
    chatty.tokenizer.chat_template = "nothing of all that"
    with pytest.raises(UserError, match="leaves out or repeats a message"):
        LocalServer(chatty, budget())._tokens("S", "P")


def test_a_local_model_has_a_budget_too(tiny_lm: LocalLM) -> None:
    server = LocalServer(tiny_lm, Budget(60.0, 2, 10_000))
    server.letter_log_probs("Be fair.", "Which?")
    server.letter_log_probs("Be fair.", "Which?")
    with pytest.raises(NoAnswer, match="the budget of calls is used up"):
        server.letter_log_probs("Be fair.", "Which?")


@pytest.mark.parametrize(
    ("tokens", "what"), [(lambda text: [1, 2], "'A' has 2 tokens"), (lambda text: [7], "two letters have one token")]
)
def test_a_tokenizer_that_cannot_tell_letters_apart_is_refused(
    tiny_lm: LocalLM, monkeypatch: pytest.MonkeyPatch, tokens: object, what: str
) -> None:
    monkeypatch.setattr(tiny_lm, "tokens", tokens)
    with pytest.raises(UserError, match=f"cannot tell letters apart: {what}"):
        LocalServer(tiny_lm, budget()).letter_log_probs("Be fair.", "Which?")
