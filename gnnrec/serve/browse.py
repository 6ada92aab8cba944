"""Routes for who looks around, as the page does: users, histories, items, what lists are made of, the map."""

import asyncio
import json
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from gnnrec.run_folder import LISTED
from gnnrec.serve import media
from gnnrec.serve.nearest import alike
from gnnrec.serve.routing import Compared, ItemPath, as_json, no_others, problems, served_by, service_of
from gnnrec.serve.schemas import Candidates, History, Id, Items, Length, Map, Training, Users
from gnnrec.serve.service import Problem, answered

router = APIRouter(dependencies=[Depends(no_others)])
KINDS: dict[str, Any] = {kind: {} for kind in ("image/jpeg", *(kind for _, _, kind in media.SOUNDS))}
SENDS: dict[int | str, dict[str, Any]] = {
    200: {"description": "the picture as JPEG, the sound as it is", "content": KINDS},
    206: {"description": "what was asked for of a sound", "content": KINDS | {"multipart/byteranges": {}}},
    304: {"description": "what was sent before is still so (If-None-Match)"},
    416: {"description": "no such range of the sound", "content": {"text/plain": {"schema": {"type": "string"}}}},
}
ASKS = {
    "parameters": [
        {"name": name, "in": "header", "description": what, "schema": {"type": "string", "examples": [example]}}
        for name, what, example in (
            ("Range", "of a sound", "bytes=0-1023"),
            ("If-None-Match", "the ETag of what was sent before", '"3584e400e1f94712"'),
        )
    ]
}


def sent(document: dict[str, Any]) -> Response:
    return as_json(json.dumps(document, ensure_ascii=False).encode())


@router.get("/users", response_model=Users, responses=problems(), summary="Users whose ids hold what is searched")
async def users(
    request: Request,
    search: Annotated[str, Query(max_length=200, examples=["1"])] = "",
    k: Annotated[Length, Query()] = 10,
) -> Response:
    found = await run_in_threadpool(service_of(request).served.users_like, search, k)
    return sent({"users": found})


@router.get("/history", response_model=History, responses=problems(404), summary="What a user had, the newest first")
async def history(
    request: Request, user: Annotated[Id, Query(examples=["1"])], k: Annotated[Length, Query()] = 10
) -> Response:
    service = service_of(request)
    served = service.served
    index, _, more = service.taken(served, user)
    rated = dict(served.known_items(service.log.told_by(served.run.user_key(user))))
    ids, titles = served.run.item_ids, served.recommender.titles
    told = [{"id": ids[item], "title": titles[item], "rating": rated[item]} for item in more]
    return sent({"user": user, "run": served.name, "items": (told[::-1] + served.history(index, k))[:k]})


@router.get("/items", response_model=Items, responses=problems(), summary="What is known about some items")
async def items(
    request: Request, id: Annotated[list[Id], Query(max_length=LISTED, examples=[["318", "50"]])]
) -> Response:
    """Those of them that there are."""
    served = service_of(request).served
    return sent({"items": [served.item(served.items[name]) for name in id if name in served.items]})


@router.get(
    "/items/{id}/{kind}",
    response_class=Response,
    responses=problems(404) | SENDS,
    summary="Picture or sound",
    openapi_extra=ASKS,
)
async def content(
    request: Request, id: ItemPath, kind: Annotated[Literal["image", "audio"], Path(examples=["image"])]
) -> Response:
    service = service_of(request)
    served = service.served
    path = served.file(service.item_index(served, id), kind)
    if path is None:
        raise Problem(404, f"the item {id!r} has no {kind}")
    make = media.picture if kind == "image" else media.sound
    return await answered(served.run.folder, run_in_threadpool(make, path, request))


@router.get(
    "/candidates", response_model=Candidates, responses=problems(404), summary="A long list, and what it is made of"
)
async def candidates(
    request: Request,
    user: Annotated[Id, Query(examples=["1"])],
    k: Annotated[Length, Query()] = LISTED,
    compared: Compared = False,
) -> Response:
    service = service_of(request)
    served = served_by(service, compared)
    _, had, more = service.taken(served, user)
    listed = await service.list_for(served, user, k)
    best = [served.items[place.id] for place in listed]
    content = await service.computed(served, partial(served.nearness, best, had + more))
    rows = [
        place.to_json()
        | {"interactions": int(served.times_had[item])}
        | {"content": {modality: cosines[row] for modality, cosines in content.items()}}
        for row, (item, place) in enumerate(zip(best, listed))
    ]
    near = alike(served.run.item_vectors[best]) if served.run.has_embeddings else None
    return sent({"user": user, "run": served.name, "modalities": list(content), "items": rows, "alike": near})


@router.get("/map", response_model=Map, responses=problems(), summary="Where the items lie, in two dimensions")
async def embedding_map(request: Request) -> Response:
    service = service_of(request)
    served = service.served
    run, num_items = served.run, len(served.items)
    if not run.has_embeddings:
        raise Problem(422, f"the model {run.recipe.model_name} has no embeddings, so there is no map")
    names = {"ids": run.item_ids, "titles": served.recommender.titles}
    kinds = run.items.kinds() if run.items is not None else (None,) * num_items
    return sent({"run": served.name, **names, "kinds": kinds} | await service.maps.of(run))


@router.get("/training", response_model=Training, responses=problems(404), summary="How the training went")
async def training(request: Request, compared: Compared = False) -> Response:
    served = served_by(service_of(request), compared)
    return sent({"run": served.name} | await asyncio.to_thread(served.training))
