"""What the service answers: the lists of the Recommender, feedback at once, another run without a dropped request."""

import asyncio
import gc
import io
import json
import shutil
import threading
import time
import weakref
from pathlib import Path

import pytest
from PIL import Image

from gnnrec.recommend import Recommender
from gnnrec.run_folder import Run
from gnnrec.serve.security import add_key
from gnnrec.serve.served import Served
from gnnrec.serve.service import Service
from gnnrec.serve.settings import ServeConfig


def ids(answer) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [place["id"] for place in answer.json()["items"]]


@pytest.mark.parametrize("recipe", ["default", "popularity", "item_knn"])
def test_lists_are_those_of_the_recommender(serve, tiny_runs, recipe):
    client, recommender = serve(tiny_runs[recipe]), Recommender.load(tiny_runs[recipe])
    for user in ("u0", "u17"):
        places = [place.to_json() for place in recommender.recommend(user, 5)]
        for answer in (
            client.get("/recommend", params={"user": user, "k": 5}),
            client.get("/recommend", params={"user": user, "k": 5}),  # the second time from memory
            client.post("/recommend", json={"user": user, "k": 5}),
            client.post("/recommend", data={"user": user, "k": "5"}),
        ):
            assert answer.json() == {"user": user, "run": recipe, "items": places}


def test_lists_by_embeddings_are_batched_and_the_same(serve, planted_run):
    assert planted_run.ranks_by_embeddings
    client, recommender = serve(planted_run.folder, window=0.05), Recommender(planted_run)
    answers = {}

    def ask(user):
        answers[user] = ids(client.get("/recommend", params={"user": user}))

    threads = [threading.Thread(target=ask, args=(user,)) for user in planted_run.user_ids[:12]]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert answers == {user: [p.id for p in recommender.recommend(user)] for user in planted_run.user_ids[:12]}


def test_a_history_is_folded_in_and_not_recommended(serve, tiny_runs):
    client = serve(tiny_runs["item_knn"])
    by_get = client.get("/recommend", params={"history": ["i0", "i2"], "k": 20})
    by_post = client.post("/recommend", json={"history": ["i0", "i2"], "k": 20})
    assert ids(by_get) == ids(by_post) and not {"i0", "i2"} & set(ids(by_get))
    run = Run.load(tiny_runs["item_knn"])
    user = run.user_index("u0")
    mine = [run.item_ids[item] for item in run.known.item[run.known.user == user]]
    whole = client.get("/recommend", params={"user": "u0", "k": 10}).json()["items"]
    assert client.get("/recommend", params={"history": mine, "k": 10}).json()["items"] == whole


def test_feedback_counts_at_once_and_after_a_restart(serve, tiny_runs, tmp_path):
    client = serve(tiny_runs["default"])
    before = ids(client.get("/recommend", params={"user": "u1", "k": 30}))
    told = client.post("/feedback", json={"user": "u1", "item": before[0], "rating": 5, "timestamp": 99})
    assert told.status_code == 201
    event = {"user": "u1", "item": before[0], "rating": 5.0, "timestamp": 99}
    assert told.json() == event
    assert [json.loads(line) for line in (tmp_path / "feedback.jsonl").read_text().splitlines()] == [event]
    after = ids(client.get("/recommend", params={"user": "u1", "k": 30}))
    assert before[0] not in after and set(after) < set(before)
    # Somebody new: the first thing she takes makes a list, the same as for a history of that thing.
    assert client.get("/recommend", params={"user": "newcomer"}).status_code == 404
    assert client.post("/feedback", json={"user": "newcomer", "item": "i3"}).status_code == 201
    new = ids(client.get("/recommend", params={"user": "newcomer"}))
    assert new == ids(client.get("/recommend", params={"history": ["i3"]}))
    again = serve(tiny_runs["default"])
    assert ids(again.get("/recommend", params={"user": "newcomer"})) == new
    assert ids(again.get("/recommend", params={"user": "u1", "k": 30})) == after


