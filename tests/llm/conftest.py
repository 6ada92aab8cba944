"""A tiny language model with random weights and a vocabulary of bytes: real code paths, no download."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tiny_tokenizer import save_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

from gnnrec.language.local import LocalLM
from gnnrec.language.server import open_model

# Layers that look back a little only: one of two, or all, and then so far that a text's beginning still matters.
HALF, ALL = {"sliding_window": 8}, {"sliding_window": 40}
KINDS: dict[str, dict[str, object]] = {
    "llama": {},
    "gemma3_text": {"layer_types": ["sliding_attention", "full_attention"], **HALF},
    "qwen2": {},
    "qwen3": {},
    "mistral": ALL,
    "phi3": ALL,
    "olmo2": {},
    "smollm3": {"no_rope_layers": [1, 0], "use_sliding_window": True, **HALF},
}


def save_tiny(kind: str, folder: Path, merges: Sequence[tuple[str, str]] = (), **settings: object) -> Path:
    """A model of one of the kinds that are read."""
    sizes = {
        "vocab_size": save_tokenizer(folder, merges),
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "bos_token_id": 0,
        "pad_token_id": None,
        "initializer_range": 0.3,
    }
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **(sizes | KINDS[kind] | settings))
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=KINDS)
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
