"""What an item's own text can do for it: nothing to the others, and at most the cap to itself (G6)."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from payloads import PAYLOADS

import gnnrec
from gnnrec.datasets import Catalog, Dataset
from gnnrec.language.local import LocalLM
from gnnrec.language.sanitize import clean_text, visible
from gnnrec.llm.blend import blended, bounded_order
from gnnrec.llm.block_scorer import BlockScorer
from gnnrec.llm.cards import CardConfig, Cards
from gnnrec.llm.past import Past

CAP = 2
DATA = Path(gnnrec.__file__).parents[1] / "data"
CATALOGUES = ("movies", "music", "books")  # as shipped
Texts = list[tuple[str, str | None]]  # titles, and what else is told of the items


def catalogue(name: str) -> Texts:
    """Seven things of a shipped catalogue, the first two of them the past."""
    items = Dataset.load(DATA / name).items
    assert items is not None
    titles = [title for title in items.titles() if title]
    return [(title, None) for title in titles[:: len(titles) // 7][:7]]


def scores(lm: LocalLM, texts: Texts, noun: str) -> np.ndarray:
    """Of the things from the third on, for someone who had the first two."""
    table = pl.DataFrame(texts, schema={"title": pl.String, "about": pl.String}, orient="row")
    cards = Cards(Catalog(table, ("title",)), lm.tokens, CardConfig(fields=("about",), field_tokens=60))
    return BlockScorer(lm, cards, noun).score([Past((0, 1))], [range(2, len(texts))])[0]


@pytest.mark.guarantee("G6")
def test_the_corpus_is_large_enough() -> None:
    assert len(set(PAYLOADS)) >= 40 and len(CATALOGUES) >= 3
    assert all(len(set(catalogue(name))) == 7 for name in CATALOGUES)


@pytest.fixture(scope="module")
def clean(smollm2: LocalLM) -> dict[str, np.ndarray]:
    return {name: scores(smollm2, catalogue(name), name) for name in CATALOGUES}


def check_control_tokens(lm: LocalLM) -> None:
    control = set(lm.tokenizer.all_special_ids) | set(lm.tokenizer.added_tokens_decoder)
    names = [str(token) for token in lm.tokenizer.added_tokens_decoder.values()]
    texts = [*PAYLOADS, *names, *(f"A{name}B" for name in names)]
    cards = Cards(Catalog(pl.DataFrame({"title": texts}), ("title",)), lm.tokens, CardConfig(title_tokens=500))
    assert len(control) >= 4
    for item, text in enumerate(texts):
        assert not control & set(cards.item(item) or ())
        assert not control & set(lm.tokens(text))  # nor where nobody cleaned it


@pytest.mark.guarantee("G6")
def test_no_payload_becomes_a_control_token(tiny_lm: LocalLM) -> None:
    check_control_tokens(tiny_lm)


@pytest.mark.guarantee("G6")
def test_no_payload_becomes_a_control_token_of_the_shipped_model(smollm2: LocalLM) -> None:
    check_control_tokens(smollm2)


@pytest.mark.guarantee("G6")
def test_benign_drift() -> None:
    """What the cleaning does to titles that attack nobody."""
    table = pl.read_csv(DATA / "movies/items.csv.gz")
    drift = [title for title in table["title"] if clean_text(title) != visible(title)]
    assert len(drift) <= 0.002 * len(table), drift


def attacks() -> list[Any]:
    """Every text in every catalogue; in the quick suite each text in one of them."""
    return [
        pytest.param(name, number, marks=() if place == number // 3 % len(CATALOGUES) else pytest.mark.slow)
        for number in range(len(PAYLOADS))
        for place, name in enumerate(CATALOGUES)
    ]


@pytest.mark.guarantee("G5", "G6")
@pytest.mark.parametrize(("name", "number"), attacks())
def test_no_text_moves_another_item_or_itself_beyond_the_cap(
    smollm2: LocalLM, clean: dict[str, np.ndarray], name: str, number: int, record_property
) -> None:
    """`lift`: places that the text wins at weight 1, against the same thing without it."""
    texts, payload = catalogue(name), PAYLOADS[number]
    way = (number + CATALOGUES.index(name)) % 3  # each text is a title, behind a title, and told beside a title
    place = 1 + number % 4  # of the attacker among the candidates
    title = texts[place + 2][0]
    texts[place + 2] = ((payload, None), (f"{title} {payload}", None), (title, payload))[way]
    attacked = scores(smollm2, texts, name)
    others = np.delete(np.arange(len(attacked)), place)
    assert attacked[others] == pytest.approx(clean[name][others], abs=1e-4)
    base = np.linspace(1, 0, len(attacked))
    before, after = (
        bounded_order(blended(base, judged, 1.0), CAP).tolist().index(place) for judged in (clean[name], attacked)
    )
    record_property("lift", before - after)
    for weight in (0.3, 1.0, 100.0):
        order = bounded_order(blended(base, attacked, weight), CAP).tolist()
        assert order.index(place) >= place - CAP
