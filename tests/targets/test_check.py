import numpy as np
import pytest
from made_export import made

from gnnrec.export import Exported, export_embeddings
from gnnrec.targets.check import check_answers, check_files


def searched(embeddings: Exported):
    def search(queries, k):
        best = np.argsort(-(queries @ embeddings.item.T), axis=1, kind="stable")[:, :k]
        return [[embeddings.item_ids[item] for item in row] for row in best]

    return search


def test_what_is_missing_lowers_recall():
    embeddings = made()
    search = searched(embeddings)
    assert check_answers(search, embeddings.user, embeddings).recall == 1

    def worse(queries, k):  # the eleventh in the place of the third, the first twice, an id that nobody has
        return [[*row[:2], row[10], *row[3:5], row[0], row[6], "nobody", *row[8:10]] for row in search(queries, 11)]

    assert check_answers(worse, embeddings.user, embeddings).recall == pytest.approx(0.7)


def test_which_of_equal_items_is_found_does_not_matter():
    embeddings = made(num_items=40)
    twins = Exported(
        embeddings.user,
        np.concatenate([embeddings.item, embeddings.item]),
        embeddings.user_ids,
        (*embeddings.item_ids, *(f"twin of {name}" for name in embeddings.item_ids)),
    )

    def others_first(queries, k):
        return [[f"twin of {name}" for name in row[:5]] + row[:5] for row in searched(embeddings)(queries, 5)]

    assert check_answers(others_first, twins.user, twins).recall == 1


def test_at_most_200_users_are_asked():
    random = np.random.default_rng(0)
    embeddings = made()._replace(
        user=random.normal(size=(1_001, 16)).astype(np.float32), user_ids=tuple(map(str, range(1_001)))
    )
    asked = []

    def search(queries, k):
        asked.extend(queries)
        return searched(embeddings)(queries, k)

    assert check_answers(search, embeddings.user, embeddings).users == len(asked) == 200
    assert np.array_equal(asked[-1], embeddings.user[-1])  # over all of them, not the first ones


@pytest.mark.parametrize("name", ["parquet", "npy", "safetensors", "faiss", "faiss-pq"])
def test_files_answer_too(tmp_path, name):
    embeddings = made()
    export_embeddings(*embeddings, tmp_path, (name,))
    recall = check_files(tmp_path, name, embeddings).recall
    assert recall == 1 if name != "faiss-pq" else 0.1 < recall < 0.95
    export_embeddings(*embeddings, tmp_path, (name,), dim=4)
    assert check_files(tmp_path, name, embeddings).recall < 0.8
