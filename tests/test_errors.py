from gnnrec.errors import count, first_line


def test_one_is_singular_and_the_rest_are_many() -> None:
    assert [count(number, "row") for number in (0, 1, 2, 90_274)] == ["0 rows", "1 row", "2 rows", "90,274 rows"]


def test_the_reason_of_a_library_is_its_first_line_as_it_is() -> None:
    assert first_line(ValueError("\n no such 'key'\nand more")) == "no such 'key'"
    assert first_line(ValueError()) == "ValueError()"  # nothing was said: at least what it is
