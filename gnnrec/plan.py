"""What a training would cost at a size that nobody has run yet: memory, seconds, traffic and machines, by formula.

LightGCN with the softmax and the rules of `training.TrainConfig` for batches and negatives. Rates are measured on this
machine in a minute (`calibrate`), by the product's own kernels and training steps; what follows is arithmetic.
Letters: U users, I items, N = U + I, E interactions, d dimensions, L layers, B rows of a batch, C items that a batch is
scored against (all up to train.whole_catalogue, else train.shared_negatives).

Seconds of a step (CPU seconds where torch has one thread, else wall):

    step = 4 L E d gather(4 N d / 2)      L layers, each two products of E entries, forward and backward
         + N d dense(4 N d)               Adam, the moving average, sums over layers, unit rows and their gradients
         + B C d softmax                  scores, exponentials and the gradients of both sides
         + B d batch                      rows of the batch taken from the tables, and their gradients put back
         + overhead

gather and dense are seconds per number as a function of the bytes of the table: near the core they are several times
faster than in memory. They are measured at SIZES and interpolated in the logarithm; above the largest they stay.

    epoch = step ceil(E / B)              B = max(train.batch_size, E / train.max_steps)
    graph = making + E build(E)           edges, both operators and their transposes, what the trainer keeps of them;
                                          build grows with log E (sorts), also beyond what was measured
    evaluation = U I d rank(I)            ranking everything for everybody in one pass; of few items lists cost more
               + E seen                   what each user has, put in order and masked
               + 2 L E d gather(4 N d / 2) + overhead

Bytes. What is there throughout is 80 E: the log and the trainer's own 16, edges 24 (int64, both ways share a row),
operators 32 (columns int32, values float32; both ways and transposed), the order of the rows 8; features 4 F per item;
and what the process has anyway. The peak is the larger of two moments:

    making    40 E (keys, their order, the rows put in order) while the transposed operators are made in the first
              backward pass, beside 12 N d (weights, average, best) and 20 N d (depths, sums and their gradients)
    training  20 N d (weights, average, best, two moments) and 8 N d (the embeddings and their sums), beside the batch,
              32 B d (8 tables of B rows) and 2^22 scores, in the softmax of every later step

Of measured trainings of 10,000 to 10 million interactions (docs/scale.md, scripts/bench/plan.py) each prediction was
off by at most MEASURED_ERROR; nothing larger was measured, and traffic and machines are arithmetic alone.

Data-parallel on M machines each has all tables and E / M of the edges' work; a step sends 2 (M - 1) / M 4 N d bytes
(ring all-reduce of the gradients). Where the tables do not fit, they are divided too, so M is at least bytes / memory.
"""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gnnrec.datasets import Interactions, powerlaw
from gnnrec.errors import UserError
from gnnrec.graph import GraphConfig, build_graph
from gnnrec.losses import BLOCK_SCORES, shared_softmax
from gnnrec.models.lightgcn import LightGCN, LightGCNConfig
from gnnrec.propagate import SparseOperator
from gnnrec.ranking import embedding_scorer, top_k
from gnnrec.training import TrainConfig, Trainer

