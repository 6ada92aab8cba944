"""Pictures and sounds of items, as a browser gets them: by id, never by path, and only what is what it says it is.

The decoders bring torch along, so that they are imported when something is decoded, and not before the first list.
"""

import hashlib
from pathlib import Path

from fastapi import Request, Response
from fastapi.responses import FileResponse

from gnnrec.serve.routing import unchanged
from gnnrec.serve.service import Problem

SIDE = 640  # pixels of the longer side, at most
KEPT = "private, max-age=3600"  # a shared cache would give to everybody what a key is needed for
BEGINNING = 12  # bytes by which a sound is known
TRIED = 1.0  # seconds of it that are decoded first

SOUNDS = (  # where, what stands there, and what it is then
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (8, b"WAVE", "audio/wav"),
    (8, b"AIFF", "audio/aiff"),
    (0, b"ID3", "audio/mpeg"),
    *((0, bytes((0xFF, second)), "audio/mpeg") for second in (0xFB, 0xFA, 0xF3, 0xF2)),
)


def picture(path: Path, request: Request) -> Response:
    """Decoded and encoded again: its pixels, upright, and nothing else that its file holds. Raises Problem."""
    from gnnrec.encoders.media import Unreadable, jpeg, read_image

    headers = _headers(path)
    if same := unchanged(request, headers):
        return same
    try:
        return Response(jpeg(read_image(path), SIDE), media_type="image/jpeg", headers=headers)
    except Unreadable as error:
        raise Problem(404, f"the picture cannot be shown: {error}") from error


def sound(path: Path, request: Request) -> Response:
    """As it is, where it begins like a sound and can be decoded; in ranges where asked for. Raises Problem."""
    from gnnrec.encoders.media import Unreadable, decode_audio

    headers = _headers(path)
    if same := unchanged(request, headers):
        return same
    try:
        decode_audio(path, TRIED)
        return FileResponse(path, media_type=_kind_of(path), headers=headers)
    except Unreadable as error:
        raise Problem(404, f"the sound cannot be played: {error}") from error


def _kind_of(path: Path) -> str:
    with path.open("rb") as file:
        beginning = file.read(BEGINNING)
    for place, mark, kind in SOUNDS:
        if beginning[place:].startswith(mark):
            return kind
    raise Problem(404, "the sound is of a kind that browsers do not play")


def _headers(path: Path) -> dict[str, str]:
    """Raises Problem where the file is gone."""
    try:
        state = path.stat()
    except OSError as error:
        raise Problem(404, "the file is not there any more") from error
    digest = hashlib.sha256(f"{path}|{state.st_mtime_ns}|{state.st_size}".encode()).hexdigest()
    return {"etag": f'"{digest[:32]}"', "cache-control": KEPT, "content-disposition": "inline"}
