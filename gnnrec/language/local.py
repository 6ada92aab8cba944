"""A language model on this machine: texts to tokens, and how probable blocks of tokens are after a prefix.

Folders of safetensors are read by transformers, of single GGUF files the tokenizer too; no code of theirs runs, and no
network is used.

Letters: B prefixes, N blocks of each, t tokens of a row, d dimensions, V words of the vocabulary.
"""

import inspect
import math
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnnrec.encoders.packed import pack_linear
from gnnrec.errors import UserError, missing_extra
from gnnrec.language.gguf_file import GgufFile
from gnnrec.language.gguf_model import GgufModel
from gnnrec.untrusted import refusing

LOGITS_AT_A_TIME = 2**25  # 128 MB of float32
# Kinds of model whose places and masks are as `log_probs` takes them, and settings that would change its numbers.
READ = ("llama", "gemma3_text", "qwen2", "qwen3", "mistral", "phi3", "olmo2", "smollm3")
BENT = (
    *("final_logit_softcapping", "attn_logit_softcapping", "logit_scale", "logits_scaling"),
    *("position_embedding_type", "use_bidirectional_attention"),
)
ALL_NEAR = ("mistral", "phi3")  # where all layers look back `sliding_window` tokens only, if it is set
NO_MODEL = "no language model"
PREFIX = -1  # the block number of a prefix's tokens
PADDING = -2
HERE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}  # no network, no code of theirs
Soft = Callable[[Tensor], Tensor]  # numbers of soft tokens [n] -> their vectors in the model's input space [n, d]


