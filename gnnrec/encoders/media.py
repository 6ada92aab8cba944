"""Pictures and sounds on disk -> what the encoders take. What cannot be read gives a reason, never an exception."""

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.encoders.features import AudioEncoder, Encoder, SizedEncoder
from gnnrec.encoders.mel import resample
from gnnrec.errors import count, missing_extra

MAX_PIXELS = 50_000_000
MAX_LENGTH = 100  # times the width, or the other way round: encoders enlarge the shorter side
PICTURE_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF", "BMP", "TIFF", "JPEG2000", "PPM", "ICO", "TGA")
JPEG_SIDE = 640  # a larger JPEG may be decoded at a fraction of its size, which is many times quicker
THUMBNAIL = (120, 180)  # pixels of a picture inside a page, whose size it decides
MAX_RATE, MAX_CHANNELS = 768_000, 64
SHORTEST = 0.1  # seconds of sound
QUIETEST = 1e-4  # highest sample of a sound that is not silence, -80 dB
SILENCE = "nothing but silence"  # the reason for it
BLOCK = 1 << 16  # samples read at a time
HONEST = 0.9  # share of the claimed length that has to be there; of an MP3 the length is an estimate
UNKNOWN_LENGTH = 2**31 - 2**16  # claimed by programs that write a sound into a pipe, whose end they do not know
# What libsndfile notes where the header of a WAV claims another number of bytes than there are.
BYTES_CLAIMED = re.compile(r"^\s*data : (\d+) \(should be (\d+)\)", re.MULTILINE)


class Unreadable(Exception):
    """Content that cannot be used; the message is the reason."""


def reader_of(modality: str, encoder: Encoder, seconds: float) -> Callable[[Any], Any]:
    """Content as it stands in a catalogue -> content as the encoder takes it; of a sound the first `seconds`."""
    if modality == "image":
        side = encoder.picture_side if isinstance(encoder, SizedEncoder) else JPEG_SIDE
        return lambda path: read_image(path, side)
    if modality == "audio":
        assert isinstance(encoder, AudioEncoder)
        rate = encoder.sampling_rate
        return lambda path: read_audio(path, rate, seconds)
    return read_text


def read_text(text: str) -> str:
    """Without lone surrogates, which are no text."""
    return text.encode(errors="replace").decode()


def read_image(path: Path, side: int = JPEG_SIDE) -> Any:
    """A picture as PIL image, RGB, upright, on white where it is transparent, the first frame where it moves; a JPEG
    at the smallest of an eighth, a quarter, a half and the whole of its size that has `side` pixels either way.

    Raises Unreadable, whatever the file holds.
    """
    Image, ImageOps = _pillow()
    Image.init()
    formats = [name for name in PICTURE_FORMATS if name in Image.OPEN]  # not every build of Pillow has all
    try:
        with Image.open(path, formats=formats) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Unreadable(f"{width} x {height} pixels, at most {MAX_PIXELS // 1_000_000} million are read")
            if max(width, height) > MAX_LENGTH * min(width, height):
                raise Unreadable(f"{width} x {height} pixels, at most {MAX_LENGTH} times as long as wide are read")
            image.draft(None, (side, side))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return _rgb(image)
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on broken bytes
        raise Unreadable(f"not a readable picture: {_first_line(error, path)}") from error


def jpeg(picture: Any, side: int) -> bytes:
    """A PIL picture, RGB, as JPEG of at most `side` pixels: its pixels, and nothing else that its file said."""
    Image, _ = _pillow()
    small = Image.fromarray(np.asarray(picture))  # a new picture: no EXIF, no comment, no profile
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def thumbnail(path: Path | None, size: tuple[int, int] = THUMBNAIL) -> str | None:
    """A picture as a data URI of at most `size` pixels; None where there is none that can be read."""
    if path is None:
        return None
    try:
        image = read_image(path)
    except (OSError, Unreadable):
        return None
    image.thumbnail(size)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def grey_picture(size: int = 64) -> Any:
    """A small picture of nothing, by which an encoder finds its number of dimensions."""
    Image, _ = _pillow()
    return Image.new("RGB", (size, size), "gray")


def _pillow() -> tuple[Any, Any]:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise missing_extra("image", "pillow") from error
    return Image, ImageOps


