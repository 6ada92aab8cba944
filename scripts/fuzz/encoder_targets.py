"""Folders of encoders that somebody else made: of Hugging Face, fitted here, vectors of words."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from target import Target

from gnnrec.datasets import planted
from gnnrec.encoders.catalogue import open_encoder

if TYPE_CHECKING:
    from gnnrec.encoders.fitted.corpus import Corpus

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "heist", "in", "space")
TEXTS = ("a heist in space", "a heist", "in space", "space a")


def encoder_targets(place: Path) -> Iterator[tuple[str, Callable[[], Target]]]:
    for maker, names in (
        (
            hugging_face,
            ("config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "model.safetensors", *SENTENCE),
        ),
        (lsa, ("terms.json", "model.safetensors")),
        (compact, ("model.onnx", "encoder.json")),
    ):
        for name in names:
            yield f"{maker.__name__}/{name}", lambda maker=maker, name=name: of_folder(place, maker, name)


def of_folder(place: Path, maker: Callable[[Path], object], name: str) -> Target:
    folder = place / f"{maker.__name__}-{name.replace('/', '-')}"
    folder.mkdir()
    maker(folder)
    path = folder / name

    def read(data: bytes) -> object:
        path.write_bytes(data)
        with redirect_stdout(io.StringIO()) as said:
            try:
                return open_encoder("text", str(folder)).encode(["a heist", ""])
            finally:
                assert not said.getvalue(), "a library prints where --json has its document"

    return Target(read, (path.read_bytes(),))


def hugging_face(folder: Path) -> None:
    """A BERT of one layer, with a tokenizer of nine words and the files of sentence-transformers."""
    from safetensors.torch import save_file
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **sizes)).save_pretrained(folder)
    words = Tokenizer(models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    modules = [{"type": f"sentence_transformers.models.{kind}", "path": f"{row}_{kind}"} for row, kind in MODULES]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (folder / "2_Dense").mkdir()
    dense = {"in_features": 8, "out_features": 4, "bias": False}
    (folder / "2_Dense" / "config.json").write_text(json.dumps(dense))
    save_file({"linear.weight": torch.randn(4, 8)}, folder / "2_Dense" / "model.safetensors")
    prompts = {"prompts": {"query": "find ", "document": "a "}, "default_prompt_name": None}
    (folder / "config_sentence_transformers.json").write_text(json.dumps(prompts))


SENTENCE = ("2_Dense/config.json", "2_Dense/model.safetensors", "config_sentence_transformers.json")
MODULES = ((0, "Transformer"), (1, "Pooling"), (2, "Dense"), (3, "Normalize"))


def lsa(folder: Path) -> None:
    from gnnrec.encoders.fitted.lsa import LsaConfig, fit_lsa

    fit_lsa(corpus(), LsaConfig(dim=2, rarest=1), folder)
    (folder / "encoder.json").write_text('{"kind": "lsa", "modality": "text"}')


def compact(folder: Path) -> None:
    """That BERT as an ONNX file."""
    from gnnrec.encoders.fitted.compact import CompactConfig, fit_compact

    base = folder.with_name(f"{folder.name}-base")
    base.mkdir()
    hugging_face(base)
    facts = fit_compact(corpus(), CompactConfig(base=str(base), how="onnx_fp32"), folder)
    facts |= {"kind": "compact", "modality": "text", "settings": {"how": "onnx_fp32"}}
    (folder / "encoder.json").write_text(json.dumps(facts))


def corpus() -> "Corpus":
    from gnnrec.encoders.fitted.corpus import Corpus

    nobody = planted("text", num_users=1, num_items=len(TEXTS)).interactions
    return Corpus(contents=TEXTS, train=nobody, val=nobody, device=torch.device("cpu"), audio_seconds=1.0)
