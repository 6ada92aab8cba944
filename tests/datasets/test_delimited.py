"""The two ways to read a text table have to agree, whatever is in the file."""

import numpy as np
import pytest

from gnnrec.datasets.sources.delimited import read_quoted, read_unquoted

PIECES = [b"a", b"bc", b",", b",", b",", b"\n", b"\n", "é".encode(), b"\xe9", b"  ", b"7"]


@pytest.mark.parametrize("seed", range(40))
def test_polars_and_the_csv_module_agree_on_anything_without_quotes(seed):
    random = np.random.default_rng(seed)
    body = b"".join(PIECES[choice] for choice in random.integers(len(PIECES), size=random.integers(1, 120)))
    body += b"\n" * int(random.integers(2)) + b"x,y,z\n" * int(random.integers(2))
    content = b"u,i,r\n" + body
    one = read_unquoted(content, "f", ",", ("u", "i", "r"), 2)
    two = read_quoted(content, "f", ",", ("u", "i", "r"), 2, False)
    assert one.frame.rows(named=True) == two.frame.rows(named=True)
    assert one.rejected.rows() == two.rejected.rows()
    assert one.num_records == two.num_records == len(one.frame) + len(one.rejected)
