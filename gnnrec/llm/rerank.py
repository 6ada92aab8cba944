"""Reranker: the language model reorders the best candidates of the graph, as far as validation says that it helps.

Letters: n users of validation, N candidates of a window.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gnnrec import metrics
from gnnrec.errors import count
from gnnrec.llm.blend import blended, bounded_order, standardized
from gnnrec.llm.list_scorers import SHAKE, LetterScorer, ListScorer, NullScorer
from gnnrec.llm.past import Past, Told, past_with, pasts_of
from gnnrec.ranking import top_k
from gnnrec.recommend import Recommendation, Recommender
from gnnrec.run_folder import Run
from gnnrec.significance import surest
from gnnrec.vault import read_text, sha256_of, write_json

if TYPE_CHECKING:
    from gnnrec.llm.settings import LLMConfig

WEIGHTS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0)  # tried, beside none at all
GATE = 2  # version of how the weight is chosen; part of the key it is kept by
SURE = 0.05  # two-sided p under which a gain on validation is believed
K = 10  # of the NDCG that decides
PART = 8  # users of validation whom weights of this machine judge between two looks at whether to go on
NEAR = 1e-3  # deviations of a window under which two scores are equal: what rounding may move


class CardScorer(Protocol):
    """Anything that judges candidates by what is said of them and of the user's past."""

    failures: list[str]  # why some could not be judged, as far as that was not for want of text

    @property
    def name(self) -> str:
        """What its scores depend on beside the texts."""
        ...

    def score(
        self, histories: Sequence[Past], windows: Sequence[Sequence[int]], users: Sequence[int]
    ) -> list[NDArray[np.float64]]:
        """Of each candidate of each user, [N] each; nan for one that cannot be judged."""
        ...


@dataclass(frozen=True, slots=True)
class Weight:
    """What the language model counts beside the graph (whose scores count 1), and what that rests on."""

    value: float
    users: int  # of validation whose window holds what they took
    base: float  # NDCG@10 over these users in the graph's order
    reranked: float  # and in the order of the best weight tried, taken or not
    best: float  # that weight
    p: float  # of the difference, two-sided, as the best of all that were tried
    unanswered: int = 0  # lists that it gave no answer on; where there are any, nothing is known of its worth

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def describe(self) -> str:
        if not self.users:
            return "weight 0: no user of validation told what it is worth, so the order stays"
        if self.unanswered:
            asked = f"of {count(self.unanswered, 'list')} of validation it could not be asked"
            return f"weight 0: what the language model is worth is not known ({asked}), so the order stays"
        gain = f"NDCG@{K} {self.base:.4f} -> {self.reranked:.4f}, p {self.p:.2g}, {count(self.users, 'user')}"
        if self.value:
            return f"weight {self.value:g} of the language model ({gain})"
        return f"weight 0: the language model is not shown to help, so the order stays (at {self.best:g}: {gain})"


NO_WEIGHT = Weight(0.0, 0, 0.0, 0.0, 0.0, 1.0)  # where nothing could be measured


