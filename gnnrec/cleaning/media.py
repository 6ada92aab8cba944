"""Pictures and sounds, each read once: what is broken, blank, or the same for too many.

Letters: I rows of a catalogue.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnnrec.cleaning.contents import Owners
from gnnrec.cleaning.finding import Cell, Finding, empty, shorten
from gnnrec.cleaning.settings import CleanConfig
from gnnrec.datasets.content import judge_path
from gnnrec.encoders.encode import EncodersConfig
from gnnrec.encoders.media import SILENCE, Unreadable, decode_audio, read_image
from gnnrec.encoders.read_ahead import READERS
from gnnrec.errors import count, missing_extra
from gnnrec.files import sha256_of_file
from gnnrec.progress import progress

COLOUR_SIDE = 8  # pixels of the small picture whose colours are compared


@dataclass(frozen=True, slots=True)
class Look:
    """What one file showed."""

    digest: str  # sha256 of the file; empty where there is none
    broken: str = ""  # the reason
    blank: str = ""  # the reason
    code: int | None = None  # 64 bits of the perceptual hash
    colours: NDArray[np.int16] | None = None  # [8, 8, 3]


Looks = Mapping[str, Sequence[Look | None]]  # modality -> [I], None where the cell is empty


def look_at(owners: Owners, config: CleanConfig) -> Looks:
    """Open every picture and sound of a catalogue, a file that many rows name only once.

    Of a sound as many seconds as encoders listen to by default. The perceptual hash is imagededup's PHash over pixels
    read as the encoders read them.
    """
    found: dict[str, list[Look | None]] = {}
    for modality, paths in (owners.catalog.media or {}).items():
        hashed = owners.name == "items" and config.wants("near-pictures") and any(paths)
        look: Any = picture_looker(config, hashed) if modality == "image" else look_at_sound
        there = list(dict.fromkeys(path for path in paths if path is not None))
        with ThreadPoolExecutor(READERS) as pool:
            looks = progress(pool.map(look, there), total=len(there), text=f"opening {modality} files", unit="file")
            by_path = dict(zip(there, looks))
        names = owners.cells(owners.raw.media[modality])
        found[modality] = [
            by_path[path]
            if path is not None
            else Look("", broken=judge_path(owners.root, name) or "")
            if name
            else None
            for name, path in zip(names, paths)
        ]
    return found


def picture_looker(config: CleanConfig, hashed: bool) -> Callable[[Path], Look]:
    encode = perceptual_hash() if hashed else None

    def look(path: Path) -> Look:
        digest = sha256_of_file(path)
        try:
            picture = read_image(path)
        except Unreadable as error:
            return Look(digest, broken=str(error))
        pixels = np.asarray(picture)
        if (pixels.reshape(-1, 3).std(axis=0) <= config.blank_spread).all():
            red, green, blue = pixels.reshape(-1, 3).mean(axis=0).round().astype(int)
            return Look(digest, blank=f"a picture of one colour, #{red:02x}{green:02x}{blue:02x}")
        if encode is None:
            return Look(digest)
        colours = np.asarray(picture.resize((COLOUR_SIDE, COLOUR_SIDE)), dtype=np.int16)
        return Look(digest, code=int(encode(image_array=pixels), 16), colours=colours)

    return look


def look_at_sound(path: Path) -> Look:
    digest = sha256_of_file(path)
    try:
        decode_audio(path, EncodersConfig().audio_seconds)
    except Unreadable as error:
        reason = str(error)
        return Look(digest, blank=reason) if reason == SILENCE else Look(digest, broken=reason)
    return Look(digest)


def perceptual_hash() -> Callable[..., str]:
    try:
        from imagededup.methods import PHash
    except ImportError as error:
        raise missing_extra("clean", "imagededup") from error
    encode: Callable[..., str] = PHash(verbose=False).encode_image
    return encode


def find_media(owners: Owners, looks: Looks, config: CleanConfig) -> Iterator[Finding]:
    """broken-media: no file or none that can be decoded; blank-media; shared-media: more than most_copies name it."""
    ids = owners.ids
    for modality, seen in looks.items():
        column = owners.raw.media[modality]
        names = owners.cells(column)
        sharers = defaultdict(list)
        for row, look in enumerate(seen):
            if look is not None and look.digest and not look.broken:
                sharers[look.digest].append(row)
        for row, look in enumerate(seen):
            if look is None:
                continue
            sharing = len(sharers[look.digest]) if look.digest else 0
            if look.broken:
                kind, reason = "broken-media", look.broken
            elif look.blank:
                kind, reason = "blank-media", look.blank
            elif sharing > config.most_copies:
                kind, reason = "shared-media", f"the same file for {count(sharing, owners.name[:-1])}: a placeholder?"
            else:
                continue
            yield Finding(
                kind=kind,
                file=owners.raw.table.file,
                line=owners.lines[row],
                id=ids[row],
                column=column,
                value=shorten(names[row]),
                reason=reason,
                edit=Cell(owners.name, row, column, empty),
            )
