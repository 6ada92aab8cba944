"""Every command as it is typed: exit status, what stands on stdout, and one line on stderr where something is wrong."""

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gnnrec import arguments, cli, compression, embedding_commands, export, pipeline, targets
from gnnrec.pipeline import evaluate
from gnnrec.run_folder import Run

ROOT = Path(__file__).parents[1]
COMMANDS = (
    *("demo", "train", "tune-settings", "evaluate", "export", "import", "search", "recommend"),
    *("explain", "tune", "fit-encoder", "describe", "profiles"),
    *("inspect", "clean", "modalities", "serve", "key", "transfer", "update", "refit", "encode", "plan", "report"),
    *("audit", "randomize"),
    *("forget", "audit-export", "policy", "make-key", "rekey", "user-vector", "private-recommend", "models", "doctor"),
)
FEW_STEPS = ("--set", "train.epochs=2", "model.dim=8")


def test_help_answers_within_a_second():
    def seconds(*arguments):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "gnnrec.cli", *arguments], cwd=ROOT, capture_output=True, check=True)
        return time.perf_counter() - began

    assert min(seconds("--help") for _ in range(3)) < 1
    assert min(seconds("train", "--help") for _ in range(3)) < 1


def test_help_does_not_load_what_is_heavy():
    code = "import sys, gnnrec.cli as cli; cli.build_parser(); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert not {"torch", "numpy", "polars", "matplotlib", "rich", "jinja2"} & set(out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(run_command, name):
    status, out, err = run_command(name, "--help")
    assert (status, err) == (0, "")
    assert f"example: gnnrec {name}" in " ".join(out.split())


def test_the_commands_are_these(run_command):
    status, out, _ = run_command()
    assert status == 0
    assert re.findall(r"^    ([\w-]+)", out, flags=re.M) == list(COMMANDS)


def test_train_makes_a_run_and_refuses_to_overwrite_it(run_command, one_document, tiny_data, tmp_path):
    document = one_document("train", tiny_data, "--out", tmp_path / "run", *FEW_STEPS)
    assert document["run"] == str(tmp_path / "run")
    assert document["metrics"] == json.loads((tmp_path / "run" / "metrics.json").read_text())["metrics"]
    assert Run.load(tmp_path / "run").recipe.model.dim == 8
    status, out, err = run_command("train", tiny_data, "--out", tmp_path / "run")
    assert (status, out) == (2, "")
    assert "holds a finished run already" in err


def test_train_speaks_of_what_was_set_aside(run_command, tiny_data, tmp_path):
    status, out, err = run_command("train", tiny_data, "--out", tmp_path / "run", "--recipe", "popularity")
    assert status == 0
    assert "tiny: 40 users, 32 items, 360 interactions, 2 set aside (see gnnrec inspect)" in err
    assert "ndcg@10" in out
    assert out.endswith(f"run: {tmp_path / 'run'}\n")


def test_evaluate_prints_what_evaluate_gives(one_document, run_command, tiny_runs):
    expected = evaluate(tiny_runs["default"])
    document = one_document("evaluate", tiny_runs["default"])
    assert document["metrics"] == expected.metrics
    assert {"split", "users", "confidence", "cohorts", "beyond"} <= set(document)
    assert (document["split"], document["users"], document["mask"]) == ("test", 40, "train+val")
    status, out, _ = run_command("evaluate", tiny_runs["default"])
    assert status == 0
    assert f"{expected.metrics['ndcg@10']:.4f}" in out


def test_evaluate_against_another_run(one_document, run_command, tiny_runs):
    document = one_document("evaluate", tiny_runs["default"], "--against", tiny_runs["popularity"], "--mask", "train")
    assert document["against"]["mask"] == document["mask"] == "train"
    gap = document["metrics"]["ndcg@10"] - document["against"]["metrics"]["ndcg@10"]
    assert document["comparison"]["ndcg@10"]["difference"] == pytest.approx(gap)
    status, out, _ = run_command("evaluate", tiny_runs["default"], "--against", tiny_runs["popularity"])
    assert status == 0
    assert "p Holm" in out


def test_evaluate_takes_data_that_has_moved(one_document, tiny_runs, tiny_data, tmp_path):
    moved = tmp_path / "moved"
    moved.symlink_to(tiny_data)
    document = one_document("evaluate", tiny_runs["popularity"], "--data", moved)
    assert document["metrics"] == evaluate(tiny_runs["popularity"]).metrics


