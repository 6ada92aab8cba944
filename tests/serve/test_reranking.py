"""`rerank` over HTTP: what the command line gives, and the graph's list in time whatever the language model does."""

import asyncio
import json
import threading
import time
from dataclasses import replace

import pytest
from fake_server import in_order, serving
from planted_model import save_planted
from stub_server import past

from gnnrec.llm.settings import LLMConfig
from gnnrec.recommend import Recommender
from gnnrec.serve import reranking
from gnnrec.serve.reranking import BROKEN
from gnnrec.serve.security import add_key
from gnnrec.serve.service import Service
from gnnrec.serve.settings import ServeConfig

WINDOW = 8


@pytest.fixture(scope="module")
def planted_folder(tmp_path_factory):
    return save_planted(tmp_path_factory.mktemp("llm") / "planted", "yes")


class Server:
    """Answers with the titles in reverse; held, ill or late as it is told."""

    def __init__(self):
        self.free, self.status, self.wait = threading.Event(), 200, 0.0
        self.free.set()
        self._answer = in_order(lambda title: [-ord(letter) for letter in title])

    def __call__(self, request):
        self.free.wait(30)
        time.sleep(self.wait)
        return self._answer(request) if self.status == 200 else (self.status, {}, "{}")


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def llm(tmp_path, monkeypatch, server):
    """The settings of a language model behind a server, and an own cache."""
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    with serving(server) as fake:
        server.requests = fake.requests
        yield LLMConfig(provider="openai", model="fake", base_url=fake.url, window=WINDOW, val_users=6)
        server.free.set()


@pytest.fixture
def typed(llm):
    """The same as typed after --set."""
    return ("llm.provider=openai", "llm.model=fake", f"llm.base_url={llm.base_url}", "llm.window=8", "llm.val_users=6")


@pytest.fixture
def weighed(one_document, tiny_run, typed, tmp_path):
    """Let the model count twice the graph, as if validation had said so: what the command kept is changed."""

    def change():
        one_document("recommend", tiny_run.folder, "--user", "u3", "--rerank", "--set", *typed)
        (kept,) = (tmp_path / "cache" / "llm").glob("*.json")
        kept.write_text(json.dumps(json.loads(kept.read_text()) | {"value": 2.0}))

    return change


def wait_until(state, client):
    for _ in range(600):
        if client.get("/ready").json()["rerank"] == state:
            return
        time.sleep(0.02)
    raise AssertionError(client.get("/ready").json())


def ask(client, user="u3", k=20):
    answer = client.get("/recommend", params={"user": user, "k": k, "rerank": True})
    assert answer.status_code == 200, answer.text
    return answer.json()


def assert_kept(answer, run, why):
    """The list of the graph, in the form of a reordered one, and the reason."""
    base = [place.to_json() for place in Recommender(run).recommend(answer["user"], len(answer["items"]))]
    # Requests of one moment are scored by one product, whose sums end in other bits.
    same = [
        place | {"score": pytest.approx(place["score"], rel=1e-5), "llm_score": None, "base_rank": place["rank"]}
        for place in base
    ]
    assert answer["items"] == same
    assert not answer["rerank"]["applied"] and why in answer["rerank"]["reason"]


def past_of(request):
    """What the model was told that the user liked."""
    return past("\n".join(message["content"] for message in request["messages"]))


def counted(client, outcome):
    (line,) = (
        line for line in client.get("/metrics").text.splitlines() if f'_reranks_total{{outcome="{outcome}"' in line
    )
    return float(line.split()[-1])


def test_a_reordered_list_is_that_of_the_command(serve, one_document, tiny_run, llm, typed, weighed):
    weighed()
    told = one_document("recommend", tiny_run.folder, "--user", "u3", "-k", 20, "--rerank", "--set", *typed)
    client = serve(tiny_run.folder, llm=llm)
    wait_until("ready", client)
    assert [place["base_rank"] for place in told["items"]][:WINDOW] != list(range(1, WINDOW + 1))
    found = ask(client)
    assert found["items"] == told["items"]
    assert found["rerank"] == {"applied": True, "weight": 2.0, "reason": None}
    by_post = client.post("/recommend", json={"user": "u3", "k": 20, "rerank": True})
    assert by_post.json() == found  # the second time from memory
    assert ask(client, k=5)["items"] == told["items"][:5]  # the window is longer than the list
    plain = client.get("/recommend", params={"user": "u3", "k": 5}).json()
    assert plain["items"] == [place.to_json() for place in Recommender(tiny_run).recommend("u3", 5)]
    assert "rerank" not in plain
    metrics = client.get("/metrics").text
    assert 'gnnrec_reranks_total{outcome="applied"} 2.0' in metrics
    assert "gnnrec_rerank_seconds_count 2.0" in metrics and "gnnrec_rerank_weight 2.0" in metrics


