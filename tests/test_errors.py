from contextlib import nullcontext
from pathlib import Path

import pytest

from gnnrec.cli import main
from gnnrec.errors import UserError, count, first_line, printable


def test_one_is_singular_and_the_rest_are_many() -> None:
    assert [count(number, "row") for number in (0, 1, 2, 90_274)] == ["0 rows", "1 row", "2 rows", "90,274 rows"]


def test_the_reason_of_a_library_is_its_first_line_as_it_is() -> None:
    assert first_line(ValueError("\n no such 'key'\nand more")) == "no such 'key'"
    assert first_line(ValueError()) == "ValueError()"  # nothing was said: at least what it is


def test_an_error_is_one_line_whatever_was_found() -> None:
    assert str(UserError("no column 'id'; it has: a\nb, \x1b[31mc, d")) == "no column 'id'; it has: a b,  [31mc, d"


def test_words_of_persian_stay_as_they_are_written() -> None:
    assert printable("می\u200cخواهم\u202e\x9b") == "می\u200cخواهم  "


@pytest.mark.parametrize("there", [False, True])
def test_what_strangers_wrote_cannot_command_the_terminal(
    there: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an error of the arguments, and in one of a command."""
    place = tmp_path / "odd\x1b[31m\x07"
    if there:
        place.mkdir()
    with nullcontext() if there else pytest.raises(SystemExit):
        assert main(["train", str(place), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error and "\x07" not in error
    assert "odd [31m" in error
