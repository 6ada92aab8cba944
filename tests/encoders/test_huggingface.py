"""Small models of Hugging Face with random weights, saved as a hub would give them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoImageProcessor,
    BertConfig,
    BertForMaskedLM,
    BertModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessor,
    ViTModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
)

from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.huggingface import revision
from gnnrec.errors import UserError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "blue", "car", "house", "and"]
TEXTS = ["a red car", "house", "a blue house and a red car"]
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def save_tokenizer(folder: Path, **other: str | None) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"} | other
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=32, **special)
    fast.save_pretrained(folder)
    return fast


def save_bert(folder: Path) -> BertModel:
    torch.manual_seed(0)
    model = BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **SMALL)).eval()
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return model


@torch.inference_mode()
def tokens_of(model: BertModel, text: str) -> torch.Tensor:
    """One text alone, so that there is no padding. [t, d]"""
    ids = [2, *(WORDS.index(word) for word in text.split()), 3]
    return model(input_ids=torch.tensor([ids])).last_hidden_state[0]


def test_text_is_the_mean_over_tokens_without_padding(tmp_path: Path) -> None:
    model = save_bert(tmp_path)
    encoder = open_encoder("text", str(tmp_path))
    assert encoder.dim == 16
    assert encoder.name == f"{tmp_path}@{revision(tmp_path)}"
    expected = np.stack([tokens_of(model, text).mean(dim=0).numpy() for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


def direct(states: torch.Tensor, pooling: str) -> np.ndarray:
    """Of one text without padding. [t, d] -> [d]"""
    return {"mean": states.mean(0), "cls": states[0], "max": states.amax(0), "lasttoken": states[-1]}[pooling].numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "lasttoken"])
def test_text_is_pooled_as_asked(pooling: str, tmp_path: Path) -> None:
    model = save_bert(tmp_path)
    encoder = open_encoder("text", str(tmp_path), pooling=pooling)
    assert encoder.name == f"{tmp_path}@{revision(tmp_path)}:{pooling}"  # another name, so other cached features
    expected = np.stack([direct(tokens_of(model, text), pooling) for text in TEXTS])
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["auto", "cls", "lasttoken"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_of_a_language_model_the_last_layer_is_pooled(side: str, pooling: str, tmp_path: Path) -> None:
    """GPT-2 counts places from the left: padding there would shift them."""
    torch.manual_seed(0)
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "vocab_size": len(WORDS)}
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=2, eos_token_id=3)).eval()
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path, padding_side=side, eos_token="[SEP]", pad_token=None)
    values = open_encoder("text", str(tmp_path), pooling=pooling).encode(TEXTS)
    for text, value in zip(TEXTS, values):
        ids = torch.tensor([[2, *(WORDS.index(word) for word in text.split()), 3]])
        with torch.inference_mode():
            states = model(input_ids=ids, output_hidden_states=True).hidden_states[-1][0]
        np.testing.assert_allclose(value, direct(states, "mean" if pooling == "auto" else pooling), atol=1e-5)


def test_an_empty_text_alone_is_zero(tmp_path: Path) -> None:
    """Tokenizers of language models may add nothing to a text, which leaves no token at all."""
    save_bert(tmp_path)
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(document | {"post_processor": None}))
    encoder = open_encoder("text", str(tmp_path))
    assert not encoder.encode([""]).any() and encoder.encode(["", "a"]).any(axis=1).tolist() == [False, True]


def test_a_pooler_without_weights_is_not_used(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier = ViTForImageClassification(ViTConfig(image_size=32, patch_size=8, **SMALL)).eval()
    classifier.save_pretrained(tmp_path)
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8))
    values = open_encoder("image", str(tmp_path)).encode([picture, picture])
    pixels = torch.from_numpy((np.asarray(picture, dtype=np.float32) / 255 - 0.5) / 0.5).permute(2, 0, 1)[None]
    with torch.inference_mode():
        expected = classifier.vit(pixel_values=pixels).last_hidden_state.mean(dim=1)[0]
    np.testing.assert_allclose(values, np.stack([expected, expected]), atol=1e-4)


def test_a_pooler_with_weights_is_used(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ViTModel(ViTConfig(image_size=32, patch_size=8, **SMALL)).eval()
    model.save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    picture = Image.new("RGB", (50, 40), "red")
    pixels = AutoImageProcessor.from_pretrained(tmp_path)(images=[picture], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        expected = model(pixel_values=pixels).pooler_output
    np.testing.assert_allclose(open_encoder("image", str(tmp_path)).encode([picture]), expected, atol=1e-5)


def test_clip_puts_pictures_and_texts_in_one_space(tmp_path: Path) -> None:
    torch.manual_seed(0)
    text = {**SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 32, "eos_token_id": 3}
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=12)).eval()
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    picture = Image.new("RGB", (40, 40), "blue")
    with torch.inference_mode():
        pixels = processor(images=[picture], return_tensors="pt")["pixel_values"]
        image_features = model.get_image_features(pixel_values=pixels).pooler_output
        ids = torch.tensor([[2, 4, 5, 7, 3]])
        text_features = model.get_text_features(input_ids=ids, attention_mask=torch.ones_like(ids)).pooler_output
    np.testing.assert_allclose(open_encoder("image", str(tmp_path)).encode([picture]), image_features, atol=1e-5)
    np.testing.assert_allclose(open_encoder("text", str(tmp_path)).encode(["a red car"]), text_features, atol=1e-5)
    with pytest.raises(UserError, match=r"encoders.pooling: found 'max', but .* pools by itself; allowed: auto"):
        open_encoder("text", str(tmp_path), pooling="max")


def test_sound_is_the_mean_over_time_and_windows(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        conv_dim=(8, 8), conv_kernel=(10, 8), conv_stride=(80, 40), num_feat_extract_layers=2, **SMALL
    )
    model = Wav2Vec2Model(config).eval()
    model.save_pretrained(tmp_path)
    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(tmp_path)
    encoder = open_encoder("audio", str(tmp_path))
    assert encoder.sampling_rate == 16_000
    sound = np.random.default_rng(0).normal(0, 0.1, 15 * 16_000).astype(np.float32)
    with torch.inference_mode():
        windows = [torch.from_numpy(part)[None] for part in (sound[:160_000], sound[160_000:])]
        expected = torch.cat([model(input_values=part).last_hidden_state.mean(dim=1) for part in windows]).mean(dim=0)
    np.testing.assert_allclose(encoder.encode([sound])[0], expected, atol=1e-4)


def test_the_revision_follows_the_weights(tmp_path: Path) -> None:
    model = save_bert(tmp_path)
    before = revision(tmp_path)
    assert revision(tmp_path) == before
    with torch.no_grad():
        model.embeddings.word_embeddings.weight[0, 0] += 1
    model.save_pretrained(tmp_path)
    assert revision(tmp_path) != before


def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="AutoModel cannot be loaded"):
        open_encoder("text", str(tmp_path))
    model = save_bert(tmp_path)
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()  # pickled weights are not taken instead
    with pytest.raises(UserError, match="AutoModel cannot be loaded"):
        open_encoder("text", str(tmp_path))


def test_weights_that_lack_a_layer(tmp_path: Path) -> None:
    small = BertConfig(vocab_size=len(WORDS), max_position_embeddings=32, **SMALL)
    BertForMaskedLM(small).save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    open_encoder("text", str(tmp_path))  # a head that is not needed does not matter
    settings = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**settings, "num_hidden_layers": 3}))
    with pytest.raises(UserError, match="the weights lack 16 tensors"):
        open_encoder("text", str(tmp_path))
