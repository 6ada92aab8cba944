"""Who and what is let in: statuses 400 to 429 and 504, security headers, and no word of where an error was."""

import json
import os
import socket
import time

import pytest

from gnnrec.serve.security import add_key
from gnnrec.serve.served import Served


def error_of(answer, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    assert list(document) == ["error"]
    return document["error"]


@pytest.fixture
def keyed(serve, tiny_runs, tmp_path):
    path = tmp_path / "keys.json"
    shop, boss = add_key(path, "shop"), add_key(path, "boss", "admin")
    return serve(tiny_runs["default"], path), f"Bearer {shop}", f"Bearer {boss}"


def test_without_a_key_nothing_but_health_is_answered(keyed):
    client, shop, _ = keyed
    ask = {"url": "/recommend", "params": {"user": "u0"}}
    for wrong in (None, "Bearer x", shop[:-2], shop.replace("Bearer", "Basic"), "Bearer "):
        answer = client.get(**ask, headers={} if wrong is None else {"Authorization": wrong})
        assert "Authorization: Bearer KEY" in error_of(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"
    assert client.get(**ask, headers={"Authorization": shop}).status_code == 200
    assert client.get("/health").status_code == client.get("/ready").status_code == 200
    assert client.get("/metrics").status_code == client.get("/openapi.json").status_code == 401


def test_a_key_that_is_taken_out_of_the_file_opens_nothing_from_then_on(keyed, tmp_path):
    client, shop, boss = keyed
    path = tmp_path / "keys.json"

    def status(key):
        return client.get("/items/i1", headers={"Authorization": key}).status_code

    assert (status(shop), status(boss)) == (200, 200)
    rows = json.loads(path.read_text())["keys"]
    path.write_text(json.dumps({"keys": [row for row in rows if row["name"] != "shop"]}))
    assert (status(shop), status(boss)) == (401, 200)
    new = f"Bearer {add_key(path, 'shop')}"
    assert (status(shop), status(new), status(boss)) == (401, 200, 200)
    demoted = path.read_text().replace("admin", "client")
    path.write_text(demoted)
    ask = {"url": "/admin/run", "json": {"run": "item_knn"}, "headers": {"Authorization": boss}}
    assert error_of(client.post(**ask), 403) == "needs the key of an admin"
    # The same size, and the time of before: nobody who copies files about lets an old key in again.
    before = path.stat()
    path.write_text(demoted.replace(rows[1]["sha256"], rows[0]["sha256"]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size and (status(boss), status(shop)) == (401, 200)


def test_while_the_keys_cannot_be_read_nobody_is_let_in(keyed, tmp_path, capsys):
    client, shop, _ = keyed
    path = tmp_path / "keys.json"
    whole = path.read_text()
    ask = {"url": "/items/i1", "headers": {"Authorization": shop}}
    for change in (lambda: path.write_text(whole[:40]), path.unlink):
        change()
        for _ in range(2):
            answer = client.get(**ask)
            assert error_of(answer, 503) == "the keys cannot be read now; come again"
            assert answer.headers["retry-after"] == "1"
        said = capsys.readouterr().err
        assert said.count("nobody is let in") == 1 and shop not in said
    assert client.get("/health").status_code == 200
    path.write_text(whole)
    assert client.get(**ask).status_code == 200


def test_only_an_admin_changes_the_run(keyed, serve, tiny_runs):
    client, shop, boss = keyed
    ask = {"url": "/admin/run", "json": {"run": "item_knn"}}
    assert error_of(client.post(**ask, headers={"Authorization": shop}), 403) == "needs the key of an admin"
    assert client.post(**ask, headers={"Authorization": boss}).status_code == 200
    assert "--keys" in error_of(serve(tiny_runs["default"]).post(**ask), 403)


def test_who_asks_too_often_waits(serve, tiny_runs):
    client = serve(tiny_runs["default"], rate=5.0)
    statuses = [client.get("/items/i1").status_code for _ in range(15)]
    assert statuses[:10] == [200] * 10 and 429 in statuses[10:]
    answer = client.get("/items/i1")
    assert "too many requests" in error_of(answer, 429) and answer.headers["retry-after"] == "1"
    assert client.get("/health").status_code == 200


def test_what_is_too_large_is_refused_with_and_without_its_length(serve, tiny_runs):
    client = serve(tiny_runs["default"], max_body=1000)
    small, large = (json.dumps({"user": "u0", "text": "x" * size}).encode() for size in (10, 1000))
    kind = {"content-type": "application/json"}
    assert "1,000 bytes" in error_of(client.post("/recommend", content=large, headers=kind), 413)
    assert "1,000 bytes" in error_of(client.post("/recommend", content=iter([large]), headers=kind), 413)
    assert "expected one of" in error_of(client.post("/recommend", content=iter([small]), headers=kind), 422)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ({"params": {}}, "expected one of user, history, or content"),
        ({"params": {"user": "u0", "text": "x"}}, "expected one of user, history, or content"),
        ({"params": {"user": "u0", "to_users": "true"}}, "to_users goes with content"),
        ({"params": {"user": "u0", "k": "101"}}, "query.k: "),
        ({"params": {"user": "u0", "k": "0"}}, "query.k: "),
        ({"params": {"user": "u0", "k": "many"}}, "query.k: "),
        ({"params": {"user": ""}}, "query.user: "),
        ({"params": {"user": "x" * 201}}, "query.user: "),
    ],
)
def test_what_is_not_allowed_says_what_is(serve, tiny_runs, what, says):
    assert error_of(serve(tiny_runs["default"]).get("/recommend", **what), 422).startswith(says)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/similar?item=i1&kk=5", "kk item, k, compared"),
        ("/explain?user=u0&item=i1&users=2", "users user, item, compared"),
        ("/users?serach=1", "serach search, k"),
        ("/history?user=u0&n=3", "n user, k"),
        ("/items?id=i1&ids=i2", "ids id"),
        ("/items/i1?k=1", "k none"),
        ("/candidates?user=u0&compare=true", "compare user, k, compared"),
        ("/training?run=x", "run compared"),
    ],
)
def test_a_parameter_that_is_not_known_is_refused_and_the_known_ones_are_named(serve, tiny_runs, path, names):
    name, _, allowed = names.partition(" ")
    answer = serve(tiny_runs["default"]).get(path)
    assert error_of(answer, 422) == f"query.{name}: not known here; allowed: {allowed}"


