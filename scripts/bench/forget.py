"""A user forgotten beside a run that never had her: the same sha256, and what it costs. Needs a log in gzipped CSV.

python scripts/bench/forget.py DATA USER [--steps] [--set train.epochs=5 …]
--steps: from a run that was trained on four of five lines, updated by the others and refitted; the older runs are gone.
"""

import argparse
import gzip
import os
import shutil
import tempfile
import time
from pathlib import Path

import polars as pl
import torch
from rows import row, save

from gnnrec.datasets import Dataset
from gnnrec.datasets.description import read_description
from gnnrec.encoders.pretrained import cache_root
from gnnrec.files import sha256_of_file
from gnnrec.pipeline import train
from gnnrec.privacy.forget import ForgetConfig, forget
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.refit import refit
from gnnrec.run_folder import Run
from gnnrec.update import update

COMPARED = ("weights", "embeddings", "lists", "graph")


def own_cache(folder: Path) -> None:
    """Forgetting deletes answers out of the cache; these are somebody's."""
    (folder / "cache").mkdir()
    for name in ("models", "features"):
        if (cache_root() / name).is_dir():
            (shutil.copytree if name == "features" else os.symlink)(cache_root() / name, folder / "cache" / name)
    os.environ["GNNREC_CACHE"] = str(folder / "cache")


def lay(data: Path, user: str | None, place: Path, steps: bool) -> int:
    """PLACE/data, and PLACE/parts with every fifth line where there are steps, without a user's lines of the log, which
    are filtered out as text, by nothing of the product; how many there were."""
    shutil.copytree(data, place / "data")
    (place / "parts").mkdir()
    log = place / "data" / str(read_description(data).log.path)
    head, *lines = gzip.decompress(log.read_bytes()).splitlines(keepends=True)
    late = [steps and number % 5 == 4 for number in range(len(lines))]
    hers = [user is not None and line.startswith(f"{user},".encode()) for line in lines]
    first, then = (
        b"".join([head, *(line for line, far, own in zip(lines, late, hers) if far is later and not own)])
        for later in (False, True)
    )
    log.write_bytes(gzip.compress(first))
    if steps:
        pl.read_csv(then, infer_schema=False).write_parquet(place / "parts" / "interactions-1.parquet")
    return sum(hers)


def make(place: Path, recipe: Recipe, steps: bool) -> Run:
    """PLACE/run, of what was laid there."""
    run = train(Dataset.load(place / "data"), place / ("trained" if steps else "run"), recipe)
    if steps:
        run = refit(update(run, place / "parts", place / "updated").run, place / "run")
        for name in ("trained", "updated"):
            shutil.rmtree(place / name)
    return Run.load(run.folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("user")
    parser.add_argument("--set", nargs="*", default=[], help="settings laid over the recipe")
    parser.add_argument("--steps", action="store_true", help="trained, updated and refitted")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(None, options.set)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        own_cache(folder)
        lay(options.data, None, folder / "hers", options.steps)
        began = time.process_time()
        run = make(folder / "hers", recipe, options.steps)
        training = time.process_time() - began
        before = [sha256_of_file(path) for path in files(run.folder)]
        began = time.process_time()
        how = ForgetConfig(erase=True) if options.steps else ForgetConfig(data=folder / "copy")
        certificate = forget(run.folder, options.user, how)
        forgetting = time.process_time() - began
        rows = lay(options.data, options.user, folder / "never", options.steps)
        never = make(folder / "never", recipe, options.steps)
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
    variant = ", ".join(["user " + options.user, *(["updated and refitted"] if options.steps else []), *options.set])
    save("forget", [row(options.data.name, variant, [recipe.train.seed], [figures], forgetting)])


def files(folder: Path) -> list[Path]:
    return [path for name in COMPARED if (path := folder / f"{name}.safetensors").exists()]


if __name__ == "__main__":
    main()
