"""Fine-tuning on a log with a known cause: some users take what is red, the others what is blue."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from test_huggingface import SMALL, WORDS, save_bert, save_tokenizer
from test_sentence_transformer import save_dense, save_modules
from torch.nn import functional as F
from transformers import AutoModel, T5Config, T5Model, ViTConfig, ViTImageProcessor, ViTModel

from gnnrec.datasets import Interactions
from gnnrec.encoders.augment import AugmentConfig, augmented
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.efficientnet import EfficientNetLite0
from gnnrec.encoders.features import Encoder
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.finetuned import FinetunedConfig, fit_finetuned
from gnnrec.encoders.fitted.log_training import LogTraining
from gnnrec.encoders.huggingface import HuggingFaceTextEncoder
from gnnrec.encoders.lora import ADAPTER, add_adapters, merge_adapters, pointwise_layers
from gnnrec.errors import UserError

ITEMS, USERS, EACH = 96, 60, 6
COLOUR = np.arange(ITEMS) % 2  # of an item, and by their parity of users


def log() -> Interactions:
    """Each user takes a few items of her colour: too few for the noise in them to cancel out."""
    random = np.random.default_rng(0)
    taken = [random.permutation(np.flatnonzero(user % 2 == COLOUR))[:EACH] for user in range(USERS)]
    user = np.repeat(np.arange(USERS), EACH).astype(np.int32)
    return Interactions(user=user, item=np.concatenate(taken).astype(np.int32), num_users=USERS, num_items=ITEMS)


def corpus_of(contents: list, **more: object) -> Corpus:
    given = {"train": log(), "val": log(), "device": torch.device("cpu"), "audio_seconds": 30} | more
    return Corpus(contents=contents, **given)


def texts() -> list[str]:
    """One word of the colour among others, which are noise."""
    random, made = np.random.default_rng(2), []
    for colour in COLOUR:
        words = random.choice(["a", "car", "house", "and"], size=random.integers(5, 10)).tolist()
        words.insert(random.integers(len(words)), ("red", "blue")[colour])
        made.append(" ".join(words))
    return made


def pictures(folder: Path) -> list[Path]:
    """The corner says the colour, everything else is noise."""
    random, paths = np.random.default_rng(3), []
    for item, colour in enumerate(COLOUR):
        pixels = random.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        pixels[:8, :8] = (255, 0, 0) if colour else (0, 0, 255)
        paths.append(folder / f"{item}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    save_bert(folder)
    return folder


def config_of(base: Path, **more: object) -> FinetunedConfig:
    small = {"rank": 4, "epochs": 6, "batch": 16, "learning_rate": 3e-3, "signal": "history"}
    return FinetunedConfig(base=str(base), **small | more)  # type: ignore[arg-type]


def fitted(folder: Path, corpus: Corpus, config: FinetunedConfig) -> tuple[dict, Encoder]:
    folder.mkdir()
    found = fit_finetuned(corpus, config, folder)
    facts = found | {"kind": "finetuned", "modality": config.modality, "settings": asdict(config)}
    (folder / "encoder.json").write_text(json.dumps(facts))
    return found, open_encoder(config.modality, str(folder))


def same_colour(rows: np.ndarray) -> float:
    """Share of the colour of an item among the 20 nearest to it; chance is about a half."""
    unit = rows - rows.mean(0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    nearest = np.argsort(-(unit @ unit.T - 9 * np.eye(len(unit))), axis=1)[:, :20]
    return float((COLOUR[nearest] == COLOUR[:, None]).mean())


def whats_taken() -> np.ndarray:
    """Users of a recommender that knows the two groups, turned. [USERS, 3]"""
    group = np.eye(2, dtype=np.float32)[np.arange(USERS) % 2]
    return group @ np.array([[1, 2, 0], [0, 1, -1]], dtype=np.float32)


@pytest.mark.parametrize(
    ("how", "signal", "rate"),
    [("full", "history", 3e-3), ("full", "users", 3e-3), ("full", "recommender", 3e-3), ("lora", "users", 3e-2)],
)
def test_what_decides_the_log_comes_to_decide_the_vectors(
    how: str, signal: str, rate: float, base: Path, tmp_path: Path
) -> None:
    config = config_of(base, how=how, signal=signal, epochs=16, patience=16, learning_rate=rate)
    found, encoder = fitted(tmp_path / how, corpus_of(texts(), users=whats_taken()), config)
    assert same_colour(open_encoder("text", str(base)).encode(texts())) < 0.7
    assert same_colour(encoder.encode(texts())) > 0.85
    assert found["held_out"][found["best_epoch"]] == max(found["held_out"]) > found["held_out"][0] + 0.1


def test_pictures_learn_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    (tmp_path / "vit").mkdir()
    ViTModel(ViTConfig(image_size=32, patch_size=8, **SMALL)).save_pretrained(tmp_path / "vit")
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "vit")
    paths = pictures(tmp_path)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing")
    found, encoder = fitted(
        tmp_path / "fine",
        corpus_of([*paths[:-1], broken]),
        config_of(tmp_path / "vit", modality="image", how="full", epochs=16, patience=16),
    )
    views = [Image.open(path) for path in paths]
    before, after = (same_colour(one.encode(views)) for one in (open_encoder("image", str(tmp_path / "vit")), encoder))
    assert before < 0.7 < 0.8 < after and max(found["held_out"]) > found["held_out"][0]


def test_lora_is_a_change_of_low_rank_and_the_folder_an_ordinary_model(base: Path, tmp_path: Path) -> None:
    small = config_of(base, epochs=8, rank=2, signal="users", learning_rate=3e-2)
    _, encoder = fitted(tmp_path / "lora", corpus_of(texts()), small)
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "lora"))
    assert set(after) == set(before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.endswith("weight") and before[name].ndim == 2 for name in changed)
    assert not any("embeddings" in name for name in changed)
    for name in changed:
        assert torch.linalg.matrix_rank((after[name] - before[name]).double(), rtol=1e-3) <= 2
    plain = AutoModel.from_pretrained(tmp_path / "lora")
    ids = torch.tensor([[2, *(WORDS.index(word) for word in texts()[0].split()), 3]])
    with torch.inference_mode():
        expected = plain(input_ids=ids).last_hidden_state[0].mean(0)
    np.testing.assert_allclose(encoder.encode(texts()[:1])[0], expected, atol=1e-5)
    files = {path.name for path in (tmp_path / "lora").iterdir()}
    assert files <= {"model.safetensors", "encoder.json", "config.json", "tokenizer.json", "tokenizer_config.json"}


def test_an_encoder_goes_back_to_the_decoder_it_was_taken_from(tmp_path: Path) -> None:
    """Else the folder, whose settings tell of both, could not be opened any more."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 0}
    (tmp_path / "t5").mkdir()
    T5Model(T5Config(vocab_size=len(WORDS), **sizes)).save_pretrained(tmp_path / "t5")
    save_tokenizer(tmp_path / "t5")
    _, encoder = fitted(tmp_path / "fine", corpus_of(texts()), config_of(tmp_path / "t5", how="full", epochs=2))
    before, after = (load_file(tmp_path / folder / "model.safetensors") for folder in ("t5", "fine"))
    assert set(after) == set(before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith(("encoder.", "shared.")) for name in changed)
    assert not np.allclose(encoder.encode(texts()), open_encoder("text", str(tmp_path / "t5")).encode(texts()))


