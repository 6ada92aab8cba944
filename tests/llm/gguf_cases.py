"""Tiny models that a GGUF file can hold, by name: the kind and settings of its own."""

GEMMA = {"query_pre_attn_scalar": 16, "head_dim": 16, "layer_types": ["sliding_attention", "full_attention"]}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LONG = {"rope_type": "longrope", "rope_theta": 100.0, "short_factor": [1.0, 1.5, 2.0, 3.0]}
FAR = {"original_max_position_embeddings": 256}
LINEAR = {"rope_type": "linear", "rope_theta": 100.0, "factor": 4.0}
CASES: dict[str, tuple[str, dict[str, object]]] = {
    "llama": ("llama", {}),
    "llama tied": ("llama", {"tie_word_embeddings": True, "head_dim": 16}),
    "llama linear": ("llama", {"rope_parameters": LINEAR}),
    "llama 3": ("llama", {"rope_parameters": LLAMA3 | FAR, "max_position_embeddings": 2048}),
    "mistral": ("mistral", {"sliding_window": None, "head_dim": 16}),
    "qwen2": ("qwen2", {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "gemma3": ("gemma3_text", GEMMA),
    "gemma3 linear": ("gemma3_text", GEMMA | {"rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    "phi3": ("phi3", {}),
    "phi3 long": (
        "phi3",
        {"rope_parameters": LONG | {"long_factor": [2.0, 3.0, 5.0, 9.0]}, "max_position_embeddings": 2048, **FAR},
    ),
}
