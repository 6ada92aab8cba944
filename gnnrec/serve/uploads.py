"""What is asked in the body of a request: JSON, or a form with files, which are read from disk as a catalogue's are."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from gnnrec.serve.routing import unknown
from gnnrec.serve.schemas import Ask
from gnnrec.serve.service import LONGEST, Problem

FILES = ("image", "audio")
JSON = "application/json"
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


@asynccontextmanager
async def asked(request: Request) -> AsyncIterator[tuple[Ask, dict[str, Path]]]:
    """What is asked, and the files that were sent with it; they are gone afterwards.

    Raises RequestValidationError, and Problem for another kind of body.
    """
    kind = _kind(request)
    if kind == JSON:
        yield _checked(await request.body()), {}
        return
    if kind not in FORMS:
        raise _other_kind(kind, JSON, *FORMS)
    async with request.form(max_files=len(FILES), max_fields=LONGEST + 10) as form:
        with TemporaryDirectory(prefix="gnnrec-") as folder:
            sent = {name: _file(name, form) for name in FILES if name in form}
            files = {name: Path(folder) / name for name in sent}
            for name, file in sent.items():
                await run_in_threadpool(_copy, file, files[name])
            yield _checked_form(form), files


def _file(name: str, form: FormData) -> UploadFile:
    file, *more = form.getlist(name)
    if not isinstance(file, UploadFile):
        raise Problem(422, f"{name}: found text, expected a file; curl sends one by -F {name}=@FILE")
    if more:
        raise Problem(422, f"{name}: found {1 + len(more)}, expected one file")
    return file


def only_json(request: Request) -> None:
    """Raises Problem for a body of another kind, of which FastAPI would say that it is no object."""
    if (kind := _kind(request)) != JSON:
        raise _other_kind(kind, JSON)


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _other_kind(found: str, *allowed: str) -> Problem:
    return Problem(415, f"a body of {found or 'no kind'}; allowed: {', '.join(allowed)}")


def _copy(file: UploadFile, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target)


def _checked(body: bytes) -> Ask:
    try:
        return Ask.model_validate_json(body)
    except ValidationError as error:
        raise _refused(error) from error


def _checked_form(form: FormData) -> Ask:
    fields: dict[str, Any] = {name: form.get(name) for name in form if name not in FILES}
    if "history" in fields:
        fields["history"] = form.getlist("history")
    try:
        return Ask.model_validate(fields)
    except ValidationError as error:
        raise _refused(error) from error


def _refused(error: ValidationError) -> Exception:
    first = error.errors(include_url=False)[0]
    if first["type"] != "extra_forbidden":
        return RequestValidationError([first])
    name = str(first["loc"][0])
    if name in FILES:
        return Problem(422, f"{name}: a file, which goes into a form: multipart/form-data")
    return unknown(name, (*Ask.model_fields, *FILES))
