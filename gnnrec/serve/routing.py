"""What the routes have in common: how they find the service, how they answer, and with which errors."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from fastapi import Path, Query, Request, Response
from fastapi.routing import APIRoute

from gnnrec.serve.schemas import Error
from gnnrec.serve.served import Served
from gnnrec.serve.service import Problem, Service

Compared = Annotated[bool, Query(description="by the second run, of serve --compare", examples=[False])]
ItemPath = Annotated[str, Path(description="of an item", examples=["318"])]
REASONS = {
    400: "not HTTP as it should be, or for another host",
    401: "no key, or none of this service",
    403: "a key that may not do this",
    404: "no such user, item or path",
    409: "for a run that no longer answers",
    413: "too large",
    415: "a body of another kind",
    422: "not what is allowed",
    429: "too many requests: more than the rate of this caller, or than can wait",
    500: "a fault of the service",
    503: "not now: the service is still starting, or feedback cannot be stored, or keys cannot be read",
    504: "no answer in time",
}


def problems(*more: int) -> dict[int | str, dict[str, Any]]:
    """The errors that a route may answer with, for its OpenAPI document."""
    always = (400, 401, 413, 422, 429, 500, 503, 504)
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": Error, "description": REASONS[status]} for status in sorted({*always, *more})
    }
    found[400]["content"] = {"text/plain": {"schema": {"type": "string"}}}  # where it is no HTTP at all
    return found


async def no_others(request: Request) -> None:
    """A dependency: Problem for a query parameter that the route does not have, which else would be passed over."""
    route: APIRoute = request.scope["route"]
    allowed = [parameter.alias for parameter in route.dependant.query_params]
    for name in request.query_params:
        if name not in allowed:
            raise unknown(f"query.{name}", allowed)


def unknown(name: str, allowed: Iterable[str]) -> Problem:
    return Problem(422, f"{name}: not known here; allowed: {', '.join(allowed) or 'none'}")


def service_of(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def served_by(service: Service, compared: bool) -> Served:
    """The run that is asked. Raises Problem where there is no second one."""
    if not compared:
        return service.served
    if service.compared is None:
        raise Problem(404, "no second run: the service was started without --compare")
    return service.compared


def as_json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def unchanged(request: Request, headers: Mapping[str, str]) -> Response | None:
    """The answer where the asker has it already, by the etag in `headers`; what packs answers on the way writes W/."""
    tags = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    return Response(status_code=304, headers=headers) if tags & {headers["etag"], "*"} else None
