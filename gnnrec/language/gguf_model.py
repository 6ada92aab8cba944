"""What a GGUF file of a language model is in transformers' terms: the settings of its kind, and its weights by name.

transformers reads such files too, but leaves out what bends the numbers (frequencies of places that are scaled, sizes
of heads, which layers look back a little only) and draws at random what a file lacks. Here a file is read as a whole:
a setting or tensor that is not known is refused. The other direction is llama.cpp's convert_hf_to_gguf.py.
"""

import math
import re
from typing import Any, NoReturn

from torch import Tensor

from gnnrec.errors import UserError
from gnnrec.language.gguf_file import GgufFile

KINDS = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3_text", "phi3": "phi3"}
SIZES = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
}
LAYER = re.compile(r"blk\.(\d+)\.(\w+)\.(weight|bias)")
OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OWN_PARTS = {
    "gemma3": {
        "post_attention_norm": "post_attention_layernorm",
        "ffn_norm": "pre_feedforward_layernorm",
        "post_ffw_norm": "post_feedforward_layernorm",
    },
    "phi3": {"ffn_up": "mlp.gate_up_proj"},
}
FACTORS = ("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")


class GgufModel:
    """`settings`: of the model's configuration, with its `model_type`. Raises UserError for one that is not read."""

    def __init__(self, file: GgufFile) -> None:
        self.file = file
        if (number := file.settings.get("split.count", 1)) != 1:
            self._refuse(f"one of {number} files; allowed: a model in one file")
        kind = file.settings.get("general.architecture")
        if not isinstance(kind, str) or kind not in KINDS:
            self._refuse(f"found architecture {kind!r}; allowed: {', '.join(KINDS)}")
        self._kind = kind
        begins = f"{self._kind}."
        self._left = {key[len(begins) :]: value for key, value in file.settings.items() if key.startswith(begins)}
        self.settings = self._read_settings()
        if strange := [key for key, value in self._left.items() if value]:
            self._refuse(f"found the setting {begins}{strange[0]}, which is not read; it may bend the model's numbers")

    def names(self) -> dict[str, str]:
        """transformers' names of the weights -> the file's. A tensor that is none keeps its own."""
        return {self._name(own): own for own in self.file.tensors if own not in FACTORS}

    def weight(self, own: str) -> Tensor:
        """By the file's name, as transformers has it. float32"""
        made = self.file.tensor(own)
        if self._kind == "gemma3" and own.endswith("norm.weight"):
            return made - 1
        heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}
        layer = LAYER.fullmatch(own)
        if self._kind != "llama" or layer is None or layer[2] not in heads:
            return made
        # Pairs of a head's rows that turn together stand side by side there, and half a head apart here.
        pairs = made.unflatten(0, (self.settings[heads[layer[2]]], -1, 2))
        return pairs.transpose(1, 2).flatten(0, 2)

    def _name(self, own: str) -> str:
        layer = LAYER.fullmatch(own)
        if layer is None:
            return OUTSIDE.get(own, own)
        number, name, what = layer.groups()
        parts = PARTS | OWN_PARTS.get(self._kind, {})
        return f"model.layers.{number}.{parts[name]}.{what}" if name in parts else own

    def _read_settings(self) -> dict[str, Any]:
        made: dict[str, Any] = {name: self._size(key) for key, name in SIZES.items()}
        width, heads = made["hidden_size"], made["num_attention_heads"]
        if heads > width:
            self._refuse(f"{self._kind}.attention.head_count: found {heads}; allowed: at most {width}")
        head = self._size("attention.key_length", width // heads)
        turned = self._size("rope.dimension_count", head)
        if self._size("attention.value_length", head) != head or (turned != head and self._kind != "phi3"):
            self._refuse("keys, values and places of a head differ in size, which is not read")
        words = self.file.settings.get("tokenizer.ggml.tokens")
        table = self.file.tensors.get("token_embd.weight")
        if not isinstance(words, list) or table is None or table.shape != (len(words), width):
            self._refuse(f"token_embd.weight has to have a row of {width} numbers for each of tokenizer.ggml.tokens")
        if self._size("vocab_size", len(words)) != len(words) or made["num_hidden_layers"] > len(self.file.tensors):
            self._refuse("it says that it has more words or layers than there are")
        made |= {
            "model_type": KINDS[self._kind],
            "num_key_value_heads": self._size("attention.head_count_kv", heads),
            "head_dim": head,
            "vocab_size": len(words),
            "rms_norm_eps": self._float("attention.layer_norm_rms_epsilon"),
            "tie_word_embeddings": "output.weight" not in self.file.tensors,
            "bos_token_id": self.file.settings.get("tokenizer.ggml.bos_token_id"),
            "eos_token_id": self.file.settings.get("tokenizer.ggml.eos_token_id"),
            "pad_token_id": None,
            "rope_parameters": self._places(made["max_position_embeddings"], turned),
        }
        if self._kind == "gemma3":
            made |= self._gemma3(made)
        if self._kind == "phi3":
            rope, original = made["rope_parameters"], "original_max_position_embeddings"
            rope["partial_rotary_factor"] = turned / head
            made[original] = rope.get(original, made["max_position_embeddings"])
            made["sliding_window"] = self._left.pop("attention.sliding_window", None) or None
        return made

    def _gemma3(self, made: dict[str, Any]) -> dict[str, Any]:
        """llama.cpp knows the 27B model by its 62 layers: its scores alone are not scaled by the size of a head."""
        layers, every = made["num_hidden_layers"], self._size("attention.sliding_window_pattern", 6)
        near = {"rope_type": "default", "rope_theta": self._float("rope.freq_base_swa", 10_000.0)}
        scale = made["hidden_size"] // made["num_attention_heads"] if layers == 62 else made["head_dim"]
        kinds = [f"{'sliding' if number % every else 'full'}_attention" for number in range(1, layers + 1)]
        return {
            "query_pre_attn_scalar": scale,
            "sliding_window": self._size("attention.sliding_window"),
            "layer_types": kinds,
            "rope_parameters": {"full_attention": made["rope_parameters"], "sliding_attention": near},
        }

    def _places(self, context: int, turned: int) -> dict[str, Any]:
        """How places turn queries and keys. A list of factors is read as that of LongRoPE, which divides frequencies by
        it; llama 3's are the same at any length."""
        base = self._float("rope.freq_base", 1e6 if self._kind == "gemma3" else 1e4)
        rope: dict[str, Any] = {"rope_type": "default", "rope_theta": base}
        scaling = self._left.pop("rope.scaling.type", "none")
        if scaling == "linear":
            rope |= {"rope_type": "linear", "factor": self._float("rope.scaling.factor")}
        elif scaling != "none":
            self._refuse(f"found {self._kind}.rope.scaling.type = {scaling!r}; allowed: none, linear")
        names = [name for name in FACTORS if name in self.file.tensors]
        original = self._size("rope.scaling.original_context_length", context)
        strength = self._float("rope.scaling.attn_factor", 1.0)
        if not names and strength == 1:
            return rope
        if scaling != "none" or tuple(names) not in (FACTORS[:1], FACTORS[1:]):
            self._refuse(f"places are scaled by {', '.join(names)} and settings that do not go together")
        if any(self.file.tensors[name].shape != (turned // 2,) for name in names):
            self._refuse(f"{names[0]}: expected one factor for each of {turned // 2} frequencies")
        factors = [self.file.tensor(name).tolist() for name in names]
        return rope | {
            "rope_type": "longrope",
            "short_factor": factors[0],
            "long_factor": factors[-1],
            "original_max_position_embeddings": original,
            "attention_factor": strength,
        }

    def _size(self, key: str, default: int | None = None) -> int:
        value = self._left.pop(key, default)
        if type(value) is not int or value < 1:
            self._refuse(f"{self._kind}.{key}: found {value!r}; allowed: a whole number of 1 or more")
        return value

    def _float(self, key: str, default: float | None = None) -> float:
        value = self._left.pop(key, default)
        if type(value) not in (int, float) or not math.isfinite(value) or value <= 0:
            self._refuse(f"{self._kind}.{key}: found {value!r}; allowed: a number above 0")
        return float(value)

    def _refuse(self, why: str) -> NoReturn:
        raise UserError(f"{self.file.path}: {why}")
