"""A run comes back from its folder alone, holds nothing of the test rows, and a damaged one says so in one line."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from gnnrec.datasets import Dataset, SplitConfig, split
from gnnrec.errors import UserError
from gnnrec.models import MODELS, Model, has_embeddings, model_scorer
from gnnrec.pipeline import evaluate, train
from gnnrec.ranking import embedding_scorer
from gnnrec.recipe import load_recipe
from gnnrec.recommend import Recommender
from gnnrec.run_folder import Run
from gnnrec.run_tensors import ranks_by_embeddings

FILES = (
    *("run.json", "settings.toml", "weights.safetensors", "embeddings.safetensors", "graph.safetensors"),
    *("items.parquet", "users.parquet"),
)
NEED_ORDER = ("transition", "slist", "sasrec")  # models of logs with times
LISTS: dict[bool, tuple[str, ...]] = {True: (), False: ("lists.safetensors",)}  # by whether embeddings say it all


def scores_of(model: Model, run: Run) -> torch.Tensor:
    with torch.no_grad():
        return model_scorer(model, run.known_graph)(torch.arange(len(run.user_ids)))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_comes_back_with_the_same_scores(
    name: str, planted_folder: Path, tiny_data: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(overrides=[f"model.name={name}", "train.epochs=2", "train.batch_size=200"])
    data = tiny_data if name in NEED_ORDER else planted_folder
    made = train(Dataset.load(data), tmp_path / "run", recipe)
    moved = shutil.move(tmp_path / "run", tmp_path / "moved")  # it stands alone
    back = Run.load(moved)
    fresh = Run.load(moved)
    assert torch.equal(scores_of(back.model, back), scores_of(fresh.model, fresh))
    state = load_file(Path(moved) / "weights.safetensors")
    for key, value in back.model.state_dict().items():
        assert torch.equal(value, state[key])
    assert back.user_ids == made.user_ids and back.item_ids == made.item_ids
    if has_embeddings(back.model):
        with torch.no_grad():
            again = back.model(back.known_graph)
        torch.testing.assert_close(back.embeddings.user, again.user, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(back.embeddings.item, again.item, atol=1e-5, rtol=1e-5)
    else:
        with pytest.raises(UserError, match=f"the model {name} scores without embeddings"):
            _ = back.embeddings
    # What was measured at the end of training is measured again from the folder.
    metrics = json.loads((Path(moved) / "metrics.json").read_text())["metrics"]
    assert evaluate(back, split_name="val").metrics == pytest.approx(metrics)


def test_the_settings_are_whole_and_read_back(planted_run: Run) -> None:
    recipe = load_recipe(str(planted_run.folder / "settings.toml"))
    assert recipe == planted_run.recipe
    assert recipe.split and recipe.train.epochs == 12 and recipe.model.dim == 16
    assert set(planted_run.items.titles()) == {f"Title of {name}" for name in planted_run.item_ids}
    log = [json.loads(line) for line in (planted_run.folder / "log.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in log] == list(range(1, planted_run.provenance["epochs"] + 1))
    assert (
        not list(planted_run.folder.glob("**/.tmp-*")) and not (planted_run.folder / "checkpoint.safetensors").exists()
    )


def pairs_in(value: object) -> set[tuple[int, int]]:
    """The columns of every [2, E] tensor of whole numbers."""
    tensor = torch.as_tensor(value)
    return set(map(tuple, tensor.T.tolist())) if tensor.ndim == 2 and len(tensor) == 2 else set()


def test_no_test_row_is_anywhere_in_the_folder(planted_folder: Path, planted_run: Run) -> None:
    parts = split(Dataset.load(planted_folder), SplitConfig(**planted_run.recipe.split))
    test, train_pairs, val = (
        set(zip(log.user.tolist(), log.item.tolist())) for log in (parts.test, parts.train, parts.val)
    )
    assert len(test) > 50 and not test & (train_pairs | val)
    stored: set[tuple[int, int]] = set()
    tensors = load_file(planted_run.folder / "graph.safetensors")
    for name, tensor in tensors.items():
        if "interacts" in name:
            found = pairs_in(tensor)
            stored |= {pair[::-1] for pair in found} if "rev_interacts" in name else found
    for name in ("train", "val"):
        stored |= set(zip(tensors[f"log/{name}/user"].tolist(), tensors[f"log/{name}/item"].tolist()))
    assert stored == train_pairs | val
    # No other file has room for a pair: tables have a row per id, weights a row per user or item, rejected.csv none.
    assert {path.name for path in planted_run.folder.iterdir()} == {
        *FILES, *LISTS[planted_run.ranks_by_embeddings], "metrics.json", "rejected.csv", "log.jsonl", "tensorboard"
    }  # fmt: skip
    for name, ids in (("users", planted_run.user_ids), ("items", planted_run.item_ids)):
        assert len(pl.read_parquet(planted_run.folder / f"{name}.parquet")) == len(ids)
    assert (planted_run.folder / "rejected.csv").read_text() == "file,line,reason,value\n"


def test_nothing_learned_depends_on_the_test_rows(planted_folder: Path, planted_run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(planted_folder, tmp_path / "data")
    log = pl.read_csv(folder / "interactions.csv")
    test = pl.col("split") == "test"
    moved = log.with_columns(pl.when(test).then(pl.col("item").reverse()).otherwise(pl.col("item")))
    moved = moved.filter(~test | moved.select("user", "item").is_unique())
    assert len(moved.join(log, on=["user", "item"]).filter(test)) < 0.5 * len(log.filter(test))
    moved.write_csv(folder / "interactions.csv")
    other = train(Dataset.load(folder), tmp_path / "run", planted_run.recipe)
    assert other.user_ids == planted_run.user_ids and other.item_ids == planted_run.item_ids
    for name in ("weights.safetensors", "graph.safetensors", "embeddings.safetensors", "metrics.json"):
        assert (other.folder / name).read_bytes() == (planted_run.folder / name).read_bytes(), name


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "noise", "json"])
def test_a_damaged_run_is_one_clear_line(name: str, damage: str, planted_run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(planted_run.folder, tmp_path / "run")
    path = folder / name
    whole = path.read_bytes()
    noise = np.random.default_rng(0).bytes(2000)
    contents = {"empty": b"", "cut": whole[: len(whole) // 2], "noise": noise, "json": b"[]"}
    path.unlink()
    if damage != "missing":
        path.write_bytes(contents[damage])
    with pytest.raises(UserError) as caught:
        run = Run.load(folder)
        Recommender(run).recommend(planted_run.user_ids[0])
        scores_of(run.model, run)
    message = str(caught.value)
    assert str(folder) in message and "\n" not in message and len(message) < 400


def test_weights_of_another_run_are_refused(planted_run: Run, tmp_path: Path) -> None:
    folder = shutil.copytree(planted_run.folder, tmp_path / "run")
    weights = load_file(folder / "weights.safetensors")
    save_file({name: value[:-1].clone() for name, value in weights.items()}, folder / "weights.safetensors")
    with pytest.raises(UserError, match=r"weights\.safetensors: does not fit settings\.toml and graph\.safetensors"):
        _ = Run.load(folder).model


def test_folders_that_hold_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        Run.load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no run"):
        Run.load(tmp_path)
    (tmp_path / "checkpoint.safetensors").touch()
    with pytest.raises(UserError, match="holds an unfinished run"):
        Run.load(tmp_path)


def test_scores_that_are_more_than_inner_products_are_noticed(planted_run: Run) -> None:
    embeddings = planted_run.embeddings
    inner = embedding_scorer(embeddings.user, embeddings.item)

    def with_more(users: torch.Tensor) -> torch.Tensor:
        scores = inner(users)
        scores[-1, 0] += 0.01
        return scores

    assert ranks_by_embeddings(inner, embeddings)
    assert not ranks_by_embeddings(with_more, embeddings)
