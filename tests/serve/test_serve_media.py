"""Pictures and sounds by id: only what is what it says, in the right words, and never a path."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from gnnrec.serve import media
from gnnrec.serve.service import Problem


def test_a_picture_is_encoded_again_without_what_its_file_said(serve, tiny_runs, tiny_data):
    client = serve(tiny_runs["default"])
    answer = client.get("/items/i7/image")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/jpeg")
    shown = np.asarray(Image.open(io.BytesIO(answer.content)), dtype=int)
    original = np.asarray(Image.open(tiny_data / "posters" / "7.png").convert("RGB"), dtype=int)
    assert shown.shape == original.shape and abs(shown.mean() - original.mean()) < 5
    assert answer.headers["cache-control"] == "private, max-age=3600"
    again = client.get("/items/i7/image", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/items/i8/image").headers["etag"] != answer.headers["etag"]
    assert client.get("/recommend", params={"user": "u1"}).headers["cache-control"] == "no-store"


def test_what_is_not_there_says_so_and_not_where(serve, tiny_runs, tiny_data):
    client = serve(tiny_runs["default"])
    for path in ("/items/i5/image", "/items/i7/audio", "/items/nothing/image"):
        answer = client.get(path)
        assert answer.status_code == 404 and str(tiny_data) not in answer.text, path
    assert client.get("/items/i7/video").status_code == 422
    assert client.get("/items/..%2f..%2fetc%2fpasswd/image").status_code == 404


def asked(make, path: Path, **headers: str):
    """The answer for one file, as a browser gets it."""
    app = Starlette(routes=[Route("/", lambda request: make(path, request))])
    return TestClient(app).get("/", headers=headers)


@pytest.mark.parametrize(
    ("suffix", "kind"), [("wav", "audio/wav"), ("ogg", "audio/ogg"), ("flac", "audio/flac"), ("mp3", "audio/mpeg")]
)
def test_a_sound_is_sent_as_what_it_is_whatever_its_name(tmp_path, suffix, kind):
    path = tmp_path / f"sound.{suffix}"
    soundfile.write(path, np.sin(np.arange(16000) / 5) / 3, 16000)
    odd = path.rename(tmp_path / "sound.html")
    whole = asked(media.sound, odd)
    assert (whole.headers["content-type"], whole.content) == (kind, odd.read_bytes())
    part = asked(media.sound, odd, range="bytes=4-11")
    assert (part.status_code, part.content) == (206, odd.read_bytes()[4:12])
    tag = whole.headers["etag"]
    for known in (tag, f"W/{tag}", f'"another", {tag}', "*"):
        assert asked(media.sound, odd, **{"if-none-match": known}).status_code == 304
    for known in ('"another"', tag[1:-1], ""):
        assert asked(media.sound, odd, **{"if-none-match": known}).status_code == 200


def test_every_answer_to_a_range_is_in_the_document(tmp_path, serve, tiny_runs):
    document = serve(tiny_runs["default"]).get("/openapi.json").json()
    route = document["paths"]["/items/{id}/{kind}"]["get"]
    assert {part["name"] for part in route["parameters"] if part["in"] == "header"} == {"Range", "If-None-Match"}
    path = tmp_path / "sound.wav"
    soundfile.write(path, np.sin(np.arange(16000) / 5) / 3, 16000)
    asks = {"bytes=0-9": 206, "bytes=-5": 206, "bytes=0-1,4-5": 206, "bytes=99999999-": 416, "lines=1-2": 400}
    for asked_for, status in asks.items():
        answer = asked(media.sound, path, range=asked_for)
        assert answer.status_code == status
        kind = answer.headers["content-type"].partition(";")[0]
        assert kind in route["responses"][str(status)]["content"], asked_for


def test_what_is_no_media_is_not_sent(tmp_path):
    page = tmp_path / "page.jpg"
    page.write_text("<script>alert(1)</script>")
    for make in (media.picture, media.sound):
        with pytest.raises(Problem) as found:
            asked(make, page)
        assert found.value.status == 404 and str(tmp_path) not in str(found.value)
    with pytest.raises(Problem, match="not there any more"):
        asked(media.picture, tmp_path / "gone.jpg")
