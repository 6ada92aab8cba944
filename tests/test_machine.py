"""What a run keeps of the machine and the code that made it."""

import shutil
from pathlib import Path

import pytest

import gnnrec.machine
from gnnrec.machine import code_hash, machine, versions

CPU = "processor\t: 0\nvendor_id\t: Some\nmodel name\t: Some CPU @ 2.00GHz \nmodel name\t: another\n"


def test_the_hash_of_the_code_knows_names_and_contents_and_nothing_else(tmp_path: Path) -> None:
    made = tmp_path / "made"
    (made / "part").mkdir(parents=True)
    (made / "one.py").write_text("a = 1\n")
    (made / "part" / "two.py").write_text("b = 2\n")
    before = code_hash(made)
    other = shutil.copytree(made, tmp_path / "elsewhere")
    (other / "part" / "__pycache__").mkdir()
    (other / "part" / "__pycache__" / "two.pyc").write_bytes(b"made by Python")
    (other / "notes.txt").write_text("no code")
    assert code_hash(other) == before
    (other / "part" / "two.py").write_text("b = 3\n")
    assert code_hash(other) != before
    (other / "part" / "two.py").write_text("b = 2\n")
    assert code_hash(other) == before
    (other / "part" / "two.py").rename(other / "two.py")
    assert code_hash(other) != before


def test_what_goes_from_a_name_to_a_content_changes_the_hash(tmp_path: Path) -> None:
    for folder, files in (("one", {"a.py": "b.py"}), ("two", {"a.py": "", "b.py": ""})):  # the same bytes in a row
        (tmp_path / folder).mkdir()
        for name, content in files.items():
            (tmp_path / folder / name).write_text(content)
    assert code_hash(tmp_path / "one") != code_hash(tmp_path / "two")


def test_the_code_of_a_run_is_this_package() -> None:
    told = versions()["code"]
    assert told == code_hash(Path(gnnrec.__file__).parent)
    kind, digits = told.split()
    assert kind == "sha256" and len(digits) == 16 and int(digits, 16)


def test_processor_and_memory_are_as_the_system_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gnnrec.machine, "PROC", tmp_path)
    assert (machine()["processor"], machine()["memory_gb"]) == (None, None)  # no such files: another system
    (tmp_path / "cpuinfo").write_text(CPU)
    (tmp_path / "meminfo").write_text("MemTotal:       16000000 kB\nMemFree:  5 kB\n")
    assert (machine()["processor"], machine()["memory_gb"]) == ("Some CPU @ 2.00GHz", 16.4)
