"""Whatever call fails, and wherever a writer is killed: the old state or the new one."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from failing import failing, outcomes, small_disk

from gnnrec.checkpoint import TrainState, load_checkpoint, save_checkpoint
from gnnrec.commit import COMMITTED, together
from gnnrec.datasets import read_events
from gnnrec.encoders.cache import FeatureCache
from gnnrec.encoders.fitted.folder import read_facts, write_folder
from gnnrec.errors import UserError
from gnnrec.export import export_embeddings, import_embeddings
from gnnrec.files import atomic_path, new_folder, write_text
from gnnrec.run_folder import Run
from gnnrec.sampling.csr import build_csr
from gnnrec.serve.feedback import FeedbackLog
from gnnrec.sharded_index import search_shards, write_shards

FORMATS = ("parquet", "npy", "safetensors", "faiss", "faiss-pq")


def held(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("for_good", [False, True])
def test_a_file_is_old_or_new_whichever_call_fails(tmp_path: Path, for_good: bool) -> None:
    target = tmp_path / "settings.toml"
    target.write_text("old")
    seen = []
    for text in outcomes(lambda: write_text(target, "new"), target.read_text, for_good=for_good):
        seen.append(text)
        target.write_text("old")
    assert set(seen) == {"old", "new"} and seen[-1] == "new" and len(seen) > 6


def test_files_that_change_together_are_all_old_or_all_new(tmp_path: Path) -> None:
    old, new = {"a": b"1", "b": b"1", "gone": b"1"}, {"a": b"2", "b": b"2", "c": b"2"}

    def change() -> None:
        with together(tmp_path, ["gone", "never there"]) as staged:
            for name, content in new.items():
                with atomic_path(staged / name) as temporary:
                    temporary.write_bytes(content)

    def state() -> dict[str, bytes]:
        with together(tmp_path):  # whoever comes next finishes what was committed
            pass
        found = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
        for path in tmp_path.iterdir():
            assert path.is_file() or path.name.startswith(".tmp-")
        for name in found:
            (tmp_path / name).unlink()
        for name, content in old.items():
            (tmp_path / name).write_bytes(content)
        return found

    state()
    found = list(outcomes(change, state))
    assert [each for each in found if each not in (old, new)] == []
    assert found[-1] == new and found.count(old) > 10 and found.count(new) > 3


def test_a_reader_follows_no_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "letter").write_text("mine")
    export_embeddings(np.eye(2), np.eye(2), "ab", "xy", tmp_path / "export", ["npy"])
    (tmp_path / "export" / COMMITTED).symlink_to(tmp_path / "private")
    import_embeddings(tmp_path / "export", "npy")
    assert (tmp_path / "private" / "letter").exists()


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_over_an_older_one_is_one_of_the_two(tmp_path: Path, format: str) -> None:
    random = np.random.default_rng(0)
    first, second = (random.normal(size=(300, 8)).astype(np.float32) for _ in range(2))
    ids = [f"i{number}" for number in range(300)]

    def export(vectors: np.ndarray) -> None:
        export_embeddings(vectors[:5], vectors, ids[:5], ids, tmp_path / "to", [format])

    def which() -> str:
        found = import_embeddings(tmp_path / "to", format)
        states = {
            name: np.array_equal(found.user, vectors[:5]) and np.allclose(found.item, vectors, atol=3)
            for name, vectors in (("old", first), ("new", second))
        }
        shutil.rmtree(tmp_path / "to")
        shutil.copytree(tmp_path / "old", tmp_path / "to")  # an fsync a file would take longer
        return next((name for name, holds in states.items() if holds), "neither")

    export(first)
    shutil.copytree(tmp_path / "to", tmp_path / "old")
    found = list(outcomes(lambda: export(second), which))
    assert set(found) == {"old", "new"} and found[-1] == "new"


@pytest.mark.parametrize("num_shards", [3, 2])
def test_shards_over_older_ones_are_one_of_the_two(tmp_path: Path, num_shards: int) -> None:
    """The same number of files, so that a mixture would answer, and another. The new index turns the order around."""
    item, to = np.eye(9, dtype=np.float32) + 0.01 * np.arange(9, dtype=np.float32), tmp_path / "to"
    ids = [f"i{number}" for number in range(9)]
    answers = {"old": [[name] for name in ids], "new": [[name] for name in ids[::-1]]}

    def which() -> str:
        found = search_shards(to, np.eye(9, dtype=np.float32), 1)
        files = sorted(path.name for path in to.iterdir() if path.is_file())
        expected = {"old": 3, "new": num_shards}
        state = next((name for name, answer in answers.items() if answer == found), "neither")
        assert len(files) == expected.get(state, -1) + 1, files
        shutil.rmtree(to)
        shutil.copytree(tmp_path / "old", to)
        return state

    write_shards(item, ids, to, 3)
    shutil.copytree(to, tmp_path / "old")
    found = list(outcomes(lambda: write_shards(item[::-1], ids, to, num_shards), which))
    assert set(found) == {"old", "new"} and found[-1] == "new" and found.count("new") > 3


def test_a_full_disk_leaves_shards_as_they_were(tmp_path: Path) -> None:
    """FAISS' own writer meets ENOSPC."""
    rows, ids = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32), [str(n) for n in range(300)]
    with small_disk(tmp_path / "disk", 128) as disk:
        write_shards(rows, ids, disk / "to", 3)
        old = held(disk / "to")
        with pytest.raises(UserError, match=r"cannot be written \(.*No space left on device.*\)$"):
            write_shards(-rows, ids, disk / "to", 3)
        assert held(disk / "to") == old


