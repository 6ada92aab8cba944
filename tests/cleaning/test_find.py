"""Each kind of fault, planted one at a time: found at its line, and nothing beside it."""

import shutil

import numpy as np
import pytest
from PIL import Image

from gnnrec.cleaning import KINDS
from gnnrec.datasets import Dataset
from gnnrec.errors import UserError

TEXT_SKIPPED = "language,near-texts"


def told(findings):
    return [(finding.kind, finding.file, finding.line) for finding in findings]


def test_nothing_is_found_where_nothing_is_wrong(shelf):
    assert shelf.find() == []


def test_broken_media(shelf):
    (shelf.folder / "covers/3.png").write_bytes((shelf.folder / "covers/3.png").read_bytes()[:200])
    (shelf.folder / "clips/4.wav").write_bytes(b"RIFF nothing")
    (shelf.folder / "covers/5.png").unlink()
    found = shelf.find()
    assert told(found) == [("broken-media", "things.csv", line) for line in (5, 7, 6)]
    assert [finding.value for finding in found] == ["covers/3.png", "covers/5.png", "clips/4.wav"]
    assert found[1].reason == "no such file"


def test_a_path_out_of_the_folder_is_not_followed(shelf, draw):
    outside = shelf.folder.parent / "secret.png"
    draw.noise(outside, 99)
    (shelf.folder / "covers/link.png").symlink_to(outside)
    shelf.change("things.csv", 0, 3, "../secret.png")
    shelf.change("things.csv", 1, 3, "covers/link.png")
    shelf.change("things.csv", 2, 3, str(outside))
    found = shelf.find()
    assert [(finding.kind, finding.line, finding.reason) for finding in found] == [
        ("broken-media", line, "path leaves the folder of the dataset") for line in (2, 3, 4)
    ]
    copy = shelf.copy(kinds="html")  # not even where the cells stay
    bytes_of_it = outside.read_bytes()
    assert all(path.read_bytes() != bytes_of_it for path in copy.rglob("*") if path.is_file())
    assert not any(path.is_symlink() for path in copy.rglob("*"))


def test_blank_media(shelf, draw):
    Image.new("RGB", (50, 70), "#204060").save(shelf.folder / "covers/8.png")
    nearly = np.full((50, 70, 3), 200, dtype=np.uint8)
    nearly[10:20, 10:60] = 0  # a line of print
    Image.fromarray(nearly).save(shelf.folder / "covers/9.png")
    draw.tone(shelf.folder / "clips/2.wav", 0)
    found = shelf.find()
    assert told(found) == [("blank-media", "things.csv", 10), ("blank-media", "things.csv", 4)]
    assert found[0].reason == "a picture of one colour, #204060"
    assert found[1].reason == "nothing but silence"


def test_shared_media(shelf):
    for item in range(4):
        shelf.change("things.csv", item, 3, "covers/0.png")
    assert told(shelf.find(most_copies=3)) == [("shared-media", "things.csv", line) for line in (2, 3, 4, 5)]
    assert {finding.kind for finding in shelf.find(most_copies=4)} == {"near-pictures"}


@pytest.mark.parametrize(
    ("text", "stripped"),
    [
        ("A <b>bold</b> tale<br/>of the sea", "A bold tale of the sea"),
        ("Salt &amp; pepper &#39;n&#x27; oil", "Salt & pepper 'n' oil"),
        ("Twice &amp;lt;i&amp;gt;escaped&amp;lt;/i&amp;gt; text", "Twice escaped text"),
        ('<p class="x">First.</p><p>Second.</p><script>alert(1)</script>', "First. Second."),
        ("Half <!-- a note --> of it", "Half of it"),
        ("An <unk> word in <em>markup</em>", "An <unk> word in markup"),
    ],
)
def test_markup(shelf, text, stripped):
    shelf.change("things.csv", 6, 1, text)
    (found,) = shelf.find(skip=TEXT_SKIPPED)
    assert (found.kind, found.line, found.column, found.value) == ("html", 8, "title", text)
    assert found.edit.rewrite(text) == stripped


