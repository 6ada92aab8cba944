"""What a person does with the page, by mouse, keyboard and screen reader; every list is checked against the API."""

import io
import math
import re
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

READY = ".lists .card:not(.empty)"
VIEWS = {"user/u1": READY, "ask": "#sentence", "map": ".nearby li", "training": ".chart"}


def test_ten_cards_with_pictures_and_sounds(visit):
    visitor = visit()
    page = visitor.go("", READY)
    first = visitor.json("/users?k=1")["users"][0]["id"]
    expect(page).to_have_url(re.compile(f"/#/user/{first}$"))
    assert visitor.ids() == [place["id"] for place in visitor.json(f"/recommend?user={first}")["items"]]
    assert len(visitor.ids()) == 10
    for card in page.locator(READY).all():
        if card.get_attribute("data-id") == "i3":
            expect(card.locator("svg.tile")).to_be_visible()
        else:
            picture = card.locator("img.front")
            picture.scroll_into_view_if_needed()
            page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())
            assert card.locator("audio").evaluate(
                "sound => new Promise((done) => { sound.onloadedmetadata = () => "
                "done(sound.duration); sound.preload = 'metadata'; })"
            ) == pytest.approx(1, abs=0.1)
    had = [item["id"] for item in visitor.json(f"/history?user={first}&k=20")["items"]]
    page.wait_for_selector(".strip .card")
    assert visitor.ids(".strip") == had
    visitor.shot("light")


def test_a_user_is_found_by_typing(visit):
    visitor = visit()
    page = visitor.go("user/u1", READY)
    page.locator("#picker").fill("u2")
    found = [user["id"] for user in visitor.json("/users?search=u2&k=8")["users"]]
    expect(page.get_by_role("option")).to_have_count(len(found))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[aria-selected=true]")).to_contain_text(found[1])
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(f"For user {found[1]}")
    page.wait_for_selector(READY)
    assert visitor.ids() == [place["id"] for place in visitor.json(f"/recommend?user={found[1]}")["items"]]
    page.locator("#picker").fill("nobody")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("alert")).to_contain_text("no user with the id 'nobody'")


def test_why_shows_the_evidence(visit):
    visitor = visit()
    page = visitor.go("user/u1", READY)
    button = page.get_by_role("button", name="Why").first
    button.click()
    dialog = page.get_by_role("dialog")
    dialog.locator(".sentences, .notice").first.wait_for()
    told = visitor.json(f"/explain?user=u1&item={visitor.ids()[0]}")
    expect(dialog.locator(".sentences li")).to_have_text([sentence["text"] for sentence in told["explanation"]])
    speaking = [piece for piece in told["evidence"] if piece["drop"] > 0][:5]
    assert speaking
    expect(dialog.locator(".evidence .node")).to_have_count(len(speaking) + 2)
    dialog.get_by_text("All evidence").click()
    assert dialog.locator("tbody td.number").all_inner_texts() == [f"{piece['drop']:.3f}" for piece in told["evidence"]]
    bars = dialog.locator(".share .value").all_text_contents()
    shares = told["modalities"].values()
    assert bars == [
        f"{math.floor(100 * part[name] + 0.5)} %" for part in shares for name in ("attention", "drop_share")
    ]
    visitor.shot("why")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()


def standardized(values: list[float]) -> np.ndarray:
    return (np.array(values) - np.mean(values)) / np.std(values)


def test_sliders_reorder_at_once_and_as_said(visit):
    visitor = visit()
    page = visitor.go("user/u1", READY)
    made = visitor.json("/candidates?user=u1")
    items, before = made["items"], visitor.ids()
    assert before == [item["id"] for item in items[:10]]
    asked = len(visitor.asked)
    page.get_by_label("Popularity").fill("2")
    scores = standardized([item["score"] for item in items])
    scores += 2 * standardized([math.log1p(item["interactions"]) for item in items])
    expected = [items[place]["id"] for place in np.argsort(-scores, kind="stable")[:10]]
    assert expected != before
    visitor.expect_ids(expected)
    assert not [url for url in visitor.asked[asked:] if "/candidates" in url or "/recommend" in url]
    expect(page.locator("#said")).to_contain_text("New order. First is")
    page.get_by_label("Diversity").fill("0.5")
    worth = (scores - scores.min()) / (scores.max() - scores.min())
    cosine = np.eye(len(items))
    for row, near in enumerate(made["alike"]):
        cosine[row, :row] = cosine[:row, row] = np.array(near) / 100
    taken = [int(np.argmax(worth))]
    while len(taken) < 10:
        value = 0.5 * worth - 0.5 * cosine[:, taken].max(1)
        value[taken] = -np.inf
        taken.append(int(np.argmax(value)))
    visitor.expect_ids([items[place]["id"] for place in taken])
    page.get_by_role("button", name="The model’s order").click()
    visitor.expect_ids(before)


