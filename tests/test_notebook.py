"""Objects in a notebook: whole HTML with their own numbers, escaped, small, and nothing loaded from anywhere."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from gnnrec.datasets import Dataset
from gnnrec.notebook import LONGEST, MOST_ROWS, Picture, table
from gnnrec.pipeline import evaluate
from gnnrec.recommend import Recommendation, Recommendations, Recommender

ATTACK = '<script src="http://x">alert(1)</script>'
LARGEST = 100_000  # signs


class Page(HTMLParser):
    """The cells of the tables by rows; complains about what is not closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.rows, self.pictures = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in ("table", "caption", "thead", "tbody", "tr", "th", "td", "img", "p")
        assert {name for name, _ in attrs} <= {"scope", "src", "alt"}
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
            return
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def page(shown):
    html = shown._repr_html_()
    assert len(html) < LARGEST
    assert "<script" not in html
    found = Page(html)
    assert all(uri.startswith("data:image/jpeg;base64,") for uri in found.pictures)
    return found


def test_a_list_has_its_places_and_posters(tiny_run):
    found = Recommender(tiny_run).recommend("u1", k=10)
    assert isinstance(found, list)
    shown = page(found)
    assert [row[1:] for row in shown.rows[1:]] == [
        [str(one.rank), one.id, one.title, f"{one.score:.4f}"] for one in found
    ]
    with_poster = [one for one in found if one.id != "i5"]
    assert len(shown.pictures) == len(with_poster)
    assert shown.pictures[0] != shown.pictures[1]


def test_what_the_user_had_is_a_list_as_well(tiny_run):
    history = Recommender(tiny_run).history("u1", k=3)
    log = tiny_run.known
    rows = [row for row in range(len(log)) if log.user[row] == tiny_run.user_ids.index("u1")][::-1][:3]
    assert [(one.id, one.score) for one in history] == [
        (tiny_run.item_ids[log.item[row]], float(log.rating[row])) for row in rows
    ]
    assert len(page(history).rows) == 4


def test_an_evaluation_has_its_intervals(tiny_run):
    evaluation = evaluate(tiny_run)
    low, high = evaluation.confidence["ndcg@10"]
    expected = ["ndcg@10", f"{evaluation.metrics['ndcg@10']:.4f}", f"{low:.4f}", f"{high:.4f}"]
    shown = page(evaluation)
    assert expected in shown.rows
    assert ["coverage@10", f"{evaluation.beyond['coverage@10']:.4f}"] in shown.rows
    assert "nan" not in str(page(replace(evaluation, confidence={})).rows)


def test_a_dataset_and_a_run_say_what_they_are(tiny_data, tiny_run):
    dataset = Dataset.load(tiny_data)
    rows = page(dataset).rows
    assert ["users", "40"] in rows and ["rows set aside", "2"] in rows and ["items with image", "31"] in rows
    assert rows[-1] == [dataset.item_ids[2], f"Title {dataset.item_ids[2][1:]}"]
    rows = page(tiny_run).rows
    assert ["model", "modality_gnn"] in rows
    value = tiny_run.metrics["metrics"]["recall@20"]
    assert [row[1] for row in rows if row[0] == "recall@20"] == [f"{value:.4f}"]


def test_what_strangers_wrote_is_text(tiny_data):
    listed = Recommendations([Recommendation(rank=1, id=ATTACK, score=0.5, title=ATTACK)])
    assert page(listed).rows[1] == ["1", ATTACK, ATTACK, "0.5000"]
    dataset = replace(Dataset.load(tiny_data), name=ATTACK, licence=ATTACK)
    assert ["licence", ATTACK] in page(dataset).rows


def test_long_tables_and_texts_are_cut():
    html = table("t", ("a",), [["x" * 999]] * (MOST_ROWS + 5))
    found = Page(html)
    assert len(found.rows) == 1 + MOST_ROWS
    assert {len(row[0]) for row in found.rows[1:]} == {LONGEST}
    assert "and 5 more" in html


@pytest.mark.parametrize(
    ("value", "cell"), [(0.12345, "0.1235"), (90274, "90,274"), (None, ""), ("&<", "&amp;&lt;"), (Picture(None), "")]
)
def test_cells(value, cell):
    assert re.findall("<td>(.*?)</td>", table("t", (), [[value]])) == [cell]
