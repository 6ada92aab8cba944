"""`recommend --rerank --explain` and `explain` as they are typed."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from fake_server import in_order, said, serving

from gnnrec.errors import UserError
from gnnrec.llm.past import past_of
from gnnrec.llm.rerank import WEIGHTS
from gnnrec.llm.settings import LLMConfig, open_reranker, open_scorer
from gnnrec.recommend import Recommender


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))


@pytest.mark.guarantee("G1", "G16")
def test_rerank_gives_the_base_list_in_another_or_the_same_order(one_document, run_command, tiny_run, tiny_folder):
    asked = ("recommend", tiny_run.folder, "--user", "u3", "-k", 20)
    how = ("--rerank", "--set", f"llm.model={tiny_folder}", "llm.window=8", "llm.noun=films")
    base = [place.id for place in Recommender(tiny_run).recommend("u3", 20)]
    document = one_document(*asked, *how)
    found = document["items"]
    assert document["failures"] == []
    assert document["weight"]["users"] > 0
    assert [place["id"] for place in sorted(found, key=lambda place: place["base_rank"])] == base
    assert [place["id"] for place in found[8:]] == base[8:]
    assert [place["rank"] for place in found] == list(range(1, 21))
    status, out, err = run_command(*asked, *how)
    assert status == 0
    assert "weight" in err
    assert all(f"Title {name[1:]} " in out for name in base)
    assert one_document(*asked, *how) == document


def test_the_weight_is_one_of_those_tried_or_nothing(run_command, tiny_run, tiny_folder, tmp_path):
    run_command("recommend", tiny_run.folder, "--user", "u3", "--rerank", "--set", f"llm.model={tiny_folder}")
    (kept,) = (tmp_path / "cache" / "llm").glob("*.json")
    assert json.loads(kept.read_text())["value"] in (0, *WEIGHTS)


def test_explain_in_a_list_and_alone_say_the_same(one_document, run_command, tiny_run):
    found = one_document("recommend", tiny_run.folder, "--user", "u3", "-k", 3, "--explain")["items"]
    assert [place["id"] for place in found] == [place.id for place in Recommender(tiny_run).recommend("u3", 3)]
    for place in found:
        alone = one_document("explain", tiny_run.folder, "--user", "u3", "--item", place["id"])
        assert alone["explanation"] == place["explanation"]
        assert all(piece in alone["evidence"] for piece in place["evidence"])
        named = {name for sentence in place["explanation"] for name in sentence["evidence"]}
        assert {piece["id"] for piece in place["evidence"]} == named
    status, out, _ = run_command(
        "explain", tiny_run.folder, "--user", "u3", "--item", found[0]["id"], "--counterfactual"
    )
    assert status == 0
    assert found[0]["explanation"][0]["text"].split(" (")[0] in out
    assert "drawn at random" in out
    assert not alone["had"] and "has had it" not in out


def test_of_what_she_has_had_it_is_said(one_document, run_command, tiny_run):
    item = tiny_run.item_ids[tiny_run.known.item[tiny_run.known.user == tiny_run.user_index("u3")][0]]
    asked = ("explain", tiny_run.folder, "--user", "u3", "--item", item)
    assert one_document(*asked)["had"]
    assert "User u3 has had it; this is what else speaks for it." in run_command(*asked)[1]


@pytest.mark.parametrize("name", ["popularity", "item_knn"])
def test_models_without_embeddings_are_explained_too(one_document, tiny_runs, name):
    (place,) = one_document("recommend", tiny_runs[name], "--user", "u3", "-k", 1, "--explain")["items"]
    found = one_document("explain", tiny_runs[name], "--user", "u3", "--item", place["id"])
    assert found["explanation"] == place["explanation"]
    if name == "popularity":  # nothing that a user has matters to it
        assert place["explanation"] == []


def test_items_without_text_cannot_be_reranked(tiny_run):
    with pytest.raises(UserError, match="its items have no text"):
        open_reranker(replace(tiny_run, items=None), LLMConfig())


def at(fake):
    return ("--rerank", "--set", "llm.provider=openai", "llm.model=fake", f"llm.base_url={fake.url}", "llm.window=8")


def test_a_server_reranks_over_http(one_document, run_command, tiny_run):
    base = [place.id for place in Recommender(tiny_run).recommend("u3", 8)]
    with serving(in_order(str)) as fake:
        found = one_document("recommend", tiny_run.folder, "--user", "u3", "-k", 8, *at(fake))["items"]
        asked = len(fake.requests)
        assert asked > 0  # on validation at least
        assert sorted(place["id"] for place in found) == sorted(base)
        status, _, err = run_command("recommend", tiny_run.folder, "--user", "u3", *at(fake))
        assert (status, len(fake.requests)) == (0, asked)  # everything is known by now
        assert "weight" in err
        assert not re.search(r"\bu\d+\b", json.dumps([request["messages"] for request in fake.requests]))


@pytest.mark.guarantee("G3")
def test_a_server_that_is_down_leaves_the_graphs_order(run_command, tiny_run, tmp_path):
    base = [place.id for place in Recommender(tiny_run).recommend("u3", 8)]
    with serving(lambda _: (401, {}, "{}")) as fake:
        status, out, err = run_command("recommend", tiny_run.folder, "--user", "u3", "-k", 8, *at(fake))
    assert status == 0
    assert "status 401" in err
    assert re.search(
        r"^weight 0: what the language model is worth is not known \(of \d+ lists? of validation", err, re.M
    )
    assert "is not shown to help" not in err
    assert "Traceback" not in err
    assert [name for name in out.split() if name in base] == base
    assert list((tmp_path / "cache" / "llm").glob("*.json")) == []  # a failure is no finding


def test_a_server_that_contradicts_itself_is_told_of(one_document, run_command, tiny_run):
    base = [place.id for place in Recommender(tiny_run).recommend("u3", 8)]
    with serving(lambda _: said(json.dumps({"order": list(range(1, 20))}))) as fake:
        asked = ("recommend", tiny_run.folder, "--user", "u3", "-k", 8, *at(fake))
        found = one_document(*asked)
        _, _, err = run_command(*asked)
    assert (found["disagreed"], found["failures"]) == (True, [])
    assert [place["id"] for place in found["items"]] == base
    assert "answers to two orders disagree, so the order is the graph's" in err


def test_an_address_without_its_provider_is_refused(run_command, tiny_run):
    """Else the weights of this machine would be asked in silence."""
    how = ("--rerank", "--set", "llm.base_url=http://127.0.0.1:9/v1")
    status, out, err = run_command("recommend", tiny_run.folder, "--user", "u3", *how)
    assert (status, out) == (2, "")
    assert err == "gnnrec: llm.base_url: found an address; allowed: with llm.provider=openai\n"


def test_a_server_is_not_asked_for_a_model_that_nobody_named(run_command, tiny_run):
    how = ("--rerank", "--set", "llm.provider=openai", "llm.base_url=http://127.0.0.1:9/v1")
    status, out, err = run_command("recommend", tiny_run.folder, "--user", "u3", *how)
    assert (status, out) == (2, "")
    assert err == "gnnrec: llm.model: found ''; allowed with openai: the name of a model of the server\n"
    assert (LLMConfig().model, LLMConfig(model="other").model) == ("smollm2", "other")


@pytest.mark.guarantee("G4")
def test_no_scorer_is_the_graph_alone(one_document, run_command, tiny_run):
    base = [place.id for place in Recommender(tiny_run).recommend("u3", 5)]
    how = ("recommend", tiny_run.folder, "--user", "u3", "-k", 5, "--rerank", "--set", "llm.scorer=none")
    found = one_document(*how)["items"]
    assert [place["id"] for place in found] == base
    assert {place["llm_score"] for place in found} == {None}
    assert run_command(*how)[2] == "llm.scorer=none: nobody judges, so the order stays\n"


def test_scores_are_told_also_where_the_order_stays(one_document, tiny_run, llama_folder):
    base = [place.id for place in Recommender(tiny_run).recommend("u3", 6)]
    how = ("--rerank", "--set", f"llm.model={llama_folder}", "llm.window=4", "llm.val_users=5")
    found = one_document("recommend", tiny_run.folder, "--user", "u3", "-k", 6, *how)
    assert found["weight"]["value"] == 0  # random weights help nobody
    assert [place["id"] for place in found["items"]] == base
    config = LLMConfig(model=str(llama_folder))
    past = past_of(tiny_run.known, tiny_run.user_index("u3"))
    (values,) = open_scorer(tiny_run, config).score([past], [[tiny_run.item_index(name) for name in base[:4]]], [0])
    assert [place["llm_score"] for place in found["items"]] == [
        *(pytest.approx(v, abs=1e-3) for v in values),
        None,
        None,
    ]


@pytest.mark.guarantee("G17")
def test_local_weights_that_have_no_budget_leave_the_graphs_order(one_document, run_command, tiny_run, llama_folder):
    base = [place.id for place in Recommender(tiny_run).recommend("u3", 6)]
    how = ("--rerank", "--set", f"llm.model={llama_folder}", "llm.window=4", "llm.val_users=5")
    asked = ("recommend", tiny_run.folder, "--user", "u3", "-k", 6, *how, "llm.seconds=1e-9")
    found = one_document(*asked)
    assert found["weight"]["users"] > 0  # choosing it has no such end
    assert [place["id"] for place in found["items"]] == base
    assert {place["llm_score"] for place in found["items"]} == {None}
    assert found["failures"] == ["the budget of seconds is used up"]
    _, _, err = run_command(*asked)
    assert "so the order is the graph's: the budget of seconds is used up" in err


def test_reasons_can_be_phrased_by_a_server(one_document, tiny_run):
    asked = ("recommend", tiny_run.folder, "--user", "u3", "-k", 2, "--explain")
    plain = one_document(*asked)
    how = ("--set", "llm.phrase=true", "llm.provider=openai", "llm.model=fake")
    with serving(lambda _: said('{"text": "It goes with what you had."}')) as fake:
        found = one_document(*asked, *how, f"llm.base_url={fake.url}")
    assert [row["explanation"][0]["text"] for row in found["items"]] == ["It goes with what you had."] * 2
    assert found["phrasings_refused"] == 0
    with serving(lambda _: said('{"text": "It won 11 awards."}')) as fake:
        found = one_document(*asked, *how, f"llm.base_url={fake.url}")
    assert found["items"] == plain["items"]
    assert found["phrasings_refused"] == 2


def test_a_tuned_model_reranks_where_there_is_one(one_document, run_command, tiny_run, llama_folder, tmp_path):
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    small = ("tune.windows=4", "tune.soft_windows=4", "tune.batch=2", "tune.negatives=3", "tune.val_users=5")
    status, out, err = run_command("tune", folder, "--set", f"llm.model={llama_folder}", "llm.window=8", *small)
    assert status == 0, err
    assert "adapters: loss" in err
    assert "another user's" in out
    assert "soft tokens: o" in out  # on or off, as the controls say
    asked = ("recommend", folder, "--user", "u3", "--rerank", "--set", "llm.window=8")
    untold, told = one_document(*asked), one_document(*asked, "llm.scorer=tuned")
    assert untold == told
    block = one_document(*asked, "llm.scorer=block", f"llm.model={llama_folder}")
    assert block["weight"]["reranked"] != told["weight"]["reranked"]
    for settings, wrong in (
        (("llm.noun=films",), r"llm.noun: found 'films'; allowed with .*/tuned.safetensors: 'things', with which"),
        (("llm.past=card",), "llm.past: found 'card'; allowed with .*: 'titles'"),
        (("llm.scorer=tuned", "llm.model=other"), "llm.model: found 'other'; allowed with .*: '.*llama"),
        (("llm.model=/no/where",), r"^gnnrec: llm.model: /no/where: no such folder$"),  # another model, and not here
    ):
        status, out, err = run_command(*asked, *settings)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert re.search(wrong, err, re.M)
    status, _, err = run_command("tune", folder, "--set", f"llm.model={llama_folder}", *small)
    assert (status, err.count("\n")) == (2, 1)
    assert "there is a tuned language model already; delete it to make another" in err
    status, _, err = run_command("recommend", tiny_run.folder, "--user", "u3", "--rerank", "--set", "llm.scorer=tuned")
    assert status == 2
    assert "no tuned language model; make one: gnnrec tune" in err
