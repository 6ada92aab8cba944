"""A language model that says one thing, whatever it is asked: real weights and tokenizer, an answer known before."""

from pathlib import Path

import torch
from tiny_tokenizer import save_tokenizer
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def save_planted(folder: Path, says: str) -> Path:
    """`says` is one token of its vocabulary; it follows every other token, and the end follows it.

    Attention and feed-forward parts are zero, so that what comes next depends on the token before alone: a state is
    the token's own axis, and the head holds a one where the next token is to be.
    """
    save_tokenizer(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([says])
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    size, end = len(tokenizer), tokenizer.eos_token_id
    answer = tokenizer.convert_tokens_to_ids(says)
    sizes = {"hidden_size": size, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=size, head_dim=8, bos_token_id=0, eos_token_id=end, **sizes))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.fill_(1.0 if "norm" in name else 0.0)
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.lm_head.weight[answer] = 1.0
        model.lm_head.weight[:, [answer, end]] = 0.0
        model.lm_head.weight[end, [answer, end]] = 1.0
    model.save_pretrained(folder)
    return folder
