"""What compression costs and saves: encoders of texts and pictures, and the embeddings of one run as they are exported.

    python scripts/bench/compress.py encoders data/movies --keep FOLDER
    python scripts/bench/compress.py pictures data/movies --keep FOLDER
    python scripts/bench/compress.py embeddings RUN

encoders: each is fitted by fit-encoder's function with its defaults but for what its name says, kept in FOLDER. Texts
of all items sorted by length, batches of 32, tokens included; each batch goes through all encoders in turn on one
thread, CPU time; the ratio is that of all batches, its spread the quartiles' distance over batches. Overlap: share of
the ten nearest items by cosine that are the ten nearest by fp32 too, of all items, and of those that no encoder was
trained on (one in ten, which told when to stop). NDCG@10: lists by content alone, on validation.

pictures: the same of the first posters (--most), decoded and cut to size before; int8 measures others of them.

embeddings: exported, read back, all users of test ranked by inner products alone (paths from item to item, which the
run's own lists have on top, are in neither); change against the fp32 export. Size: users and items, without ids.
Speed: of reading them back as float32, and of the lists made of what was read, one thread, CPU time, median of REPEATS.
"""

import argparse
import logging
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from rows import row, save

from gnnrec.datasets import Dataset, split
from gnnrec.encoders.catalogue import open_encoder
from gnnrec.encoders.encode import from_array
from gnnrec.encoders.features import StagedEncoder
from gnnrec.encoders.fitted.compact_ways import WAYS, CompactConfig
from gnnrec.encoders.fitted.corpus import Corpus, content_ndcg
from gnnrec.encoders.fitted.distilled import DistilledConfig
from gnnrec.encoders.fitted.teaching import held_out as held_out_texts
from gnnrec.encoders.media import read_image
from gnnrec.encoders.pretrained import require
from gnnrec.export import export_embeddings, import_embeddings
from gnnrec.fitting import fit_encoder
from gnnrec.metrics import hits_of, ndcg
from gnnrec.pipeline import held_out
from gnnrec.ranking import embedding_scorer, top_k, unseen
from gnnrec.recipe import Recipe
from gnnrec.run_folder import Run

CUT, BATCH, REPEATS = 10, 32, 5
T = TypeVar("T")
ENCODERS: dict[str, tuple[str, Any]] = {
    "onnx_fp32": ("compact", CompactConfig(how="onnx_fp32")),
    "onnx_int8": ("compact", CompactConfig()),
    "onnx_int8, not balanced": ("compact", CompactConfig(balance=0)),
    "bf16": ("compact", CompactConfig(how="bf16")),
    "pruned, .3": ("compact", CompactConfig(how="pruned")),
    "pruned, .5": ("compact", CompactConfig(how="pruned", share=0.5)),
    "distilled, 2 of 6 layers": ("distilled", DistilledConfig(epochs=4)),
    "distilled, tokens alone": ("distilled", DistilledConfig(layers=0, epochs=8, learning_rate=1e-3)),
}
EXPORTS: dict[str, dict[str, Any]] = {
    "fp32": {"formats": ("npy",)},
    "fp16": {"formats": ("npy",), "precision": "fp16"},
    "int8": {"formats": ("npy",), "precision": "int8"},
    "half of the dimensions": {"formats": ("npy",), "dim": 2},
    "half of the dimensions, int8": {"formats": ("npy",), "precision": "int8", "dim": 2},
    "a quarter of the dimensions, int8": {"formats": ("npy",), "precision": "int8", "dim": 4},
    "product quantization of the items, users fp16": {"formats": ("faiss-pq",), "precision": "fp16"},
}


def nearest(values: NDArray[np.float32]) -> NDArray[np.int64]:
    """The ten nearest others of each row by cosine. [I, 10]"""
    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :CUT]


def encoders(data: Path, keep: Path) -> None:
    dataset = Dataset.load(data)
    assert dataset.items is not None
    parts = split(dataset, Recipe().split_config(dataset))
    texts = [str(text) for text in dataset.items.text()]
    corpus = Corpus(contents=texts, train=parts.train, val=parts.val, device=torch.device("cpu"), audio_seconds=30)
    seconds: dict[str, float] = {"fp32": 0}
    for name, (kind, config) in ENCODERS.items():
        began, folder = time.process_time(), keep / name.replace(" ", "_")
        if not folder.exists():
            fit_encoder(dataset, folder, kind, config, recipe=Recipe(), parts=parts)
        seconds[name] = time.process_time() - began
    folders = {"fp32": require("minilm")} | {name: keep / name.replace(" ", "_") for name in ENCODERS}
    opened = {name: open_encoder("text", "minilm" if name == "fp32" else str(folders[name])) for name in folders}
    order = np.argsort([len(text) for text in texts], kind="stable")
    found, spent = compared({name: one.encode for name, one in opened.items()}, [texts[place] for place in order])
    found = {name: values[np.argsort(order)] for name, values in found.items()}
    whole, rows = nearest(found["fp32"]), []
    held = np.isin(texts, held_out_texts(texts, 0)[0])
    for name in opened:
        same = overlaps(found[name], whole)
        values = {
            "mb": megabytes(folders[name]),
            "texts_per_second": len(texts) / sum(spent[name]),
            "times_fp32": sum(spent["fp32"]) / sum(spent[name]),
            "overlap@10": float(np.mean(same)),
            "overlap@10 held out": float(np.mean(same[held])),
            "ndcg@10": content_ndcg(from_array(found[name]), corpus),
        }
        print(name, values, flush=True)
        made = row(dataset.name, f"minilm, {name}", [0], [values], seconds[name], table="encoders")
        made["spread"]["times_fp32"] = quartiles_apart(spent, name)
        rows.append(made)
    save("compress", rows)