class LocalLM:
    """`name` says which model and which revision it is, for caches and traces. Weights are read when first needed; any
    number of threads may ask. Unless `trainable`, they are packed: faster to read with, and nothing else."""

    def __init__(self, path: Path, name: str, device: torch.device, *, trainable: bool = False) -> None:
        self.name, self.device, self.trainable = name, device, trainable
        self.path = path
        self.tokenizer = self._read_tokenizer()
        self._weights: Any = None
        self._lock = threading.Lock()

    @property
    def model(self) -> Any:
        with self._lock:  # who comes second waits, instead of reading them again
            if self._weights is None:
                self._weights = self._read_weights()
            return self._weights

    def _read_tokenizer(self) -> Any:
        transformers = load_transformers()
        if self.path.suffix != ".gguf":
            with refusing(self.path, NO_MODEL):
                return transformers.AutoTokenizer.from_pretrained(self.path, **HERE)
        GgufModel(GgufFile(self.path))  # before transformers sees it, which believes what such a file says of itself
        with tempfile.TemporaryDirectory() as alone, refusing(self.path, NO_MODEL):
            # By itself: of a tokenizer's files that happen to lie beside it transformers would take the half.
            (Path(alone) / "model.gguf").symlink_to(self.path.resolve())
            # AutoTokenizer gives the same, after it has read all words one by one to guess the kind of the model.
            return transformers.PreTrainedTokenizerFast.from_pretrained(alone, gguf_file="model.gguf", **HERE)

    def _read_weights(self) -> Any:
        how: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "sdpa", "output_loading_info": True}
        known = load_transformers().AutoModelForCausalLM
        with refusing(self.path, NO_MODEL):
            if self.path.suffix == ".gguf":
                model, found = self._read_gguf(how)
            else:
                model, found = known.from_pretrained(self.path, use_safetensors=True, **HERE, **how)
        if found["missing_keys"]:  # transformers would draw them at random
            raise UserError(f"{self.path}: {NO_MODEL}: it has no {min(found['missing_keys'])}")
        config = model.config
        if config.model_type not in READ:
            raise UserError(f"{self.path}: found {config.model_type}; allowed: {', '.join(READ)}")
        if any(getattr(config, name, None) for name in BENT) or not getattr(config, "is_causal", True):
            raise UserError(f"{self.path}: {config.model_type} bends its logits, places or masks; not supported")
        model = model.to(self.device).eval()
        if not self.trainable:
            pack_linear(model)
        return model

    def _read_gguf(self, how: dict[str, Any]) -> Any:
        transformers, read = load_transformers(), GgufModel(GgufFile(self.path))
        config = transformers.AutoConfig.for_model(**read.settings)
        with torch.device("meta"):  # sizes without numbers: what is not in the file takes no memory
            empty = transformers.AutoModelForCausalLM.from_config(config)
        names, wanted = read.names(), {name: tuple(weight.shape) for name, weight in empty.state_dict().items()}
        if config.tie_word_embeddings:
            del wanted["lm_head.weight"]
        shapes = {name: tuple(read.file.tensors[own].shape) for name, own in names.items()}
        for name in sorted(wanted.keys() | shapes.keys()):
            if wanted.get(name) != shapes.get(name):
                raise UserError(
                    f"{self.path}: {NO_MODEL}: weight {name}: found {shapes.get(name)}; expected {wanted.get(name)}"
                )
        weights = {name: read.weight(own) for name, own in names.items()}
        return type(empty).from_pretrained(None, config=config, state_dict=weights, **how)

    def tokens(self, text: str) -> list[int]:
        """Without control tokens: what looks like one in a text stays text."""
        found: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        return found

    @property
    def start(self) -> list[int]:
        """What a text begins with for this model, if anything."""
        token = self.tokenizer.bos_token_id
        return [] if token is None else [token]

    @torch.no_grad()
    def log_probs(
        self, prefixes: Sequence[Sequence[int]], blocks: Sequence[Sequence[Sequence[int]]], soft: Soft | None = None
    ) -> list[NDArray[np.float64]]:
        """log p(block | prefix), summed over the block's words: for each of B prefixes its N blocks. [N] each

        One pass for all. Every block is read as if it stood alone behind its prefix: it attends to the prefix and to
        itself, and its positions begin where the prefix ends, so that neither the order of the blocks nor what stands
        in another one matters (Set-Based Prompting, McIlroy-Young et al. 2024, for whole candidates).

        A negative number in a prefix or a block is a soft token: -1 - n stands for the n-th vector of `soft`; it is
        read, and its own probability counts nothing.
        """
        # What follows the last word of a block is not asked for, so that it need not be read.
        hidden = self._read(prefixes, [[block[:-1] for block in own] for own in blocks], soft)
        place, word, owner = _words_after(prefixes, blocks, hidden.shape[1])
        gained = self._word_log_probs(hidden.flatten(0, 1), place, word)
        totals = torch.zeros(sum(map(len, blocks)), dtype=torch.float64).index_add(0, owner, gained)
        return [part.numpy() for part in totals.split([len(own) for own in blocks])]

    def block_states(
        self, prefixes: Sequence[Sequence[int]], blocks: Sequence[Sequence[Sequence[int]]], soft: Soft | None = None
    ) -> list[Tensor]:
        """The last layer's state at the end of each block, read as by `log_probs`; differentiable. [N, d] each"""
        hidden = self._read(prefixes, blocks, soft)
        ends = [
            torch.tensor([len(part) for part in (prefix, *own)]).cumsum(0)[1:] - 1
            for prefix, own in zip(prefixes, blocks)
        ]
        return [states[last.to(self.device)] for states, last in zip(hidden, ends)]

    def _read(
        self, prefixes: Sequence[Sequence[int]], blocks: Sequence[Sequence[Sequence[int]]], soft: Soft | None
    ) -> Tensor:
        """The last layer's states, each row its prefix and then its blocks. [B, t, d]"""
        if not all(prefixes):
            raise ValueError("a prefix needs at least one token")
        tokens, position, block = _layout(prefixes, blocks)
        hidden: Tensor = self.model.model(
            inputs_embeds=self.embedded(tokens.to(self.device), soft),
            position_ids=position.to(self.device),
            attention_mask=self.masks(_may_attend(block), position, position),
            use_cache=False,
        ).last_hidden_state
        return hidden

    def embedded(self, tokens: Tensor, soft: Soft | None = None) -> Tensor:
        """What the first layer reads: words, and where they are negative soft tokens. [B, t] -> [B, t, d]"""
        vectors: Tensor = self.model.get_input_embeddings()(tokens.clamp(min=0))
        if soft is None or not (tokens < 0).any():
            return vectors
        return vectors.index_put(tuple((tokens < 0).nonzero(as_tuple=True)), soft(-1 - tokens[tokens < 0]))

    def _word_log_probs(self, hidden: Tensor, place: Tensor, word: Tensor) -> Tensor:
        """log p of each word after the state at its place; places ascend. [., d], [n], [n] -> [n] float64"""
        head = self.model.get_output_embeddings()
        places, counts = place.unique_consecutive(
            return_counts=True
        )  # the state behind a prefix is asked for each block
        step = max(LOGITS_AT_A_TIME // head.out_features, 1)
        parts, begin = [torch.zeros(0, dtype=torch.float64)], 0
        for some, number in zip(places.split(step), counts.split(step)):
            logits = head(hidden[some.to(self.device)]).float()  # [step, V]
            row = torch.arange(len(some)).repeat_interleave(number).to(self.device)
            words = word[begin : begin + len(row)].to(self.device)
            parts.append((logits[row, words] - logits.logsumexp(1)[row]).double().cpu())
            begin += len(row)
        return torch.cat(parts)

    def new_cache(self) -> dict[str, Any]:
        """For keys and values of what was read, by the name that the model's pass knows it by; of layers that look
        back a little only, too, all is kept."""
        known = inspect.signature(self.model.model.forward).parameters  # `cache` since transformers 5.24
        return {"cache" if "cache" in known else "past_key_values": load_transformers().DynamicCache()}

    def masks(self, full: Tensor, query: Tensor, key: Tensor) -> Any:
        """What each token may attend to, as transformers takes it: one mask, or one for each kind of layer.

        full [B, q, t]; query [B, q] and key [B, t] are places in the text.
        """
        config, width = self.model.config, int(query.max()) + 1
        if width > (limit := _steady_length(config)):
            raise UserError(
                f"{self.name}: a text of {width} tokens; allowed: {limit}, since longer ones change its places"
            )
        near = query[:, :, None] - key[:, None, :] < (getattr(config, "sliding_window", None) or full.shape[2])
        if config.model_type in ALL_NEAR:
            return self._additive(full & near)
        kinds = set(getattr(config, "layer_types", None) or ())
        if not kinds:
            return self._additive(full)
        masks = {"full_attention": full, "sliding_attention": full & near}
        if unknown := kinds - set(masks):
            raise UserError(f"{self.name}: layers of kind {sorted(unknown)}; allowed: {', '.join(masks)}")
        return {kind: self._additive(masks[kind]) for kind in kinds}

    def _additive(self, allowed: Tensor) -> Tensor:
        mask = torch.zeros(allowed.shape, dtype=self.model.dtype).masked_fill_(
            ~allowed, torch.finfo(self.model.dtype).min
        )
        return mask[:, None].to(self.device)  # [B, 1, t, t]


def _steady_length(config: Any) -> float:
    """Up to how many tokens a text is read in the same way, however long the texts beside it are: for some models the
    frequencies of all places change where one is longer."""
    ropes = config.rope_parameters
    limits = [math.inf]
    for rope in (ropes, *ropes.values()):
        if (
            isinstance(rope, dict)
            and rope.get("rope_type") == "longrope"
            and rope["short_factor"] != rope["long_factor"]
        ):
            limits.append(rope["original_max_position_embeddings"])
        if isinstance(rope, dict) and rope.get("rope_type") == "dynamic":
            limits.append(config.max_position_embeddings)
    return min(limits)


def _layout(
    prefixes: Sequence[Sequence[int]], blocks: Sequence[Sequence[Sequence[int]]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of prefix, blocks and padding: tokens, positions, and the block number of each place. [B, t] each"""
    width = max(len(prefix) + sum(map(len, own)) for prefix, own in zip(prefixes, blocks))
    tokens = torch.zeros(len(prefixes), width, dtype=torch.long)
    position, block = torch.zeros_like(tokens), torch.full_like(tokens, PADDING)
    for row, (prefix, own) in enumerate(zip(prefixes, blocks)):
        begin = 0
        for number, part in enumerate((prefix, *own), PREFIX):
            end = begin + len(part)
            tokens[row, begin:end] = torch.tensor(part)
            position[row, begin:end] = torch.arange(len(part)) + (0 if number == PREFIX else len(prefix))
            block[row, begin:end] = number
            begin = end
    return tokens, position, block


def _words_after(
    prefixes: Sequence[Sequence[int]], blocks: Sequence[Sequence[Sequence[int]]], width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Every word of the blocks: the place of the state before it among the B * `width` states that were read, the word,
    and its block, numbered over all rows; in the order of the places. [n] each"""
    found: list[tuple[int, int, int]] = []
    number = 0
    for row, (prefix, own) in enumerate(zip(prefixes, blocks)):
        begin = row * width + len(prefix)
        for block in own:
            before = (row * width + len(prefix) - 1, *range(begin, begin + len(block) - 1))
            found += [(place, word, number) for place, word in zip(before, block) if word >= 0]
            begin += max(len(block) - 1, 0)
            number += 1
    place, word, owner = torch.tensor(sorted(found), dtype=torch.long).reshape(-1, 3).T
    return place, word, owner


def _may_attend(block: Tensor) -> Tensor:
    """[B, t, t]: to the prefix and its own block, not past itself; padding to itself, since softmax needs something."""
    width = block.shape[1]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    same = block[:, :, None] == block[:, None, :]
    own = causal & (same | (block == PREFIX)[:, None, :]) & (block != PADDING)[:, None, :]
    return own | torch.eye(width, dtype=torch.bool)


def load_transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise missing_extra("llm", "transformers") from error
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers
