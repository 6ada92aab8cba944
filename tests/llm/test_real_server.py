"""The commands against a server that others wrote: `transformers serve` on loopback, with models made here.

It takes no schema and tells no log probabilities, and answers 200 all the same: what a new user has to live with.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from planted_model import save_planted
from real_server import transformers_server

from gnnrec.recommend import Recommender

ORDER = '{"order": [8, 7, 6, 5, 4, 3, 2, 1]}'
PHRASE = "It goes with what you had."


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with transformers_server(tmp_path_factory.mktemp("hub")) as address:
        yield address


@pytest.fixture(scope="module")
def orderer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_planted(tmp_path_factory.mktemp("orderer"), ORDER)


@pytest.fixture(scope="module")
def phraser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_planted(tmp_path_factory.mktemp("phraser"), PHRASE)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))


def asking(server: str, model: Path) -> tuple[str, ...]:
    return ("--set", "llm.provider=openai", f"llm.model={model}", f"llm.base_url={server}", "llm.seconds=60")


FEW = ("llm.window=8", "llm.val_users=3")


def test_a_real_server_is_asked_for_orders(one_document, tiny_run, server, orderer):
    base = [place.id for place in Recommender(tiny_run).recommend("u3", 8)]
    rerank = ("recommend", tiny_run.folder, "--user", "u3", "-k", 8, "--rerank")
    found = one_document(*rerank, *asking(server, orderer), *FEW)
    assert found["failures"] == []
    assert found["weight"]["users"] == 3
    # It names the last place first whatever stands there, so that nothing it says is believed.
    assert (found["weight"]["value"], found["weight"]["base"]) == (0.0, found["weight"]["reranked"])
    assert [place["id"] for place in found["items"]] == base


@pytest.mark.guarantee("G3", "G18")
def test_a_real_server_without_log_probabilities_leaves_the_graphs_order(run_command, tiny_run, server, orderer):
    base = [place.id for place in Recommender(tiny_run).recommend("u3", 8)]
    rerank = ("recommend", tiny_run.folder, "--user", "u3", "-k", 8, "--rerank")
    status, out, err = run_command(*rerank, *asking(server, orderer), *FEW, "llm.scorer=letters")
    assert status == 0
    assert "the server gave no log probabilities" in err
    assert [name for name in out.split() if name in base] == base


@pytest.mark.guarantee("G12")
def test_a_real_server_phrases_reasons(one_document, tiny_run, server, phraser, orderer):
    explain = ("recommend", tiny_run.folder, "--user", "u3", "-k", 2, "--explain")
    plain = one_document(*explain)
    found = one_document(*explain, *asking(server, phraser), "llm.phrase=true")
    assert [row["explanation"][0]["text"] for row in found["items"]] == [PHRASE] * 2
    refused = one_document(*explain, *asking(server, orderer), "llm.phrase=true")
    assert (refused["items"], refused["phrasings_refused"]) == (plain["items"], 2)


def test_a_model_that_a_real_server_does_not_have_is_a_failure_and_no_crash(run_command, tiny_run, server, tmp_path):
    base = [place.id for place in Recommender(tiny_run).recommend("u3", 8)]
    rerank = ("recommend", tiny_run.folder, "--user", "u3", "-k", 8, "--rerank")
    status, out, err = run_command(*rerank, *asking(server, tmp_path / "nowhere"), *FEW)
    assert status == 0
    assert "the server answered with status" in err
    assert "Traceback" not in err
    assert [name for name in out.split() if name in base] == base
