"""A run under pseudonyms holds no id, answers to the id where the key is, and is the same run otherwise."""

import base64
import hashlib
import hmac
import json

import polars as pl
import pytest
from crowd import HER, SETTINGS, holding

from gnnrec.datasets.pseudonyms import KEY, KEY_FILE, Pseudonyms, without_ids
from gnnrec.errors import UserError
from gnnrec.pipeline import evaluate
from gnnrec.privacy.forget import ForgetConfig, forget
from gnnrec.run_folder import Run


def test_a_pseudonym_is_the_keyed_hash_and_stays_what_it_is():
    digest = hmac.new(b"k" * 16, b"anna", hashlib.sha256).digest()[:16]
    found = Pseudonyms(b"k" * 16).of("anna")
    assert found == "~" + base64.b32encode(digest).decode().rstrip("=").lower()
    assert Pseudonyms(b"k" * 16).of(found) == found != Pseudonyms(b"j" * 16).of("anna")
    assert "kkkk" not in repr(Pseudonyms(b"k" * 16))


def test_the_key_is_asked_for_and_has_to_be_long(monkeypatch, tmp_path):
    with pytest.raises(UserError, match=f"{KEY}=KEY or {KEY_FILE}=FILE"):
        Pseudonyms.required()
    (tmp_path / "key").write_text("a key of more than 16 bytes\n")
    monkeypatch.setenv(KEY_FILE, str(tmp_path / "key"))
    assert Pseudonyms.required() == Pseudonyms(b"a key of more than 16 bytes")
    monkeypatch.setenv(KEY, "short")
    with pytest.raises(UserError, match="5 bytes; allowed: 16 or more"):
        Pseudonyms.required()


def test_no_id_is_in_the_run_and_the_key_opens_it(people, tmp_path, key, run_command, one_document, monkeypatch):
    out = tmp_path / "run"
    assert run_command("train", people, "--out", out, "--pseudonyms", "--set", *SETTINGS)[0] == 0
    assert holding(HER, out) == []
    ids = pl.read_parquet(out / "users.parquet")["__id__"].to_list()
    assert key().of(HER) in ids and all(name.startswith("~") for name in ids)
    assert pl.read_parquet(out / "users.parquet").filter(pl.col("__id__") == key().of("u3"))["age"].to_list() == ["23"]
    by_id = one_document("recommend", out, "--user", HER)
    assert by_id and by_id == one_document("recommend", out, "--user", key().of(HER))
    assert evaluate(out).to_json("test")["users"] == 40  # reads the data again, under the same pseudonyms
    monkeypatch.setenv(KEY, "another key of 16 bytes or more")
    assert "not the one that the run was made with" in run_command("recommend", out, "--user", HER)[2]
    monkeypatch.delenv(KEY)
    assert run_command("recommend", out, "--user", HER)[0] == 2
    assert run_command("recommend", out, "--user", ids[0])[0] == 0


def test_who_is_forgotten_goes_by_either_name(people, tmp_path, key):
    from crowd import trained

    run = trained(people, tmp_path / "run", key())
    certificate = forget(run.folder, HER, ForgetConfig(erase=True))
    assert certificate.complete and holding(HER, tmp_path) == holding(key().of(HER), tmp_path) == []
    assert len(Run.load(run.folder).user_ids) == 39


def test_exports_take_pseudonyms(run, tmp_path, key, run_command):
    assert run_command("export", run.folder, "--to", tmp_path / "out", "--pseudonyms", "--format", "npy")[0] == 0
    assert holding(HER, tmp_path / "out") == []
    ids = json.loads((tmp_path / "out" / "users.ids.json").read_text())
    assert ids == [key().of(name) for name in run.user_ids]


def test_databases_take_pseudonyms(run, tmp_path, key, run_command):
    where = f"lancedb:{tmp_path / 'shop'}"
    assert run_command("export", run.folder, "--to", where, "--pseudonyms")[0] == 0
    assert run_command("import", where, "--to", tmp_path / "back")[0] == 0
    assert holding(HER, tmp_path / "shop", tmp_path / "back") == []
    ids = json.loads((tmp_path / "back" / "users.ids.json").read_text())
    assert sorted(ids) == sorted(key().of(name) for name in run.user_ids)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (["gnnrec", "forget", "run", "--user", "anna", "--erase"], "gnnrec forget run --user … --erase"),
        (["gnnrec", "forget", "--us=anna", "--hist", "1,2", "run"], "gnnrec forget --us=… --hist … run"),
        (["gnnrec", "train", "data", "--out", "x"], "gnnrec train data --out x"),
    ],
)
def test_a_kept_command_names_nobody(typed, kept):
    assert without_ids(typed) == kept
