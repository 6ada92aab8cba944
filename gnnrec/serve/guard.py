"""What every request has to pass, whatever it asks: an ASGI application around another one.

Host, key, rate, size and time of a request; security headers and counting of an answer; no error says where it was.
"""

import asyncio
import json
import math
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gnnrec.errors import UserError
from gnnrec.serve.metrics import UNKNOWN, Metrics
from gnnrec.serve.security import Caller, Keys, RateLimit
from gnnrec.serve.service import Problem
from gnnrec.serve.settings import ServeConfig

POLICY = (  # nothing runs in the page but its own files; blob: is what its user has chosen, or what came with a key
    *(b"default-src 'self'", b"img-src 'self' blob:", b"media-src 'self' blob:", b"object-src 'none'"),
    *(b"base-uri 'none'", b"form-action 'self'", b"frame-ancestors 'none'"),
)
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"; ".join(POLICY)),
    (b"cross-origin-resource-policy", b"same-origin"),
]
NO_STORE = (b"cache-control", b"no-store")  # where a route says nothing else
OPEN = ("/health", "/ready", "/")  # what a supervisor asks, without a key, and the page
PAGE = "/page/"  # its files, in which there is nothing of the run
LOCAL = ("127.0.0.1", "localhost", "[::1]")
ADMIN = "/admin/"
PORT = re.compile(r":\d*$")


class Guard:
    def __init__(
        self,
        app: ASGIApp,
        keys: Keys | None,
        metrics: Metrics,
        config: ServeConfig,
        hosts: tuple[str, ...] | None,
        warm: Callable[[], bool],
    ) -> None:
        """keys: None lets everybody in, but nobody change the run. hosts: the names by which it may be called, so that
        no web page reaches it by a name of its own (DNS rebinding); None for any. warm: whether the start is over."""
        self._app, self._keys, self._metrics, self._config = app, keys, metrics, config
        self._hosts, self._warm = hosts, warm
        self._rates = RateLimit(config.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        if scope["method"] == "HEAD":  # as GET; it is the server that sends no body, by the scope that it has kept
            scope = dict(scope) | {"method": "GET"}

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                silent = all(name != NO_STORE[0] for name, _ in message["headers"])
                message["headers"] = [*message["headers"], *HEADERS, *[NO_STORE] * silent]
            await send(message)

        try:
            headers = dict(scope["headers"])
            self._admit(scope, headers)
            async with asyncio.timeout(patience := self._patience(scope["path"])):
                await self._app(scope, await self._counted(receive, headers), answer)
        except Problem as problem:
            await _say(answer, problem)
        except TimeoutError:
            late = Problem(504, f"no answer within {patience:g} s")
            if not status:
                await _say(answer, late if self._warm() else Problem(503, "the service is still starting; come again"))
        except Exception as error:
            traceback.print_tb(error.__traceback__)  # for who runs it, not for who asks
            print(f"gnnrec: {type(error).__name__}", file=sys.stderr)  # its words may hold ids, which no log does
            if not status:
                await _say(answer, Problem(500, "something went wrong here; the log of the service has it"))
        route = getattr(scope.get("route"), "path", UNKNOWN)
        self._metrics.observe(route, status, time.perf_counter() - began)

    def _patience(self, path: str) -> float:
        """Seconds; more where a run is read, be it at the start or because an admin wants another one."""
        return self._config.timeout + (self._config.start_timeout if path.startswith(ADMIN) or not self._warm() else 0)

    def _admit(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Raises Problem for who may not go on."""
        if self._hosts is not None:
            host = PORT.sub("", headers.get(b"host", b"").decode("latin-1").lower()) or "none"
            if host not in self._hosts:
                raise Problem(400, f"host {host!r} is not served; allowed: {', '.join(self._hosts)}")
        path = scope["path"]
        if path in OPEN or path.startswith(PAGE):
            return
        caller = self._caller(scope, headers)
        if path.startswith(ADMIN) and caller.role != "admin":
            raise Problem(
                403, "needs the key of an admin" if self._keys else "needs a service that was started with --keys"
            )
        if wait := self._rates.wait(caller.name):
            raise Problem(429, f"too many requests; the next one in {wait:.1f} s", math.ceil(wait))
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._config.max_body:
            raise self._too_large()

    def _caller(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Caller:
        if self._keys is None:
            return Caller((scope.get("client") or ("",))[0], "client")
        kind, _, key = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        try:
            caller = self._keys.caller(key.strip()) if kind.lower() == "bearer" else None
        except UserError as error:
            raise Problem(503, str(error)) from error
        if caller is None:
            raise Problem(401, "needs the header 'Authorization: Bearer KEY' with a key of this service")
        return caller

    async def _counted(self, receive: Receive, headers: Mapping[bytes, bytes]) -> Receive:
        """A body that comes without its length is read here, so that it is known not to be too long."""
        if b"transfer-encoding" not in headers:
            return receive
        body, more = bytearray(), True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._config.max_body:
                raise self._too_large()
        whole = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def received() -> Message:
            return whole.pop() if whole else await receive()

        return received

    def _too_large(self) -> Problem:
        return Problem(413, f"a request may have {self._config.max_body:,} bytes")


async def _say(send: Send, problem: Problem) -> None:
    headers = [(b"content-type", b"application/json")]
    if problem.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if problem.status in (429, 503):
        headers.append((b"retry-after", str(problem.again).encode()))
    body = json.dumps({"error": str(problem)}).encode()
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
