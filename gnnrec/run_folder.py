"""A run on disk: everything to evaluate, export, serve or resume it, rebuilt from its folder alone.

settings.toml            the resolved recipe
run.json                 provenance, sizes, columns; written last: a folder without it is unfinished
weights.safetensors      the model
embeddings.safetensors   user [U, d] and item [I, d], with all known interactions as histories
lists.safetensors        where scores are not the inner products of these: each user's best items [U, LISTED], scores
graph.safetensors        the training graph, and the train and val interactions
items.parquet, users.parquet    ids in index order, and the columns of the catalogue
metrics.json             the evaluation on val
rejected.csv             content that could not be used: file and line that name it, reason, path or text
log.jsonl, tensorboard/  the training; wandb/ where it is followed by --track wandb:…
encoders/MODALITY/       an encoder that was fine-tuned for this run
update.json              what gnnrec update found: what drifted, and the newest rows before and after
audit/                   what gnnrec audit measured of each user
frozen/                  the run of the same settings with the encoders as they came
due.json                 users whom it is due to forget, see due.py
data-keys.json           where all of this is encrypted, see vault.py; then without tensorboard/, encoders/, frozen/
"""

import hashlib
import io
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from gnnrec.datasets import Catalog, Dataset, Feedback, Interactions, join_logs
from gnnrec.datasets.pseudonyms import Pseudonyms
from gnnrec.datasets.sources.partitions import Partitions
from gnnrec.due import Refused
from gnnrec.errors import UserError, damaged
from gnnrec.files import KEYS
from gnnrec.notebook import table
from gnnrec.run_checks import (
    ID,
    check_graph,
    check_lists,
    check_memory,
    check_metrics,
    check_provenance,
    check_rows,
    load_catalog,
    load_ids,
)
from gnnrec.tensor_files import map_tensor, open_tensors, save_tensors
from gnnrec.untrusted import parse_json, read_parquet, refusing
from gnnrec.vault import read_bytes, sha256_of, write_bytes, write_json, write_text

if TYPE_CHECKING:  # torch and torch_geometric take seconds to import: only what builds the graph or the model does it
    from torch_geometric.data import HeteroData

    from gnnrec.models import Embeddings, Model
    from gnnrec.recipe import Recipe

FORMAT = 3
FILES = (
    *("settings.toml", "run.json", "weights.safetensors", "embeddings.safetensors", "graph.safetensors"),
    "lists.safetensors",
    *("items.parquet", "users.parquet", "metrics.json", "rejected.csv"),
    *("log.jsonl", "tensorboard", "wandb", "checkpoint.safetensors", "checkpoint-tables"),
    *("encoders", "frozen", "update.json", "due.json", "audit", KEYS),
)
LISTED = 100  # length of the saved lists


