"""One contract for all targets: what is written comes back, is found by the exact search, is replaced as a whole."""

import numpy as np
import pytest
from made_export import ODD_IDS, made

from gnnrec.errors import UserError
from gnnrec.export import Exported
from gnnrec.targets.check import check_answers
from gnnrec.targets.moving import gathered, store
from gnnrec.targets.table import BATCH

pytestmark = pytest.mark.filterwarnings("ignore:Payload indexes have no effect")  # of Qdrant in this process


class Watched(tuple):
    """A column that does something when its second batch is asked for."""

    def __new__(cls, values, act):
        column = super().__new__(cls, values)
        column.act = act
        return column

    def __getitem__(self, rows):
        if isinstance(rows, slice) and rows.start == BATCH:
            self.act()
        return super().__getitem__(rows)


def by_id(found: Exported) -> dict[str, np.ndarray]:
    users = {f"user {name}": row for name, row in zip(found.user_ids, found.user)}
    return dict(zip(found.item_ids, found.item)) | users


def same(found: Exported, expected: Exported) -> bool:
    """The order of rows is not promised, since the ids are there."""
    mine, other = by_id(found), by_id(expected)
    return mine.keys() == other.keys() and all(np.array_equal(mine[name], other[name]) for name in mine)


def test_what_is_written_comes_back_and_is_found(opened):
    embeddings = made()
    target = opened()
    names = store(target, embeddings, {"title": [f"Title {name}" for name in embeddings.item_ids]})
    assert [name.rpartition("_")[2] for name in names] == ["users", "items"]
    assert same(gathered(opened()), embeddings)
    expected = np.argsort(-(embeddings.user @ embeddings.item.T), axis=1)[:, :10]
    assert opened().search(embeddings.user, 10) == [[embeddings.item_ids[item] for item in row] for row in expected]
    answers = check_answers(opened().search, embeddings.user, embeddings)
    assert (answers.recall, answers.users) == (1.0, 30)


def test_what_is_there_stays_unless_it_is_to_be_replaced(opened):
    old, new = made(), made(num_items=1_200, seed=1, dim=8)  # of another size in every way
    names = store(opened(), old, {})
    with pytest.raises(UserError, match=f"{names[0]}, {names[1]}: there already; allowed: --replace, or another"):
        store(opened(), new, {})
    assert same(gathered(opened()), old)
    assert store(opened(), new, {"title": ["t"] * 1_200}, replace=True) == names == opened().taken()
    assert same(gathered(opened()), new)


def test_a_write_that_fails_changes_nothing(opened):
    def fail():
        raise OSError("the disk is full")

    embeddings = made()
    broken = {"title": Watched(["t"] * len(embeddings.item_ids), fail)}
    with pytest.raises((UserError, OSError), match="disk is full"):
        store(opened(), made(seed=1), broken)
    assert opened().taken() == []
    store(opened(), embeddings, {})  # what the failed one left is in nobody's way
    with pytest.raises((UserError, OSError), match="disk is full"):
        store(opened(), embeddings, broken, replace=True)
    found = opened().search(embeddings.user, 1)
    assert found == [[embeddings.item_ids[item]] for item in (embeddings.user @ embeddings.item.T).argmax(axis=1)]


def test_readers_see_the_old_items_until_the_new_ones_are_complete(opened):
    old, new, seen = made(), made(seed=1), []
    best = [[[old.item_ids[item]] for item in (old.user @ rows.T).argmax(axis=1)] for rows in (old.item, new.item)]
    store(opened(), old, {})
    column = Watched(["t"] * len(new.item_ids), lambda: seen.append(opened().search(old.user, 1)))
    store(opened(), new, {"title": column}, replace=True)
    assert seen == [best[0]]
    assert opened().search(old.user, 1) == best[1]


def test_an_approximate_search_says_how_good_it_is(opened):
    embeddings = made(dim=8)
    store(opened(), embeddings, {}, exact=False)
    answers = check_answers(opened().search, embeddings.user, embeddings)
    assert 0.8 <= answers.recall <= 1


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda old: old._replace(item_ids=("1", *old.item_ids[1:-1], "1")), "items: the id '1' is there 2 times"),
        (lambda old: old._replace(user=old.user * np.where(np.arange(30) == 7, np.nan, 1)[:, None]), "users: .* 'u7'"),
        (lambda old: old._replace(user=old.user[:, :5]), "5 dimensions of users, 16 of items"),
    ],
)
def test_what_cannot_be_right_is_not_written(opened, broken, said):
    with pytest.raises(UserError, match=said):
        store(opened(), broken(made()), {})
    assert opened().taken() == []


def test_nothing_is_read_where_nothing_is(opened):
    with pytest.raises(UserError, match=r"no table|no alias|does not exist|vector type not found"):
        gathered(opened())


def test_ids_are_what_they_were(opened):
    embeddings = made(num_items=5)
    store(opened(), embeddings, {"title": [None, "", "tab\t", "\\N", "é"]})
    assert set(gathered(opened()).item_ids) == set(ODD_IDS)
    assert set(opened().search(embeddings.user[:1], 10)[0]) == set(ODD_IDS)
