"""The recurrent encoder of sound: what it learns from made sounds with a known cause."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gnnrec.datasets import Interactions
from gnnrec.encoders.augment import AugmentConfig, Sound, augmented
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.recurrent import RecurrentConfig, _Training, fit_recurrent
from gnnrec.encoders.log_mel import LogMel
from gnnrec.encoders.media import read_audio
from gnnrec.errors import UserError

RATE, EACH, USERS = 16_000, 24, 12
SMALL = RecurrentConfig(hidden=16, dim=8, seconds=0.5, epochs=12, batch=24, learning_rate=1e-2)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Sounds whose pitch rises and sounds whose pitch falls, of the same pitches: only their order tells them apart.
    Half of the users took the rising ones, half the falling ones."""
    folder, random = tmp_path_factory.mktemp("tones"), np.random.default_rng(0)
    paths: list[Path | None] = []
    for place in range(2 * EACH):
        sweep = np.linspace(300, 1500, RATE // 4) * random.uniform(0.9, 1.1)
        if place >= EACH:
            sweep = sweep[::-1]
        phase = np.cumsum(np.tile(sweep, 4)) / RATE + random.uniform()
        paths.append(folder / f"{place}.wav")
        soundfile.write(paths[-1], 0.3 * np.sin(2 * np.pi * phase), RATE)
    pairs = [(user, item) for user in range(USERS) for item in range(2 * EACH) if user % 2 == item // EACH]
    user, item = np.array(pairs, np.int32).T
    log = Interactions(user=user, item=item, num_users=USERS, num_items=2 * EACH + 1)
    return Corpus(contents=[*paths, None], train=log, val=log, device=torch.device("cpu"), audio_seconds=30)


def fitted(folder: Path, corpus: Corpus, config: RecurrentConfig) -> tuple[dict, np.ndarray]:
    """What was found, and the embedding of each sound."""
    folder.mkdir()
    found = fit_recurrent(corpus, config, folder)
    settings = {name: getattr(config, name) for name in config.__slots__}
    (folder / "encoder.json").write_text(
        json.dumps({"kind": "recurrent", "modality": "audio", "settings": settings}), encoding="utf-8"
    )
    encoder = open_encoder("audio", str(folder))
    rows = encoder.encode([read_audio(path, RATE, 30) for path in corpus.contents if path is not None])
    return found, rows


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_log_teaches_what_decides_it(cell: str, tones: Corpus, tmp_path: Path) -> None:
    """Mean spectra of the two kinds are the same, so that a network without memory could not tell them apart."""
    found, rows = fitted(tmp_path / "log", tones, replace(SMALL, objective="log", cell=cell, both_ways=False))
    kind = np.arange(2 * EACH) // EACH
    similar = rows @ rows.T - 9 * np.eye(2 * EACH)
    assert (kind[similar.argmax(1)] == kind).mean() == 1.0
    assert max(found["held_out"]) > 0.95  # held-out sounds are ranked right


@pytest.mark.parametrize("both_ways", [False, True])
def test_prediction_learns_without_a_log(both_ways: bool, tones: Corpus, tmp_path: Path) -> None:
    config = replace(SMALL, objective="predict", both_ways=both_ways)
    found, rows = fitted(tmp_path / "predict", tones, config)
    assert rows.shape == (2 * EACH, 2 * 16 * (1 + both_ways))
    assert found["held_out"][0] < 0.9 * max(found["held_out"]) < 0  # minus the error


def test_the_same_seed_gives_the_same_and_leaves_random_numbers_alone(tones: Corpus, tmp_path: Path) -> None:
    config = replace(SMALL, objective="both", epochs=2)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit_recurrent(tones, config, tmp_path)
    assert torch.equal(torch.rand(3), expected)
    first = fitted(tmp_path / "one", tones, config)[1]
    assert np.array_equal(first, fitted(tmp_path / "two", tones, config)[1])
    assert not np.array_equal(first, fitted(tmp_path / "three", tones, replace(config, seed=1))[1])


def test_augmented_sounds_reach_the_network(tones: Corpus, tmp_path: Path) -> None:
    """A step hears what `augmented` makes of the sounds, as frames; the same by a seed, another by another."""
    config = replace(SMALL, objective="log", augment=True, seconds=1.0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        training = _Training(tones, config)
        heard: list[torch.Tensor] = []
        training.network.cells.register_forward_pre_hook(lambda module, given: heard.append(given[0]))
        batch = training.learnt[:3]
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            training._step(batch)
        torch.manual_seed(1)
        for _ in batch:
            torch.randint(1, ())  # where each begins: these sounds have no room
        drawn = int(torch.randint(2**31, ()))
    sounds = [Sound(training.sounds[place].astype(np.float32), RATE) for place in batch]
    views = augmented(sounds, "audio", AugmentConfig(), drawn)
    frames = torch.stack([LogMel(RATE)(torch.from_numpy(view.samples)) for view in views])
    torch.testing.assert_close(heard[0], (frames - training.network.level) / training.network.scale)
    assert torch.equal(heard[0], heard[1]) and not torch.allclose(heard[0], heard[2], atol=0.1)
    first, second = (fitted(tmp_path / name, tones, replace(config, epochs=1))[1] for name in ("one", "two"))
    assert np.array_equal(first, second)
    assert not np.allclose(first, fitted(tmp_path / "plain", tones, replace(config, epochs=1, augment=False))[1])


def test_what_is_wrong_is_said(tones: Corpus, tmp_path: Path) -> None:
    few = replace(tones, contents=[*tones.contents[:5], *[None] * (2 * EACH - 4)])
    with pytest.raises(UserError, match="5 sounds can be read; needed are 16 or more"):
        fit_recurrent(few, SMALL, tmp_path)
    nobody = replace(tones, train=tones.train.rows(slice(0, 0)))
    with pytest.raises(UserError, match=r"encoder.objective: no train row has a sound; allowed: predict"):
        fit_recurrent(nobody, SMALL, tmp_path)
    for wrong in ({"objective": "all"}, {"cell": "rnn"}, {"batch": 1}, {"seconds": 0.1}, {"epochs": 0}):
        with pytest.raises(UserError, match=f"encoder.{next(iter(wrong))}: found"):
            replace(SMALL, **wrong)


def test_broken_sounds_are_passed_over(tones: Corpus, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nothing")
    contents = [broken, *tones.contents[1:]]
    found, _ = fitted(
        tmp_path / "fit", replace(tones, contents=[tones.contents[0], *contents[1:]]), replace(SMALL, epochs=1)
    )
    (tmp_path / "other").mkdir()
    assert fit_recurrent(replace(tones, contents=contents), replace(SMALL, epochs=1), tmp_path / "other")["epochs"] == 1
    assert found["epochs"] == 1
