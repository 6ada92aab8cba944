"""Users, histories, items, the map and the training, as the page asks for them."""

import asyncio
import shutil

import numpy as np

from gnnrec.plots.project import project
from gnnrec.run_folder import Run
from gnnrec.serve import projection
from gnnrec.serve.maps import Maps
from gnnrec.serve.service import Service
from gnnrec.serve.settings import ServeConfig


def test_users_are_found_by_any_part_of_their_ids(serve, tiny_runs):
    client, run = serve(tiny_runs["default"]), Run.load(tiny_runs["default"])

    def found(search, k=10):
        users = client.get("/users", params={"search": search, "k": k}).json()["users"]
        assert all(user["interactions"] == int((run.known.user == run.user_index(user["id"])).sum()) for user in users)
        return [user["id"] for user in users]

    assert found("U1", 3) == ["u1", "u10", "u11"]
    assert found("7") == ["u7", "u17", "u27", "u37"]
    assert found("") == [f"u{number}" for number in range(10)]
    assert found("nobody") == []


def test_a_history_has_the_newest_first(serve, tiny_runs):
    client, run = serve(tiny_runs["default"]), Run.load(tiny_runs["default"])
    rows = np.flatnonzero(run.known.user == run.user_index("u1"))[::-1]
    expected = [(run.item_ids[run.known.item[row]], float(run.known.rating[row])) for row in rows]
    told = client.get("/history", params={"user": "u1", "k": 50}).json()["items"]
    assert [(item["id"], item["rating"]) for item in told] == expected
    new = client.get("/recommend", params={"user": "u1", "k": 1}).json()["items"][0]["id"]
    client.post("/feedback", json={"user": "u1", "item": new, "rating": 4.5})
    told = client.get("/history", params={"user": "u1", "k": 3}).json()["items"]
    assert [(item["id"], item["rating"]) for item in told] == [(new, 4.5), *expected[:2]]
    client.post("/feedback", json={"user": "newcomer", "item": new})
    assert client.get("/history", params={"user": "newcomer"}).json()["items"][0]["rating"] is None
    assert client.get("/history", params={"user": "nobody"}).status_code == 404


def test_items_are_told_in_the_order_asked_and_strangers_left_out(serve, tiny_runs):
    client = serve(tiny_runs["default"])
    found = client.get("/items", params={"id": ["i4", "nothing", "i2"]}).json()["items"]
    assert found == [client.get(f"/items/{name}").json() for name in ("i4", "i2")]
    assert client.get("/items", params={"id": [f"i{n}" for n in range(101)]}).status_code == 422


def test_the_second_run_answers_where_it_is_asked(serve, tiny_runs, tmp_path):
    client = serve(tiny_runs["default"], compared=tiny_runs["popularity"])
    alone = serve(tiny_runs["popularity"])
    assert client.get("/ready").json()["compared"] == "popularity"
    asked = {"user": "u3", "compared": "true"}
    assert client.get("/candidates", params=asked).json() == alone.get("/candidates", params={"user": "u3"}).json()
    assert client.get("/training", params={"compared": "true"}).json()["epochs"] == []
    assert alone.get("/ready").json()["compared"] is None
    reasons = {"user": "u3", "item": client.get("/candidates", params=asked).json()["items"][0]["id"]}
    second = client.get("/explain", params=reasons | {"compared": "true"}).json()
    assert second == alone.get("/explain", params=reasons).json() != client.get("/explain", params=reasons).json()
    like = {"item": "i4", "k": 3}
    assert "popularity has no embeddings" in client.get("/similar", params=like | {"compared": "true"}).json()["error"]
    turned = serve(tiny_runs["popularity"], compared=tiny_runs["default"])
    near = turned.get("/similar", params=like | {"compared": "true"})
    assert near.status_code == 200 and near.json() == client.get("/similar", params=like).json()
    for path, params in (
        ("/candidates", asked),
        ("/explain", reasons | asked),
        ("/similar", like | {"compared": "true"}),
    ):
        assert alone.get(path, params=params).status_code == 404


def test_the_training_is_told_as_it_was_logged(serve, tiny_runs):
    told, run = serve(tiny_runs["default"]).get("/training").json(), Run.load(tiny_runs["default"])
    assert [row["epoch"] for row in told["epochs"]] == [1, 2, 3]
    assert told["metrics"] == run.metrics["metrics"]


def test_no_map_without_embeddings(serve, tiny_runs):
    answer = serve(tiny_runs["popularity"]).get("/map")
    assert answer.status_code == 422 and "popularity has no embeddings" in answer.json()["error"]


def test_a_map_is_made_once_by_a_process_of_its_own(tiny_runs, tmp_path, monkeypatch):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path))
    run = Run.load(tiny_runs["default"])

    async def scenario():
        maps = Maps()
        first = await maps.of(run)
        await asyncio.gather(*maps._making.values())
        return first, await maps.of(run), await Maps().of(run)

    first, second, again = asyncio.run(scenario())
    assert (first["method"], first["settled"]) == ("pca", False)
    assert (second["method"], second["settled"]) == ("tsne", True) and second == again
    expected = 2 * project(run.item_vectors).T - 1
    np.testing.assert_allclose([second["x"], second["y"]], expected, atol=1e-3)
    copy = shutil.copytree(run.folder, tmp_path / "copy")
    assert projection.kept(Run.load(copy)) == projection.kept(run)  # by the embeddings, not by the folder


def test_a_service_that_ends_does_not_wait_for_its_map(tiny_runs, tmp_path, monkeypatch):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path))

    async def scenario():
        service = Service(tiny_runs["default"], tmp_path, tmp_path / "log.jsonl", ServeConfig())
        assert not (await service.maps.of(service.served.run))["settled"]
        service.close()
        await asyncio.gather(*service.maps._making.values(), return_exceptions=True)

    asyncio.run(scenario())
    assert not list(tmp_path.glob("maps/*.npy"))