SIZES = (1 << 19, 1 << 23, 1 << 25, 1 << 27)  # bytes of a table: in the core's own cache, shared cache, memory
LEAST_SECONDS = 0.5  # of a measurement: short ones are noisy
REPEATS = 3  # of which the fastest counts: what else runs on the machine can only slow a measurement
SCORED = (512, 4096)  # items of measured softmaxes
# Users and items of measured rankings: below and above ranking.MANY_SCORES, where another kernel ranks them.
RANKED = ((2_000, 100), (2_000, 300), (2_000, 1_000), (2_500, 2_500), (1_500, 10_000), (1_000, 40_000), (400, 160_000))
BUILT = (20_000, 100_000, 700_000, 5_000_000)  # interactions of measured graphs
SMALLEST = 1_000  # of the one that tells what a graph takes however small it is
FEW, BUILDS = 100_000, 5  # interactions of those that are made so often, since they take milliseconds
ENTRIES = 1_000_000  # of a measured product
GRAPH_BYTES, MAKING_BYTES = 80, 40  # per interaction
# Bytes per number of the tables, and of what a pass makes of them.
TABLES_MAKING, PASS_MAKING, TABLES_TRAINING, PASS_TRAINING = 12, 20, 20, 8
# The largest ones of results/plan.json, which a test looks at.
MEASURED_ERROR = {"step": 0.13, "epoch": 0.09, "evaluation": 0.19, "graph": 0.24, "memory": 0.04}
BATCH_BYTES = 32  # per number of a batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    users: int
    items: int
    interactions: int
    dim: int = 64
    layers: int = 3
    epochs: int = 100
    features: int = 0  # numbers of content per item

    def __post_init__(self) -> None:
        for key in ("users", "items", "interactions", "dim", "epochs"):
            if getattr(self, key) < 1:
                raise UserError(f"plan --{key}: found {getattr(self, key)}; allowed: 1 or more")
        if self.layers < 0 or self.features < 0:
            raise UserError("plan --layers, --features: allowed: 0 or more")

    @property
    def numbers(self) -> int:
        """Of all free embeddings, N d."""
        return (self.users + self.items) * self.dim


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Seconds per number by the size of what it is taken from: bytes of a table, or interactions."""

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]
    grows: bool = False  # beyond the largest size, as between the last two; else it stays

    def at(self, size: float) -> float:
        if self.grows and size > self.sizes[-1]:
            (first, last), (low, high) = np.log(self.sizes[-2:]), self.seconds[-2:]
            return float(high + max(high - low, 0.0) * (math.log(size) - last) / (last - first))
        return float(np.interp(math.log(max(size, 1)), np.log(self.sizes), self.seconds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Of one machine, each as the docstring of the module has it."""

    gather: Curve
    dense: Curve
    softmax: float
    batch: float
    overhead: float
    making: float
    build: Curve
    rank: Curve  # by items
    seen: float
    base_bytes: float  # of the process before there is data


def calibrate(dim: int) -> Rates:
    """Measure this machine; takes a minute, and 2.5 GB at most."""
    random = torch.Generator().manual_seed(0)
    _step(1 << 14, dim)  # loads what is loaded late, as does the next
    top_k(embedding_scorer(*torch.zeros(2, 2_100, dim)), torch.arange(2_100), 20)
    base = resident_bytes()
    # First of all, while memory is as new as it is in a training.
    making = _build(SMALLEST, dim)
    slopes = tuple(max(_build(size, dim) - making, 0.0) / size for size in BUILT)
    build = Curve(sizes=BUILT, seconds=slopes, grows=True)
    gather = Curve(sizes=SIZES, seconds=tuple(_gather(size, dim, random) for size in SIZES))
    softmax = _softmax(dim, random)
    batch = _batch(dim, softmax)
    steps = [_step(size, dim) for size in (1 << 14, *SIZES)]
    rest = [max(seconds - _known(work, gather, softmax, batch), 1e-9) for work, seconds in steps]
    overhead = rest[0]
    per_number = [max(left - overhead, 0) / work.numbers for (work, _), left in zip(steps[1:], rest[1:])]
    return Rates(
        gather=gather,
        dense=Curve(sizes=SIZES, seconds=tuple(per_number)),
        softmax=softmax,
        batch=batch,
        overhead=overhead,
        making=making,
        build=build,
        rank=Curve(
            sizes=tuple(items for _, items in RANKED),
            seconds=tuple(_rank(users, items, dim, random) / (users * items * dim) for users, items in RANKED),
        ),
        seen=_seen(dim, random),
        base_bytes=base,
    )


