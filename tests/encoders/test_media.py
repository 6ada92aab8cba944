"""Pictures and sounds of every kind and in every state of damage."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from gnnrec.encoders.media import Unreadable, jpeg, read_audio, read_image

RATE = 16_000
RED, WHITE = (255, 0, 0), (255, 255, 255)


def tone(rate: int, seconds: float, frequency: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)).astype(np.float32)


def loudest_frequency(sound: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(sound)).argmax() * rate / len(sound))


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 20), "white")
    image.paste(RED, (0, 0, 10, 20))  # the left quarter
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise: what is left comes to the top
    image.save(tmp_path / "turned.png", exif=exif)
    upright = read_image(tmp_path / "turned.png")
    assert upright.size == (20, 40)
    assert upright.getpixel((10, 2)) == RED
    assert upright.getpixel((10, 30)) == WHITE


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        ("alpha.png", Image.new("RGBA", (8, 8), (255, 0, 0, 0)), WHITE),
        ("half.png", Image.new("RGBA", (8, 8), (255, 0, 0, 128)), (255, 127, 127)),
        ("grey.png", Image.new("L", (8, 8), 77), (77, 77, 77)),
        ("grey_alpha.png", Image.new("LA", (8, 8), (77, 0)), WHITE),
        ("one_bit.png", Image.new("1", (8, 8), 1), WHITE),
        ("cmyk.tiff", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), RED),
        ("cmyk.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), RED),
        ("palette.gif", Image.new("RGB", (8, 8), RED).quantize(4), RED),
        ("photo.webp", Image.new("RGB", (8, 8), RED), RED),
        ("deep.png", Image.fromarray(np.full((8, 8), 257 * 100, dtype=np.uint16)), (100, 100, 100)),
        ("dark_deep.png", Image.fromarray(np.full((8, 8), 200, dtype=np.uint16)), (1, 1, 1)),
        ("float.tiff", Image.fromarray(np.full((8, 8), 0.5, dtype=np.float32)), (128, 128, 128)),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(
    tmp_path: Path, name: str, image: Image.Image, expected: tuple[int, int, int]
) -> None:
    image.save(tmp_path / name)
    read = read_image(tmp_path / name)
    assert read.mode == "RGB"
    assert np.abs(np.subtract(read.getpixel((4, 4)), expected)).max() <= 3  # JPEG and WebP lose a little


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "moving.gif").getpixel((0, 0)) == RED


def test_a_jpeg_to_send_holds_pixels_only(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "canary"
    Image.new("RGB", (900, 300), "red").save(tmp_path / "a.jpg", exif=exif, comment=b"canary", icc_profile=b"canary")
    data = jpeg(read_image(tmp_path / "a.jpg"), 300)
    sent = Image.open(io.BytesIO(data))
    assert (sent.format, sent.size, sent.mode) == ("JPEG", (300, 100), "RGB")
    assert b"canary" not in data and not sent.getexif() and {"comment", "icc_profile"} & set(sent.info) == set()
    assert np.abs(np.subtract(sent.getpixel((50, 50)), RED)).max() <= 3


def broken_pictures(folder: Path) -> dict[str, bytes]:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "whole.jpg")
    Image.new("1", (10_000, 10_000)).save(folder / "large.png")
    Image.new("1", (20_000, 10_000)).save(folder / "bomb.png")
    whole = (folder / "whole.jpg").read_bytes()
    return {
        "truncated.jpg": whole[: len(whole) // 2],
        "text.jpg": b"this is no picture",
        "empty.jpg": b"",
        "large.png": (folder / "large.png").read_bytes(),
        "bomb.png": (folder / "bomb.png").read_bytes(),
        "script.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    }


def test_broken_pictures_have_a_reason(tmp_path: Path) -> None:
    reasons = {}
    for name, content in broken_pictures(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Unreadable) as error:
            read_image(tmp_path / name)
        reasons[name] = str(error.value)
        assert str(tmp_path) not in reasons[name]
        assert "\n" not in reasons[name]
    assert "truncated" in reasons["truncated.jpg"]
    assert "10000 x 10000 pixels" in reasons["large.png"]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_formats_rates_and_channels(tmp_path: Path, suffix: str, rate: int) -> None:
    stereo = np.stack([tone(rate, 2), np.zeros(2 * rate, dtype=np.float32)], axis=1)
    soundfile.write(tmp_path / f"a.{suffix}", stereo, rate)
    sound = read_audio(tmp_path / f"a.{suffix}", RATE, seconds=30)
    assert sound.dtype == np.float32
    assert sound.ndim == 1
    assert abs(len(sound) - 2 * RATE) < 0.1 * RATE  # MP3 pads its end
    assert abs(loudest_frequency(sound, RATE) - 440) < 2
    middle = sound[len(sound) // 4 : len(sound) // 2]
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.25, abs=0.02)  # the mean of the two channels


def test_at_most_so_many_seconds(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.wav", tone(8_000, 20), 8_000)
    assert len(read_audio(tmp_path / "long.wav", RATE, seconds=3)) == 3 * RATE


def wave_header(rate: int, channels: int, claimed: int) -> bytes:
    """Of a 16-bit WAV that says it holds `claimed` bytes of sound."""
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * 2 & 0xFFFFFFFF, channels * 2, 16)
    size = min(claimed + 36, 0xFFFFFFFF)
    return (
        b"RIFF"
        + struct.pack("<I", size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", claimed)
    )


@pytest.mark.parametrize("claimed", [0x7FFFF000, 0xFFFFFFF0, 0xFFFFFFFF])
def test_a_header_written_into_a_pipe_gives_the_sound_there_is(tmp_path: Path, claimed: int) -> None:
    sound = (tone(RATE, 1) * 32_767).astype("<i2").tobytes()
    (tmp_path / "piped.wav").write_bytes(wave_header(RATE, 1, claimed) + sound)
    read = read_audio(tmp_path / "piped.wav", RATE, seconds=3_600)
    assert len(read) == RATE
    assert abs(loudest_frequency(read, RATE) - 440) < 2


def test_a_header_that_lies_about_its_length_is_refused(tmp_path: Path) -> None:
    sound = (tone(RATE, 2) * 32_767).astype("<i2").tobytes()
    (tmp_path / "liar.wav").write_bytes(wave_header(RATE, 1, 5 * len(sound)) + sound)
    with pytest.raises(Unreadable, match="ends after 2.0 s, its header claims 10.0 s"):
        read_audio(tmp_path / "liar.wav", RATE, seconds=30)
    assert len(read_audio(tmp_path / "liar.wav", RATE, seconds=1)) == RATE


def cut_sound(path: Path) -> Path:
    """20 s of noise, of whose file 40 % are lost."""
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 20 * RATE), RATE)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.6)])
    return path


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac"])
def test_a_cut_file_is_read_as_far_as_it_is_whole(tmp_path: Path, suffix: str) -> None:
    path = cut_sound(tmp_path / f"cut.{suffix}")
    assert len(read_audio(path, RATE, seconds=8)) == 8 * RATE
    with pytest.raises(Unreadable, match=r"ends after \d+\.\d s, its header claims 20\.0 s"):
        read_audio(path, RATE, seconds=30)


def test_a_cut_ogg_is_a_shorter_one(tmp_path: Path) -> None:
    assert 8 * RATE < len(read_audio(cut_sound(tmp_path / "cut.ogg"), RATE, seconds=30)) < 13 * RATE


def test_broken_sounds_have_a_reason(tmp_path: Path) -> None:
    nan = tone(RATE, 1)
    nan[5:8] = np.nan
    soundfile.write(tmp_path / "nan.wav", nan, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "short.wav", tone(RATE, 0.01), RATE)
    soundfile.write(tmp_path / "nothing.wav", np.zeros(0), RATE)
    (tmp_path / "empty.mp3").write_bytes(b"")
    (tmp_path / "text.ogg").write_bytes(b"this is no sound")
    (tmp_path / "fast.wav").write_bytes(wave_header(1_000_000, 1, 100) + bytes(100))
    expected = {
        "nan.wav": "NaN or infinity in 3 samples",
        "silent.wav": "silence",
        "short.wav": "0.01 s of sound",
        "nothing.wav": "0.00 s of sound",
        "empty.mp3": "not a readable sound",
        "text.ogg": "not a readable sound",
        "fast.wav": "plausible",
    }
    for name, reason in expected.items():
        with pytest.raises(Unreadable, match=reason) as error:
            read_audio(tmp_path / name, RATE, seconds=30)
        assert str(tmp_path) not in str(error.value)


def test_sound_louder_than_full_scale_is_turned_down(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", 50 * tone(RATE, 1), RATE, subtype="FLOAT")
    assert np.abs(read_audio(tmp_path / "loud.wav", RATE, seconds=5)).max() == pytest.approx(1, abs=1e-3)
