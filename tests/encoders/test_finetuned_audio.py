"""Fine-tuning of sounds on a log with a known cause: some users take what holds a low tone, the others a high one.

Letters: n sounds, w a direction in which one weight is moved.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from test_finetuned import COLOUR, ITEMS, config_of, corpus_of, fitted, same_colour
from test_huggingface import SMALL
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from gnnrec import ranking
from gnnrec.encoders.augment import AugmentConfig, Sound, augmented
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.fitted.finetuned import FinetunedConfig, fit_finetuned
from gnnrec.encoders.fitted.log_training import LogTraining
from gnnrec.encoders.huggingface import HuggingFaceAudioEncoder, revision
from gnnrec.encoders.lora import ADAPTER, add_adapters, merge_adapters, pointwise_layers
from gnnrec.encoders.media import read_audio
from gnnrec.encoders.musicnn import MusicnnEncoder
from gnnrec.encoders.resemblyzer import ResemblyzerEncoder
from gnnrec.errors import UserError

RATE, TONES = 16_000, (1000, 2200)


def wav2vec2(folder: Path) -> None:
    sizes = {"conv_dim": (16, 16), "conv_kernel": (20, 8), "conv_stride": (10, 20), "num_feat_extract_layers": 2}
    Wav2Vec2Model(Wav2Vec2Config(**sizes, **SMALL)).save_pretrained(folder)
    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)


def ast(folder: Path) -> None:
    ASTModel(ASTConfig(num_mel_bins=32, max_length=64, patch_size=8, **SMALL)).save_pretrained(folder)
    ASTFeatureExtractor(num_mel_bins=32, max_length=64).save_pretrained(folder)


def clap(folder: Path) -> None:
    text = {**SMALL, "vocab_size": 10, "max_position_embeddings": 40, "pad_token_id": 0}
    audio = {"depths": [1, 1], "num_attention_heads": [2, 2], "hidden_size": 16, "patch_embeds_hidden_size": 8}
    audio |= {"window_size": 4, "num_hidden_layers": 2, "projection_dim": 12, "enable_fusion": False}
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=12)).save_pretrained(folder)
    extractor = ClapFeatureExtractor(max_length_s=10, truncation="rand_trunc", padding="repeatpad")
    extractor.save_pretrained(folder)


def whisper(folder: Path) -> None:
    sides = {f"{side}_{what}": 1 for side in ("encoder", "decoder") for what in ("layers", "attention_heads")}
    sides |= {"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "d_model": 16, "num_mel_bins": 16, "vocab_size": 20}
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    WhisperModel(WhisperConfig(**sides, **tokens)).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=16).save_pretrained(folder)


SMALL_ONES: dict[str, Callable[[Path], None]] = {"wav2vec2": wav2vec2, "ast": ast, "clap": clap, "whisper": whisper}
REAL = {"musicnn": MusicnnEncoder, "resemblyzer": ResemblyzerEncoder}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Models with random weights, and the names of those that have real ones."""
    made = {}
    for name, save in SMALL_ONES.items():
        folder = tmp_path_factory.mktemp(name)
        torch.manual_seed(0)
        save(folder)
        made[name] = str(folder)
    return made | {name: name for name in REAL}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The tone among three others, which are noise, as is the loudness."""
    folder, random, time = tmp_path_factory.mktemp("sounds"), np.random.default_rng(4), np.arange(RATE // 4) / RATE
    paths = []
    for item, colour in enumerate(COLOUR):
        others = sum(np.sin(2 * np.pi * (tone * time + random.uniform())) for tone in random.uniform(300, 6000, 3))
        wave = others * random.uniform(0.3, 1) + 0.9 * np.sin(2 * np.pi * (TONES[colour] * time + random.uniform()))
        paths.append(folder / f"{item}.wav")
        soundfile.write(paths[-1], 0.2 * wave, RATE)
    return paths


def heard(paths: list[Path], rate: int = RATE) -> list[NDArray[np.float32]]:
    return [read_audio(path, rate, 30) for path in paths]


def some(sounds: list[Path], number: int = 20) -> list[Path | None]:
    """The sounds of the first items; the others have none."""
    return [*sounds[:number], *[None] * (ITEMS - number)]


@pytest.mark.parametrize(("how", "rate", "epochs", "least"), [("full", 3e-3, 4, 0.9), ("lora", 2e-2, 5, 0.7)])
def test_what_decides_the_log_comes_to_decide_the_vectors_of_sounds(
    how: str, rate: float, epochs: int, least: float, bases: dict[str, str], sounds: list[Path], tmp_path: Path
) -> None:
    config = config_of(Path(bases["wav2vec2"]), modality="audio", how=how, epochs=epochs, learning_rate=rate)
    found, encoder = fitted(tmp_path / how, corpus_of(sounds), config)
    assert same_colour(open_encoder("audio", bases["wav2vec2"]).encode(heard(sounds))) < 0.65
    assert same_colour(encoder.encode(heard(sounds))) > least
    assert found["held_out"][found["best_epoch"]] == max(found["held_out"]) > found["held_out"][0] + 0.05


@pytest.mark.parametrize("name", [*SMALL_ONES, *REAL])
def test_embed_is_encode_with_its_gradient(name: str, bases: dict[str, str]) -> None:
    """What the gradient foretells comes about where the first weights are moved along it."""
    encoder = open_encoder("audio", bases[name])
    random = np.random.default_rng(0)
    longest = 4 if name in REAL else 11  # those of Hugging Face have a second window from 10 s on
    rate = encoder.sampling_rate
    batch = [random.normal(0, 0.1, seconds * rate).astype(np.float32) for seconds in (2, longest)]
    with torch.no_grad():
        rows = encoder.embed(batch)
    aim = torch.from_numpy(random.normal(size=rows.shape).astype(np.float32))
    np.testing.assert_allclose(rows, encoder.encode(batch), rtol=1e-4, atol=1e-5)
    encoder.model.requires_grad_(True)
    (encoder.embed(batch) * aim).sum().backward()
    weights = [w for w in encoder.model.parameters() if w.grad is not None and w.ndim > 1 and w.grad.abs().max() > 0]
    weight, moved = weights[0], []
    assert weight.grad is not None
    step = 1e-3 * weight.detach().norm() / weight.grad.norm()
    with torch.no_grad():
        for sign in (1, -2):
            weight += sign * step * weight.grad
            moved.append(float((encoder.encode(batch) * aim.numpy()).sum(dtype=np.float64)))
    assert (moved[0] - moved[1]) / 2 == pytest.approx(float(step * weight.grad.square().sum()), rel=0.1)


@pytest.mark.parametrize(
    ("name", "how"), [*((name, "lora") for name in (*SMALL_ONES, *REAL)), ("wav2vec2", "full"), ("resemblyzer", "full")]
)
def test_the_folder_opens_again_bit_for_bit(
    name: str, how: str, bases: dict[str, str], sounds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, kept = REAL.get(name, HuggingFaceAudioEncoder), []
    save = made.save

    def moved_and_saved(self, folder: Path) -> None:
        """All weights are moved, so that none of the base's can stand for what was learnt."""
        kept.append(self)
        with torch.no_grad():
            for place, weight in enumerate(self.model.parameters()):
                weight += 0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(place))
        save(self, folder)

    monkeypatch.setattr(made, "save", moved_and_saved)
    before = None if name in REAL else revision(Path(bases[name]))
    config = FinetunedConfig(base=bases[name], modality="audio", how=how, epochs=1, batch=14)
    _, opened = fitted(tmp_path / "fine", corpus_of(some(sounds, 16)), config)
    batch = heard(sounds[:3], opened.sampling_rate)
    assert type(opened) is made and opened.name.startswith("fine:finetuned@")
    assert np.array_equal(opened.encode(batch), kept[0].encode(batch))
    assert not np.allclose(opened.encode(batch), open_encoder("audio", bases[name]).encode(batch), atol=1e-3)
    assert before is None or revision(Path(bases[name])) == before
    names = {path.name for path in (tmp_path / "fine").iterdir()}
    assert names <= {"model.safetensors", "encoder.json", "config.json", "preprocessor_config.json"}


