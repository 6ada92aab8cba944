"""One training step of LightGCN, ours beside torch_geometric's own, in one process: the same graph, sizes and batches.

    python scripts/bench/step.py --threads 1

The graph is synthetic (power law): 20,000 users, 15,000 items, 160,000 interactions (320,000 edges both ways), d 64,
3 layers, BPR on 2,048 positives with one negative each, Adam. Rounds alternate between the variants, so that a
machine that drifts slows all of them; the ratio is taken round by round and its median and quartiles are kept.
CPU time of the process, which other processes' work does not count into.

    python scripts/bench/step.py --account

Where a step goes (the same graph, softmax over the catalogue): each part's time beside its floor, which is the bytes
that it has to move over the copy bandwidth, measured in the same run on tables of the same size; for the softmax, which
computes more than it moves, the floating-point operations over the rate of a bfloat16 product of its own shape. Every
message counts as read once. "other" is the whole step less its parts: autograd's sums and what lies between.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from rows import row, save
from torch import Tensor
from torch_geometric.nn.models import LightGCN as PyGLightGCN

from gnnrec.datasets import Interactions, powerlaw
from gnnrec.graph import build_graph
from gnnrec.losses import BLOCK_SCORES, catalogue_softmax
from gnnrec.models.lightgcn import LightGCN, LightGCNConfig, light_propagation
from gnnrec.models.unit import unit_rows
from gnnrec.training import TrainConfig, Trainer

DIM, LAYERS, BATCH = 64, 3, 2048


def ours(log: Interactions) -> Callable[[Tensor], object]:
    graph = build_graph(log, {})
    config = LightGCNConfig(dim=DIM, layers=LAYERS, similarity="dot", init_scale=0.1)
    model = LightGCN(config, graph, torch.Generator().manual_seed(0))
    settings = TrainConfig(loss="bpr", negatives=1, temperature=1.0, learning_rate=1e-3, batch_size=BATCH)
    trainer = Trainer(model, graph, log.rows(np.arange(0)), settings)
    return trainer.step


def torch_geometric(log: Interactions, csr: bool) -> Callable[[Tensor], object]:
    users, items = torch.from_numpy(log.user).long(), torch.from_numpy(log.item).long()
    num_users, num_items = log.num_users, log.num_items
    edge_index = torch.stack([users, items + num_users])
    edge_index = torch.cat([edge_index, edge_index.flip(0)], dim=1)
    size = num_users + num_items
    structure = edge_index
    if csr:
        structure = torch.sparse_coo_tensor(edge_index, torch.ones(edge_index.shape[1]), (size, size)).to_sparse_csr()
    model = PyGLightGCN(size, DIM, LAYERS)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def step(batch: Tensor) -> None:
        negative = torch.randint(num_users, size, (len(batch),))
        labels = torch.cat([edge_index[:, batch], torch.stack([edge_index[0, batch], negative])], dim=1)
        ranks = model(structure, edge_label_index=labels)
        loss = model.recommendation_loss(*ranks.chunk(2), lambda_reg=0.0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def best_time(action: Callable[[], object], times: int = 9) -> float:
    """CPU seconds, median; the first one warms up."""
    spent = []
    for _ in range(times + 1):
        began = time.process_time()
        action()
        spent.append(time.process_time() - began)
    return statistics.median(spent[1:])


def account(log: Interactions, threads: int) -> None:
    graph = build_graph(log, {})
    model = LightGCN(LightGCNConfig(dim=DIM, layers=LAYERS), graph, torch.Generator().manual_seed(0))
    trainer = Trainer(model, graph, log.rows(np.arange(0)), TrainConfig(batch_size=BATCH))
    batch = torch.randperm(len(trainer.items), generator=torch.Generator().manual_seed(0))[:BATCH]
    num_nodes = len(model.user) + len(model.item)
    table = torch.randn(num_nodes, DIM)  # as large as all embeddings
    other = torch.empty_like(table)
    bandwidth = 2 * table.nbytes / best_time(lambda: other.copy_(table), 99)
    embeddings = model(graph)
    query = model.queries(graph, embeddings, batch).detach() / trainer.temperature
    item, place = embeddings.item[trainer.candidates].detach(), trainer.place[trainer.items[batch]]
    left, right = torch.randn(BLOCK_SCORES // len(item), DIM).bfloat16(), item.bfloat16()
    rate = 2 * left.numel() * len(item) / best_time(lambda: left @ right.T, 99)

    def propagate() -> None:
        smoothed = light_propagation(graph, model.user, model.item, LAYERS)
        torch.autograd.backward((smoothed.user, smoothed.item), (table[: len(model.user)], table[len(model.user) :]))

    def normalize() -> None:
        rows = table.detach().requires_grad_()
        unit_rows(rows).backward(other)

    def softmax() -> None:
        rows = item.detach().requires_grad_()
        catalogue_softmax(query.detach().requires_grad_(), rows, place, trainer.low_precision).backward()

    num_edges = 2 * len(trainer.items)
    one = table.nbytes
    # Of one layer: messages, their columns and weights, what is written, the running sum (read twice, written); back
    # again: the same.
    layers = 2 * LAYERS * (num_edges * (DIM * 4 + 8) + one + 3 * one)
    measured = {
        "propagation": (best_time(propagate), layers / bandwidth),
        "normalization": (best_time(normalize), 5 * one / bandwidth),  # read, write; read twice, write
        "gather": (
            best_time(lambda: model.queries(graph, embeddings, batch)),
            (2 * BATCH * DIM * 4 + 8 * BATCH) / bandwidth,
        ),
        "softmax": (best_time(softmax), 3 * 2 * BATCH * len(item) * DIM / rate),
        "optimizer": (best_time(trainer.optimizer.step), 7 * one / bandwidth),
        "moving average": (best_time(lambda: trainer.weights.update(1)), 3 * one / bandwidth),
    }
    step = best_time(lambda: trainer.step(batch))
    measured["other"] = (step - sum(spent for spent, _ in measured.values()), 0.0)
    measured["whole step"] = (step, sum(floor for _, floor in measured.values()))
    rows = []
    for name, (spent, floor) in measured.items():
        values = {"cpu_ms": 1000 * spent, "floor_ms": 1000 * floor} | ({"times_floor": spent / floor} if floor else {})
        rows.append(row("synthetic 35k nodes, 320k edges", f"{name}, {threads} thread(s)", [0], [values], spent))
        rows[-1] |= {"copy_gb_per_second": bandwidth / 1e9, "bfloat16_gflops": rate / 1e9}
        print(f"{name:16} {1000 * spent:8.2f} ms  floor {1000 * floor:8.2f} ms")
    print(f"copy {bandwidth / 1e9:.1f} GB/s, bfloat16 product {rate / 1e9:.0f} GFLOP/s")
    save("account", rows)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--account", action="store_true", help="where a step goes, beside its floors")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=3, help="steps of each variant in a round")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    log = powerlaw(20_000, 15_000, 160_000, seed=0).interactions
    if options.account:
        return account(log, options.threads)
    variants = {
        "gnnrec": ours(log),
        "pyg csr": torch_geometric(log, csr=True),
        "pyg edge_index": torch_geometric(log, csr=False),
    }
    batches = torch.randperm(len(log), generator=torch.Generator().manual_seed(0)).split(BATCH)[:-1]
    times: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(options.rounds + 1):  # the first round warms up
        for name, step in variants.items():
            began = time.process_time()
            for index in range(options.steps):
                step(batches[(number * options.steps + index) % len(batches)])
            if number:
                times[name].append((time.process_time() - began) / options.steps)
    rows = []
    for name, spent in times.items():
        ratios = [other / own for other, own in zip(spent, times["gnnrec"])]
        quartiles = statistics.quantiles(ratios, n=4)
        metrics = {"cpu_ms_per_step": 1000 * statistics.median(spent), "times_gnnrec": statistics.median(ratios)}
        made = row(
            "synthetic 35k nodes, 320k edges", f"{name}, {options.threads} thread(s)", [0], [metrics], sum(spent)
        )
        made["spread"] = {"times_gnnrec": quartiles[2] - quartiles[0]}
        rows.append(made)
        print(f"{name:16} {metrics['cpu_ms_per_step']:8.1f} ms  {metrics['times_gnnrec']:6.2f} x")
    save("step", rows)


if __name__ == "__main__":
    main()
