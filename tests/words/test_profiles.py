"""Profiles: of training interactions only, kept under all they depend on, and never beyond what was shown."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from fake_server import said, serving

from gnnrec.datasets import Catalog, Dataset, Interactions, split
from gnnrec.datasets.dataset import SplitConfig
from gnnrec.language.endpoint import Budget, Endpoint, NoAnswer
from gnnrec.words import profiles as module
from gnnrec.words.asking import BROKEN
from gnnrec.words.profiles import (
    TEMPLATE,
    Facts,
    Profiles,
    beyond,
    item_facts,
    profile_depends_on,
    prompt_of,
    template,
    user_facts,
    write_profiles,
)
from gnnrec.words.settings import ProfilesConfig

GENRES = ["horror", "romance"]
CONFIG = ProfilesConfig(noun="films", history=4)


@dataclass
class Recorded:
    """A model in the process that answers as it is told, and keeps what it was sent."""

    behave: Callable[[str], str] = lambda prompt: '{"text": "Likes things of this kind."}'
    name: str = "fake@1"
    sent: list[str] = field(default_factory=list)

    def complete(self, system: str, prompt: str, schema: dict[str, object], max_tokens: int) -> str:
        self.sent.append(system + prompt)
        return self.behave(prompt)

    def letter_log_probs(self, system: str, prompt: str) -> dict[str, float]:
        raise AssertionError


def made() -> Dataset:
    """Six users have six films of a genre each in order of time, the last two for val and test; film 12 is a canary
    that stands in val and test only."""
    users, items, times = [], [], []
    for user in range(6):
        own = [2 * step + user % 2 for step in range(4)] + [12, 13]
        for step, item in enumerate(own):
            users.append(user)
            items.append(item)
            times.append(100 * step + user)
    order = np.argsort(times, kind="stable")
    log = Interactions(
        user=np.array(users, dtype=np.int32)[order],
        item=np.array(items, dtype=np.int32)[order],
        num_users=6,
        num_items=14,
        timestamp=np.array(times, dtype=np.int64)[order],
    )
    titles = [f"Film {'abcdefghijkl'[item].upper()}{item}" for item in range(12)] + ["Canary One", "Canary Two"]
    genres = [GENRES[item % 2] for item in range(12)] + ["birds"] * 2
    ids = tuple(f"secret-item-{item}" for item in range(14))
    catalog = Catalog(pl.DataFrame({"item": ids, "title": titles, "genres": genres}), ("title", "genres"))
    return Dataset(
        name="made",
        root=Path(),
        user_ids=tuple(f"secret-user-{user}" for user in range(6)),
        item_ids=ids,
        interactions=log,
        split=SplitConfig(method="leave_last"),
        items=catalog,
    )


def prompts(dataset: Dataset) -> list[str]:
    train = split(dataset, dataset.split).train
    assert dataset.items is not None
    users = [prompt_of("user", facts, "films") for facts in user_facts(dataset.items, train, CONFIG)]
    return users + [prompt_of("item", facts, "films") for facts in item_facts(dataset.items, train)]


def written(server: Recorded | None, cache: Path, config: ProfilesConfig = CONFIG) -> Profiles:
    dataset = made()
    assert dataset.items is not None
    facts = user_facts(dataset.items, split(dataset, dataset.split).train, config)
    titles = [title for title in dataset.items.titles() if title]
    return write_profiles("user", facts, titles, config, server, cache)


def test_g9_nothing_of_val_and_test_is_shown() -> None:
    dataset = made()
    shown = prompts(dataset)
    parts = split(dataset, dataset.split)
    assert set(parts.val.item) | set(parts.test.item) == {12, 13}
    assert "Film A0" in shown[0] and "horror" in shown[0]
    canaries = [place for place, prompt in enumerate(shown) if "Canary" in prompt or "birds" in prompt]
    assert canaries == [6 + 12, 6 + 13]  # their own item profiles, from their own text
    # With the targets replaced by others the prompts are the same, letter by letter.
    log = dataset.interactions
    moved = np.where(log.item >= 12, log.item - 2, log.item).astype(np.int32)
    assert prompts(replace(dataset, interactions=replace(log, item=moved))) == shown


def test_a_template_says_the_facts() -> None:
    dataset = made()
    assert dataset.items is not None
    train = split(dataset, dataset.split).train
    first = user_facts(dataset.items, train, CONFIG)[0]
    assert first == Facts(("horror",), ("Film A0", "Film C2", "Film E4", "Film G6"))
    assert template("user", first) == "Likes horror; lately Film G6, Film E4, Film C2 and Film A0."
    item = item_facts(dataset.items, train)[1]
    assert (item.title, item.about, item.words) == ("Film B1", "Film B1. romance", ("romance",))
    assert template("item", item) == "For people who like romance. Taken together with Film D3, Film F5 and Film H7."
    assert template("user", Facts((), ())) is template("item", Facts((), ())) is None
    assert template("user", Facts((), ("A",))) == "Likes A." and template("item", Facts((), ("A",))) == (
        "For people who like A."
    )
    assert user_facts(dataset.items, train, ProfilesConfig(history=2))[0].titles == ("Film E4", "Film G6")


def test_what_a_user_rated_low_is_nothing_she_likes() -> None:
    dataset = made()
    log = split(dataset, dataset.split).train
    rating = np.where(np.isin(log.item, (2, 6)), 2, 4).astype(np.float32)
    assert dataset.items is not None
    facts = user_facts(dataset.items, replace(log, rating=rating), CONFIG)
    assert facts[0].titles == ("Film A0", "Film E4")
    assert facts[1].titles == ("Film B1", "Film D3", "Film F5", "Film H7")  # nothing in the lower half of the scale


def test_g14_no_id_leaves(tmp_path: Path) -> None:
    dataset = made()
    assert dataset.items is not None
    train = split(dataset, dataset.split).train
    with serving(lambda _: said('{"text": "Likes films of this kind."}')) as fake:
        server = Endpoint(fake.url, "m", Budget(60, 100, 10**6))
        for kind, facts in (
            ("user", user_facts(dataset.items, train, CONFIG)),
            ("item", item_facts(dataset.items, train)),
        ):
            write_profiles(kind, facts, [], CONFIG, server, tmp_path)
        sent = json.dumps(fake.requests)
    # A question a distinct prompt: users 0, 2 and 4 had the same films.
    assert len(fake.requests) == 2 + 8 and "Film A0" in sent
    assert "secret" not in sent and str(tmp_path) not in sent


def test_a_second_call_asks_nothing(tmp_path: Path) -> None:
    first, second = Recorded(), Recorded()
    made_first = written(first, tmp_path)
    assert made_first.counts() == {"fake@1": 6} and len(first.sent) == 2
    assert written(second, tmp_path) == made_first and second.sent == []


def test_g11_failures_are_not_kept_and_cost_no_profile(tmp_path: Path) -> None:
    def broken(prompt: str) -> str:
        raise NoAnswer("no answer in time")

    found = written(Recorded(broken), tmp_path)
    assert found.counts() == {TEMPLATE: 6} and found.texts == written(None, tmp_path).texts
    assert found.failures[:BROKEN] == ("no answer in time",) * BROKEN and len(found.failures) == 6
    empty = written(Recorded(lambda prompt: '{"text": " \\u200b"}'), tmp_path)
    assert empty.counts() == {TEMPLATE: 6} and empty.failures[0] == "the answer was empty"
    assert written(Recorded(), tmp_path).counts() == {"fake@1": 6}


def test_what_the_budget_cuts_off_goes_on_the_next_time(tmp_path: Path) -> None:
    with serving(lambda _: said('{"text": "Likes films."}')) as fake:
        once = Endpoint(fake.url, "m", Budget(60, 1, 10**6))
        found = written(once, tmp_path)  # type: ignore[arg-type]
        assert found.counts() == {f"m@{fake.url}": 3, TEMPLATE: 3} and len(fake.requests) == 1
        assert set(found.failures) <= {"the budget of calls is used up", *found.failures[-1:]}
        again = Endpoint(fake.url, "m", Budget(60, 1, 10**6))
        assert written(again, tmp_path).counts() == {f"m@{fake.url}": 6}  # type: ignore[arg-type]
        assert len(fake.requests) == 2


def test_g11_the_key_changes_with_all_it_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def key(kind: str = "user", prompt: str = "p", name: str = "m@1", **settings: Any) -> str:
        return json.dumps(profile_depends_on(kind, prompt, ProfilesConfig(**settings), name))

    keys = {key(), key("item"), key(prompt="q"), key(name="n@1"), key(name="m@2"), key(revision="2")}
    changes: dict[str, Any] = {
        "VERSION": 99,
        "MAX_TOKENS": 1,
        "TEXT_SCHEMA": {},
        "SYSTEM": {"user": "?", "item": "?"},
        "SAMPLING": {"temperature": 1},
    }
    for name, value in changes.items():
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            keys.add(key())
    assert len(keys) == 6 + len(changes) and key() == key()


PROMPT = prompt_of("user", Facts(("horror", "sci-fi"), ("Alien (1979)", "Speed (1994)")), "films")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("Likes horror and sci-fi, such as Alien (1979).", None),
        ("This person enjoys tense films. They like Alien and Speed.", None),
        ("Liked “Alien” most.", None),
        ("Likes films of 1985.", "number 1985"),
        ("Likes the films of Ridley Scott.", "name 'Ridley'"),
        ("Likes Heat and Alien.", "name 'Heat'"),
        ("He likes horror.", "trait 'he'"),
        ("A young man who likes horror.", "trait 'man'"),
        ("Likes horror, as in the big sleep.", "title 'the big sleep'"),
        ('{"text": ["horror"]}', "sign '{'"),
        ("Write to a@b.", "sign '@'"),
        ("Answer with JSON only.", "name 'JSON'"),
        ("Films this person liked, the newest last: Alien.", "question 'films this person liked'"),
        ("Words that set them apart: horror.", "question 'words that set them'"),
        ("Likes tense horror in space and tense horror in space.", "repeated 'tense horror in space'"),
    ],
)
def test_what_goes_beyond_is_named(text: str, wrong: str | None) -> None:
    found = beyond(text, PROMPT, ["Alien (1979)", "the big sleep", "Up"])
    assert (found == []) if wrong is None else (wrong in found)


def test_what_goes_beyond_is_refused_and_counted(tmp_path: Path) -> None:
    server = Recorded(lambda prompt: '{"text": "She likes Canary One."}')
    found = written(server, tmp_path)
    assert (found.refused, found.counts()) == (6, {TEMPLATE: 6})
    assert written(server, tmp_path) == found and len(server.sent) == 2  # an answer is an answer: not asked again
