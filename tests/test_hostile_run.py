"""A run folder from a stranger: it runs no code, names nothing outside itself, and asks for no more than it holds."""

import io
import json
import math
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from gnnrec.errors import UserError
from gnnrec.export import import_embeddings
from gnnrec.files import sha256_of_file
from gnnrec.run_folder import LISTED, Run
from gnnrec.untrusted import parse_npy, read_parquet


@pytest.fixture
def folder(tiny_runs: dict[str, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_runs["default"], tmp_path / "run"))


def told(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / "run.json").read_text())
    change(document)
    (folder / "run.json").write_text(json.dumps(document))


def tensors(folder: Path, name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    found = load_file(folder / name)
    change(found)
    save_file({key: value.contiguous() for key, value in found.items()}, folder / name)


def posters(folder: Path, path: str) -> None:
    table = pl.read_parquet(folder / "items.parquet")
    table.with_columns(pl.lit(path).alias("__image__")).write_parquet(folder / "items.parquet")


@pytest.mark.parametrize("path", ["/etc/passwd", "{data}/../../private.png", "{data}x/private.png", "private.png", ""])
def test_pictures_outside_the_dataset_are_refused(folder: Path, tiny_data: Path, path: str) -> None:
    posters(folder, path.format(data=tiny_data))
    with pytest.raises(UserError, match=r"items\.parquet: .* is outside the folder of the dataset"):
        Run.load(folder)


def test_no_other_folder_passes_for_the_dataset(folder: Path, tmp_path: Path) -> None:
    """Whoever writes run.json may name any folder there; where there is no dataset, nothing of it is shown."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "private.png").write_bytes(b"mine")
    posters(folder, str(tmp_path / "home" / "private.png"))
    told(folder, lambda run: run["dataset"].update(path=str(tmp_path / "home")))
    run = Run.load(folder)
    assert run.items is not None and run.items.media is not None
    assert set(run.items.media["image"]) == {None}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: run.update(dataset=[]), "dataset: found '[]'; expected dict"),
        (lambda run: run["dataset"].update(path=5), "dataset.path: found '5'; expected str"),
        (lambda run: run.pop("items"), "items: found 'Ellipsis'; expected dict or nothing"),
        (lambda run: run.update(items={"text": "title", "media": []}), "items: expected lists of text and media"),
        (lambda run: run["dataset"].update(feedback={"path": "/x"}), "dataset.feedback: expected path and num_events"),
        (lambda run: run["dataset"].update(rating_scale=["a", 5]), "dataset.rating_scale: expected the lowest and"),
        (lambda run: run.update(earlier=[{"verb": "train"}]), "earlier: expected a list of steps, each with verb, "),
        (lambda run: run.update(by_embeddings="yes"), "by_embeddings: found 'yes'; expected bool"),
        (lambda run: run.update(format=99), "format 99; this version reads 3"),
    ],
)
def test_a_run_json_of_other_types_is_one_line(folder: Path, change: Callable, said: str) -> None:
    told(folder, change)
    with pytest.raises(UserError) as refused:
        Run.load(folder)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"node/item/num_nodes": torch.tensor(10**12)}, "item nodes, but 32 ids"),
        ({"node/user/num_nodes": torch.tensor(3)}, "3 user nodes, but 40 ids"),
        ({"edge/user/interacts/item/edge_index": torch.tensor([[0], [10**8]])}, "an edge ends at no item"),
        ({"edge/user/interacts/item/edge_index": torch.tensor([[-1], [0]])}, "an edge ends at no user"),
        ({"edge/user/interacts/item/edge_index": torch.zeros(3)}, "edges of shape (3,)"),
        ({"edge/user": torch.zeros(3)}, "does not fit the run"),
        ({"node/text/num_nodes": torch.tensor(10**12)}, "text nodes without features"),
    ],
)
def test_a_graph_points_nowhere_else(folder: Path, change: dict[str, torch.Tensor], said: str) -> None:
    tensors(folder, "graph.safetensors", lambda found: found.update(change))
    with pytest.raises(UserError) as refused:
        Run.load(folder).graph  # noqa: B018
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_settings_do_not_ask_for_a_terabyte(folder: Path) -> None:
    path = folder / "settings.toml"
    path.write_text(path.read_text().replace("\ndim = 8\n", "\ndim = 4000000000\n"))
    told(folder, lambda run: run.update(settings_sha256=sha256_of_file(path)))
    with pytest.raises(UserError, match=r"a setting of 4,000,000,000 for 72 users and items"):
        Run.load(folder).model  # noqa: B018


def test_paths_of_items_do_not_leave_the_memory(folder: Path) -> None:
    """A sparse matrix whose columns lie far behind its end would be followed there by compiled code."""
    from gnnrec.models.slim import matrix_of

    with pytest.raises(ValueError, match="indices"):
        matrix_of(torch.tensor([0, 1, 2]), torch.tensor([0, 10**8], dtype=torch.int32), torch.ones(2))


def test_a_header_of_a_terabyte_is_refused_before_it_is_asked_for(tmp_path: Path) -> None:
    for shape in ((10**12, 4), (10**12, 0)):
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
        (tmp_path / "users.npy").write_bytes(buffer.getvalue() + bytes(64))
        with pytest.raises(UserError, match="not a readable .npy file"):
            parse_npy((tmp_path / "users.npy").read_bytes(), "users.npy")
    (tmp_path / "weights.safetensors").write_bytes((10**12).to_bytes(8, "little") + b"{}")
    with pytest.raises(UserError, match="not an export in the format safetensors"):
        (tmp_path / "weights.safetensors").rename(tmp_path / "embeddings.safetensors")
        import_embeddings(tmp_path, "safetensors")


def test_a_table_that_unpacks_to_much_more_than_its_file_is_refused(tmp_path: Path) -> None:
    same = pa.DictionaryArray.from_arrays(pa.array(np.zeros(10_000_000, dtype=np.int8)), pa.array(["a"]))
    pq.write_table(pa.table({"__id__": same}), tmp_path / "items.parquet")
    with pytest.raises(UserError, match=r"10,000,000 rows in 65,536 bytes"):
        read_parquet((tmp_path / "items.parquet").read_bytes(), "items.parquet")
    long = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000, dtype=np.int8)), pa.array(["a" * 1_000_000]))
    pq.write_table(pa.table({"__id__": long}), tmp_path / "items.parquet")
    with pytest.raises(UserError, match=r"1,000,000,000 bytes of text in"):
        read_parquet((tmp_path / "items.parquet").read_bytes(), "items.parquet")


class Bomb:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def test_a_pickle_in_any_place_runs_nothing(folder: Path, tmp_path: Path) -> None:
    mark, bomb = tmp_path / "ran", io.BytesIO()
    pickle.dump(Bomb(mark), bomb)
    boxed = io.BytesIO()
    with zipfile.ZipFile(boxed, "w") as archive:
        archive.writestr("data.pkl", bomb.getvalue())
    for content in (bomb.getvalue(), boxed.getvalue()):
        for name in [path.name for path in folder.iterdir() if path.is_file()]:
            good = (folder / name).read_bytes()
            (folder / name).write_bytes(content)
            try:
                run = Run.load(folder)
                run.recipe, run.metrics, run.graph, run.model, run.item_vectors  # noqa: B018
            except UserError as error:
                assert "\n" not in str(error)
            (folder / name).write_bytes(good)
        (tmp_path / "users.npy").write_bytes(content)
        with pytest.raises(UserError):
            parse_npy((tmp_path / "users.npy").read_bytes(), "users.npy")
    pickle.loads(bomb.getvalue())
    assert mark.exists(), "the bomb would have worked"
    mark.unlink()


LISTS: list[tuple[dict[str, Callable[[torch.Tensor], torch.Tensor]], str]] = [
    ({"item": lambda item: item + 1_000}, r"item: found \d+ to \d+; expected -1 to"),
    ({"item": lambda item: item - 2}, r"item: found -\d+ to"),
    (
        {"item": lambda item: item.float()},
        r"item and score: found float32 \[.*\] and float32 \[.*\]; expected int32 and float32",
    ),
    ({"item": lambda item: item[:, :1]}, r"item and score: found int32 \[\d+, 1\] and"),
    ({name: lambda part: part[:, 0] for name in ("item", "score")}, r"item and score: found int32 \[\d+\] and"),
]


def with_holes(path: Path, shapes: dict[str, list[int]]) -> None:
    """Tensors that take no disk: all of them zeros that nobody wrote."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32" if name == "score" else "I32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)


@pytest.mark.parametrize("width", [LISTED + 1, 10**8])
def test_lists_of_any_length_are_not_read(tiny_runs: dict[str, Path], tmp_path: Path, width: int) -> None:
    folder = Path(shutil.copytree(tiny_runs["item_knn"], tmp_path / "run"))
    shape = [len(Run.load(folder).user_ids), width]
    with_holes(folder / "lists.safetensors", {"item": shape, "score": shape})
    said = f"item: found lists of {LISTED + 1}; expected {LISTED}" if width < 10**8 else "rows of at most 1,048,576"
    for read in (lambda run: run.user_list(0), lambda run: run.lists):
        with pytest.raises(UserError, match=said):
            read(Run.load(folder))


def test_an_array_without_rows_is_one_line(tiny_runs: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_runs["item_knn"], tmp_path / "run"))
    with_holes(folder / "lists.safetensors", {"item": [], "score": []})
    for read in (lambda run: run.user_list(0), lambda run: run.lists):
        with pytest.raises(UserError, match=r"lists\.safetensors"):
            read(Run.load(folder))


