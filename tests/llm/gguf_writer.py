"""Writes a folder of transformers as a GGUF file, as llama.cpp's convert_hf_to_gguf.py does: its names and keys, the
rows of llama's queries and keys in its order, gemma's norms with the one that transformers adds."""

import json
import re
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ARCHITECTURES = {"mistral": "llama", "gemma3_text": "gemma3"}
NAMES = {
    "embed_tokens": "token_embd",
    "lm_head": "output",
    "norm": "output_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.qkv_proj": "attn_qkv",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.gate_up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
BYTE = re.compile("<0x..>")


def save_gguf(folder: Path, path: Path, how: str = "F32") -> Path:
    """`how`: the type of all matrices (F32, F16, BF16, Q8_0 …); vectors stay F32."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = model.config
    writer = gguf.GGUFWriter(path, ARCHITECTURES.get(config.model_type, config.model_type))
    _settings(writer, config)
    _words(writer, folder, config.vocab_size)
    kind = gguf.GGMLQuantizationType[how]
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = _stored(name, weight, config)
        if values.ndim == 1:
            writer.add_tensor(_name(name, config.model_type), values)
        else:
            writer.add_tensor(_name(name, config.model_type), gguf.quantize(values, kind), raw_dtype=kind)
    for name, factors in _factors(config).items():
        writer.add_tensor(name, np.array(factors, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _settings(writer: gguf.GGUFWriter, config) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = config.rope_parameters.get("full_attention", config.rope_parameters)
    writer.add_name("tiny")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(rope["rope_theta"])
    if config.model_type in ("llama", "mistral", "phi3"):
        writer.add_rope_dimension_count(int(head * rope.get("partial_rotary_factor", 1)))
        writer.add_vocab_size(config.vocab_size)
    if getattr(config, "head_dim", None) is not None:
        writer.add_key_length(head)
        writer.add_value_length(head)
    if config.model_type in ("gemma3_text", "phi3") and config.sliding_window:
        writer.add_sliding_window(config.sliding_window)
    if config.model_type == "gemma3_text":
        writer.add_sliding_window_pattern(config.layer_types.index("full_attention") + 1)
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope["rope_type"] == "longrope":
        original = rope["original_max_position_embeddings"]
        scale = config.max_position_embeddings / original
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors((1 + np.log(scale) / np.log(original)) ** 0.5)


def _words(writer: gguf.GGUFWriter, folder: Path, size: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    words = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)[:size]
    if BYTE.fullmatch(words[3]):
        _pieces(writer, words)
        return
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(words)
    writer.add_token_types([control if word in tokenizer.all_special_tokens else normal for word in words])
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _pieces(writer: gguf.GGUFWriter, words: list[str]) -> None:
    """A vocabulary of sentencepiece has scores instead of merges: the best pair is joined first."""
    kinds = {"<unk>": gguf.TokenType.UNKNOWN, "<s>": gguf.TokenType.CONTROL, "</s>": gguf.TokenType.CONTROL}
    kinds |= {word: gguf.TokenType.BYTE for word in words if BYTE.fullmatch(word)}
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_scores([-float(place) for place in range(len(words))])
    writer.add_token_types([kinds.get(word, gguf.TokenType.NORMAL) for word in words])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def _name(name: str, kind: str) -> str:
    own, _, what = name.removeprefix("model.").rpartition(".")
    layer = ""
    if own.startswith("layers."):
        _, number, own = own.split(".", 2)
        layer = f"blk.{number}."
    if kind == "gemma3_text" and own == "post_attention_layernorm":  # it stands elsewhere there
        return f"{layer}post_attention_norm.{what}"
    return f"{layer}{NAMES[own]}.{what}"


def _stored(name: str, weight: torch.Tensor, config) -> np.ndarray:
    values = weight.float().numpy()
    if config.model_type in ("llama", "mistral"):
        for part, heads in (("q_proj", config.num_attention_heads), ("k_proj", config.num_key_value_heads)):
            if part in name:  # LlamaModel.permute of convert_hf_to_gguf.py
                halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
                values = halves.swapaxes(1, 2).reshape(values.shape)
    if config.model_type == "gemma3_text" and name.endswith("norm.weight"):
        values = values + 1
    return np.ascontiguousarray(values)


def _factors(config) -> dict[str, list[float]]:
    """What the frequencies of places are divided by: llama 3's, as convert_hf_to_gguf.py counts them, and phi3's."""
    rope = config.rope_parameters
    if rope.get("rope_type") == "longrope":
        return {f"rope_factors_{which}.weight": rope[f"{which}_factor"] for which in ("short", "long")}
    if rope.get("rope_type") != "llama3":
        return {}
    low, high, original = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    found = []
    for power in np.arange(0, config.head_dim, 2) / config.head_dim:
        wave = 2 * np.pi * rope["rope_theta"] ** power
        smooth = (original / wave - low) / (high - low)
        found.append(1 / ((1 - smooth) / rope["factor"] + smooth))
        if wave < original / high:
            found[-1] = 1.0
        elif wave > original / low:
            found[-1] = rope["factor"]
    return {"rope_freqs.weight": found}
