"""An endpoint's way over the network: to the address that the user named, to nobody else, and no more than it needs."""

import gzip
import json
from typing import Any

import pytest
from fake_server import said, serving

from gnnrec.errors import UserError
from gnnrec.language.endpoint import Budget, Endpoint, NoAnswer
from gnnrec.language.server import TEXT_SCHEMA
from gnnrec.language.settings import ModelConfig
from gnnrec.llm.settings import LLMConfig
from gnnrec.words.settings import DescribeConfig, ProfilesConfig


def ask(url: str, calls: int = 10) -> str:
    return Endpoint(url, "m", Budget(20.0, calls, 10**6)).complete("system", "prompt", TEXT_SCHEMA, 16)


@pytest.mark.guarantee("G14")
@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "all_proxy"])
def test_what_is_meant_for_this_machine_goes_to_no_proxy(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("GNNREC_LLM_KEY", "sk-secret")
    with serving(lambda _: said("from the proxy")) as proxy, serving(lambda _: said("from the server")) as fake:
        monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
        assert ask(fake.url) == "from the server"
    assert proxy.requests == [] and fake.headers[0]["authorization"] == "Bearer sk-secret"


@pytest.mark.guarantee("G14")
@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_where_a_server_points_to_nobody_is_asked(status: int) -> None:
    with serving(lambda _: said("elsewhere")) as other:
        where = {"location": f"{other.url}/chat/completions"}
        with serving(lambda _: (status, where, "{}")) as fake, pytest.raises(NoAnswer, match=f"status {status}"):
            ask(fake.url)
    assert other.requests == [] and len(fake.requests) == 1


def test_an_answer_without_end_is_not_read_to_the_end() -> None:
    whole: Any = said("x" * 10_000)
    with serving(lambda _: whole) as fake:
        assert ask(fake.url) == "x" * 10_000
    endless = " " * (5 << 20) + json.dumps(whole)
    with serving(lambda _: (200, {}, endless)) as fake, pytest.raises(NoAnswer, match="larger than 4 MB"):
        ask(fake.url)
    assert len(fake.requests) == 1, "the same question would get the same answer"


def test_a_packed_answer_is_not_unpacked() -> None:
    packed = gzip.compress(json.dumps(said("x")).encode() + b" " * (64 << 20))
    how = {"content-encoding": "gzip"}
    with serving(lambda _: (200, how, packed)) as fake, pytest.raises(NoAnswer, match="packed"):
        ask(fake.url)
    assert fake.headers[0]["accept-encoding"] == "identity" and len(packed) < 1 << 20


@pytest.mark.parametrize(
    "address",
    ["ftp://here/v1", "here", "http://", "http://127.0.0.1:port/v1", "http://127.0.0.1:70000/v1", "http://[::1"],
)
def test_what_is_no_address_is_one_line(address: str) -> None:
    for make in (lambda: ask(address), lambda: ModelConfig(provider="openai", base_url=address)):
        with pytest.raises(UserError, match=r"\.base_url: found '.*; allowed: an address such as http://127"):
            make()


def test_no_name_stands_in_an_address() -> None:
    with pytest.raises(UserError, match=r"model\.base_url: found a name or password; allowed: a key in GNNREC_LLM_KEY"):
        ModelConfig(provider="openai", base_url="http://user:secret@127.0.0.1/v1")


@pytest.mark.parametrize("kind", [LLMConfig, DescribeConfig, ProfilesConfig])
def test_whoever_names_a_server_wants_it_asked(kind: type[ModelConfig]) -> None:
    allowed = rf"^{kind.section}\.base_url: found an address; allowed: with {kind.section}\.provider=openai$"
    with pytest.raises(UserError, match=allowed):
        kind(model="smollm2", base_url="http://127.0.0.1:8080/v1")
