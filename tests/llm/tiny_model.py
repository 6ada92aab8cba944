"""A tiny language model with random weights, of each kind that is read."""

from collections.abc import Callable
from pathlib import Path

import torch
from tiny_tokenizer import save_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM

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


def save_tiny(kind: str, folder: Path, save_words: Callable[[Path], int] = save_tokenizer, **settings: object) -> Path:
    """A model of one of the kinds that are read."""
    sizes = {
        "vocab_size": save_words(folder),
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
