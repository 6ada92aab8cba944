"""A run, an export and feedback, encrypted: the same answers, nothing plain on the disk, nothing changed unseen."""

import json
import shutil

import numpy as np
import pytest

from gnnrec import files, pipeline, vault
from gnnrec.cipher import new_key_file
from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.finetuning import train
from gnnrec.llm.settings import kept_for
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run
from gnnrec.serve import projection
from gnnrec.tracking import read_log

FEW_STEPS = ("train.epochs=3", "model.dim=8", "train.batch_size=128")  # as the plain run of the fixture tiny_runs
# Long enough that no ciphertext holds one by chance.
KNOWN = ('"i31"', '"u39"', "ndcg@10", "modality_gnn", "learning_rate", "settings_sha256", "posters/")


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "key"
    new_key_file(path)
    return path


@pytest.fixture(autouse=True)
def key(key_file, monkeypatch):
    monkeypatch.delenv("GNNREC_KEY", raising=False)
    monkeypatch.setenv("GNNREC_KEY_FILE", str(key_file))


@pytest.fixture(scope="module")
def encrypted(tiny_data, tmp_path_factory, key_file):
    folder = tmp_path_factory.mktemp("encrypted") / "run"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GNNREC_KEY_FILE", str(key_file))
        train(Dataset.load(tiny_data), folder, load_recipe(overrides=FEW_STEPS), encrypt=True)
    return folder


@pytest.fixture
def copy(encrypted, tmp_path):
    return shutil.copytree(encrypted, tmp_path / "copy")


def assert_nothing_plain(folder):
    for path in folder.rglob("*"):
        if path.is_file() and path.name not in ("data-keys.json", ".tmp-lock"):  # the lock holds the process id
            content = path.read_bytes()
            assert content.startswith(b"gnnrec\x00\x01"), path
            assert not [word for word in KNOWN if word.encode() in content], path


def test_it_is_the_plain_run_bit_for_bit_and_answers_so(encrypted, tiny_runs, one_document):
    plain, names = tiny_runs["default"], ("weights.safetensors", "embeddings.safetensors", "items.parquet")
    assert all(vault.read_bytes(encrypted / name) == (plain / name).read_bytes() for name in names)
    for arguments in (("--user", "u3"), ("--item", "i3"), ("--history", "i1,i3")):
        found, expected = (one_document("recommend", run, *arguments) for run in (encrypted, plain))
        assert [row["id"] for row in found] == [row["id"] for row in expected]
        assert [row["score"] for row in found] == pytest.approx([row["score"] for row in expected], rel=1e-5)
    documents = [one_document("evaluate", run) for run in (encrypted, plain)]
    assert documents[0]["metrics"] == documents[1]["metrics"]
    assert Run.load(encrypted).recipe == Run.load(plain).recipe
    assert [row["loss"] for row in read_log(encrypted)] == [row["loss"] for row in read_log(plain)]


def test_nothing_plain_is_in_an_encrypted_run(encrypted, tiny_runs):
    assert_nothing_plain(encrypted)
    made = {path.name for path in tiny_runs["default"].iterdir()} - {"tensorboard"}
    assert {path.name for path in encrypted.iterdir()} == made | {"data-keys.json"}


