"""Text encoders of Hugging Face made smaller or faster: ONNX Runtime in int8 or fp32, bfloat16, magnitude pruning.

Letters: n texts, t tokens, d dimensions.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gnnrec.encoders.classes import ENCODERS
from gnnrec.encoders.fitted import onnx_model
from gnnrec.encoders.fitted.bases import base_folder
from gnnrec.encoders.fitted.compact_ways import CompactConfig, smaller
from gnnrec.encoders.fitted.corpus import Corpus
from gnnrec.encoders.fitted.folder import read_facts
from gnnrec.encoders.huggingface import HuggingFaceTextEncoder, copy_text_files, load_config, save_model
from gnnrec.encoders.known_models import PRETRAINED
from gnnrec.encoders.pretrained import prefix_of
from gnnrec.errors import UserError

AT_ONCE = 8  # texts of like length: little padding, and activations whose one scale fits them all


class SavedTextEncoder(HuggingFaceTextEncoder):
    """Of a folder that was written here; tokens, pooling and length of vectors are those of its base."""

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        super().__init__(folder, name, device, (read_facts(folder) or {}).get("prefix", ""))
        self.name = name


class CompactTextEncoder(SavedTextEncoder):
    """ONNX Runtime computes on the CPU, whatever the device is."""

    def __init__(self, folder: Path, name: str, device: torch.device) -> None:
        self._how = (read_facts(folder) or {})["settings"]["how"]
        self._session: Any = None
        super().__init__(folder, name, torch.device("cpu") if self._how.startswith("onnx") else device)

    def _open_model(self, folder: Path) -> Any:
        if self._how.startswith("onnx"):
            self._session = onnx_model.open_session(folder)
            return load_config(folder)
        config = super()._open_model(folder)
        if self._how == "bf16":
            self.model.bfloat16()
        return config

    def prepare(self, batch: Iterable[Any]) -> Any:
        """By ONNX Runtime: the order of the texts by length, and what the model takes, AT_ONCE texts at a time."""
        if self._session is None:
            return super().prepare(batch)
        texts = [self.prefix + text for text in batch]
        rows = self.tokenizer(texts, truncation=True, max_length=self._max_tokens)
        lengths = [len(ids) for ids in rows["input_ids"]]
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        return order, [self._padded(rows, order[start : start + AT_ONCE]) for start in range(0, len(order), AT_ONCE)]

    def forward(self, ready: Any) -> NDArray[np.float32]:
        if self._session is None:
            return super().forward(ready)
        order, parts = ready
        found = [self.pool(self._tokens(inputs), inputs["attention_mask"]).numpy() for inputs in parts]
        return np.concatenate(found)[np.argsort(order)]

    def _padded(self, rows: Any, chosen: Sequence[int]) -> dict[str, Tensor]:
        return {
            name: pad_sequence(
                [torch.tensor(values[place]) for place in chosen],
                batch_first=True,
                padding_value=self.tokenizer.pad_token_id if name == "input_ids" else 0,
            )
            for name, values in rows.items()
        }

    def _tokens(self, inputs: Any) -> Tensor:
        if self._session is None:
            return super()._tokens(inputs).float()
        shape = tuple(inputs["input_ids"].shape)
        return torch.from_numpy(onnx_model.run(self._session, inputs, shape, self.name))


def fit_texts(corpus: Corpus, config: CompactConfig, base: str, folder: Path) -> dict[str, Any]:
    """The log is not looked at; the texts by onnx_int8 alone, which measures activations on some of them."""
    encoder, facts = open_base(base, folder)
    model = encoder.model
    if config.how == "onnx_int8" and config.balance:
        onnx_model.balance(encoder, [str(text) for text in corpus.contents if text is not None], config.balance)
    if config.how.startswith("onnx"):
        onnx_model.export(encoder, folder, quantized=config.how == "onnx_int8")
        return facts
    save_model(smaller(model, config), folder)
    return facts


def open_base(name: str, folder: Path) -> tuple[HuggingFaceTextEncoder, dict[str, Any]]:
    """The encoder to make something of, its files but the weights in `folder`, and what encoder.json keeps of it."""
    of_texts = name not in PRETRAINED or PRETRAINED[name].task == "text"
    if not of_texts or ENCODERS["text"].get(name, HuggingFaceTextEncoder) is not HuggingFaceTextEncoder:
        raise UserError(f"encoder.base: found {name}; allowed: minilm, or a text model of Hugging Face")
    source = base_folder(name)
    encoder = HuggingFaceTextEncoder(source, name, torch.device("cpu"), prefix_of(name))
    if encoder.pools_itself:
        raise UserError(f"encoder.base: found {name}, a model of texts and pictures; allowed: one of texts alone")
    copy_text_files(source, folder)
    return encoder, {"base": name, "prefix": encoder.prefix}
