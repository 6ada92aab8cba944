"""A graph that does not fit as tensors: 5 million users, 1 million items, 200 million interactions, features on disk.

    python scripts/bench/huge.py --minutes 10 [--scale 0.01]

Made in blocks into memory-mapped files of a temporary folder (removed at the end): power-law activity and popularity,
items and users of 1,000 groups, a feature of 384 float16 numbers an item: its group's centre under noise. Seven of ten
interactions are within the group. Then modality_gnn (64 dimensions, two hops, free embeddings of everybody and the
feature) learns on sampled pieces by the shared softmax until the time is up. The table tells the loss, the memory of
the process (pages of the mapped files apart) and the edges a second of CPU time, of making pieces and of whole steps.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rows import row, save
from torch_geometric.data import HeteroData

from gnnrec.graph import INTERACTS, REV_INTERACTS
from gnnrec.lazy_adam import LazyAdam
from gnnrec.losses import shared_softmax
from gnnrec.models.modality_gnn import ModalityGNN, ModalityGNNConfig
from gnnrec.sampling.csr import Blocks, build_csr
from gnnrec.sampling.edges import both_ways
from gnnrec.subgraph import Content, Sampler
from gnnrec.training import temperature_for

USERS, ITEMS, INTERACTIONS = 5_000_000, 1_000_000, 200_000_000
GROUPS, WIDTH, INSIDE = 1_000, 384, 0.7
BLOCK = 5_000_000
BATCH, FANOUT = 2_048, (10, 5)
CURVE = 20  # points of the curves


def power_law_blocks(num_users: int, num_items: int, num_edges: int, seed: int, turned: bool = False) -> Blocks:
    """Users and items [b] a block at a time, the same at every call. Item and user i are of the group i mod GROUPS."""
    groups = min(GROUPS, num_items)

    def blocks() -> Iterator[tuple[NDArray[Any], NDArray[Any], None]]:
        for number, start in enumerate(range(0, num_edges, BLOCK)):
            random = np.random.default_rng([seed, number])
            size = min(BLOCK, num_edges - start)
            user = (num_users * random.random(size) ** 1.5).astype(np.int32)
            group = np.where(random.random(size) < INSIDE, user % groups, random.integers(0, groups, size))
            item = (num_items // groups * random.random(size) ** 2).astype(np.int32) * groups + group.astype(np.int32)
            yield (item, user, None) if turned else (user, item, None)

    return blocks


def write_features(path: Path, num_items: int) -> NDArray[np.float16]:
    random = np.random.default_rng(1)
    centres = random.normal(size=(min(GROUPS, num_items), WIDTH)).astype(np.float32)
    made = np.lib.format.open_memmap(path, mode="w+", dtype=np.float16, shape=(num_items, WIDTH))
    for start in range(0, num_items, 50_000):
        items = np.arange(start, min(start + 50_000, num_items))
        made[items] = centres[items % len(centres)] + random.normal(size=(len(items), WIDTH)).astype(np.float32)
    made.flush()
    del made
    found: NDArray[np.float16] = np.load(path, mmap_mode="r", allow_pickle=False)
    return found


def model_of(num_users: int, num_items: int) -> ModalityGNN:
    """Made from a graph without edges: on pieces it sees no other graph."""
    graph = HeteroData()
    graph["user"].num_nodes, graph["item"].num_nodes = num_users, num_items
    for kind in (INTERACTS, REV_INTERACTS, ("item", "has_text", "text")):
        graph[kind].edge_index = torch.zeros(2, 0, dtype=torch.int64)
    graph["text"].x = torch.zeros(0, WIDTH)
    config = ModalityGNNConfig(dim=64, layers=len(FANOUT), similar=0.0, together=0.0, recent=0)
    model = ModalityGNN(config, graph, torch.Generator().manual_seed(0))
    model.user_trained.fill_(True)
    model.item_trained.fill_(True)
    return model


def memory() -> tuple[float, float]:
    """GB of the process: its own, and pages of mapped files that are in memory now."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Rss")}
    return int(found["RssAnon"]) / 2**20, int(found["RssFile"]) / 2**20


