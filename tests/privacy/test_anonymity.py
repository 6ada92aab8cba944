"""Who can be singled out by the columns of the users' table."""

import json

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

from gnnrec.errors import UserError
from gnnrec.privacy.anonymity import audit, group_sizes

TABLE = pl.DataFrame({"age": [20, 20, 20, 30, 30, None], "city": ["a", "a", "b", "c", "c", "a"]})


def test_sizes_are_those_of_a_count_by_hand():
    rows = TABLE.rows()
    assert group_sizes(TABLE, ["age", "city"]).tolist() == [rows.count(row) for row in rows] == [2, 2, 1, 2, 2, 1]
    assert group_sizes(TABLE, []).tolist() == [6] * 6


def test_an_audit_counts_the_rare_and_the_alone():
    found = audit(TABLE, ["age", "city"], 2)
    assert (found.users, found.rare, found.unique, found.smallest) == (6, 2, 2, 1)
    assert found.one_of_a_kind == {"age": 1, "city": 1}
    assert audit(TABLE, ["age", "city"], 3).rare == 6
    with pytest.raises(UserError, match="found 1; allowed: 2 or more"):
        audit(TABLE, ["age"], 1)


def test_an_export_leaves_out_who_is_rare(run, tmp_path, run_command, one_document):
    ages = pl.read_parquet(run.folder / "users.parquet").with_columns(
        age=pl.when(pl.col("__id__").is_in(["u5", "u6"])).then(pl.lit("99")).otherwise("age")
    )
    ages.write_parquet(run.folder / "users.parquet")
    out = tmp_path / "out"
    found = one_document("audit-export", run.folder, "--k", 3, "--columns", "age")
    assert (found["users"], found["rare"], found["unique"], found["smallest"]) == (40, 2, 0, 2)
    options = ("--format", "npy", "--k-anonymity", 3, "--columns", "age")
    status, _, err = run_command("export", run.folder, "--to", out, *options)
    assert status == 0 and "2 users left out" in err
    ids = json.loads((out / "users.ids.json").read_text())
    assert set(run.user_ids) - set(ids) == {"u5", "u6"}
    vectors = np.load(out / "users.npy")
    np.testing.assert_array_equal(vectors, run.user_vectors[[run.user_index(name) for name in ids]])
    found = one_document("audit-export", out, "--k", 3, "--columns", "age")
    assert (found["users"], found["rare"]) == (38, 0) and found["smallest"] >= 3
    assert any("what users took" in line for line in found["not_covered"])
    assert "allowed: age, city" in run_command("audit-export", out, "--columns", "salary")[2]


def test_a_column_of_file_names_is_looked_at_too(run, one_document):
    found = one_document("audit-export", run.folder)
    assert found["columns"][:3] == ["age", "city", "avatar"] and found["unique"] == 40  # a picture of one's own


def test_lists_that_go_out_are_those_of_who_is_left(run, tmp_path, run_command):
    """Of a run that ranks by lists: each user's are told from all others' by their scores."""
    ages = pl.read_parquet(run.folder / "users.parquet").with_columns(
        age=pl.when(pl.col("__id__").is_in(["u5", "u6"])).then(pl.lit("99")).otherwise(pl.lit("20"))
    )
    ages.write_parquet(run.folder / "users.parquet")
    scores = np.arange(2 * len(run.user_ids), 0, -1, dtype=np.float32).reshape(-1, 2)
    items = np.tile(np.array([0, 1], dtype=np.int32), (len(scores), 1))
    save_file({"item": items, "score": scores}, run.folder / "lists.safetensors")
    told = json.loads((run.folder / "run.json").read_text()) | {"by_embeddings": False}
    (run.folder / "run.json").write_text(json.dumps(told))
    for name, options in (("all", ()), ("some", ("--k-anonymity", 3, "--columns", "age"))):
        status, _, err = run_command("export", run.folder, "--to", tmp_path / name, "--format", "npy", *options)
        assert status == 0, err
    whole, some = (pl.read_parquet(tmp_path / name / "lists.parquet") for name in ("all", "some"))
    assert {*whole["user"]} - {*some["user"]} == {"u5", "u6"}
    assert some.equals(whole.filter(~pl.col("user").is_in(["u5", "u6"])))
