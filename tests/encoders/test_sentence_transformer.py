"""Folders as sentence-transformers writes them: pooling, linear layers behind it, normalisation, prompts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from test_huggingface import TEXTS, WORDS, save_bert, tokens_of
from torch.nn import functional as F

from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.huggingface import copy_text_files, revision
from gnnrec.errors import UserError

PLACES = {"Transformer": "", "Pooling": "1_Pooling", "Dense": "2_Dense", "Normalize": "3_Normalize"}


def save_modules(folder: Path, *kinds: str, pooling: dict[str, object] | None = None) -> None:
    """`Dense` may be followed by what its folder is called: Dense:4_Dense."""
    modules = []
    for kind in kinds:
        name, _, place = kind.partition(":")
        modules.append({"path": place or PLACES.get(name, name), "type": f"sentence_transformers.models.{name}"})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling or {"pooling_mode": "mean"}))


def save_dense(
    folder: Path, sizes: tuple[int, int] = (16, 5), activation: str = "activation.Tanh", **more: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and biases, as they were written."""
    torch.manual_seed(sizes[1])
    weight, bias = torch.randn(sizes[1], sizes[0]), torch.randn(sizes[1])
    folder.mkdir(exist_ok=True)
    settings = {"in_features": sizes[0], "out_features": sizes[1], "bias": True}
    settings |= {"activation_function": f"torch.nn.modules.{activation}"} | more
    (folder / "config.json").write_text(json.dumps(settings))
    tensors = {"linear.weight": weight} | ({"linear.bias": bias} if settings["bias"] else {})
    save_file(tensors, folder / "model.safetensors")
    return weight, bias


@pytest.mark.parametrize(
    "settings", [{"pooling_mode": "cls"}, {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}]
)
def test_the_pooling_is_respected(tmp_path: Path, settings: dict[str, object]) -> None:
    model = save_bert(tmp_path)
    save_modules(tmp_path, "Transformer", "Pooling", "Normalize", pooling=settings)
    expected = np.stack([F.normalize(tokens_of(model, text)[0], dim=0).numpy() for text in TEXTS])
    np.testing.assert_allclose(open_encoder("text", str(tmp_path)).encode(TEXTS), expected, atol=1e-5)


def test_linear_layers_behind_the_pooling(tmp_path: Path) -> None:
    """As LaBSE has one, and EmbeddingGemma two without biases."""
    model = save_bert(tmp_path)
    save_modules(tmp_path, "Transformer", "Pooling", "Dense", "Dense:4_Dense", "Normalize")
    weight, bias = save_dense(tmp_path / "2_Dense")
    second, _ = save_dense(tmp_path / "4_Dense", (5, 7), "linear.Identity", bias=False)
    encoder = open_encoder("text", str(tmp_path))
    assert encoder.dim == 7
    means = torch.stack([tokens_of(model, text).mean(dim=0) for text in TEXTS])
    expected = F.normalize(torch.tanh(means @ weight.T + bias) @ second.T, dim=1)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected.numpy(), atol=1e-5)

    (tmp_path / "copy").mkdir()
    copy_text_files(tmp_path, tmp_path / "copy")  # what an encoder made of this one needs
    model.save_pretrained(tmp_path / "copy")
    np.testing.assert_array_equal(open_encoder("text", str(tmp_path / "copy")).encode(TEXTS), encoder.encode(TEXTS))


def test_texts_begin_with_the_prompt_for_documents(tmp_path: Path) -> None:
    model = save_bert(tmp_path)
    assert "blue" in WORDS

    def encoded(prompts: dict[str, str], default: str | None) -> tuple[str, np.ndarray]:
        settings = {"prompts": prompts, "default_prompt_name": default}
        (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(settings))
        encoder = open_encoder("text", str(tmp_path))
        return encoder.name.removeprefix(f"{tmp_path}@{revision(tmp_path)}"), encoder.encode(["car"])[0]

    def expected(text: str) -> np.ndarray:
        return tokens_of(model, text).mean(dim=0).numpy()

    found = [
        encoded({"query": "red ", "document": "blue "}, "query"),
        encoded({"query": "red ", "passage": "blue "}, None),
        encoded({"query": "red ", "document": "", "corpus": "a house "}, None),
        encoded({"query": "red ", "document": ""}, None),
        encoded({"query": "red "}, "query"),
    ]
    assert [name for name, _ in found] == [":document", ":passage", ":corpus", "", ""]
    for (_, values), text in zip(found, ("blue car", "blue car", "a house car", "car", "car")):
        np.testing.assert_allclose(values, expected(text), atol=1e-5)