def test_a_linear_layer_behind_the_model_stays_as_it_was(tmp_path: Path) -> None:
    """It is part of what learns, and no part of what is learnt."""
    base = tmp_path / "base"
    save_bert(base)
    save_modules(base, "Transformer", "Pooling", "Dense")
    weight, bias = save_dense(base / "2_Dense")
    _, encoder = fitted(tmp_path / "fitted", corpus_of(texts()), config_of(base, how="full", epochs=2))
    save_modules(tmp_path / "fitted", "Transformer", "Pooling")
    bare = torch.from_numpy(open_encoder("text", str(tmp_path / "fitted")).encode(texts()[:8]))
    np.testing.assert_allclose(encoder.encode(texts()[:8]), torch.tanh(bare @ weight.T + bias).numpy(), atol=1e-5)


def test_full_moves_the_word_vectors_too(base: Path, tmp_path: Path) -> None:
    fitted(tmp_path / "full", corpus_of(texts()), config_of(base, how="full", epochs=1))
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "full"))
    assert not torch.equal(*(part["embeddings.word_embeddings.weight"] for part in (before, after)))


def test_adapters_of_convolutions_can_be_merged() -> None:
    torch.manual_seed(0)
    network, pixels = EfficientNetLite0().eval(), torch.randn(1, 3, 64, 64)
    names = pointwise_layers(network)
    assert len(names) == 2 * 15 + 1 + 1 + 1  # two of 15 blocks, one of the first, the head, the classifier
    with torch.no_grad():
        before, state = network(pixels), {name: value.clone() for name, value in network.state_dict().items()}
        add_adapters(network, names, 2, 0)
        torch.testing.assert_close(network(pixels), before)  # nothing is changed at first
        for name, weight in network.named_parameters():
            assert weight.requires_grad == (ADAPTER in name)
            if ADAPTER in name:
                weight.normal_(std=0.1)
        adapted = network(pixels)
        merge_adapters(network)
        torch.testing.assert_close(network(pixels), adapted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(adapted, before, atol=1e-3)
    assert {name: value.shape for name, value in network.state_dict().items()} == {
        name: value.shape for name, value in state.items()
    }


def training(base: Path, corpus: Corpus, **more: object) -> LogTraining:
    encoder = HuggingFaceTextEncoder(base, "base", torch.device("cpu"))
    encoder.model.requires_grad_(True)
    return LogTraining(corpus, "text", config_of(base, how="full", **more), encoder, 1e-3)


def test_the_loss_is_what_it_says(base: Path) -> None:
    """Pair by pair: her past without the item, against the item and all that she did not take."""
    one = training(base, corpus_of(texts()))
    items = one.learnt[:9]
    fresh = F.normalize(torch.randn(9, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    pairs = [(user, place) for place, item in enumerate(items) for user in range(USERS) if one.log[user, item]]
    found = one.loss(fresh, items, *np.array(pairs).T)
    matrix, losses = log().matrix().toarray(), []
    for user, place in pairs:
        past = sum(one.bank[item] for item in one.learnt if matrix[user, item] and item != items[place])
        query = past / past.norm()
        scores = [float(query @ vector) / 0.1 for item, vector in zip(items, fresh) if not matrix[user, item]]
        own = float(query @ fresh[place]) / 0.1
        losses.append(np.log(np.exp([own, *scores]).sum()) - own)
    assert len(pairs) > 20 and float(found) == pytest.approx(np.mean(losses), rel=1e-4)


def test_what_all_items_share_counts_for_nothing(base: Path) -> None:
    one = training(base, corpus_of(texts()))
    items, shift = one.learnt[:9], torch.arange(16.0)
    moved = one.vectors(one.rows[items] + shift, items)
    torch.testing.assert_close(moved, one.bank[items], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(one.vectors(one.rows[items] * torch.linspace(1, 2, 9)[:, None], items), moved, atol=0.1)


def test_items_held_out_are_in_nobodys_past(base: Path) -> None:
    one = training(base, corpus_of(texts()))
    assert not one.log[:, one.held_out].toarray().any() and one.wanted.nnz
    assert set(one.held_out) | set(one.learnt) == set(log().item.tolist())
    assert not set(one.held_out) & {item for batch in one._batches(np.random.default_rng(0)) for item in batch}


def test_each_epoch_sees_another_augmented_copy(base: Path) -> None:
    def seen(augment: bool) -> list[list[str]]:
        """The words that reach the network, by epoch."""
        one = training(base, corpus_of(texts()), augment=augment, epochs=2, patience=9)
        given: list[list[str]] = [[]]

        def keep(module: torch.nn.Module, args: tuple, words: dict) -> None:
            if torch.is_grad_enabled():  # a step, not a measurement
                given[-1] += [" ".join(WORDS[word] for word in row if word > 3) for row in words["input_ids"]]
            elif given[-1]:
                given.append([])

        one.encoder.model.register_forward_pre_hook(keep, with_kwargs=True)
        one.run()
        return given[:2]

    plain, changed = seen(False), seen(True)
    learnt = {texts()[item] for item in training(base, corpus_of(texts())).learnt}
    assert all(set(epoch) == learnt for epoch in plain)
    assert sorted(changed[0]) != sorted(changed[1]) and not set(changed[0]) <= learnt
    random = np.random.default_rng((0, 1))  # of the first epoch: its batches, then the seed of its first views
    one = training(base, corpus_of(texts()))
    views = augmented(
        [texts()[item] for item in one._batches(random)[0]], "text", AugmentConfig(), int(random.integers(2**31))
    )
    assert changed[0][: len(views)] == views


def test_the_same_seed_gives_the_same_and_leaves_random_numbers_alone(base: Path, tmp_path: Path) -> None:
    corpus, config = corpus_of(texts()), config_of(base, epochs=1, augment=True)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = fitted(tmp_path / "one", corpus, config)[1].encode(texts())
    assert torch.equal(torch.rand(3), expected)
    assert np.array_equal(first, fitted(tmp_path / "two", corpus, config)[1].encode(texts()))
    other = fitted(tmp_path / "three", corpus, replace(config, seed=1))[1].encode(texts())
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("signal", ["history", "users"])
def test_a_stopped_fit_goes_on_to_the_same_weights(
    signal: str, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(base, epochs=3, signal=signal, patience=9)
    _, whole = fitted(tmp_path / "whole", corpus_of(texts()), config)
    corpus = corpus_of(texts(), checkpoint=tmp_path / "kept.safetensors")
    batches, begun = LogTraining._batches, []

    def stop_in_the_third(self: LogTraining, random: np.random.Generator) -> list:
        begun.append(1)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return batches(self, random)

    monkeypatch.setattr(LogTraining, "_batches", stop_in_the_third)
    (tmp_path / "stopped").mkdir()
    with pytest.raises(KeyboardInterrupt):
        fit_finetuned(corpus, config, tmp_path / "stopped")
    _, resumed = fitted(tmp_path / "resumed", corpus, config)
    assert len(begun) == 4  # the third epoch alone was done again
    assert np.array_equal(resumed.encode(texts()), whole.encode(texts()))
    with pytest.raises(UserError, match="made under other settings or data"):
        fit_finetuned(corpus, replace(config, temperature=0.3), tmp_path / "stopped")


def test_what_makes_it_worse_leaves_the_encoder_as_it_was(base: Path, tmp_path: Path) -> None:
    """One that was taught, taught again at a rate that destroys: as it was it is better on the items held out."""
    taught, good = fitted(tmp_path / "taught", corpus_of(texts()), config_of(base, how="full"))
    assert taught["best_epoch"] > 0
    plain = shutil.copytree(tmp_path / "taught", tmp_path / "plain", ignore=shutil.ignore_patterns("encoder.json"))
    config = config_of(plain, how="full", epochs=2, learning_rate=1.0)
    found, encoder = fitted(tmp_path / "kept", corpus_of(texts()), config)
    assert found["held_out"][0] > 1.2 * max(found["held_out"][1:]) and found["best_epoch"] == 0
    np.testing.assert_allclose(encoder.encode(texts()), good.encode(texts()), atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"base": "use"}, "encoder.base: use cannot be fine-tuned; allowed: minilm, or a model of Hugging Face"),
        ({"base": "torchvision:resnet18", "modality": "image"}, "torchvision:resnet18 cannot be fine-tuned"),
        ({"base": "opencv", "modality": "image"}, "opencv cannot be fine-tuned; allowed: efficientnet_lite0"),
        ({"signal": "recommender"}, "encoder.signal: found 'recommender', but there is none; allowed: history, users"),
    ],
)
def test_what_cannot_be_done_is_said(settings: dict, said: str, base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        fit_finetuned(corpus_of(texts()), replace(config_of(base), **settings), tmp_path)


def test_too_few_items_are_said(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="9 items with text that can be read were taken in train; needed are 16"):
        fit_finetuned(corpus_of([*texts()[:9], *[None] * (ITEMS - 9)]), config_of(base), tmp_path)
    for key, value in {"signal": "all", "rank": 0, "temperature": 0.0, "how": "half", "modality": "video"}.items():
        with pytest.raises(UserError, match=f"encoder.{key}: found {value!r}; allowed: "):
            config_of(base, **{key: value})
