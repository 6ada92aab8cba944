"""Private scoring from the command to the service and back: the same lists, and nothing that is sent stops it."""

import asyncio
import json
import os
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import torch

from gnnrec.privacy import client
from gnnrec.privacy.homomorphic import PrivateUser, Refused
from gnnrec.privacy.worker import ScoringProcess
from gnnrec.run_folder import Run


@pytest.fixture
def private(start_server, tiny_runs):
    return start_server(tiny_runs["default"], "--private-scoring")


def post(url: str, message: bytes, catalogue: str) -> tuple[int, bytes]:
    try:
        with urlopen(Request(f"{url}/private/score?catalogue={catalogue}", message), timeout=30) as answer:
            return answer.status, answer.read()
    except HTTPError as error:
        return error.code, error.read()


def test_the_list_is_that_of_the_plain_vector(private, tiny_runs, run_command, one_document, tmp_path):
    run = Run.load(tiny_runs["default"])
    for user in ("u0", "u7", "u23"):
        path = tmp_path / f"{user}.npy"
        written = one_document("user-vector", run.folder, "--user", user, "--to", path)
        index = run.user_index(user)
        had = set(run.known.item[run.known.user == index])
        known = path.with_suffix(".known").read_text().strip()
        assert {run.item_index(name) for name in known.split(",")} == had
        assert (written["known"], path.stat().st_mode & 0o777) == (len(had), 0o600)
        found = one_document("private-recommend", private.url, "--vector", path, "--known", known, "-k", 5)
        scores = run.item_vectors.astype(float) @ run.user_vectors[index].astype(float)
        scores[list(had)] = -np.inf
        best = np.argsort(-scores)[:5]
        assert [place["id"] for place in found["items"]] == [run.item_ids[item] for item in best]
        assert [place["title"] for place in found["items"]] == [f"Title {run.item_ids[item][1:]}" for item in best]
        assert found["encryption"]["security_bits"] == 192
        assert found["complete"] == run.ranks_by_embeddings
    status, out, err = run_command("private-recommend", private.url, "--vector", path, "-k", 3)
    assert status == 0 and len(out.splitlines()) == 3 and "192 bits of security" in err


def test_a_run_shows_both_sides(tiny_runs, one_document):
    found = one_document("private-recommend", tiny_runs["default"], "--user", "u3", "-k", "4")
    assert found["same"] is True and len(found["plain"]) == len(found["items"]) == 4


def test_somebody_new_has_the_vector_that_folding_in_scores_by(tiny_runs, one_document, tmp_path):
    from gnnrec.models.fold_in import FoldIn, history_log

    run = Run.load(tiny_runs["default"])
    one_document("user-vector", run.folder, "--history", "i2,i4,i6", "--to", tmp_path / "new.npy")
    log = history_log([[run.item_index(name) for name in ("i2", "i4", "i6")]], len(run.item_ids))
    fold_in = FoldIn(run.model, run.known_graph)
    scores = fold_in.item.numpy() @ np.load(tmp_path / "new.npy")
    paths = run.model.path_scores(fold_in._graph(log))
    expected = fold_in.scorer([-1], log)(torch.tensor([0]))[0].numpy()
    np.testing.assert_allclose(
        scores + (0 if paths is None else paths(torch.tensor([0]))[0].numpy()), expected, atol=1e-5
    )


def test_what_is_no_message_is_refused_in_one_line_and_the_service_goes_on(private, tiny_runs):
    run = Run.load(tiny_runs["default"])
    with urlopen(f"{private.url}/private/parameters", timeout=30) as answer:
        told = json.load(answer)
    assert (told["items"], told["dimensions"]) == run.item_vectors.shape
    good = PrivateUser().encrypt(run.user_vectors[0])
    asked = {
        b"": 422,
        good[:-1]: 422,
        good + b"x": 422,
        os.urandom(len(good)): 422,
        b"x" * (told["most_bytes"] + 1): 413,
    }
    for message, expected in asked.items():
        status, body = post(private.url, message, told["catalogue"])
        assert status == expected and list(json.loads(body)) == ["error"], body
    assert post(private.url, good, "another")[0] == 409
    assert post(private.url, good, told["catalogue"])[0] == 200


