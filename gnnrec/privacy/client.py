"""The client of private scoring: what it sends is her vector, encrypted, to the address that the user typed.

The service learns that somebody asked. Her vector, her list and the items she had stay here: the ids and titles of the
whole catalogue are fetched, and what was decrypted never goes back.
"""

import http.client
import json
import os
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from gnnrec.errors import UserError
from gnnrec.privacy.homomorphic import PARAMETERS, PrivateUser, Refused

SECONDS = 60.0  # that the service may be silent
MOST_BYTES = 1 << 30  # of one answer
LOOPBACK = ("127.0.0.1", "localhost", "::1")
KEY = "GNNREC_SERVICE_KEY"  # environment variable: the API key of a service that wants one


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateList:
    """Places as (id, title, score), the best first; scores as the inner products with her vector at length one and the
    longest item at length one. `complete`: whether the run ranks by these alone."""

    places: list[tuple[str, str | None, float]]
    complete: bool
    bytes_up: int
    bytes_down: int  # of the scores
    seconds: dict[str, float]  # encrypt, score (there and back), decrypt


def recommend(address: str, vector: NDArray[np.floating[Any]], known: Collection[str], k: int) -> PrivateList:
    """The k best items for a vector [d] without those in `known`.

    Raises UserError for a service that cannot be reached, that scores nothing privately, or that knows other vectors.
    """
    service = _Service(address)
    found = service.json("/private/parameters")
    if found.get("encryption") != PARAMETERS.to_json():
        raise UserError(f"{address}: encrypts by {found.get('encryption')}; allowed: {PARAMETERS.to_json()}")
    if found.get("dimensions") != len(vector):
        raise UserError(f"the vector has {len(vector)} numbers; allowed for {address}: {found.get('dimensions')}")
    catalogue = service.json("/private/items")
    ids, titles = catalogue.get("ids"), catalogue.get("titles")
    if not isinstance(ids, list) or not isinstance(titles, list) or not len(ids) == len(titles) == found.get("items"):
        raise UserError(f"{address}: the list of its items does not fit its parameters")

    began, user = time.perf_counter(), PrivateUser()
    message = user.encrypt(vector)
    encrypted = time.perf_counter()
    answer = service.ask("POST", f"/private/score?catalogue={found['catalogue']}", message)
    scored = time.perf_counter()
    try:
        scores = user.decrypt(answer, len(ids))
    except Refused as error:
        raise UserError(f"{address}: its scores cannot be decrypted: {error}") from error
    seconds = {"encrypt": encrypted - began, "score": scored - encrypted, "decrypt": time.perf_counter() - scored}
    had = set(known)
    best = [place for place in np.argsort(-scores, kind="stable") if ids[place] not in had][:k]
    return PrivateList(
        places=[(ids[place], titles[place], float(scores[place])) for place in best],
        complete=bool(found.get("complete")),
        bytes_up=len(message),
        bytes_down=len(answer),
        seconds=seconds,
    )


class _Service:
    def __init__(self, address: str) -> None:
        """Raises UserError for an address that is none, and where a key would travel in the clear."""
        try:
            parts, port = urlsplit(address), urlsplit(address).port
        except ValueError as error:
            raise UserError(f"private-recommend: found {address!r}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
            raise UserError(f"private-recommend: found {address!r}; allowed: a run folder, or http(s)://HOST:PORT")
        self.address, self._host, self._port = address, parts.hostname, port
        self._secure, self._key = parts.scheme == "https", os.environ.get(KEY)
        if self._key and not self._secure and parts.hostname not in LOOPBACK:
            raise UserError(f"private-recommend: found {address!r}; allowed with {KEY}: https, or this machine")

    def json(self, path: str) -> dict[str, Any]:
        body = self.ask("GET", path)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{self.address}{path}: the answer is no JSON") from error
        if not isinstance(document, dict):
            raise UserError(f"{self.address}{path}: the answer is no JSON object")
        return document

    def ask(self, method: str, path: str, body: bytes | None = None) -> bytes:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        headers = {"content-type": "application/octet-stream"} if body else {}
        headers |= {"authorization": f"Bearer {self._key}"} if self._key else {}
        connection = kind(self._host, self._port, timeout=SECONDS)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            found = answer.read(MOST_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise UserError(f"{self.address}: cannot be reached: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise UserError(f"{self.address}{path.partition('?')[0]}: {_reason(answer.status, found)}")
        return found


def _reason(status: int, body: bytes) -> str:
    if status == 404:
        return "it scores nothing privately (gnnrec serve --private-scoring does)"
    try:
        return f"answered {status}: {str(json.loads(body)['error'])[:300]}"
    except (ValueError, KeyError, TypeError):
        return f"answered {status}"