def test_what_is_told_to_post_goes_into_its_body(serve, tiny_runs):
    client = serve(tiny_runs["default"])
    answer = client.post("/recommend?k=3", json={"user": "u0"})
    assert error_of(answer, 422) == "query.k: not known here; allowed: none"
    assert client.get("/health?at=1").status_code == client.get("/ready?at=1").status_code == 200


ASK = "user, history, text, k, to_users, rerank, image, audio"


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"data": {"image": "cover.jpg"}}, "image: found text, expected a file; curl sends one by -F image=@FILE"),
        ({"data": {"audio": "x"}, "files": {"image": b"x"}}, "audio: found text, expected a file"),
        ({"files": [("image", b"x"), ("image", b"y")]}, "image: found 2, expected one file"),
        ({"files": {"picture": b"x"}}, f"picture: not known here; allowed: {ASK}"),
        ({"data": {"user": "u0", "kk": "5"}}, f"kk: not known here; allowed: {ASK}"),
        ({"json": {"user": "u0", "kk": 5}}, f"kk: not known here; allowed: {ASK}"),
        ({"json": {"image": "cover.jpg"}}, "image: a file, which goes into a form: multipart/form-data"),
    ],
)
def test_what_a_form_may_not_hold_is_said_in_one_line(serve, tiny_runs, sent, says):
    assert error_of(serve(tiny_runs["default"]).post("/recommend", **sent), 422).startswith(says)