def test_modality_weights_count_what_the_user_had(visit):
    visitor = visit()
    page = visitor.go("user/u1", READY)
    items = visitor.json("/candidates?user=u1")["items"]
    page.get_by_label("Sound").fill("-2")
    there = [item["content"]["audio"] for item in items if item["content"]["audio"] is not None]
    parts = [
        0 if item["content"]["audio"] is None else (item["content"]["audio"] - np.mean(there)) / np.std(there)
        for item in items
    ]
    scores = standardized([item["score"] for item in items]) - 2 * np.array(parts)
    visitor.expect_ids([items[place]["id"] for place in np.argsort(-scores, kind="stable")[:10]])


def test_two_runs_side_by_side(visit):
    visitor = visit()
    page = visitor.go("user/u1", READY)
    page.get_by_label("Two runs side by side").check()
    page.wait_for_selector(".column:nth-child(2) .card")
    assert visitor.ids(".column:nth-child(1)") == [
        item["id"] for item in visitor.json("/candidates?user=u1&k=10")["items"]
    ]
    second = visitor.json("/candidates?user=u1&k=10&compared=true")
    assert second["run"] == "second" and second["alike"] is None
    assert visitor.ids(".column:nth-child(2)") == [item["id"] for item in second["items"]]
    visitor.shot("compare")


@pytest.mark.parametrize("way", ["chosen", "dropped"])
def test_a_picture_and_a_sound_and_chinese_find_items(visit, shop, way):
    visitor = visit()
    page = visitor.go("ask", "#sentence")
    for kind, name, type in (("image", "7.jpg", "image/jpeg"), ("audio", "7.wav", "audio/wav")):
        path = shop / "media" / name
        if way == "chosen":
            page.set_input_files(f"#file-{kind}", path)
        else:
            drop(page, path, type)
    expect(page.locator(".chosen figure")).to_have_count(2)
    page.get_by_role("button", name="Find").click()
    page.wait_for_selector(".found .card:not(.empty)")
    assert visitor.ids(".found")[0] == "i7"
    page.get_by_role("button", name="Remove").first.click()
    page.get_by_role("button", name="Remove").first.click()
    page.get_by_label("A sentence").fill("我喜欢看恐怖类的电影。")
    with page.expect_response("**/recommend?") as answered:
        page.keyboard.press("Enter")
    found = [place["id"] for place in answered.value.json()["items"]]
    assert found == [place["id"] for place in visitor.json("/recommend?k=12&text=我喜欢看恐怖类的电影。")["items"]]
    visitor.expect_ids(found, ".found")
    visitor.shot("query")


def drop(page, path: Path, type: str) -> None:
    page.evaluate(
        """([name, type, bytes]) => {
          const data = new DataTransfer();
          data.items.add(new File([new Uint8Array(bytes)], name, { type }));
          document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }""",
        [path.name, type, list(path.read_bytes())],
    )


def test_what_cannot_be_asked_is_said(visit, tmp_path):
    visitor = visit()
    page = visitor.go("ask", "#sentence")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("alert")).to_contain_text("Type something")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page.set_input_files("#file-image", tmp_path / "broken.png")
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("alert")).to_contain_text("not a readable picture")


