"""The HTTP side: routes, their OpenAPI document, and one form for all errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp

import gnnrec
from gnnrec.serve import browse, static
from gnnrec.serve.batching import Busy
from gnnrec.serve.guard import Guard
from gnnrec.serve.metrics import Metrics
from gnnrec.serve.routing import Compared, ItemPath, as_json, no_others, problems, served_by, service_of
from gnnrec.serve.schemas import (
    RERANK,
    Ask,
    AskForm,
    Candidates,
    Explanation,
    Id,
    Interaction,
    Item,
    Length,
    Lists,
    RunName,
    State,
    Text,
)
from gnnrec.serve.security import Keys
from gnnrec.serve.service import Problem, Service
from gnnrec.serve.settings import ServeConfig
from gnnrec.serve.shortcut import Shortcut
from gnnrec.serve.uploads import asked, only_json

METHODS = ("GET", "POST")  # of all routes; HEAD goes with GET, see guard.py
LONGEST_PATH = 100  # letters of a wrong path that are said again
router = APIRouter(dependencies=[Depends(no_others)])
probes = APIRouter()  # for supervisors, who may add to the address what they like
BODY = {  # of POST /recommend, which reads its body itself
    "required": True,
    "content": {
        "application/json": {"schema": {"$ref": "#/components/schemas/Ask"}},
        "application/x-www-form-urlencoded": {"schema": {"$ref": "#/components/schemas/Ask"}},
        "multipart/form-data": {"schema": {"$ref": "#/components/schemas/AskForm"}},
    },
}


async def answer(service: Service, ask: Ask, files: dict[str, Path]) -> Response:
    """One list, by whichever of user, history and content is asked."""
    content = ask.text is not None or bool(files)
    if (ask.user is not None) + (ask.history is not None) + content != 1:
        raise Problem(422, "expected one of user, history, or content: text, image, audio")
    if ask.to_users and not content:
        raise Problem(422, "to_users goes with content: text, image, audio")
    if ask.rerank and content:
        raise Problem(422, "rerank goes with user or history")
    if ask.user is not None:
        for_user = service.reordered_for_user if ask.rerank else service.for_user
        return as_json(await for_user(ask.user, ask.k))
    if ask.history is not None:
        for_history = service.reordered_for_history if ask.rerank else service.for_history
        return as_json(await for_history(ask.history, ask.k))
    return as_json(await service.for_content(ask.text, files, ask.k, ask.to_users))


@router.get("/recommend", response_model=Lists, responses=problems(404), summary="Items for a user, history or text")
async def recommend(
    request: Request,
    user: Annotated[Id | None, Query(examples=["1"])] = None,
    history: Annotated[list[Id] | None, Query(max_length=100, examples=[["318", "50"]])] = None,
    text: Annotated[Text | None, Query(examples=["a heist in space"])] = None,
    k: Annotated[Length, Query()] = 10,
    to_users: Annotated[bool, Query(examples=[False])] = False,
    rerank: Annotated[bool, Query(description=RERANK, examples=[False])] = False,
) -> Response:
    asked = Ask.model_construct(user=user, history=history, text=text, k=k, to_users=to_users, rerank=rerank)
    return await answer(service_of(request), asked, {})


@router.post(
    "/recommend",
    response_model=Lists,
    responses=problems(404, 415),
    summary="The same, also for a picture and a sound",
    openapi_extra={"requestBody": BODY},
)
async def recommend_post(request: Request) -> Response:
    async with asked(request) as (ask, files):
        return await answer(service_of(request), ask, files)


@router.get("/similar", response_model=Lists, responses=problems(404), summary="The items nearest to one")
async def similar(
    request: Request,
    item: Annotated[Id, Query(examples=["318"])],
    k: Annotated[Length, Query()] = 10,
    compared: Compared = False,
) -> Response:
    service = service_of(request)
    return as_json(await service.similar(item, k, served_by(service, compared)))


@router.get("/explain", response_model=Explanation, responses=problems(404), summary="Why a user gets an item")
async def explain(
    request: Request,
    user: Annotated[Id, Query(examples=["1"])],
    item: Annotated[Id, Query(examples=["318"])],
    compared: Compared = False,
) -> Response:
    service = service_of(request)
    return as_json(await service.explain(user, item, served_by(service, compared)))


@router.get("/items/{id}", response_model=Item, responses=problems(404), summary="What is known about an item")
async def item(request: Request, id: ItemPath) -> Response:
    return as_json(service_of(request).item(id))


@router.post(
    "/feedback",
    status_code=201,
    response_model=Interaction,
    responses=problems(415),
    dependencies=[Depends(only_json)],
    summary="A new interaction: on the disk before the answer, and counted from then on",
)
async def feedback(request: Request, told: Interaction) -> Response:
    event = await service_of(request).tell(told.user, told.item, told.rating, told.timestamp)
    return as_json(json.dumps(event, ensure_ascii=False).encode(), 201)


@router.post(
    "/admin/run",
    response_model=State,
    responses=problems(403, 415),
    dependencies=[Depends(only_json)],
    summary="Let another run answer",
)
async def change_run(request: Request, wanted: RunName) -> Response:
    service = service_of(request)

    async def change() -> None:
        await service.change_run(wanted.run)
        request.app.state.metrics.swaps.inc()

    await asyncio.shield(change())  # goes on where the caller does not wait
    return state_of(service)


@probes.get("/health", response_model=State, responses=problems(), summary="Whether the process answers")
async def health() -> Response:
    return as_json(b'{"status": "ok"}')


@probes.get("/ready", response_model=State, responses=problems(), summary="Which run answers")
async def ready(request: Request) -> Response:
    return state_of(service_of(request))


@probes.get("/metrics", response_class=Response, responses=problems(), summary="Counts and times, for Prometheus")
async def metrics(request: Request) -> Response:
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def state_of(service: Service) -> Response:
    served = service.served
    state = {"status": "ok", "run": served.name, "users": len(served.users), "items": len(served.items)}
    more = {
        "warm": service.warm,
        "compared": service.compared.name if service.compared else None,
        "rerank": service.reranking.state(served) if service.reranking else None,
        "asks": served.asks,
    }
    return as_json(json.dumps(state | more).encode())


def build_app(
    service: Service, keys: Keys | None = None, config: ServeConfig | None = None, hosts: tuple[str, ...] | None = None
) -> ASGIApp:
    """The whole application. keys, hosts: see `Guard`."""
    config = config or ServeConfig()
    app = FastAPI(
        title="gnnrec",
        version=gnnrec.__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        redirect_slashes=False,
    )
    app.state.service, app.state.metrics = service, Metrics(service)
    for routes in (router, probes, browse.router, static.router):
        app.include_router(routes)
    app.state.private = None
    if config.private_scoring:
        from gnnrec.serve import private  # needs the extra he

        app.state.private = private.PrivateScoring()
        app.include_router(private.router)
    for kind in (Problem, Busy, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _failed)
    _describe(app)
    guarded = Guard(Shortcut(app, service), keys, app.state.metrics, config, hosts, lambda: service.warm)
    if config.origins:
        headers = ["authorization", "content-type"]
        return CORSMiddleware(
            guarded, allow_origins=config.origins, allow_methods=[*METHODS, "HEAD"], allow_headers=headers
        )
    return guarded


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    tasks = [asyncio.create_task(work) for work in (service.warm_up(), service.keep_limit())]
    yield
    for task in tasks:
        task.cancel()
    if app.state.private is not None:
        await app.state.private.close()
    service.close()


async def _failed(request: Request, error: Exception) -> Response:
    """One line for each error, and none of where it happened."""
    headers = {}
    if isinstance(error, Problem):
        status, message = error.status, str(error)
    elif isinstance(error, Busy):
        status, message = 429, "too many requests wait; come again"
    elif isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        why = "not known here; /openapi.json has what is" if first["type"] == "extra_forbidden" else first["msg"]
        status, message = 422, f"{place}: {why}" if place else why
    elif isinstance(error, HTTPException) and error.status_code == 404:
        status, message = 404, f"nothing is at {request.url.path[:LONGEST_PATH]!r}; /openapi.json has what there is"
    elif isinstance(error, HTTPException) and error.status_code == 405:
        methods = ", ".join(_methods(request))
        status, message, headers = 405, f"{request.method} cannot be asked here; allowed: {methods}", {"allow": methods}
    elif isinstance(error, HTTPException):
        status, message, headers = error.status_code, str(error.detail), dict(error.headers or {})
    else:
        status, message = 500, "something went wrong here; the log of the service has it"
    if status in (429, 503):
        headers["retry-after"] = str(error.again if isinstance(error, Problem) else 1)
    return Response(json.dumps({"error": message}), status, headers, media_type="application/json")


def _methods(request: Request) -> list[str]:
    """By which a path can be asked: it may have a route for each of them, of which routing names the first alone."""
    scopes = {method: dict(request.scope) | {"method": method} for method in METHODS}
    answered = [
        name for name, scope in scopes.items() if any(r.matches(scope)[0] is Match.FULL for r in request.app.routes)
    ]
    return answered + ["HEAD"] * ("GET" in answered)


def _describe(app: FastAPI) -> None:
    """Add to the OpenAPI document what FastAPI cannot see, and the nulls that it leaves out of examples."""
    document = app.openapi()
    schemas = document["components"]["schemas"]
    for model in (Ask, AskForm, Lists, Candidates, State):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
    document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{}, {"key": []}]  # needed where the service was started with --keys
