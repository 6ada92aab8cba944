"""Parquet files and Hugging Face `datasets` folders saved on disk (Arrow streams), read without running any code."""

import json
from pathlib import Path
from typing import Any

import polars as pl

from gnnrec.datasets.raw import LINE, ROW, RawTable
from gnnrec.errors import UserError
from gnnrec.untrusted import read_parquet as untrusted_parquet
from gnnrec.untrusted import refusing

SPLIT = "split"  # the column that tells the parts of a Hugging Face DatasetDict apart


def numbered(frame: pl.DataFrame, file: str) -> RawTable:
    """A table whose place names are row numbers from 1."""
    row = pl.int_range(pl.len(), dtype=pl.UInt32)
    return RawTable(file=file, frame=frame.with_columns(row.alias(ROW), (row + 1).alias(LINE)), num_records=len(frame))


def read_parquet(path: Path, file: str) -> RawTable:
    if path.is_dir():
        raise UserError(f"{file}: is a folder; a file is needed here")
    return numbered(untrusted_parquet(path, file), file)


def is_arrow_folder(path: Path) -> bool:
    return (path / "dataset_dict.json").is_file() or ((path / "state.json").is_file() and any(path.glob("*.arrow")))


def read_arrow_folder(path: Path, file: str) -> RawTable:
    """A `Dataset` or `DatasetDict` as `save_to_disk` writes it; of a dict, a column `split` names the part."""
    if not (path / "dataset_dict.json").is_file():
        return numbered(read_arrow_parts(path, file), file)
    names = read_json(path / "dataset_dict.json", file).get("splits", [])
    if not (isinstance(names, list) and names):
        raise UserError(f"{file}/dataset_dict.json: names no splits")
    for name in names:
        check_inside(name, f"{file}/dataset_dict.json: the split")
    parts = [read_arrow_parts(path / name, f"{file}/{name}") for name in names]
    columns = [part.with_columns(pl.lit(name).alias(SPLIT)) for name, part in zip(names, parts)]
    return numbered(pl.concat(columns, how="vertical_relaxed"), file)


def read_arrow_parts(folder: Path, file: str) -> pl.DataFrame:
    import pyarrow as pa

    with refusing(f"{file}/state.json", "no list of data files"):
        names = [entry["filename"] for entry in read_json(folder / "state.json", file).get("_data_files", [])]
    tables = []
    for name in names:
        check_inside(name, f"{file}/state.json: the data file")
        with refusing(f"{file}/{name}", "not a whole Arrow file"):
            with pa.memory_map(str(folder / name)) as source:
                table = pa.ipc.open_stream(source).read_all()
            table.validate(full=True)  # else an offset of a damaged file is followed out of its memory
            tables.append(pl.DataFrame(table))
    if not tables:
        raise UserError(f"{file}/state.json: names no data files")
    return pl.concat(tables)


def check_inside(name: Any, where: str) -> None:
    """Raises UserError for what is no name of something in the folder itself."""
    if not isinstance(name, str) or name in ("", "..") or Path(name).name != name or "\0" in name:
        raise UserError(f"{where} {name!r} leaves the folder")


def read_json(path: Path, file: str) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}/{path.name}: cannot be read as JSON ({one_line(error)})") from error
    if not isinstance(document, dict):
        raise UserError(f"{file}/{path.name}: a JSON object is needed")
    return document


def one_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