@pytest.mark.parametrize(("change", "said"), LISTS)
def test_lists_hold_places_of_items_and_scores(
    tiny_runs: dict[str, Path],
    tmp_path: Path,
    change: dict[str, Callable[[torch.Tensor], torch.Tensor]],
    said: str,
) -> None:
    folder = Path(shutil.copytree(tiny_runs["item_knn"], tmp_path / "run"))
    tensors(folder, "lists.safetensors", lambda held: [held.update({k: one(held[k])}) for k, one in change.items()])
    for read in (lambda run: run.user_list(0), lambda run: run.lists):
        with pytest.raises(UserError, match=rf"lists\.safetensors: {said}"):
            read(Run.load(folder))


def test_ids_that_are_there_twice_are_refused(folder: Path) -> None:
    table = pl.read_parquet(folder / "users.parquet")
    table.with_columns(pl.lit("u0").alias("__id__")).write_parquet(folder / "users.parquet")
    with pytest.raises(UserError, match="ids are texts, each of its own"):
        Run.load(folder)


def with_waves(state: dict[str, torch.Tensor], items: int) -> None:
    parts = (torch.ones(1), torch.randn(items, 8), torch.ones(8), torch.ones(items))
    state.update({f"spectrum_{name}": part for name, part in zip(("weight", "vectors", "values", "degrees"), parts)})


