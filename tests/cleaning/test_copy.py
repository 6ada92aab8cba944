"""The cleaned copy: the same data where nothing was wrong, each repair where something was; the original untouched."""

import csv
import hashlib
import sys

import numpy as np
import polars as pl
import pytest

from gnnrec.cleaning import KINDS, SAFE, CleanConfig, clean
from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.fingerprints import catalog_fingerprint, fingerprint


def prints(folder):
    dataset = Dataset.load(folder)
    return fingerprint(dataset), catalog_fingerprint(dataset)


def files(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def listed(copy):
    with (copy / "cleaning.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def interactions(folder):
    return pl.read_csv(folder / "interactions.csv.gz", infer_schema_length=0)


def test_the_copy_of_clean_data_is_the_same_data(clean_folder, tmp_path):
    before = files(clean_folder)
    cleaning = clean(clean_folder, to=tmp_path / "deep/copy", kinds="all")
    assert cleaning.findings == []
    assert files(clean_folder) == before
    assert prints(tmp_path / "deep/copy") == prints(clean_folder)
    ours, copied = Dataset.load(clean_folder), Dataset.load(tmp_path / "deep/copy")
    assert (copied.name, copied.licence, copied.split) == (ours.name, ours.licence, ours.split)
    assert copied.below_min_rating == ours.below_min_rating > 0
    assert len(copied.rejected) == 0
    assert copied.items.table["shelf"].to_list() == ours.items.table["shelf"].to_list()
    assert "device" in interactions(tmp_path / "deep/copy").columns
    assert (tmp_path / "deep/copy/LICENCE.md").read_text() == "ours\n"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["copy"]
    assert (tmp_path / "deep/copy").stat().st_mode & 0o777 == 0o755


def test_of_a_made_dataset_too(planted_folder, tiny_data, tmp_path):
    for folder in (planted_folder, tiny_data):
        clean(folder, CleanConfig(skip="near-texts,language"), tmp_path / folder.name)
        assert prints(tmp_path / folder.name) == prints(folder)
    assert [(row["line"], row["done"]) for row in listed(tmp_path / "tiny")] == [("363", "yes"), ("362", "yes")]


def test_parquet_stays_parquet_and_lists_stay_lists(tmp_path):
    folder = tmp_path / "typed"
    folder.mkdir()
    rows = {
        "user": [1, 1, 2, 2],
        "item": [10, 11, 10, 12],
        "rating": [0.1, 1 / 3, 2.5, 1e-9],
        "extra": [[1], [], None, [2, 3]],
    }
    pl.DataFrame(rows).write_parquet(folder / "log.parquet")
    pl.DataFrame({"item": [10, 11, 12], "tags": [["a", "b"], ["c"], None]}).write_parquet(folder / "items.parquet")
    (folder / "dataset.toml").write_text(
        '[interactions]\npath = "log.parquet"\nrating = "rating"\n[items]\npath = "items.parquet"\ntext = ["tags"]\n'
    )
    clean(folder, to=tmp_path / "copy")
    assert prints(tmp_path / "copy") == prints(folder)
    assert pl.read_parquet(tmp_path / "copy/interactions.parquet")["extra"].to_list() == rows["extra"]
    assert Dataset.load(tmp_path / "copy").name == "typed"


def test_fields_with_every_sign_survive(shelf):
    odd = ['"a, ""b"" c"', '"two\nlines"', '"cr\rhere"', '"  blanks  "', "'quote", '"tab\there"', "=1+1", "ünï🎬"]
    lines = shelf.lines("people.csv")
    for row, value in enumerate(odd):
        lines[row + 1] = f"u{row},{value}"
    (shelf.folder / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    copy = shelf.copy()
    assert prints(copy) == prints(shelf.folder)
    ours, copied = (Dataset.load(folder).users.table["bio"].to_list() for folder in (shelf.folder, copy))
    assert copied == ours


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "ratings.csv",
            "userId,movieId,rating,timestamp\n1,10,4.0,1500000000\n2,10,3.5,1500000009\n1,11,5,1500000010\n",
        ),
        (
            "shop.inter",
            "user_id:token\titem_id:token\trating:float\ttimestamp:float\na\tx\t4\t1500000000\nb\ty\t3\t1500000001\n",
        ),
    ],
)
def test_other_kinds_of_folders_become_one_with_a_description(tmp_path, name, text):
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / name).write_text(text)
    if name == "ratings.csv":
        (folder / "movies.csv").write_text("movieId,title,genres\n10,First (1999),A|B\n11,&lt;b&gt;Second,C\n")
    clean(folder, CleanConfig(skip="html"), tmp_path / "copy")
    assert (tmp_path / "copy/dataset.toml").is_file()
    assert prints(tmp_path / "copy") == prints(folder)


def spoil(shelf):
    """A fault of each safe kind."""
    shelf.change("things.csv", 0, 1, "<b>Thing</b> &amp; thing")
    shelf.change("things.csv", 1, 1, "AmÃ©lie")
    (shelf.folder / "covers/2.png").write_bytes(b"nothing")
    (shelf.folder / "clips/3.wav").unlink()
    shelf.change("log.csv", 7, 3, "-5")
    shelf.append("log.csv", shelf.lines("log.csv")[20].split(","))
    shelf.change("log.csv", 50, 2, "50")  # not safe to take for wrong


