"""Time to train, ours beside the peers: the same files, threads, stopping rule and evaluator.

    python scripts/bench/speed.py lfm2k --peers pyg,recbole --budget 600 --envs /tmp/envs

Every contestant trains in its own process (contestant.py) and its own environment, and after every epoch its embeddings
are ranked by our evaluator over the full catalogue, train masked, on validation. It stops after --patience epochs
without a new best NDCG@20, or when its training has taken --budget seconds of CPU time ("budget": true in the row: the
peer would have gone on). Ours is LightGCN trained by the softmax on interactions only, as the peers are, but for
Cornac's VBPR, which is given the features of the content too. Its tables start from factors (recipe lightgcn_softmax),
whose making is in the time, and the lists of that start are its epoch 0; gnnrec_random starts as the peers do. The
ratio is the peer's time to its own best over our time to reach at least that value. CPU seconds with one thread: what
other processes on the machine do counts little. Peers that are not among our own dependencies are installed from PyPI
into --envs, beside our torch.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accuracy import FOLDERS
from numpy.typing import NDArray
from rows import row, save

from gnnrec import metrics
from gnnrec.datasets import Dataset, Interactions, split
from gnnrec.encoders import encode_dataset
from gnnrec.ranking import embedding_scorer, top_k, unseen
from gnnrec.recipe import load_recipe

PACKAGES = {"recbole": ["recbole==1.2.1"], "cornac_vbpr": ["cornac==2.3.5"]}
K = 20


def content_of(dataset: Dataset) -> NDArray[np.float32] | None:
    """The features of all modalities side by side, each scaled to rows of mean length 1. [I, d]"""
    features, _ = encode_dataset(dataset, load_recipe("default").encoders)
    parts = [part.values / np.linalg.norm(part.values, axis=1)[part.mask].mean() for part in features.values()]
    return np.concatenate(parts, axis=1) if parts else None


def python_of(peer: str, envs: Path) -> str:
    """The interpreter of a peer's environment, made where there is none; it sees our packages behind its own."""
    if peer not in PACKAGES:
        return sys.executable
    folder = envs / peer
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True, clear=True)
        paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
        (Path(paths["purelib"]) / "own.pth").write_text(sysconfig.get_path("purelib") + "\n")
        subprocess.run([folder / "bin/pip", "install", "-q", *PACKAGES[peer]], check=True)
        (folder / "ready").touch()
    return str(folder / "bin/python")


def course(
    peer: str,
    python: str,
    train: Interactions,
    val: Interactions,
    content: NDArray[np.float32] | None,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Every epoch of one contestant: its seconds and its NDCG@20 on validation."""
    seen = train.matrix()
    relevant = unseen(val.matrix(), seen)
    users = np.flatnonzero(np.diff(relevant.indptr))
    points: list[dict[str, float]] = []
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads), "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "train.npy", np.stack([train.user, train.item], axis=1).astype(np.int64))
        if content is not None:
            np.save(folder / "features.npy", content)
        script = str(Path(__file__).with_name("contestant.py"))
        process = subprocess.Popen(
            [python, "-W", "ignore", script, peer, name, str(options.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=(folder / "log.txt").open("w"),
            text=True, env=environment, cwd=name,
        )  # fmt: skip
        assert process.stdin is not None and process.stdout is not None
        while True:
            line = process.stdout.readline()
            if not line:
                sys.exit(f"{peer}: {(folder / 'log.txt').read_text()[-1500:]}")
            point = json.loads(line)
            user, item = (torch.from_numpy(np.load(folder / f"{side}.npy")) for side in ("user", "item"))
            # Who or what has no train row at the end of the index range is unknown to the peer: zeros.
            user = torch.nn.functional.pad(user, (0, 0, 0, train.num_users - len(user)))
            item = torch.nn.functional.pad(item, (0, 0, 0, train.num_items - len(item)))
            ranking = top_k(embedding_scorer(user, item), users, K, seen)
            hits = metrics.hits_of(ranking.items.numpy(), users, relevant)
            point["ndcg"] = float(metrics.METRICS["ndcg"](hits, np.diff(relevant.indptr)[users], K).mean())
            points.append(point)
            best = max(range(len(points)), key=lambda place: points[place]["ndcg"])
            stop = len(points) - 1 - best >= options.patience
            budget = point["cpu"] >= options.budget
            process.stdin.write("stop\n" if stop or budget else "more\n")
            process.stdin.flush()
            if stop or budget:
                process.wait()
                return {"points": points, "best": points[best], "budget": budget and not stop}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("dataset", choices=FOLDERS)
    parser.add_argument("--peers", default="gnnrec_random,pyg,recbole,cornac_vbpr,implicit_als,implicit_bpr")
    parser.add_argument("--budget", type=float, default=600, help="CPU seconds of training a contestant may take")
    parser.add_argument("--patience", type=int, default=20, help="epochs without a new best")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--envs", type=Path, required=True, help="where the peers' environments are, or are made")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dataset = Dataset.load(FOLDERS[options.dataset])
    parts, content = split(dataset, dataset.split), content_of(dataset)
    train, val = parts.train, parts.val
    rows: list[dict[str, Any]] = []
    for peer in ("gnnrec", *options.peers.split(",")):
        if peer == "cornac_vbpr" and content is None:
            print(f"{options.dataset} {peer}: left out, it needs content", flush=True)
            continue
        python = python_of(peer, options.envs)
        found = course(peer, python, train, val, content, options)
        best = found["best"]
        values = {
            "val ndcg@20": best["ndcg"],
            "seconds_to_best": best["cpu"],
            "wall_to_best": best["wall"],
            "epochs_to_best": best["epochs"],
            "seconds_per_epoch": found["points"][-1]["cpu"] / found["points"][-1]["epochs"],
        }
        more = {"budget": found["budget"], "curve": [[p["cpu"], p["ndcg"]] for p in found["points"]]}
        made = row(options.dataset, f"{peer}, {options.threads} thread(s)", [0], [values], best["cpu"], **more)
        made["peak_mb"] = round(max(point["peak_mb"] for point in found["points"]))
        rows.append(made)
        shown = " ".join(f"{name} {value:.4g}" for name, value in values.items())
        print(f"{options.dataset} {peer}: {shown} {made['peak_mb']} MB budget {found['budget']}", flush=True)
        save("speed", rows)


if __name__ == "__main__":
    main()
