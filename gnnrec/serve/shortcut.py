"""The request that nearly all are, the list of a known user, past FastAPI's routing: an ASGI application around it.

Routing, solving of dependencies and the response take two thirds of such a request (scripts/bench/NOTES.md, "The
service"). The route stays what it is, for the OpenAPI document, for all that is asked in another way, and for all that
cannot be answered: a request is handed on to it unless the answer is a list.
"""

from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from gnnrec.serve.batching import Busy
from gnnrec.serve.schemas import Ask, valid_ask
from gnnrec.serve.service import Problem, Service

PLAIN = {"user", "k"}


class Shortcut:
    path = "/recommend"  # of the route it stands before, by which requests are counted

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = self._plain(scope)
        try:
            body = None if asked is None else await self._service.for_user(str(asked.user), asked.k)
        except (Problem, Busy):  # it happens to the route, too, which has the words for it
            body = None
        if body is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = self
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _plain(self, scope: Scope) -> Ask | None:
        """What is asked with a user, perhaps a length, and nothing else; None for every other request."""
        if scope["type"] != "http" or scope["path"] != self.path or scope["method"] != "GET":
            return None
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = dict(pairs)
        if "user" not in given or len(given) < len(pairs) or not given.keys() <= PLAIN:
            return None
        return valid_ask(given)
