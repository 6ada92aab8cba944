"""Private scoring over HTTP: an encrypted vector comes, encrypted scores of all items go back.

The ids and titles of all items are sent together, so that nobody has to ask for those on her own list, which would tell
what is on it.
"""

import asyncio
import hashlib
import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from gnnrec.privacy.homomorphic import PARAMETERS, Refused
from gnnrec.privacy.worker import Overrun, ScoringProcess
from gnnrec.serve.batching import Busy
from gnnrec.serve.routing import as_json, no_others, problems, service_of
from gnnrec.serve.schemas import PrivateItems, PrivateParameters
from gnnrec.serve.served import Served
from gnnrec.serve.service import Problem, answered

router = APIRouter(prefix="/private", dependencies=[Depends(no_others)])
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
MESSAGE = "application/octet-stream"
SENDS: dict[int | str, dict[str, Any]] = {200: {"description": "encrypted scores", "content": {MESSAGE: BINARY}}}


class PrivateScoring:
    """The process that scores for the run that answers now; another run gets another one."""

    def __init__(self) -> None:
        self._changing = asyncio.Lock()
        self._process: ScoringProcess | None = None
        self._catalogue = ""

    async def of(self, served: Served) -> tuple[ScoringProcess, str]:
        """The process, and the name by which a client says which catalogue her message is for.

        Raises Problem for a run without embeddings.
        """
        async with self._changing:
            if self._process is None or self._process.run != served.run.folder:
                catalogue = await answered(served.run.folder, asyncio.to_thread(catalogue_of, served))
                await self.close()
                self._process, self._catalogue = ScoringProcess(served.run.folder), catalogue
            return self._process, self._catalogue

    async def close(self) -> None:
        if self._process is not None:
            await self._process.close()


def catalogue_of(served: Served) -> str:
    digest = hashlib.sha256(json.dumps(served.run.item_ids).encode())
    digest.update(served.run.item_vectors.tobytes())
    return digest.hexdigest()[:16]


@router.get("/parameters", response_model=PrivateParameters, responses=problems(), summary="How to encrypt a vector")
async def parameters(request: Request) -> Response:
    served = service_of(request).served
    process, catalogue = await request.app.state.private.of(served)
    sizes = await answered(served.run.folder, process.sizes())
    whole = {"run": served.name, "catalogue": catalogue, "complete": served.run.ranks_by_embeddings}
    return as_json(json.dumps(whole | sizes | {"encryption": PARAMETERS.to_json()}).encode())


@router.get("/items", response_model=PrivateItems, responses=problems(), summary="The ids and titles of all items")
async def items(request: Request) -> Response:
    served = service_of(request).served
    _, catalogue = await request.app.state.private.of(served)
    document = {"catalogue": catalogue, "ids": served.run.item_ids, "titles": served.recommender.titles}
    return as_json(json.dumps(document, ensure_ascii=False).encode())


@router.post(
    "/score",
    response_class=Response,
    responses=problems(409) | SENDS,
    summary="Encrypted scores of all items for an encrypted vector",
    openapi_extra={"requestBody": {"required": True, "content": {MESSAGE: BINARY}}},
)
async def score(
    request: Request,
    catalogue: Annotated[
        str, Query(max_length=64, description="as /private/parameters says", examples=["3584e400e1f94712"])
    ],
) -> Response:
    message = await request.body()  # whole, whatever the answer: who is still sending would find the line closed
    served = service_of(request).served
    process, present = await request.app.state.private.of(served)
    if catalogue != present:
        raise Problem(409, "another run answers now: ask /private/parameters again")
    sizes = await answered(served.run.folder, process.sizes())
    if len(message) > sizes["most_bytes"]:
        raise Problem(413, f"a message may have {sizes['most_bytes']:,} bytes")
    try:
        return Response(await process.score(message), media_type=MESSAGE)
    except Refused as error:
        raise Problem(422, str(error)) from error
    except Overrun as error:
        raise Busy from error
