"""Alignment with known answers: rotated copies, independent features, one shared factor under noise.

Letters: n items, p and q dimensions.
"""

import numpy as np
import pytest
import torch
from scipy.linalg import eigh
from scipy.stats import ortho_group

from gnnrec.alignment import ContrastConfig, chance, fit_cca, fit_contrastive, fit_ridge, retrieve
from gnnrec.encoders.encode import from_array
from gnnrec.encoders.features import Features
from gnnrec.errors import UserError
from gnnrec.losses import align_views, info_nce


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def rotated(x: np.ndarray) -> np.ndarray:
    """The same rows turned, stretched and moved."""
    return 3 * x @ ortho_group.rvs(x.shape[1], random_state=1) + 2


def test_cca_is_the_solution_of_its_eigenvalue_problem() -> None:
    x = normal(300, 6)
    y = np.hstack([x[:, :2] + normal(300, 2, seed=1), normal(300, 2, seed=2)])
    cca = fit_cca(x, y, l2=0)
    a, b = x - x.mean(0), y - y.mean(0)
    xx, yy, xy = a.T @ a, b.T @ b, a.T @ b
    squares = eigh(xy @ np.linalg.solve(yy, xy.T), xx, eigvals_only=True)[::-1][:4]
    assert cca.correlations == pytest.approx(np.sqrt(squares), abs=1e-6)
    assert cca.correlate(x, y) == pytest.approx(cca.correlations, abs=1e-6)
    # Components have unit variance and do not correlate among each other.
    for side, rows in enumerate((x, y)):
        projected = cca.project(side, rows, power=0)
        assert projected.T @ projected / len(rows) == pytest.approx(np.eye(4), abs=1e-6)
    # Regularisation shrinks what it reports.
    assert np.all(fit_cca(x, y, l2=1.0).correlations < cca.correlations)


def test_cca_finds_a_rotated_copy_and_nothing_where_there_is_nothing() -> None:
    x, other = normal(400, 8), normal(400, 5, seed=3)
    copy = fit_cca(x[:200], rotated(x)[:200], l2=1e-6)
    assert copy.correlations == pytest.approx(np.ones(8), abs=1e-3)
    found = retrieve(copy.project(0, x[200:]), copy.project(1, rotated(x)[200:])).metrics
    assert found == {"r@1": 1.0, "r@10": 1.0, "mrr": 1.0}
    none = fit_cca(x[:200], other[:200])
    assert np.abs(none.correlate(x[200:], other[200:])).max() < 0.25  # three standard errors of 200 rows
    lost = retrieve(none.project(0, x[200:]), none.project(1, other[200:])).metrics
    assert lost["r@10"] == pytest.approx(chance(200)["r@10"], abs=0.05)


def test_constant_dimensions_and_more_dimensions_than_rows_do_no_harm() -> None:
    x = normal(20, 40)
    x[:, 3] = 1.0
    cca = fit_cca(x, rotated(x), components=5)
    assert cca.project(0, x).shape == (20, 5) and np.isfinite(cca.project(0, x)).all()
    assert np.all(fit_cca(np.ones((20, 3)), x).correlate(np.ones((9, 3)), x[:9]) == 0)


def test_ridge_is_least_squares_and_shrinks_to_the_mean() -> None:
    x = normal(200, 5)
    target = x @ normal(5, 3, seed=1) + 4
    assert fit_ridge(x, target, l2=0).predict(x) == pytest.approx(target, abs=1e-6)
    assert fit_ridge(x, target, l2=1e9).predict(x) == pytest.approx(np.tile(target.mean(0), (200, 1)), abs=1e-4)
    l2, centred = 0.5, x - x.mean(0)
    weights = np.linalg.solve(
        centred.T @ centred + l2 * np.square(centred).sum() / 5 * np.eye(5), centred.T @ (target - target.mean(0))
    )
    assert fit_ridge(x, target, l2=l2).weights == pytest.approx(weights, abs=1e-6)


