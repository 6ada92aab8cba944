"""How a query meets the items: its speech as text, its request apart from what is asked for, and two views added up."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

from gnnrec.datasets import Dataset
from gnnrec.encoders.requests import Requests
from gnnrec.errors import UserError
from gnnrec.pipeline import train
from gnnrec.query import ContentQuery, content_similarity
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run

TALK = Path(__file__).parents[1] / "data/books/query/talk.ogg"
TITLES = ("Neural networks", "Pasta at home", "The fall of Rome", "Deep learning", "Bread and cake", "Caesar")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six items with titles only, encoded by the default."""
    folder = tmp_path_factory.mktemp("data") / "shelf"
    folder.mkdir()
    pl.DataFrame({"item": [f"i{n}" for n in range(6)], "title": TITLES}).write_csv(folder / "items.csv")
    rows = [(f"u{user}", f"i{item}") for user in range(12) for item in range(6) if (user + item) % 3]
    pl.DataFrame(rows, schema=["user", "item"], orient="row").write_csv(folder / "log.csv")
    (folder / "dataset.toml").write_text(
        '[interactions]\npath = "log.csv"\nuser = "user"\nitem = "item"\n'
        '[items]\npath = "items.csv"\nid = "item"\ntext = ["title"]\n'
    )
    recipe = load_recipe(overrides=["train.epochs=2", "model.dim=8"])
    return train(Dataset.load(folder), folder.parent / "run", recipe)


@pytest.fixture
def query(run: Run) -> ContentQuery:
    return ContentQuery(run)


def test_a_request_is_centred_by_requests_and_an_item_by_items(query: ContentQuery) -> None:
    text = "I like to read books about Rome."
    raw = {request: query.grown(text, None, None, request=request)["text"] for request in (True, False)}
    nodes, encoded = raw[False], query.encoders["text"].encode([text])
    centred = {request: (nodes.x[-1] * nodes.scale).numpy() for request, nodes in raw.items()}
    np.testing.assert_allclose(centred[False], encoded[0] - nodes.mean.numpy(), atol=1e-5)
    np.testing.assert_allclose(centred[True], Requests(query.encoders["text"]).taken_from(encoded)[0], atol=1e-5)


def test_content_is_compared_around_the_mean(query: ContentQuery) -> None:
    grown = query.grown("Deep learning", None, None)
    titles = [str(title) for title in query.run.items.titles()] if query.run.items else []
    values = query.encoders["text"].encode(titles)
    centred = values - values.mean(axis=0)
    asked = centred[titles.index("Deep learning")]
    expected = centred @ asked / np.linalg.norm(centred, axis=1) / np.linalg.norm(asked)
    np.testing.assert_allclose(content_similarity(grown), expected, atol=1e-4)


def test_a_dimension_that_is_the_same_everywhere_counts_nothing(query: ContentQuery) -> None:
    grown = query.grown("Deep learning", None, None)
    before = content_similarity(grown)
    grown["text"].x = torch.cat([grown["text"].x, torch.zeros(len(grown["text"].x), 1)], dim=1)
    grown["text"].scale = torch.cat([grown["text"].scale, torch.tensor([torch.inf])])
    torch.testing.assert_close(content_similarity(grown), before)


def test_both_views_weigh_the_same(query: ContentQuery) -> None:
    scores = query.score_items("Deep learning", None, None)
    grown = query.grown("Deep learning", None, None, request=True)
    with torch.no_grad():
        item = query.model.asked(grown).item.numpy()
    unit = item / np.linalg.norm(item, axis=1, keepdims=True)
    views = [unit[:-1] @ unit[-1], content_similarity(grown).numpy()]
    expected = sum((view - view.mean()) / view.std() for view in views) / 2
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


def test_what_is_said_stands_behind_the_text(query: ContentQuery) -> None:
    said = query.said(TALK)
    assert "deep learning" in said.lower()
    spoken = query.score_items("Show me books.", None, TALK)
    assert torch.equal(spoken, query.score_items(f"Show me books. {said}", None, None))
    assert not torch.equal(spoken, query.score_items("Show me books.", None, None))


def test_a_sound_that_cannot_be_used_is_one_clear_line(
    query: ContentQuery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soundfile.write(tmp_path / "tone.wav", 0.3 * np.sin(np.arange(32_000) / 20), 16_000)
    with pytest.raises(UserError, match=r"tone\.wav: no speech is heard in it, and .+ has no encoder of audio"):
        query.score_items(None, None, tmp_path / "tone.wav")
    (tmp_path / "broken.wav").write_text("no sound")
    with pytest.raises(UserError, match=r"broken\.wav: not a readable sound"):
        query.score_items(None, None, tmp_path / "broken.wav")
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "empty"))
    with pytest.raises(UserError, match=r"no encoder of audio, and for speech: .+ gnnrec models get whisper"):
        ContentQuery(query.run).score_items(None, None, TALK)


def test_without_a_speech_model_a_sound_is_no_query(run: Run) -> None:
    deaf = Run.load(run.folder)
    recipe = deaf.recipe
    deaf.__dict__["recipe"] = replace(recipe, encoders=replace(recipe.encoders, speech="none"))
    with pytest.raises(UserError, match="has no encoder of audio for a query; allowed: text"):
        ContentQuery(deaf).score_items(None, None, TALK)
