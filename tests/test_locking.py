"""One writer at a time, and who it is."""

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.locking import FILE, alone_in
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe

HOLD = "import sys, time\nfrom pathlib import Path\nfrom gnnrec.locking import alone_in\n"
HOLD += "with alone_in(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"


def test_the_second_training_into_a_folder_is_told_who_the_first_is(planted_folder: Path, tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    dataset, recipe = Dataset.load(planted_folder), load_recipe("popularity")
    with pytest.raises(UserError) as refused:
        train(dataset, tmp_path, recipe)
    assert str(refused.value) == (
        f"{tmp_path}: another process writes into it (pid {holder.pid}); wait for it or stop it"
    )
    holder.send_signal(signal.SIGKILL)  # the kernel lets go: nothing is left to be cleaned up
    holder.wait()
    assert (tmp_path / FILE).exists()
    train(dataset, tmp_path, recipe)
    assert not (tmp_path / FILE).exists()


def test_threads_of_one_process_are_told_apart_too(tmp_path: Path) -> None:
    with alone_in(tmp_path), pytest.raises(UserError, match=f"pid {os.getpid()}"), alone_in(tmp_path):
        pass
    with alone_in(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "letter").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / FILE).symlink_to(tmp_path / "letter")
    with pytest.raises(UserError, match="cannot be written"), alone_in(tmp_path / "run"):
        pass
    assert (tmp_path / "letter").read_text() == "mine"


def test_a_lock_that_was_taken_away_before_it_was_held_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who held it ends, and a third one begins, between our open and our lock: two would write."""
    usual, third = fcntl.flock, tmp_path / "third"

    def late(descriptor: int, how: int) -> None:
        (tmp_path / FILE).unlink()
        third.touch()
        third.rename(tmp_path / FILE)
        usual(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(UserError, match="another process has just written into it; try again"), alone_in(tmp_path):
        pass
    assert (tmp_path / FILE).exists()
