import re
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from gnnrec import doctor

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_the_extras_are_those_of_the_project():
    declared = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]
    brought: dict[str, str] = {}  # package -> the first extra that brings it
    for extra, requirements in declared.items():
        for requirement in requirements if extra not in ("dev", "demo", "all") else ():
            brought.setdefault(re.match(r"[\w-]+", requirement)[0], extra)
    listed = {package: extra for extra, (_, packages) in doctor.EXTRAS.items() for package in packages}
    assert listed == brought


def test_what_is_missing_comes_with_the_line_that_brings_it(monkeypatch, tmp_path):
    def version(package):
        if package in ("librosa", "optuna", "ray"):
            raise PackageNotFoundError(package)
        return "1.0"

    monkeypatch.setattr(doctor, "version", version)
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "not" / "there"))
    rows = {row["what"]: row for row in doctor.diagnose()}
    assert rows["audio: librosa"]["how"] == "pip install 'gnnrec[audio]'"
    assert rows["tune: optuna"] == {
        "what": "tune: optuna",
        "state": "optional",
        "detail": "not installed; gnnrec tune-settings would need it",
        "how": "pip install 'gnnrec[tune]'",
    }
    assert (rows["scale: ray"]["state"], rows["scale: ray"]["how"]) == ("optional", "pip install 'gnnrec[scale]'")
    assert rows["scale: ray"]["detail"] == "not installed; gnnrec train and encode --engine ray would need it"
    assert rows["text model: use"] == {
        "what": "text model: use",
        "state": "missing",
        "detail": "not here yet",
        "how": "gnnrec models get use",
    }
    assert rows["faiss: faiss-cpu"]["state"] == "ok"
    assert {name for name, row in rows.items() if row["state"] == "missing"} == {
        "audio: librosa",
        "text model: use",
        "image model: efficientnet_lite0",
        "audio model: musicnn",
    }
    assert str(tmp_path / "not" / "there") in rows["cache"]["detail"]


def test_little_disk_is_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path))
    monkeypatch.setattr(doctor, "LOW_DISK", 1 << 62)
    assert doctor.cache()["state"] == "warning"
    monkeypatch.setattr(doctor, "LOW_DISK", 0)
    assert doctor.cache()["state"] == "ok"
