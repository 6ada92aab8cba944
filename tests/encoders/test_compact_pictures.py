"""Encoders of pictures made smaller or faster: each agrees with the one it was made from as far as its way allows."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torchvision import models

from gnnrec.datasets import Interactions
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.features import Encoder
from gnnrec.encoders.fitted.compact import fit_compact
from gnnrec.encoders.fitted.compact_ways import CompactConfig
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.onnx_model import FILE
from gnnrec.encoders.media import read_image
from gnnrec.errors import UserError

POSTERS = sorted((Path(__file__).parents[2] / "data" / "movies" / "posters").iterdir())[:120:10]


def corpus(paths: list[Path | None]) -> Corpus:
    none = Interactions(user=np.zeros(0, np.int32), item=np.zeros(0, np.int32), num_users=1, num_items=len(paths))
    return Corpus(contents=paths, train=none, val=none, device=torch.device("cpu"), audio_seconds=30)


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    return [read_image(path) for path in POSTERS]


@pytest.fixture(scope="module", params=["efficientnet_lite0", "torchvision"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The shipped network, and one of torchvision with weights by lot."""
    if request.param != "torchvision":
        return str(request.param)
    torch.manual_seed(0)
    network = models.get_model("shufflenet_v2_x0_5", weights=None)
    network.train()(torch.randn(16, 3, 64, 64))  # so that batch normalisation has something to fold
    file = tmp_path_factory.mktemp("weights") / "shufflenet.pth"
    torch.save(network.state_dict(), file)
    return f"torchvision:shufflenet_v2_x0_5:{file}"


def made(base: str, folder: Path, how: str, paths: list[Path | None] | None = None, share: float = 0.3) -> Encoder:
    settings = CompactConfig(modality="image", base=base, how=how, share=share)
    folder.mkdir()
    facts = fit_compact(corpus([*POSTERS] if paths is None else paths), settings, folder)
    facts |= {"kind": "compact", "modality": "image", "settings": {"how": how}}
    (folder / "encoder.json").write_text(json.dumps(facts))
    return open_encoder("image", str(folder))


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)


@pytest.fixture(scope="module")
def expected(base: str, pictures: list[Image.Image]) -> np.ndarray:
    return open_encoder("image", base).encode(pictures)


@pytest.fixture(scope="module")
def fp32(base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made(base, folder := tmp_path_factory.mktemp("onnx") / "fp32", "onnx_fp32")
    return folder


def test_onnx_gives_what_its_base_gives(fp32: Path, expected: np.ndarray, pictures: list[Image.Image]) -> None:
    encoder = open_encoder("image", str(fp32))
    found = encoder.encode(pictures)
    assert found.dtype == np.float32 and found.shape == (len(pictures), encoder.dim)
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()
    assert np.allclose(encoder.encode(pictures[7:8]), found[7:8], atol=1e-4)  # alone as among others
    assert not (fp32 / "model.safetensors").exists()


def test_int8_has_whole_numbers_where_all_channels_are_mixed(
    base: str, fp32: Path, expected: np.ndarray, pictures: list[Image.Image], tmp_path: Path
) -> None:
    encoder = made(base, tmp_path / "int8", "onnx_int8")
    assert cosines(encoder.encode(pictures), expected).min() > 0.85
    graph = onnx.load(tmp_path / "int8" / FILE).graph
    weights = {tensor.name: tensor for tensor in graph.initializer if len(tensor.dims) == 4}
    small = [tensor for tensor in weights.values() if tensor.data_type == onnx.TensorProto.INT8]
    assert len(small) > 20 and all(tensor.dims[1] >= 8 for tensor in small)
    whole = [tensor for tensor in weights.values() if tensor.data_type == onnx.TensorProto.FLOAT]
    assert whole and all(tensor.dims[1] < 8 for tensor in whole)  # the first, and the depthwise ones
    sizes = [(folder / FILE).stat().st_size for folder in (tmp_path / "int8", fp32)]
    assert sizes[0] < 0.5 * sizes[1]
    assert sorted(path.name for path in (tmp_path / "int8").iterdir()) == ["encoder.json", FILE]


def test_bfloat16_rounds_and_halves_the_weights(
    base: str, expected: np.ndarray, pictures: list[Image.Image], tmp_path: Path
) -> None:
    encoder = made(base, tmp_path / "bf16", "bf16")
    assert cosines(encoder.encode(pictures[:3]), expected[:3]).min() > 0.98
    state = load_file(tmp_path / "bf16" / "model.safetensors")
    assert {tensor.dtype for tensor in state.values() if tensor.is_floating_point()} == {torch.bfloat16}


def test_pruning_takes_the_smallest_weights_of_each_layer(base: str, tmp_path: Path) -> None:
    encoder = made(base, tmp_path / "pruned", "pruned", share=0.25)
    made(base, tmp_path / "all", "pruned", share=1e-9)  # none
    state, whole = (load_file(tmp_path / name / "model.safetensors") for name in ("pruned", "all"))
    layers = [name for name, tensor in whole.items() if tensor.ndim == 4]
    assert len(layers) > 30
    for name in layers:
        zero = state[name] == 0
        assert zero.sum() == round(0.25 * whole[name].numel())
        assert whole[name][zero].abs().max() <= whole[name][~zero].abs().min()
        assert torch.equal(state[name][~zero], whole[name][~zero])
    assert encoder.encode([Image.new("RGB", (50, 40), "red")]).shape == (1, encoder.dim)


def test_the_folder_is_enough_and_damage_is_one_line(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = tmp_path / "weights.pth"
    torch.save(models.get_model("shufflenet_v2_x0_5", weights=None).state_dict(), file)
    base = f"torchvision:shufflenet_v2_x0_5:{file}"
    encoders = [made(base, tmp_path / how, how) for how in ("onnx_fp32", "bf16")]
    file.unlink()
    for how, before in zip(("onnx_fp32", "bf16"), encoders):
        picture = [Image.new("RGB", (64, 64), "blue")]
        assert np.array_equal(open_encoder("image", str(tmp_path / how)).encode(picture), before.encode(picture))
    weights = tmp_path / "bf16" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="model.safetensors: damaged or missing"):
        open_encoder("image", str(tmp_path / "bf16"))


def test_what_cannot_be_made_smaller_is_said(tmp_path: Path) -> None:
    for name in ("clip", "opencv"):
        with pytest.raises(UserError, match=f"encoder.base: found {name}; allowed with encoder.modality=image"):
            fit_compact(corpus([]), CompactConfig(modality="image", base=name), tmp_path)
    (broken := tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match="no picture can be read"):
        made("efficientnet_lite0", tmp_path / "none", "onnx_int8", [None, broken])
    with pytest.raises(UserError, match="encoder.modality: found 'audio'; allowed: text, image"):
        CompactConfig(modality="audio")


def test_the_command_makes_one_that_encodes(run_command, one_document, tiny_data: Path, tmp_path: Path) -> None:
    data, out = shutil.copytree(tiny_data, tmp_path / "data"), tmp_path / "small"
    (data / "dataset.toml").write_text((data / "dataset.toml").read_text().partition("[features.image]")[0])
    how = ("--set", "encoder.modality=image", "encoder.how=onnx_fp32")
    status, _, err = run_command("fit-encoder", data, "--kind", "compact", "--out", out, *how)
    assert status == 0, err
    rows = one_document("encode", data, "--set", f"encoders.image={out}")["features"]
    (found,) = (row for row in rows if row["modality"] == "image")
    assert (found["encoded"], found["dimensions"]) == (31, 1280)
