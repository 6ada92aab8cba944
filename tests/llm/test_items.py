"""A candidate's card tells what was put into words of it: its picture, and whom it is for."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.language.local import LocalLM
from gnnrec.llm.cards import Cards, card_config
from gnnrec.llm.items import readable_items
from gnnrec.llm.settings import LLMConfig, open_scorer
from gnnrec.run_folder import Run


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))


def test_items_are_told_by_picture_and_profile(tiny_run: Run, tiny_data: Path, tiny_lm: LocalLM) -> None:
    run, own = tiny_run, Dataset.load(tiny_data).items
    assert own is not None
    found = readable_items(run, ("genres", "description", "profile"))
    assert found.table.drop("description", "profile").equals(run.items.table)  # type: ignore[union-attr]
    odd, none = run.item_index("i3"), run.item_index("i5")
    assert found.table["description"][odd].startswith("The picture is ")
    assert found.table["description"][none] is None  # it has no picture
    assert found.table["profile"][odd].startswith("For people who like comedy and drama.")
    cards = Cards(found, tiny_lm.tokens, replace(card_config(10, "description, profile"), field_tokens=500))
    told = cards.short(odd)
    assert told == f"Title 3 ({found.table['description'][odd]}; {found.table['profile'][odd]})"
    short = Cards(found, tiny_lm.tokens, card_config(10, "description, profile")).short(odd)
    assert short is not None and short != told  # of either as much as there is room for
    description, profile = short.removeprefix("Title 3 (").removesuffix(")").split("; ")
    assert found.table["description"][odd].startswith(description) and found.table["profile"][odd].startswith(profile)
    assert all(len(tiny_lm.tokens(" " + text)) > 6 for text in (description, profile))
    assert "description" not in readable_items(run).table.columns


def test_a_profile_rests_on_train_rows_alone(tiny_run: Run) -> None:
    moved = replace(tiny_run)
    moved.__dict__["val"] = tiny_run.val.rows(np.zeros(len(tiny_run.val), dtype=np.bool_))
    first, second = (readable_items(run, ("profile",)).table["profile"].to_list() for run in (tiny_run, moved))
    assert first == second
    fewer = replace(tiny_run)
    fewer.__dict__["train"] = tiny_run.train.rows(np.arange(20))
    assert readable_items(fewer, ("profile",)).table["profile"].to_list() != first


def test_a_column_of_that_name_is_the_items_own(tiny_run: Run) -> None:
    items = tiny_run.items
    assert items is not None
    table = items.table.with_columns(description=pl.lit("mine"))
    assert set(
        readable_items(replace(tiny_run, items=replace(items, table=table)), ("description",)).table["description"]
    ) == {"mine"}


def test_the_command_takes_them_as_fields(one_document, tiny_run: Run, llama_folder: Path, tmp_path: Path) -> None:
    run = Run.load(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    how = ("--set", f"llm.model={llama_folder}", "llm.window=8", "llm.val_users=3")
    lists = [
        one_document("recommend", run.folder, "--user", "u3", "--rerank", *how, *more)["weight"]
        for more in ((), ("llm.fields=description,profile",))
    ]
    assert lists[0]["reranked"] != lists[1]["reranked"] or lists[0]["p"] != lists[1]["p"]
    with pytest.raises(UserError, match="llm.fields: the items have no column 'mood'"):
        open_scorer(run, LLMConfig(model=str(llama_folder), fields="mood"))
