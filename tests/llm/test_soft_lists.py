"""Lists written with soft tokens of the graph: read as they stand, and only where these passed their controls."""

import shutil
from pathlib import Path

import polars as pl
import pytest
import torch
from torch import Generator

from gnnrec.datasets import Catalog
from gnnrec.language.local import LocalLM
from gnnrec.language.server import open_model
from gnnrec.llm import tune as tuning
from gnnrec.llm.cards import CardConfig, Cards
from gnnrec.llm.list_writer import TreeWriter
from gnnrec.llm.past import NOBODY, Past
from gnnrec.llm.settings import LLMConfig
from gnnrec.llm.soft_tokens import SoftTokens
from gnnrec.llm.tune import TuneConfig
from gnnrec.run_folder import Run

SMALL = TuneConfig(windows=4, soft_windows=4, batch=2, negatives=3, val_users=5)
TITLES = ["Alien", "Aliens", "Heat", "Big", "The Matrix", "Theory"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))


def soft_tokens(lm: LocalLM) -> SoftTokens:
    generator = Generator().manual_seed(0)
    users, items = (torch.randn(size, 5, generator=generator) for size in (4, 6))
    words = lm.model.get_input_embeddings().weight.detach()
    return SoftTokens((users, items), words, generator).requires_grad_(False)


def test_nobody_is_the_mean_of_all_users(tiny_lm: LocalLM) -> None:
    soft = soft_tokens(tiny_lm)
    assert (soft.user(3), soft.item(0), soft.item(5), soft.nobody()) == (-4, -5, -10, -11)
    found = soft(torch.tensor([10, 9, 0]))
    users, items = soft._vectors
    for row, (projector, vector) in zip(found, ((0, users.mean(0)), (1, items[5]), (0, users[0]))):
        assert torch.allclose(row, soft.projectors[projector](vector), atol=1e-6)


def test_a_list_with_soft_tokens_is_that_of_scoring_every_title(tiny_lm: LocalLM) -> None:
    soft = soft_tokens(tiny_lm)
    catalog = Catalog(pl.DataFrame({"title": TITLES}), ("title",))
    writer = TreeWriter(tiny_lm, Cards(catalog, tiny_lm.tokens, CardConfig()), "films", 1000, soft)
    lists = {}
    for user in (0, 1):
        found = writer.propose(user, Past((2,)), {2}, 5)
        asked, neutral = (
            writer.prompts.past(Past((2,)), (soft.user(user),)),
            writer.prompts.past(writer.anybody(), (-11,)),
        )
        assert asked[len(tiny_lm.start)] == -1 - user
        cards = [[*tiny_lm.tokens(f" {title}"), *tiny_lm.tokens(";")] for title in TITLES]
        after, before = tiny_lm.log_probs([asked, neutral], [cards, cards], soft)
        expected = {item: after[item] - before[item] for item in (0, 1, 3, 4, 5)}
        assert [item for item, _ in found] == sorted(expected, key=lambda item: -expected[item])
        assert [score for _, score in found] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-4)
        lists[user] = [score for _, score in found]
    assert lists[0] != pytest.approx(lists[1], abs=1e-3)  # another user's token says something else
    assert writer.propose(0, NOBODY, (), 3) == []


def test_soft_tokens_are_read_where_they_passed_their_controls_and_the_command_says_so(
    run_command, one_document, tiny_run: Run, llama_folder: Path, tmp_path: Path, monkeypatch
) -> None:
    def tuned(name: str) -> Path:
        run = Run.load(shutil.copytree(tiny_run.folder, tmp_path / name))
        llm = LLMConfig(model=str(llama_folder), window=8)
        tuning.tune(run, open_model(llm.model, trainable=True), llm, SMALL)
        return run.folder

    def generate(folder: Path, *more: str) -> tuple:
        return ("recommend", folder, "--user", "u3", "--generate", "-k", 5, "--set", f"llm.model={llama_folder}", *more)

    plain = one_document(*generate(tiny_run.folder))
    assert plain["soft"] is None and "soft tokens" not in run_command(*generate(tiny_run.folder))[2]

    failed = tuned("failed")  # four windows teach nothing
    assert one_document(*generate(failed)) == plain | {"soft": False}
    assert "soft tokens: off, since what they say is not shown to matter" in run_command(*generate(failed))[2]

    monkeypatch.setattr(tuning, "matters", lambda controls: bool(controls))
    passed = tuned("passed")
    on = one_document(*generate(passed))
    assert on["soft"] is True and "soft tokens: on" in run_command(*generate(passed))[2]
    assert [row["score"] for row in on["items"]] != [row["score"] for row in plain["items"]]
    assert one_document(*generate(passed, "llm.scorer=block")) == plain
