"""Four coloured quarters come out where and as they are, in whatever way a file says so."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from gnnrec.encoders import EncodersConfig
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.encode import feature_name
from gnnrec.encoders.media import MAX_PIXELS, Unreadable, read_image, reader_of

POSTERS = sorted((Path(__file__).parents[2] / "data" / "movies" / "posters").iterdir())[:120:10]
RED, GREEN, BLUE, YELLOW, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 255, 255)
QUARTERS = (RED, GREEN, BLUE, YELLOW)
WIDTH, HEIGHT = 48, 32
# How a camera that is held so stores what stands upright (EXIF 2.32, tag 274).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
BEST: dict[str, Any] = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}, "avif": {"quality": 100}}
FORMATS = ("jpg", "png", "webp", "avif", "tiff", "gif", "bmp", "jp2", "ppm", "tga")


def quarters(colours: Any = QUARTERS) -> Image.Image:
    pixels = np.empty((HEIGHT, WIDTH, 3), dtype=np.uint8)
    for place, colour in enumerate(colours):
        top, left = place // 2 * HEIGHT // 2, place % 2 * WIDTH // 2
        pixels[top : top + HEIGHT // 2, left : left + WIDTH // 2] = colour
    return Image.fromarray(pixels)


def left_half_clear() -> Image.Image:
    picture = quarters().convert("RGBA")
    picture.putalpha(Image.fromarray(np.tile(np.repeat(np.uint8([0, 255]), WIDTH // 2), (HEIGHT, 1))))
    return picture


def assert_quarters(picture: Image.Image, expected: Any = QUARTERS, within: int = 4) -> None:
    assert (picture.mode, picture.size) == ("RGB", (WIDTH, HEIGHT))
    for place, colour in enumerate(expected):
        middle = (WIDTH // 4 + place % 2 * WIDTH // 2, HEIGHT // 4 + place // 2 * HEIGHT // 2)
        assert np.abs(np.subtract(picture.getpixel(middle), colour)).max() <= within, (place, picture.getpixel(middle))


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format(tmp_path: Path, suffix: str) -> None:
    quarters().save(tmp_path / f"a.{suffix}", **BEST.get(suffix, {}))
    assert_quarters(read_image(tmp_path / f"a.{suffix}"))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif", "tiff"])
@pytest.mark.parametrize("orientation", STORED)
def test_every_orientation(tmp_path: Path, suffix: str, orientation: int) -> None:
    how = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = quarters() if how is None else quarters().transpose(how)
    stored.save(tmp_path / f"a.{suffix}", exif=exif, **BEST.get(suffix, {}))
    assert_quarters(read_image(tmp_path / f"a.{suffix}"))


@pytest.mark.parametrize(
    "junk",
    [
        b"garbage",
        b"II*\0\x08\0\0\0\xff\xff\x12\x01\x03\0\x01\0\0\0\x63\0\0\0",  # more entries than there are
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x05abcde",  # letters
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0",  # 9
    ],
)
@pytest.mark.filterwarnings("ignore:Corrupt EXIF", "ignore:Truncated File")
def test_an_orientation_that_is_none_turns_nothing(tmp_path: Path, junk: bytes) -> None:
    packed = io.BytesIO()
    quarters().save(packed, "JPEG", **BEST["jpg"])
    head = b"Exif\0\0" + junk
    whole = packed.getvalue()
    (tmp_path / "a.jpg").write_bytes(whole[:2] + b"\xff\xe1" + struct.pack(">H", len(head) + 2) + head + whole[2:])
    assert_quarters(read_image(tmp_path / "a.jpg"))


@pytest.mark.parametrize("suffix", ["png", "webp", "avif", "tiff", "tga", "jp2"])
def test_what_is_clear_is_white(tmp_path: Path, suffix: str) -> None:
    left_half_clear().save(tmp_path / f"a.{suffix}", **BEST.get(suffix, {}))
    assert_quarters(read_image(tmp_path / f"a.{suffix}"), (WHITE, GREEN, WHITE, YELLOW))


def test_one_colour_that_is_clear(tmp_path: Path) -> None:
    quarters().save(tmp_path / "a.png", transparency=RED)
    assert_quarters(read_image(tmp_path / "a.png"), (WHITE, GREEN, BLUE, YELLOW))
    palette = quarters().quantize(4)
    red = palette.getpixel((0, 0))
    for name in ("a.gif", "palette.png"):
        palette.save(tmp_path / name, transparency=red)
        assert_quarters(read_image(tmp_path / name), (WHITE, GREEN, BLUE, YELLOW))


def png(width: int, height: int, bits: int, colour: int, lines: bytes) -> bytes:
    """As the PNG specification has it; `lines`: the pixels, each line behind a byte for its filter."""
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(lines)), (b"IEND", b"")):
        whole += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return whole


@pytest.mark.parametrize(
    ("colour", "values", "expected"),
    [
        (0, (100,), (100, 100, 100)),
        (2, (10, 100, 200), (10, 100, 200)),
        (4, (100, 0), WHITE),
        (6, (10, 100, 200, 255), (10, 100, 200)),
        (6, (10, 100, 200, 51), (206, 224, 244)),  # a fifth of the colour, the rest white
    ],
)
def test_sixteen_bits(tmp_path: Path, colour: int, values: tuple[int, ...], expected: tuple[int, ...]) -> None:
    line = b"\0" + struct.pack(f">{len(values)}H", *(257 * value for value in values)) * WIDTH
    (tmp_path / "a.png").write_bytes(png(WIDTH, HEIGHT, 16, colour, line * HEIGHT))  # Pillow writes none but grey
    assert_quarters(read_image(tmp_path / "a.png"), [expected] * 4, within=1)


def test_sixteen_bits_of_which_few_are_used(tmp_path: Path) -> None:
    """A ramp over all 16 bits keeps its shape, where cutting off at 255 would make it white."""
    ramp = np.linspace(0, 65_535, WIDTH).astype(np.uint16)
    for name in ("a.png", "a.tiff"):
        Image.fromarray(np.tile(ramp, (HEIGHT, 1))).save(tmp_path / name)
        seen = np.asarray(read_image(tmp_path / name))[0, :, 0]
        assert np.abs(seen - ramp / 257).max() <= 1


@pytest.mark.parametrize("marked", [True, False])
def test_cmyk_of_a_jpeg_is_inverted_as_adobe_does(tmp_path: Path, marked: bool) -> None:
    packed = io.BytesIO()
    quarters().convert("CMYK").save(packed, "JPEG", quality=100, subsampling=0)
    whole = packed.getvalue()
    start = whole.index(b"\xff\xee")  # where it says Adobe; printers' files that do not are inverted all the same
    end = start + 2 + struct.unpack(">H", whole[start + 2 : start + 4])[0]
    (tmp_path / "a.jpg").write_bytes(whole if marked else whole[:start] + whole[end:])
    assert_quarters(read_image(tmp_path / "a.jpg"))
    if marked:  # as another decoder sees it
        other = cv2.cvtColor(cv2.imread(str(tmp_path / "a.jpg")), cv2.COLOR_BGR2RGB)
        assert_quarters(Image.fromarray(other))


def test_other_spaces_of_colour(tmp_path: Path) -> None:
    profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
    lab = ImageCms.applyTransform(quarters(), ImageCms.buildTransform(*profiles, "RGB", "LAB"))
    for name, picture in (("lab", lab), ("ycc", quarters().convert("YCbCr")), ("cmyk", quarters().convert("CMYK"))):
        picture.save(tmp_path / f"{name}.tiff")
        assert_quarters(read_image(tmp_path / f"{name}.tiff"), within=24)  # sRGB's corners are out of LAB's bytes


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "avif", "tiff", "mpo"])
def test_the_first_frame(tmp_path: Path, suffix: str) -> None:
    others = [quarters([WHITE] * 4), quarters([RED] * 4)]
    quarters().save(tmp_path / f"a.{suffix}", save_all=True, append_images=others, **BEST.get(suffix, {}))
    with Image.open(tmp_path / f"a.{suffix}") as whole:
        assert whole.n_frames == 3
    assert_quarters(read_image(tmp_path / f"a.{suffix}"))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.95])
def test_what_is_cut_is_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(noise).save(path)
    read_image(path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(Unreadable, match="not a readable picture"):
        read_image(path)


def test_more_pixels_than_bytes_can_tell_are_refused(tmp_path: Path) -> None:
    """Some kilobytes that would be gigabytes, also where an icon hides them."""
    (tmp_path / "bomb.png").write_bytes(png(60_000, 60_000, 8, 2, bytes(1_000)))
    side = int((1.1 * MAX_PIXELS) ** 0.5)
    packed = io.BytesIO()
    Image.new("1", (side, side)).save(packed, "PNG")
    entry = struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(packed.getvalue()), 22)
    (tmp_path / "bomb.ico").write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + packed.getvalue())
    for name, reason in (("bomb.png", "exceeds limit"), ("bomb.ico", "pixels, at most")):
        with pytest.raises(Unreadable, match=reason):
            read_image(tmp_path / name)


@pytest.mark.parametrize("size", [(1, 101), (40_000, 1)])
def test_a_line_is_no_picture(tmp_path: Path, size: tuple[int, int]) -> None:
    """An encoder that makes the shorter side 256 pixels long would need gigabytes."""
    Image.new("RGB", size).save(tmp_path / "a.png")
    with pytest.raises(Unreadable, match=f"{size[0]} x {size[1]} pixels, at most 100 times as long as wide"):
        read_image(tmp_path / "a.png")


def test_large_jpegs_are_read_smaller_and_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    large = quarters().resize((WIDTH * 80, HEIGHT * 80), Image.Resampling.NEAREST)
    large.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.jpg", exif=exif)
    picture = read_image(tmp_path / "a.jpg")
    assert picture.size == (WIDTH * 20, HEIGHT * 20)  # a quarter: 640 pixels at least on either side
    assert_quarters(picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX))


def test_a_jpeg_is_read_no_larger_than_an_encoder_looks_at(tmp_path: Path) -> None:
    """At 224 pixels: a half of 600 x 900 is enough, a half of 500 x 900 is not. Colours stay where they are, and the
    features are kept apart from those of whole pictures."""
    encoder = open_encoder("image", "efficientnet_lite0", torch.device("cpu"))
    read = reader_of("image", encoder, 0)
    for size, expected in (((600, 900), (300, 450)), ((500, 900), (500, 900)), ((2400, 1200), (600, 300))):
        quarters().resize(size, Image.Resampling.NEAREST).save(tmp_path / "a.jpg", quality=95)
        picture = read(tmp_path / "a.jpg")
        assert picture.size == expected
        assert_quarters(picture.resize((WIDTH, HEIGHT), Image.Resampling.BOX))
    assert feature_name("image", encoder, EncodersConfig()) == f"{encoder.name}:288px"


def test_what_is_read_smaller_has_nearly_the_same_features(tmp_path: Path) -> None:
    """Nearer to those of the whole pictures than those of the same pictures saved once more are."""
    encoder = open_encoder("image", "efficientnet_lite0", torch.device("cpu"))
    read = reader_of("image", encoder, 0)
    near = []
    for poster in POSTERS:
        Image.open(poster).convert("RGB").resize((600, 900)).save(tmp_path / "once.jpg", quality=90)
        whole = read_image(tmp_path / "once.jpg")
        assert whole.size == (600, 900)
        whole.save(tmp_path / "twice.jpg", quality=85)
        features = encoder.encode([whole, read(tmp_path / "once.jpg"), read_image(tmp_path / "twice.jpg")])
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        near.append(features[1:] @ features[0])
    smaller, again = np.mean(near, axis=0)
    assert again < smaller < 1
