"""One small model with random weights of each further kind that users bring: what it makes is what the kind defines."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_huggingface import SMALL, WORDS, save_tokenizer
from torch import nn
from torchvision import models as vision
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    BitImageProcessor,
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    Dinov2Config,
    Dinov2Model,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from gnnrec.encoders.catalogue import open_encoder

PICTURES = [Image.new("RGB", (50, 40), "red"), Image.linear_gradient("L").convert("RGB")]
SOUND = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)


def drawn(name: str) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """With weights of few random numbers, each of which stands in many places: a file of a megabyte, not of 500."""
    with torch.device("meta"):
        network: nn.Module = vision.get_model(name, weights=None).eval()
    random, state = torch.Generator().manual_seed(0), {}
    for key, value in network.state_dict().items():
        few = torch.rand(sum(value.shape) + 1, generator=random) * 0.1 - (0.0 if "running_var" in key else 0.05)
        state[key] = few.as_strided(value.shape, [1] * value.ndim).to(value.dtype)
    network.load_state_dict(state, assign=True)
    return network, state


@pytest.mark.parametrize("name", ["vgg11", "efficientnet_b0", "convnext_tiny", "vit_b_32"])
def test_a_classifier_of_torchvision_gives_what_its_last_layer_sees(name: str, tmp_path: Path) -> None:
    network, state = drawn(name)
    torch.save(state, tmp_path / "weights.pth")
    encoder = open_encoder("image", f"torchvision:{name}:{tmp_path / 'weights.pth'}")
    last, seen = [module for module in network.modules() if isinstance(module, nn.Linear)][-1], []
    last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    transform = vision.get_model_weights(name).DEFAULT.transforms()
    with torch.inference_mode():
        network(torch.stack([transform(picture) for picture in PICTURES]))
    assert encoder.dim == last.in_features and seen[0].std(dim=1).min() > 0
    off = np.linalg.norm(encoder.encode(PICTURES) - seen[0].numpy(), axis=1)
    assert (off < 1e-3 * seen[0].norm(dim=1).numpy()).all()  # sums in another order, by channels_last


@torch.inference_mode()
def test_dinov2(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Dinov2Model(Dinov2Config(image_size=32, patch_size=8, **SMALL)).eval()
    model.save_pretrained(tmp_path)
    processor = BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    expected = model(**processor(images=PICTURES, return_tensors="pt")).last_hidden_state[:, 0]  # its class token
    np.testing.assert_allclose(open_encoder("image", str(tmp_path)).encode(PICTURES), expected, atol=1e-5)


@torch.inference_mode()
def test_siglip_reads_texts_of_one_length_and_pictures_in_one_space(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 8, "projection_size": 16}
    config = SiglipConfig(text_config=text, vision_config={**SMALL, "image_size": 32, "patch_size": 8})
    model = SiglipModel(config).eval()
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    processor = SiglipImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    pixels = processor(images=PICTURES, return_tensors="pt")["pixel_values"]
    images = model.get_image_features(pixel_values=pixels).pooler_output
    np.testing.assert_allclose(open_encoder("image", str(tmp_path)).encode(PICTURES), images, atol=1e-5)
    ids = torch.tensor([[2, 4, 5, 7, 3, 0, 0, 0]])  # padded as it was trained; it pools the last place
    found = open_encoder("text", str(tmp_path)).encode(["a red car"])
    texts = model.get_text_features(input_ids=ids, attention_mask=(ids != 0).long()).pooler_output
    np.testing.assert_allclose(found, texts, atol=1e-5)


@torch.inference_mode()
def test_clap(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 40, "pad_token_id": 0}
    audio = {
        "spec_size": 256,
        "num_mel_bins": 64,
        "depths": [1, 1],
        "num_attention_heads": [2, 2],
        "hidden_size": 16,
        "patch_embeds_hidden_size": 8,
        "window_size": 4,
        "num_hidden_layers": 2,
        "patch_stride": [4, 4],
        "projection_dim": 12,
        "enable_fusion": False,
    }
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=12)).eval()
    model.save_pretrained(tmp_path)
    extractor = ClapFeatureExtractor(max_length_s=10, truncation="rand_trunc", padding="repeatpad")
    extractor.save_pretrained(tmp_path)
    encoder = open_encoder("audio", str(tmp_path))
    ready = extractor(SOUND, sampling_rate=48_000, return_tensors="pt")
    expected = model.get_audio_features(**ready).pooler_output
    assert encoder.sampling_rate == 48_000
    np.testing.assert_allclose(encoder.encode([SOUND]), expected, atol=1e-4)


@torch.inference_mode()
def test_ast(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ASTModel(ASTConfig(num_mel_bins=32, max_length=64, patch_size=8, **SMALL)).eval()
    model.save_pretrained(tmp_path)
    extractor = ASTFeatureExtractor(num_mel_bins=32, max_length=64)
    extractor.save_pretrained(tmp_path)
    encoder = open_encoder("audio", str(tmp_path))
    expected = model(**extractor(SOUND, sampling_rate=16_000, return_tensors="pt")).pooler_output
    np.testing.assert_allclose(encoder.encode([SOUND]), expected, atol=1e-4)