@pytest.mark.parametrize("text", ["I <3 you & me", "a < b > c", "<unk> and AT&T; R&B", "x<y", "Q&A;"])
def test_what_only_looks_like_markup(shelf, text):
    shelf.change("things.csv", 6, 1, text)
    assert shelf.find(skip=TEXT_SKIPPED) == []


@pytest.mark.parametrize(
    ("text", "restored"),
    [
        ("AmÃ©lie", "Amélie"),
        ("Donâ€™t look", "Don’t look"),
        ("ÐœÐ¾Ñ\u0081ÐºÐ²Ð°", "Москва"),
    ],
)
def test_mojibake(shelf, text, restored):
    shelf.change("people.csv", 6, 1, text)
    (found,) = shelf.find(skip=TEXT_SKIPPED)
    assert (found.kind, found.file, found.line) == ("mojibake", "people.csv", 8)
    assert found.edit.rewrite(text) == restored


@pytest.mark.parametrize("text", ["Amélie", "“Don’t”", "Москва", "東京物語", "naïve café ﬁne", "Ａ"])
def test_letters_that_are_right(shelf, text):
    shelf.change("people.csv", 6, 1, text)
    assert shelf.find(skip=TEXT_SKIPPED) == []


def test_a_letter_that_is_lost_is_told_and_stays(shelf):
    shelf.change("people.csv", 6, 1, "Am\ufffdlie")
    (found,) = shelf.find()
    assert (found.kind, found.line, found.edit) == ("mojibake", 8, None)
    users = Dataset.load(shelf.copy("all")).users
    assert users is not None and "Am\ufffdlie" in users.titles()


def test_language(shelf):
    french = "Un jeune avocat quitte la ville et revient dans son village où le vieux moulin a été détruit"
    chinese = "一位年轻的律师离开城市回到她的村庄，发现古老的磨坊已经被陌生人烧毁了，人们都很悲伤"
    shelf.change("things.csv", 10, 2, french)
    shelf.change("things.csv", 20, 2, chinese)
    shelf.change("things.csv", 30, 1, "La vie est belle")  # too short to tell
    found = shelf.find()
    assert told(found) == [("language", "things.csv", 12), ("language", "things.csv", 22)]
    assert [finding.reason.split()[0] for finding in found] == ["French", "Chinese"]
    for item in range(15):  # now French is one of its languages
        shelf.change("things.csv", item, 2, f"{french} {item}")
    assert [finding.line for finding in shelf.find() if finding.kind == "language"] == [22]


def twin(shelf, source: int, name: str, **changed) -> int:
    """Another item with the content of an item, under other file names; its line."""
    fields = shelf.lines("things.csv")[source + 1].split(",")
    for kind, column in (("covers", 3), ("clips", 4)):
        old = shelf.folder / fields[column]
        fields[column] = f"{kind}/{name}{old.suffix}"
        shutil.copy(old, shelf.folder / fields[column])
    fields[0] = name
    for column, value in changed.items():
        fields[int(column.removeprefix("column"))] = value
    text = np.load(shelf.folder / "text.npy")
    np.save(shelf.folder / "text.npy", np.concatenate([text, text[source : source + 1]]))
    return shelf.append("things.csv", fields)


def test_duplicate_items(shelf):
    line = twin(shelf, 3, "again")
    (found,) = shelf.find()
    assert (found.kind, found.line, found.id) == ("duplicate-items", line, "again")
    assert found.reason == "the same content as item i3, Thing 3"


def test_items_that_differ_in_one_column_are_no_duplicates_but_near(shelf):
    twin(shelf, 3, "again", column5="77")
    assert [finding.kind for finding in shelf.find()] == ["near-pictures", "same-sounds", "near-texts"]


def test_features_tell_items_apart(shelf):
    twin(shelf, 3, "again")
    text = np.load(shelf.folder / "text.npy")
    text[-1] += 1
    np.save(shelf.folder / "text.npy", text)
    assert "duplicate-items" not in {finding.kind for finding in shelf.find()}


