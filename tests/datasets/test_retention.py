"""Rows that are older than a log may keep are not loaded, and feedback leaves its file."""

import json
import os
import threading
import time

import pytest

from gnnrec.datasets import Dataset, open_feedback
from gnnrec.datasets.feedback import forget_events, read_events
from gnnrec.errors import UserError
from gnnrec.fingerprints import fingerprint
from gnnrec.serve.feedback import FeedbackLog

DAY = 86_400
NOW = 1_700_000_000


def folder_with(path, rows, keys="retention_days = 10"):
    path.mkdir()
    lines = [f"{user},{item},{NOW - round(age * DAY)}" for user, item, age in rows]
    (path / "log.csv").write_text("\n".join(["user,item,timestamp", *lines]) + "\n")
    (path / "dataset.toml").write_text(f'[interactions]\npath = "log.csv"\ntimestamp = "timestamp"\n{keys}\n')
    return path


OLD = [("a", "x", 0), ("b", "x", 9.9), ("b", "y", 10), ("a", "y", 10.1), ("long-gone", "z", 400)]


def test_old_rows_are_left_out_and_whoever_has_no_others(tmp_path):
    dataset = Dataset.load(folder_with(tmp_path / "old", OLD))
    assert (len(dataset.interactions), dataset.expired, set(dataset.user_ids)) == (3, 2, {"a", "b"})
    kept = Dataset.load(folder_with(tmp_path / "new", OLD[:3], keys=""))
    assert fingerprint(dataset) == fingerprint(kept) and kept.expired == 0


def test_a_row_of_the_future_makes_nothing_old(tmp_path):
    dataset = Dataset.load(folder_with(tmp_path / "data", [*OLD[:2], ("c", "x", (NOW - time.time()) / DAY - 1000)]))
    assert len(dataset.interactions) == 3


def test_the_calendar_makes_no_row_old(tmp_path, monkeypatch):
    """The same files are the same dataset ten years on."""
    folder = folder_with(tmp_path / "data", OLD)
    today = fingerprint(Dataset.load(folder))
    monkeypatch.setattr(time, "time", lambda: NOW + 3650 * DAY)
    later = Dataset.load(folder)
    assert fingerprint(later) == today and later.expired == 2


def test_a_row_without_a_time_is_none_that_is_kept(tmp_path):
    folder = folder_with(tmp_path / "data", OLD)
    with (folder / "log.csv").open("a") as file:
        file.write("timeless,x,\n")
    dataset = Dataset.load(folder)
    assert "timeless" not in dataset.user_ids and dataset.expired == 2
    assert dataset.rejected["reason"].to_list() == ["timestamp is no number of unix seconds"]


def test_feedback_is_the_newest_too(tmp_path):
    told = tmp_path / "told.jsonl"
    told.write_text(json.dumps({"user": "n", "item": "x", "timestamp": NOW + 5 * DAY}) + "\n")
    dataset = Dataset.load(folder_with(tmp_path / "data", OLD), open_feedback(told))
    assert set(dataset.user_ids) == {"a", "n"}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("retention_days = 0", "retention_days: found 0; allowed: above 0"),
        ("retention_days = -1.5", "found -1.5; allowed: above 0"),
        ('retention_days = "30"', "retention_days: '30' is not a number"),
    ],
)
def test_a_wrong_limit_is_told(tmp_path, keys, message):
    with pytest.raises(UserError, match=message):
        Dataset.load(folder_with(tmp_path / "data", OLD, keys))


def test_a_limit_needs_times(tmp_path):
    folder_with(tmp_path / "data", OLD)
    (tmp_path / "data" / "dataset.toml").write_text('[interactions]\npath = "log.csv"\nretention_days = 3\n')
    with pytest.raises(UserError, match="retention_days: needs timestamp"):
        Dataset.load(tmp_path / "data")


def event(user, moment):
    return {"user": user, "item": "x", "timestamp": moment}


def test_old_feedback_leaves_the_file_and_nothing_that_follows_is_lost(tmp_path):
    path = tmp_path / "told.jsonl"
    log = FeedbackLog(path)
    events = [event("a", 100), event("b", 300), event("a", 200)]
    log.append(events)
    log.remember(events)
    assert log.forget_before(200) == 1
    log.append([event("c", 400)])
    log.remember([event("c", 400)])
    assert [one["timestamp"] for one in read_events(path)] == [300, 200, 400]
    assert (log.told_by("a"), log.told_by("c"), log.num_events) == ([("x", None)], [("x", None)], 3)
    assert path.stat().st_mode & 0o777 == 0o600 and log.forget_before(200) == 0
    log.close()


def test_no_line_is_taken_while_somebody_else_writes(tmp_path):
    path = tmp_path / "told.jsonl"
    log, other = FeedbackLog(path), FeedbackLog(path)
    log.append([event("a", 1), event("b", 1)])
    log.remember(read_events(path))
    assert log.forget_before(5) == 0
    with pytest.raises(UserError, match="a service has it open"):
        forget_events(path, "a")
    other.close()
    with pytest.raises(UserError, match="a service has it open"):
        forget_events(path, "a")
    log.close()
    assert forget_events(path, "a") == 1 and [one["user"] for one in read_events(path)] == ["b"]


def test_a_service_that_begins_meanwhile_opens_the_new_file(tmp_path):
    """Whoever waits for the lock holds the old file when it is free, which is no longer the log by then."""
    import fcntl

    path = tmp_path / "told.jsonl"
    path.write_text(json.dumps(event("a", 1)) + "\n")
    descriptor = os.open(path, os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    made: list[FeedbackLog] = []
    thread = threading.Thread(target=lambda: made.append(FeedbackLog(path)))
    thread.start()
    time.sleep(0.1)
    (tmp_path / "new").write_text("")
    (tmp_path / "new").replace(path)
    os.close(descriptor)
    thread.join(timeout=10)
    made[0].append([event("late", 2)])
    assert [one["user"] for one in read_events(path)] == ["late"]
    made[0].close()
