"""Augmentations against what they promise: known answers, the same by a seed, nothing global touched."""

import hashlib
import random as python_random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gnnrec
from gnnrec.encoders.augment import AUGMENTATIONS, AugmentConfig, Sound, alone, audio, augmented, image, text
from gnnrec.errors import UserError

RATE = 16_000
WORDS = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")
NOTHING = alone(AugmentConfig(), "")


def noise_picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8))


def tone(hertz: float = 440.0, seconds: float = 1.0) -> Sound:
    time = np.arange(int(RATE * seconds)) / RATE
    return Sound((0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32), RATE)


def contents() -> dict[str, list]:
    title = "The Long Way Home (1999). Drama|War|Comedy. lost | found | 我喜欢阅读"
    return {"image": [noise_picture()] * 6, "audio": [tone()] * 6, "text": [title] * 6}


def digest(values: list) -> str:
    parts = [value.samples.tobytes() if isinstance(value, Sound) else np.asarray(value).tobytes() for value in values]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def loudest(sound: Sound) -> float:
    """The frequency with most power, in Hz."""
    power = np.abs(np.fft.rfft(sound.samples * np.hanning(len(sound.samples))))
    return float(power.argmax() * sound.rate / len(sound.samples))


@pytest.mark.parametrize("modality", AUGMENTATIONS)
def test_strength_0_gives_the_same_thing_back(modality: str) -> None:
    same = contents()[modality]
    assert all(view is content for view, content in zip(augmented(same, modality, NOTHING, 3), same))
    assert augmented([None], modality, AugmentConfig(), 0) == [None]


@pytest.mark.parametrize(
    ("modality", "name"), [(kind, name) for kind, names in AUGMENTATIONS.items() for name in names]
)
def test_each_augmentation_changes_something_and_keeps_the_kind(modality: str, name: str) -> None:
    before = contents()[modality]
    after = augmented(before, modality, alone(AugmentConfig(), name), 1)
    assert digest(after) != digest(before)
    for old, new in zip(before, after):
        if modality == "image":
            assert (new.size, new.mode) == (old.size, "RGB")
        elif modality == "audio":
            assert (new.samples.shape, new.samples.dtype, new.rate) == (old.samples.shape, np.float32, RATE)
            assert np.abs(new.samples).max() <= 1
        else:
            assert isinstance(new, str) and new.strip()


def test_a_strength_moves_no_draw_of_another_augmentation() -> None:
    both, turned = (
        augmented(contents()["image"], "image", config, 5)
        for config in (AugmentConfig(crop=0, colour=0), AugmentConfig(crop=0, colour=0, flip=0))
    )
    for mixed, plain in zip(both, turned):
        # Mirroring comes after turning, so that the turn is the same.
        assert any(np.array_equal(np.asarray(mixed), np.asarray(view)) for view in (plain, image.mirrored(plain)))
    assert digest(both) != digest(turned)


def test_the_same_seed_gives_the_same_in_another_process_whatever_the_global_states() -> None:
    code = f"""if True:
        import random, sys
        import numpy, torch
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from test_augment import AugmentConfig, augmented, contents, digest
        random.seed(7), numpy.random.seed(7), torch.manual_seed(7)
        print(*(digest(augmented(rows, kind, AugmentConfig(), 11)) for kind, rows in contents().items()))
    """
    root = Path(gnnrec.__file__).parents[1]
    elsewhere = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True, cwd=root
    )
    here = [digest(augmented(rows, kind, AugmentConfig(), 11)) for kind, rows in contents().items()]
    assert elsewhere.stdout.split() == here
    assert here != [digest(augmented(rows, kind, AugmentConfig(), 12)) for kind, rows in contents().items()]


def test_global_random_states_stay() -> None:
    augmented([tone()], "audio", AugmentConfig(), 0)  # what is imported on first use is in place
    before = python_random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    for modality, rows in contents().items():
        augmented(rows, modality, AugmentConfig(), 2)
    assert python_random.getstate() == before[0]
    assert all(np.array_equal(now, then) for now, then in zip(np.random.get_state(), before[1]))  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])


def test_flipping_twice_is_the_original() -> None:
    picture = noise_picture()
    once = image.mirrored(picture)
    assert np.array_equal(np.asarray(once), np.asarray(picture)[:, ::-1])
    assert np.array_equal(np.asarray(image.mirrored(once)), np.asarray(picture))
    assert np.array_equal(np.asarray(image.flip(picture, 1.0, np.random.default_rng(0))), np.asarray(once))


def test_a_turn_by_90_degrees_turns_the_pixels_and_fills_with_the_mean() -> None:
    square = noise_picture().crop((0, 0, 30, 30))
    assert np.array_equal(np.asarray(image.rotated(square, 90)), np.rot90(np.asarray(square)))
    white = Image.new("RGB", (30, 20), (250, 120, 7))
    assert np.ptp(np.asarray(image.rotated(white, 30)).reshape(-1, 3), axis=0).max() == 0


def test_a_crop_keeps_at_least_the_asked_area() -> None:
    """Of a picture whose colour is its place: the range of colours is the range of places that are left."""
    height, width = 120, 200
    rows, columns = np.mgrid[0:height, 0:width]
    picture = Image.fromarray(np.stack([rows, columns, 0 * rows], axis=2).astype(np.uint8))
    shares = []
    for seed in range(40):
        left = np.asarray(image.crop(picture, 0.5, np.random.default_rng(seed))).astype(float)
        sides = np.ptp(left[..., 0]) + 1, np.ptp(left[..., 1]) + 1
        shares.append(sides[0] * sides[1] / (height * width))
    assert 0.46 < min(shares) < 0.6 and 0.9 < max(shares) <= 1