def test_recommend_gives_the_naive_list(one_document, run_command, tiny_run):
    user = tiny_run.user_ids.index("u3")
    scores = (tiny_run.embeddings.item @ tiny_run.embeddings.user[user]).numpy()
    scores[tiny_run.known.item[tiny_run.known.user == user]] = -np.inf
    expected = [tiny_run.item_ids[item] for item in np.argsort(-scores)[:4]]
    document = one_document("recommend", tiny_run.folder, "--user", "u3", "-k", 4)
    assert [row["id"] for row in document] == expected
    status, out, _ = run_command("recommend", tiny_run.folder, "--user", "u3", "-k", 4)
    assert status == 0
    assert all(f"Title {name[1:]} " in out for name in expected)


def test_recommend_like_an_item(one_document, tiny_run):
    unit = tiny_run.embeddings.item / tiny_run.embeddings.item.norm(dim=1, keepdim=True)
    item = tiny_run.item_ids.index("i4")
    order = (unit @ unit[item]).argsort(descending=True).tolist()
    document = one_document("recommend", tiny_run.folder, "--item", "i4", "-k", 3)
    assert [row["id"] for row in document] == [tiny_run.item_ids[other] for other in order if other != item][:3]


def test_export_writes_the_files_it_names(run_command, tiny_runs, tmp_path):
    status, out, _ = run_command("export", tiny_runs["default"], "--to", tmp_path, "--format", "npy,safetensors")
    assert status == 0
    assert sorted(out.split()) == sorted(str(path) for path in tmp_path.iterdir())
    vectors = np.load(tmp_path / "items.npy", allow_pickle=False)
    assert np.array_equal(vectors, Run.load(tiny_runs["default"]).embeddings.item.numpy())


def test_encode_counts_what_there_is(one_document, run_command, tiny_data):
    document = one_document("encode", tiny_data)
    rows = {row["modality"]: row for row in document["features"]}
    assert {name: (row["encoded"], row["dimensions"]) for name, row in rows.items()} == {
        "text": (32, 6),
        "image": (31, 4),
    }
    assert document["rejected"] == []
    assert run_command("encode", tiny_data)[0] == 0


def test_a_broken_picture_is_named_with_its_line_by_every_command(
    run_command, one_document, tiny_data, tmp_path, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "200")
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    (data / "posters" / "7.png").write_bytes((data / "posters" / "7.png").read_bytes()[:100])
    (data / "dataset.toml").write_text((data / "dataset.toml").read_text().partition("[features.image]")[0])
    reason = "not a readable picture: image file is truncated"
    listed = {"file": "items.csv", "line": 9, "reason": reason, "value": "posters/7.png"}
    document = one_document("encode", data)
    assert document["rejected"] == [listed]
    assert [row["unusable"] for row in document["features"] if row["modality"] == "image"] == [1]
    groups = [row for row in one_document("inspect", data)["set_aside"] if row["file"] == "items.csv"]
    assert groups == [
        {"file": "items.csv", "reason": reason, "rows": 1, "first_lines": [9], "values": ["posters/7.png"]}
    ]
    status, _, err = run_command("train", data, "--out", tmp_path / "run", "--recipe", "popularity")
    assert status == 0
    assert f"items.csv, line 9: posters/7.png: {reason}" in err
    rejected = list(csv.DictReader((tmp_path / "run" / "rejected.csv").open(encoding="utf-8")))
    assert rejected == [{name: str(value) for name, value in listed.items()}]  # and no row of the log
    status, out, _ = run_command("encode", data)
    assert status == 0
    assert "posters/7.png" in out


def test_inspect_of_data_and_of_a_run(one_document, run_command, tiny_data, tiny_runs, tmp_path):
    assert one_document("inspect", tiny_data)["log"]["interactions"] == 360
    document = one_document("inspect", tiny_runs["default"], "--plots", tmp_path, "--user", "u1")
    assert document["run"]["model"] == "modality_gnn"
    assert sorted(document["pictures"]) == sorted(str(path) for path in tmp_path.iterdir())
    status, out, _ = run_command("inspect", tiny_data)
    assert status == 0
    assert "leave_last" in out


def test_report_prints_its_path(run_command, tiny_runs, tmp_path):
    path = tmp_path / "report.html"
    status, out, _ = run_command("report", tiny_runs["default"], "--out", path, "--against", tiny_runs["item_knn"])
    assert (status, out) == (0, f"{path}\n")
    assert "<html" in path.read_text(encoding="utf-8")


