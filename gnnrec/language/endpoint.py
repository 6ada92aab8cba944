"""Any OpenAI-compatible server (llama.cpp, vLLM, Ollama, hosted): asked within one budget, believed in nothing.

The address is the user's (`llm.base_url`). The key comes from the environment (GNNREC_LLM_KEY, or OPENAI_API_KEY for
api.openai.com) and goes nowhere but to that address, in the clear only to this machine. Whatever a server does (late,
slow, full, refusing, empty), a question ends within the budget, with an answer or with `NoAnswer`, which says why in a
few words and never shows the key or the prompt.
"""

import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gnnrec.errors import UserError, missing_extra
from gnnrec.language.settings import check_address

RETRIES = 2  # after a busy or broken server, never after an answer
PAUSE = 0.5  # seconds before the first retry, doubled for the second; Retry-After counts where it is longer
MOST_LETTERS = 20_000  # of an answer that are looked at
MOST_OCTETS = 4 << 20  # of one that are read, with all that stands around its text
ONE_QUESTION = 60.0  # seconds that one answer may take
OPENAI = "api.openai.com"
LOOPBACK = ("127.0.0.1", "localhost", "::1")
TOP = 20  # alternatives to a token that the protocol knows
LETTERS = "ABCDEFGHIJKLMNOPQRST"  # TOP of them


class NoAnswer(Exception):
    """There is no answer that could be used; the message says why."""


@dataclass
class Budget:
    """What all questions together may cost; the clock starts with the first."""

    seconds: float
    calls: int
    tokens: int
    clock: Callable[[], float] = time.monotonic
    used_calls: int = 0
    used_tokens: int = 0
    largest: int = 0  # tokens of one question and its answer so far: what the next may cost
    _began: float | None = field(default=None, repr=False)

    def begin(self, seconds: float) -> None:
        """A stretch of so much time begins with the next question; calls and tokens are counted on over all of them."""
        self.seconds, self._began = seconds, None

    def left(self, tokens: int = 0) -> float:
        """Seconds. Raises NoAnswer where nothing of one kind is left; tokens: what the next question may cost, as far
        as it can be told before."""
        if self._began is None:
            self._began = self.clock()
        seconds = self.seconds - (self.clock() - self._began)
        for name, left in (
            ("seconds", seconds),
            ("calls", self.calls - self.used_calls),
            ("tokens", self.tokens - self.used_tokens - max(self.largest - 1, tokens - 1, 0)),
        ):
            if left <= 0:
                raise NoAnswer(f"the budget of {name} is used up")
        return seconds

    def take(self, tokens: int) -> None:
        """One question of exactly so many tokens, answer included. Raises NoAnswer where that much is not left."""
        self.left(tokens)
        self.used_calls += 1
        self.used_tokens += tokens

    def anew(self, seconds: float) -> "Budget":
        """As much again, but for so much time at most, from the first question on."""
        return Budget(min(seconds, self.seconds), self.calls, self.tokens, self.clock)

    def spend(self, tokens: int) -> None:
        self.used_tokens += tokens
        self.largest = max(self.largest, tokens)


@dataclass
class Capabilities:
    """What a server can do, as its own answers show; None: not asked yet. What is missing is not asked for again."""

    schema: bool | None = None  # it keeps to one
    log_probs: bool | None = None  # it tells them


