"""However many items there are and however long their texts: a report stays a file that can be sent by mail."""

from pathlib import Path

import pytest

from gnnrec.report import item_map
from gnnrec.report.data import Card, EmbeddingMap, MapPoint, ReportData, Sample
from gnnrec.report.html import render_report, short
from gnnrec.report.item_map import MOST_ITEMS, MOST_PICTURES, embedding_map
from gnnrec.report.people import FAILURES, KINDS, LIST, Cards
from gnnrec.run_folder import Run

POSTERS = sorted((Path(__file__).parents[2] / "data" / "movies" / "posters").iterdir())
MOST_BYTES = 5_000_000
ENDLESS = "书" * 5000


def test_a_map_shows_the_most_popular_items_and_some_pictures(tiny_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = embedding_map(tiny_run, tiny_run.item_vectors, Cards(tiny_run)).points
    assert len(whole) == 32 and sum(point.image is not None for point in whole) == 31
    monkeypatch.setattr(item_map, "MOST_ITEMS", 20)
    monkeypatch.setattr(item_map, "MOST_PICTURES", 5)
    made = embedding_map(tiny_run, tiny_run.item_vectors, Cards(tiny_run))
    assert [point.title for point in made.points] == [point.title for point in whole[:20]]
    assert made.num_items == 32
    assert all(point.image is None for point in made.points[5:])


def test_the_largest_report_stays_below_five_megabytes() -> None:
    """Everything that grows with the catalogue at its limit, every picture another one, every text without an end."""
    posters = iter(POSTERS)
    points = [
        MapPoint(
            x=0.5,
            y=place / MOST_ITEMS,
            title=ENDLESS,
            label=place % 6,
            popularity=place % 4,
            image=next(posters) if place < MOST_PICTURES else None,
        )
        for place in range(MOST_ITEMS)
    ]

    def cards() -> list[Card]:
        return [Card(title=ENDLESS, image=next(posters), note=ENDLESS) for _ in range(LIST)]

    people = [
        Sample(user="one", history=cards(), recommended=cards(), missed=cards()[0])
        for _ in range(len(KINDS) + FAILURES)
    ]
    data = ReportData(
        title="large",
        map=EmbeddingMap(points=points, labels=["kind"] * 6, popularity=["class"] * 4, num_items=10**7),
        samples=people[: len(KINDS)],
        failures=people[len(KINDS) :],
    )
    html = render_report(data)
    assert html.count("<circle") == MOST_ITEMS
    assert html.count("data:image/jpeg") == MOST_PICTURES + len(people) * (2 * LIST + 1)
    assert len(html.encode()) < MOST_BYTES


def test_texts_are_cut_where_they_are_too_long() -> None:
    assert short("A title of a usual length") == "A title of a usual length"
    assert short("书" * 120) == "书" * 120
    assert short("书" * 121) == "书" * 119 + "…"
    assert short("x" * 118 + " " + "x" * 50) == "x" * 118 + "…"