@dataclass(frozen=True, slots=True)
class Window:
    """One user's candidates in the graph's order, and the order they end up in."""

    items: NDArray[np.int64]  # [N]
    base: NDArray[np.float64]  # [N] scores of the graph
    judged: NDArray[np.float64]  # [N] scores of the language model; nan: none
    order: NDArray[np.int64]  # [N] places of the window, best first

    @property
    def kept(self) -> bool:
        """Whether nobody judged it, for want of a question, a budget, an answer or a text, so that the order stayed."""
        return not np.isfinite(self.judged).any()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranked:
    """One place of a reranked list. `llm_score`: None behind the window, and where the language model had nothing to
    read, no answer, or no budget left."""

    rank: int
    id: str
    title: str | None
    score: float
    llm_score: float | None
    base_rank: int  # its rank by the graph alone

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Reranker:
    def __init__(self, run: Run, scorer: CardScorer, config: "LLMConfig", weight: Weight) -> None:
        self.run, self.scorer, self.config, self.weight = run, scorer, config, weight

    def rerank(
        self,
        users: Sequence[int],
        items: Sequence[Sequence[int]],
        base: Sequence[Sequence[float]],
        pasts: Sequence[Past] | None = None,
        ask: bool = False,
    ) -> list[Window]:
        """The candidates of each user (indexes, best first; -1 for one whom the run does not know) with their scores
        -> reordered windows. `pasts`: what is told of them; what the run knows of them where there are none.

        At weight 0 the language model is not even asked, or only for its scores (`ask`). Users whose list is least
        decided come first, so that a budget that ends too soon is spent where an opinion matters most; the others keep
        the graph's order (`kept`).
        """
        judged = [np.full(len(window), np.nan) for window in items]
        if self.weight.value or ask:
            first = sorted(range(len(users)), key=lambda place: cut_margin(base[place]))
            asked, windows = [users[place] for place in first], [items[place] for place in first]
            told = pasts_of(self.run.known, asked) if pasts is None else [pasts[place] for place in first]
            for place, found in zip(first, self.scorer.score(told, windows, asked)):
                judged[place] = found
        return [
            Window(
                np.asarray(window, dtype=np.int64),
                np.asarray(scores, dtype=np.float64),
                found,
                self._order(np.asarray(scores, dtype=np.float64), found),
            )
            for window, scores, found in zip(items, base, judged)
        ]

    def recommend(self, recommender: Recommender, user: str, k: int) -> list[Reranked]:
        """The k best items for a known user: her window reordered, and what is behind it as it was."""
        listed = recommender.recommend(user, max(k, self.config.window))
        return self.reorder(self.run.user_index(user), listed)[:k]

    def recommend_history(self, recommender: Recommender, history: Sequence[str], k: int) -> list[Reranked]:
        """The same for somebody new, who had these items, the newest last."""
        listed = recommender.recommend_history(history, max(k, self.config.window))
        return self.reorder(-1, listed, [(item, None) for item in recommender.history_of(history).tolist()])[:k]

    def reorder(self, user: int, listed: Sequence[Recommendation], told: Told = ()) -> list[Reranked]:
        """A list of the graph for a user (-1: somebody new), its window reordered, and what is behind it as it was.
        `told`: what she took since the run was trained. Also where the order stays, the model's scores are told."""
        width = self.config.window
        items = [self.run.item_index(place.id) for place in listed[:width]]
        past = past_with(self.run.known, user, told)
        base = [place.score for place in listed[:width]]
        window = self.rerank([user], [items], [base], [past], ask=True)[0]
        order = [*window.order.tolist(), *range(width, len(listed))]
        return in_order(listed, order, [None if np.isnan(value) else round(float(value), 4) for value in window.judged])

    def _order(self, base: NDArray[np.float64], judged: NDArray[np.float64]) -> NDArray[np.int64]:
        if not self.weight.value:
            return np.arange(len(base))
        return order_of(self.scorer, base, judged, self.weight.value, self.config.cap)


def in_order(
    listed: Sequence[Recommendation], order: Sequence[int], judged: Sequence[float | None] = ()
) -> list[Reranked]:
    """The places of a list in another order; judged: what the language model said of the first of them, if anything."""
    judged = [*judged, *[None] * (len(listed) - len(judged))]
    return [
        Reranked(
            rank=rank + 1,
            id=listed[place].id,
            title=listed[place].title,
            score=listed[place].score,
            llm_score=judged[place],
            base_rank=place + 1,
        )
        for rank, place in enumerate(order)
    ]


def order_of(
    scorer: CardScorer, base: NDArray[np.float64], judged: NDArray[np.float64], weight: float, cap: int
) -> NDArray[np.int64]:
    """Places of a window, best first. What rounding may move (NEAR), or the shaking of a server's log probabilities,
    (two of them make a score, four a difference) is a tie, and the graph's order decides it. [N]"""
    spread = float(np.std(judged[np.isfinite(judged)])) if np.isfinite(judged).any() else 0.0
    shaken = 4 * SHAKE * weight / spread if isinstance(scorer, LetterScorer) and spread > 0 else 0.0
    return bounded_order(blended(base, judged, weight), cap, max(NEAR, shaken))


def cut_margin(base: Sequence[float]) -> float:
    """How clearly the graph's scores (best first) tell the last of a list of K from the first behind it, in deviations
    of the window; 0 where there are no two to tell apart."""
    scores = standardized(np.asarray(base, dtype=np.float64))
    cut = min(K, len(scores) - 1)
    return float(scores[cut - 1] - scores[cut]) if cut > 0 else 0.0


