"""The report as a browser shows it: by day, by night, on a phone and on paper; nothing is asked of anybody."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from made_report import made_data

from gnnrec.report import write_report
from gnnrec.report.html import write_report as write_page

SHOTS = Path(__file__).parents[2] / "screenshots"
LONG = "Pneumonoultramicroscopicsilicovolcanoconiosis" * 4
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
LEGIBLE = 4.5  # contrast of text with what is behind it (WCAG 2.2, 1.4.3)


@pytest.fixture(scope="module")
def pages(tiny_runs, tmp_path_factory):
    """A report of a real run beside two others; one that has everything; and one with words that end nowhere."""
    folder = tmp_path_factory.mktemp("reports")
    made = made_data(folder)
    long = {
        "title": LONG,
        "subtitle": LONG,
        "facts": {LONG: LONG},
        "settings": f'name = "{LONG}"',
        "headline": {LONG: 5},
    }
    long |= {"models": [replace(row, name=f"{LONG}{place}") for place, row in enumerate(made.models)]}
    write_page(made, folder / "made.html")
    write_page(replace(made, **long), folder / "long.html")
    others = [tiny_runs["popularity"], tiny_runs["item_knn"]]
    return {"real": write_report(tiny_runs["default"], folder / "real.html", others)} | {
        name: folder / f"{name}.html" for name in ("made", "long")
    }


@pytest.fixture
def opened(browser):
    """A file and how it is looked at -> its page. At the end: it asked for nothing, and nothing went wrong in it."""
    contexts, asked, wrong = [], [], []

    def start(path, **settings):
        context = browser.new_context(offline=True, **settings)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda line: wrong.append(line.text))
        page.goto(path.as_uri())
        return page

    yield start
    pages = [url for url in asked if not url.startswith("data:image/")]
    assert len(pages) == len(contexts) and all(url.startswith("file:") for url in pages)
    assert wrong == []
    for context in contexts:
        context.close()


def faint(page) -> list[str]:
    """Texts in the drawings, of which axe says nothing, that are hard to tell from the card behind them."""
    drawn = page.locator("svg text").evaluate_all("""texts => texts.map((text) => [
      text.textContent, getComputedStyle(text).fill, getComputedStyle(text.closest(".card")).backgroundColor])""")
    assert drawn
    return [text for text, ink, paper in drawn if contrast(numbers(ink), numbers(paper)) < LEGIBLE]


def numbers(colour: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", colour)][:3]


def contrast(first: list[int], second: list[int]) -> float:
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: list[int]) -> float:
    parts = [part / 255 for part in colour]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("name", "scheme", "size"),
    [("real", "light", WIDE), ("real", "dark", PHONE), ("made", "light", PHONE), ("made", "dark", WIDE)],
)
def test_it_is_legible_by_day_and_night(opened, pages, name, scheme, size):
    page = opened(pages[name], color_scheme=scheme, viewport=size)
    paper = luminance(numbers(page.evaluate("getComputedStyle(document.body).backgroundColor")))
    assert paper < 0.05 if scheme == "dark" else paper > 0.8
    assert faint(page) == []
    found = Axe().run(page).response["violations"]
    assert [
        (fault["id"], fault["nodes"][0]["html"]) for fault in found if fault["impact"] in ("serious", "critical")
    ] == []
    SHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SHOTS / f"report-{name}-{scheme}-{size['width']}.png", full_page=True)


@pytest.mark.parametrize("name", ["real", "made", "long"])
def test_on_a_phone_nothing_sticks_out(opened, pages, name):
    page = opened(pages[name], viewport=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    cut = page.locator("main *, header *").evaluate_all("""elements => elements.filter((element) => {
      const box = element.getBoundingClientRect();
      return box.width && box.right > 361 && !element.closest(".scroll, .shelf, pre, .map, .skip");
    }).map((element) => element.outerHTML.slice(0, 80))""")
    assert cut == []


def test_pictures_are_in_it_and_the_map_changes_its_colours(opened, pages):
    page = opened(pages["made"], viewport=WIDE)
    for picture in page.locator("img").all():
        if not picture.evaluate("image => image.closest('.map')"):
            picture.scroll_into_view_if_needed()
            page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())
    dot = page.locator(".map circle").first
    before = dot.evaluate("dot => getComputedStyle(dot).fill")
    page.get_by_label("by popularity").check()
    assert dot.evaluate("dot => getComputedStyle(dot).fill") != before
    spot = page.locator(".map b").first
    spot.hover()
    assert spot.locator("span").is_visible()


def test_on_paper_it_is_dark_on_light_even_at_night(opened, pages):
    page = opened(pages["real"], color_scheme="dark", viewport=WIDE)
    page.emulate_media(media="print")
    assert luminance(numbers(page.evaluate("getComputedStyle(document.body).color"))) < 0.05
    assert luminance(numbers(page.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor"))) > 0.9
    assert faint(page) == []
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_on_paper_no_page_is_left_empty_and_small_print_is_the_smaller_one(opened, pages):
    page = opened(pages["real"], viewport=WIDE)
    page.emulate_media(media="print")
    of = "(name, key) => getComputedStyle(document.querySelector(name))[key]"
    style = f"([name, key]) => ({of})(name, key)"
    assert (
        page.evaluate(style, [".settings", "breakInside"]) == "auto"
    )  # longer than a page: it would start on the next
    assert page.evaluate(style, ["footer", "display"]) == "none"
    small, value = (float(page.evaluate(style, [name, "fontSize"])[:-2]) for name in (".models small", ".models td"))
    assert small < value


def test_the_letter_of_what_has_no_picture_stands_in_the_middle(opened, pages):
    page = opened(pages["made"], viewport=WIDE)
    middles = page.locator(".poster:not(:has(img))").evaluate_all("""tiles => tiles.map((tile) => {
      const range = document.createRange(), box = tile.getBoundingClientRect();
      range.selectNodeContents(tile.firstChild);
      const letter = range.getBoundingClientRect();
      const [x, y] = [letter.x + letter.width / 2 - box.x, letter.y + letter.height / 2 - box.y];
      return [x - box.width / 2, y - box.height / 2];
    })""")
    assert middles and all(abs(x) < 1 and abs(y) < 1 for x, y in middles)