class Endpoint:
    """`name`: model, address and revision, for caches and traces. `section`: of the settings, as errors call it."""

    def __init__(self, base_url: str, model: str, budget: Budget, section: str = "llm", revision: str = "") -> None:
        try:
            import openai
        except ImportError as error:
            raise missing_extra("llm", "openai") from error
        check_address(base_url, section)
        key, host = _key_for(base_url, section), urlsplit(base_url).hostname
        self.name, self.model, self.budget = " ".join(filter(None, (f"{model}@{base_url}", revision))), model, budget
        self._openai = openai
        http = _http_client(openai, here=host in LOOPBACK)
        self._client = openai.OpenAI(base_url=base_url, api_key=key, max_retries=0, http_client=http)
        if host != OPENAI:  # what OPENAI_ORG_ID and its like say is no other server's business
            self._client.organization = self._client.project = None
            self._client._custom_headers = {}  # OPENAI_CUSTOM_HEADERS, which a copy without them would read again
        self.capabilities = Capabilities()

    def complete(
        self, system: str, prompt: str, schema: dict[str, Any], max_tokens: int, picture: str | None = None
    ) -> str:
        """The text of an answer that should be JSON of this schema; whether it is, the caller has to see.

        picture: a data: URL that is shown beside the prompt.
        """
        content: Any = prompt
        if picture is not None:
            content = [{"type": "text", "text": prompt}, {"type": "image_url", "image_url": {"url": picture}}]
        if self.capabilities.schema is not False:
            form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
            try:
                text = self._text(self._ask(system, content, max_tokens=max_tokens, response_format=form))
                self.capabilities.schema = _keeps_to(text, schema)
                return text
            except _Unknown:
                self.capabilities.schema = False
        return self._text(self._ask(system, content, max_tokens=max_tokens))

    def letter_log_probs(self, system: str, prompt: str) -> dict[str, float]:
        """Log probabilities of the first token of the answer, as far as the server tells: stripped token -> value."""
        if self.capabilities.log_probs is False:
            raise NoAnswer("the server gave no log probabilities")
        answer = self._ask(system, prompt, max_tokens=1, logprobs=True, top_logprobs=TOP)
        with _readable():
            told = answer.choices[0].logprobs
            self.capabilities.log_probs = bool(told and told.content and told.content[0].top_logprobs)
            if not self.capabilities.log_probs:
                raise NoAnswer("the server gave no log probabilities")
            found: dict[str, float] = {}
            for token in told.content[0].top_logprobs:
                if math.isfinite(value := float(token.logprob)):
                    found.setdefault(token.token.strip(), value)  # best first
            return found

    def num_tokens(self, text: str) -> int:
        """About as many as there are: the server's tokenizer is not known. Three octets to a token errs upwards."""
        return len(text.encode()) // 3

    def _text(self, answer: Any) -> str:
        with _readable():
            choice = answer.choices[0]
            if choice.message.refusal:
                raise NoAnswer("the model refused")
            if choice.finish_reason in ("length", "content_filter"):
                raise NoAnswer(f"the answer was cut ({choice.finish_reason})")
            text = choice.message.content or ""
            if not text.strip():
                raise NoAnswer("the answer was empty")
            return str(text[:MOST_LETTERS])

    def _ask(self, system: str, prompt: Any, **how: Any) -> Any:
        messages: Any = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
        cost = self.num_tokens(system) + sum(self.num_tokens(text) for text in _texts(prompt))

        def create() -> Any:
            return self._client.chat.completions.create(
                model=self.model, messages=messages, temperature=0, timeout=seconds, **how
            )

        for attempt in range(RETRIES + 1):
            seconds = min(self.budget.left(cost), ONE_QUESTION)
            self.budget.used_calls += 1
            try:
                answer = _within(seconds, create)
            except _Late as error:
                raise NoAnswer("no answer in time") from error
            except _Unreadable as error:
                raise NoAnswer(str(error)) from error
            except self._openai.APIStatusError as error:
                if error.status_code in (400, 422) and "response_format" in how:
                    raise _Unknown from error
                if (error.status_code != 429 and error.status_code < 500) or attempt == RETRIES:
                    raise NoAnswer(f"the server answered with status {error.status_code}") from error
                self._pause(attempt, error.response.headers.get("retry-after"))
            except self._openai.APITimeoutError as error:
                raise NoAnswer("no answer in time") from error
            except self._openai.APIConnectionError as error:
                if isinstance(error.__cause__, _Unreadable):  # older clients wrap it
                    raise NoAnswer(str(error.__cause__)) from error
                if attempt == RETRIES:
                    raise NoAnswer("the server cannot be reached") from error
                self._pause(attempt, None)
            except Exception as error:  # malformed answers raise those of three libraries
                raise NoAnswer(f"the answer could not be read ({type(error).__name__})") from error
            else:
                with _readable():
                    if not hasattr(answer, "choices"):
                        raise NoAnswer("the answer is none of a language model's")
                    told = int(getattr(getattr(answer, "usage", None), "total_tokens", 0) or 0)
                    said = sum(self.num_tokens(choice.message.content or "") for choice in answer.choices or ())
                    self.budget.spend(told if told > 0 else cost + said)  # servers need not tell
                    if not answer.choices:
                        raise NoAnswer("the answer was empty")
                    return answer
        raise AssertionError("the last attempt returns or raises")

    def _pause(self, attempt: int, asked: str | None) -> None:
        """Before the next attempt; NoAnswer where the budget would be over by then."""
        try:
            wanted = float(asked or 0)
        except ValueError:
            wanted = 0.0
        seconds = max(PAUSE * 2**attempt, wanted)
        if not seconds < self.budget.left():
            raise NoAnswer("the server asks for more patience than the budget has")
        time.sleep(seconds)