def test_near_pictures(shelf):
    picture = Image.open(shelf.folder / "covers/11.png")
    picture.resize((90, 135)).save(shelf.folder / "covers/30.png.jpg", quality=60)
    shelf.change("things.csv", 30, 3, "covers/30.png.jpg")
    grey = Image.open(shelf.folder / "covers/12.png").convert("L")  # the same hash, since that is taken of grey
    grey.save(shelf.folder / "covers/31.png")
    (found,) = shelf.find()
    assert (found.kind, found.line, found.id) == ("near-pictures", 32, "i30")
    assert found.reason.endswith("of item i11, Thing 11")
    assert {finding.line for finding in shelf.find(colour_distance=255)} == {32, 33}


def test_same_sounds(shelf):
    shutil.copy(shelf.folder / "clips/11.wav", shelf.folder / "clips/30.wav")
    (found,) = shelf.find()
    assert (found.kind, found.line) == ("same-sounds", 32)


def test_near_texts(shelf):
    plots = [line.split(",")[2] for line in shelf.lines("things.csv")[1:]]
    long = plots[11] * 2
    for row, text in ((11, long), (25, long.replace("garden", "gardens")), (26, long.replace("garden", "2 gardens"))):
        shelf.change("things.csv", row, 1, "A thing")  # the title is part of the text, and numbers count
        shelf.change("things.csv", row, 2, text)
    (found,) = shelf.find()
    assert (found.kind, found.line) == ("near-texts", 27)
    assert found.reason.startswith("text like that (9")
    assert shelf.find(text_likeness=1.0) == []


def test_parts_of_a_series_are_no_duplicates(shelf):
    for row, part in ((11, "II"), (12, "III"), (13, "IV")):
        shelf.change("things.csv", row, 1, "A thing")
        shelf.change("things.csv", row, 2, f"The long return of the brothers from the frozen mountains part {part}")
    assert shelf.find() == []


def test_timestamps(shelf):
    wrong = ("-5", "1577836800000", "noon", "3999999999", "4000")
    lines = [shelf.change("log.csv", row, 3, value) for row, value in zip((3, 30, 60, 90, 120), wrong)]
    found = shelf.find()
    assert sorted(told(found)) == [("timestamps", "log.csv", line) for line in lines]
    reasons = {finding.line: finding.reason for finding in found}
    assert "milliseconds" in reasons[lines[1]]
    assert reasons[lines[3]] == "in the future"
    assert reasons[lines[4]] == "before 1990, where the others are not"


def test_times_that_do_not_count_from_1970(shelf):
    for row in range(100):
        shelf.change("log.csv", row, 3, str(row))
    assert shelf.find() == []


def test_duplicate_interactions(shelf):
    fields = shelf.lines("log.csv")[8].split(",")
    later = [*fields[:3], str(int(fields[3]) + 60), *fields[4:]]
    line = shelf.append("log.csv", fields, later)
    (found,) = shelf.find()
    assert (found.kind, found.line, found.value) == ("duplicate-interactions", line, f"{fields[0]},{fields[1]}")


def test_of_equal_rows_one_stays_that_is_read(shelf):
    row = next(row for row, line in enumerate(shelf.lines("log.csv")[1:]) if line.split(",")[2] == "1")
    fields = shelf.lines("log.csv")[row + 1].split(",")
    fields[2] = "5"
    shelf.append("log.csv", fields)
    (found,) = shelf.find()
    assert (found.kind, found.line) == ("duplicate-interactions", row + 2)  # its rating is below min_rating


def test_ratings(shelf):
    line = shelf.change("log.csv", 50, 2, "50")
    (found,) = shelf.find()
    assert (found.kind, found.line) == ("ratings", line)
    assert found.reason == "outside of 1 to 5, which 99.9% of the ratings use"
    assert found.value.endswith(": 50")


@pytest.mark.parametrize(
    ("rows", "odd", "found"), [(900, "99", 1), (900, "0.5", 0), (1500, "-20", 1), (2400, "0.5", 1)]
)
def test_ratings_of_a_small_log(shelf, rows, odd, found):
    """One row of 900 may be the only one with half a star; one of 99 is none."""
    lines = shelf.lines("log.csv")[: rows + 1]
    (shelf.folder / "log.csv").write_text("\n".join(lines) + "\n")
    shelf.change("log.csv", 50, 2, odd)
    off = [finding for finding in shelf.find() if finding.kind == "ratings"]
    assert len(off) == found and all(finding.value.endswith(f": {odd}") for finding in off)


