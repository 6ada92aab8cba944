import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from made_report import made_data
from PIL import Image

from gnnrec.encoders.media import thumbnail
from gnnrec.report.data import ReportData
from gnnrec.report.html import mark, number, render_report, write_report


class Page(HTMLParser):
    """Tags, ids, links and text of a page; complains about what is not closed."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.ids, self.addresses, self.words, self.open = [], [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action", "data")]
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return made_data(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def html(data):
    return render_report(data)


def test_nothing_is_loaded_from_anywhere(html):
    page = Page(html)
    assert "http://" not in html
    assert "https://" not in html
    assert not {"script", "link", "iframe", "object", "embed"} & set(page.tags)
    assert page.addresses
    assert all(address.startswith(("#", "data:image/")) for address in page.addresses)
    assert all(address[1:] in page.ids for address in page.addresses if address.startswith("#"))
    assert not re.findall(r"url\((?!#)|@import", html)
    assert "default-src 'none'" in html


def test_every_section_is_there_and_names_are_unique(html):
    page = Page(html)
    sections = {"models", "data", "training", "tail", "cohorts", "modalities", "map", "samples", "failures", "search"}
    assert sections | {"settings", "provenance"} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    text = " ".join(page.words)
    figures = ("Training loss", "Validation", "Long tail", "Inequality", "Activity", "Value", "Search")
    bars = (
        "Modalities",
        "Users by activity",
        "Items by popularity",
        "Items never seen",
        "Items with and without content",
    )
    assert all(heading in text for heading in figures + bars)
    assert page.tags.count("svg") == len(figures) + 1  # the map
    assert "kept: epoch 5, 0.0500" in text  # the best validation value that was planted
    assert "90,274" in text
    # One poster in the history, one in the list, one on the map; broken ones are left out.
    assert page.tags.count("img") == 3


def test_bars_are_as_long_as_their_values():
    cohorts = {name: {"user_activity": {"low": {"ndcg@10": low}, "high": {"ndcg@10": high}}} for name, low, high in (
        ("ours", 0.2, 0.05), ("other", 0.1, 0.4)
    )}  # fmt: skip
    html = render_report(ReportData(title="t", cohorts=cohorts, modality_shares={"text": 0.75, "sound": 0.25}))
    found = re.findall(r'class="series(\d)" style="--share: ([\d.]+)"></i>([\d.]+)<', html)
    assert found == [
        *(("0", "0.5000", "0.200"), ("1", "0.2500", "0.100"), ("0", "0.1250", "0.050"), ("1", "1.0000", "0.400")),
        *(("0", "1.0000", "0.750"), ("0", "0.3333", "0.250")),
    ]


def test_the_map_puts_items_where_they_are(html):
    found = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="[\d.]+" class="(label-?\d) (popular\d)"', html)
    assert found == [("12.0", "320.0", "label-1", "popular1"), ("256.0", "628.0", "label0", "popular0")]
    # In per cent of 1000 x 640, so that the picture opens at the dot; near the lower edge it opens upwards.
    assert re.findall(r'<b class=" (low)?" style="left: ([\d.]+)%; top: ([\d.]+)%">', html) == [
        ("low", "25.60", "98.10")
    ]


def test_what_cannot_be_seen_has_words(html):
    assert all("aria-label" in tag for tag in re.findall(r"<svg [^>]*>", html))
    assert all("alt=" in tag for tag in re.findall(r"<img [^>]*>", html))
    assert all("scope=" in tag for tag in re.findall(r"<th[ >][^>]*>", html))
    headings = [int(level) for level in re.findall(r"<h(\d)", html)]
    assert headings[0] == 1 and all(after - before <= 1 for before, after in pairwise(headings))


def test_the_trials_stand_by_their_value_without_those_that_were_stopped(html):
    table = html.partition('aria-label="best trials"')[2].partition("</table>")[0]
    assert re.findall(r'<th scope="row">(\d)</th><td>([\d.]+)</td>', table) == [("3", "0.3000"), ("1", "0.1000")]


def test_text_of_the_data_is_escaped(html):
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "书籍" in html


def test_only_the_significant_difference_is_marked(html):
    html = re.sub(r"\s+", " ", html)
    assert re.search(r'class="best">0.0498</span><sup></sup> <small>0.0400 – 0.0600</small>', html)
    assert re.search(r"<span>0.0312</span><sup>\*\*</sup>", html)
    assert [mark(p) for p in (None, 0.05, 0.049, 0.0099, 0.0009)] == ["", "", "*", "**", "***"]


def test_an_almost_empty_report_has_no_empty_section():
    page = Page(render_report(ReportData(title="only a title")))
    assert "section" not in page.tags
    assert page.addresses == ["#content"]


def test_the_same_data_gives_the_same_file(data, tmp_path):
    for name in ("a.html", "b.html"):
        write_report(data, tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_thumbnails_are_small(tmp_path):
    import base64
    import io

    Image.new("RGBA", (1000, 500), (255, 0, 0, 128)).save(tmp_path / "wide.png")
    uri = thumbnail(tmp_path / "wide.png")
    picture = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))
    assert picture.size == (120, 60)
    assert thumbnail(tmp_path / "missing.png") is None


def test_numbers():
    values = (90274, 0.04981, 12.345, True, "text", np.int64(1000))
    assert [number(value) for value in values] == ["90,274", "0.0498", "12.35", "True", "text", "1,000"]
