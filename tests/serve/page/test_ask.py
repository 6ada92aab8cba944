"""Asking by a sentence, a picture or a sound: as far as the run can take it, and what it cannot is said."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

READY = ".lists .card:not(.empty)"


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


@pytest.mark.parametrize("way", ["chosen", "dropped"])
@pytest.mark.parametrize(
    ("kind", "name", "type"), [("image", "11.jpg", "image/jpeg"), ("audio", "23.wav", "audio/wav")]
)
def test_a_picture_alone_and_a_sound_alone_find_their_own_item(visit, shop, way, kind, name, type):
    """Each by itself: beside the other one nobody could tell whether it was sent at all."""
    visitor = visit()
    page = visitor.go("ask", "#sentence")
    if way == "chosen":
        page.set_input_files(f"#file-{kind}", shop / "media" / name)
    else:
        drop(page, shop / "media" / name, type)
    expect(page.locator(".chosen figure")).to_have_count(1)
    with page.expect_response("**/recommend?") as answered:
        page.get_by_role("button", name="Find").click()
    found = [place["id"] for place in answered.value.json()["items"]]
    assert found[0] == f"i{name.partition('.')[0]}" and len(found) == 12
    visitor.expect_ids(found, ".found")


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


def test_only_what_the_run_can_read_is_asked_for(visit, few_words_site, shop):
    visitor = visit(url=few_words_site)
    visitor.page.goto(f"{few_words_site}/page/icon.svg")
    visitor.page.wait_for_function("() => fetch('/ready').then((told) => told.json()).then((state) => state.warm)")
    assert visitor.json("/ready")["asks"] == ["text", "image"]
    page = visitor.go("ask", "#sentence")
    expect(page.locator(".drop")).to_have_count(1)
    expect(page.locator("#file-image")).to_be_visible()
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("alert")).to_have_text("Type something, or choose a picture.")
    drop(page, shop / "media/7.wav", "audio/wav")
    expect(page.locator(".ask .off")).to_have_text("This run cannot read a sound: 7.wav is left out.")
    expect(page.locator(".chosen figure")).to_have_count(0)
    drop(page, shop / "media/7.jpg", "image/jpeg")
    expect(page.locator(".chosen figure")).to_have_count(1)
    expect(page.locator(".ask .off")).to_have_text("")
    page = visitor.go("user/u1", READY)
    page.reload()  # dropped elsewhere, before the view was ever shown
    page.wait_for_selector(READY)
    drop(page, shop / "media/7.wav", "audio/wav")
    expect(page.locator(".ask .off")).to_have_text("This run cannot read a sound: 7.wav is left out.")
    visitor.shot("ask-without-sound")
