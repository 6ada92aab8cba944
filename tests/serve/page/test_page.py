"""What a person does with the page, by mouse, keyboard and screen reader; every list is checked against the API."""

import io
import math
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

READY = ".lists .card:not(.empty)"


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
        *(f"{kind['drop']:.2f}" for kind in told["paths"]),
        *(f"{math.floor(100 * part[name] + 0.5)} %" for part in shares for name in ("attention", "drop_share")),
    ]
    assert told["paths"][0]["drop"] > 0
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
    labels = page.locator(".slider label").all_text_contents()
    assert labels[-2:] == ["Popularity", "Diversity"]
    assert sorted(labels[:-2]) == [f"{name} like the history" for name in ("Picture", "Sound", "Text")]
    page.get_by_label("Sound like the history").fill("-2")
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


@pytest.mark.parametrize(("column", "name"), [(1, "first"), (2, "second")])
def test_why_and_similar_are_those_of_the_run_whose_card_it_is(visit, column, name):
    visitor = visit()
    page = visitor.go("user/u1", READY)
    page.get_by_label("Two runs side by side").check()
    page.wait_for_selector(".column:nth-child(2) .card")
    id = visitor.ids(f".column:nth-child({column})")[0]
    by_run = [visitor.json(f"/explain?user=u1&item={id}&compared={second}") for second in ("false", "true")]
    told, other = by_run if column == 1 else by_run[::-1]
    assert told["run"] == name and told["evidence"] != other["evidence"]
    page.locator(f".column:nth-child({column}) [data-id={id}]").get_by_role("button", name="Why").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name=f"Why user u1 gets it from {name}")).to_be_visible()
    said = [sentence["text"] for sentence in told["explanation"]]
    expect(dialog.locator(".sentences li")).to_have_text(said)
    expect(dialog.locator("tbody td.number")).to_have_text([f"{piece['drop']:.3f}" for piece in told["evidence"]])
    counted = any(part.get("attention", 0) + part["drop_share"] > 0 for part in told["modalities"].values())
    assert counted == (name == "first")  # the second one is of popularity alone
    expect(dialog.get_by_text("How much its content counts")).to_have_count(int(counted))
    dialog.get_by_role("button", name="What is like it").click()
    expect(dialog.locator("#dialog-title")).to_contain_text(f", by {name}")
    if name == "first":
        visitor.expect_ids([place["id"] for place in visitor.json(f"/similar?item={id}&k=12")["items"]], "dialog")
    else:  # which has no embeddings, whenever it is asked
        expect(dialog.get_by_role("alert")).to_contain_text("the model popularity has no embeddings")
        expect(dialog.get_by_role("button", name="Try again")).to_have_count(0)


def wait_for_the_weight(page) -> None:
    page.wait_for_function("() => fetch('/ready').then((told) => told.json()).then(({ rerank }) => rerank === 'ready')")


@pytest.mark.parametrize("worded_site", [3.0], indirect=True)
def test_a_language_model_reorders_where_the_service_has_one(visit, worded_site):
    visitor = visit(url=worded_site)
    page = visitor.go("user/u1", READY)
    switch = page.get_by_label("Reordered by a language model")
    wait_for_the_weight(page)
    before, made = visitor.ids(), visitor.json("/candidates?user=u1")["items"]
    switch.check()
    told = visitor.json(f"/recommend?user=u1&k={len(made)}&rerank=true")
    assert told["rerank"]["applied"]
    order = [place["id"] for place in told["items"]]
    assert order[:10] != before
    visitor.expect_ids(order[:10])
    expect(page.locator("#said")).to_contain_text("New order. First is")
    visitor.shot("rerank")
    page.get_by_label("Popularity").fill("2")  # on top of it: its places with the run's scores in their order
    scores = 2 * standardized([math.log1p(item["interactions"]) for item in made])
    own = standardized([item["score"] for item in made])
    scores += own[[order.index(item["id"]) for item in made]]
    visitor.expect_ids([made[place]["id"] for place in np.argsort(-scores, kind="stable")[:10]])
    page.get_by_role("button", name="The model’s order").click()
    visitor.expect_ids(order[:10])
    switch.uncheck()
    visitor.expect_ids(before)


@pytest.mark.parametrize("worded_site", [0.0], indirect=True)
def test_a_language_model_that_is_not_heard_says_why(visit, worded_site):
    visitor = visit(url=worded_site)
    page = visitor.go("user/u1", READY)
    wait_for_the_weight(page)
    before = visitor.ids()
    page.get_by_label("Reordered by a language model").check()
    expect(page.locator("#told")).to_contain_text("The graph’s own order: weight 0")
    visitor.expect_ids(before)
    page.get_by_label("Reordered by a language model").uncheck()
    expect(page.locator("#told")).to_have_text("")


def test_without_a_language_model_there_is_no_such_switch(visit):
    page = visit().go("user/u1", READY)
    expect(page.get_by_label("Two runs side by side")).to_be_visible()
    expect(page.get_by_label("Reordered by a language model")).to_have_count(0)


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
    canvas = page.get_by_role("img", name="Map of all items")  # an application would be passed over in silence by Orca
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


def test_a_single_epoch_has_its_value_at_the_axis(visit, few_words_site):
    visitor = visit(url=few_words_site)
    page = visitor.go("training", ".chart")
    (epoch,) = visitor.json("/training")["epochs"]
    value, number = page.locator(".chart", has_text="loss").locator("text").all_text_contents()
    assert float(value) == pytest.approx(epoch["loss"], rel=1e-3) and number == "1"


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
