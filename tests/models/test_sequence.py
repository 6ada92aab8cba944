"""The transformer beside the graph: its own loss by hand, its own tables, and scores that are the sum of both parts."""

import pytest
import torch

import gnnrec.models.sequence
from gnnrec.datasets import Dataset
from gnnrec.errors import UserError
from gnnrec.graph import INTERACTS, build_graph, with_interactions
from gnnrec.graph_growth import add_items
from gnnrec.models import model_scorer
from gnnrec.models.fold_in import FoldIn, history_log
from gnnrec.models.modality_gnn import ModalityGNN, ModalityGNNConfig
from gnnrec.models.sasrec import SASRec
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run

WIDTH = 8
SETTINGS = ("train.epochs=2", "train.batch_size=128", "model.dim=16", f"model.sequence={WIDTH}")


@pytest.fixture(scope="module")
def run(tiny_data, tmp_path_factory) -> Run:
    return train(Dataset.load(tiny_data), tmp_path_factory.mktemp("sequence") / "run", load_recipe(overrides=SETTINGS))


def new_model(run: Run, **settings: object) -> ModalityGNN:
    config = ModalityGNNConfig(dim=16, sequence=WIDTH, **settings)  # type: ignore[arg-type]
    return ModalityGNN(config, run.graph, torch.Generator().manual_seed(0)).eval()


def softmax_by_hand(model: ModalityGNN, run: Run, interactions: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each interaction's item among all that have interactions, one row at a time."""
    embeddings = model.sequence.items_alone(run.graph)
    query = model.sequence.queries(run.graph, embeddings, interactions)
    trained = run.graph[INTERACTS].edge_index[1].unique()
    losses = []
    for row, item in zip(query, run.graph[INTERACTS].edge_index[1, interactions]):
        scores = embeddings.item[trained] @ row / 0.07
        losses.append(scores.logsumexp(0) - embeddings.item[item] @ row / 0.07)
    return torch.stack(losses).mean()


def test_its_loss_is_the_softmax_over_the_trained_items(run: Run) -> None:
    model, interactions = new_model(run), torch.tensor([3, 50, 51, 120])
    found, expected = model.sequence.loss(run.graph, interactions), softmax_by_hand(model, run, interactions)
    assert float(found) == pytest.approx(float(expected), abs=0.03)  # products round to bfloat16 where that is fast


def test_of_many_items_drawn_ones_stand_for_all(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    model, interactions = new_model(run), torch.tensor([3, 50, 51, 120])
    expected = softmax_by_hand(model, run, interactions)
    monkeypatch.setattr(gnnrec.models.sequence, "WHOLE_CATALOGUE", 1)
    monkeypatch.setattr(gnnrec.models.sequence, "NEGATIVES", 20_000)
    assert float(model.sequence.loss(run.graph, interactions)) == pytest.approx(float(expected), rel=0.05)


def test_each_part_learns_from_its_own_loss_alone(run: Run) -> None:
    model, interactions = new_model(run), torch.arange(20)
    embeddings = model.training_pass(run.graph, torch.Generator())
    model.auxiliary_loss(run.graph, embeddings, interactions).backward()
    moved = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.any()}
    assert moved and all(name.startswith("sequence.") for name in moved)
    model.zero_grad()
    model.queries(run.graph, embeddings, interactions).sum().backward()
    assert all(value.grad is None or not value.grad.any() for value in model.sequence.parameters())


def test_a_score_is_the_sum_of_both_parts_that_spread_alike(run: Run) -> None:
    both = new_model(run)
    with torch.no_grad():
        found, alone = both(run.graph), both.sequence(run.graph)
    assert torch.equal(found.item[:, -WIDTH:], alone.item)
    graph, sequence = (found.user[:, part] @ found.item[:, part].T for part in (slice(-WIDTH), slice(-WIDTH, None)))
    torch.testing.assert_close(graph.std(1), sequence.std(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        torch.nn.functional.normalize(sequence, dim=1), torch.nn.functional.normalize(alone.user @ alone.item.T, dim=1)
    )


def test_items_without_interactions_have_no_row_of_it_and_are_nobodys_negatives(run: Run) -> None:
    graph = build_graph(run.train.rows(run.train.item != 3), {})
    model = ModalityGNN(ModalityGNNConfig(dim=16, sequence=WIDTH), graph, torch.Generator().manual_seed(0)).eval()
    rows = model.sequence(graph).item
    assert not rows[3].any()
    assert torch.allclose(rows.norm(dim=1).sort().values[1:], torch.tensor(1.0))
    model.sequence.loss(graph, torch.arange(20)).backward()
    assert not model.sequence.item.grad[3].any() and model.sequence.item.grad.any(1).sum() == len(rows) - 1


def test_an_item_that_joins_later_has_none_and_changes_nobody_elses(run: Run) -> None:
    features = {name: run.graph[name].x[:1].numpy() for name in run.model.modalities}
    grown = add_items(run.known_graph, features, run.recipe.graph)
    assert grown["item"].num_nodes == len(run.item_ids) + 1
    with torch.no_grad():
        before, after = run.model.sequence(run.known_graph), run.model.sequence(grown)
    assert not after.item[-1].any()
    assert torch.equal(after.item[:-1], before.item) and torch.equal(after.user, before.user)


def test_a_folded_in_history_gets_the_scores_of_the_model(run: Run) -> None:
    users = [5, 0, 17]
    known = run.known
    log = history_log([known.item[known.user == user].tolist() for user in users], len(run.item_ids))
    found = FoldIn(run.model, run.known_graph).scorer(users, log)(torch.arange(3))
    expected = model_scorer(run.model, run.known_graph)(torch.tensor(users))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_the_last_item_decides_what_comes_next(run: Run) -> None:
    """The user's row of this part is SASRec's of her history, to whose end one more item is put."""
    model, user = run.model, 3
    plain = SASRec(model.sequence.config, run.graph, torch.Generator())
    plain.load_state_dict({name: value for name, value in model.sequence.state_dict().items() if name != "trained"})
    plain.eval()
    longer = run.known.rows(run.known.user == user)
    with torch.no_grad():
        grown = with_interactions(run.graph, longer)
        assert torch.allclose(model.sequence(grown).user, plain(grown).user)
        assert not torch.allclose(model.sequence(grown).user[user], model.sequence(run.graph).user[user])


def test_a_log_without_order_has_no_sequence(run: Run) -> None:
    graph = build_graph(run.train.unordered(), {})
    assert ModalityGNN(ModalityGNNConfig(dim=16, sequence=WIDTH), graph, torch.Generator()).sequence is None


def test_pieces_of_a_graph_are_refused_in_one_line(tiny_data, tmp_path) -> None:
    recipe = load_recipe(overrides=[*SETTINGS, "train.sampling=neighbours"])
    with pytest.raises(UserError, match=r"model.sequence: found 8; allowed with sampled pieces: 0"):
        train(Dataset.load(tiny_data), tmp_path / "run", recipe)
