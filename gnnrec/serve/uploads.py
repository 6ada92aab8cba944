"""What is asked in the body of a request: JSON, or a form with files, which are read from disk as a catalogue's are."""

import shutil
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from gnnrec.serve.schemas import Ask
from gnnrec.serve.service import LONGEST, Problem

FILES = ("image", "audio")
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


@asynccontextmanager
async def asked(request: Request) -> AsyncIterator[tuple[Ask, dict[str, Path]]]:
    """What is asked, and the files that were sent with it; they are gone afterwards.

    Raises RequestValidationError, and Problem for another kind of body.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json":
        yield _checked(await request.body()), {}
        return
    if kind not in FORMS:
        raise Problem(415, f"a body of {kind or 'no kind'}; allowed: application/json, {', '.join(FORMS)}")
    async with request.form(max_files=len(FILES), max_fields=LONGEST + 10) as form:
        with TemporaryDirectory(prefix="gnnrec-") as folder:
            sent = {name: file for name in FILES if isinstance(file := form.get(name), UploadFile)}
            files = {name: Path(folder) / name for name in sent}
            for name, file in sent.items():
                await run_in_threadpool(_copy, file, files[name])
            yield _checked_form(form, sent), files


def _copy(file: UploadFile, path: Path) -> None:
    with path.open("wb") as target:
        shutil.copyfileobj(file.file, target)


def _checked(body: bytes) -> Ask:
    try:
        return Ask.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from error


def _checked_form(form: FormData, files: Collection[str]) -> Ask:
    fields: dict[str, Any] = {name: form.get(name) for name in form if name not in files}
    if "history" in fields:
        fields["history"] = form.getlist("history")
    try:
        return Ask.model_validate(fields)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False)) from error
