from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from gnnrec.errors import UserError
from gnnrec.tracking import Tracker, read_log


def test_a_training_that_goes_on_is_drawn_once(tmp_path):
    rows = [{"epoch": epoch, "loss": 1 / epoch} for epoch in range(1, 6)]
    first = Tracker(tmp_path)
    for last in (1, 2, 3, 4):
        first(rows[:last])
    first.close()
    again = Tracker(tmp_path)  # from a checkpoint of epoch 2, and a little different
    for last in (3, 4, 5):
        again([*rows[:2], *({**row, "loss": 10.0 * row["epoch"]} for row in rows[2:last])])
    again.close()
    assert [row["loss"] for row in read_log(tmp_path)] == [1, 0.5, 30, 40, 50]
    drawn = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in drawn] == [(1, 1), (2, 0.5), (3, 30), (4, 40), (5, 50)]


def test_no_epochs_leave_no_log(tmp_path):
    Tracker(tmp_path).close()
    assert read_log(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_that_names_the_file(tmp_path):
    tracker = Tracker(tmp_path)
    tracker([{"epoch": 1, "loss": 1.0}])
    (path,) = (tmp_path / "tensorboard").iterdir()
    tracker.events._records.close()
    tracker.events._records = RecordWriter(Path("/dev/full").open("ab"))  # noqa: SIM115 (it closes it)
    with pytest.raises(UserError, match=f"^{path}: cannot be written \\(No space left on device\\)$"):
        tracker([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}])
