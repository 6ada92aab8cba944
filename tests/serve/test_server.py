"""The service as a process: what it acknowledged is never lost, what it began is finished, and who it opens to."""

import http.client
import json
import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from gnnrec.datasets import read_events

POSTS, WRITERS = 1000, 8


def get(url: str):
    with urlopen(url, timeout=10) as answer:
        return json.load(answer)


def test_killed_amid_a_thousand_posts_it_loses_no_acknowledged_event(start_server, tiny_runs):
    server = start_server(tiny_runs["default"])
    acknowledged: list[str] = []

    def write(writer: int) -> None:
        connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=10)
        for number in range(writer, POSTS, WRITERS):
            body = json.dumps({"user": f"writer{number}", "item": f"i{number % 30}"})
            try:
                connection.request("POST", "/feedback", body, {"content-type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                return
            assert answer.status == 201
            acknowledged.append(f"writer{number}")

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    [thread.start() for thread in threads]
    while len(acknowledged) < POSTS // 4 and any(thread.is_alive() for thread in threads):
        time.sleep(0.001)
    server.process.kill()
    [thread.join() for thread in threads]
    assert POSTS // 4 <= len(acknowledged) < POSTS
    stored = [event["user"] for event in read_events(server.feedback)]
    assert set(acknowledged) <= set(stored) and len(stored) - len(acknowledged) <= WRITERS

    with server.feedback.open("ab") as file:
        file.write(b'{"user": "cut o')  # as a crash in the middle of a line leaves it
    again = start_server(tiny_runs["default"])
    body = json.dumps({"user": "after", "item": "i1"}).encode()
    with urlopen(Request(f"{again.url}/feedback", body, {"content-type": "application/json"}), timeout=10) as answer:
        assert answer.status == 201
    assert [event["user"] for event in read_events(server.feedback)] == [*stored, "after"]


def test_asked_to_stop_it_finishes_what_it_began(start_server, tiny_runs):
    server = start_server(tiny_runs["default"])
    server.wait_until_warm()
    body = json.dumps({"user": "somebody", "item": "i3"}).encode()
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with socket.create_connection(address, timeout=10) as connection:
        said = connection.makefile("rb")
        connection.sendall(
            b"POST /feedback HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body)
        )
        assert (
            said.readline() == b"HTTP/1.1 100 Continue\r\n"
        )  # the application has the request, and waits for its body
        assert said.readline() == b"\r\n"
        connection.sendall(body[:5])
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionRefusedError):  # once it has begun to stop, nobody else is let in
            while True:
                socket.create_connection(address).close()
                time.sleep(0.01)
        time.sleep(0.5)
        connection.sendall(body[5:])
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 201 and json.loads(answer.read())["user"] == "somebody"
    assert [event["user"] for event in read_events(server.feedback)] == ["somebody"]
    server.process.wait(10)


def test_who_others_can_reach_needs_keys_and_a_taken_port_is_named(tiny_runs, run_command, tmp_path):
    run, log = tiny_runs["default"], ("--feedback", tmp_path / "log.jsonl")
    status, _, err = run_command("serve", run, "--host", "0.0.0.0", *log)
    assert status == 2 and "needs --keys FILE" in err
    status, _, err = run_command("serve", run, "--rate", "-1", *log)
    assert status == 2 and "serve --rate: found -1.0; allowed: 0 (no limit) or more" in err
    status, _, err = run_command("serve", tmp_path, *log)
    assert status == 2 and "holds no run" in err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, _, err = run_command("serve", run, "--port", port, *log)
    assert status == 2 and f"serve --port {port}: cannot be opened on 127.0.0.1" in err


def test_handlers_of_other_libraries_stay_open(tiny_runs, run_command, tmp_path):
    """uvicorn's own settings of logging would close them; absl's closes what it writes to, which may be stderr."""
    handler = logging.FileHandler(tmp_path / "another.log", delay=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run_command("serve", tiny_runs["default"], "--port", taken.getsockname()[1], "--feedback", tmp_path / "log")
    assert handler.stream is not None and not handler.stream.closed
    handler.close()


def test_the_first_list_does_not_wait_for_torch():
    code = "import sys, gnnrec.serve.server; assert not {'torch', 'sklearn', 'librosa', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_the_rate_of_a_caller_goes_by_her_own_address(start_server, tiny_runs):
    server = start_server(tiny_runs["default"], "--rate", "0.1")
    statuses = []
    for number in range(2):
        asked = Request(f"{server.url}/items/i1", headers={"X-Forwarded-For": f"10.0.0.{number}"})
        try:
            with urlopen(asked, timeout=10) as answer:
                statuses.append(answer.status)
        except HTTPError as error:
            statuses.append(error.code)
    assert statuses == [200, 429]