def test_weights_of_this_machine_are_asked_as_well(serve, one_document, tiny_run, tmp_path, monkeypatch):
    """By the scorer that needs no language model, so that nothing has to be here."""
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    command = ("recommend", tiny_run.folder, "--user", "u3", "--rerank", "--set", "llm.scorer=cosine", "llm.window=8")
    one_document(*command)
    (kept,) = (tmp_path / "cache" / "llm").glob("*.json")
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"value": 2.0}))
    told = one_document(*command)
    client = serve(tiny_run.folder, llm=LLMConfig(scorer="cosine", window=WINDOW))
    wait_until("ready", client)
    found = ask(client, k=10)
    assert found["rerank"]["applied"] and found["items"] == told["items"]


@pytest.mark.guarantee("G17")
def test_weights_of_this_machine_have_their_budget_for_each_list(
    serve, one_document, tiny_run, planted_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    folder = str(planted_folder)
    one_document("recommend", tiny_run.folder, "--user", "u3", "--rerank", "--set", f"llm.model={folder}")
    kept = next((tmp_path / "cache" / "llm").glob("*.json"))
    kept.write_text(json.dumps(json.loads(kept.read_text()) | {"value": 2.0}))
    enough = LLMConfig(model=folder, calls=2)  # a pass for each thread; three lists take three at least
    client = serve(tiny_run.folder, llm=enough)
    wait_until("ready", client)
    for user in ("u4", "u5", "u6"):
        assert ask(client, user)["rerank"]["applied"]
    client = serve(tiny_run.folder, llm=replace(enough, seconds=1e-9))
    wait_until("ready", client)
    assert_kept(ask(client, "u7"), tiny_run, "failed: the budget of seconds is used up")


def test_a_model_that_does_not_help_is_not_asked(serve, tiny_run, llm, server):
    client = serve(tiny_run.folder, llm=llm)
    wait_until("ready", client)
    asked = len(server.requests)
    assert asked > 0  # on validation
    answer = ask(client)
    assert_kept(answer, tiny_run, "weight 0")
    assert (answer["rerank"]["weight"], len(server.requests)) == (0.0, asked)
    assert counted(client, "unweighted") == 1


def test_while_the_weight_is_chosen_lists_are_the_graphs(serve, tiny_run, llm, server):
    server.free.clear()
    client = serve(tiny_run.folder, llm=llm)
    wait_until("preparing", client)
    assert_kept(ask(client), tiny_run, "still being chosen")
    server.free.set()
    wait_until("ready", client)
    assert "weight 0" in ask(client)["rerank"]["reason"]


def test_a_service_that_ends_does_not_wait_for_the_weight(serve, tiny_run, llm, server, tmp_path):
    everybody = replace(llm, val_users=300)

    async def scenario():
        service = Service(tiny_run.folder, tmp_path, tmp_path / "log.jsonl", ServeConfig(llm=everybody))
        await service.warm_up()
        while not server.requests:
            await asyncio.sleep(0.01)
        service.close()

    server.wait = 0.05
    asyncio.run(scenario())
    assert len(server.requests) <= 2  # two orders of the user that was begun
    server.wait = 0.0
    wait_until("ready", serve(tiny_run.folder, llm=everybody))
    assert len(server.requests) > 2  # there was more to do


def test_a_service_that_ends_while_it_starts_says_nothing_of_it(tiny_run, llm, tmp_path):
    async def scenario():
        service = Service(tiny_run.folder, tmp_path, tmp_path / "log.jsonl", ServeConfig(llm=llm))
        start = asyncio.create_task(service.warm_up())
        await asyncio.sleep(0)
        start.cancel()
        service.close()
        with pytest.raises(asyncio.CancelledError):
            await start

    asyncio.run(scenario())


def test_a_late_answer_leaves_the_graphs_list_in_time(serve, tiny_run, llm, server, weighed):
    weighed()
    client = serve(tiny_run.folder, llm=llm, timeout=3.0)
    wait_until("ready", client)
    server.wait = 8.0
    began = time.monotonic()
    answer = ask(client, "u7")
    assert time.monotonic() - began < 3.0
    assert_kept(answer, tiny_run, "no answer in time")
    server.wait = 0.0
    assert ask(client, "u9")["rerank"]["applied"]
    assert ask(client, "u7")["rerank"]["applied"]  # a list that was kept so is not kept in mind


def test_a_broken_server_is_left_alone_for_a_while(serve, tiny_run, llm, server, weighed):
    weighed()
    client = serve(tiny_run.folder, llm=llm)
    wait_until("ready", client)
    server.status = 401
    for user in range(BROKEN):
        assert_kept(ask(client, f"u{user + 7}"), tiny_run, "status 401")
    asked = len(server.requests)
    assert_kept(ask(client, "u20"), tiny_run, "is left alone")
    assert len(server.requests) == asked
    assert (counted(client, "failed"), counted(client, "resting")) == (BROKEN, 1)


def test_a_server_that_is_away_at_the_start_is_asked_again(serve, tiny_run, llm, server, monkeypatch):
    """That nothing was found out is not kept as a finding."""
    monkeypatch.setattr(reranking, "REST", 0.2)
    server.status = 401
    client = serve(tiny_run.folder, llm=llm)
    wait_until("unanswered", client)
    assert_kept(ask(client), tiny_run, "gave no answer while its weight was chosen")
    server.status = 200
    time.sleep(0.2)
    assert_kept(ask(client), tiny_run, "still being chosen")
    wait_until("ready", client)
    assert "weight 0" in ask(client)["rerank"]["reason"]


def test_a_list_of_a_run_that_has_gone_does_not_keep_the_new_one_waiting(
    tiny_run, tiny_runs, llm, server, tmp_path, monkeypatch
):
    monkeypatch.setattr(reranking, "REST", 0.0)

    async def until(service, served, state):
        while service.reranking.state(served) != state:
            await asyncio.sleep(0.01)

    async def scenario():
        service = Service(tiny_run.folder, tiny_run.folder.parent, tmp_path / "log.jsonl", ServeConfig(llm=llm))
        await service.warm_up()
        old = service.served
        await until(service, old, "unanswered")
        server.free.clear()
        server.status = 200
        await service.change_run("popularity")
        listed = await service.list_for(old, "u3", WINDOW)
        found = await service.reranking.reorder(old, old.users["u3"], listed, time.monotonic())
        server.free.set()
        assert found.outcome == "unanswered"
        async with asyncio.timeout(20):
            await until(service, service.served, "ready")
        service.close()

    server.status = 401
    asyncio.run(scenario())


def test_a_model_that_was_not_given_the_time_has_not_failed(serve, tiny_run, llm, server, weighed):
    """More lists than it has time for: those behind in the queue are late, and it is not left alone for that."""
    weighed()
    client = serve(tiny_run.folder, llm=llm, timeout=2.5, max_waiting_slow=16)
    wait_until("ready", client)
    server.wait = 0.5  # two questions a list; a list has 2 s
    threads = [threading.Thread(target=ask, args=(client, f"u{user}")) for user in range(7, 15)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert counted(client, "applied") >= 1 and counted(client, "late") >= 4
    assert counted(client, "resting") == 0


def test_one_list_at_a_time_is_asked_for_and_few_wait(serve, tiny_run, llm, server, weighed):
    weighed()
    client = serve(tiny_run.folder, llm=llm, max_waiting_slow=1)
    wait_until("ready", client)
    server.free.clear()
    asked, answers = len(server.requests), []
    users = [f"u{number}" for number in range(7, 12)]
    threads = [threading.Thread(target=lambda user=user: answers.append(ask(client, user))) for user in users]
    threads[0].start()
    while len(server.requests) == asked:  # else the others could come before it has left the queue
        time.sleep(0.02)
    [thread.start() for thread in threads[1:]]
    while counted(client, "busy") < len(users) - 2:
        time.sleep(0.02)
    assert len(server.requests) == asked + 1
    server.free.set()
    [thread.join() for thread in threads]
    kept = [answer for answer in answers if not answer["rerank"]["applied"]]
    assert len(kept) == len(users) - 2
    for answer in kept:
        assert_kept(answer, tiny_run, "too many lists wait")


def test_feedback_counts_for_the_graph_and_for_what_the_model_is_told(serve, tiny_run, llm, weighed, server):
    weighed()
    client = serve(tiny_run.folder, llm=llm)
    wait_until("ready", client)
    before = ask(client)["items"]
    asked = len(server.requests)
    client.post("/feedback", json={"user": "u3", "item": before[0]["id"]})
    after = ask(client)
    assert after["rerank"]["applied"] and before[0]["id"] not in [place["id"] for place in after["items"]]
    plain = client.get("/recommend", params={"user": "u3", "k": 20}).json()["items"]
    first = sorted(after["items"], key=lambda place: place["base_rank"])
    assert [(place["id"], place["score"]) for place in first] == [(place["id"], place["score"]) for place in plain]
    told = before[0]["title"]
    assert told in past_of(server.requests[-1]) and told not in past_of(server.requests[asked - 1])
    client.post("/feedback", json={"user": "newcomer", "item": "i3"})
    new = ask(client, "newcomer")
    assert new["rerank"]["applied"] and past_of(server.requests[-1]) == ("Title 3",)
    assert client.get("/recommend", params={"user": "nobody", "rerank": True}).status_code == 404


def test_another_run_is_weighed_anew(serve, tiny_run, tiny_runs, llm, weighed, tmp_path):
    weighed()
    boss = {"Authorization": f"Bearer {add_key(tmp_path / 'keys.json', 'boss', 'admin')}"}
    client = serve(tiny_run.folder, tmp_path / "keys.json", llm=llm)
    wait_until("ready", client)
    asked = {"params": {"user": "u3", "rerank": True}, "headers": boss}
    assert client.get("/recommend", **asked).json()["rerank"]["weight"] == 2.0
    client.post("/admin/run", json={"run": "popularity"}, headers=boss)
    wait_until("ready", client)
    found = client.get("/recommend", **asked).json()
    assert found["run"] == "popularity" and "weight 0" in found["rerank"]["reason"]


def test_a_history_is_reordered_as_by_the_command(serve, one_document, tiny_run, llm, typed, weighed):
    weighed()
    told = one_document("recommend", tiny_run.folder, "--history", "i3,i1", "--rerank", "--set", *typed)
    assert [place["base_rank"] for place in told["items"]][:WINDOW] != list(range(1, WINDOW + 1))
    client = serve(tiny_run.folder, llm=llm)
    wait_until("ready", client)
    found = client.post("/recommend", json={"history": ["i3", "i1"], "rerank": True}).json()
    assert [place["id"] for place in found["items"]] == [place["id"] for place in told["items"]]
    assert found["rerank"]["applied"] and found["history"] == ["i3", "i1"]
    missing = client.post("/recommend", json={"history": ["nothing"], "rerank": True})
    assert missing.status_code == 404


def test_it_is_off_unless_asked_for_and_goes_with_a_user_or_a_history(serve, tiny_run, llm):
    client = serve(tiny_run.folder)
    assert client.get("/ready").json()["rerank"] is None and "gnnrec_rerank" not in client.get("/metrics").text
    for asked in ({"user": "u3"}, {"history": ["i1"]}):
        answer = client.post("/recommend", json=asked | {"rerank": True})
        assert (answer.status_code, answer.json()["error"]) == (422, "rerank: the service was started without --rerank")
    answer = serve(tiny_run.folder, llm=llm).post("/recommend", json={"text": "x", "rerank": True})
    assert (answer.status_code, answer.json()["error"]) == (422, "rerank goes with user or history")


def test_a_model_that_cannot_be_used_with_the_run_takes_no_list_away(serve, tiny_run):
    client = serve(tiny_run.folder, llm=LLMConfig(model="nowhere"))
    wait_until("unusable", client)
    assert_kept(ask(client), tiny_run, "cannot be used with this run")


def test_the_document_says_what_is_answered(serve, tiny_run, llm):
    schemas = serve(tiny_run.folder, llm=llm).get("/openapi.json").json()["components"]["schemas"]
    assert {"user": "1", "k": 5, "rerank": True} in schemas["Ask"]["examples"]
    assert any("rerank" in example for example in schemas["Lists"]["examples"])
