"""A model on this machine that is talked to as a server is: for the scorers that ask for letters or orders."""

from functools import cached_property
from typing import Any

import torch

from gnnrec.errors import UserError, first_line
from gnnrec.language.chat_template import BadTemplate, render
from gnnrec.language.endpoint import LETTERS, Budget
from gnnrec.language.local import LocalLM

PLACES = ("\u2402", "\u2403")  # stand for system and prompt while the template is rendered


class LocalServer:
    """What `endpoint.Endpoint` offers, by a `LocalLM`, within a budget of its own."""

    def __init__(self, model: LocalLM, budget: Budget) -> None:
        self.name, self._model, self.budget = model.name, model, budget

    def letter_tokens(self) -> dict[str, int]:
        """The token of each letter. Raises UserError for a tokenizer that cuts one in two, or takes two for one: their
        log probabilities could not be told apart."""
        tokens = {letter: self._model.tokens(letter) for letter in LETTERS}
        broken = [letter for letter, found in tokens.items() if len(found) != 1]
        if broken or len({found[0] for found in tokens.values()}) < len(LETTERS):
            what = f"{broken[0]!r} has {len(tokens[broken[0]])} tokens" if broken else "two letters have one token"
            raise UserError(f"llm.scorer letters: {self.name} cannot tell letters apart: {what}; allowed: block")
        return {letter: found[0] for letter, found in tokens.items()}

    def complete(self, system: str, prompt: str, schema: dict[str, Any], max_tokens: int) -> str:
        """The likeliest answer, token by token (greedy). The schema is a wish: what came is checked by who asked."""
        seconds = self.budget.left()  # before this question counts as one
        ids = self._asked(system, prompt)
        with torch.no_grad():
            found = self._model.model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=max_tokens,
                max_time=seconds,
                pad_token_id=0,
            )
        self.budget.spend(found.shape[1])
        text: str = self._model.tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)
        return text

    @torch.no_grad()
    def letter_log_probs(self, system: str, prompt: str) -> dict[str, float]:
        """Log probability that the answer begins with each letter."""
        letters, ids = self.letter_tokens(), self._asked(system, prompt)
        self.budget.spend(ids.shape[1])
        logits = self._model.model(ids, logits_to_keep=1).logits[0, -1].double().log_softmax(0)
        return {letter: float(logits[token]) for letter, token in letters.items()}

    def num_tokens(self, text: str) -> int:
        return len(self._model.tokens(text))

    def _asked(self, system: str, prompt: str) -> torch.Tensor:
        """The question as one row of tokens, counted. Raises NoAnswer where the budget is used up."""
        self.budget.left()
        tokens = self._tokens(system, prompt)
        self.budget.used_calls += 1
        return torch.tensor([tokens], device=self._model.device)

    def _tokens(self, system: str, prompt: str) -> list[int]:
        """As the model's chat template has it, the contents without control tokens of their own."""
        if self._frame is None:
            return self._model.start + self._model.tokens(f"{system}\n\n{prompt}\n")
        before, between, behind = self._frame
        return [*before, *self._model.tokens(system), *between, *self._model.tokens(prompt), *behind]

    @cached_property
    def _frame(self) -> list[list[int]] | None:
        """The tokens before, between and behind system and prompt; None of a model without a chat template.

        The template is run once, with places in their stead: it cannot look at what they say.
        """
        tokenizer = self._model.tokenizer
        if not getattr(tokenizer, "chat_template", None):
            return None
        both = [{"role": role, "content": place} for role, place in zip(("system", "user"), PLACES)]
        alone = [{"role": "user", "content": "\n\n".join(PLACES)}]  # some know no system, and say so by an error
        try:
            rendered = render(tokenizer.get_chat_template(), [both, alone], tokenizer.special_tokens_map)
        except (BadTemplate, ValueError) as error:  # ValueError: of several it has, none is the usual one
            why = f"its chat template cannot be used: {first_line(error)}"
            raise UserError(f"{self.name}: {why}; allowed: llm.scorer=block") from error
        if any(rendered.count(place) != 1 for place in PLACES):
            raise UserError(
                f"{self.name}: its chat template leaves out or repeats a message; allowed: llm.scorer=block"
            )
        return [tokenizer(part, add_special_tokens=False)["input_ids"] for part in _split(rendered)]


def _split(rendered: str) -> tuple[str, str, str]:
    """What stands before, between and behind the two places."""
    first, _, rest = rendered.partition(PLACES[0])
    second, _, third = rest.partition(PLACES[1])
    return first, second, third