@pytest.mark.parametrize("kind", ["compact", "finetuned"])
def test_what_was_fitted_keeps_the_prompt_that_it_was_fitted_with(kind: str, tmp_path: Path) -> None:
    """Whatever its folder says of prompts."""
    for prefix in ("", "blue "):
        folder = tmp_path / f"with {prefix}"
        model = save_bert(folder)
        (folder / "config_sentence_transformers.json").write_text('{"prompts": {"document": "a red "}}')
        settings = {"how": "bf16" if kind == "compact" else "full", "pooling": "auto"}
        facts = {"kind": kind, "modality": "text", "base": "x", "prefix": prefix, "settings": settings}
        (folder / "encoder.json").write_text(json.dumps(facts))
        found = open_encoder("text", str(folder)).encode(["car"])[0]
        expected = tokens_of(model, f"{prefix}car").mean(dim=0).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5 if kind == "finetuned" else 0.03)


def test_pooling_asked_for_comes_before_the_linear_layer(tmp_path: Path) -> None:
    model = save_bert(tmp_path)
    save_modules(tmp_path, "Transformer", "Pooling", "Dense")
    weight, bias = save_dense(tmp_path / "2_Dense", activation="activation.GELU")
    found = open_encoder("text", str(tmp_path), pooling="cls").encode(TEXTS)
    expected = np.stack([F.gelu(tokens_of(model, text)[0] @ weight.T + bias).numpy() for text in TEXTS])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def other_kind(folder: Path) -> None:
    save_modules(folder, "Transformer", "Pooling", "WeightedLayerPooling")


def before_pooling(folder: Path) -> None:
    save_modules(folder, "Transformer", "Dense", "Pooling")


def elsewhere(folder: Path) -> None:
    save_modules(folder, "Transformer", "Pooling", "Dense:../2_Dense")


def above(folder: Path) -> None:
    (folder.parent / "config.json").write_text((folder / "2_Dense/config.json").read_text())
    save_modules(folder, "Transformer", "Pooling", "Dense:..")


def residual(folder: Path) -> None:
    save_dense(folder / "2_Dense", use_residual=True)


def pickled(folder: Path) -> None:
    (folder / "2_Dense/model.safetensors").rename(folder / "2_Dense/pytorch_model.bin")


def cut(folder: Path) -> None:
    path = folder / "2_Dense/model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def too_narrow(folder: Path) -> None:
    save_dense(folder / "2_Dense", (15, 5))


def other_activation(folder: Path) -> None:
    save_dense(folder / "2_Dense", activation="activation.os.system")


def of_tokens(folder: Path) -> None:
    save_dense(folder / "2_Dense", module_input_name="token_embeddings")


def no_bias(folder: Path) -> None:
    save_dense(folder / "2_Dense", bias=False)
    path = folder / "2_Dense/config.json"
    path.write_text(path.read_text().replace("false", "true"))


def prompts(folder: Path) -> None:
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {"document": 3}}')


def prompt_not_pooled(folder: Path) -> None:
    (folder / "config_sentence_transformers.json").write_text('{"prompts": {"document": "blue "}}')
    save_modules(folder, "Transformer", "Pooling", pooling={"pooling_mode": "mean", "include_prompt": False})


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (other_kind, "asks for WeightedLayerPooling: allowed are Transformer, Pooling, Dense, Normalize"),
        (before_pooling, "asks for Dense before Pooling"),
        (elsewhere, "is no folder in this one"),
        (above, "'..' is no folder in this one"),
        (residual, "found 'use_residual'; allowed: in_features, out_features, bias"),
        (pickled, "2_Dense/model.safetensors is missing: weights are read as safetensors only"),
        (cut, "2_Dense/model.safetensors: damaged or missing"),
        (too_narrow, r"found {.*\(5, 15\).*say {.*\(5, 16\)"),
        (
            other_activation,
            "activation_function: found 'torch.nn.modules.activation.os.system'; allowed: torch.nn.modules",
        ),
        (of_tokens, "module_input_name: found 'token_embeddings'; allowed: sentence_embedding"),
        (no_bias, "say {.*linear.bias"),
        (prompts, "prompts: found .*; expected texts by name"),
        (prompt_not_pooled, "include_prompt: found false; allowed: true, with prompt 'document'"),
    ],
)
def test_what_cannot_be_read_is_said(broken: Any, said: str, tmp_path: Path) -> None:
    save_bert(tmp_path)
    save_modules(tmp_path, "Transformer", "Pooling", "Dense")
    save_dense(tmp_path / "2_Dense")
    assert open_encoder("text", str(tmp_path)).dim == 5
    broken(tmp_path)
    with pytest.raises(UserError, match=said):
        open_encoder("text", str(tmp_path))
