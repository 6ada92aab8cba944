"""Real weights: `gnnrec models get efficientnet_lite0` comes before these tests."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torchvision.models import resnet18
from torchvision.models._meta import _IMAGENET_CATEGORIES
from torchvision.models.feature_extraction import create_feature_extractor

from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.efficientnet import EfficientNetEncoder, centre_square
from gnnrec.errors import UserError


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]


def test_photographs_are_recognised(photos: list[Image.Image]) -> None:
    encoder = open_encoder("image", "efficientnet_lite0")
    assert isinstance(encoder, EfficientNetEncoder)
    probabilities = encoder.classify(photos)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-4)
    best = [_IMAGENET_CATEGORIES[row.argmax()] for row in probabilities]
    assert best == ["palace", "daisy"]  # a Chinese palace hall, and a dahlia, which ImageNet has not


def test_a_row_does_not_depend_on_its_batch(photos: list[Image.Image]) -> None:
    encoder = open_encoder("image", "efficientnet_lite0")
    odd = [Image.new("RGB", (1, 1)), Image.new("RGB", (3_000, 2), "red"), Image.new("RGB", (7, 500), "white")]
    together = encoder.encode([*photos, *odd])
    assert together.shape == (5, 1280)
    assert np.isfinite(together).all()
    for picture, row in zip([*photos, *odd], together):
        np.testing.assert_allclose(encoder.encode([picture])[0], row, atol=1e-4)


def test_the_middle_is_seen() -> None:
    wide = Image.new("RGB", (300, 100), "white")
    wide.paste("red", (100, 0, 200, 100))
    seen = np.asarray(centre_square(wide, 50))
    assert seen.shape == (50, 50, 3)
    assert np.all(seen[:, 2:-2] == (255, 0, 0))  # at the very edge the filter takes in a neighbour


def test_torchvision_from_a_file(tmp_path: Path, photos: list[Image.Image]) -> None:
    torch.manual_seed(0)
    network = resnet18().eval()
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    encoder = open_encoder("image", f"torchvision:resnet18:{tmp_path / 'weights.pth'}")
    assert encoder.dim == 512
    assert encoder.name.startswith("torchvision:resnet18@")

    # Resized to 256 at the shorter side, the middle 224, and ImageNet's mean and deviation, as torchvision says.
    pixels = []
    for photo in photos:
        width, height = photo.size
        photo = photo.resize((256 * width // height, 256), Image.Resampling.BILINEAR)
        left, top = round((photo.width - 224) / 2), 16
        values = np.asarray(photo.crop((left, top, left + 224, top + 224)), dtype=np.float32) / 255
        pixels.append(((values - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1))
    with torch.inference_mode():
        before_last = create_feature_extractor(network, ["flatten"])(torch.tensor(np.stack(pixels)).float())["flatten"]
    np.testing.assert_allclose(encoder.encode(photos), before_last.numpy(), rtol=1e-3, atol=1e-3)


def test_torchvision_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match="no classifier 'resnet1'.*resnet50"):
        open_encoder("image", "torchvision:resnet1")
    with pytest.raises(UserError, match="gnnrec models get torchvision:resnet18"):
        open_encoder("image", "torchvision:resnet18")
    (tmp_path / "broken.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"broken\.pth: no weights of torchvision's resnet18"):
        open_encoder("image", f"torchvision:resnet18:{tmp_path / 'broken.pth'}")