@pytest.mark.parametrize("rating", [-77, 0.99, 5.01, 1e300])
def test_a_rating_off_the_scale_of_the_log_is_refused(serve, tiny_runs, tmp_path, rating):
    client = serve(tiny_runs["default"])
    before = ids(client.get("/recommend", params={"user": "u1"}))
    told = client.post("/feedback", json={"user": "u1", "item": before[0], "rating": rating})
    assert (told.status_code, told.json()) == (
        422,
        {"error": f"rating: found {rating:g}; allowed: 1 to 5, as in the log"},
    )
    assert (tmp_path / "feedback.jsonl").read_bytes() == b""
    assert ids(client.get("/recommend", params={"user": "u1"})) == before
    for allowed in (1, 5, 4.7, None):
        event = {"user": "u1", "item": before[0], "rating": allowed}
        assert client.post("/feedback", json=event).status_code == 201


def test_a_run_that_knows_no_scale_takes_any_rating(serve, tiny_runs, tmp_path):
    run = shutil.copytree(tiny_runs["popularity"], tmp_path / "run")
    told = json.loads((run / "run.json").read_text())
    assert told["dataset"].pop("rating_scale") == [1.0, 5.0]
    (run / "run.json").write_text(json.dumps(told))
    client = serve(run)
    assert client.post("/feedback", json={"user": "u1", "item": "i1", "rating": 100}).status_code == 201


def test_what_is_in_the_run_already_is_not_told_twice(serve, tiny_runs):
    client, run = serve(tiny_runs["default"]), Run.load(tiny_runs["default"])
    before = client.get("/recommend", params={"user": "u1"}).json()
    had = run.item_ids[run.known.item[run.known.user == run.user_index("u1")][0]]
    assert client.post("/feedback", json={"user": "u1", "item": had}).status_code == 201
    assert client.get("/recommend", params={"user": "u1"}).json() == before


def test_likeness_items_and_reasons(serve, tiny_runs, one_document):
    run = tiny_runs["default"]
    client, recommender = serve(run), Recommender.load(run)
    near = ids(client.get("/similar", params={"item": "i4", "k": 3}))
    assert near == [place.id for place in recommender.similar_items("i4", 3)]
    item = client.get("/items/i4").json()
    assert (item["title"], item["fields"]["genres"], item["media"]) == ("Title 4", "Action|War", ["image"])
    assert client.get("/items/i5").json()["media"] == []
    best = ids(client.get("/recommend", params={"user": "u0"}))[0]
    reasons = client.get("/explain", params={"user": "u0", "item": best}).json()
    assert reasons == one_document("explain", run, "--user", "u0", "--item", best) | {"run": "default"}
    client.post("/feedback", json={"user": "newcomer", "item": "i3"})
    unknown = client.get("/explain", params={"user": "newcomer", "item": "i4"})
    assert unknown.status_code == 404 and "only her feedback is here" in unknown.json()["error"]


def test_an_explanation_that_came_too_late_is_kept(serve, tiny_runs, monkeypatch):
    client, asked, go_on = serve(tiny_runs["default"], timeout=2.0), [], threading.Event()
    found = Served.explained

    def slow(served, user, item):
        asked.append(served)
        go_on.wait(60)
        return found(served, user, item)

    monkeypatch.setattr(Served, "explained", slow)
    while not client.get("/ready").json()["warm"]:  # until then it may take longer
        time.sleep(0.01)
    late = {"user": "u1", "item": "i3"}
    assert client.get("/explain", params=late).status_code == 504
    go_on.set()
    until = time.monotonic() + 60
    while asked[0].reasons.get(("u1", "i3")) is None and time.monotonic() < until:
        time.sleep(0.05)
    go_on.clear()  # what is not kept would come too late again
    reasons = client.get("/explain", params=late).json()
    assert (reasons["user"], reasons["item"], len(asked)) == ("u1", "i3", 1)
    go_on.set()
    other = client.get("/explain", params={"user": "u1", "item": "i4"}).json()
    assert (other["user"], other["item"], len(asked)) == ("u1", "i4", 2)


