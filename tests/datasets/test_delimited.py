"""The two ways to read a text table have to agree, whatever is in the file."""

import numpy as np
import pytest

from gnnrec.datasets.sources.delimited import read_delimited, read_irregular
from gnnrec.errors import UserError

PLAIN = [b"a", b"bc", b",", b",", b",", b"\n", b"\n", "é".encode(), b"\xe9", b"  ", b"7", b"\r\n"]
QUOTED = [*PLAIN, b'"', b'"a,b",', b'"x\ny"', b'"",', b'"q""r",', b'"\xe9\r\n"', b"\r"]


def found(read, *arguments):
    """Everything that a reader says, or its error."""
    try:
        table = read(*arguments)
    except UserError as error:
        return str(error)
    assert table.num_records == len(table.frame) + len(table.rejected)
    return table.frame.rows(named=True), table.rejected.rows(named=True), table.num_records


@pytest.mark.parametrize("pieces", [PLAIN, QUOTED], ids=["without quotes", "with quotes"])
@pytest.mark.parametrize("seed", range(10))
def test_polars_and_the_csv_module_agree_on_anything(tmp_path, pieces, seed):
    random = np.random.default_rng(seed)
    for _ in range(50):
        chosen = random.integers(len(pieces), size=random.integers(1, 60))
        content = b"u,i,r\n" + b"".join(pieces[choice] for choice in chosen) + b"\nx,y,z\n" * int(random.integers(2))
        path = tmp_path / "f.csv"
        path.write_bytes(content)
        assert found(read_delimited, path, "f") == found(read_irregular, content, "f", ",", ("u", "i", "r"), 2, True)


def test_quoted_records_keep_their_text_and_their_lines(tmp_path):
    path = tmp_path / "f.csv"
    path.write_bytes(b'item,title\ni1,"Alien, 1979"\n\ni2,"two\nlines ""said"""\ni3,a,b\n"i4",""\n')
    table = read_delimited(path, "f.csv")
    assert table.frame.rows() == [
        ("i1", "Alien, 1979", 0, 2),
        ("i2", 'two\nlines "said"', 1, 4),
        ("i4", None, 3, 7),
    ]
    assert table.rejected.rows() == [("f.csv", 6, "3 fields where the header has 2", "i3,a,b")]