@dataclass(frozen=True)
class Run:
    """A finished run. Loading reads ids, catalogue and provenance; the rest is read when it is first asked for, and
    only `recipe`, `embeddings`, `model` and the graphs need torch."""

    folder: Path
    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    items: Catalog | None
    provenance: dict[str, Any]

    @cached_property
    def recipe(self) -> "Recipe":
        from gnnrec.recipe import Recipe, parse_toml

        path = self.folder / "settings.toml"
        try:
            content = read_bytes(path)
            text = content.decode("utf-8")
        except (OSError, ValueError) as error:
            raise damaged(path, error) from error
        # Cut between two lines it is TOML as well.
        if hashlib.sha256(content).hexdigest() != self.provenance.get("settings_sha256"):
            raise UserError(f"{path}: damaged: not as it was written (settings_sha256 in run.json)")
        return Recipe.from_dict(parse_toml(text, str(path)), str(path))

    def _repr_html_(self) -> str:
        """For notebooks: what it is, and its metrics on validation."""
        told, found = self.provenance, self.metrics
        facts = [
            ["model", self.recipe.model_name],
            ["data", f"{told['dataset']['name']}, {told['dataset']['path']}"],
            ["users, items", f"{len(self.user_ids):,}, {len(self.item_ids):,}"],
            ["split", told["split"]["method"]],
            ["kept epoch", f"{told['best_epoch']} of {told['epochs']}" if told["epochs"] else "computed at once"],
            ["finished", f"{told['finished']}, after {told['total_seconds']:.0f} s"],
        ]
        rows = [[name, value, *found["confidence"][name]] for name, value in found.get("metrics", {}).items()]
        validation = table("Validation, 95 % intervals", ("metric", "mean", "low", "high"), rows) if rows else ""
        return table(str(self.folder), (), facts) + validation

    @property
    def metrics(self) -> dict[str, Any]:
        """The evaluation on validation; empty where there was none."""
        path = self.folder / "metrics.json"
        with refusing(path):
            found: dict[str, Any] = parse_json(read_bytes(path), path)
        check_metrics(found, path)
        return found

    @property
    def frozen(self) -> "Run | None":
        """The run beside which this one was trained, with the encoders as they came."""
        folder = self.folder / "frozen"
        return Run.load(folder) if folder.exists() else None

    @cached_property
    def train(self) -> Interactions:
        return self._logs["train"]

    @cached_property
    def val(self) -> Interactions:
        return self._logs["val"]

    @cached_property
    def known(self) -> Interactions:
        return join_logs(self.train, self.val)

    @cached_property
    def graph(self) -> "HeteroData":
        """The training graph."""
        from gnnrec.run_tensors import map_tensors, unpack_graph

        path = self.folder / "graph.safetensors"
        with refusing(path, "does not fit the run"):
            graph = unpack_graph(map_tensors(path))
            check_graph(graph, len(self.user_ids), len(self.item_ids))
        return graph

    @cached_property
    def known_graph(self) -> "HeteroData":
        """The training graph with train and val interactions as histories: what is known when serving."""
        from gnnrec.graph import with_interactions

        return with_interactions(self.graph, self.known)

    @cached_property
    def model(self) -> "Model":
        from torch import Generator

        from gnnrec.models import MODELS
        from gnnrec.run_tensors import load_tensors, load_weights

        check_memory(self.recipe.model, len(self.user_ids) + len(self.item_ids), self.folder)
        with refusing(self.folder / "weights.safetensors", "does not fit settings.toml and graph.safetensors"):
            model: Model = MODELS[self.recipe.model_name][0](self.recipe.model, self.graph, Generator())
            load_weights(model, load_tensors(self.folder / "weights.safetensors"), self.folder)
        model.eval()
        return model

    @cached_property
    def has_embeddings(self) -> bool:
        """Whether users and items have vectors."""
        if (self.folder / "embeddings.safetensors").exists():
            return True
        from gnnrec.models import has_embeddings

        return has_embeddings(self.model)

    @property
    def ranks_by_embeddings(self) -> bool:
        """Whether a score is the inner product of the saved embeddings and nothing is added to it."""
        return bool(self.provenance["by_embeddings"])

    @property
    def embeddings(self) -> "Embeddings":
        """Of all users and items, with everything known as history. Raises UserError for a model without them."""
        import torch

        from gnnrec.models import Embeddings

        return Embeddings(torch.from_numpy(self.user_vectors), torch.from_numpy(self.item_vectors))

    @cached_property
    def item_vectors(self) -> NDArray[np.float32]:
        """The items' embeddings, a memory map where they are not encrypted. [I, d]"""
        return self._vectors("item")

    @cached_property
    def user_vectors(self) -> NDArray[np.float32]:
        """The users' embeddings, a memory map where they are not encrypted. [U, d]"""
        return self._vectors("user")

    def user_vector(self, index: int) -> NDArray[np.float32]:
        """The embedding of one user, of whom alone the file is read. [d]"""
        vector: NDArray[np.float32] = self._vectors("user", slice(index, index + 1))[0]
        return vector

    def user_list(self, index: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The best items of one user, by the model, without those she had, and their scores; at most LISTED."""
        row = slice(index, index + 1)
        parts = (self._rows("lists.safetensors", key, len(self.user_ids), row) for key in ("item", "score"))
        items, scores = check_lists(self.folder, parts, len(self.item_ids), LISTED)
        return items[items >= 0], scores[items >= 0]

    @property
    def lists(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The best items of every user [U, LISTED], -1 where there are no more, and their scores. Memory maps."""
        parts = (self._mapped("lists.safetensors", key, len(self.user_ids)) for key in ("item", "score"))
        return check_lists(self.folder, parts, len(self.item_ids), LISTED)

    def dataset(self, folder: Path | None = None) -> Dataset:
        """The data it was trained on, read again from its folder or, where that has moved, from the given one, with as
        many events of the feedback log as there were."""
        made_of = self.provenance["dataset"]
        if (feedback := made_of.get("feedback")) is not None:
            feedback = Feedback(path=Path(feedback["path"]), num_events=feedback["num_events"])
        check = made_of.get("pseudonyms")
        pseudonyms = None if check is None else Pseudonyms.required(check)
        return Dataset.load(folder or made_of["path"], feedback, pseudonyms, self.partitions)

    @property
    def partitions(self) -> tuple[Partitions, ...]:
        """What came after the dataset's folder and is in this run: see gnnrec update."""
        return tuple(
            Partitions(folder=Path(one["folder"]), files=tuple(one["files"]))
            for one in self.provenance["dataset"].get("partitions", ())
        )

    def user_index(self, name: str) -> int:
        """Raises UserError for an unknown id, and for a user whom the run is due to forget."""
        if (key := self.user_key(name)) in self.refused:
            raise UserError(f"{self.folder}: no user with the id {name!r}: she is due to be forgotten")
        return _index_of(self._user_index, key, f"{self.folder}: no user")

    def user_key(self, name: str) -> str:
        """What stands for a user in this run: her id, or her pseudonym, where the run has these and the key is here."""
        return name if self._pseudonyms is None else self._pseudonyms.of(name)

    @cached_property
    def refused(self) -> Refused:
        """Whom this run is due to forget, by `user_key`."""
        return Refused(self.folder)

    @property
    def due(self) -> NDArray[np.bool_]:
        """Which of its users it is due to forget. [U]"""
        if not len(self.refused):
            return np.zeros(len(self.user_ids), dtype=bool)
        return np.array([name in self.refused for name in self.user_ids])

    @cached_property
    def _pseudonyms(self) -> Pseudonyms | None:
        check = self.provenance["dataset"].get("pseudonyms")
        if check is None or Pseudonyms.from_environment() is None:
            return None
        return Pseudonyms.required(check)

    def item_index(self, name: str) -> int:
        """Raises UserError for an unknown id."""
        return _index_of(self._item_index, name, f"{self.folder}: no item")

    @cached_property
    def _user_index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.user_ids)}

    @cached_property
    def _item_index(self) -> dict[str, int]:
        return {name: index for index, name in enumerate(self.item_ids)}

    @cached_property
    def _logs(self) -> dict[str, Interactions]:
        """train and val, read together: an encrypted file is decrypted as a whole."""
        path, columns = self.folder / "graph.safetensors", dict[str, dict[str, Any]](train={}, val={})
        users, items = len(self.user_ids), len(self.item_ids)
        with refusing(path):
            with open_tensors(path) as file:
                for key in file.keys():  # noqa: SIM118 (not a dict)
                    kind, *place = key.split("/")
                    if kind == "log":
                        columns[place[0]][place[1]] = file.get_tensor(key)
            return {name: Interactions(num_users=users, num_items=items, **found) for name, found in columns.items()}

    def _vectors(self, owner: str, rows: slice | None = None) -> NDArray[np.float32]:
        """Embeddings of "user" or "item" from the file: the given rows, else all of them as a memory map."""
        if not self.has_embeddings:
            raise UserError(f"{self.folder}: the model {self.recipe.model_name} scores without embeddings")
        name, size = "embeddings.safetensors", len(self.user_ids if owner == "user" else self.item_ids)
        return self._mapped(name, owner, size) if rows is None else self._rows(name, owner, size, rows)

    def _rows(self, name: str, key: str, size: int, rows: slice) -> NDArray[Any]:
        """Some rows of a stored array that has to have `size` of them."""
        path = self.folder / name
        with refusing(path), open_tensors(path) as file:
            stored = file.get_slice(key)
            check_rows(path, key, stored.get_shape(), size)  # before a row is asked for, which may be of any length
            array: NDArray[Any] = stored[rows]
        return array

    def _mapped(self, name: str, key: str, size: int) -> NDArray[Any]:
        path = self.folder / name
        with refusing(path):
            array = map_tensor(path, key)
        check_rows(path, key, array.shape, size)
        return array

    @classmethod
    def load(cls, folder: str | Path) -> "Run":
        """Raises UserError where the folder holds no finished run, or a damaged one."""
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; expected a run made by gnnrec train")
        if not (folder / "run.json").exists():
            what = "an unfinished run" if (folder / "checkpoint.safetensors").exists() else "no run"
            raise UserError(f"{folder}: holds {what} (run.json is missing); gnnrec train makes or finishes one")
        with refusing(folder):
            provenance = parse_json(read_bytes(folder / "run.json"), folder / "run.json")
            tables = {name: read_bytes(folder / f"{name}.parquet") for name in ("users", "items")}
        if (found := provenance.get("format")) != FORMAT:
            raise UserError(f"{folder}/run.json: format {found!r}; this version reads {FORMAT}")
        check_provenance(provenance, folder / "run.json")
        users, items = (read_parquet(found, folder / f"{name}.parquet") for name, found in tables.items())
        catalog = load_catalog(items, provenance, folder)
        user_ids, item_ids = load_ids(users, folder / "users.parquet"), load_ids(items, folder / "items.parquet")
        return cls(folder=folder, user_ids=user_ids, item_ids=item_ids, items=catalog, provenance=provenance)


