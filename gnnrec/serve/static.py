"""The web page: files that come with the package, read once. There is nothing of a run in them."""

import hashlib
from functools import cache
from importlib import resources
from typing import NamedTuple

from fastapi import APIRouter, Request, Response

from gnnrec.serve.routing import unchanged
from gnnrec.serve.service import Problem

FOLDER = resources.files("gnnrec.serve") / "page"
KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class File(NamedTuple):
    body: bytes
    kind: str
    tag: str


@cache
def files() -> dict[str, File]:
    found = {}
    for file in FOLDER.iterdir():
        kind = KINDS.get("." + file.name.rpartition(".")[2])
        if kind is not None:
            body = file.read_bytes()
            found[file.name] = File(body, f"{kind}; charset=utf-8", f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found


router = APIRouter(include_in_schema=False)


@router.get("/")
async def index(request: Request) -> Response:
    return _sent(request, "index.html")


@router.get("/page/{name}")
async def part(request: Request, name: str) -> Response:
    return _sent(request, name)


def _sent(request: Request, name: str) -> Response:
    file = files().get(name)
    if file is None:
        raise Problem(404, "no such file of the page")
    headers = {
        "etag": file.tag,
        "cache-control": "no-cache",
    }  # asked for again each time; a new version is seen at once
    return unchanged(request, headers) or Response(file.body, media_type=file.kind, headers=headers)
