"""Ray on a cluster that the user named: an address where nobody is, is one clear line, and soon."""

import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gnnrec.errors import UserError
from gnnrec.ray_cluster import host_and_port, open_ray


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that is taken, so that no other process gets it, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_an_address_where_nobody_listens_is_said_at_once(nobody: str) -> None:
    began = time.monotonic()
    with pytest.raises(UserError, match=f"--address: nobody listens at {nobody} .*refused"), open_ray(nobody, 2):
        pass
    assert time.monotonic() - began < 10


def test_an_address_where_nobody_answers_is_given_up() -> None:
    """A listener whose queue is full drops what comes, as a firewall does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        began = time.monotonic()
        with pytest.raises(UserError, match="nobody listens at .*timed out"), open_ray(f"127.0.0.1:{address[1]}", 2):
            pass
        assert time.monotonic() - began < 10
        for one in waiting:
            one.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown command\r\n", b""])
def test_who_listens_and_is_no_ray_is_said_at_once(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        address, began = f"127.0.0.1:{server.getsockname()[1]}", time.monotonic()
        with pytest.raises(UserError, match=f"--address: who listens at {address} is no Ray"), open_ray(address, 2):
            pass
        assert time.monotonic() - began < 10
        thread.join()


def test_who_listens_and_says_nothing_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address, began = f"127.0.0.1:{silent.getsockname()[1]}", time.monotonic()
        with pytest.raises(UserError, match=f"--address: who listens at {address} is no Ray"), open_ray(address, 2):
            pass
        assert time.monotonic() - began < 10


def test_no_variable_of_ray_stays_and_those_of_the_user_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token above all, which every program that is started later would inherit. Without Ray it ends at once."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")  # set to 0 meanwhile
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    before = dict(os.environ)
    with pytest.raises(UserError, match="needs the extra 'scale'"), open_ray(None, 2):
        pass
    assert dict(os.environ) == before


def test_train_says_it_in_one_line(run_command: Any, tiny_data: Path, nobody: str, tmp_path: Path) -> None:
    typed = ["train", tiny_data, "--out", tmp_path / "run", "--nproc", "2", "--engine", "ray", "--address", nobody]
    status, _, err = run_command(*typed)
    assert status == 2 and err.splitlines()[-1].startswith(f"gnnrec: --address: nobody listens at {nobody} (")


def test_encode_says_it_in_one_line(run_command: Any, tiny_data: Path, nobody: str, tmp_path: Path) -> None:
    data = shutil.copytree(tiny_data, tmp_path / "data")  # without the features that were made elsewhere
    described = (data / "dataset.toml").read_text()
    (data / "dataset.toml").write_text(described.partition("[features")[0])
    typed = ["encode", data, "--shards", tmp_path / "shards", "--engine", "ray", "--address", nobody]
    status, _, err = run_command(*typed, "--set", "encoders.text=none", "encoders.image=opencv")
    assert status == 2 and err.splitlines()[-1].startswith(f"gnnrec: --address: nobody listens at {nobody} (")


@pytest.mark.parametrize("address", ["head", "head:", ":6379", "head:0", "head:65536", "head:x", "ray://head:10001"])
def test_what_is_no_address_is_one_clear_line(address: str) -> None:
    with pytest.raises(UserError, match="--address: found .*; allowed: HOST:PORT of a Ray cluster"):
        host_and_port(address)


def test_host_and_port() -> None:
    assert host_and_port("head.lan:6379") == ("head.lan", 6379)
    assert host_and_port("[::1]:6379") == ("::1", 6379)
