"""One contestant of speed.py, in a process and an environment of its own: trains, and offers its embeddings each round.

    python contestant.py NAME FOLDER THREADS

FOLDER/train.npy holds (user, item) rows [E, 2], features.npy the content of the items where there is any. After each
round FOLDER/user.npy and item.npy (score: inner product) are written and one line of JSON is printed: epochs, CPU and
wall seconds of training so far (building the graph included; imports, this writing and the evaluation are not), peak
memory. The parent answers "more" or "stop". Only the module of the named contestant is imported, so that any
environment with that library can run this file.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Round = tuple[int, Callable[[], tuple[Any, Any]]]  # epochs so far, and how to get user and item embeddings


def gnnrec(train: np.ndarray, folder: Path, threads: int, start: str) -> Callable[[], Iterator[Round]]:
    import threading

    import torch

    from gnnrec.datasets import Interactions
    from gnnrec.graph import build_graph
    from gnnrec.models import MODELS
    from gnnrec.recipe import load_recipe
    from gnnrec.training import Trainer

    recipe = load_recipe(
        "lightgcn_softmax", ["train.validate_every=100000", "graph.together=0", f"model.start={start}"]
    )

    def rounds() -> Iterator[Round]:
        user, item = train.T.astype(np.int32)
        log = Interactions(user=user, item=item, num_users=int(user.max()) + 1, num_items=int(item.max()) + 1)
        graph = build_graph(log, {}, config=recipe.graph)
        kind, _ = MODELS[recipe.model_name]
        model = kind(recipe.model, graph, torch.Generator().manual_seed(0))
        model.begin(graph)
        trainer = Trainer(model, graph, log.rows(np.arange(0)), recipe.train)

        def embeddings() -> tuple[Any, Any]:
            with torch.no_grad(), trainer.weights.averaged(trainer.state.updates):
                return model(graph)[:2]

        yield 0, embeddings  # what the tables start from makes lists already
        while True:
            trainer.epoch(threading.Event())
            yield trainer.state.epoch, embeddings

    return rounds


def pyg(train: np.ndarray, folder: Path, threads: int) -> Callable[[], Iterator[Round]]:
    """As in its example (lr .001, d 64), with the batch of RecBole and the faster of its two kinds of adjacency."""
    import torch
    from torch_geometric.nn.models import LightGCN

    def rounds() -> Iterator[Round]:
        torch.manual_seed(0)
        users, items = torch.from_numpy(train.T.copy()).long()
        num_users, size = int(users.max()) + 1, int(users.max()) + int(items.max()) + 2
        edges = torch.stack([users, items + num_users])
        both = torch.cat([edges, edges.flip(0)], dim=1)
        structure = torch.sparse_coo_tensor(both, torch.ones(both.shape[1]), (size, size)).to_sparse_csr()
        model = LightGCN(size, 64, 3)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

        def embeddings() -> tuple[Any, Any]:
            with torch.no_grad():
                found = model.get_embedding(structure)
            return found[:num_users], found[num_users:]

        epochs = 0
        while True:
            for batch in torch.randperm(len(users)).split(2048):
                negative = torch.randint(num_users, size, (len(batch),))
                labels = torch.cat([edges[:, batch], torch.stack([edges[0, batch], negative])], dim=1)
                ranks = model(structure, edge_label_index=labels)
                loss = model.recommendation_loss(*ranks.chunk(2), node_id=labels.unique())
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
            epochs += 1
            yield epochs, embeddings

    return rounds


def recbole(train: np.ndarray, folder: Path, threads: int) -> Callable[[], Iterator[Round]]:
    """LightGCN with RecBole's own defaults (d 64, 2 layers, lr .001, batch 2048)."""
    import torch
    from scipy.sparse import dok_matrix

    # RecBole 1.2.1 was written for NumPy 1 and SciPy 1.10; these are the names that it misses.
    dok_matrix._update = lambda self, cells: self._dict.update(cells)
    for name, kind in (("float_", np.float64), ("complex_", np.complex128), ("unicode_", np.str_)):
        setattr(np, name, kind)
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.general_recommender import LightGCN
    from recbole.trainer import Trainer

    (folder / "log").mkdir(exist_ok=True)
    lines = "".join(f"{user}\t{item}\n" for user, item in train)
    for part, rows in (("train", lines), ("valid", lines[: lines.index("\n") + 1])):
        text = "user_id:token\titem_id:token\n" + rows
        (folder / "log" / f"log.{part}.inter").write_text(text)
    settings = {
        "data_path": str(folder),
        "benchmark_filename": ["train", "valid", "valid"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "checkpoint_dir": str(folder),
        "use_gpu": False,
        "show_progress": False,
        "seed": 0,
        "reproducibility": True,
    }
    arguments, sys.argv = sys.argv, sys.argv[:1]  # RecBole parses the command line
    config = Config(model="LightGCN", dataset="log", config_dict=settings)
    sys.argv = arguments
    torch.set_num_threads(threads)

    def rounds() -> Iterator[Round]:
        dataset = create_dataset(config)
        data = data_preparation(config, dataset)[0]
        model = LightGCN(config, data.dataset)
        trainer = Trainer(config, model)
        num_users, num_items = train.max(0) + 1
        place = [
            np.array([dataset.field2token_id[field].get(str(number), 0) for number in range(count)])
            for field, count in (("user_id", num_users), ("item_id", num_items))
        ]

        def embeddings() -> tuple[Any, Any]:
            with torch.no_grad():
                user, item = model.forward()
            return user[place[0]], item[place[1]]

        epochs = 0
        while True:
            trainer._train_epoch(data, epochs, show_progress=False)
            epochs += 1
            yield epochs, embeddings

    return rounds


def implicit(train: np.ndarray, folder: Path, threads: int, kind: str) -> Callable[[], Iterator[Round]]:
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    from scipy.sparse import csr_matrix

    def rounds() -> Iterator[Round]:
        matrix = csr_matrix((np.ones(len(train), dtype=np.float32), tuple(train.T)))
        made = {"als": AlternatingLeastSquares, "bpr": BayesianPersonalizedRanking}[kind]
        model = made(factors=64, iterations=1, num_threads=threads, random_state=0)
        epochs = 0
        while True:
            model.random_state = epochs  # else every call of fit draws the same pairs
            model.fit(matrix, show_progress=False)
            epochs += 1
            yield epochs, lambda: (model.user_factors, model.item_factors)

    return rounds


def cornac(train: np.ndarray, folder: Path, threads: int) -> Callable[[], Iterator[Round]]:
    """VBPR with the settings of Cornac's example (k 10 and 10, lr .005, batch 100), on FOLDER/features.npy [I, d].

    One epoch a call of fit, which takes up the parameters and starts Adam's moments anew.
    """
    import torch
    from cornac.data import Dataset, ImageModality
    from cornac.models import VBPR

    torch.set_num_threads(threads)
    features = np.load(folder / "features.npy")

    def rounds() -> Iterator[Round]:
        log = Dataset.from_uir([(user, item, 1.0) for user, item in train], seed=0)
        image = ImageModality(features=features, ids=list(range(len(features))), normalized=False)
        image.build(id_map=dict(log.iid_map))
        log.add_modalities(item_image=image)
        model = VBPR(n_epochs=1, seed=0, verbose=False)
        num_users, num_items = train.max(0) + 1

        def embeddings() -> tuple[Any, Any]:
            found = model.get_user_vectors(), model.get_item_vectors()
            user, item = (np.zeros((n, found[0].shape[1])) for n in (num_users, num_items))
            user[list(log.uid_map)], item[list(log.iid_map)] = found[0], found[1][: len(log.iid_map)]
            return user, item

        epochs = 0
        while True:
            model.fit(log)
            epochs += 1
            yield epochs, embeddings

    return rounds


CONTESTANTS: dict[str, Callable[[np.ndarray, Path, int], Callable[[], Iterator[Round]]]] = {
    "gnnrec": lambda train, folder, threads: gnnrec(train, folder, threads, "factors"),
    "gnnrec_random": lambda train, folder, threads: gnnrec(train, folder, threads, "random"),
    "pyg": pyg,
    "recbole": recbole,
    "cornac_vbpr": cornac,
    "implicit_als": lambda train, folder, threads: implicit(train, folder, threads, "als"),
    "implicit_bpr": lambda train, folder, threads: implicit(train, folder, threads, "bpr"),
}


def main() -> None:
    name, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    rounds = CONTESTANTS[name](np.load(folder / "train.npy"), folder, threads)
    cpu = wall = 0.0
    course = rounds()
    while True:
        began = time.process_time(), time.perf_counter()
        epochs, embeddings = next(course)
        cpu, wall = cpu + time.process_time() - began[0], wall + time.perf_counter() - began[1]
        for side, values in zip(("user", "item"), embeddings()):
            np.save(folder / f"{side}.npy", np.asarray(values, dtype=np.float32))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            json.dumps({"epochs": epochs, "cpu": cpu, "wall": wall, "peak_mb": round(peak)}), file=answers, flush=True
        )
        if sys.stdin.readline().strip() != "more":
            return


if __name__ == "__main__":
    main()