def test_the_words_looked_for_are_in_a_plain_run_and_export(tiny_runs, run_command, tmp_path):
    run_command("export", tiny_runs["default"], "--to", tmp_path)
    files = [path for folder in (tmp_path, tiny_runs["default"]) for path in folder.iterdir() if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert [word for word in KNOWN if word.encode() not in content] == []


def test_a_stopped_training_goes_on_and_no_plain_file_is_ever_written(encrypted, tiny_data, tmp_path, monkeypatch):
    out, data, recipe = tmp_path / "run", Dataset.load(tiny_data), load_recipe(overrides=FEW_STEPS)
    written, really = list[str](), files.Path.replace

    def replace(self, target):
        if target.parent == out and target.name != "data-keys.json":
            assert self.read_bytes().startswith(b"gnnrec\x00\x01")
            assert_nothing_plain(out)
            written.append(target.name)
        return really(self, target)

    def stop(history):
        if len(history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(files.Path, "replace", replace)
    vault.encrypt_folder(out)
    with pytest.raises(KeyboardInterrupt):
        pipeline.train(data, out, recipe, on_epoch=stop)
    assert (out / "checkpoint.safetensors").exists()
    with pytest.raises(UserError, match="made under other settings"):
        train(data, out, load_recipe(overrides=["model.dim=8"]))
    train(data, out, recipe)  # without being told that it is encrypted
    weights = [vault.read_bytes(run / "weights.safetensors") for run in (out, encrypted)]
    assert weights[0] == weights[1]
    assert {"checkpoint.safetensors", "log.jsonl", "rejected.csv", "run.json"} < set(written)


def test_one_flipped_byte_of_any_file_is_refused_in_one_line(copy, run_command):
    for path in sorted(copy.iterdir()):
        content = path.read_bytes()
        for place in {0, 7, 8, 20, 50, len(content) // 2, len(content) - 1}:
            changed = bytearray(content)
            changed[place] ^= 4
            path.write_bytes(changed)
            with pytest.raises(UserError) as caught:
                vault.Envelope.load(path) if path.name == "data-keys.json" else vault.read_bytes(path)
            assert str(path) in str(caught.value) and "\n" not in str(caught.value)
        if path.name in ("run.json", "lists.safetensors", "embeddings.safetensors", "data-keys.json", "items.parquet"):
            status, out, err = run_command("recommend", copy, "--user", "u3")
            assert (status, out, err.count("\n")) == (2, "", 1) and path.name in err
        path.write_bytes(content)


def test_files_exchanged_cut_or_plain_are_refused(copy, tiny_runs):
    run, users, items = (copy / name for name in ("run.json", "users.parquet", "items.parquet"))
    whole, one, other = run.read_bytes(), users.read_bytes(), items.read_bytes()
    users.write_bytes(other), items.write_bytes(one)
    with pytest.raises(UserError, match=r"users\.parquet: was changed since it was encrypted, or is another file"):
        Run.load(copy)
    users.write_bytes(one), items.write_bytes(other)
    run.write_bytes(whole[:-1])
    with pytest.raises(UserError, match=r"run\.json: was changed"):
        Run.load(copy)
    shutil.copy(tiny_runs["default"] / "run.json", run)
    with pytest.raises(UserError, match=r"run\.json: is not encrypted"):
        Run.load(copy)
    run.write_bytes(whole)
    (copy / "data-keys.json").unlink()
    with pytest.raises(UserError, match=r"run\.json: is encrypted, but data-keys\.json is not beside it"):
        Run.load(copy)


def test_a_file_of_another_encrypted_folder_is_refused(copy, tmp_path):
    vault.encrypt_folder(tmp_path / "other")
    vault.write_json(tmp_path / "other" / "run.json", {})
    shutil.copy(tmp_path / "other" / "run.json", copy)
    with pytest.raises(UserError, match=r"run\.json: was changed, or is of another folder"):
        Run.load(copy)


def test_without_the_key_or_with_another_one_line_says_so(encrypted, run_command, tmp_path, monkeypatch):
    new_key_file(tmp_path / "other")
    monkeypatch.setenv("GNNREC_KEY_FILE", str(tmp_path / "other"))
    status, out, err = run_command("recommend", encrypted, "--user", "u3")
    assert (status, out, err.count("\n")) == (2, "", 1) and "data-keys.json: needs the key" in err
    monkeypatch.delenv("GNNREC_KEY_FILE")
    status, out, err = run_command("recommend", encrypted, "--user", "u3")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert f"{encrypted}: is encrypted; encryption needs a key: set GNNREC_KEY_FILE=FILE" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--track", "wandb:offline"), "--track tells others"),
        (("--set", "graph.profiles=true"), "graph.profiles keeps texts about users"),
        (("--set", "finetune.text=lora"), "finetune writes the encoder"),
        (("--set", "model.name=sign"), "the model sign keeps hops"),
    ],
)
def test_what_would_write_something_plain_is_refused(run_command, tiny_data, tmp_path, arguments, said):
    status, out, err = run_command("train", tiny_data, "--out", tmp_path / "run", "--encrypt", *arguments)
    assert (status, out) == (2, "") and f"train --encrypt: {said}" in err
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_moved_to_other_data_stays_encrypted(tiny_data, tmp_path, one_document):
    settings = ("--set", "model.name=tower", "model.dim=8", "train.epochs=1", "train.batch_size=128")
    one_document("train", tiny_data, "--out", tmp_path / "tower", "--encrypt", *settings)
    other = shutil.copytree(tiny_data, tmp_path / "other")
    one_document("transfer", tmp_path / "tower", "--data", other, "--out", tmp_path / "moved")
    assert vault.is_encrypted(tmp_path / "moved")
    assert_nothing_plain(tmp_path / "moved")
    assert one_document("evaluate", tmp_path / "moved")["users"] == 40


def test_a_folder_with_something_plain_in_it_is_not_encrypted(run_command, tiny_data, tmp_path):
    (tmp_path / "log.jsonl").write_text("{}")
    status, _, err = run_command("train", tiny_data, "--out", tmp_path, "--encrypt")
    assert status == 2 and "holds log.jsonl, which is not encrypted" in err
    assert not (tmp_path / "data-keys.json").exists()


def test_a_report_goes_out_plain_only_where_it_is_asked_for(copy, run_command, tmp_path):
    status, _, err = run_command("report", copy)
    assert status == 2 and "report.html: would be plain in an encrypted folder" in err
    status, _, _ = run_command("report", copy, "--out", tmp_path / "out" / "report.html")
    assert status == 0 and "Title" in (tmp_path / "out" / "report.html").read_text()
    assert_nothing_plain(copy)


def test_an_export_is_encrypted_in_every_format_and_comes_back(copy, run_command, tmp_path):
    to = tmp_path / "exported"
    status, _, err = run_command("export", copy, "--to", to, "--encrypt")
    assert status == 0 and "recall@10 1.0000" in err and "what goes out is not" not in err
    assert_nothing_plain(to)
    assert len(list(to.iterdir())) >= 10
    status, _, err = run_command("import", to, "--to", tmp_path / "back")
    assert status == 0 and "is encrypted, and what goes out is not" in err
    assert np.array_equal(np.load(tmp_path / "back" / "items.npy"), Run.load(copy).item_vectors)
    status, _, err = run_command("export", copy, "--to", tmp_path / "plain", "--format", "npy")
    assert status == 0 and "is encrypted, and what goes out is not" in err
    status, _, err = run_command("export", copy, "--to", tmp_path / "plain", "--encrypt")
    assert status == 2 and "which is not encrypted" in err
    status, _, err = run_command("export", copy, "--to", "lancedb:nowhere", "--encrypt")
    assert status == 2 and "export --encrypt: goes with a folder of files" in err


def test_what_is_kept_about_an_encrypted_run_is_kept_in_it(copy, monkeypatch, tmp_path):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    run = Run.load(copy)
    assert kept_for(run) is None  # answers of language models
    projection.main(str(copy), str(projection.kept(run)))
    assert projection.read(projection.kept(run)).shape == (32, 2)
    assert_nothing_plain(copy)
    assert not (tmp_path / "cache").exists()


def test_make_key(run_command, tmp_path):
    path = tmp_path / "new.key"
    status, out, _ = run_command("make-key", path)
    assert status == 0 and f"GNNREC_KEY_FILE={path}" in out and path.read_text().strip() not in out
    assert path.stat().st_mode & 0o777 == 0o600
    status, _, err = run_command("make-key", path)
    assert status == 2 and f"{path}: a key cannot be written (File exists)" in err


def test_feedback_told_to_an_encrypted_log_is_learnt(copy, tiny_data, one_document, tmp_path):
    from gnnrec.serve.feedback import FeedbackLog

    path = tmp_path / "told.jsonl"
    vault.encrypt_file(path)
    log = FeedbackLog(path)
    log.append([{"user": "newcomer", "item": f"i{item}", "timestamp": 90_000 + item} for item in range(4)])
    log.close()
    assert b"newcomer" not in path.read_bytes()
    out = tmp_path / "next"
    document = one_document(
        *("train", tiny_data, "--out", out, "--encrypt", "--with-feedback", path, "--set", *FEW_STEPS)
    )
    assert json.dumps(document) and "newcomer" in Run.load(out).user_ids
    assert_nothing_plain(out)


def test_a_file_of_api_keys_makes_no_folder_encrypted(run_command, tmp_path):
    """Their file is called keys.json in every example; the data keys' file is not."""
    assert run_command("key", tmp_path / "keys.json", "shop")[0] == 0
    assert not vault.is_encrypted(tmp_path)
    vault.write_text(tmp_path / "plain.txt", "plain")
    assert (tmp_path / "plain.txt").read_text() == "plain"
