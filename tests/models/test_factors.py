"""Factors of iALS beside the graph: appended only where they help, as wide as was said, kept with the run."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from gnnrec.datasets import Interactions
from gnnrec.errors import UserError
from gnnrec.graph import build_graph, with_interactions
from gnnrec.models import MODELS, Embeddings
from gnnrec.models.appended import _covariance, _spread, appended
from gnnrec.models.factors import choose_factors, factors_part, fit_factors
from gnnrec.models.ials import IALS, IALSConfig
from gnnrec.pipeline import fit_model
from gnnrec.recipe import load_recipe
from gnnrec.run_tensors import load_weights

USERS, ITEMS = 40, 20


def two_tastes(skipped: int) -> Interactions:
    """Users and items are of two kinds; a user takes what is of her kind but the item `skipped` places from hers."""
    pairs = [(u, i) for u in range(USERS) for i in range(ITEMS) if u % 2 == i % 2 and (i // 2 - u) % 10 != skipped]
    user, item = np.array(pairs, dtype=np.int32).T
    return Interactions(user=user, item=item, num_users=USERS, num_items=ITEMS)


def random_embeddings() -> Embeddings:
    draw = torch.Generator().manual_seed(0)
    return Embeddings(torch.randn(USERS, 4, generator=draw), torch.randn(ITEMS, 4, generator=draw))


def beside(graph, embeddings: Embeddings, item: torch.Tensor, settings: torch.Tensor) -> Embeddings:
    part = factors_part(item, settings, ITEMS)
    return appended(embeddings, part.embeddings(graph), part.weight)


def share_of_own_kind(embeddings: Embeddings) -> float:
    best = (embeddings.user @ embeddings.item.T).argmax(1)
    return float((best % 2 == torch.arange(USERS) % 2).float().mean())


def scored(scorer) -> float:
    best = scorer(torch.arange(USERS)).argmax(1)
    return float((best % 2 == torch.arange(USERS) % 2).float().mean())


def test_factors_find_what_the_embeddings_do_not_know():
    graph, embeddings = build_graph(two_tastes(0), {}), random_embeddings()
    assert share_of_own_kind(embeddings) < 0.8
    found = choose_factors(graph, embeddings, fit_factors(graph), scored)
    assert found is not None
    assert share_of_own_kind(beside(graph, embeddings, *found)) == 1.0


def test_no_factors_where_nothing_is_better():
    graph = build_graph(two_tastes(0), {})
    assert choose_factors(graph, random_embeddings(), fit_factors(graph), lambda scorer: 0.5) is None


def test_what_is_appended_is_ials_as_wide_as_the_weight_says():
    """The scores that come on top are those of the model ials, a multiple of them for each user."""
    graph, embeddings = build_graph(two_tastes(0), {}), random_embeddings()
    ials = IALS(IALSConfig(dim=8, l2=3.0, confidence=5.0), graph, torch.Generator().manual_seed(0))
    ials.fit_closed_form(graph)
    longer = beside(graph, embeddings, ials.factors, torch.tensor([0.5, 3.0, 5.0]))
    plain = embeddings.user @ embeddings.item.T
    more = longer.user @ longer.item.T - plain
    torch.testing.assert_close(more.std(1), 0.5 * plain.std(1), rtol=1e-3, atol=1e-5)
    more, expected = (scores / scores.std(1, keepdim=True) for scores in (more, ials(graph).user @ ials.factors.T))
    torch.testing.assert_close(more, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(_spread(embeddings.user, _covariance(embeddings.item)), plain.std(1))


def test_the_model_keeps_its_factors_and_folds_new_interactions_in(tmp_path):
    graph = build_graph(two_tastes(0), {})
    later = two_tastes(10)  # nothing skipped
    new = np.flatnonzero((later.item // 2 - later.user) % 10 == 0)
    recipe = load_recipe(
        None, ["train.epochs=1", "model.dim=4", "train.learning_rate=1e-6", "model.paths=false", "model.spectrum=false"]
    )
    model, _ = fit_model(graph, later.rows(new), recipe)
    assert len(model.factor_items) == ITEMS and model.factor_settings[0] > 0
    before = model(graph)
    assert before.user.shape[1] == 4 + 64
    grown = model(with_interactions(graph, later))
    assert not torch.equal(grown.user[:, 4:], before.user[:, 4:])
    state = {name: value.clone() for name, value in model.state_dict().items()}
    again = MODELS["modality_gnn"][0](recipe.model, graph, torch.Generator().manual_seed(1))
    load_weights(again, state, tmp_path)
    torch.testing.assert_close(again.eval()(graph).user, before.user)


def test_factors_can_be_switched_off():
    graph, later = build_graph(two_tastes(0), {}), two_tastes(10)
    recipe = load_recipe(
        None, ["train.epochs=1", "model.dim=4", "model.factors=false", "model.paths=false", "model.spectrum=false"]
    )
    model, _ = fit_model(graph, later, recipe)
    assert model.factor_items.numel() == 0
    assert model(graph).user.shape[1] == 4


def test_fitting_says_nothing_of_the_threads_of_blas() -> None:
    """In a process of its own, where BLAS has two."""
    code = (
        "import warnings, numpy as np; from scipy.sparse import csr_array; "
        "from gnnrec.models.ials import item_factors; "
        "warnings.simplefilter('error', RuntimeWarning); item_factors(csr_array(np.eye(4)), 2, 1.0, 5.0, 1, 0)"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2"}
    finished = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_tables_that_start_from_factors_know_the_tastes_before_any_step():
    """Of nobody's item nothing is known: it keeps the row that was drawn."""
    pairs = two_tastes(0)
    graph = build_graph(Interactions(user=pairs.user, item=pairs.item, num_users=USERS, num_items=ITEMS + 1), {})
    made = {}
    for start in ("random", "factors"):
        recipe = load_recipe("lightgcn_softmax", [f"model.start={start}", "model.dim=8", "model.init_scale=0.5"])
        made[start] = MODELS["lightgcn"][0](recipe.model, graph, torch.Generator().manual_seed(0))
        made[start].begin(graph)
    drawn, started = made["random"], made["factors"]
    assert share_of_own_kind(Embeddings(drawn.user, drawn.item[:ITEMS])) < 0.8
    assert share_of_own_kind(Embeddings(started.user, started.item[:ITEMS])) == 1.0
    assert started.user.norm(dim=1).mean().item() == pytest.approx(0.5, rel=1e-5)
    assert started.item[:ITEMS].norm(dim=1).mean().item() == pytest.approx(0.5, rel=1e-5)
    assert torch.equal(started.item[ITEMS], drawn.item[ITEMS])


def test_a_training_starts_from_the_factors_and_tables_elsewhere_cannot(tmp_path):
    """With steps of no length the training ends where it started."""
    log = two_tastes(0)
    graph, nobody = build_graph(log, {}), log.rows(slice(0, 0))
    still = ["model.dim=8", "train.learning_rate=1e-12", "train.epochs=1"]
    model, _ = fit_model(graph, nobody, load_recipe("lightgcn_softmax", still))
    assert share_of_own_kind(Embeddings(model.user, model.item)) == 1.0
    moved = load_recipe("lightgcn_softmax", [*still, "train.tables=mapped", "train.sampling=neighbours"])
    with pytest.raises(UserError, match="model.start: found factors; allowed with sharded or mapped tables: random"):
        fit_model(graph, nobody, moved, out=tmp_path)
