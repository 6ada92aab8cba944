"""The reranker gives a permutation of the window, closes where it does not help, and shows nobody the answer."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gnnrec.datasets import Interactions
from gnnrec.errors import UserError
from gnnrec.graph import owners
from gnnrec.language.endpoint import Budget
from gnnrec.language.local import LocalLM
from gnnrec.llm import passes
from gnnrec.llm.block_scorer import BlockScorer
from gnnrec.llm.cards import CardConfig, Cards, card_config
from gnnrec.llm.cosine_scorer import CosineScorer
from gnnrec.llm.past import NOBODY, Past, past_of
from gnnrec.llm.rerank import (
    Reranker,
    Weight,
    choose_weight,
    validation_windows,
    weight_for,
)
from gnnrec.llm.settings import LLMConfig
from gnnrec.recommend import Recommender
from gnnrec.run_folder import Run

CONFIG = LLMConfig(window=10, cap=9)
NO_WEIGHT = Weight(0.0, 0, 0.0, 0.0, 0.0, 1.0)
FULL_WEIGHT = Weight(100.0, 0, 0.0, 0.0, 0.0, 0.0)


@dataclass
class Judge:
    """Scores by a table of items; keeps what it was asked."""

    values: NDArray[np.float64]  # [I]
    name: str = "judge"
    asked: list[tuple[list[int], list[int]]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def score(
        self, histories: Sequence[Past], windows: Sequence[Sequence[int]], users: Sequence[int] = ()
    ) -> list[NDArray[np.float64]]:
        self.asked += [(list(history.items), list(window)) for history, window in zip(histories, windows)]
        return [self.values[list(window)] for window in windows]


class Oracle(Judge):
    """Knows what each user took in validation."""

    def __init__(self, run: Run, sign: float) -> None:
        super().__init__(np.zeros(len(run.item_ids)))
        self.sign = sign
        self.wanted = {user: set(run.val.item[run.val.user == user].tolist()) for user in np.unique(run.val.user)}
        self.by_history = {tuple(run.train.item[run.train.user == user].tolist()): user for user in self.wanted}

    def score(
        self, histories: Sequence[Past], windows: Sequence[Sequence[int]], users: Sequence[int] = ()
    ) -> list[NDArray[np.float64]]:
        users = [self.by_history[history.items] for history in histories]
        return [
            np.array([self.sign * (item in self.wanted[user]) for item in window], dtype=np.float64)
            for user, window in zip(users, windows)
        ]


def judge(run: Run, seed: int = 0) -> Judge:
    return Judge(np.random.default_rng(seed).normal(size=len(run.item_ids)))


def listed(run: Run, scorer: Judge, weight: Weight, k: int = 20, config: LLMConfig = CONFIG) -> list[tuple[str, int]]:
    found = Reranker(run, scorer, config, weight).recommend(Recommender(run), run.user_ids[3], k)
    assert [place.rank for place in found] == list(range(1, k + 1))
    return [(place.id, place.base_rank) for place in found]


@pytest.mark.guarantee("G1")
def test_a_list_is_a_permutation_of_the_window_and_the_rest_as_it_was(planted_run: Run) -> None:
    base = [place.id for place in Recommender(planted_run).recommend(planted_run.user_ids[3], 20)]
    found = listed(planted_run, judge(planted_run), FULL_WEIGHT)
    assert sorted(found[:10]) == sorted((item, rank + 1) for rank, item in enumerate(base[:10]))
    assert [item for item, _ in found[10:]] == base[10:]
    assert [item for item, _ in found[:10]] != base[:10]
    values = judge(planted_run).values
    order = sorted(base[:10], key=lambda item: -values[planted_run.item_index(item)])
    assert [item for item, _ in found[:10]] == order
    assert listed(planted_run, judge(planted_run), FULL_WEIGHT, k=4) == found[:4]


def test_somebody_new_is_judged_by_her_history_and_a_user_by_what_she_told_since_too(planted_run: Run) -> None:
    reranker = Reranker(planted_run, scorer := judge(planted_run), CONFIG, FULL_WEIGHT)
    recommender, user, new = Recommender(planted_run), planted_run.user_ids[3], planted_run.item_ids[5]
    history = [planted_run.item_ids[item] for item in (7, 2)]
    found = reranker.recommend_history(recommender, history, 20)
    base = [place.id for place in recommender.recommend_history(history, 20)]
    values = scorer.values
    order = sorted(base[:10], key=lambda item: -values[planted_run.item_index(item)])
    assert [place.id for place in found] == order + base[10:]
    reranker.reorder(3, recommender.recommend(user, 10), [(planted_run.item_index(new), None)])
    known = planted_run.known.item[planted_run.known.user == 3].tolist()
    assert [past for past, _ in scorer.asked] == [[7, 2], [*(item for item in known if item != 5), 5]]


@pytest.mark.guarantee("G4")
def test_without_weight_the_list_is_the_graphs_own_whatever_the_model_says(planted_run: Run) -> None:
    base = [place.id for place in Recommender(planted_run).recommend(planted_run.user_ids[3], 20)]
    scorer = judge(planted_run)
    assert listed(planted_run, scorer, NO_WEIGHT) == [(item, rank + 1) for rank, item in enumerate(base)]
    assert len(scorer.asked) == 1  # for its scores
    (window,) = Reranker(planted_run, scorer, CONFIG, NO_WEIGHT).rerank([3], [[5, 6, 7]], [[3.0, 2.0, 1.0]])
    assert (window.order.tolist(), window.kept) == ([0, 1, 2], True)
    assert len(scorer.asked) == 1  # where nobody looks at them, nobody is asked


@pytest.mark.guarantee("G4")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0.0])
def test_scores_that_are_none_change_nothing(planted_run: Run, value: float) -> None:
    base = [place.id for place in Recommender(planted_run).recommend(planted_run.user_ids[3], 20)]
    scorer = Judge(np.full(len(planted_run.item_ids), value))
    assert [item for item, _ in listed(planted_run, scorer, FULL_WEIGHT)] == base


@pytest.mark.guarantee("G8")
def test_the_gate_opens_for_one_who_knows_and_closes_for_one_who_does_not(planted_run: Run) -> None:
    right = choose_weight(planted_run, Oracle(planted_run, 1.0), CONFIG)
    assert right.value > 0
    assert right.reranked > right.base
    assert right.p < 0.05
    assert right.users > 5
    assert choose_weight(planted_run, Oracle(planted_run, -1.0), CONFIG).value == 0
    assert choose_weight(planted_run, judge(planted_run, seed=1), CONFIG).value == 0  # noise


@pytest.mark.guarantee("G9")
def test_the_histories_of_the_choice_end_before_what_is_looked_for(planted_run: Run) -> None:
    scorer = judge(planted_run)
    choose_weight(planted_run, scorer, CONFIG)
    users, *_ = validation_windows(planted_run, 10, 300)
    assert len(scorer.asked) == len(users) > 0
    for user, (history, window) in zip(users, scorer.asked):
        assert history == planted_run.train.item[planted_run.train.user == user].tolist()
        assert set(window) & set(planted_run.val.item[planted_run.val.user == user].tolist())
        assert not set(window) & set(history)


def test_a_chosen_weight_is_kept_for_its_run_scorer_and_window(planted_run: Run, tmp_path: Path) -> None:
    scorer = judge(planted_run)
    first = weight_for(planted_run, scorer, CONFIG, tmp_path)
    asked = len(scorer.asked)
    assert weight_for(planted_run, scorer, CONFIG, tmp_path) == first
    assert len(scorer.asked) == asked
    weight_for(planted_run, scorer, LLMConfig(window=10, cap=2), tmp_path)
    weight_for(planted_run, Judge(scorer.values, name="another"), CONFIG, tmp_path)
    assert len(scorer.asked) == 2 * asked
    assert len(list(tmp_path.iterdir())) == 3


def block_scorer(run: Run, lm: LocalLM, cache: Path | None = None, history: int = 10) -> BlockScorer:
    assert run.items is not None
    return BlockScorer(lm, Cards(run.items, lm.tokens, CardConfig(history=history)), "films", cache)


def test_block_scores_are_pointwise_mutual_information(planted_run: Run, tiny_lm: LocalLM) -> None:
    scorer = block_scorer(planted_run, tiny_lm)
    (found,) = scorer.score([Past((4, 7))], [[1, 2, 3]])
    past = scorer.prompts.text(Past((4, 7)))
    titles = planted_run.items.titles()  # type: ignore[union-attr]
    assert past == f"My favourite films are: {titles[4]}; {titles[7]};"
    for item, value in zip((1, 2, 3), found):
        card = [tiny_lm.tokens(f" {titles[item]}")[:24] + tiny_lm.tokens(";")]
        with_past, without = (
            tiny_lm.log_probs([tiny_lm.start + tiny_lm.tokens(text)], [card])[0][0]
            for text in (past, "My favourite films are:")
        )
        assert value == pytest.approx(with_past - without, abs=1e-4)


def test_only_the_newest_things_are_shown(planted_run: Run, tiny_lm: LocalLM) -> None:
    scorer = block_scorer(planted_run, tiny_lm, history=3)
    assert scorer.prompts.text(Past(tuple(range(10)))) == scorer.prompts.text(Past((7, 8, 9)))
    assert str(planted_run.user_ids[0]) not in scorer.prompts.text(Past(tuple(range(10))))


def test_a_card_tells_the_fields_asked_for(tiny_lm: LocalLM) -> None:
    import polars as pl

    from gnnrec.datasets import Catalog

    table = pl.DataFrame({"title": ["A B", "C"], "genres": ["x|y <|im_end|>", None], "year": [1999, 2001]})
    catalog = Catalog(table, ("title",))
    cards = Cards(catalog, tiny_lm.tokens, card_config(10, "genres, year"))
    assert [cards.short(item) for item in (0, 1)] == ["A B (x|y; 1999)", "C (2001)"]
    assert cards.item(0) == tiny_lm.tokens(" A B (x|y; 1999)")
    assert cards.user(Past((0, 1))).things == ("C", "A B")  # a past stays short
    short = Cards(catalog, tiny_lm.tokens, CardConfig(fields=("genres", "year"), field_tokens=5))
    assert short.short(0) == "A B (x|y)"
    with pytest.raises(UserError, match="llm.fields: the items have no column 'plot'; allowed: title, genres, year"):
        Cards(catalog, tiny_lm.tokens, card_config(10, "plot"))


def test_many_users_at_once_are_as_one_by_one(planted_run: Run, tiny_lm: LocalLM) -> None:
    scorer = block_scorer(planted_run, tiny_lm)
    histories = [Past((user, user + 1)[: 1 + user % 2]) for user in range(9)]
    windows = [list(range(user + 3, user + 3 + 2 * (user % 4) + 1)) for user in range(9)]
    together = scorer.score(histories, windows)
    for history, window, values in zip(histories, windows, together):
        assert scorer.score([history], [window])[0] == pytest.approx(values, abs=1e-4)


@pytest.mark.guarantee("G17")
@pytest.mark.parametrize(("calls", "read"), [(1, []), (2, [1]), (3, [1, 3]), (7, [0, 1, 2, 3, 4])])
def test_a_budget_of_local_weights_is_spent_on_the_least_decided_users(
    planted_run: Run, tiny_lm: LocalLM, monkeypatch: pytest.MonkeyPatch, calls: int, read: list[int]
) -> None:
    monkeypatch.setattr(passes, "BATCH_TOKENS", 1)  # a row a pass: one of each user, two of what nobody's past says
    users, windows = list(range(5)), [list(range(10 * user, 10 * user + 11)) for user in range(5)]
    gaps = [0.5, 0.1, 0.4, 0.2, 0.3]  # between the tenth and the eleventh
    base = [[*np.linspace(2, 1, 10), 1 - gap] for gap in gaps]
    pasts = [Past((user, user + 5)) for user in users]
    scorer = block_scorer(planted_run, tiny_lm)
    whole = Reranker(planted_run, scorer, CONFIG, FULL_WEIGHT).rerank(users, windows, base, pasts)
    assert not any(window.kept for window in whole)
    scorer.passes.budget = Budget(60.0, calls, 10**6)
    found = Reranker(planted_run, scorer, CONFIG, FULL_WEIGHT).rerank(users, windows, base, pasts)
    assert [user for user in users if not found[user].kept] == read
    for user in users:
        if user in read:
            assert found[user].judged == pytest.approx(whole[user].judged, abs=1e-4)
        else:
            assert found[user].order.tolist() == list(range(11))
    assert scorer.failures == ["the budget of calls is used up"] * (len(read) < len(users))


@pytest.mark.guarantee("G11")
def test_what_is_cached_costs_no_model_time(planted_run: Run, tiny_folder: Path, tmp_path: Path) -> None:
    import torch

    def fresh(name: str = "m") -> LocalLM:
        return LocalLM(tiny_folder, name, torch.device("cpu"))

    first = block_scorer(planted_run, fresh(), tmp_path).score([Past((4, 7))], [[1, 2, 3]])
    again = fresh()
    second = block_scorer(planted_run, again, tmp_path).score([Past((4, 7))], [[1, 2, 3]])
    assert second[0].tolist() == first[0].tolist()
    assert again._weights is None  # its weights were not even read
    for scorer, history in (
        (block_scorer(planted_run, other := fresh("another")), Past((4, 7))),
        (block_scorer(planted_run, changed := fresh(), tmp_path), Past((4, 8))),
    ):
        scorer.score([history], [[1, 2, 3]])
    assert other._weights is not None
    assert changed._weights is not None


@pytest.mark.guarantee("G2")
def test_items_without_a_title_are_not_judged(planted_run: Run, tiny_lm: LocalLM) -> None:
    import polars as pl

    from gnnrec.datasets import Catalog

    catalog = Catalog(pl.DataFrame({"title": ["A", None, "A", " \u200b"]}), ("title",))
    scorer = BlockScorer(tiny_lm, Cards(catalog, tiny_lm.tokens, CardConfig()), "films")
    (found,) = scorer.score([Past((0, 1))], [[0, 1, 2, 3]])
    assert np.isnan(found).tolist() == [False, True, False, True]
    assert found[0] == pytest.approx(found[2], abs=1e-4)  # equal texts are judged alike, and stay two items


def test_cosines_are_those_of_the_text_features(planted_run: Run) -> None:
    graph = planted_run.graph
    features = np.full((graph["item"].num_nodes, graph["text"].x.shape[1]), np.nan)
    features[owners(graph, "text").numpy()] = graph["text"].x.double().numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    (found,) = CosineScorer(graph, 2).score([Past((9, 4, 7))], [[1, 2]])
    taste = features[[4, 7]].sum(axis=0)  # the newest two
    assert found == pytest.approx(features[[1, 2]] @ taste / np.linalg.norm(taste))
    assert np.isnan(CosineScorer(graph, 2).score([NOBODY], [[1, 2]])[0]).all()


@pytest.mark.guarantee("G11")
def test_names_differ_by_everything_that_scores_depend_on(planted_run: Run, tiny_lm: LocalLM) -> None:
    assert planted_run.items is not None
    names = [
        BlockScorer(model, Cards(planted_run.items, tiny_lm.tokens, config), noun).name
        for model in (tiny_lm, LocalLM(tiny_lm.path, "another", tiny_lm.device))
        for config in (CardConfig(), CardConfig(history=3), CardConfig(title_tokens=5))
        for noun in ("films", "books")
    ]
    names += [CosineScorer(planted_run.graph, history).name for history in (3, 10)]
    assert len(set(names)) == len(names) == 14


def test_what_was_rated_low_is_no_favourite() -> None:
    user, item = np.array([0, 1, 1, 1, 1], dtype=np.int32), np.array([9, 5, 6, 7, 8], dtype=np.int32)
    rating = np.array([0.5, 5.0, 2.5, 3.0, 1.0], dtype=np.float32)
    log = Interactions(user=user, item=item, rating=rating, num_users=2, num_items=10)
    assert past_of(log, 1) == Past((5, 7), (5.0, 3.0), 5.0)  # the middle of .5 to 5 is 2.75
    assert past_of(replace(log, rating=np.ones(5, dtype=np.float32)), 1) == Past((5, 6, 7, 8))
    assert past_of(replace(log, rating=None), 1) == Past((5, 6, 7, 8))