def test_a_message_that_ends_the_process_is_refused_and_another_process_answers(tiny_runs):
    run = Run.load(tiny_runs["default"])

    async def ask() -> tuple[bytes, int, int]:
        process = ScoringProcess(run.folder)
        await process.sizes()
        first = process._process
        assert first is not None
        first.kill()  # as a damaged ciphertext does
        with pytest.raises(Refused, match="damaged"):
            await process.score(message)
        answer = await process.score(message)
        assert process._process is not None
        second = process._process.pid
        await process.close()
        return answer, first.pid, second

    user = PrivateUser()
    message = user.encrypt(run.user_vectors[2])
    answer, first, second = asyncio.run(ask())
    assert first != second
    best = int(user.decrypt(answer, len(run.item_ids)).argmax())
    assert best == int((run.item_vectors @ run.user_vectors[2]).argmax())


def test_another_run_is_another_catalogue(serve, tiny_runs):
    asking = serve(tiny_runs["default"])
    assert asking.get("/private/parameters").status_code == 404  # not without --private-scoring
    asking = serve(tiny_runs["default"], private_scoring=True)
    assert asking.get("/private/parameters").json()["run"] == "default"
    ids = asking.get("/private/items").json()
    assert ids["ids"] == list(Run.load(tiny_runs["default"]).item_ids)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("popularity", (), "the model popularity scores without embeddings"),
        (
            "default",
            ("--max-mb", "0.0625"),
            "serve --max-mb: found 0.0625; allowed with --private-scoring and this run: 1",
        ),
    ],
)
def test_a_service_that_could_score_nothing_does_not_start(name, options, reason, tiny_runs, run_command, tmp_path):
    typed = ("--private-scoring", "--port", "0", "--feedback", tmp_path / "told.jsonl", *options)
    status, _, err = run_command("serve", tiny_runs[name], *typed)
    assert status == 2 and reason in err


def test_what_is_typed_wrongly_is_told_in_one_line(private, tiny_runs, run_command, tmp_path):
    run, vector, short = tiny_runs["default"], tmp_path / "me.npy", tmp_path / "short.npy"
    np.save(short, np.ones(3))
    vector.write_text("no array")
    for arguments, reason in (
        ((run,), "needs --user ID"),
        ((run, "--user", "u0", "--vector", short), "--vector: goes with an address"),
        ((run, "--user", "nobody"), "no user with the id 'nobody'"),
        ((tmp_path / "nowhere", "--user", "u0"), "no such folder"),
        ((private.url,), "needs --vector FILE.npy"),
        ((private.url, "--vector", vector), "cannot be read as .npy"),
        ((private.url, "--vector", short), "the vector has 3 numbers; allowed for http"),
        (("ftp://127.0.0.1", "--vector", short), "allowed: a run folder, or http"),
        ((f"{private.url}:x", "--vector", short), "private-recommend: found"),
    ):
        status, out, err = run_command("private-recommend", *arguments)
        assert (status, out, err.count("\n")) == (2, "", 1) and reason in err, err
    status, _, err = run_command("user-vector", run, "--to", vector)
    assert status == 2 and "expected one of --user and --history" in err


def test_a_key_never_travels_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(client.KEY, "secret")
    with pytest.raises(ValueError, match="allowed with GNNREC_SERVICE_KEY: https, or this machine") as error:
        client.recommend("http://shop.example:80", np.ones(2), (), 3)
    assert "secret" not in str(error.value)


def test_a_service_with_keys_is_asked_with_one(
    start_server, tiny_runs, run_command, monkeypatch, tmp_path: Path
) -> None:
    _, key, _ = run_command("key", tmp_path / "keys.json", "shop")
    asked = start_server(tiny_runs["default"], "--private-scoring", "--keys", str(tmp_path / "keys.json"))
    vector = Run.load(tiny_runs["default"]).user_vectors[0]
    with pytest.raises(ValueError, match="answered 401"):
        client.recommend(asked.url, vector, (), 3)
    monkeypatch.setenv(client.KEY, key.strip())
    assert len(client.recommend(asked.url, vector, (), 3).places) == 3