def test_two_odd_ratings_of_one_kind_are_found(shelf):
    """Within the tenth of a percent, but both at the same end."""
    for row in (50, 90):
        shelf.change("log.csv", row, 2, "99")
    assert [finding.kind for finding in shelf.find()] == ["ratings", "ratings"]


def test_amounts_have_no_edge(shelf):
    amounts = np.random.default_rng(0).uniform(10, 20, 2400).round(4)
    amounts[7], amounts[9] = 24, 4000
    lines = shelf.lines("log.csv")
    for row, amount in enumerate(amounts):
        fields = lines[row + 1].split(",")
        fields[2] = str(amount)
        lines[row + 1] = ",".join(fields)
    (shelf.folder / "log.csv").write_text("\n".join(lines) + "\n")
    (found,) = shelf.find()
    assert (found.kind, found.line) == ("ratings", 11)


def user(name, items, moments, ratings=None):
    ratings = [1 + place % 5 for place in range(len(items))] if ratings is None else ratings
    return [
        (name, f"i{item}", rating, moment, "train", "phone") for item, rating, moment in zip(items, ratings, moments)
    ]


def test_bots(shelf):
    start, random = 1_550_000_000, np.random.default_rng(1)
    some = random.integers(0, 40, 60)
    person = start + np.cumsum(random.integers(10, 5000, 60))
    haste = start + np.cumsum(random.integers(1, 40, 60))
    steps = start + 60 * np.arange(60) + random.integers(0, 2, 60)
    walk = [place % 40 for place in range(60)]
    shelf.append("log.csv", *user("person", some, person), *user("clock", some, steps))
    shelf.append("log.csv", *user("walker", walk, person), *user("hasty", some, haste))
    shelf.append("log.csv", *user("fan", some, person, [5] * 60))
    found = shelf.find(bot_same=60, bot_hour=60)
    reasons = {finding.id: finding.reason for finding in found}
    assert {finding.kind for finding in found} == {"bots"}
    assert set(reasons) == {"clock", "walker", "hasty", "fan"}
    assert "between rows take 60 s" in reasons["clock"]
    assert "takes the catalogue in its order" in reasons["walker"]
    assert reasons["hasty"] == "60 rows or more within an hour"
    assert reasons["fan"] == "the rating 5 in all of 60 rows"


def test_a_user_who_is_far_busier_than_the_busiest(shelf):
    random = np.random.default_rng(1)
    moments = 1_510_000_000 + np.cumsum(random.integers(10_000, 50_000, 500))
    shelf.append("log.csv", *user("busy", random.integers(0, 40, 500), moments))
    (found,) = shelf.find()  # 25 times as many as all others have
    assert (found.kind, found.id) == ("bots", "busy")
    assert shelf.find(bot_times=26.0) == []


def test_bad_rows(shelf):
    first = shelf.append("log.csv", ("u1", "nowhere", 3, 1_550_000_000, "train", "phone"), ("u1",))
    second = shelf.append("things.csv", shelf.lines("things.csv")[3].split(","))
    np.save(shelf.folder / "text.npy", np.concatenate([np.load(shelf.folder / "text.npy"), np.ones((1, 3))]))
    found = shelf.find()
    assert sorted(told(found)) == [
        ("bad-rows", "log.csv", first),
        ("bad-rows", "log.csv", first + 1),
        ("bad-rows", "things.csv", second),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_skipped_is_not_found(shelf, kind):
    shelf.change("things.csv", 0, 1, "<b>Thing</b>")
    shelf.change("log.csv", 50, 2, "50")
    assert {"html", "ratings"} - {finding.kind for finding in shelf.find(skip=kind)} == {"html", "ratings"} & {kind}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"skip": "html,dust"}, "clean.skip: found 'dust'; allowed: all, bad-rows"),
        ({"hash_distance": 65}, "clean.hash_distance: found 65; allowed: 0 to 64"),
        ({"bot_rows": 2}, "clean.bot_rows: found 2; allowed: 3 or more"),
        ({"rating_share": 1.5}, "clean.rating_share: found 1.5; allowed: 0.5 to 1"),
    ],
)
def test_settings_are_checked(shelf, settings, message):
    with pytest.raises(UserError, match=message):
        shelf.find(**settings)