def test_the_map_can_be_wandered_in(visit):
    visitor = visit()
    page = visitor.go("map", ".nearby li")
    expect(page.locator(".hint")).to_contain_text("30 items")
    page.wait_for_function("() => !document.querySelector('.hint').textContent.includes('being made')", timeout=60_000)
    drawn = Image.open(io.BytesIO(page.locator("canvas").screenshot())).convert("RGB")
    tints = {colour for count, colour in drawn.getcolors(1 << 20) if count > 20}
    assert {(0, 114, 178), (230, 159, 0)} <= {near(colour, tints) for colour in ((0, 114, 178), (230, 159, 0))}
    found = visitor.json("/map")
    assert found["method"] == "tsne" and found["settled"]
    order = sorted(range(30), key=lambda i: math.hypot(found["x"][i], found["y"][i]))
    expect(page.locator(".nearby button").first).to_contain_text(found["titles"][order[0]][:20])
    canvas = page.locator("canvas")
    canvas.focus()
    for key in ("+", "+", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    page.wait_for_timeout(400)
    page.keyboard.press("Enter")
    named = page.locator("#dialog-title").inner_text()
    page.keyboard.press("Escape")
    expect(page.locator(".nearby button").first).to_have_text(named)
    page.keyboard.press("0")
    page.wait_for_timeout(400)
    box, scale = canvas.bounding_box(), page.evaluate("document.querySelector('canvas').clientWidth")
    assert box is not None and scale > 300
    page.locator("#map-search").fill("title 12")
    expect(page.locator(".nearby button")).to_have_text(["Title 12"])
    hover_until_a_thumbnail(page, box)
    visitor.shot("map")


def near(colour: tuple[int, int, int], tints: set[tuple[int, int, int]]) -> tuple[int, int, int]:
    """The colour itself where a tint of the picture is close to it: points let a little of the paper through."""
    close = any(max(abs(a - b) for a, b in zip(colour, tint)) < 45 for tint in tints)
    return colour if close else (-1, -1, -1)


def hover_until_a_thumbnail(page, box) -> None:
    for across in range(20, int(box["width"]), 18):
        for down in range(20, int(box["height"]), 60):
            page.mouse.move(box["x"] + across, box["y"] + down)
            if page.locator(".tip").is_visible():
                page.locator(".tip .cover").wait_for()
                return
    raise AssertionError("no point was under the pointer")


def test_training_curves_have_all_epochs(visit):
    visitor = visit()
    page = visitor.go("training", ".chart")
    epochs = visitor.json("/training")["epochs"]
    loss = page.locator(".chart", has_text="loss").locator("polyline").first.get_attribute("points")
    assert loss is not None and len(loss.split()) == len(epochs) == 3
    heights = [float(point.split(",")[1]) for point in loss.split()]
    assert np.argsort(heights).tolist() == np.argsort([-row["loss"] for row in epochs]).tolist()
    expect(page.get_by_text("second was computed at once")).to_be_visible()
    visitor.shot("training")


def test_the_theme_is_switched_and_kept(visit):
    visitor = visit(color_scheme="light")
    page = visitor.go("user/u1", READY)
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.get_by_role("button", name="Dark colours").click()
    assert sum(colours(page.evaluate(paper))) < 150 < sum(colours(light))
    page.reload()
    page.wait_for_selector(READY)
    expect(page.get_by_role("button", name="Light colours")).to_be_visible()
    visitor.shot("dark")
    by_system = visit(color_scheme="dark").go("user/u1", READY)
    assert sum(colours(by_system.evaluate(paper))) < 150


def colours(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)][:3]


def test_everything_is_reached_with_the_tab_key_and_seen(visit):
    page = visit().go("user/u1", READY)
    page.wait_for_selector(".strip .card")
    reached = []
    for _ in range(110):
        page.keyboard.press("Tab")
        name, seen = page.evaluate("""() => {
          const element = document.activeElement;
          if (element === document.body) return ["", true]; // once round
          const style = getComputedStyle(element);
          return [element.getAttribute("aria-label") || element.textContent || element.id,
                  style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2];
        }""")
        reached.append(name)
        assert seen or name.startswith("Listen"), name  # inside its player the browser shows the focus itself
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
        assert wanted in reached, wanted
    assert sum(name.startswith("Why: ") for name in reached) >= 5
    page.reload()
    page.wait_for_selector(READY)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(visit, scheme):
    visitor = visit(color_scheme=scheme)
    for view, ready in VIEWS.items():
        page = visitor.go(view, ready)
        page.wait_for_timeout(300)
        assert serious(page) == [], view
    page = visitor.go("user/u1", READY)
    page.get_by_role("button", name="Why").first.click()
    page.wait_for_selector(".sentences, .reasons .notice")
    assert serious(page) == []


def serious(page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {fault['nodes'][0]['html']}" for fault in found if fault["impact"] in ("serious", "critical")
    ]


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


def test_titles_are_never_markup(visit):
    visitor = visit()
    page = visitor.go("map", ".nearby li")
    page.locator("#map-search").fill("<img")
    page.locator(".nearby button").click()
    page.wait_for_selector("#dialog[open]")
    expect(page.locator("#dialog-title")).to_contain_text("<img src=x onerror=")
    assert page.title() != "broken" and page.locator("img[src='x']").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280


def test_a_key_is_asked_for_once_and_goes_with_everything(visit, locked_site):
    url, key = locked_site
    visitor = visit(url=url)
    page = visitor.page
    page.goto(f"{url}/#/user/u1")
    page.get_by_role("textbox", name="Key").fill(key)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_selector(READY)
    picture = page.locator(".lists img.front").first
    page.wait_for_function(
        "image => image.src.startsWith('blob:') && image.naturalWidth > 0", arg=picture.element_handle()
    )
    assert not any(key in asked for asked in visitor.asked)