def test_safe_repairs_are_made_unasked(shelf):
    spoil(shelf)
    before, kept = files(shelf.folder), shelf.lines("log.csv")
    copy = shelf.copy()
    assert files(shelf.folder) == before
    items = Dataset.load(copy).items
    titles = dict(zip(items.table["what"], items.table["title"]))
    assert (titles["i0"], titles["i1"], titles["i2"]) == ("Thing & thing", "Amélie", "Thing 2")
    cells = pl.read_csv(copy / "items.csv.gz", infer_schema_length=0)
    assert (cells["cover"][2], cells["clip"][3], cells["cover"][4]) == (None, None, "covers/4.png")
    assert not (copy / "covers/2.png").exists()
    log = [",".join(row) for row in interactions(copy).iter_rows()]
    assert log == kept[1:8] + kept[9:-1]  # without the row of the impossible time and the second of the equal ones
    done = {row["kind"]: row["done"] for row in listed(copy)}
    safe = ("html", "mojibake", "broken-media", "timestamps", "duplicate-interactions")
    assert done == dict.fromkeys(safe, "yes") | {"ratings": "no"}
    assert {finding.kind for finding in clean(copy).findings} == {"ratings"}


def test_only_what_is_named_is_repaired(shelf):
    spoil(shelf)
    copy = shelf.copy("ratings,html")
    assert {row["kind"] for row in listed(copy) if row["done"] == "yes"} == {"ratings", "html"}
    log = interactions(copy)
    assert "50" not in log["stars"].to_list()
    assert "-5" in log["time"].to_list()  # its repair was not named, so the row stays as it is
    assert Dataset.load(copy).items.table.filter(pl.col("what") == "i1")["title"].item() == "AmÃ©lie"
    left = {finding.kind for finding in clean(copy).findings}
    assert left == {"mojibake", "broken-media", "timestamps", "duplicate-interactions"}


def test_markup_and_letters_of_one_cell(shelf):
    shelf.change("things.csv", 0, 1, "<i>Am&Atilde;&copy;lie</i>")
    assert (
        Dataset.load(shelf.copy("mojibake,html")).items.table.filter(pl.col("what") == "i0")["title"].item() == "Amélie"
    )


def merge_data(shelf):
    """i40 is i3 once more, with rows of its own, and one that i3 has too."""
    fields = shelf.lines("things.csv")[4].split(",")
    shelf.append("things.csv", ["i40", *fields[1:]])
    text = np.load(shelf.folder / "text.npy")
    np.save(shelf.folder / "text.npy", np.concatenate([text, text[3:4]]))
    row = next(line.split(",") for line in shelf.lines("log.csv") if ",i3," in line)
    new = ("newcomer", "i40", 4, 1_580_000_000, "train", "phone")
    return shelf.append("log.csv", [row[0], "i40", *row[2:]], new)


def test_duplicate_items_become_one(shelf):
    before = interactions(shelf.copy())
    merged_line = merge_data(shelf)
    to = shelf.folder.parent / "merged"
    clean(shelf.folder, to=to)
    dataset = Dataset.load(to)
    assert "i40" not in dataset.item_ids and len(dataset.item_ids) == 40
    assert dataset.item_features["text"].shape == (40, 3)
    added = interactions(to).join(before, on=before.columns, how="anti", nulls_equal=True)
    assert added.rows() == [("newcomer", "i3", "4", "1580000000", "train", "phone")]
    again = next(row for row in listed(to) if row["kind"] == "duplicate-interactions")
    assert (again["line"], again["done"]) == (str(merged_line), "yes")
    assert again["reason"].endswith("once items are merged")
    assert len(pl.read_csv(to / "items.csv.gz")) == 40


def test_merged_items_follow_to_the_first_of_all(shelf):
    merge_data(shelf)
    fields = shelf.lines("things.csv")[41].split(",")
    shelf.append("things.csv", ["i41", *fields[1:5], "another shelf"])
    text = np.load(shelf.folder / "text.npy")
    np.save(shelf.folder / "text.npy", np.concatenate([text, text[3:4] + 1]))
    shelf.append("log.csv", ("newcomer", "i41", 4, 1_581_000_000, "train", "phone"))
    log = interactions(shelf.copy("all"))
    assert log.filter(pl.col("who") == "newcomer")["what"].to_list() == ["i3", "i3"]


def test_bots_go_with_all_that_is_theirs(shelf):
    rows = [(f"u{0}", f"i{step % 40}", 5, 1_590_000_000 + 60 * step, "train", "phone") for step in range(300)]
    shelf.append("log.csv", *rows)
    unasked = shelf.copy()
    assert "u0" in Dataset.load(unasked).user_ids
    to = shelf.folder.parent / "without"
    clean(shelf.folder, to=to, kinds="bots")
    dataset, ours = Dataset.load(to), Dataset.load(shelf.folder)
    assert set(ours.user_ids) - set(dataset.user_ids) == {"u0"}
    friends = {frozenset(dataset.user_ids[user] for user in pair) for pair in dataset.friends.T}
    assert friends == {frozenset(("u1", "u2")), frozenset(("u5", "u9"))}
    for name in ("u7", "u8"):
        taste = [data.user_features["taste"][data.user_ids.index(name)] for data in (dataset, ours)]
        np.testing.assert_array_equal(*taste)
    assert len(dataset.rejected) == 0