def batch_of(work: Workload, config: TrainConfig) -> tuple[int, int]:
    """B and C."""
    batch = max(config.batch_size, -(-work.interactions // config.max_steps))
    whole = work.items <= config.whole_catalogue
    return min(batch, work.interactions), work.items if whole else config.shared_negatives


def step_seconds(work: Workload, rates: Rates, config: TrainConfig | None = None) -> float:
    return (
        _known(work, rates.gather, rates.softmax, rates.batch, config)
        + work.numbers * rates.dense.at(4 * work.numbers)
        + rates.overhead
    )


def graph_seconds(work: Workload, rates: Rates) -> float:
    return rates.making + work.interactions * rates.build.at(work.interactions)


def evaluation_seconds(work: Workload, rates: Rates) -> float:
    forward = _products(work, rates.gather) / 2
    scores = work.users * work.items * work.dim * rates.rank.at(work.items)
    return forward + scores + work.interactions * rates.seen + rates.overhead


def _known(work: Workload, gather: Curve, softmax: float, per_row: float, config: TrainConfig | None = None) -> float:
    batch, scored = batch_of(work, config or TrainConfig())
    return _products(work, gather) + batch * work.dim * (scored * softmax + per_row)


def _products(work: Workload, gather: Curve) -> float:
    """Of a step, forward and backward."""
    return 4 * work.layers * work.interactions * work.dim * gather.at(2 * work.numbers)


def memory(work: Workload, rates: Rates, config: TrainConfig | None = None) -> dict[str, float]:
    """Bytes at the peak, by part."""
    batch, _ = batch_of(work, config or TrainConfig())
    making = {
        "tables": TABLES_MAKING * work.numbers,
        "propagation": PASS_MAKING * work.numbers,
        "making operators": MAKING_BYTES * work.interactions,
    }
    training = {
        "tables": TABLES_TRAINING * work.numbers,
        "propagation": PASS_TRAINING * work.numbers,
        "batch": BATCH_BYTES * batch * work.dim + 2 * BLOCK_SCORES,
    }
    return {
        "process": rates.base_bytes,
        "graph": GRAPH_BYTES * work.interactions,
        "content": 4 * work.features * work.items,
    } | max(making, training, key=lambda parts: sum(parts.values()))


def plan(
    work: Workload,
    rates: Rates,
    *,
    machine_bytes: float,
    gigabits: float = 10.0,
    machines: int | None = None,
    config: TrainConfig | None = None,
) -> dict[str, Any]:
    """The document of `gnnrec plan`: bytes, seconds, machines and traffic of one training.

    machines: by default as few as hold it. Raises UserError where fewer than these are asked for.
    """
    config = config or TrainConfig()
    batch, _ = batch_of(work, config)
    steps = -(-work.interactions // batch)
    parts, step = memory(work, rates, config), step_seconds(work, rates, config)
    needed = math.ceil(sum(parts.values()) / machine_bytes)
    count = needed if machines is None else machines
    if count < needed:
        raise UserError(
            f"plan --machines: found {count}; allowed: {needed} or more, each of {machine_bytes / 1e9:.0f} GB"
        )
    traffic = 2 * (count - 1) / count * 4 * work.numbers  # bytes of a step, to and from each machine
    compute, sending = step / count, traffic * 8 / (gigabits * 1e9)
    epoch = steps * (compute + sending)
    build, evaluation = graph_seconds(work, rates) / count, evaluation_seconds(work, rates) / count
    return {
        "steps_per_epoch": steps,
        "batch": batch,
        "memory": {name: round(size) for name, size in parts.items()} | {"all": round(sum(parts.values()))},
        "machines": count,
        "seconds": {
            "step": step,
            "sending": sending,
            "epoch": epoch,
            "graph": build,
            "evaluation": evaluation,
            "training": build + work.epochs * epoch,
        },
        "traffic_bytes_per_step": round(traffic),
        "traffic_bytes": round(traffic * steps * work.epochs),
        "hours": (build + work.epochs * epoch + evaluation) / 3600,
        "measured_error": MEASURED_ERROR,
    }


def resident_bytes() -> float:
    """Of this process, now."""
    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        return int(file.read().split()[1]) * 4096.0


def _clock() -> Callable[[], float]:
    """CPU seconds, which other processes disturb less, where one thread does the work."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def _fastest(run: Callable[[], object], repeats: int = REPEATS) -> float:
    clock = _clock()
    spent = list[float]()
    while len(spent) <= repeats or sum(spent) < LEAST_SECONDS:  # the first one makes what is made once
        began = clock()
        run()
        spent.append(clock() - began)
    return min(spent[1:])


def _gather(size: int, dim: int, random: torch.Generator) -> float:
    """Seconds per entry and dimension of a product with a table of so many bytes."""
    rows = max(size // (4 * dim), 1)
    columns = torch.randint(rows, (ENTRIES,), generator=random)
    offsets = torch.arange(0, ENTRIES + 1, 20)  # of 20 entries each
    operator = SparseOperator(offsets, columns, torch.ones(ENTRIES), (len(offsets) - 1, rows))
    table = torch.randn(rows, dim, generator=random)
    return _fastest(lambda: operator._multiply(table)) / (ENTRIES * dim)


def _softmax(dim: int, random: torch.Generator) -> float:
    """Seconds per score and dimension: many items less few, so that what a row costs is left to `_batch`."""
    batch, (few, scored) = 2048, SCORED
    query = torch.nn.functional.normalize(torch.randn(batch, dim, generator=random), dim=1).requires_grad_()
    items = torch.nn.functional.normalize(torch.randn(scored, dim, generator=random), dim=1).requires_grad_()
    target = torch.randint(scored, (batch,), generator=random)
    low = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())

    def seconds(count: int) -> float:
        own, drawn = target % count, torch.arange(count)
        return _fastest(lambda: shared_softmax(query * 5, items[own], items[:count], own, drawn, 10.0, low).backward())

    return max(seconds(scored) - seconds(few), 0.0) / (batch * (scored - few) * dim)


def _batch(dim: int, softmax: float) -> float:
    """Seconds per row and dimension of a batch, beside its softmax: a large batch less a small one, on one table."""
    work = Workload(users=3_000, items=100, interactions=40_000, dim=dim)  # few, so that a row outweighs its scores
    trainer = _trainer(work)
    sizes = 2_048, 16_384
    small, large = (_fastest(lambda size=size: trainer.step(torch.arange(size))) for size in sizes)  # type: ignore[misc]
    rows = sizes[1] - sizes[0]
    return max((large - small) / (rows * dim) - work.items * softmax, 0.0)


def _step(size: int, dim: int) -> tuple[Workload, float]:
    """A training step on a table of so many bytes and few interactions."""
    rows = max(size // (4 * dim), 40)
    work = Workload(
        users=rows * 3 // 4, items=rows - rows * 3 // 4, interactions=max(min(2 * rows, 60_000), 100), dim=dim
    )
    trainer = _trainer(work)
    batch = torch.arange(len(trainer.items))[: trainer.batch_size]
    exact = Workload(users=work.users, items=work.items, interactions=len(trainer.items), dim=dim)
    return exact, _fastest(lambda: trainer.step(batch), 3)


def _trainer(work: Workload) -> Trainer:
    size = min(work.interactions, work.users * work.items // 4)
    return _trainer_of(powerlaw(work.users, work.items, size).interactions.unordered(), work)


def _trainer_of(log: Interactions, work: Workload) -> Trainer:
    graph = build_graph(log, {}, config=GraphConfig(together=0))
    config = LightGCNConfig(dim=work.dim, layers=work.layers)
    model = LightGCN(config, graph, torch.Generator().manual_seed(0))
    return Trainer(model, graph, log.rows(np.zeros(0, dtype=np.int64)), TrainConfig())


def _build(size: int, dim: int) -> float:
    """Seconds of a graph and its operators: the median of a few where they are small, else made once.

    As in a training, memory is new (what was made before stays until the end) and so are the shapes of products, for
    which oneDNN makes code (another item each time).
    """
    clock, kept, spent = _clock(), list[Trainer](), list[float]()
    for number in range(BUILDS if size <= FEW else 1):
        work = Workload(users=max(size // 30, 100), items=max(size // 100, 100) + number, interactions=size, dim=dim)
        log = powerlaw(work.users, work.items, size).interactions.unordered()
        began = clock()
        trainer = _trainer_of(log, work)
        batch = torch.randperm(len(log))[: trainer.batch_size]
        trainer.step(batch)
        first = clock() - began
        spent.append(max(first - _fastest(lambda: trainer.step(batch), 1), 0.0))  # noqa: B023
        kept.append(trainer)
    return statistics.median(spent)


def _seen(dim: int, random: torch.Generator) -> float:
    """Seconds per interaction that is left out of a ranking."""
    users, items = 2_500, 2_500
    log = powerlaw(users, items, 40 * users).interactions
    plain, masked = (_rank(users, items, dim, random, known) for known in (None, log))
    return max(masked - plain, 0.0) / len(log)


def _rank(users: int, items: int, dim: int, random: torch.Generator, log: Interactions | None = None) -> float:
    """Seconds of ranking the items for each user, less those in the log."""
    scorer = embedding_scorer(*(torch.randn(rows, dim, generator=random) for rows in (users, items)))
    return _fastest(lambda: top_k(scorer, torch.arange(users), 20, None if log is None else log.matrix()))