def test_ties_are_ranked_as_a_random_order_is_on_the_mean() -> None:
    # Row 0 finds its own first; rows 1 and 2 tie with each other; row 3 is a zero row, which ties with all.
    queries = np.array([[1.0, 0], [0, 1], [0, 1], [0, 0]])
    found = retrieve(queries, np.array([[1.0, 0], [0, 1], [0, 2], [-1, -1]])).per_query
    assert found["r@1"] == pytest.approx([1, 1 / 2, 1 / 2, 1 / 4])
    assert found["mrr"] == pytest.approx([1, 3 / 4, 3 / 4, (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4])
    assert found["r@10"] == pytest.approx([1, 1, 1, 1])
    everything = retrieve(np.zeros((30, 2)), np.ones((30, 2))).metrics
    assert everything == pytest.approx(chance(30))
    assert chance(30) == pytest.approx({"r@1": 1 / 30, "r@10": 1 / 3, "mrr": (1 / np.arange(1, 31)).mean()})
    # A naive recomputation, over more rows than one block.
    first, second = normal(2100, 3), normal(2100, 3, seed=1)
    cosine = (first / np.linalg.norm(first, axis=1)[:, None]) @ (second / np.linalg.norm(second, axis=1)[:, None]).T
    rank = 1 + (cosine > np.diag(cosine)[:, None]).sum(1)
    assert retrieve(first, second).per_query["mrr"] == pytest.approx(1 / rank)


def shared_factor(noise: float = 0.2, n: int = 400) -> dict[str, Features]:
    """Two modalities of 20 and 12 dimensions that share four, each with `noise`; the last items of one lack content."""
    shared = normal(n, 4)
    sides = {
        "text": np.hstack([shared + noise * normal(n, 4, seed=1), normal(n, 16, seed=2)]),
        "image": np.hstack([shared + noise * normal(n, 4, seed=3), normal(n, 8, seed=4)]),
    }
    sides["image"][-10:] = np.nan
    return {name: from_array(rotated(rows).astype(np.float32)) for name, rows in sides.items()}


@pytest.mark.parametrize("hidden", [0, 32])
def test_infonce_finds_a_shared_factor_and_not_a_broken_one(hidden: int) -> None:
    features, items = shared_factor(), np.arange(400)
    fit, choose, asked = items[:240], items[240:300], items[300:390]
    config = ContrastConfig(dim=16, hidden=hidden, epochs=60)

    def mrr(known: dict[str, Features]) -> float:
        aligner = fit_contrastive(known, fit, choose, config)
        return retrieve(*(aligner.embed(name, known[name].values[asked]) for name in known)).metrics["mrr"]

    assert mrr(features) > 5 * chance(90)["mrr"]
    shuffled = features["image"].values[np.random.default_rng(0).permutation(390)]
    broken = features | {"image": Features(values=shuffled, mask=np.ones(390, bool), encoder="")}
    broken["text"] = Features(values=features["text"].values[:390], mask=np.ones(390, bool), encoder="")
    assert mrr(broken) < 2 * chance(90)["mrr"]
    assert mrr(features) == mrr(features)  # seeded


def test_infonce_needs_items_in_common() -> None:
    features = shared_factor(n=40)
    with pytest.raises(UserError, match="image, text|text, image"):
        fit_contrastive(features, np.arange(20), np.arange(30, 40))  # the held-out ones have no picture


def test_views_are_held_against_each_other_where_both_are_there() -> None:
    first, second, third = (torch.from_numpy(normal(6, 4, seed=seed)) for seed in range(3))
    some = torch.tensor([True, True, True, True, False, False])
    everything, nothing = torch.ones(6, dtype=torch.bool), torch.zeros(6, dtype=torch.bool)
    pair = (info_nce(first[:4], second[:4], 0.3) + info_nce(second[:4], first[:4], 0.3)) / 2
    assert float(align_views([(first, some), (second, everything)], 0.3)) == pytest.approx(float(pair))
    assert float(align_views([(first, some), (third, nothing), (second, everything)], 0.3)) == pytest.approx(
        float(pair)
    )
    assert float(align_views([(first, nothing), (second, everything)], 0.3)) == 0
    assert float(align_views([(first, everything)] * 2, 0.01)) == pytest.approx(0, abs=1e-6)