def test_files_with_the_names_of_the_copy_do_not_replace_them(shelf, draw):
    draw.noise(shelf.folder / "cover.png", 77)
    (shelf.folder / "cover.png").rename(shelf.folder / "cleaning.csv")
    shelf.change("things.csv", 0, 3, "cleaning.csv")
    (shelf.folder / "dataset.toml").write_text(
        (shelf.folder / "dataset.toml").read_text().replace("[features.text]", '[features."../../text"]')
    )
    copy = shelf.copy()
    assert prints(copy) == prints(shelf.folder)
    assert listed(copy) == []
    assert sorted(path.name for path in shelf.folder.parent.iterdir()) == ["copy", "shelf"]
    assert Dataset.load(copy).item_features.keys() == {"../../text"}


def test_links_within_the_folder_become_files(shelf):
    (shelf.folder / "covers/link.png").symlink_to("1.png")
    shelf.change("things.csv", 0, 3, "covers/../covers/link.png")
    copy = shelf.copy("html", skip="near-pictures")
    assert prints(copy) == prints(shelf.folder)
    assert pl.read_csv(copy / "items.csv.gz", infer_schema_length=0)["cover"][0] == "covers/1.png"


@pytest.mark.parametrize("place", ["shelf", "shelf/copy", "shelf/covers", "link/copy", "full", "file"])
def test_places_that_are_not_free(shelf, place):
    near = shelf.folder.parent
    (near / "link").symlink_to("shelf")
    (near / "full").mkdir()
    (near / "full/mine.txt").write_text("mine")
    (near / "file").write_text("mine")
    before = files(near)
    with pytest.raises(UserError, match="allowed: a new"):
        clean(shelf.folder, to=near / place)
    assert files(near) == before


def test_a_copy_of_nothing_is_not_written(shelf):
    shelf.change("log.csv", 0, 3, "1577836800000")
    lines = shelf.lines("log.csv")
    (shelf.folder / "log.csv").write_text("\n".join(lines[:2]) + "\n")
    with pytest.raises(UserError, match=r"copy: not written, since what is left could not be read: inter"):
        shelf.copy()
    assert [path.name for path in shelf.folder.parent.iterdir()] == ["shelf"]


def test_the_command(shelf, run_command, one_document):
    assert run_command("clean", shelf.folder)[:2] == (0, f"{shelf.folder}: nothing found\n")
    spoil(shelf)
    before = files(shelf.folder)
    status, out, err = run_command("clean", shelf.folder)
    assert (status, err) == (0, "")
    assert "7 findings" in out and "broken-media" in out and "by default" in out and "if named" in out
    document = one_document("clean", shelf.folder, "--to", shelf.folder.parent / "copy", "--repair", "html")
    assert document["to"] == str(shelf.folder.parent / "copy")
    assert {row["kind"]: (row["found"], row["done"]) for row in document["kinds"]} == {
        "broken-media": (2, 0),
        "html": (1, 1),
        "mojibake": (1, 0),
        "timestamps": (1, 0),
        "duplicate-interactions": (1, 0),
        "ratings": (1, 0),
    }
    assert len(document["findings"]) == 7
    status, out, _ = run_command("clean", shelf.folder, "--to", shelf.folder.parent / "other")
    assert status == 0
    assert out.endswith(f"copy: {shelf.folder.parent / 'other'}\n")
    assert files(shelf.folder) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--repair", "html"], "clean --repair: needs --to FOLDER"),
        (["--to", "copy", "--repair", "dust"], "--repair: found 'dust'; allowed: all, bad-rows"),
        (["--set", "clean.dust=1"], "--set: clean: unknown key 'dust'; allowed: skip"),
        (["--set", "clean.letters=0"], "clean.letters: found 0; allowed: 1 or more"),
        (["--to", "."], "never written to"),
    ],
)
def test_bad_input_is_one_line(shelf, run_command, monkeypatch, arguments, message):
    monkeypatch.chdir(shelf.folder)
    before = files(shelf.folder)
    status, out, err = run_command("clean", shelf.folder, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert message in err
    assert files(shelf.folder) == before


@pytest.mark.parametrize("package", ["imagededup", "datasketch", "ftfy", "lingua"])
def test_a_missing_library_is_one_line(clean_folder, run_command, monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)  # as where it is not installed
    status, out, err = run_command("clean", clean_folder)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "is not installed: needs the extra 'clean': pip install 'gnnrec[clean]'" in err


def test_what_may_be_right_is_not_repaired_unasked():
    assert set(KINDS) - set(SAFE) == {
        *("near-pictures", "near-texts", "same-sounds", "shared-media"),
        *("language", "bots", "ratings"),
    }
