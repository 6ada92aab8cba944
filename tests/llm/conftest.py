"""A tiny language model with random weights and a vocabulary of bytes: real code paths, no download."""

from pathlib import Path

import pytest
import torch
from tiny_tokenizer import save_tokenizer
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from gnnrec.language.local import LocalLM
from gnnrec.language.server import open_model


def save_tiny(kind: str, folder: Path) -> Path:
    """A model of one of the kinds that are read; in gemma3 every other layer sees eight tokens back only."""
    sizes = {
        "vocab_size": save_tokenizer(folder),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "bos_token_id": 0,
        "initializer_range": 0.3,
    }
    torch.manual_seed(0)
    sliding = {"sliding_window": 8, "layer_types": ["sliding_attention", "full_attention"]}
    model = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**sizes)),
        "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**sizes, **sliding)),
        "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**sizes)),
        "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**sizes)),
    }[kind]()
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=["llama", "gemma3", "qwen2", "qwen3"])
def tiny_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of every kind."""
    return save_tiny(request.param, tmp_path_factory.mktemp("llm") / request.param)


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one kind, where the kind does not matter."""
    return save_tiny("llama", tmp_path_factory.mktemp("llm") / "llama")


@pytest.fixture(scope="session")
def smollm2() -> LocalLM:
    """The shipped model, which scripts/test brings (gnnrec models get smollm2)."""
    return open_model("smollm2")


@pytest.fixture(scope="session")
def tiny_lm(tiny_folder: Path) -> LocalLM:
    return LocalLM(tiny_folder, f"{tiny_folder.name}@1", torch.device("cpu"))
