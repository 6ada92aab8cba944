"""A file is either its old self or its new self."""

import ctypes
import errno
import hashlib
import json
from pathlib import Path

import pytest

from gnnrec.errors import UserError
from gnnrec.files import atomic_path, claim_folder, exchange, new_folder, sha256_of_file, write_json


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "weights.bin"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["weights.bin"]


def test_success_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "new" / "weights.bin"
    for text in ("first", "second"):
        with atomic_path(target) as temporary:
            assert temporary.suffix == ".bin" and temporary.parent == target.parent
            temporary.write_text(text)
        assert target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["weights.bin"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_json_is_utf8_and_reads_back(tmp_path: Path) -> None:
    document = {"title": "阅读", "values": [1.5, None]}
    write_json(tmp_path / "a.json", document)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == document and "阅读" in text
    assert sha256_of_file(tmp_path / "a.json") == hashlib.sha256(text.encode()).hexdigest()


def test_a_new_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with pytest.raises(RuntimeError), new_folder(target) as place:
        (place / "one").write_text("half")
        raise RuntimeError
    assert list(target.parent.iterdir()) == []
    with new_folder(target) as place:
        (place / "one").write_text("whole")
        assert not target.exists()
    assert [path.name for path in target.parent.iterdir()] == ["target"]
    assert (target / "one").read_text() == "whole"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"), new_folder(tmp_path / "file" / "below"):
        pass


def test_what_a_killed_writer_left_is_nobody_elses(tmp_path: Path) -> None:
    for name in (".tmp-abc.json", ".tmpX8kq2P", "weights.bin"):
        (tmp_path / name).touch()
    claim_folder(tmp_path, ("weights.bin",))
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds thesis\.tex"):
        claim_folder(tmp_path, ("weights.bin",))


@pytest.mark.parametrize("code", [None, errno.EINVAL, "no such call"])
def test_two_folders_change_names(tmp_path, monkeypatch, code) -> None:
    class Library:
        """A system whose file system, or whose C library, does not know how."""

        if code != "no such call":

            def renameat2(self, *_: object) -> int:
                ctypes.set_errno(code)
                return -1

    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "what").write_text(name)
    if code is not None:
        monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Library())
    exchange(tmp_path / "first", tmp_path / "second")
    assert [(tmp_path / name / "what").read_text() for name in ("first", "second")] == ["second", "first"]
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


def test_what_cannot_change_names_says_so(tmp_path) -> None:
    (tmp_path / "first").mkdir()
    with pytest.raises(FileNotFoundError, match="first"):
        exchange(tmp_path / "first", tmp_path / "second")