def train(folder: Path, sizes: tuple[int, int, int], minutes: float) -> tuple[list[dict[str, float]], dict[str, float]]:
    num_users, num_items, num_edges = sizes
    began = time.perf_counter()
    to_user = build_csr(power_law_blocks(*sizes, seed=0), num_users, num_items, folder / "to_user")
    to_item = build_csr(power_law_blocks(*sizes, seed=0, turned=True), num_items, num_users, folder / "to_item")
    features = write_features(folder / "text.npy", num_items)
    built = time.perf_counter() - began
    sampler = Sampler(*both_ways(to_user, to_item), FANOUT, {"text": Content("item", features, None, None, None)}, {})
    model = model_of(num_users, num_items)
    optimizer = LazyAdam(model.parameters(), lr=3e-3)
    generator, random = torch.Generator().manual_seed(0), np.random.default_rng(0)
    temperature, points, steps = temperature_for(num_items), [], 0
    told = {"loss": 0.0, "steps": 0.0, "edges": 0.0, "sampling": 0.0}
    whole, began, cpu = dict(told), time.perf_counter(), time.process_time()
    last, last_cpu = began, cpu
    while time.perf_counter() - began < 60 * minutes:
        now = time.process_time()
        positions = random.integers(0, num_edges, BATCH)
        users = np.searchsorted(to_user.offsets, positions, side="right") - 1
        drawn = random.integers(0, num_items, BATCH)
        piece = sampler.piece(users, np.concatenate([to_user.columns[positions], drawn]), random)
        told["sampling"] += time.process_time() - now
        embeddings = model.training_pass(piece.graph, generator)
        target, others = piece.item[:BATCH], piece.item[BATCH:]
        query = embeddings.user[piece.user] / temperature
        stands_for = (num_items - 1) / BATCH
        item = embeddings.item
        loss = shared_softmax(query, item[target], item[others], target, others, stands_for, False)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        steps += 1
        told["loss"], told["steps"] = told["loss"] + loss.item(), told["steps"] + 1
        told["edges"] += piece.num_edges
        if (now := time.perf_counter()) - last > 60 * minutes / CURVE:
            own, mapped = memory()
            points.append(
                {
                    "seconds": now - began,
                    "steps": steps,
                    "loss": told["loss"] / told["steps"],
                    "own_gb": own,
                    "mapped_gb": mapped,
                    "edges_per_second": told["edges"] / (time.process_time() - last_cpu),
                }
            )
            print({name: round(value, 3) for name, value in points[-1].items()}, flush=True)
            whole = {name: whole[name] + told[name] for name in told}
            told, last, last_cpu = dict.fromkeys(told, 0.0), now, time.process_time()
    values = {
        "build_seconds": built,
        "seconds": points[-1]["seconds"],
        "cpu_seconds": last_cpu - cpu,
        "first_loss": points[0]["loss"],
        "last_loss": points[-1]["loss"],
        "steps": steps,
        "interactions": steps * BATCH,
        "edges_per_second": whole["edges"] / (last_cpu - cpu),
        "piece_edges_per_second": whole["edges"] / whole["sampling"],
        "own_gb": max(point["own_gb"] for point in points),
        "mapped_gb": max(point["mapped_gb"] for point in points),
    }
    return points, values


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=10.0, help="of training")
    parser.add_argument("--scale", type=float, default=1.0, help="share of users, items and interactions")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    users, items, interactions = (round(size * options.scale) for size in (USERS, ITEMS, INTERACTIONS))
    folder = Path(tempfile.mkdtemp(prefix="huge-", dir=options.folder))
    try:
        points, values = train(folder, (users, items, interactions), options.minutes)
    finally:
        shutil.rmtree(folder)
    variant = f"{users:,} users, {items:,} items, {interactions:,} interactions"
    made = row(
        "synthetic power law", variant, [0], [values], 60 * options.minutes, curve=points, threads=options.threads
    )
    save("huge", [made])
    print(values, f"{made['peak_mb']} MB at most")


if __name__ == "__main__":
    main()