def test_models_and_doctor(one_document, run_command):
    assert {"use", "efficientnet_lite0", "musicnn"} <= {row["name"] for row in one_document("models")}
    assert {row["state"] for row in one_document("doctor")} <= {"ok", "missing", "optional", "warning"}
    for name in ("models", "doctor"):
        status, out, err = run_command(name)
        assert (status, err) == (0, "")
        assert "use" in out


MISTAKES = {
    "train nowhere --out x": "nowhere",
    "train DATA --out x --recipe nope": "allowed: default",
    "train DATA --out x --set train.epoch=3": "unknown key 'epoch'; allowed: loss",
    "train DATA --out x --set epochs=3": "expected section.key=value",
    "train DATA --out x --set train.epochs=many": "train.epochs: found 'many'",
    "evaluate DATA": "holds no run",
    "evaluate RUN --split train": "found 'train'; allowed: val, test",
    "evaluate RUN --mask all": "found 'all'; allowed: train+val, train",
    "evaluate RUN --data nowhere": "nowhere",
    "export RUN --to x --format parquet,csv": "found 'csv'; allowed: parquet, npy",
    "export POPULARITY --to x": "popularity scores without embeddings",
    "export RUN --to lancedb:x --format npy": "--format: goes with a folder of files",
    "export RUN --to lancedb:x --precision int8": "--precision: goes with a folder of files",
    "export RUN --to x --replace": "--replace: goes with a database",
    "export RUN --to foo:bar": "--to: found 'foo:bar'; allowed: a folder (./NAME:REST for such a one), lancedb:FOLDER",
    "export RUN --to x --index exact": "--index: goes with a database",
    "export RUN --to x --name My-Shop": "found 'My-Shop'; allowed: a to z",
    "export RUN --to lancedb:": "'lancedb:': no folder; allowed: lancedb:FOLDER",
    "export RUN --to qdrant:folder": "'qdrant:folder': no server; allowed: qdrant:http://host:6333",
    "export RUN --to postgresql://me:geheim@127.0.0.1:1/db": "postgresql://127.0.0.1:1/db: ",
    "export RUN --to postgresql://me:geheim@[::1/db": "not the address of a server; as in postgresql://user@host",
    "export RUN --to qdrant:http://127.0.0.1:1": "qdrant:http://127.0.0.1:1: [Errno 111] Connection refused",
    "import nowhere --to x": "nowhere: none of items.parquet, items.npy, embeddings.safetensors, items.faiss",
    "import lancedb:nowhere --to x": "lancedb:nowhere: no table gnnrec_users",
    "import RUN --to x --rows-of DATA --format npy": "--format: goes without --rows-of",
    "recommend RUN": "expected one of --user, --item",
    "recommend RUN --user u1 --item i1": "expected one of --user, --item",
    "recommend RUN --user nobody": "no user with the id 'nobody'",
    "recommend RUN --user u1 -k 0": "found 0; allowed: 1 or more",
    "recommend RUN --user u1 -k few": "found few; allowed: 1 or more",
    "recommend RUN --image nowhere.png": "nowhere.png: no such file",
    "recommend RUN --audio RUN": "a folder",
    "recommend RUN --image DATA/posters/1.png": "has no encoder of image",
    "recommend POPULARITY --text words": "popularity cannot place new content",
    "recommend RUN --rerank --item i1": "--rerank: needs --user",
    "recommend RUN --history ,": "--history: found no item",
    "recommend RUN --rerank --history i1,nothing": "no item with the id 'nothing'",
    "recommend RUN --rerank --explain --history i1": "--explain: needs --user",
    "recommend RUN --explain --text words": "--explain: needs --user",
    "explain RUN --user u1 --item i1 --set llm.phrases=true": "unknown key 'phrases'; allowed: provider, model,",
    "serve RUN --port 99999": "--port: found 99999; allowed: 0 to 65535",
    "serve RUN --port -1": "--port: found -1; allowed: 0 to 65535",
    "serve RUN --cached-lists -1": "serve --cached-lists: found -1; allowed: 0 (none) or more",
    "serve RUN --set llm.window=8": "serve --set: goes with --rerank",
    "serve RUN --rerank --set llm.windows=8": "unknown key 'windows'; allowed: provider, model,",
    "serve RUN --rerank --set llm.model=nowhere": "llm.model is 'nowhere': allowed are",
    "recommend RUN --generate --item i1": "--generate: needs --user",
    "recommend RUN --user u1 --generate --rerank": "--generate: goes without --rerank",
    "recommend RUN --user nobody --generate": "no user with the id 'nobody'",
    "recommend RUN --user u1 --generate --set llm.beam=0": "llm.beam: found 0; allowed: 1 or more",
    "recommend RUN --user u1 --generate --set llm.model=nope": "llm.model is 'nope': allowed are smollm2, a folder",
    "recommend RUN --user u1 --set llm.cap=3": "--set: goes with --rerank, --generate or --explain",
    "recommend RUN --user u1 --rerank --set llm.caps=3": "unknown key 'caps'; allowed: provider, model,",
    "recommend RUN --user u1 --rerank --set train.epochs=3": "unknown key 'train'; allowed: llm",
    "recommend RUN --user u1 --rerank --set llm.cap=0": "llm.cap: found 0; allowed: 1 or more",
    "recommend RUN --user u1 --rerank --set llm.model=nope": "llm.model is 'nope': allowed are smollm2, a folder",
    "recommend RUN --user u1 --rerank --set llm.model=nobody/nothing": "gnnrec models get nobody/nothing",
    "recommend RUN --user nobody --rerank": "no user with the id 'nobody'",
    "recommend RUN --user u1 --rerank --set llm.provider=cloud": "llm.provider: found 'cloud'; allowed: local, openai",
    "recommend RUN --user u1 --rerank --set llm.provider=openai": "llm.base_url: found ''; allowed: an address",
    "recommend RUN --user u1 --rerank --set llm.provider=openai llm.window=21": "allowed with permutation: 20 or less",
    "recommend RUN --user u1 --rerank --set llm.scorer=letters llm.window=21": "allowed with letters: 20 or less",
    "recommend RUN --user u1 --rerank --set llm.scorer=words": "allowed with local: block, tuned, cosine,",
    "recommend RUN --user u1 --rerank --set llm.provider=openai llm.scorer=block": "allowed with openai: permutation,",
    "tune RUN --set tune.rank=0": "tune.rank: found 0; allowed: 1 or more",
    "tune RUN --set train.epochs=1": "--set: unknown key 'train'; allowed: llm, tune",
    "recommend RUN --user u1 --rerank --set llm.noun=a;b": "llm.noun: found 'a;b'; allowed: letters",
    "explain RUN --user u1": "required: --item",
    "explain RUN --user nobody --item i1": "no user with the id 'nobody'",
    "explain RUN --user u1 --item nothing": "no item with the id 'nothing'",
    "explain nowhere --user u1 --item i1": "no such folder",
    "encode DATA --set encoders.batch_size=0": "at least 1 is allowed",
    "describe nowhere": "nowhere: no such folder",
    "describe DATA --set describe.model=nope": "describe.model is 'nope': allowed are a folder",
    "describe DATA --set describe.models=x": "describe: unknown key 'models'; allowed: provider, model,",
    "profiles DATA --set profiles.model=nope": "profiles.model is 'nope': allowed are smollm2, a folder",
    "train DATA --out x --set graph.profiles=yes": "graph.profiles: found 'yes'; allowed: a value of type bool",
    "inspect nowhere": "nowhere",
    "inspect RUN --user u1": "needs --plots",
    "inspect DATA --augment": "needs --plots",
    "inspect DATA --set augment.crop=0": "goes with --augment",
    "inspect DATA --augment --plots x --set augment.zoom=1": "--set: augment: unknown key 'zoom'; allowed: crop,",
    "inspect DATA --augment --plots x --set dropout.edges=1": "dropout.edges: found 1.0; allowed: from 0, below 1",
    "inspect RUN --augment --plots x": "--augment needs a dataset",
    "inspect RUN --user nobody --plots x": "no user with the id 'nobody'",
    "inspect DATA --user u1 --plots x": "--user needs a run",
    "report nowhere": "no such folder",
    "models get": "expected a name; allowed: use",
    "models get nope": "no pretrained model 'nope'",
    "demo --data nowhere": "nowhere",
    "train DATA": "required: --out",
    "sing": "invalid choice: 'sing'",
}


