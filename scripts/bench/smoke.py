"""Is a training step as fast as it was? Its time over that of a fixed reference kernel, measured side by side.

    python scripts/bench/smoke.py            # says how each step stands to results/smoke.json; exit status 1 if slower
    python scripts/bench/smoke.py --renew    # measures with many rounds and writes that file: after a change that is
                                             # meant to make a step cost more, or that made it cheaper

The reference does what a step does, in plain torch: it gathers rows and adds them up where they belong and, where the
step has a softmax over the catalogue, multiplies matrices in the precision of the step and takes exponentials. So the
ratio depends little on the machine. Both run in turns in one thread, in CPU time of the process, and the least time of
each counts: other processes can only add to it. A step that looks slower than LIMIT times the record is measured again
with more rounds before it is called slower.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from gnnrec.datasets import powerlaw
from gnnrec.encoders.encode import from_array
from gnnrec.files import write_json
from gnnrec.graph import build_graph
from gnnrec.models.lightgcn import LightGCN, LightGCNConfig
from gnnrec.models.modality_gnn import ModalityGNN, ModalityGNNConfig
from gnnrec.threads import one_thread
from gnnrec.training import TrainConfig, Trainer

RECORD = Path(__file__).parent / "results" / "smoke.json"
LIMIT = 1.5  # times the record
ROUNDS = (10, 20, 40)  # of the first look and of those that a suspect gets
NUM_USERS, NUM_ITEMS, NUM_INTERACTIONS, DIM, BATCH = 3000, 2000, 40_000, 64, 1024
FEATURES = 32
BPR = TrainConfig(loss="bpr", negatives=1, batch_size=BATCH, precision="float32")
SOFTMAX = TrainConfig(loss="softmax", batch_size=BATCH, precision="float32")
SOFTMAX_LOW = TrainConfig(loss="softmax", batch_size=BATCH, precision="bfloat16")
VARIANTS: dict[str, tuple[type[LightGCN] | type[ModalityGNN], LightGCNConfig | ModalityGNNConfig, TrainConfig]] = {
    "lightgcn bpr": (LightGCN, LightGCNConfig(dim=DIM), BPR),
    "modality_gnn softmax": (ModalityGNN, ModalityGNNConfig(dim=DIM), SOFTMAX),
    "modality_gnn softmax bfloat16": (ModalityGNN, ModalityGNNConfig(dim=DIM), SOFTMAX_LOW),
}

Kernel = Callable[[], object]


def measurable() -> list[str]:
    """The variants that this processor has the instructions for."""
    low = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return [name for name, (_, _, config) in VARIANTS.items() if low or config.precision != "bfloat16"]


def step_of(variant: str) -> Kernel:
    """One training step on the same batch; a power-law log with times, and a modality of random features."""
    kind, config, training = VARIANTS[variant]
    log = powerlaw(NUM_USERS, NUM_ITEMS, NUM_INTERACTIONS, seed=0).interactions
    features = np.random.default_rng(0).normal(size=(NUM_ITEMS, FEATURES)).astype(np.float32)
    graph = build_graph(log, {"text": from_array(features)})
    model = kind(config, graph, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    trainer = Trainer(model, graph, log.rows(np.arange(0)), training)
    batch = torch.arange(0, len(log), len(log) // BATCH)[:BATCH]
    return lambda: trainer.step(batch)


def reference_of(variant: str) -> Kernel:
    """What the step of a variant is measured against. It uses nothing of gnnrec."""
    training = VARIANTS[variant][2]
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(NUM_USERS + NUM_ITEMS, DIM, generator=random)
    source, target = (torch.randint(len(rows), (2 * NUM_INTERACTIONS,), generator=random) for _ in range(2))
    out = torch.zeros_like(rows)
    left, right = (torch.randn(n, DIM, generator=random) for n in (BATCH, NUM_ITEMS))
    if training.precision == "bfloat16":
        left, right = left.bfloat16(), right.bfloat16()
    block = torch.empty(BATCH, NUM_ITEMS)

    def run() -> None:
        out.index_add_(0, target, rows.index_select(0, source))
        if training.loss == "softmax":
            block.copy_(left @ right.T)
            F.softmax(block, dim=1)

    return run


def measure(kernels: Mapping[str, tuple[Kernel, Kernel]], rounds: int) -> dict[str, float]:
    """Least CPU time of the step over the least of its reference, by variant; the two take turns."""
    ratios = {}
    with one_thread():
        for name, pair in kernels.items():
            least = [float("inf"), float("inf")]
            for _ in range(rounds):
                for place, kernel in enumerate(pair):
                    began = time.process_time_ns()
                    kernel()
                    least[place] = min(least[place], time.process_time_ns() - began)
            ratios[name] = least[0] / least[1]
    return ratios


def slower(
    kernels: Mapping[str, tuple[Kernel, Kernel]], record: Mapping[str, float], looks: Sequence[int] = ROUNDS
) -> dict[str, float]:
    """The variants whose step takes more than LIMIT times its record, also when looked at again, and how many times."""
    suspects = dict.fromkeys(kernels, float("inf"))
    for rounds in looks:
        found = measure({name: kernels[name] for name in suspects}, rounds)
        suspects = {name: ratio / record[name] for name, ratio in found.items() if ratio > LIMIT * record[name]}
        if not suspects:
            break
    return suspects


def read_record() -> dict[str, float]:
    record: dict[str, float] = json.loads(RECORD.read_text(encoding="utf-8"))
    return record


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--renew", action="store_true", help="write what is measured as the new record")
    options = parser.parse_args()
    kernels = {name: (step_of(name), reference_of(name)) for name in measurable()}
    old = read_record() if RECORD.exists() else {}
    if options.renew:
        write_json(RECORD, old | {name: round(ratio, 3) for name, ratio in measure(kernels, 200).items()})
        print(RECORD.read_text(encoding="utf-8"), end="")
        return 0
    bad = slower(kernels, old)
    for name, times in bad.items():
        print(f"{name}: {times:.2f} times the record; allowed: {LIMIT}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
