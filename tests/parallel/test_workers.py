"""Two workers train what one does: losses, validation and weights."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gnnrec.errors import UserError
from gnnrec.parallel.settings import ParallelConfig
from gnnrec.parallel.torchrun import run_function
from gnnrec.workers import Workers, world

sys.path.insert(0, str(Path(__file__).parent))  # by which the processes find it, too
import two_workers


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The folder, and what each of two workers found."""
    folder = tmp_path_factory.mktemp("two")
    two_workers.begun(folder / "one.safetensors")
    run_function(two_workers.run, (str(folder),), folder, ParallelConfig(nproc=2, restarts=0))
    return folder, [json.loads((folder / f"worker-{rank}.json").read_text()) for rank in range(2)]


def same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["loss"] == pytest.approx(expected["loss"], rel=1e-6)
    assert found["ndcg"] == pytest.approx(expected["ndcg"], abs=1e-6)
    # Not entry by entry: Adam makes a whole step of a gradient that is nothing but rounding.
    ours, theirs = torch.tensor(found["weights"]), torch.tensor(expected["weights"])
    assert (ours - theirs).norm() < 1e-3 * theirs.norm()


@pytest.mark.parametrize("case", two_workers.CASES)
def test_two_workers_train_what_one_does(two: Any, case: str) -> None:
    first, second = two[1]
    assert first[case] == second[case]  # to the bit
    same(first[case], two_workers.trained(case))


def test_two_go_on_with_what_one_began_and_one_with_what_two_began(two: Any) -> None:
    folder, (found, _) = two
    whole = two_workers.trained("modality_gnn")
    same(found["resumed"], whole)
    assert (folder / "two.safetensors").exists()
    same(two_workers.trained("modality_gnn", checkpoint=folder / "two.safetensors"), whole)


def test_a_killed_worker_is_started_again_and_goes_on(tmp_path: Path) -> None:
    run_function(two_workers.killed_once, (str(tmp_path),), tmp_path, ParallelConfig(nproc=2))
    found = [json.loads((tmp_path / f"worker-{rank}.json").read_text()) for rank in range(2)]
    assert found[0] == found[1]
    same(found[0], two_workers.trained("lightgcn"))
    assert not found[0]["first group"]


def test_workers_that_are_always_lost_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"worker 1 was lost .* 0 times; the same command goes on from the checkpoint"):
        run_function(two_workers.killed_once, (str(tmp_path),), tmp_path, ParallelConfig(nproc=2, restarts=0))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"nproc": 0}, "--nproc: found 0; allowed: 1 or more"),
        ({"engine": "mpi"}, "--engine: found 'mpi'; allowed: torchrun, ray"),
        ({"engine": "ray", "address": "host"}, "--address: found 'host'; allowed: HOST:PORT"),
        ({"address": "host:6379"}, "--address: goes with --engine ray"),
    ],
)
def test_what_cannot_be_is_one_clear_line(settings: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        ParallelConfig(**settings)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("num_rows", [1, 2, 6, 7, 100])
def test_shares_are_the_batch_and_their_means_its_mean(size: int, num_rows: int) -> None:
    values = torch.arange(num_rows).double()
    shares = [Workers(rank, size).share_of(num_rows) for rank in range(size)]
    means = sum(weight * values[rows].mean() for rows, weight in shares)
    assert means == pytest.approx(values.mean())
    if num_rows >= size:
        assert torch.equal(torch.cat([values[rows] for rows, _ in shares]), values)
        assert max(weight for _, weight in shares) <= -(-num_rows // size) / num_rows


def test_without_a_process_group_there_is_one_worker() -> None:
    assert world() == Workers(0, 1) and world().first
    assert Workers().any(True, False) == [True, False]
