"""`train` with finetune.*: the frozen run, the encoder of the run's own, and the run that uses it everywhere."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from gnnrec import finetuning
from gnnrec.datasets import Dataset
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.errors import UserError
from gnnrec.finetuning import train, users_of
from gnnrec.query import ContentQuery
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.run_folder import Run

NOISE = ("one", "two", "three", "four", "five")
FEW = ("train.epochs=3", "model.dim=8", "train.batch_size=128", "encoders.image=none")


@pytest.fixture(scope="module")
def data(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The tiny data with texts that have to be encoded: one word of the genre, which decides the log, among others."""
    folder, random = tmp_path_factory.mktemp("data") / "texts", np.random.default_rng(0)
    shutil.copytree(tiny_data, folder)
    described = (folder / "dataset.toml").read_text().partition("[features.text]")[0]
    (folder / "dataset.toml").write_text(described.replace('["title", "genres"]', '["title"]'))
    items = pl.read_csv(folder / "items.csv")
    titles = [
        " ".join(random.permutation([*random.choice(NOISE, 8), genres.partition("|")[0]])) for genres in items["genres"]
    ]
    items.with_columns(title=pl.Series(titles)).write_csv(folder / "items.csv")
    return Dataset.load(folder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT with random weights that knows the words of the tiny data."""
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "Action", "Comedy", *NOISE]
    tokenizer = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=32, **sizes)).save_pretrained(folder)
    return folder


def recipe_of(bert: Path, *more: str) -> Recipe:
    tuned = (
        "finetune.text=lora",
        "finetune.signal=recommender",
        "finetune.epochs=8",
        "finetune.patience=8",
        "finetune.batch=8",
        "finetune.learning_rate=0.03",
    )
    return load_recipe(None, [*FEW, f"encoders.text={bert}", *tuned, *more])


def standardized(values: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """As the graph has features: per dimension, over all items."""
    return ((values if rows is None else rows) - values.mean(0)) / values.std(0)


@pytest.fixture(scope="module")
def run(data: Dataset, bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(data, tmp_path_factory.mktemp("runs") / "tuned", recipe_of(bert))


def test_the_run_uses_its_own_encoder_and_stands_beside_the_frozen_one(run: Run, data: Dataset, bert: Path) -> None:
    own = open_encoder("text", str(run.folder / "encoders" / "text"))
    assert data.items is not None
    texts = data.items.content("text")
    np.testing.assert_allclose(run.graph["text"].x, standardized(own.encode(texts)), atol=1e-4)
    frozen = run.frozen
    assert frozen is not None and not frozen.recipe.finetune.chosen() and frozen.metrics["metrics"]
    before = open_encoder("text", str(bert)).encode(texts)
    np.testing.assert_allclose(frozen.graph["text"].x, standardized(before), atol=1e-4)
    assert np.abs(own.encode(texts) - before).max() > 0.1
    assert run.provenance["finetuned"]["text"]["settings"]["signal"] == "recommender"
    assert not list((run.folder / "encoders").glob("*checkpoint*"))


def test_a_query_goes_through_it_wherever_the_run_was_moved(run: Run, data: Dataset, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(run.folder, moved)
    grown = ContentQuery(Run.load(moved)).grown("one Action", None, None)
    assert data.items is not None
    own = open_encoder("text", str(moved / "encoders" / "text"))
    expected = standardized(own.encode(data.items.content("text")), own.encode(["one Action"]))
    np.testing.assert_allclose(grown["text"].x[-1:], expected, atol=1e-3)
    shutil.rmtree(moved / "encoders")
    with pytest.raises(UserError, match=r"encoders/text: no such folder; finetune.text is on"):
        ContentQuery(Run.load(moved)).grown("one Action", None, None)


def test_users_are_those_of_the_train_rows(run: Run) -> None:
    frozen = run.frozen
    assert frozen is not None
    users = users_of(frozen.model, frozen.graph)
    with torch.no_grad():
        assert np.array_equal(users, frozen.model(frozen.graph).user.numpy())
    assert not np.allclose(users, frozen.embeddings.user.numpy())  # these have seen the validation rows


def test_a_stopped_call_does_nothing_twice(
    data: Dataset, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def stop(*_: object, **__: object) -> Run:
        raise KeyboardInterrupt

    recipe = recipe_of(bert, "finetune.signal=history", "finetune.frozen=false")
    with monkeypatch.context() as patch:
        patch.setattr(finetuning.pipeline, "train", stop)
        with pytest.raises(KeyboardInterrupt):
            train(data, tmp_path / "run", recipe, say=said.append)
    assert any("is fine-tuned (lora)" in line for line in said)
    said.clear()
    with pytest.raises(UserError, match=r"encoders/text: was made under other settings or data"):
        train(data, tmp_path / "run", recipe_of(bert, "finetune.signal=users", "finetune.frozen=false"))
    run = train(data, tmp_path / "run", recipe, say=said.append)
    assert not any("is fine-tuned" in line for line in said)
    assert run.frozen is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("encoders.text=none",), "finetune.text: encoders.text is 'none'"),
        (("encoders.text=use",), "encoders.text: use cannot be fine-tuned; allowed: minilm"),
        (("finetune.text=half",), "finetune.text: found 'half'; allowed: none, lora, full"),
        (("finetune.signal=all",), "finetune.signal: found 'all'; allowed: history, users, recommender"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_trained(
    settings: Sequence[str], said: str, data: Dataset, bert: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=said):
        train(data, tmp_path / "run", recipe_of(bert, *settings))
    assert not (tmp_path / "run").exists()


def test_features_made_elsewhere_have_no_encoder_to_tune(tiny_data: Path, bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"finetune.text: its features are made elsewhere"):
        train(Dataset.load(tiny_data), tmp_path / "run", recipe_of(bert))


@pytest.mark.parametrize(
    "command",
    [
        ("encode",),
        ("modalities",),
        ("tune-settings", "--out", "study"),
        ("fit-encoder", "--kind", "lsa", "--out", "new"),
    ],
)
def test_verbs_that_do_not_fine_tune_say_so(
    command: Sequence[str], run_command, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    verb, *more = command
    status, _, err = run_command(verb, data.root, *more, "--set", "finetune.text=lora")
    assert status == 2 and f"finetune.text: {verb} does not fine-tune; allowed: none" in err


def test_the_command_prints_the_frozen_result_beside(run_command, data: Dataset, bert: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(replace(recipe_of(bert), split={}).to_toml())
    status, out, err = run_command("train", data.root, "--out", tmp_path / "run", "--recipe", recipe)
    assert status == 0, err
    assert "modality_gnn" in out and "frozen encoders" in out
    assert "lists by text alone, NDCG@10 on validation" in err
    metrics = json.loads((tmp_path / "run" / "frozen" / "metrics.json").read_text())["metrics"]
    assert f"{metrics['ndcg@10']:.4f}" in out