def test_noise_has_the_asked_ratio() -> None:
    sound = tone()
    noisy = audio.with_noise(sound, 15.0, np.random.default_rng(0))
    added = noisy.samples.astype(np.float64) - sound.samples
    assert 10 * np.log10((sound.samples.astype(np.float64) ** 2).mean() / (added**2).mean()) == pytest.approx(
        15, abs=0.01
    )
    spectrum = np.abs(np.fft.rfft(added)) ** 2  # white: as much in the lower half as in the upper
    assert spectrum[: len(spectrum) // 2].sum() / spectrum.sum() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("places", [1, 4000, -700])
def test_a_shift_is_a_rotation(places: int) -> None:
    assert np.array_equal(audio.shifted(tone(), places).samples, np.roll(tone().samples, places))


@pytest.mark.parametrize(("decibels", "factor"), [(20.0, 10.0), (-6.0205999, 0.5), (0.0, 1.0)])
def test_gain_multiplies(decibels: float, factor: float) -> None:
    np.testing.assert_allclose(audio.louder(tone(), decibels).samples, factor * tone().samples, rtol=1e-6)


def test_what_is_too_loud_is_made_softer_as_a_whole() -> None:
    loud = audio.louder(tone(), 20)
    np.testing.assert_allclose(audio.within_range(loud).samples, loud.samples / np.abs(loud.samples).max(), rtol=1e-6)


def test_pitch_moves_the_tone_and_an_octave_doubles_it() -> None:
    assert loudest(audio.transposed(tone(), 12)) == pytest.approx(880, rel=0.02)
    assert loudest(audio.transposed(tone(), -2)) == pytest.approx(440 * 2 ** (-2 / 12), rel=0.02)


def test_stretch_keeps_tone_and_length_and_moves_what_happens() -> None:
    assert loudest(audio.stretched(tone(seconds=2), 1.25)) == pytest.approx(440, rel=0.02)
    silent = np.zeros(2 * RATE, np.float32)
    silent[RATE : RATE + 800] = tone(seconds=0.05).samples  # something happens after 1 s
    for speed in (0.8, 1.25):
        found = audio.stretched(Sound(silent, RATE), speed).samples
        assert len(found) == len(silent)
        middle = np.average(np.arange(len(found)), weights=found.astype(np.float64) ** 2) / RATE
        assert middle == pytest.approx(1.025 / speed, abs=0.06)


def test_token_dropout_keeps_order_and_about_the_asked_share() -> None:
    long, random = " ".join(WORDS * 250), np.random.default_rng(0)
    left = text.token_dropout(long, 0.3, random).split(" ")
    assert abs(len(left) - 1400) < 5 * (2000 * 0.3 * 0.7) ** 0.5  # five standard deviations of a binomial
    words = iter(long.split(" "))
    assert all(word in words for word in left)  # a subsequence


def test_token_dropout_keeps_fields_and_what_stands_between_tokens() -> None:
    seen = {text.token_dropout("Big Cat. Drama|War", 0.4, np.random.default_rng(seed)) for seed in range(300)}
    titles, genres = ("", "Big", "Cat", "Big Cat"), ("", "Drama", "War", "Drama|War")
    expected = {". ".join(filter(None, (title, genre))) for title in titles for genre in genres} - {""}
    assert seen == expected


def test_signs_of_chinese_are_tokens() -> None:
    left = text.token_dropout("我喜欢阅读科技类的书籍" * 20, 0.5, np.random.default_rng(0))
    assert 70 < len(left) < 150 and " " not in left


def test_field_dropout_removes_whole_fields() -> None:
    fields = ("A b", "c d", "e")
    seen = {text.field_dropout(". ".join(fields), 0.5, np.random.default_rng(seed)) for seed in range(200)}
    chosen = [[field for place, field in enumerate(fields) if bits >> place & 1] for bits in range(1, 8)]
    assert seen == {". ".join(some) for some in chosen}


def test_shuffling_keeps_all_fields_and_all_tokens() -> None:
    fields, random = ("A b", "c d", "e"), np.random.default_rng(0)
    orders = {text.field_shuffle(". ".join(fields), 1.0, random) for _ in range(100)}
    assert len(orders) == 6 and all(sorted(order.split(". ")) == sorted(fields) for order in orders)
    moved = [text.token_shuffle("a | b | c | d. E f", 0.5, random) for _ in range(100)]
    assert all(one.endswith("E f") for one in moved)  # one of two tokens has nothing to change places with
    firsts = [one.partition(". ")[0].split(" | ") for one in moved]
    assert all(sorted(first) == list("abcd") for first in firsts)
    assert {sum(now != then for now, then in zip(first, "abcd")) for first in firsts} == {0, 2}


@pytest.mark.parametrize("words", ["a", "...", ". ", "|", "我", "  x  "])
def test_a_text_is_never_empty(words: str) -> None:
    config = AugmentConfig(field_dropout=1, field_shuffle=1, token_dropout=1, token_shuffle=1)
    assert all(augmented([words] * 20, "text", config, seed)[0] for seed in range(5))


def test_mistakes_are_one_clear_line() -> None:
    with pytest.raises(UserError, match=r"augment\.crop: found 1\.5; allowed: 0 to 0\.95"):
        AugmentConfig(crop=1.5)
    with pytest.raises(UserError, match=r"augment\.flip: found nan; allowed: 0 to 1"):
        AugmentConfig(flip=float("nan"))
    with pytest.raises(UserError, match="found modality 'smell'; allowed: image, audio, text"):
        augmented([], "smell", AugmentConfig(), 0)
