"""What stands on a card, as people read it; and the same item in its dialog."""

import polars as pl
import pytest
from playwright.sync_api import expect

READY = ".lists .card:not(.empty)"
KINDS = ("Horror · War", "Comedy")  # of even and odd items: the second text column
WORDS = "dark, ghosts"  # the third one


def lines(card, name: str) -> list[str]:
    return card.locator(name).all_text_contents()


def test_a_card_shows_title_kinds_words_and_rank(visit, shop):
    visitor, titles = visit(), dict(pl.read_csv(shop / "items.csv").select("item", "title").iter_rows())
    page = visitor.go("user/u1", READY)
    page.wait_for_selector(".strip .card")
    cards = page.locator(READY).all()
    assert len(cards) == 10
    for rank, card in enumerate(cards, start=1):
        id = card.get_attribute("data-id")
        number, title = int(id[1:]), titles[id]
        assert lines(card, "h3") == [title] and card.locator("h3").get_attribute("title") == title
        assert lines(card, ".kinds") == [KINDS[number % 2]]
        assert lines(card, ".rest") == [WORDS]
        assert lines(card, ".rank") == [f"Rank {rank}"]
        assert lines(card, ".actions button") == ["Why", "Similar"]
        for part in ("h3", ".kinds", ".rest", ".rank"):
            expect(card.locator(part)).to_be_visible()
        if number != 3:  # which has no sound
            expect(card.locator("audio")).to_have_attribute("aria-label", f"Listen to {title}")


def test_a_card_of_the_history_shows_the_rating(visit):
    visitor = visit()
    page = visitor.go("user/u1", READY)
    page.wait_for_selector(".strip .card")
    cards = page.locator(".strip .card").all()
    assert len(cards) == len(visitor.json("/history?user=u1&k=20")["items"]) > 4
    for card in cards:
        number = int(card.get_attribute("data-id")[1:])
        assert lines(card, ".note") == [f"rated {1 + number % 5}"]
        assert lines(card, ".kinds") == [KINDS[number % 2]]
        assert lines(card, ".actions button") == ["Similar"]


def test_a_card_that_moved_says_from_where(visit):
    visitor = visit()
    page = visitor.go("user/u1", READY)
    ranks = {item["id"]: rank for rank, item in enumerate(visitor.json("/candidates?user=u1")["items"], start=1)}
    page.get_by_label("Popularity").fill("2")
    page.wait_for_selector(".up, .down")
    told = {}
    for rank, id in enumerate(visitor.ids(), start=1):
        was = ranks[id]
        moved = f" {'▲' if was > rank else '▼'}{abs(was - rank)}, was {was}" if was != rank else ""
        told[id] = [f"Rank {rank}{moved}"]
    cards = page.locator(READY).all()
    assert {card.get_attribute("data-id"): lines(card, ".rank") for card in cards} == told


def test_two_runs_tell_where_the_other_has_it(visit):
    visitor = visit()
    page = visitor.go("user/u1", READY)
    page.get_by_label("Two runs side by side").check()
    page.wait_for_selector(".column:nth-child(2) .card")
    columns = [visitor.ids(f".column:nth-child({place})") for place in (1, 2)]
    for place, other, name in ((0, 1, "second"), (1, 0, "first")):
        for id, card in zip(columns[place], page.locator(f".column:nth-child({place + 1}) .card").all(), strict=True):
            there = columns[other].index(id) + 1 if id in columns[other] else 0
            assert lines(card, ".note") == [f"{name}: rank {there}" if there else f"not in the list of {name}"]


def test_the_music_that_is_shipped_can_be_heard(visit, music_site):
    """As it is: Ogg, with titles and genres of its own and no pictures."""
    visitor = visit(url=music_site)
    page = visitor.go("", READY)
    told = {item["id"]: item for item in visitor.json(f"/items?id={'&id='.join(visitor.ids())}")["items"]}
    cards = page.locator(READY).all()
    assert len(cards) == len(told) >= 5
    for card in cards:
        title, genre = (told[card.get_attribute("data-id")]["fields"][name] for name in ("title", "genre"))
        assert title.lower().startswith(genre) and (lines(card, "h3"), lines(card, ".kinds")) == ([title], [genre])
        expect(card.locator("svg.tile")).to_be_visible()
        seconds = card.locator("audio").evaluate(
            "sound => new Promise((done) => { sound.onloadedmetadata = () => done(sound.duration);"
            " sound.onerror = () => done(-1); sound.preload = 'metadata'; })"
        )
        assert seconds > 1
    visitor.shot("music")


@pytest.mark.parametrize("number", [6, 3])
def test_the_dialog_of_an_item_has_its_words_and_how_often_it_was_taken(visit, number):
    visitor = visit()
    page = visitor.go("map", ".nearby li")
    page.locator("#map-search").fill(f"Title {number}")
    page.get_by_role("button", name=f"Title {number}", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", level=2)).to_have_text(f"Title {number}")
    (item,) = visitor.json(f"/items?id=i{number}")["items"]
    assert dialog.locator("dt").all_text_contents() == ["genres", "tags", "in the log"]
    kinds = ("Horror, War", "Comedy")[number % 2]
    times = f"{item['interactions']} time{'s' * (item['interactions'] != 1)}"
    assert dialog.locator("dd").all_text_contents() == [kinds, WORDS, times]
    assert dialog.locator("audio").count() == (number != 3)


def test_without_titles_items_have_ids_and_a_second_run_has_its_own_titles(visit, bare_site):
    visitor = visit(url=bare_site)
    page = visitor.go("user/u1", READY)
    ids = visitor.ids()
    assert page.locator(f"{READY} h3").all_text_contents() == [f"Item {id}" for id in ids]
    page.get_by_role("button", name="Why").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", level=2)).to_have_text(f"Item {ids[0]}")
    expect(dialog.locator(".sentences li").first).to_contain_text("Because you had “item i")
    page.keyboard.press("Escape")
    page.get_by_label("Two runs side by side").check()
    card = page.locator(".column:nth-child(2) .card").first
    title = card.locator("h3").text_content()
    assert title.startswith("Title ")
    for button, heading in (("Why", title), ("Similar", f"Like {title}, by first")):
        card.get_by_role("button", name=button).click()
        expect(dialog.get_by_role("heading", level=2)).to_have_text(heading)
        page.keyboard.press("Escape")
