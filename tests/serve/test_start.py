"""What is asked while the model and the graph are still read: answered once they are there, or told when to come."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from gnnrec.serve.security import add_key
from gnnrec.serve.served import Served

TIMEOUT = 2.0  # s; what is asked once the start is over is answered within it on a busy machine too
HISTORY = {"url": "/recommend", "params": {"history": ["i0", "i2"]}}


def ids(answer) -> list[str]:
    return [place["id"] for place in answer.json()["items"]]


@pytest.fixture
def held(serve, monkeypatch) -> Iterator[threading.Event]:
    """The start of a service goes on when this is set."""
    event, read = threading.Event(), Served.warm_up

    def warm_up(self: Served) -> None:
        event.wait()
        read(self)

    monkeypatch.setattr(Served, "warm_up", warm_up)
    yield event
    event.set()


@pytest.mark.parametrize("recipe", ["default", "item_knn"])
def test_who_needs_the_model_waits_for_it_longer_than_for_an_answer(serve, held, tiny_runs, recipe):
    client = serve(tiny_runs[recipe], timeout=TIMEOUT)
    assert client.get("/ready").json()["warm"] is False
    best = client.get("/recommend", params={"user": "u1"}).json()["items"][0]["id"]
    assert client.post("/feedback", json={"user": "u1", "item": best}).status_code == 201
    lists = [HISTORY, {"url": "/recommend", "params": {"user": "u1"}}]
    with ThreadPoolExecutor() as pool:
        early = [pool.submit(client.get, **asked) for asked in lists]
        time.sleep(TIMEOUT + 0.3)
        assert not any(answer.done() for answer in early)
        held.set()
        answers = [answer.result() for answer in early]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert client.get("/ready").json()["warm"] is True
    assert list(map(ids, answers)) == [ids(client.get(**asked)) for asked in lists]
    assert best not in ids(answers[1])


def test_who_has_waited_long_enough_is_told_to_come_again(serve, held, tiny_runs):
    client = serve(tiny_runs["default"], timeout=TIMEOUT, start_timeout=0.1)
    explained = {"url": "/explain", "params": {"user": "u1", "item": "i3"}}
    with ThreadPoolExecutor() as pool:
        early = list(pool.map(lambda asked: client.get(**asked), (HISTORY, explained)))
    for answer in early:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json() == {"error": "the service is still starting; come again"}
    held.set()
    while not client.get("/ready").json()["warm"]:
        time.sleep(0.01)
    assert client.get(**HISTORY).status_code == 200


@pytest.mark.parametrize(("patience", "status"), [(60.0, 200), (0.1, 504)])
def test_another_run_may_take_as_long_to_read_as_the_first(serve, held, tiny_runs, tmp_path, patience, status):
    boss = add_key(tmp_path / "keys.json", "boss", "admin")
    client = serve(tiny_runs["default"], tmp_path / "keys.json", timeout=0.3, start_timeout=patience)
    held.set()
    while not client.get("/ready").json()["warm"]:
        time.sleep(0.01)
    held.clear()
    threading.Timer(1.0, held.set).start()
    answer = client.post("/admin/run", json={"run": "item_knn"}, headers={"Authorization": f"Bearer {boss}"})
    assert answer.status_code == status
    assert status == 200 or answer.json() == {"error": "no answer within 0.4 s"}
    while client.get("/ready").json()["run"] != "item_knn":  # it goes on where nobody waits for it
        time.sleep(0.01)


def test_no_more_wait_for_the_start_than_may(serve, held, tiny_runs):
    client = serve(tiny_runs["default"], max_waiting=2)
    with ThreadPoolExecutor() as pool:
        early = [pool.submit(client.get, **HISTORY) for _ in range(2)]
        time.sleep(0.3)
        third = client.get(**HISTORY)
        held.set()
        assert [answer.result().status_code for answer in early] == [200, 200]
    assert (third.status_code, third.headers["retry-after"]) == (429, "1")
