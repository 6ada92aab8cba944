"""What the page does while the service fails, and afterwards; and what it does not offer where nothing can help."""

import json

import pytest
from playwright.sync_api import expect

READY = ".lists .card:not(.empty)"


def fail(page, pattern: str, times: int, status: int = 503) -> list[str]:
    """Let the next requests for a pattern fail: by a status, or unanswered by 0. Returns what is asked."""
    asked = []

    def handle(route):
        asked.append(route.request.url)
        if len(asked) > times:
            route.continue_()
        elif status:
            route.fulfill(status=status, content_type="application/json", body=json.dumps({"error": "not now"}))
        else:
            route.abort()

    page.route(pattern, handle)
    return asked


def loaded(page, id: str) -> None:
    """Of an item: looked for anew each time, since the page puts another picture in the place of one that failed."""
    page.locator(f".lists [data-id={id}]").scroll_into_view_if_needed()
    shown = "name => { const image = document.querySelector(name); return image?.complete && image.naturalWidth > 0; }"
    page.wait_for_function(shown, arg=f".lists [data-id={id}] img.front")


@pytest.mark.parametrize("status", [503, 429, 0])
def test_pictures_and_words_come_once_items_are_told_again(visit, status):
    visitor = visit()
    asked = fail(visitor.page, "**/items?*", 2, status)
    page = visitor.go("user/u1", READY)
    assert len(visitor.ids()) == 10 and len(asked) >= 1
    order = visitor.ids()
    expect(page.locator(f"{READY} .kinds")).to_have_count(10)  # by itself, nothing is clicked
    assert visitor.ids() == order
    for id in order:
        if id != "i3":
            loaded(page, id)


def test_a_slider_reorders_while_items_cannot_be_told(visit):
    visitor = visit()
    page = visitor.go("user/u1", READY)
    page.wait_for_selector(".strip .card")
    visitor.page.evaluate("location.reload()")
    fail(page, "**/items?*", 10**6)
    page.wait_for_selector(READY)
    before = visitor.ids()
    page.get_by_label("Popularity").fill("2")
    page.wait_for_selector(".up, .down")
    assert visitor.ids() != before


def test_a_picture_that_failed_is_asked_for_again(visit):
    visitor = visit()
    asked = fail(visitor.page, "**/items/*/image", 20)
    page = visitor.go("user/u1", READY)
    page.wait_for_selector(f"{READY} svg.tile")
    for id in visitor.ids():
        if id != "i3":
            loaded(page, id)
    assert len(asked) > 20


def test_with_a_key_a_picture_that_nobody_answers_for_is_a_tile(visit, locked_site):
    url, key = locked_site
    visitor = visit(url=url)
    fail(visitor.page, "**/items/*/image", 10**6, 0)
    visitor.page.goto(f"{url}/#/user/u1")
    visitor.page.get_by_role("textbox", name="Key").fill(key)
    visitor.page.get_by_role("button", name="Go on").click()
    expect(visitor.page.locator(READY).first.locator("svg.tile, img")).not_to_have_count(0)
    expect(visitor.page.locator(f"{READY} svg.tile").first).to_be_visible()


@pytest.mark.parametrize("status", [0, 429, 500, 503, 504])
def test_trying_again_is_offered_where_it_can_help_and_does(visit, status):
    visitor = visit()
    fail(visitor.page, "**/candidates?*", 1, status)
    page = visitor.go("user/u1", ".lists [role=alert]")
    expect(page.get_by_role("alert")).to_contain_text("not now" if status else "The service does not answer.")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(READY)
    assert len(visitor.ids()) == 10


@pytest.mark.parametrize("status", [400, 403, 404, 413, 422])
def test_trying_again_is_not_offered_for_a_refusal(visit, status):
    visitor = visit()
    fail(visitor.page, "**/candidates?*", 1, status)
    page = visitor.go("user/u1", ".lists [role=alert]")
    expect(page.get_by_role("alert")).to_contain_text("not now")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)


def test_a_key_can_be_entered_later_and_a_wrong_one_is_told(visit, locked_site):
    url, key = locked_site
    visitor = visit(url=url)
    page = visitor.page
    page.goto(f"{url}/#/user/u1")
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text("This service needs a key")
    page.keyboard.press("Escape")
    expect(page.locator(".lists [role=alert] p")).to_have_text("This service needs a key.")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    page.get_by_role("button", name="Enter a key").click()
    page.get_by_role("textbox", name="Key").fill("wrong")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text("The key is none of this service")
    page.get_by_role("textbox", name="Key").fill(key)
    page.get_by_role("button", name="Go on").click()
    page.wait_for_selector(READY)


def test_what_is_no_json_is_a_failure_that_may_pass(visit):
    visitor = visit()
    visitor.page.route("**/candidates?*", lambda route: route.fulfill(status=200, body="<html>"), times=1)
    page = visitor.go("user/u1", ".lists [role=alert]")
    expect(page.get_by_role("alert")).to_contain_text("The answer cannot be read.")
    page.get_by_role("button", name="Try again").click()
    page.wait_for_selector(READY)


def test_an_item_is_shown_and_one_that_nobody_answers_for_too(visit):
    visitor = visit()
    page = visitor.go("map", ".nearby li")
    fail(page, "**/items?*", 1)
    page.locator("#map-search").fill("Title 6")
    page.get_by_role("button", name="Title 6", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Title 6", exact=True).click()
    expect(dialog.locator("dt").first).to_have_text("genres")