def weight_for(
    run: Run,
    scorer: CardScorer,
    config: "LLMConfig",
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
    check: Callable[[], None] | None = None,
) -> Weight:
    """As `choose_weight`, kept in `folder` for this run, scorer and window. There is nothing to choose of no scorer."""
    if isinstance(scorer, NullScorer):
        return NO_WEIGHT
    path = weight_file(run, scorer, config, folder)
    if path.exists():
        return Weight(**json.loads(read_text(path)))
    say(
        "the weight of the language model is chosen on validation, once for this run, where it judges the "
        f"lists of up to {count(config.val_users, 'user')} (llm.val_users)"
    )
    weight = choose_weight(run, scorer, config, check)
    if scorer.failures:
        say(f"the language model gave no answer {count(len(scorer.failures), 'time')}; the first: {scorer.failures[0]}")
        return replace(
            weight, value=0.0, unanswered=len(scorer.failures)
        )  # what rests on a part of the users is no finding: not used, not kept
    write_json(path, weight.to_json())
    return weight


def weight_file(run: Run, scorer: CardScorer, config: "LLMConfig", folder: Path) -> Path:
    """Where `weight_for` keeps its choice, by all that it follows from."""
    model = sha256_of(run.folder / "weights.safetensors")
    facts = [model, run.provenance["settings_sha256"], run.provenance["dataset"]["fingerprint"], scorer.name]
    facts += [config.window, config.cap, config.val_users, WEIGHTS, GATE, SURE, NEAR, SHAKE, K]
    return folder / f"{hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]}.json"


def choose_weight(run: Run, scorer: CardScorer, config: "LLMConfig", check: Callable[[], None] | None = None) -> Weight:
    """The weight whose gain of NDCG@10 on validation is the surest (mean over standard error), or 0 where it could be
    chance, that of having been chosen among several included. The largest gain would more often be luck: large weights
    move more, for the better and for the worse.

    Histories are the train rows alone, so that nothing of what is looked for is shown to the language model.
    check: called before each PART of the users, of a server before each one; what it raises ends the choice.
    """
    users, items, base, hits = validation_windows(run, config.window, config.val_users)
    if not len(users):
        return NO_WEIGHT
    pasts, judged = pasts_of(run.train, users.tolist()), list[NDArray[np.float64]]()
    step = len(users) if check is None else 1 if isinstance(scorer, ListScorer) else PART
    for begin in range(0, len(users), step):
        if check:
            check()
        part = slice(begin, begin + step)
        judged += scorer.score(pasts[part], items[part].tolist(), users[part].tolist())
    before, tried = window_ndcg(hits), []
    for weight in WEIGHTS:
        orders = [order_of(scorer, b, j, weight, config.cap) for b, j in zip(base, judged)]
        tried.append(window_ndcg(np.take_along_axis(hits, np.stack(orders), axis=1)))
    place, p = surest(np.stack(tried) - before)
    best, after = WEIGHTS[place], float(tried[place].mean())
    sure = p < SURE and after > before.mean()
    return Weight(best if sure else 0.0, len(users), float(before.mean()), after, best, p)


def validation_windows(
    run: Run, size: int, most: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Users whose window holds what they took in validation: users [n], items, scores and hits [n, N].

    Drawn at random where there are more than `most`.
    """
    import torch

    from gnnrec.models import model_scorer

    users = np.unique(run.val.user).astype(np.int64)
    ranking = top_k(model_scorer(run.model, run.graph), torch.from_numpy(users), size, run.train.matrix())
    items, scores = ranking.items.numpy().astype(np.int64), ranking.scores.numpy().astype(np.float64)
    hits = metrics.hits_of(items, users, run.val.matrix())
    some = np.flatnonzero(hits.any(axis=1) & (items >= 0).all(axis=1))
    if len(some) > most:
        some = np.sort(np.random.default_rng(0).choice(some, most, replace=False))
    return users[some], items[some], scores[some], hits[some]


def window_ndcg(hits: NDArray[np.bool_]) -> NDArray[np.float64]:
    """NDCG@10 as far as an order within the window decides it: the ideal list has the window's hits first. [n]"""
    return metrics.ndcg(hits, hits.sum(axis=1), K)
