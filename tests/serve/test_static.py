"""The files of the page, and what a browser is told about them."""

import re

from gnnrec.serve.security import add_key
from gnnrec.serve.static import FOLDER, files


def test_every_file_is_sent_with_its_type_and_sent_once(serve, tiny_runs):
    client = serve(tiny_runs["default"])
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8" and "<title>gnnrec</title>" in page.text
    assert {file.name for file in FOLDER.iterdir()} == set(files())
    for name, file in files().items():
        answer = client.get(f"/page/{name}")
        assert (answer.content, answer.headers["content-type"]) == (file.body, file.kind)
        assert client.get(f"/page/{name}", headers={"if-none-match": answer.headers["etag"]}).status_code == 304
    for name in ("nothing.js", "..%2fapp.py", "__init__.py"):
        assert client.get(f"/page/{name}").status_code == 404


def test_the_policy_lets_nothing_in_and_the_page_needs_nothing(serve, tiny_runs):
    policy = serve(tiny_runs["default"]).get("/").headers["content-security-policy"]
    assert "default-src 'self'" in policy and "unsafe" not in policy and "http" not in policy
    for name, file in files().items():
        text = file.body.decode()
        addresses = set(re.findall(r"https?://[^\s\"']+", text)) - {"http://www.w3.org/2000/svg"}
        assert addresses == set(), name
        assert not re.search(r"\son\w+=|\sstyle=|innerHTML|insertAdjacentHTML|\beval\(", text), name


def test_the_page_is_shown_without_a_key_and_the_rest_is_not(serve, tiny_runs, tmp_path):
    add_key(tmp_path / "keys.json", "me")
    client = serve(tiny_runs["default"], tmp_path / "keys.json")
    assert client.get("/").status_code == client.get("/page/app.js").status_code == 200
    for path in (
        "/users",
        "/history?user=u1",
        "/items?id=i1",
        "/items/i1/image",
        "/candidates?user=u1",
        "/map",
        "/training",
    ):
        assert client.get(path).status_code == 401, path
