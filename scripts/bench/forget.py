"""A user forgotten beside a run that never had her: the same sha256, and what it costs. Needs a log in gzipped CSV.

python scripts/bench/forget.py DATA USER [--set train.epochs=5 …]
"""

import argparse
import gzip
import os
import shutil
import tempfile
import time
from pathlib import Path

import torch
from rows import row, save

from gnnrec.datasets import Dataset
from gnnrec.datasets.description import read_description
from gnnrec.encoders.pretrained import cache_root
from gnnrec.files import sha256_of_file
from gnnrec.pipeline import train
from gnnrec.privacy.forget import ForgetConfig, forget
from gnnrec.recipe import load_recipe

COMPARED = ("weights", "embeddings", "lists", "graph")


def own_cache(folder: Path) -> None:
    """Forgetting deletes answers out of the cache; these are somebody's."""
    (folder / "cache").mkdir()
    for name in ("models", "features"):
        if (cache_root() / name).is_dir():
            (shutil.copytree if name == "features" else os.symlink)(cache_root() / name, folder / "cache" / name)
    os.environ["GNNREC_CACHE"] = str(folder / "cache")


def without(data: Path, user: str, to: Path) -> int:
    """The dataset with her lines of the log filtered out as text, by nothing of the product; how many there were."""
    shutil.copytree(data, to)
    log = to / str(read_description(data).log.path)
    lines = gzip.decompress(log.read_bytes()).splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith(f"{user},".encode())]
    log.write_bytes(gzip.compress(b"".join(kept)))
    return len(lines) - len(kept)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("user")
    parser.add_argument("--set", nargs="*", default=[], help="settings laid over the recipe")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(None, options.set)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        own_cache(folder)
        began = time.process_time()
        run = train(Dataset.load(options.data), folder / "run", recipe)
        training = time.process_time() - began
        before = [sha256_of_file(path) for path in files(run.folder)]
        began = time.process_time()
        certificate = forget(run.folder, options.user, ForgetConfig(data=folder / "copy"))
        forgetting = time.process_time() - began
        rows = without(options.data, options.user, folder / "hand")
        never = train(Dataset.load(folder / "hand"), folder / "never", recipe)
        after = [sha256_of_file(path) for path in files(run.folder)]
        same = sum(one == other for one, other in zip(after, (sha256_of_file(path) for path in files(never.folder))))
        figures = {
            "rows": rows,
            "files": len(after),
            "changed": sum(one != other for one, other in zip(before, after)),
            "same": same,
            "found": len(certificate.found),
            "searched": certificate.searched,
            "training": training,
            "forgetting": forgetting,
        }
    print(figures)
    variant = ", ".join(["user " + options.user, *options.set])
    save("forget", [row(options.data.name, variant, [recipe.train.seed], [figures], forgetting)])


def files(folder: Path) -> list[Path]:
    return [path for name in COMPARED if (path := folder / f"{name}.safetensors").exists()]


if __name__ == "__main__":
    main()