def _texts(prompt: Any) -> list[str]:
    """Of a prompt, or of one beside a picture."""
    return [prompt] if isinstance(prompt, str) else [part["text"] for part in prompt if part["type"] == "text"]


def _keeps_to(text: str, schema: dict[str, Any]) -> bool:
    """Whether an answer is a JSON object with the keys that a flat schema asks for, and no others."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and set(found) == set(schema.get("properties", ()))


def _key_for(base_url: str, section: str) -> str:
    """GNNREC_LLM_KEY; OPENAI_API_KEY only for the server it is meant for.

    Raises UserError where a key would go over the network in the clear, and where that server, which answers nobody
    without one, has none.
    """
    address = urlsplit(base_url)
    key = os.environ.get("GNNREC_LLM_KEY")
    if key is None and address.hostname == OPENAI:
        key = os.environ.get("OPENAI_API_KEY")
    if key and address.scheme == "http" and address.hostname not in LOOPBACK:
        raise UserError(f"{section}.base_url: found {base_url!r}; allowed with a key: https, or this machine")
    if not key and address.hostname == OPENAI:
        raise UserError(f"{section}.base_url: {OPENAI} needs a key; allowed: one in GNNREC_LLM_KEY or OPENAI_API_KEY")
    return key or "none"


@contextmanager
def _readable() -> Iterator[None]:
    """Servers send anything at all in the place of anything else."""
    try:
        yield
    except NoAnswer:
        raise
    except Exception as error:
        raise NoAnswer(f"the answer could not be read ({type(error).__name__})") from error


class _Late(Exception):
    pass


class _Unreadable(Exception):
    pass


def _http_client(openai: Any, here: bool) -> Any:
    """A client that reads MOST_OCTETS of an answer at most, and lets nobody but the server have a question.

    here: whether the server is on this machine: a proxy would get in the clear what never leaves it.
    """

    class Bounded(openai.DefaultHttpxClient):
        def send(self, request: Any, **how: Any) -> Any:
            response = super().send(request, **how | {"stream": True})
            try:
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise _Unreadable("the answer is packed, though that was not asked for")
                body = bytearray()
                for part in response.iter_raw():
                    body += part
                    if len(body) > MOST_OCTETS:
                        raise _Unreadable(f"the answer is larger than {MOST_OCTETS >> 20} MB")
            finally:
                response.close()
            return type(response)(response.status_code, headers=response.headers, content=bytes(body), request=request)

    # Packed, an answer would have no size that could be looked at; and a redirect would cost more than one call.
    return Bounded(trust_env=not here, follow_redirects=False, headers={"accept-encoding": "identity"})


class _Unknown(Exception):
    """The server does not know how to keep to a schema."""


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """The result of `call`, or _Late: timeouts of HTTP clients begin anew with every octet that drips in."""
    result: list[Any] = []

    def run() -> None:
        try:
            result.extend((True, call()))
        except BaseException as error:
            result.extend((False, error))

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    worker.join(seconds)
    if len(result) < 2:
        raise _Late
    if not result[0]:
        raise result[1]
    return result[1]