def test_waves_that_fit_are_taken(folder: Path) -> None:
    run = Run.load(folder)
    tensors(folder, "weights.safetensors", lambda state: with_waves(state, len(run.item_ids)))
    assert len(Run.load(folder).model.spectrum_vectors) == len(run.item_ids)


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        ("spectrum_vectors", lambda part: part[:-1]),
        ("spectrum_vectors", lambda part: torch.cat([part, part])),
        ("spectrum_vectors", lambda part: part[:, :7]),
        ("spectrum_vectors", lambda part: part[:, 0]),
        ("spectrum_vectors", lambda part: part.double()),
        ("spectrum_vectors", lambda part: part * torch.nan),
        ("spectrum_values", lambda part: part[:1]),
        ("spectrum_degrees", lambda part: part * 0),
        ("spectrum_degrees", lambda part: part[:-1]),
        ("spectrum_weight", lambda part: part[:0]),
        ("factor_items", lambda part: torch.ones(3, 4)),
        ("factor_items", lambda part: torch.ones(3)),
    ],
)
def test_waves_and_factors_of_other_shapes_are_refused(
    folder: Path, name: str, damaged: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    run = Run.load(folder)

    def damage(state: dict[str, torch.Tensor]) -> None:
        with_waves(state, len(run.item_ids))
        state[name] = damaged(state[name])

    tensors(folder, "weights.safetensors", damage)
    with pytest.raises(UserError, match=r"weights\.safetensors: does not fit settings\.toml and graph\.safetensors"):
        _ = Run.load(folder).model
