"""A service of a catalogue above the limit answers by an index, nearly as it would by comparing with each item."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import gnnrec
from gnnrec.recommend import Recommender
from gnnrec.serve import nearest

DOCUMENT = Path(gnnrec.__file__).parents[1] / "docs" / "service.md"
LENGTH = 5
PATHS = ["/recommend", "/similar"]


@pytest.fixture
def indexed(serve, planted_run, monkeypatch):
    """A path, and how many of the index's lists it looks through (as the product says where that is None) -> for each
    user or item (ids and scores as served, the same by exact search)."""
    monkeypatch.setattr(nearest, "FLAT_LIMIT", len(planted_run.item_ids) - 1)
    build, recommender, made = nearest.build_index, Recommender(planted_run), []

    def pairs(path, lists):
        def build_wide(vectors, limit):
            made.append(build(vectors, limit))
            made[-1].nprobe = lists or made[-1].nprobe
            return made[-1]

        monkeypatch.setattr(nearest, "build_index", build_wide)
        client = serve(planted_run.folder)
        key, names, exactly = {
            "/recommend": ("user", planted_run.user_ids, recommender.recommend),
            "/similar": ("item", planted_run.item_ids, recommender.similar_items),
        }[path]
        found = []
        for name in names:
            places = client.get(path, params={key: name, "k": LENGTH}).json()["items"]
            served = {place["id"]: place["score"] for place in places}
            found.append((served, {place.id: place.score for place in exactly(name, len(planted_run.item_ids))}))
        assert made and all(index.ntotal == len(planted_run.item_ids) for index in made)
        return found

    return pairs


@pytest.mark.parametrize("path", PATHS)
def test_an_index_that_looks_everywhere_finds_what_exact_search_does(indexed, path):
    for found, exact in indexed(path, lists=1000):
        assert list(found) == list(exact)[:LENGTH]
        assert found == pytest.approx({name: exact[name] for name in found}, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("path", PATHS)
def test_an_index_as_it_is_finds_most_of_it_and_hides_what_was_had(indexed, path):
    recalls = []
    for found, exact in indexed(path, lists=None):
        assert set(found) <= set(exact)  # what she had, or the item itself, is in neither
        assert found == pytest.approx({name: exact[name] for name in found}, rel=1e-4, abs=1e-5)
        recalls.append(len(set(found) & set(list(exact)[:LENGTH])) / LENGTH)
    print(f"recall {np.mean(recalls):.3f}")
    assert np.mean(recalls) > 0.8, f"recall {np.mean(recalls):.3f}"


def test_likeness_waits_for_its_index_while_lists_are_answered(serve, planted_run, monkeypatch):
    build, made, go_on = nearest.build_index, [], threading.Event()

    def held(vectors, limit):
        made.append(len(vectors))
        assert len(made) == 1 or go_on.wait(20)  # the first one is that of lists
        return build(vectors, limit)

    monkeypatch.setattr(nearest, "FLAT_LIMIT", len(planted_run.item_ids) - 1)
    monkeypatch.setattr(nearest, "build_index", held)
    client = serve(planted_run.folder, timeout=3.0)
    item, user = planted_run.item_ids[0], planted_run.user_ids[0]
    with ThreadPoolExecutor() as pool:
        early = pool.submit(client.get, "/similar", params={"item": item})
        while len(made) < 2:
            time.sleep(0.01)
        listed = client.get("/recommend", params={"user": user})
        waiting = not early.done()
        go_on.set()
        assert waiting and (listed.status_code, early.result().status_code) == (200, 200)
    assert client.get("/ready").json()["warm"] and len(made) == 2


def test_the_limit_is_the_one_of_the_document(monkeypatch):
    told = re.search(r"more than ([\d,]+) items is asked through a FAISS index", DOCUMENT.read_text())
    assert told is not None and told[1] == "200,000"
    monkeypatch.setattr(nearest, "build_index", lambda vectors, limit: limit)  # to build one would take a minute
    assert nearest.Nearest(np.zeros((200_000, 1), dtype=np.float32)).index is None
    assert nearest.Nearest(np.zeros((200_001, 1), dtype=np.float32)).index == 200_000
