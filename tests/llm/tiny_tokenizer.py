"""A tokenizer whose words are bytes, and whatever pairs are merged, with a few control tokens."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import LlamaTokenizer, PreTrainedTokenizerFast

SPECIAL = ["<s>", "</s>", "<|im_start|>", "<|im_end|>"]


def save_tokenizer(folder: Path, merges: Sequence[tuple[str, str]] = ()) -> int:
    words = SPECIAL + sorted(pre_tokenizers.ByteLevel.alphabet()) + ["".join(pair) for pair in merges]
    tokenizer = Tokenizer(BPE(vocab={word: place for place, word in enumerate(words)}, merges=list(merges)))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", additional_special_tokens=SPECIAL[2:]
    )
    fast.save_pretrained(folder)
    return len(fast)


def save_sentencepiece(folder: Path, merges: Sequence[tuple[str, str]]) -> int:
    """As llama 2 and mistral have it: a space is a letter, which every text begins with; what is no letter is bytes."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁"]
    words += [chr(letter) for letter in range(33, 127)] + ["".join(pair) for pair in merges]
    vocabulary = {word: place for place, word in enumerate(words)}
    LlamaTokenizer(vocab=vocabulary, merges=list(merges)).save_pretrained(folder)
    return len(words)