def test_every_rename_follows_an_fsync_of_the_file_and_is_followed_by_one_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    fsync, replace, rmdir = os.fsync, os.replace, os.rmdir

    def synced(descriptor: int) -> None:
        done.append(("fsync", os.path.realpath(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def renamed(source: Path, target: Path) -> None:
        done.append(("rename", f"{os.path.realpath(source)} {os.path.realpath(target)}"))
        replace(source, target)

    def removed(path: Any, **options: Any) -> None:
        done.append(("rmdir", str(path)))
        rmdir(path, **options)

    monkeypatch.setattr(os, "rmdir", removed)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    write_text(tmp_path / "file", "text")
    with new_folder(tmp_path / "folder") as made:
        (made / "inner").write_text("text")
    with together(tmp_path / "both") as staged:
        (staged / "one").write_text("text")
    renames = [number for number, (what, _) in enumerate(done) if what == "rename"]
    assert len(renames) == 4  # the file, the folder, the commit, the file of the commit
    for number in renames:
        source, target = done[number][1].split(" ")
        before = {path for what, path in done[:number] if what == "fsync"}
        assert source in before or any(path.endswith("/one") for path in before)
        assert done[number + 1] == ("fsync", str(Path(target).parent))  # before anything else is done
    assert any(path.endswith("/inner") for what, path in done if what == "fsync")


def saved(path: Path, value: float) -> None:
    weight = torch.nn.Parameter(torch.full((4,), float(value)))
    save_checkpoint(path, TrainState(), {"model": {"w": weight}}, torch.optim.Adam([weight]), "settings")


def checkpoint(place: Path) -> tuple[Callable[[], None], Callable[[], object]]:
    path = place / "checkpoint.safetensors"

    def state() -> object:
        groups = load_checkpoint(path, torch.optim.Adam([torch.nn.Parameter(torch.zeros(4))]), "settings")[1]
        saved(path, 1)
        return float(groups["model"]["w"][0])

    saved(path, 1)
    return lambda: saved(path, 2), state


def encoder_folder(place: Path) -> tuple[Callable[[], None], Callable[[], object]]:
    facts, path = {"kind": "lsa", "modality": "text"}, place / "encoder"

    def fill(folder: Path) -> dict[str, object]:
        write_text(folder / "weights", "w" * 100)
        return {}

    def state() -> object:
        found = read_facts(path)
        if found is not None:
            assert held(path).keys() == {"encoder.json", "weights"}
            for name in held(path):
                (path / name).unlink()
            path.rmdir()
            return 2
        assert not path.exists()
        return 1

    return lambda: write_folder(path, facts, fill), state


@pytest.mark.parametrize("make", [checkpoint, encoder_folder])
def test_checkpoints_and_encoders_are_old_or_new(tmp_path: Path, make: Callable) -> None:
    change, state = make(tmp_path)
    found = list(outcomes(change, state))
    assert set(found) == {1, 2} and found[-1] == 2


def test_feedback_that_was_acknowledged_is_there_whichever_call_fails(tmp_path: Path) -> None:
    path, told = tmp_path / "told.jsonl", []
    log = FeedbackLog(path)
    for at in range(12):
        event = {"user": "u", "item": str(at), "timestamp": at}
        with failing(at % 4):
            try:
                log.append([event])
            except OSError:
                continue
        told.append(event)
    log.close()
    kept = read_events(path)
    assert [event for event in told if event not in kept] == [] and len(told) >= 6
    assert [event for event in kept if event["timestamp"] >= 12 or event["user"] != "u"] == []


def test_a_full_disk_leaves_the_export_as_it_was(tmp_path: Path) -> None:
    """The libraries' own writers meet ENOSPC, at every size of a disk that is too small for a second export."""
    rows, ids = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32), [str(n) for n in range(300)]
    with small_disk(tmp_path / "disk", 2_000) as disk:
        for format in FORMATS:
            export_embeddings(rows, rows, ids, ids, disk / format, [format])
            old = held(disk / format)
            refused = 0
            for free in range(4, 140, 12):
                space = os.statvfs(disk)
                filler = disk / "filler"
                filler.write_bytes(b"\0" * (space.f_bavail * space.f_frsize - free * 1024))
                try:
                    export_embeddings(-rows, rows, ids, ids, disk / format, [format])
                except UserError as error:
                    refused += 1
                    assert str(error).startswith(str(disk / format)) and "\n" not in str(error)
                    assert "cannot be written (" in str(error)
                    assert held(disk / format) == old
                else:
                    assert not np.array_equal(import_embeddings(disk / format, format).user, rows)
                    filler.unlink()
                    export_embeddings(rows, rows, ids, ids, disk / format, [format])
                    old = held(disk / format)
                filler.unlink(missing_ok=True)
            assert refused >= 2, format


def test_a_full_disk_leaves_the_cache_of_features_usable(tmp_path: Path) -> None:
    rows = {str(number): np.full(256, number, dtype=np.float32) for number in range(400)}
    with small_disk(tmp_path / "disk", 300) as disk:
        with FeatureCache(disk, "encoder", 256) as cache:
            cache.store({"first": rows["1"]})
            with pytest.raises(UserError, match="the cache of features cannot be used"):
                cache.store(rows)
        with FeatureCache(disk, "encoder", 256) as cache:
            assert [key for key, _ in cache.fetch(["first", *rows])] == ["first"]  # all rows or none


def test_a_mapped_file_that_finds_no_room_is_one_clear_line_and_no_end_of_the_process(tmp_path: Path) -> None:
    def blocks() -> list[tuple[np.ndarray, np.ndarray, None]]:
        return [(np.arange(100_000) % 50, np.arange(100_000) % 70, None)]

    with small_disk(tmp_path / "disk", 200) as disk:
        with pytest.raises(UserError, match=r"columns.npy: cannot be written \(No space left on device\)$"):
            build_csr(blocks, 50, 70, disk / "graph")
        assert list(disk.iterdir()) == []


def test_a_run_on_a_full_disk_is_one_clear_line(tiny_run: Run, tmp_path: Path) -> None:
    from gnnrec.cli import main

    with small_disk(tmp_path / "disk", 16) as disk:
        assert main(["report", str(tiny_run.folder), "--out", str(disk / "report.html")]) == 2
        assert held(disk) == {}
    assert json.loads((tiny_run.folder / "run.json").read_text())