@pytest.mark.parametrize(
    "path", ["/", "/page/app.js", "/page/nowhere.js", "/recommend?user=u0", "/items/i1/image", "/health", "/nowhere"]
)
def test_head_is_get_without_a_body(serve, tiny_runs, path):
    client = serve(tiny_runs["default"])
    get, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (get.status_code, b"") and get.content
    assert dict(head.headers) == dict(get.headers)


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/recommend", b"{", "Invalid JSON"),
        ("/recommend", b'{"user": "u0", "x": 1}', "x: "),
        ("/recommend", b'{"history": []}', "history: "),
        ("/recommend", b'{"user": "\\ud800"}', ""),
        ("/feedback", b'{"user": "u0", "item": "nowhere"}', "no item with the id 'nowhere'"),
        (
            "/feedback",
            b'{"user": "u0", "item": "i0", "stars": 5}',
            "body.stars: not known here; /openapi.json has what is",
        ),
        ("/feedback", b'{"user": " ", "item": "i0"}', "body.user: "),
        ("/feedback", b'{"user": "u0", "item": "i0", "rating": NaN}', "body"),
        ("/feedback", b'{"user": "u0", "item": "i0", "timestamp": -1}', "body.timestamp: "),
        ("/feedback", b'{"user": "\\ud800", "item": "i0"}', "body.user: "),
        ("/feedback", b"\xff\xfe", "body"),
    ],
)
def test_a_body_that_is_not_allowed_is_refused(serve, tiny_runs, path, body, says):
    answer = serve(tiny_runs["default"]).post(path, content=body, headers={"content-type": "application/json"})
    assert says in error_of(answer, answer.status_code) and answer.status_code in (400, 422)


def test_other_kinds_paths_methods_and_hosts(serve, tiny_runs):
    client = serve(tiny_runs["default"])
    assert "application/json" in error_of(client.post("/recommend", content=b"x"), 415)
    assert error_of(client.get("/nowhere/x"), 404) == "nothing is at '/nowhere/x'; /openapi.json has what there is"
    assert "/openapi.json" in error_of(client.post("/recommend/", json={"user": "u0"}), 404)
    assert len(error_of(client.get("/" + "x" * 5000), 404)) < 200
    for path, method, allowed in (
        *(("/recommend", "DELETE", "GET, POST, HEAD"), ("/feedback", "GET", "POST")),
        *(("/items/i1", "POST", "GET, HEAD"), ("/", "POST", "GET, HEAD")),
    ):
        answer = client.request(method, path)
        assert error_of(answer, 405) == f"{method} cannot be asked here; allowed: {allowed}"
        assert answer.headers["allow"] == allowed
    assert "'evil.example' is not served" in error_of(client.get("/health", headers={"host": "evil.example"}), 400)
    assert error_of(client.get("/recommend", params={"user": "zoe"}), 404) == "no user with the id 'zoe'"
    assert error_of(client.get("/similar", params={"item": "zoe"}), 404) == "no item with the id 'zoe'"
    for host in ("localhost:80", "LOCALHOST", "[::1]", "[::1]:8000"):
        assert client.get("/recommend", params={"user": "u0"}, headers={"host": host}).status_code == 200


