"""The items of a run as a language model reads them: columns of their table, and what was put into words of them."""

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from gnnrec.datasets import Catalog
from gnnrec.encoders.pretrained import cache_root
from gnnrec.errors import UserError
from gnnrec.words.content import CACHE, DESCRIPTION, PROFILE
from gnnrec.words.describe import describe
from gnnrec.words.profiles import item_facts, profile_writer, write_profiles

if TYPE_CHECKING:
    from gnnrec.run_folder import Run


def readable_items(run: "Run", fields: Collection[str] = ()) -> Catalog:
    """The items of a run. Where `fields` name no column of that name, `description` is what their pictures and sounds
    are in words, and `profile` whom they are for, from train rows alone; by the models of the run's recipe, or without.

    Raises UserError where no item has a text, and for a model that is not here.
    """
    items = run.items
    if items is None or not items.text_columns:
        raise UserError(f"{run.folder}: its items have no text, so there is nothing that a language model could read")
    wanted = [name for name in (DESCRIPTION, PROFILE) if name in fields and name not in items.table.columns]
    written = {name: pl.Series(name, _written(run, items, name), dtype=pl.String) for name in wanted}
    return replace(items, table=items.table.with_columns(written.values())) if written else items


def _written(run: "Run", items: Catalog, name: str) -> list[str | None]:
    """[I]"""
    recipe, cache = run.recipe, cache_root() / CACHE
    if name == DESCRIPTION:
        return describe(items, {}, recipe.encoders, recipe.describe, cache).texts(len(items))
    how = recipe.profiles
    server = profile_writer(how)
    titles = [title for title in items.titles() if title]
    return list(write_profiles("item", item_facts(items, run.train), titles, how, server, cache).texts)
