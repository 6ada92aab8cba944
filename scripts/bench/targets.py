"""Where embeddings live, by one run: how long they take to write, whether they answer as the exact search, how fast.

    python scripts/bench/targets.py RUN [--rows N]

The embeddings of a run, or with --rows N random ones of N items, 64 dimensions and 1,000 users (for these, whatever is
approximate is at its worst: no two items are alike). Users and items are written, then up to 200 users' ten best asked
for one by one, as gnnrec export does. PostgreSQL is a server of its own in a temporary folder, reached by a socket;
Qdrant runs in this process, which is its client's own search in numpy and says nothing of a server's speed.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import lancedb
import numpy as np
import pgserver
import torch
from qdrant_client import QdrantClient
from rows import row, save

from gnnrec.export import Exported, export_embeddings
from gnnrec.run_folder import Run
from gnnrec.targets import Target, open_target
from gnnrec.targets.check import Answers, check_answers, check_files
from gnnrec.targets.moving import store
from gnnrec.targets.qdrant import Qdrant

NAME = "bench"
FILES = {"Parquet": "parquet", "FAISS": "faiss", "FAISS, product quantization": "faiss-pq"}


def files(embeddings: Exported, format: str) -> tuple[float, Answers]:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        export_embeddings(*embeddings, Path(folder), (format,))
        return time.perf_counter() - began, check_files(Path(folder), format, embeddings)


def database(embeddings: Exported, target: Target, exact: bool) -> tuple[float, Answers]:
    with closing(target):
        began = time.perf_counter()
        store(target, embeddings, {}, exact=exact, replace=True)
        return time.perf_counter() - began, check_answers(target.search, embeddings.user, embeddings)


@contextmanager
def places() -> Iterator[dict[str, Callable[[], Target]]]:
    with tempfile.TemporaryDirectory() as folder:
        lancedb.connect(f"{folder}/lance")  # imported and started before the clock runs
        server = pgserver.get_server(Path(folder) / "postgresql", cleanup_mode="stop")
        yield {
            "LanceDB": lambda: open_target(f"lancedb:{folder}/lance", NAME),
            "PostgreSQL with pgvector": lambda: open_target(server.get_uri(), NAME),
            "Qdrant, in process": lambda: Qdrant(QdrantClient(":memory:"), NAME, "qdrant:here"),
        }
        server.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    run, random = Run.load(options.run), np.random.default_rng(0)
    dataset = run.provenance["dataset"]["name"]
    embeddings = Exported(run.embeddings.user.numpy(), run.embeddings.item.numpy(), run.user_ids, run.item_ids)
    if options.rows:
        dataset = f"random, {options.rows:,} items"
        user, item = (random.normal(size=(rows, 64)).astype(np.float32) for rows in (1_000, options.rows))
        embeddings = Exported(user, item, tuple(map(str, range(1_000))), tuple(map(str, range(options.rows))))
    found: dict[str, tuple[float, Answers]] = {name: files(embeddings, format) for name, format in FILES.items()}
    with places() as targets:
        for name, opened in targets.items():
            found[f"{name}, exact"] = database(embeddings, opened(), exact=True)
            if not name.startswith("Qdrant"):  # whose client builds no index
                found[f"{name}, HNSW"] = database(embeddings, opened(), exact=False)
    results = []
    for name, (seconds, answers) in found.items():
        values = {"recall@10": answers.recall, "milliseconds": answers.milliseconds}
        print(dataset, name, f"{seconds:.2f} s", values, flush=True)
        results.append(row(dataset, name, [0], [values], seconds))
    save("targets", results)


if __name__ == "__main__":
    main()