def test_adapters_learn_while_all_other_weights_stand_still(bases: dict[str, str], sounds: list[Path]) -> None:
    encoder = HuggingFaceAudioEncoder(Path(bases["wav2vec2"]), "base", torch.device("cpu"))
    before = load_file(Path(bases["wav2vec2"]) / "model.safetensors")
    add_adapters(encoder.model, pointwise_layers(encoder.model), 2, 0)
    config = config_of(Path(bases["wav2vec2"]), modality="audio", epochs=1)
    training = LogTraining(corpus_of(some(sounds)), "audio", config, encoder, 2e-2)
    assert training.weights and all(ADAPTER in name for name in training.weights)
    first = {name: weight.detach().clone() for name, weight in training.weights.items()}
    training._step(training.learnt, np.random.default_rng(0))
    assert any(not torch.equal(weight, first[name]) for name, weight in training.weights.items())
    state = {name.replace(".base_layer", ""): value for name, value in encoder.model.state_dict().items()}
    assert set(before) <= set(state) and all(torch.equal(value, state[name]) for name, value in before.items())
    merge_adapters(encoder.model)
    after = encoder.model.state_dict()
    assert set(after) == set(before)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    linear = {f"{name}.weight" for name, part in encoder.model.named_modules() if isinstance(part, torch.nn.Linear)}
    assert changed and changed <= linear
    for name in changed:
        assert torch.linalg.matrix_rank((after[name] - before[name]).double(), rtol=1e-3) <= 2