SEEN_AT_ONCE = (
    *("evaluate RUN --split train", "evaluate RUN --mask all", "evaluate RUN --against nowhere", "evaluate nowhere"),
    *("export RUN --to x --format csv", "recommend RUN --user u1 -k 0", "recommend RUN --image nowhere.png"),
    *("recommend RUN", "inspect RUN --user u1", "inspect nowhere", "train nowhere --out x", "report nowhere"),
    *("train DATA --out x --recipe nope", "train DATA --out x --recipe nope.toml", "demo --data nowhere"),
)


def test_what_can_be_seen_at_once_is_seen_before_anything_heavy_is_loaded(tiny_data, tiny_runs):
    code = """if True:
        import sys
        from gnnrec.cli import main
        for typed in sys.argv[1:]:
            try:
                status = main(typed.split("|"))
            except SystemExit as stopped:
                status = stopped.code
            assert status == 2, typed
        assert not {"torch", "numpy", "polars"} & set(sys.modules)
    """
    places = {"DATA": str(tiny_data), "RUN": str(tiny_runs["default"])}
    typed = ["|".join(places.get(word, word) for word in line.split()) for line in SEEN_AT_ONCE]
    done = subprocess.run([sys.executable, "-c", code, *typed], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (0, len(SEEN_AT_ONCE)), done.stderr


def test_what_is_no_run_is_told_without_torch(tiny_data):
    code = """if True:
        import sys
        from gnnrec.cli import main
        for command in ("evaluate", "report", "recommend"):
            assert main([command, sys.argv[1], *(["--user", "u1"] if command == "recommend" else [])]) == 2
        assert "torch" not in sys.modules
    """
    done = subprocess.run([sys.executable, "-c", code, str(tiny_data)], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("holds no run")) == (0, 3), done.stderr


def test_what_is_allowed_is_what_there_is():
    assert cli.MASKS == pipeline.MASKS
    assert (*arguments.FORMATS, *arguments.MORE_FORMATS) == tuple(export.FORMATS)
    assert embedding_commands.PRECISIONS == compression.PRECISIONS
    assert tuple(targets.TARGETS) == arguments.TARGETS


@pytest.mark.parametrize("typed", MISTAKES)
def test_a_mistake_is_one_line_and_status_2(run_command, tiny_data, tiny_runs, tmp_path, monkeypatch, typed):
    monkeypatch.chdir(tmp_path)
    places = {"DATA": tiny_data, "RUN": tiny_runs["default"], "POPULARITY": tiny_runs["popularity"]}
    words = [re.sub("^[A-Z]{3,}", lambda found: str(places.get(found[0], found[0])), word) for word in typed.split()]
    status, out, err = run_command(*words)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("gnnrec")
    assert MISTAKES[typed] in err
    assert "Error:" not in err


def test_what_nobody_foresaw_is_one_line_and_status_1(run_command, tiny_runs, tmp_path, monkeypatch):
    def broken(*arguments: object, **more: object) -> None:
        raise RuntimeError("nobody\nforesaw this")

    monkeypatch.delenv("GNNREC_DEBUG", raising=False)
    monkeypatch.setattr("gnnrec.privacy.exports.export_embeddings", broken)
    status, _, err = run_command("export", tiny_runs["default"], "--to", tmp_path, "--format", "npy")
    assert status == 1
    assert "RuntimeError: nobody foresaw this" in err
    assert err.count("\n") == 1
    assert "GNNREC_DEBUG=1 shows where" in err


def test_a_folder_that_cannot_be_written_is_one_line_and_status_2(run_command, tiny_runs, tmp_path):
    (tmp_path / "file").write_text("no folder")
    below = tmp_path / "file" / "below"
    status, _, err = run_command("export", tiny_runs["default"], "--to", below, "--format", "npy")
    assert (status, err.count("\n")) == (2, 1)
    assert f"{below}" in err and "cannot be written (Not a directory)" in err


def test_training_into_a_foreign_folder_is_refused_before_any_work(run_command, tiny_data):
    before = sorted(path.name for path in tiny_data.iterdir())
    status, _, err = run_command("train", tiny_data, "--out", tiny_data)
    assert status == 2
    assert f"{tiny_data}: holds {before[0]}, so it is no unfinished run; expected a new or empty folder" in err
    assert sorted(path.name for path in tiny_data.iterdir()) == before


def test_to_users_needs_a_new_item(run_command, tiny_runs):
    status, _, err = run_command("recommend", tiny_runs["default"], "--user", "u1", "--to-users")
    assert status == 2 and "--to-users: needs a new item by --text, --image or --audio" in err
