"""Ray, opened as it has to be: on this machine for this process alone, or on the cluster that the user named.

On this machine it listens on the loopback interface alone, serves who has a token that this process draws, and shows
no dashboard, whose interface runs whatever it is sent (CVE-2023-48022). Nothing is reported to anybody.
"""

import os
import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache
from typing import Any

from gnnrec.errors import UserError, missing_extra

PROBE_SECONDS = 4.0  # for each address that a name has
# What a client of HTTP/2, which Ray speaks (gRPC), sends first, with an empty frame of settings (RFC 9113, 3.4).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
SETTINGS, HEAD = 4, 9  # the type of a frame of settings, which answers it first, and the bytes of a frame's head
STARTS = 3  # on this machine; where it is busy, Ray gives up after 30 s, which no setting of its own changes


def host_and_port(address: str) -> tuple[str, int]:
    """Raises UserError for what is no HOST:PORT."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UserError(f"--address: found {address!r}; allowed: HOST:PORT of a Ray cluster")
    return host.strip("[]"), int(port)


def _probe(address: str) -> None:
    """Ray itself asks for minutes whether somebody answers, and for one whether that is Ray."""
    try:
        connection = socket.create_connection(host_and_port(address), timeout=PROBE_SECONDS)
    except OSError as error:
        reason = error.strerror or str(error)  # a timeout has no errno
        raise UserError(f"--address: nobody listens at {address} ({reason}); start the cluster first") from error
    with connection:
        if os.environ.get("RAY_USE_TLS", "0") == "0" and not _speaks_http2(connection):
            raise UserError(f"--address: who listens at {address} is no Ray cluster; allowed: HOST:PORT of its head")


def _speaks_http2(connection: socket.socket) -> bool:
    head = b""
    try:
        connection.sendall(PREFACE)
        while len(head) < HEAD and (more := connection.recv(HEAD - len(head))):
            head += more
    except OSError:
        return False
    return len(head) == HEAD and head[3] == SETTINGS


@contextmanager
def open_ray(address: str | None, workers: int) -> Iterator[Any]:
    """The module, connected; RAY_ADDRESS is not asked. Raises UserError where there is no such cluster."""
    if address is not None:
        _probe(address)
    with _variables_restored(), redirect_stdout(sys.stderr):  # Ray tells there of lost workers: no part of a document
        _set_variables(address)
        try:
            import ray
        except ImportError as error:
            raise missing_extra("scale", "ray") from error
        try:
            _connect(ray, address, workers)
            yield ray
        finally:
            ray.shutdown()


def _set_variables(address: str | None) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # a lost worker is no error here
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    if address is None:
        # The one switch that makes all of Ray's servers on this machine listen on the loopback interface alone.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        # Else Ray writes a token of its own into the home directory, where it stays.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", _token())
    else:
        os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "1")  # who listens may be no Ray; 20 take minutes


@cache
def _token() -> str:
    """One for all of this process, since Ray keeps the first that it sees."""
    return secrets.token_hex(32)


@contextmanager
def _variables_restored() -> Iterator[None]:
    """Programs that are started later do not inherit the token, nor a cluster that is named later these settings."""
    before = _variables()
    try:
        yield
    finally:
        for name in _variables().keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith("RAY_")}


def _connect(ray: Any, address: str | None, workers: int) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            _start(ray, num_cpus=workers, num_gpus=0, **quiet)
        else:
            ray.init(address=address, **quiet)
    except Exception as error:  # whatever its many layers raise
        where = address or "this machine"
        raise UserError(f"--engine ray: cannot start on {where}: {str(error).strip().splitlines()[0]}") from error


def _start(ray: Any, **settings: Any) -> None:
    for again in reversed(range(STARTS)):
        try:
            ray.init(address="local", include_dashboard=False, **settings)
            return
        except Exception:  # as above
            ray.shutdown()
            if not again:
                raise
