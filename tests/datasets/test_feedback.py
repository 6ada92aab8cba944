"""What a service was told is a part of the next training, as rows like any others, and of nothing before it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from gnnrec.datasets import Dataset, Feedback, open_feedback, read_events, split
from gnnrec.errors import UserError
from gnnrec.llm.past import past_of
from gnnrec.run_folder import Run

LOG = "user,item,rating,timestamp\na,x,5,10\na,y,1,20\nb,x,4,30\nb,z,3,31\n"
SECTION = '[interactions]\npath = "{}"\ntimestamp = "timestamp"\nrating = "rating"\n'
EVENTS = [
    {"user": "a", "item": "z", "timestamp": 40, "rating": 2.0},
    {"user": "new", "item": "x", "timestamp": 15},
    {"user": "a", "item": "x", "timestamp": 10},  # told again
]


def rows(dataset: Dataset) -> list[tuple]:
    log = dataset.interactions
    named = ((dataset.user_ids[user], dataset.item_ids[item]) for user, item in zip(log.user, log.item))
    return [(*pair, time, log.rating_of(row)) for row, (pair, time) in enumerate(zip(named, log.timestamp.tolist()))]


def events_file(folder: Path, events=EVENTS) -> Path:
    path = folder / "told.jsonl"
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_events_are_rows_in_the_order_of_time(tmp_path, kind):
    if kind == "csv":
        (tmp_path / "log.csv").write_text(LOG)
    else:
        pl.read_csv(LOG.encode()).with_columns(pl.from_epoch("timestamp")).write_parquet(tmp_path / "log.parquet")
    (tmp_path / "dataset.toml").write_text(SECTION.format(f"log.{kind}"))
    dataset = Dataset.load(tmp_path, open_feedback(events_file(tmp_path)))
    assert rows(dataset) == [
        ("a", "x", 10, 5.0),
        ("new", "x", 15, None),  # what was not rated stays unrated
        ("a", "y", 20, 1.0),
        ("b", "x", 30, 4.0),
        ("b", "z", 31, 3.0),
        ("a", "z", 40, 2.0),
    ]
    assert dataset.rejected["reason"].to_list() == ["duplicate: same user, item and time as a row before"]
    assert rows(Dataset.load(tmp_path)) == [row for row in rows(dataset) if row[2] not in (15, 40)]


def test_ids_of_numbers_and_a_split_of_numbers(tmp_path):
    log = {"user": [1, 2], "item": [7.0, 8.0], "rating": [3, 4], "x_label": [0, 2]}
    pl.DataFrame(log).write_parquet(tmp_path / "log.parquet")
    (tmp_path / "dataset.toml").write_text(
        '[interactions]\npath = "log.parquet"\nrating = "rating"\nsplit = "x_label"\n'
    )
    told = [{"user": "2", "item": "7", "timestamp": 5, "rating": 4.5}, {"user": "zoe", "item": "8", "timestamp": 6}]
    dataset = Dataset.load(tmp_path, open_feedback(events_file(tmp_path, told)))
    log = dataset.interactions
    found = {(dataset.user_ids[user], dataset.item_ids[item]) for user, item in zip(log.user, log.item)}
    assert found == {("1", "7"), ("2", "8"), ("2", "7"), ("zoe", "8")}
    assert sorted(log.rating.tolist()[:-1]) == [3.0, 4.0, 4.5] and np.isnan(log.rating[-1])
    assert sorted(dataset.published_split) == [0, 0, 0, 2]


def test_an_event_without_rating_counts_where_only_high_ratings_do(tmp_path):
    (tmp_path / "log.csv").write_text(LOG)
    (tmp_path / "dataset.toml").write_text(SECTION.format("log.csv") + "min_rating = 4\n")
    dataset = Dataset.load(tmp_path, open_feedback(events_file(tmp_path)))
    assert rows(dataset) == [("a", "x", 10, 5.0), ("new", "x", 15, None), ("b", "x", 30, 4.0)]


def test_only_an_event_may_be_without_a_rating(tmp_path):
    (tmp_path / "log.csv").write_text(LOG + "c,x,,50\nc,y,nan,51\n")
    (tmp_path / "dataset.toml").write_text(SECTION.format("log.csv"))
    path = events_file(tmp_path, [EVENTS[0] | {"rating": rating} for rating in (float("nan"), float("inf"))])
    dataset = Dataset.load(tmp_path, open_feedback(path))
    assert rows(dataset) == rows(Dataset.load(dataset_of(tmp_path)))
    assert dataset.rejected["reason"].to_list() == ["rating is no number"] * 4


def test_what_was_not_rated_is_liked_and_is_told_without_a_rating(tmp_path):
    log = Dataset.load(dataset_of(tmp_path), open_feedback(events_file(tmp_path))).interactions
    assert log.scale == (1.0, 5.0)
    unrated = np.flatnonzero(np.isnan(log.rating))
    assert len(unrated) == 1 and log.liked()[unrated].all()
    past = past_of(log, log.user[unrated[0]])
    assert (past.ratings, past.best) == ((None,), 5.0)
    (nothing,) = {replace(log, rating=np.full(len(log), np.nan, np.float32)).scale}
    assert nothing is None


def test_events_are_train_rows_of_a_published_split(planted_folder, tmp_path):
    before = split(Dataset.load(planted_folder))
    event = {"user": "u1", "item": "i2", "timestamp": 5}
    after = split(Dataset.load(planted_folder, open_feedback(events_file(tmp_path, [event, event | {"user": "u79"}]))))
    assert [len(part) for part in (after.val, after.test)] == [len(part) for part in (before.val, before.test)]
    assert len(before.train) < len(after.train) <= len(before.train) + 2


def test_what_is_no_event_is_left_out(tmp_path):
    path = events_file(tmp_path)
    with path.open("ab") as file:
        file.write(b'\n[]\n{"user": "a"}\n{"user": 1, "item": "x", "timestamp": 1}\n\xff\n{"user": "a", "item": "x"')
    assert read_events(path) == EVENTS
    with pytest.raises(UserError, match="3 events, there were 4 before"):
        Dataset.load(tiny := dataset_of(tmp_path), Feedback(path=path, num_events=4))
    assert len(Dataset.load(tiny, Feedback(path=path, num_events=1)).interactions) == 5


def dataset_of(folder: Path) -> Path:
    (folder / "log.csv").write_text(LOG)
    (folder / "dataset.toml").write_text(SECTION.format("log.csv"))
    return folder


def test_a_run_is_evaluated_on_what_it_was_trained_with_though_the_log_grew(
    run_command, one_document, tiny_data, tmp_path
):
    """Twenty events of somebody new: she is in the run, and what she was told of later is not."""
    told = [{"user": "newcomer", "item": f"i{item}", "timestamp": 10**6 + item} for item in range(20)]
    path, out = events_file(tmp_path, told), tmp_path / "run"
    settings = ("--set", "train.epochs=1", "model.dim=8", "train.batch_size=128")
    status, _, err = run_command("train", tiny_data, "--out", out, "--with-feedback", path, *settings)
    assert status == 0, err
    run = Run.load(out)
    newcomer = run.known.item[run.known.user == run.user_index("newcomer")]
    assert [run.item_ids[item] for item in newcomer] == [f"i{item}" for item in range(19)]  # the last one is her test
    assert np.isnan(run.known.rating[run.known.user == run.user_index("newcomer")]).all()
    why = one_document("explain", out, "--user", "newcomer", "--item", "i20")
    assert "i1" in json.dumps(why) and "gave" not in json.dumps(why)  # none of these did she rate
    with path.open("a") as file:
        file.write(json.dumps({"user": "later", "item": "i1", "timestamp": 10**6}) + "\n")
    for where in ((), ("--data", tiny_data)):
        assert one_document("evaluate", out, *where)["users"] == 41
    path.unlink()
    status, _, err = run_command("evaluate", out)
    assert status == 2 and "told.jsonl: cannot be read" in err