def test_another_run_answers_without_a_dropped_request(serve, tiny_runs, tmp_path):
    keys = tmp_path / "keys.json"
    boss = {"Authorization": f"Bearer {add_key(keys, 'boss', 'admin')}"}
    client = serve(tiny_runs["default"], keys)
    expected = {
        name: [place.id for place in Recommender.load(tiny_runs[name]).recommend("u3", 5)]
        for name in ("default", "popularity")
    }
    assert expected["default"] != expected["popularity"]
    seen, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            answer = client.get("/recommend", params={"user": "u3", "k": 5}, headers=boss)
            seen.append((answer.status_code, answer.json()["run"], ids(answer)))

    thread = threading.Thread(target=ask)
    thread.start()
    for name in ("popularity", "default", "popularity"):
        time.sleep(0.1)
        answer = client.post("/admin/run", json={"run": name}, headers=boss)
        assert (answer.status_code, answer.json()["run"]) == (200, name)
    time.sleep(0.1)
    stop.set()
    thread.join()
    assert {status for status, _, _ in seen} == {200} and {run for _, run, _ in seen} == set(expected)
    assert all(items == expected[run] for _, run, items in seen)
    assert "gnnrec_run_changes_total 3.0" in client.get("/metrics", headers=boss).text
    for name in ("nowhere", "..", "../runs/default", "/etc"):
        answer = client.post("/admin/run", json={"run": name}, headers=boss)
        assert answer.status_code == 422 and str(Path(tiny_runs["default"]).parent) not in answer.text
    assert client.get("/ready").json()["run"] == "popularity"


def test_a_run_that_was_changed_goes_from_memory_at_once(tiny_runs, tmp_path):
    """Without the help of the garbage collector, which does not look at what was there when the service began."""

    async def scenario():
        service = Service(tiny_runs["default"], tiny_runs["default"].parent, tmp_path / "log.jsonl", ServeConfig())
        await service.warm_up()
        await service.for_history(["i1", "i2"], 5)
        await service.for_user("u1", 5)
        await service.similar("i1", 5)
        old = weakref.ref(service.served)
        gc.disable()
        try:
            await service.change_run("popularity")
            await service.for_history(["i1", "i2"], 5)
            return old()
        finally:
            gc.enable()
            service.close()

    assert asyncio.run(scenario()) is None


def test_text_and_pictures_find_items(serve, content_run, tiny_data):
    client, recommender = serve(content_run), Recommender.load(content_run)
    picture = tiny_data / "posters" / "7.png"
    by_text = client.get("/recommend", params={"text": "Title 9. Comedy|Drama", "k": 3})
    assert ids(by_text) == [place.id for place in recommender.recommend_query("Title 9. Comedy|Drama", k=3)]
    found = client.post("/recommend", files={"image": ("x.png", picture.read_bytes())}, data={"k": "3"})
    assert ids(found)[0] == "i7"
    both = client.post(
        "/recommend", files={"image": picture.read_bytes()}, data={"text": "Title 7", "to_users": "true"}
    )
    expected = recommender.users_for_query("Title 7", picture)
    assert [place["id"] for place in both.json()["users"]] == [place.id for place in expected]


def test_what_cannot_be_read_says_why_and_not_where(serve, content_run, tmp_path):
    client = serve(content_run)
    bomb = io.BytesIO()
    Image.new("1", (9000, 9000)).save(bomb, "PNG")
    for sent, why in ((b"no picture", "not a readable picture"), (bomb.getvalue(), "at most 50 million are read")):
        answer = client.post("/recommend", files={"image": ("../../x.png", sent)})
        assert answer.status_code == 422 and answer.json()["error"].startswith("image: ") and why in answer.text
        assert "/" not in answer.json()["error"]
    answer = client.post("/recommend", files={"audio": b"no sound"})
    assert answer.status_code == 422 and answer.json()["error"].startswith("audio: not a readable sound")


def test_what_a_run_cannot_do_is_an_error_of_the_asker(serve, tiny_runs):
    client = serve(tiny_runs["popularity"])
    for answer in (client.get("/recommend", params={"text": "x"}), client.get("/similar", params={"item": "i1"})):
        assert answer.status_code == 422 and str(tiny_runs["popularity"]) not in answer.text