def test_every_answer_has_the_security_headers_and_no_other_host_may_call(serve, tiny_runs):
    client = serve(tiny_runs["default"])
    for answer in (client.get("/health"), client.get("/nowhere"), client.get("/recommend")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
    origin = {"Origin": "https://shop.example"}
    assert "access-control-allow-origin" not in client.get("/health", headers=origin).headers
    allowed = serve(tiny_runs["default"], origins=("https://shop.example",))
    assert allowed.get("/health", headers=origin).headers["access-control-allow-origin"] == "https://shop.example"
    for method in ("GET", "HEAD", "POST"):
        before = origin | {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
        assert allowed.options("/recommend", headers=before).status_code == 200
    other = {"Origin": "https://evil.example"}
    assert "access-control-allow-origin" not in allowed.get("/health", headers=other).headers


def test_a_fault_says_nothing_of_itself_to_who_asks(serve, tiny_runs, monkeypatch, capsys):
    def broken(self, index):
        raise RuntimeError("secret at /home/me")

    monkeypatch.setattr(Served, "item", broken)
    assert "the log of the service has it" in error_of(serve(tiny_runs["default"]).get("/items/i1"), 500)
    assert "secret at /home/me" in capsys.readouterr().err


def test_what_takes_too_long_is_given_up(serve, tiny_runs, monkeypatch):
    monkeypatch.setattr(Served, "like", lambda self, asks: time.sleep(0.4) or [[] for _ in asks])
    client = serve(tiny_runs["default"], timeout=0.1)
    while not client.get("/ready").json()["warm"]:  # until then it may take longer
        time.sleep(0.01)
    assert error_of(client.get("/similar", params={"item": "i1"}), 504) == "no answer within 0.1 s"


def test_prometheus_can_read_the_counts(serve, tiny_runs):
    client = serve(tiny_runs["default"])
    for _ in range(3):
        client.get("/items/i1")
    client.get("/items/nowhere")
    client.get("/secret/path")
    text = client.get("/metrics").text
    assert 'gnnrec_requests_total{route="/items/{id}",status="200"} 3.0' in text
    assert 'gnnrec_requests_total{route="/items/{id}",status="404"} 1.0' in text
    assert 'gnnrec_requests_total{route="other",status="404"} 1.0' in text and "secret" not in text
    assert 'gnnrec_request_seconds_count{route="/items/{id}"} 4.0' in text
    assert 'gnnrec_run_info{run="default"} 1.0' in text and "process_resident_memory_bytes" in text


def test_who_waits_is_told_how_long(serve, tiny_runs):
    client = serve(tiny_runs["default"], rate=0.1)  # the first one, then one every ten seconds
    assert client.get("/items/i1").status_code == 200
    answer = client.get("/items/i1")
    assert "too many requests" in error_of(answer, 429) and answer.headers["retry-after"] == "10"


@pytest.mark.parametrize("path", ["/feedback", "/admin/run"])
def test_a_body_of_another_kind_is_called_by_its_kind(keyed, path):
    client, _, boss = keyed
    for kind in ("application/x-www-form-urlencoded", "text/plain", None):  # the first is what curl -d sends
        headers = {"Authorization": boss} | ({} if kind is None else {"content-type": kind})
        answer = client.post(path, content=b'{"user": "u0", "item": "i0"}', headers=headers)
        assert error_of(answer, 415) == f"a body of {kind or 'no kind'}; allowed: application/json"
    headers = {"Authorization": boss, "content-type": "Application/JSON; charset=utf-8"}
    assert client.post(path, content=b"{}", headers=headers).status_code == 422


@pytest.mark.parametrize("origin", ["shop.example", "https://shop.example/", "https://Shop.example", "https://", ""])
def test_an_origin_that_no_browser_sends_is_refused(run_command, tiny_runs, tmp_path, origin):
    given = ("--feedback", tmp_path / "log", "--allow-origin", "https://a.example:8443", origin)
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that it ends, whatever is let through
        port = taken.getsockname()[1]
        status, _, err = run_command("serve", tiny_runs["default"], "--port", port, *given)
    assert status == 2 and f"serve --allow-origin: found {origin!r}; allowed: *, or such as https://shop.ex" in err


@pytest.mark.parametrize("typed", ["nan", "inf", "0", "-1"])
def test_no_size_of_a_request_is_refused(run_command, tiny_runs, tmp_path, typed):
    status, _, err = run_command("serve", tiny_runs["default"], "--feedback", tmp_path / "log", "--max-mb", typed)
    assert status == 2 and f"serve --max-mb: found {typed}; allowed: above 0" in err


def test_another_host_that_is_allowed_may_ask_with_a_key_and_send_json(serve, tiny_runs):
    client = serve(tiny_runs["default"], origins=("https://shop.example",))

    def asks(method: str, header: str, origin: str = "https://shop.example"):  # as a browser does, before it sends
        asked = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": header}
        return client.options("/feedback", headers=asked)

    for method in ("GET", "POST"):
        for header in ("authorization", "content-type"):
            answer = asks(method, header)
            assert answer.status_code == 200
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    for wrong in (
        asks("DELETE", "authorization"),
        asks("GET", "x-secret"),
        asks("GET", "authorization", "https://e.io"),
    ):
        assert wrong.status_code == 400


def test_the_rate_is_that_of_each_key(serve, tiny_runs, tmp_path):
    path = tmp_path / "keys.json"
    first, second = ({"Authorization": f"Bearer {add_key(path, name)}"} for name in ("first", "second"))
    client = serve(tiny_runs["default"], path, rate=0.1)
    asked = [client.get("/items/i1", headers=key).status_code for key in (first, first, second, second)]
    assert asked == [200, 429, 200, 429]