def pictures(data: Path, keep: Path, most: int) -> None:
    dataset, base = Dataset.load(data), "efficientnet_lite0"
    assert dataset.items is not None
    parts, recipe = split(dataset, Recipe().split_config(dataset)), Recipe()
    paths = [path for path in (dataset.items.media or {})["image"] if path is not None][:most]
    posters = [read_image(path) for path in paths]
    folders, seconds = {"fp32": require(base)}, {"fp32": 0.0}
    for way in WAYS:
        began, folder = time.process_time(), keep / f"pictures_{way}"
        if not folder.exists():
            fit_encoder(
                dataset, folder, "compact", CompactConfig(modality="image", how=way), recipe=recipe, parts=parts
            )
        folders[way], seconds[way] = folder, time.process_time() - began
    opened = {name: open_encoder("image", base if name == "fp32" else str(folders[name])) for name in folders}
    staged = {name: one for name, one in opened.items() if isinstance(one, StagedEncoder)}
    squares = staged["fp32"].prepare(posters)
    found, spent = compared({name: one.forward for name, one in staged.items()}, squares)
    whole, rows = nearest(found["fp32"]), []
    for name in opened:
        values = {
            "mb": megabytes(folders[name]),
            "pictures_per_second": len(squares) / sum(spent[name]),
            "times_fp32": sum(spent["fp32"]) / sum(spent[name]),
            "overlap@10": float(np.mean(overlaps(found[name], whole))),
        }
        print(name, values, flush=True)
        made = row(dataset.name, f"{base}, {name}", [0], [values], seconds[name], table="pictures")
        made["spread"]["times_fp32"] = quartiles_apart(spent, name)
        rows.append(made)
    save("compress", rows)


def compared(encoders: dict[str, Any], contents: Any) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """Features of all contents by each encoder [I, d], and its CPU seconds for each batch, which goes through all."""
    found: dict[str, list[Any]] = {name: [] for name in encoders}
    spent: dict[str, list[float]] = {name: [] for name in encoders}
    for start in range(0, len(contents), BATCH):
        batch = contents[start : start + BATCH]
        for name, encode in encoders.items():
            encode(batch[:1])  # its weights come back into the caches that the others had
            began = time.process_time()
            found[name].append(encode(batch))
            spent[name].append(time.process_time() - began)
    return {name: np.concatenate(parts) for name, parts in found.items()}, spent


def overlaps(values: NDArray[np.float32], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.array([len(set(own) & set(other)) / CUT for own, other in zip(nearest(values), whole)])


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def quartiles_apart(spent: dict[str, list[float]], name: str) -> float:
    ratios = np.array(spent["fp32"]) / np.array(spent[name])
    return float(np.subtract(*np.quantile(ratios, (0.75, 0.25))))


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What it returns, and the median of its CPU seconds."""
    spent = []
    for _ in range(REPEATS):
        began = time.process_time()
        found = work()
        spent.append(time.process_time() - began)
    return found, statistics.median(spent)


def embeddings(folder: Path) -> None:
    run = Run.load(folder)
    user, item = run.embeddings.user.numpy(), run.embeddings.item.numpy()
    wanted = unseen(held_out(run).test.matrix(), run.known.matrix())
    users = np.flatnonzero(np.diff(wanted.indptr))
    relevant = np.diff(wanted.indptr)[users]
    whole: tuple[float, NDArray[np.int64]] | None = None
    rows = []
    for name, settings in EXPORTS.items():
        how = settings | ({"dim": user.shape[1] // settings["dim"]} if "dim" in settings else {})
        work = Path(tempfile.mkdtemp())
        began = time.process_time()
        paths = export_embeddings(user, item, run.user_ids, run.item_ids, work, **how)
        seconds = time.process_time() - began
        back, reading = timed(partial(import_embeddings, work, how["formats"][0]))
        size = sum(path.stat().st_size for path in paths if not path.name.endswith(".ids.json"))
        shutil.rmtree(work)
        scorer = embedding_scorer(torch.from_numpy(back.user), torch.from_numpy(back.item))
        ranked, ranking = timed(partial(top_k, scorer, users, CUT, run.known.matrix()))
        lists = ranked.items.numpy()
        figure = float(ndcg(hits_of(lists, users, wanted), relevant, CUT).mean())
        whole = whole or (figure, lists)
        same = [len(set(own) & set(other)) / CUT for own, other in zip(lists, whole[1])]
        values = {
            "mb": size / 1e6,
            "times_smaller": (user.nbytes + item.nbytes) / size,
            "read_ms": 1000 * reading,
            "users_per_second": len(users) / ranking,
            "overlap@10": float(np.mean(same)),
            "ndcg@10": figure,
            "change": figure / whole[0] - 1,
        }
        print(name, values, flush=True)
        rows.append(row(run.provenance["dataset"]["name"], name, [0], [values], seconds, table="embeddings"))
    save("compress", rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("encoders", "pictures", "embeddings"))
    parser.add_argument("folder", type=Path, help="dataset folder or run")
    parser.add_argument("--keep", type=Path, default=Path("compressed"))
    parser.add_argument("--most", type=int, default=500, help="pictures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    if options.what == "encoders":
        encoders(options.folder, options.keep)
    elif options.what == "pictures":
        pictures(options.folder, options.keep, options.most)
    else:
        embeddings(options.folder)


if __name__ == "__main__":
    main()
