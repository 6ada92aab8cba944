"""Slow waves of the log: those of the exact decomposition, appended only where they help, kept and folded in."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array

from gnnrec.datasets import Interactions
from gnnrec.graph import build_graph, interactions_of, with_interactions
from gnnrec.models import MODELS, Embeddings
from gnnrec.models import spectrum as module
from gnnrec.models.appended import appended, appended_in_blocks, user_side
from gnnrec.models.closed_forms import SPECTRUM
from gnnrec.models.layerwise import made
from gnnrec.models.spectrum import (
    SIZES,
    Spectrum,
    choose_spectrum,
    first_waves,
    fit_spectrum,
    spectrum_like,
    spectrum_part,
    waves,
)
from gnnrec.pipeline import fit_model
from gnnrec.recipe import load_recipe
from gnnrec.run_tensors import load_weights

USERS, ITEMS = 60, 40
WAVES = 32  # all that there are, in eights


def log_of(seed: int = 0) -> Interactions:
    """Two tastes of unlike popularity, and a little of everything."""
    draw = np.random.default_rng(seed)
    like = 0.5 * (np.arange(USERS)[:, None] % 2 == np.arange(ITEMS) % 2) * np.linspace(1, 0.4, ITEMS) + 0.05
    user, item = np.nonzero(draw.random((USERS, ITEMS)) < like)
    return Interactions(user=user.astype(np.int32), item=item.astype(np.int32), num_users=USERS, num_items=ITEMS)


def random_embeddings() -> Embeddings:
    draw = torch.Generator().manual_seed(0)
    return Embeddings(torch.randn(USERS, 4, generator=draw), torch.randn(ITEMS, 4, generator=draw))


def alone(graph, spectrum: Spectrum) -> Embeddings:
    return spectrum_part(spectrum, ITEMS).embeddings(graph)


def own_kind(scorer) -> float:
    best = scorer(torch.arange(USERS)).argmax(1)
    return float((best % 2 == torch.arange(USERS) % 2).float().mean())


def test_scores_are_those_of_the_exact_decomposition():
    """r D^-a V S V' D^a by numpy's dense SVD, a = .35, as many waves as were asked for."""
    graph = build_graph(log_of(), {})
    matrix = interactions_of(graph).matrix().toarray()
    size = 2  # as many as there are tastes: what comes after is noise, which no few rounds tell apart
    degrees = matrix.sum(0) ** 0.35
    scaled = matrix / np.sqrt(matrix.sum(1))[:, None] / degrees
    _, values, vectors = np.linalg.svd(scaled)
    vectors = vectors[:size].T
    length = np.linalg.norm(vectors * degrees[:, None], axis=1).mean()
    expected = matrix / degrees @ vectors * values[:size] @ vectors.T * degrees * 0.5 / length
    found = alone(graph, Spectrum(torch.tensor([0.5]), *waves(csr_array(matrix), size)))
    np.testing.assert_allclose((found.user @ found.item.T).numpy(), expected, rtol=1e-4, atol=1e-4)
    assert float(found.item.norm(dim=1).mean()) == pytest.approx(0.5, rel=1e-5)


def test_it_is_as_long_as_the_log_allows_and_the_same_every_time():
    graph = build_graph(log_of(), {})
    found, again = fit_spectrum(graph), fit_spectrum(graph)
    assert found is not None and again is not None
    assert len(found.values) == WAVES and found.vectors.shape == (ITEMS, WAVES)
    assert all(torch.equal(*pair) for pair in zip(found, again))
    assert bool((found.values.diff() <= 1e-5).all())


def test_no_waves_where_they_would_be_too_many_numbers_or_nothing_is_known(monkeypatch):
    graph = build_graph(log_of(), {})
    assert fit_spectrum(build_graph(log_of().rows(slice(0, 0)), {})) is None
    monkeypatch.setattr(module, "MOST_NUMBERS", (USERS + ITEMS) * WAVES)
    assert fit_spectrum(graph) is not None
    monkeypatch.setattr(module, "MAX_INTERACTIONS", len(log_of()))
    assert fit_spectrum(graph) is not None
    monkeypatch.setattr(module, "MAX_INTERACTIONS", len(log_of()) - 1)
    assert fit_spectrum(graph) is None
    monkeypatch.undo()
    monkeypatch.setattr(module, "MOST_NUMBERS", (USERS + ITEMS) * WAVES - 1)
    assert fit_spectrum(graph) is None


def test_waves_of_nothing_but_rounding_are_left_out():
    """Histories of one of eight kinds each span eight directions; a user whose only item nobody else had gets none."""
    user, kind = np.divmod(np.arange(USERS * 4), 4)
    item = (user % 8) * 4 + kind
    log = Interactions(user=user.astype(np.int32), item=item.astype(np.int32), num_users=USERS, num_items=ITEMS)
    graph = build_graph(log, {})
    found = fit_spectrum(graph)
    assert found is not None and len(found.values) == 8
    lonely = Interactions(user=np.zeros(1, np.int32), item=np.full(1, 39, np.int32), num_users=1, num_items=ITEMS)
    assert not spectrum_part(found, ITEMS).users(with_interactions(graph, lonely))(slice(0, 1)).abs().gt(1e-5).any()


def test_the_number_of_waves_is_the_best_alone_and_the_weight_the_best_beside(monkeypatch):
    monkeypatch.setattr(module, "SIZES", (4, 8, 64))
    graph, embeddings = build_graph(log_of(), {}), random_embeddings()
    widths = []

    def measure(scorer) -> float:
        width, user = scorer.item.shape[1], scorer.user
        widths.append(width)
        if width in (4, 8, WAVES) and user.shape[1] == width and not torch.equal(user, embeddings.user):
            return {4: 0.2, 8: 0.3, WAVES: 0.1}[width]
        if width == 4:
            return 0.5
        share = user[:, 4:].norm() / user[:, :4].norm()
        return 0.6 - abs(float(torch.log(share / half)))

    beside = appended(embeddings, alone(graph, first_waves(fit_spectrum(graph), 8)), 0.5)
    half = beside.user[:, 4:].norm() / beside.user[:, :4].norm()
    found = choose_spectrum(graph, embeddings, fit_spectrum(graph), measure)
    assert found is not None and found.weight.tolist() == [0.5] and len(found.values) == 8
    assert set(widths) == {4, 8, WAVES, 12}


def test_they_find_what_the_embeddings_do_not_know_and_are_none_where_nothing_is_better():
    graph, embeddings = build_graph(log_of(), {}), random_embeddings()
    found = choose_spectrum(graph, embeddings, fit_spectrum(graph), own_kind)
    assert found is not None
    part = spectrum_part(found, ITEMS)
    longer = appended(embeddings, part.embeddings(graph), part.weight)
    before = own_kind(lambda users: embeddings.user[users] @ embeddings.item.T)
    after = own_kind(lambda users: longer.user[users] @ longer.item.T)
    assert before < 0.7 and after > before + 0.15
    assert choose_spectrum(graph, embeddings, fit_spectrum(graph), lambda scorer: 0.5) is None
    assert choose_spectrum(graph, embeddings, None, own_kind) is None


def test_items_that_joined_later_take_no_part_and_blocks_give_the_same():
    graph = build_graph(log_of(), {})
    found = fit_spectrum(graph)
    assert found is not None
    later = log_of(1)
    grown = build_graph(Interactions(user=later.user, item=later.item, num_users=USERS, num_items=ITEMS + 3), {})
    user, item = random_embeddings()[:2]
    embeddings = Embeddings(user, torch.cat([item, item[:3]]))
    part = spectrum_part(found, ITEMS + 3)
    whole = appended(embeddings, part.embeddings(grown), part.weight)
    assert whole.item.shape == (ITEMS + 3, 4 + WAVES) and not whole.item[ITEMS:, 4:].any()
    tables = Embeddings(made((USERS, 4), lambda rows: user[rows]), embeddings.item)
    blocks = appended_in_blocks(grown, tables, part)
    torch.testing.assert_close(blocks.user, whole.user)
    torch.testing.assert_close(blocks.item, whole.item)
    torch.testing.assert_close(user_side(embeddings.item, [part])(grown, user), whole.user)


def test_the_choice_for_another_log_is_as_many_waves_of_this_one():
    found = fit_spectrum(build_graph(log_of(1), {}))
    chosen = first_waves(fit_spectrum(build_graph(log_of(), {})), 7)._replace(weight=torch.tensor([0.25]))
    like = spectrum_like(found, chosen)
    assert like.weight.tolist() == [0.25]
    assert torch.equal(like.vectors, found.vectors[:, :7]) and torch.equal(like.degrees, found.degrees)


def test_the_model_keeps_its_waves_and_folds_new_interactions_in(tmp_path):
    log = log_of()
    held = np.random.default_rng(2).random(len(log)) < 0.3
    graph, rest = build_graph(log.rows(np.flatnonzero(~held)), {}), log.rows(np.flatnonzero(held))
    still = ["train.epochs=1", "model.dim=4", "train.learning_rate=1e-6", "model.paths=false", "model.factors=false"]
    recipe = load_recipe(None, still)
    model, _ = fit_model(graph, rest, recipe)
    assert len(model.spectrum_vectors) == ITEMS and float(model.spectrum_weight) in module.WEIGHTS
    before = model(graph)
    assert before.user.shape[1] == 4 + len(model.spectrum_values) and len(model.spectrum_values) <= SIZES[0]
    grown = model(with_interactions(graph, log))
    assert not torch.equal(grown.user[:, 4:], before.user[:, 4:])
    state = {name: value.clone() for name, value in model.state_dict().items()}
    again = MODELS["modality_gnn"][0](recipe.model, graph, torch.Generator().manual_seed(1))
    load_weights(again, state, tmp_path)
    torch.testing.assert_close(again.eval()(graph).user, before.user)
    without, _ = fit_model(graph, rest, load_recipe(None, [*still, "model.spectrum=false"]))
    assert not any(without.get_buffer(name).numel() for name in SPECTRUM)
    assert without(graph).user.shape[1] == 4