def _rgb(image: Any) -> Any:
    Image, _ = _pillow()
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):  # 16 bits: Pillow would cut them off at 255
        values = np.nan_to_num(np.asarray(image, dtype=np.float32))
        top = 65_535.0 if values.max(initial=0) > 255 else 255.0 if values.max(initial=0) > 1 else 1.0
        if image.mode.startswith("I;16"):
            top = 65_535.0
        return Image.fromarray((values / top * 255).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")  # which would copy it


def read_audio(path: Path, sampling_rate: int, seconds: float) -> NDArray[np.float32]:
    """The first `seconds` of a sound as `decode_audio` gives them, resampled to `sampling_rate`. Raises Unreadable."""
    sound, rate = decode_audio(path, seconds)
    return resample(sound, rate, sampling_rate)


def decode_audio(path: Path, seconds: float) -> tuple[NDArray[np.float32], int]:
    """The first `seconds` of a sound, mono, and its samples a second.

    Raises Unreadable, whatever the file holds; also where it ends before its header says, within these seconds.
    """
    try:
        import soundfile
    except ImportError as error:
        raise missing_extra("audio", "soundfile") from error
    try:
        with soundfile.SoundFile(path) as file:
            rate = file.samplerate
            if not 1_000 <= rate <= MAX_RATE or file.channels > MAX_CHANNELS:
                raise Unreadable(f"{rate} samples a second and {count(file.channels, 'channel')} are not plausible")
            sound = _mono(file, int(seconds * rate))
            if file.channels > 1 and _silent(sound):  # one channel may be the other upside down
                file.seek(0)
                sound = _mono(file, int(seconds * rate), num_channels=1)
            claimed = _claimed_samples(file)
        _check(sound, rate)
        if len(sound) < HONEST * min(claimed, seconds * rate):
            raise Unreadable(f"ends after {len(sound) / rate:.1f} s, its header claims {claimed / rate:.1f} s")
        peak = np.abs(sound).max()
        if peak > 1:  # floating-point files may exceed the range that encoders expect
            sound = sound / peak
        return sound, rate
    except (Unreadable, MemoryError):
        raise
    except Exception as error:  # decoders raise anything on broken bytes
        raise Unreadable(f"not a readable sound: {_first_line(error, path)}") from error


def _mono(file: Any, num_samples: int, num_channels: int | None = None) -> NDArray[np.float32]:
    """At most `num_samples` of the mean of all channels, or of the first ones. Read in blocks, since a header may claim
    gigabytes that are not there."""
    import soundfile

    blocks: list[NDArray[np.float32]] = []
    buffer = np.empty((BLOCK, file.channels), dtype=np.float32)
    while num_samples > 0:
        try:
            # Into a buffer, since without one soundfile trusts the length in the header.
            block = file.read(min(num_samples, BLOCK), out=buffer)  # [samples, channels]
        except soundfile.LibsndfileError:
            if not blocks:
                raise
            break  # the end is damaged: what came before it counts
        if len(block) == 0:
            break
        blocks.append(_mean(block[:, :num_channels]))
        num_samples -= len(block)
    return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.float32)


def _mean(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """[samples, channels] -> [samples]; by channels: along so short an axis numpy would take ten times as long."""
    total = block[:, 0].copy()
    for channel in block.T[1:]:
        total += channel
    return total / block.shape[1]


def _claimed_samples(file: Any) -> float:
    """The length that the header claims; 0 where it claims none."""
    claimed = float(file.frames)
    noted = BYTES_CLAIMED.search(file.extra_info)
    if noted and file.frames:
        num_bytes, found = map(int, noted.groups())
        claimed *= 1 if num_bytes >= UNKNOWN_LENGTH else num_bytes / found
    return claimed if claimed < UNKNOWN_LENGTH else 0.0


def _check(sound: NDArray[np.float32], rate: int) -> None:
    if len(sound) < SHORTEST * rate:
        raise Unreadable(f"{len(sound) / rate:.2f} s of sound, at least {SHORTEST} s are needed")
    if not np.isfinite(sound).all():
        raise Unreadable(f"NaN or infinity in {count(int((~np.isfinite(sound)).sum()), 'sample')}")
    if _silent(sound):
        raise Unreadable(SILENCE)


def _silent(sound: NDArray[np.float32]) -> bool:
    return bool(np.abs(sound).max(initial=0) < QUIETEST)


def _first_line(error: Exception, path: Path) -> str:
    """The library's reason without the path and the number of bytes, so that like damage has the same reason."""
    lines = str(error).strip().splitlines()
    reason = re.sub(r" \(\d+ bytes [^)]*\)", "", lines[0]) if lines else type(error).__name__
    for name in (repr(str(path)), repr(path), str(path)):
        reason = reason.replace(f": {name}", "").replace(f" {name}", "")
    return reason