@pytest.mark.parametrize(("objective", "copies"), [("log", 1), ("views", 2)])
def test_a_step_hears_other_copies_of_the_sounds(
    objective: str, copies: int, bases: dict[str, str], sounds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, given = HuggingFaceAudioEncoder(Path(bases["wav2vec2"]), "base", torch.device("cpu")), []
    config = config_of(Path(bases["wav2vec2"]), modality="audio", how="full", objective=objective, augment=True)
    training = LogTraining(corpus_of(some(sounds)), "audio", config, encoder, 1e-3)
    embed = encoder.embed
    monkeypatch.setattr(encoder, "embed", lambda batch: given.append(batch) or embed(batch))
    training._step(training.learnt[:3], np.random.default_rng(7))
    plain = [Sound(sound, RATE) for sound in heard([sounds[item] for item in training.learnt[:3]])]
    random = np.random.default_rng(7)
    assert len(given) == copies
    for batch in given:
        seed = int(random.integers(2**31))
        for sound, expected in zip(batch, augmented(plain, "audio", AugmentConfig(), seed), strict=True):
            np.testing.assert_array_equal(sound, expected.samples)


def test_only_the_first_seconds_are_learnt_from(
    bases: dict[str, str], sounds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "fast_bfloat16", lambda device: False)  # to compare to five places
    encoder = HuggingFaceAudioEncoder(Path(bases["wav2vec2"]), "base", torch.device("cpu"))
    config = config_of(Path(bases["wav2vec2"]), modality="audio")
    training = LogTraining(corpus_of(some(sounds), audio_seconds=0.125), "audio", config, encoder, 1e-3)
    expected = encoder.encode([sound[: RATE // 8] for sound in heard(sounds[:20])])
    np.testing.assert_allclose(training.rows[:20], expected, atol=1e-5)


def test_what_has_no_weights_or_was_made_here_cannot_learn(sounds: list[Path], tmp_path: Path) -> None:
    allowed = "cannot be fine-tuned; allowed: musicnn, resemblyzer, or a model of Hugging Face"
    with pytest.raises(UserError, match=f"encoder.base: log_mel {allowed}"):
        fit_finetuned(corpus_of(some(sounds)), FinetunedConfig(modality="audio", base="log_mel"), tmp_path)
    (tmp_path / "encoder.json").write_text('{"kind": "recurrent", "modality": "audio"}')
    with pytest.raises(UserError, match=f"{tmp_path}, which was made here, {allowed}"):
        fit_finetuned(corpus_of(some(sounds)), FinetunedConfig(modality="audio", base=str(tmp_path)), tmp_path)
