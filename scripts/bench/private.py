"""Private scoring: times, bytes, errors, and whether the ten best are those of the plain inner products.

python scripts/bench/private.py [RUN]     made catalogues of 4,096 and 16,384 items with 64 dimensions, and a run's own
One thread, client and server in one process, without HTTP; the medians over the users.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rows import row, save

from gnnrec.privacy.homomorphic import PARAMETERS, PrivateCatalogue, PrivateUser
from gnnrec.run_folder import Run

USERS, BEST = 100, 10


def measure(items: NDArray[Any], users: NDArray[Any]) -> dict[str, float]:
    catalogue, spent, used, errors, same, sizes = PrivateCatalogue(items), [], [], [], [], (0, 0)
    items = items.astype(float) / np.linalg.norm(items.astype(float), axis=1).max()
    for vector in users:
        cpu, began, user = time.process_time(), time.perf_counter(), PrivateUser()
        message = user.encrypt(vector)
        encrypted = time.perf_counter()
        answer = catalogue.score(message)
        scored = time.perf_counter()
        scores = user.decrypt(answer, len(items))
        spent.append((encrypted - began, scored - encrypted, time.perf_counter() - scored))
        used.append(time.process_time() - cpu)
        plain = items @ (vector.astype(float) / np.linalg.norm(vector.astype(float)))
        errors.append(np.abs(scores - plain).max())
        same.append(np.argsort(-scores)[:BEST].tolist() == np.argsort(-plain)[:BEST].tolist())
        sizes = len(message), len(answer)
    encrypt, score, decrypt = (1000 * statistics.median(column) for column in zip(*spent))
    return {
        "items": len(items),
        "dimensions": items.shape[1],
        "encrypt_ms": encrypt,
        "score_ms": score,
        "decrypt_ms": decrypt,
        "whole_ms": 1000 * statistics.median(sum(times) for times in spent),
        "cpu_ms": 1000 * statistics.median(used),
        "bytes_up": sizes[0],
        "bytes_down": sizes[1],
        "largest_error": float(max(errors)),
        "same_best_share": float(np.mean(same)),
        "security_bits": PARAMETERS.security_bits,
    }


def made(num_items: int, dim: int = 64) -> tuple[NDArray[Any], NDArray[Any]]:
    random = np.random.default_rng(0)
    return random.normal(size=(num_items, dim)), random.normal(size=(USERS, dim))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Private scoring: times, bytes, errors.")
    parser.add_argument("run", type=Path, nargs="?")
    options = parser.parse_args()
    measured = [(f"made, {size:,} items", *made(size)) for size in (4096, 16_384)]
    if options.run is not None:
        run = Run.load(options.run)
        chosen = np.random.default_rng(0).permutation(len(run.user_ids))[:USERS]
        measured.append((run.provenance["dataset"]["name"], run.item_vectors, run.user_vectors[chosen]))
    for name, items, users in measured:
        began = time.perf_counter()
        found = measure(items, users)
        variant = f"CKKS, degree {PARAMETERS.poly_modulus_degree}"
        save("private", [row(name, variant, [0], [found], time.perf_counter() - began)])
        print(name, found)
