"""A server on loopback that speaks the protocol of OpenAI, does as it is told, and keeps what it was sent."""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Body = dict[str, Any]


def said(text: str | None, **more: Any) -> Body:
    """An answer of the protocol with this text."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}} | more
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "fake",
        "choices": [choice],
        "usage": {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100},
    }


def titles_of(request: Body) -> list[str]:
    """The candidates of a question in the order of the prompt."""
    prompt = request["messages"][-1]["content"].split("Candidates:")[1]
    return re.findall(r"^(?:\[\d+\]|\([A-T]\)) (.*)$", prompt, re.MULTILINE)


def in_order(key: Callable[[str], Any]) -> Callable[[Body], Body]:
    """Answers with the candidates sorted by a key of their titles."""

    def answer(request: Body) -> Body:
        titles = titles_of(request)
        order = sorted(range(len(titles)), key=lambda place: key(titles[place]))
        return said(json.dumps({"order": [place + 1 for place in order]}))

    return answer


def letters(score: Callable[[str, int], float]) -> Callable[[Body], Body]:
    """Answers with log probabilities of the letters: of a candidate's title and place."""

    def answer(request: Body) -> Body:
        told = [
            {"token": chr(65 + place), "logprob": score(title, place), "bytes": None}
            for place, title in enumerate(titles_of(request))
        ]
        told.sort(key=lambda one: -one["logprob"])
        first = {"token": told[0]["token"], "logprob": told[0]["logprob"], "bytes": None, "top_logprobs": told}
        return said(told[0]["token"], logprobs={"content": [first], "refusal": None})

    return answer


@dataclass
class Fake:
    """`behave`: request -> body, or (status, headers, body as text or octets)."""

    behave: Callable[[Body], Any]
    requests: list[Body] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    drip: float = 0.0  # seconds before each octet
    url: str = ""


@contextmanager
def serving(behave: Callable[[Body], Any], drip: float = 0.0) -> Iterator[Fake]:
    fake = Fake(behave, drip=drip)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            fake.requests.append(request)
            fake.headers.append({name.lower(): value for name, value in self.headers.items()})
            answer = fake.behave(request)
            status, headers, text = answer if isinstance(answer, tuple) else (200, {}, json.dumps(answer))
            body = text if isinstance(text, bytes) else text.encode()
            self.send_response(status)
            for name, value in (
                {"content-type": "application/json", "content-length": str(len(body))} | headers
            ).items():
                self.send_header(name, value)
            self.end_headers()
            try:
                for octet in body if fake.drip else ():
                    self.wfile.write(bytes([octet]))
                    self.wfile.flush()
                    time.sleep(fake.drip)
                if not fake.drip:
                    self.wfile.write(body)
            except OSError:
                pass

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
