"""The page without a mouse, without sight of colours, or on a phone: each view, dialog and state."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

READY = ".lists .card:not(.empty)"
VIEWS = {"user/u1": READY, "ask": "#sentence", "map": ".nearby li", "training": ".chart"}
PHONE, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
FOCUSED = """() => {
  const element = document.activeElement;
  if (element === document.body) return ["", true, true]; // once round
  const style = getComputedStyle(element); // inside its player the browser shows the focus itself
  return [element.getAttribute("aria-label") || element.textContent || element.id,
          element.matches("audio") || (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2),
          element.closest("dialog") !== null];
}"""


def serious(page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {fault['nodes'][0]['html']}" for fault in found if fault["impact"] in ("serious", "critical")
    ]


def ask_for_files(page, shop) -> None:
    page.set_input_files("#file-audio", shop / "media/7.wav")
    page.set_input_files("#file-image", shop / "media/7.jpg")
    page.get_by_role("button", name="Find").click()
    page.wait_for_selector(".found .card:not(.empty)")


def close(page) -> None:
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", WIDE), ("light", PHONE)])
def test_axe_finds_no_serious_fault_in_a_view(visit, scheme, size):
    visitor = visit(color_scheme=scheme, viewport=size)
    for view, ready in VIEWS.items():
        page = visitor.go(view, ready)
        page.wait_for_timeout(300)
        assert serious(page) == [], view


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", PHONE)])
def test_axe_finds_no_serious_fault_in_what_opens(visit, shop, scheme, size):
    """Dialogs, two runs side by side, moved cards, answers, whom to tell, what cannot be asked or found."""
    visitor = visit(color_scheme=scheme, viewport=size)
    page = visitor.go("user/u1", READY)
    page.wait_for_selector(".strip .card")
    page.get_by_role("button", name="Why").first.click()
    page.wait_for_selector(".sentences, .reasons .notice")
    page.get_by_text("All evidence").click()
    assert serious(page) == [], "why"
    page.get_by_role("button", name="What is like it").click()
    page.wait_for_selector("#dialog .card:not(.empty)")
    assert serious(page) == [], "similar"
    close(page)
    if size is PHONE:
        page.locator(".tune summary").click()
    page.get_by_label("Popularity").fill("2")
    page.wait_for_selector(".up, .down")
    assert serious(page) == [], "moved cards"
    page.get_by_label("Two runs side by side").check()
    page.wait_for_selector(".column:nth-child(2) .card:not(.empty)")
    assert serious(page) == [], "compare"
    page.locator("#picker").fill("nobody")
    page.get_by_role("button", name="Show").click()
    page.get_by_role("alert").wait_for()
    assert serious(page) == [], "no such user"
    page = visitor.go("ask", "#sentence")
    page.get_by_role("button", name="Find").click()
    page.get_by_role("alert").wait_for()
    assert serious(page) == [], "nothing was asked"
    ask_for_files(page, shop)
    assert serious(page) == [], "answers"
    page.get_by_role("button", name="Details").first.click()
    page.wait_for_selector("#dialog[open] dl")
    assert serious(page) == [], "item"
    close(page)
    page.get_by_label("Whom would it be for?").check()
    page.get_by_role("button", name="Find").click()
    page.wait_for_selector(".people")
    assert serious(page) == [], "whom to tell"


@pytest.mark.parametrize(("scheme", "size"), [("light", WIDE), ("dark", PHONE)])
def test_axe_finds_no_serious_fault_in_the_form_for_the_key(visit, locked_site, scheme, size):
    page = visit(url=locked_site[0], color_scheme=scheme, viewport=size).page
    page.goto(locked_site[0])
    page.get_by_role("textbox", name="Key").wait_for()
    assert serious(page) == []


@pytest.mark.parametrize("worded_site", [3.0], indirect=True)
def test_axe_finds_no_serious_fault_in_a_reordered_list(visit, worded_site):
    page = visit(url=worded_site).go("user/u1", READY)
    page.wait_for_function("() => fetch('/ready').then((told) => told.json()).then(({ rerank }) => rerank === 'ready')")
    page.get_by_label("Reordered by a language model").check()
    expect(page.locator("#said")).to_contain_text("New order. First is")
    page.wait_for_selector(".up, .down")
    assert serious(page) == []


def reached(page, most: int, within_dialog: bool = False) -> list[str]:
    """The names of what the tab key comes to, in a player once; each shows that it has the focus."""
    names: list[str] = []
    for _ in range(most):
        page.keyboard.press("Tab")
        name, seen, inside = page.evaluate(FOCUSED)
        assert seen and (inside or not within_dialog), name
        names += [name] * (names[-1:] != [name])
    return names


def test_everything_is_reached_with_the_tab_key_and_seen(visit):
    page = visit().go("user/u1", READY)
    page.wait_for_selector(".strip .card")
    names = reached(page, 110)
    for wanted in (
        "Skip to the content",
        "Ask",
        "Map",
        "Training",
        "Dark colours",
        "picker",
        "Show",
        "slider-Diversity",
    ):
        assert wanted in names, wanted
    assert sum(name.startswith("Why: ") for name in names) >= 5
    page.reload()
    page.wait_for_selector(READY)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_asking_needs_no_mouse(visit, shop):
    page = visit().go("ask", "#sentence")
    ask_for_files(page, shop)
    page.locator("#sentence").focus()
    names = reached(page, 40)
    chosen = ["Remove 7.jpg", "The sound you chose", "Remove 7.wav"]
    assert names[:7] == ["file-image", "file-audio", *chosen, "Find", "whom"]
    assert names[7:10] == ["Listen to Title 7", "Details: Title 7", "Similar: Title 7"]


def test_a_dialog_keeps_the_focus_and_gives_it_back(visit):
    page = visit().go("user/u1", READY)
    why = page.get_by_role("button", name="Why").first
    why.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".sentences, .reasons .notice")
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    pieces = page.get_by_text("All evidence").inner_text()
    names = reached(page, 30, within_dialog=True)
    assert {"Close", "What is like it", pieces} <= set(names)
    page.get_by_role("button", name="What is like it").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#dialog .card:not(.empty)")
    expect(page.get_by_role("button", name="Close")).to_be_focused()
    assert sum(name.startswith("Similar: ") for name in reached(page, 60, within_dialog=True)) >= 5
    close(page)
    expect(why).to_be_focused()


def test_on_a_phone_nothing_sticks_out(visit):
    visitor = visit(viewport={"width": 360, "height": 740})
    for view, ready in VIEWS.items():
        page = visitor.go(view, ready)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, view
        visitor.shot(f"phone-{view.partition('/')[0]}")
    page = visitor.go("user/u1", READY)
    page.get_by_role("button", name="Why").first.click()
    page.wait_for_selector(".evidence")
    assert page.evaluate("(dialog => dialog.scrollWidth - dialog.clientWidth)(document.getElementById('dialog'))") <= 0
    outside = page.locator(".evidence .node").evaluate_all("""nodes => nodes.filter((node) =>
      [...node.querySelectorAll("text")].some((text) =>
        text.getBBox().width > node.querySelector("rect").getBBox().width)).length""")
    assert outside == 0
    visitor.shot("phone-why")
