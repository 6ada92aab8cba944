"""Private scoring: times, bytes, errors, and whether the ten best are those of the plain inner products.

python scripts/bench/private.py [RUN]     made catalogues of 4,096 and 16,384 items with 64 dimensions, and a run's own
python scripts/bench/private.py --http    a service of 4,096 made items and its client, as processes of their own
One thread, without --http client and server in one process; the medians over the users.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rows import row, save

from gnnrec.datasets import powerlaw
from gnnrec.pipeline import train
from gnnrec.privacy import client
from gnnrec.privacy.homomorphic import PARAMETERS, PrivateCatalogue, PrivateUser
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run
from gnnrec.scoring_commands import served

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


def over_http(place: Path) -> dict[str, float]:
    """All that `gnnrec private-recommend URL` does but its own start: parameters, ids and titles, scores, the list."""
    log = powerlaw(500, 4_096, 200_000)
    recipe = load_recipe("mf", ["train.epochs=1", "model.dim=64"])
    run = train(log, place / "run", recipe)
    spent, same = [], []
    with served(run.folder) as address:
        for user in range(USERS):
            began = time.perf_counter()
            found = client.recommend(address, run.user_vectors[user], (), BEST)
            spent.append((*found.seconds.values(), time.perf_counter() - began))
            plain = np.argsort(-(run.item_vectors.astype(float) @ run.user_vectors[user]), kind="stable")[:BEST]
            same.append([name for name, *_ in found.places] == [run.item_ids[item] for item in plain])
    encrypt, score, decrypt, whole = (1000 * statistics.median(column) for column in zip(*spent))
    return {
        "items": len(run.item_ids),
        "dimensions": run.item_vectors.shape[1],
        "encrypt_ms": encrypt,
        "score_ms": score,
        "decrypt_ms": decrypt,
        "whole_ms": whole,
        "first_ms": 1000 * spent[0][-1],
        "bytes_up": found.bytes_up,
        "bytes_down": found.bytes_down,
        "same_best_share": float(np.mean(same)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Private scoring: times, bytes, errors.")
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--http", action="store_true")
    options = parser.parse_args()
    if options.http:
        began = time.perf_counter()
        with tempfile.TemporaryDirectory(prefix="private-") as name:
            found = over_http(Path(name))
        variant = f"CKKS, degree {PARAMETERS.poly_modulus_degree}, over HTTP"
        save("private", [row(f"made, {found['items']:,} items", variant, [0], [found], time.perf_counter() - began)])
        print(found)
        sys.exit()
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
