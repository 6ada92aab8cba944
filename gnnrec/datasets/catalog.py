"""What is known about items (or users): one row each, text columns, checked paths of pictures and sounds."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from gnnrec.errors import UserError


@dataclass(frozen=True, slots=True)
class Catalog:
    """Rows stand in index order: row i belongs to internal index i."""

    table: pl.DataFrame  # [I] all columns as read, the id column included
    text_columns: tuple[str, ...] = ()
    media: Mapping[str, tuple[Path | None, ...]] | None = None  # "image", "audio": absolute path of each row, or None
    file: str = ""  # that the rows were read from, relative to the folder of the dataset
    lines: Sequence[int | None] = ()  # [I] the line of each row there, None for an id without a row; () where unknown

    def __len__(self) -> int:
        return len(self.table)

    def text(self) -> tuple[str | None, ...]:
        """One text per row: the text columns joined by '. ', empty ones left out; None where all are empty. [I]"""
        if not self.text_columns:
            return (None,) * len(self)
        columns = [self.table[name].cast(pl.String).fill_null("").str.strip_chars() for name in self.text_columns]
        return tuple(". ".join(part for part in row if part) or None for row in zip(*columns))

    def content(self, modality: str) -> Sequence[Any]:
        """What an encoder of the modality takes: texts, or paths of files; None where a row has none. [I]"""
        return self.text() if modality == "text" else (self.media or {}).get(modality, (None,) * len(self))

    def with_text(self, columns: Sequence[str]) -> "Catalog":
        """The same rows with other text columns. Raises UserError for one that is not in the table."""
        for name in columns:
            if name not in self.table.columns:
                raise UserError(f"encoders.columns: found {name!r}; allowed: {', '.join(self.table.columns)}")
        return replace(self, text_columns=tuple(columns))

    def titles(self) -> tuple[str | None, ...]:
        """The first text column, by which people know the row; None where it is empty. [I]"""
        if not self.text_columns:
            return (None,) * len(self)
        return tuple((value or "").strip() or None for value in self.table[self.text_columns[0]].cast(pl.String))

    def kinds(self) -> tuple[str | None, ...]:
        """The first value of the second text column, such as the first genre; None where there is none. [I]"""
        if len(self.text_columns) < 2:
            return (None,) * len(self)
        column = self.table[self.text_columns[1]].cast(pl.String)
        return tuple(re.split(r"[|;,/]", value, maxsplit=1)[0].strip() or None if value else None for value in column)

    def line(self, row: int) -> int | None:
        return self.lines[row] if self.lines else None

    def modalities(self) -> tuple[str, ...]:
        """The kinds of content there is a column for: text, image, audio."""
        return (("text",) if self.text_columns else ()) + tuple(self.media or ())
