from gnnrec.errors import count


def test_one_is_singular_and_the_rest_are_many() -> None:
    assert [count(number, "row") for number in (0, 1, 2, 90_274)] == ["0 rows", "1 row", "2 rows", "90,274 rows"]
