"""`train` with finetune.*: the frozen run, the encoder of the run's own, and the run that uses it everywhere."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTImageProcessor,
    ViTModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from gnnrec import finetuning
from gnnrec.datasets import Dataset
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.media import reader_of
from gnnrec.errors import UserError
from gnnrec.finetuning import train, users_of
from gnnrec.query import ContentQuery
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.run_folder import Run

KINDS = (("posters", "png"), ("clips", "wav"))
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


@pytest.fixture(scope="module")
def media(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The tiny data with pictures and sounds that have to be encoded: a patch's colour, and a tone among noise, say the
    genre."""
    folder, random = tmp_path_factory.mktemp("data") / "media", np.random.default_rng(0)
    shutil.copytree(tiny_data, folder)
    described = (folder / "dataset.toml").read_text().partition("[features.text]")[0]
    (folder / "dataset.toml").write_text(described + 'audio = "clip"\n')
    items = pl.read_csv(folder / "items.csv")
    posters, clips = ([f"{kind}/{item}.{ending}" for item in items["item"]] for kind, ending in KINDS)
    time = np.arange(4000) / 16_000
    (folder / "clips").mkdir()
    for genres, poster, clip in zip(items["genres"], posters, clips, strict=True):
        action = genres.startswith("Action")
        pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        pixels[:8, :8] = (255, 0, 0) if action else (0, 0, 255)
        Image.fromarray(pixels).save(folder / poster)
        others = sum(np.sin(2 * np.pi * tone * time) for tone in random.uniform(300, 6000, 3))
        tone = np.sin(2 * np.pi * (1000 if action else 2200) * time + random.uniform())
        soundfile.write(folder / clip, 0.2 * (0.6 * others + tone), 16_000)
    items.with_columns(poster=pl.Series(posters), clip=pl.Series(clips)).write_csv(folder / "items.csv")
    return Dataset.load(folder)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A ViT and a wav2vec 2.0 with random weights."""
    made = {modality: tmp_path_factory.mktemp(modality) for modality in ("image", "audio")}
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    torch.manual_seed(0)
    ViTModel(ViTConfig(image_size=32, patch_size=8, **sizes)).save_pretrained(made["image"])
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(made["image"])
    layers = {"conv_dim": (16, 16), "conv_kernel": (20, 8), "conv_stride": (10, 20), "num_feat_extract_layers": 2}
    Wav2Vec2Model(Wav2Vec2Config(**layers, **sizes)).save_pretrained(made["audio"])
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(made["audio"])
    return made


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


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_pictures_and_sounds_learn_within_a_training(
    modality: str, media: Dataset, bases: dict[str, Path], run_command, tmp_path: Path
) -> None:
    """As texts do: the frozen run beside it, the encoder of its own in the graph, and in what is asked of it later."""
    settings = {"frozen": "true", "epochs": 4, "patience": 4, "batch": 8, "learning_rate": 0.003, modality: "full"}
    chosen = [f"finetune.{key}={value}" for key, value in settings.items()]
    encoders = [f"encoders.{name}={bases[name] if name == modality else 'none'}" for name in ("text", "image", "audio")]
    out, few = tmp_path / "run", [setting for setting in FEW if not setting.startswith("encoders.")]
    status, said, err = run_command("train", media.root, "--out", out, "--set", *few, *encoders, *chosen)
    assert status == 0, err
    assert "frozen encoders" in said and f"lists by {modality} alone, NDCG@10 on validation" in err
    run = Run.load(out)
    own = open_encoder(modality, str(out / "encoders" / modality))
    assert media.items is not None and run.frozen is not None
    contents = [Path(str(content)) for content in media.items.content(modality)]
    read = [reader_of(modality, own, 30)(content) for content in contents]
    rows, before = own.encode(read), open_encoder(modality, str(bases[modality])).encode(read)
    np.testing.assert_allclose(run.graph[modality].x, standardized(rows), atol=1e-3)
    np.testing.assert_allclose(run.frozen.graph[modality].x, standardized(before), atol=1e-3)
    assert np.abs(rows - before).max() > 0.1
    held_out = run.provenance["finetuned"][modality]["held_out"]
    assert max(held_out) > held_out[0]
    image, audio = (contents[0] if modality == kind else None for kind in ("image", "audio"))
    grown = ContentQuery(run).grown(None, image, audio)
    np.testing.assert_allclose(grown[modality].x[-1], standardized(rows)[0], atol=1e-3)


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
        (
            ("encoders.audio=log_mel", "finetune.audio=full"),
            "encoders.audio: log_mel cannot be fine-tuned; allowed: mus",
        ),
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