def save_run(
    folder: Path,
    recipe: "Recipe",
    dataset: Dataset,
    graph: "HeteroData",
    train: Interactions,
    val: Interactions,
    model: "Model",
    metrics: dict[str, Any],
    provenance: dict[str, Any],
) -> Run:
    """Write everything, run.json last, and read it back."""
    from gnnrec.graph import with_interactions
    from gnnrec.models import embeddings_of, has_embeddings, model_scorer
    from gnnrec.ranking import top_k
    from gnnrec.run_tensors import pack_graph, pack_log, ranks_by_embeddings

    log, by_embeddings = join_logs(train, val), False
    known = with_interactions(graph, log)
    model.eval()
    embeddings = embeddings_of(model, known) if has_embeddings(model) else None
    scorer = model_scorer(model, known, embeddings)
    write_text(folder / "settings.toml", recipe.to_toml())
    save_tensors(folder / "weights.safetensors", dict(model.state_dict()))
    if embeddings is not None:
        by_embeddings = ranks_by_embeddings(scorer, embeddings)
        save_tensors(folder / "embeddings.safetensors", {"user": embeddings.user, "item": embeddings.item})
    if not by_embeddings:
        best = top_k(scorer, np.arange(log.num_users), LISTED, log.matrix())
        save_tensors(folder / "lists.safetensors", {"item": best.items.int(), "score": best.scores})
    save_tensors(folder / "graph.safetensors", pack_graph(graph) | pack_log("train", train) | pack_log("val", val))
    for name, ids, catalog in (("users", dataset.user_ids, dataset.users), ("items", dataset.item_ids, dataset.items)):
        table = pl.DataFrame({ID: list(ids)}, schema={ID: pl.String})
        if catalog is not None:
            media = (catalog.media or {}).items()
            table = table.hstack(catalog.table).with_columns(_path_column(*one) for one in media)
        content = io.BytesIO()
        table.write_parquet(content)
        write_bytes(folder / f"{name}.parquet", content.getbuffer())
    write_json(folder / "metrics.json", metrics)
    items = None
    if dataset.items is not None:
        items = {"text": list(dataset.items.text_columns), "media": sorted(dataset.items.media or {})}
    made = {"by_embeddings": by_embeddings, "settings_sha256": sha256_of(folder / "settings.toml")}
    write_json(folder / "run.json", {"format": FORMAT, **provenance, "items": items, **made})
    return Run.load(folder)


def save_rejected(folder: Path, rejected: pl.DataFrame) -> None:
    """Of content only: a row of the log that was set aside may be a test row, and a run holds none."""
    write_text(folder / "rejected.csv", rejected.write_csv())


def _path_column(modality: str, paths: tuple[Path | None, ...]) -> pl.Series:
    return pl.Series(f"__{modality}__", [None if path is None else str(path) for path in paths], dtype=pl.String)


def _index_of(index: dict[str, int], name: str, nobody: str) -> int:
    if name not in index:
        some = ", ".join(list(index)[:3])
        raise UserError(f"{nobody} with the id {name!r}; there are {len(index):,}, for example {some}")
    return index[name]
