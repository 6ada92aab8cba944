"""What an item's text can do where a model writes: profiles, lists, reasons, captions (G6). Every text of the corpus is
a title in what the model is shown, and what a model says that obeys it."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fake_server import said, serving
from payloads import PAYLOADS
from PIL import Image
from stub_server import Stub

from gnnrec.datasets import Catalog, Interactions
from gnnrec.encoders import EncodersConfig
from gnnrec.language.sanitize import CONTROL, TAG, UNSEEN, clean_text
from gnnrec.llm.cards import CardConfig, Cards
from gnnrec.llm.evidence import Evidence
from gnnrec.llm.list_writer import ListWriter, ServerWriter
from gnnrec.llm.past import Past
from gnnrec.llm.phrase import Phraser
from gnnrec.llm.sentences import explain
from gnnrec.recommend import Recommender
from gnnrec.run_folder import Run
from gnnrec.words.asking import LONGEST
from gnnrec.words.describe import OFFLINE, describe
from gnnrec.words.profiles import item_facts, prompt_of, user_facts, write_profiles
from gnnrec.words.settings import DescribeConfig, ProfilesConfig

pytestmark = pytest.mark.guarantee("G6")
EVERY = pytest.mark.parametrize("number", range(len(PAYLOADS)))
PLAIN, PLACE = "which is plain", 2  # what stands where the text does; whose title it is in
PROFILES = ProfilesConfig(noun="films", history=4)


def titles(text: str) -> list[str]:
    names = [f"Film {letter}" for letter in "ABCDEFGH"]
    names[PLACE] += f" {text}"
    return names


def catalogue(text: str) -> Catalog:
    return Catalog(pl.DataFrame({"title": titles(text)}), ("title",))


def is_harmless(text: str) -> bool:
    """It has nothing in it but words that can be seen."""
    seen = all(letter == "\n" or unicodedata.category(letter) not in UNSEEN for letter in text)
    return seen and not CONTROL.search(text) and not TAG.search(text)


def check_prompts(own: list[str], plain: list[str]) -> None:
    """The text stands within its line, and is nothing but words there."""
    assert own and len(own) == len(plain)
    for prompt, other in zip(own, plain):
        assert is_harmless(prompt) and len(prompt.splitlines()) == len(other.splitlines())
        changed = [line for line, was in zip(prompt.splitlines(), other.splitlines()) if line != was]
        assert all("Film C" in line for line in changed)


def words(text: str) -> list[int]:
    return list(range(len(text.split())))


def log() -> Interactions:
    """Even users had the even films, odd ones the odd films."""
    user, item = np.nonzero(np.add.outer(np.arange(6), np.arange(8)) % 2 == 0)
    return Interactions(user=user.astype(np.int32), item=item.astype(np.int32), num_users=6, num_items=8)


def profile_prompts(text: str) -> list[str]:
    """Without the words that set them apart, which are counted over all texts."""
    facts = [("user", one) for one in user_facts(catalogue(text), log(), PROFILES)]
    facts += [("item", one) for one in item_facts(catalogue(text), log())]
    return [prompt_of(kind, one._replace(words=()), "films") for kind, one in facts]


@EVERY
def test_profiles_are_asked_for_with_words_alone(number: int) -> None:
    own, plain = profile_prompts(PAYLOADS[number]), profile_prompts(PLAIN)
    check_prompts(own, plain)
    assert [own[user] for user in (1, 3, 5)] == [plain[user] for user in (1, 3, 5)]  # they never had it
    assert own[0] != plain[0]


@EVERY
def test_a_profile_that_obeys_is_plain_text_and_names_nothing(number: int, tmp_path: Path) -> None:
    payload, own = PAYLOADS[number], catalogue(PAYLOADS[number])
    facts, names = user_facts(own, log(), PROFILES), titles(payload)
    for answer in (json.dumps({"text": payload}), json.dumps({"text": f"Likes {clean_text(names[PLACE])}."})):
        server = Stub(lambda _, answer=answer: answer)
        found = write_profiles("user", facts, names, PROFILES, server, tmp_path / str(len(answer)))
        for text, one in zip(found.texts, facts):
            assert text is not None and is_harmless(text) and "\n" not in text and len(text) <= LONGEST
            assert "Film C" not in text or any("Film C" in title for title in one.titles)


@EVERY
def test_lists_are_asked_for_with_words_alone(number: int) -> None:
    asked = []
    for text in (PAYLOADS[number], PLAIN):
        server = Stub(lambda _: json.dumps({"titles": ["Film E"]}))
        ServerWriter(server, Cards(catalogue(text), words, CardConfig()), "films").propose(0, Past((PLACE, 3)), [], 4)
        asked.append(server.prompts)
    check_prompts(*asked)


@EVERY
def test_a_list_that_obeys_has_the_thing_once(number: int, tiny_runs: Any) -> None:
    run, payload = Run.load(tiny_runs["default"]), PAYLOADS[number]
    assert run.items is not None
    base = [place.id for place in Recommender(run).recommend("u3", 10)]
    attacker = Recommender(run).recommend("u3", 30)[-1].id
    names = [f"Film {item}" for item in run.item_ids]
    names[run.item_index(attacker)] += f" {payload}"
    cards = Cards(Catalog(pl.DataFrame({"title": names}), ("title",)), words, CardConfig(title_tokens=500))
    shown = cards.title(run.item_index(attacker))
    server = Stub(lambda _: json.dumps({"titles": [shown, shown, payload, shown] * 9}))
    found = ListWriter(run, ServerWriter(server, cards, "films")).recommend(Recommender(run), "u3", 10)
    assert [place.id for place in found] == [attacker, *base[:9]]


ALIKE = Evidence(id=f"had:{PLACE}", kind="had", drop=0.4, item=PLACE, rating=4.5)
OTHER = Evidence(id="had:0", kind="had", drop=0.3, item=0)


def reasons(text: str, answer: str) -> tuple[list[str], list[str], list[str]]:
    """What the model was asked, what is shown, and what the templates say."""
    names, pieces, server = titles(text), [ALIKE, OTHER], Stub(lambda _: answer)
    told = explain(pieces, names.__getitem__)
    found = Phraser(server, names.__getitem__, [clean_text(name) for name in names]).phrase(told, pieces, 4)
    return server.prompts, [one.text for one in found], [one.text for one in told]


@EVERY
def test_reasons_are_asked_for_with_words_alone(number: int) -> None:
    check_prompts(reasons(PAYLOADS[number], "")[0], reasons(PLAIN, "")[0])


@EVERY
def test_a_reason_that_obeys_gives_way_to_the_template(number: int) -> None:
    payload = PAYLOADS[number]
    for answer in (payload, json.dumps({"text": payload}), json.dumps({"evidence": [1, 2], "text": payload})):
        for title in (payload, PLAIN):
            _, shown, templates = reasons(title, answer)
            assert shown == templates


def test_captions_that_obey_are_plain_text(tmp_path: Path) -> None:
    paths = []
    for row in range(len(PAYLOADS)):
        paths.append(tmp_path / f"{row}.png")
        Image.new("RGB", (32, 32), (5 * row, 0, 0)).save(paths[-1])
    catalog = Catalog(pl.DataFrame({"title": ["A"] * len(paths)}), ("title",), {"image": tuple(paths)})
    left = list(PAYLOADS)
    with serving(lambda _: said(json.dumps({"text": left.pop(0)}))) as fake:
        config = DescribeConfig(provider="openai", model="seer", base_url=fake.url)
        found = describe(catalog, {}, EncodersConfig(), config, tmp_path / "words")
    assert len(found.rows) == len(PAYLOADS) and not left
    for row, payload in zip(found.rows, PAYLOADS):
        assert is_harmless(row.text) and "\n" not in row.text and len(row.text) <= LONGEST
        assert clean_text(payload).startswith(row.text) or row.made_by == OFFLINE  # where no word of it was left
    assert found.made_by()[OFFLINE] <= 2
