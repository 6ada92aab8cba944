"""The list of a known user past the routes: the same answers, whatever is asked, and the same counts."""

import asyncio

import pytest

from gnnrec.serve.service import Service
from gnnrec.serve.settings import ServeConfig
from gnnrec.serve.shortcut import Shortcut

ANSWERED = ("user=u0", "user=u0&k=3", "k=7&user=u17", "user=u%30", "user=u0&k=%205", "user=u0&k=+5")
NOT_ANSWERED = (
    *("user=nobody", "user=", "user=%ff", "user=u0&k=0", "user=u0&k=101", "user=u0&k=", "user=u0&k=x", "k=5", ""),
    *("user=u0&user=u1", "user=u0&k=3&k=4", "user=u0&history=i1", "user=u0&text=a", "user=u0&rerank=true"),
    *("user=u0&to_users=true", "user=u0&more=1", "user=" + "u" * 201, "history=i1&history=i2", "user=u0;k=3"),
)


@pytest.fixture
def service(tiny_runs, tmp_path):
    service = Service(tiny_runs["item_knn"], tmp_path, tmp_path / "feedback.jsonl", ServeConfig())
    yield service
    service.close()


def by_route(monkeypatch):
    """From now on no request is taken from the routes."""
    monkeypatch.setattr(Shortcut, "_plain", lambda self, scope: None)


@pytest.mark.parametrize("query", [*ANSWERED, *NOT_ANSWERED])
def test_an_answer_is_that_of_the_route(serve, tiny_runs, query, monkeypatch):
    client = serve(tiny_runs["item_knn"])
    short, head = client.get(f"/recommend?{query}"), client.head(f"/recommend?{query}")
    by_route(monkeypatch)
    routed = client.get(f"/recommend?{query}")
    assert (short.status_code, short.content) == (routed.status_code, routed.content)
    assert dict(short.headers) == dict(routed.headers)
    for answer in (head, client.head(f"/recommend?{query}")):  # as GET, without a body
        assert (answer.status_code, answer.content, dict(answer.headers)) == (
            short.status_code,
            b"",
            dict(short.headers),
        )


@pytest.mark.parametrize("query", ["user=u0&kk=5", "user=u0&more=1", "kk=5"])
def test_a_name_that_is_not_known_is_refused_with_a_known_user_too(serve, tiny_runs, query):
    answer = serve(tiny_runs["item_knn"]).get(f"/recommend?{query}")
    name = query.rpartition("&")[2].partition("=")[0]
    allowed = "user, history, text, k, to_users, rerank"
    assert answer.status_code == 422
    assert answer.json() == {"error": f"query.{name}: not known here; allowed: {allowed}"}


def test_lists_of_known_users_do_not_pass_the_routes(service):
    asked, sent = [], []

    async def routes(scope, receive, send):
        asked.append(scope["query_string"].decode())

    async def receive():
        raise AssertionError("nothing has to be read")

    async def send(message):
        sent.append(message)

    shortcut = Shortcut(routes, service)
    for query in (*ANSWERED, *NOT_ANSWERED):
        scope = {"type": "http", "method": "GET", "path": "/recommend", "query_string": query.encode()}
        asyncio.run(shortcut(scope, receive, send))
    assert asked == list(NOT_ANSWERED)
    assert [message["status"] for message in sent[::2]] == [200] * len(ANSWERED)
    for change in ({"method": "POST"}, {"path": "/recommend/"}, {"type": "websocket"}):
        scope = {"type": "http", "method": "GET", "path": "/recommend", "query_string": b"user=u0"} | change
        asyncio.run(shortcut(scope, receive, send))
    assert asked[len(NOT_ANSWERED) :] == ["user=u0"] * 3


def test_lists_are_counted_under_the_name_of_the_route(serve, tiny_runs, monkeypatch):
    client = serve(tiny_runs["item_knn"])

    def counted() -> str:
        lines = client.get("/metrics").text.splitlines()
        return next(line for line in lines if line.startswith("gnnrec_requests_total") and "/recommend" in line)

    assert client.get("/recommend?user=u0").status_code == 200
    assert counted() == 'gnnrec_requests_total{route="/recommend",status="200"} 1.0'
    by_route(monkeypatch)
    client.get("/recommend?user=u0")
    assert counted() == 'gnnrec_requests_total{route="/recommend",status="200"} 2.0'
