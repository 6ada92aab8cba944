"""Tables in blocks over two workers train what whole ones in one process do."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gnnrec.parallel.settings import ParallelConfig
from gnnrec.parallel.torchrun import run_function
from gnnrec.weights.shards import DRAWN, DrawBlock, block_of, blocks
from gnnrec.workers import Workers

sys.path.insert(0, str(Path(__file__).parent))  # by which the processes find it, too
import two_shards
from two_shards import ASKED, CASES, DIM, NOISY, ROWS


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder, and what each of two workers found."""
    folder = tmp_path_factory.mktemp("two")
    for name in ("one", "two"):
        (folder / name).mkdir()
    two_shards.begun(folder / "one" / "checkpoint.safetensors")
    run_function(two_shards.run, (str(folder),), folder, ParallelConfig(nproc=2, restarts=0))
    return folder, [json.loads((folder / f"found-{rank}.json").read_text()) for rank in range(2)]


def same(found: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    """Of both workers: losses, validation, and their rows, one after another."""
    for one in found:
        assert one["loss"] == pytest.approx(expected["loss"], rel=1e-6)
        assert one["ndcg"] == pytest.approx(expected["ndcg"], abs=1e-6)
    for name, rows in expected["rows"].items():
        ours, theirs = torch.tensor(found[0]["rows"][name] + found[1]["rows"][name]), torch.tensor(rows)
        assert ours.shape == theirs.shape
        # Not entry by entry: Adam makes a whole step of a gradient that is nothing but rounding.
        assert (ours - theirs).norm() < 1e-3 * theirs.norm()


def test_rows_and_gradients_are_those_of_one_table(two: Any) -> None:
    whole = torch.arange(float(ROWS * DIM)).view(ROWS, DIM).requires_grad_()
    total = sum(
        whole[ids].square().sum() * (rank + 1) + whole[ids].sum()  # id 4 is asked for by both
        for rank, ids in enumerate(ASKED)
    )
    assert isinstance(total, torch.Tensor)
    total.backward()
    assert whole.grad is not None
    for rank, found in enumerate(one["looked up"] for one in two[1]):
        assert found["rows"] == whole[ASKED[rank]].tolist()
        assert found["gradient"] == whole.grad[block_of(ROWS, Workers(rank, 2))].tolist()
        assert found["gathered"] == whole.tolist() and found["nothing"] == [0, DIM]


@pytest.mark.parametrize("case", [case for case in CASES if case != NOISY])
def test_two_workers_train_what_one_does(two: Any, case: str) -> None:
    same([one[case] for one in two[1]], two_shards.found_by(*CASES[case]))


def test_a_model_with_noise_learns_too(two: Any) -> None:
    for one in two[1]:
        losses = one[NOISY]["loss"]
        assert losses[-1] < losses[0] and one[NOISY]["ndcg"] > 0


def test_each_has_half_the_rows_and_half_the_moments(two: Any) -> None:
    halves = [[20, 15, 15, 15], [21, 15, 15, 15]]  # of user, item, context, target
    for one, half in zip(two[1], halves, strict=True):
        assert one["sizes"]["parts"] == [rows for rows in half for _ in range(5)]
        assert one["sizes"]["moments"] == half
        assert max(one["sizes"]["other"]) < 41 * 8  # no moment of a whole table


def test_models_draw_the_rows_that_they_have(two: Any) -> None:
    assert all(one["drawn"] and all(one["drawn"]) for one in two[1])


def test_two_workers_cannot_map_one_file(two: Any) -> None:
    assert all("found 'mapped'; allowed with --nproc 2: whole, sharded" in one["refused"] for one in two[1])


@pytest.mark.slow
def test_two_go_on_with_what_one_began_and_one_with_what_two_began(two: Any) -> None:
    folder, found = two
    whole = two_shards.found_by(*CASES["modality_gnn"])
    same([one["resumed"] for one in found], whole)
    resumed = two_shards.found_by(*CASES["modality_gnn"], checkpoint=folder / "two" / "checkpoint.safetensors")
    assert resumed["loss"] == pytest.approx(whole["loss"], rel=1e-6)
    for name, rows in whole["rows"].items():
        difference = torch.tensor(resumed["rows"][name]) - torch.tensor(rows)
        assert difference.norm() < 1e-3 * torch.tensor(rows).norm()


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_a_table_drawn_in_blocks_has_the_numbers_of_one_drawn_at_once(size: int) -> None:
    shape = (2 * DRAWN + 7, 3)
    whole = torch.randn(shape, generator=torch.Generator().manual_seed(4))
    drawn = [DrawBlock(Workers(rank, size))(shape, torch.Generator().manual_seed(4)) for rank in range(size)]
    assert torch.equal(torch.cat(drawn), whole)
    assert sum(block.stop - block.start for block in blocks(shape[0], size)) == shape[0]
