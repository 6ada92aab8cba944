"""Sentences are a function of the evidence, and nothing that is not in it passes the check (G12)."""

import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnnrec.language.endpoint import NoAnswer
from gnnrec.llm.evidence import Evidence
from gnnrec.llm.phrase import Phraser
from gnnrec.llm.sentences import explain, unsupported, worth_telling

TITLES = ["Alien (1979)", "Blade Runner", "Aliens", "Heat", "Big", "Alien"]
ITEM = 2


def title(item: int) -> str:
    return TITLES[item]


def had(item: int, drop: float, **more: object) -> Evidence:
    return Evidence(id=f"had:{item}", kind="had", drop=drop, item=item, **more)  # type: ignore[arg-type]


ALIEN = had(0, 0.4, rating=4.5, common=12, alike=(("image", 0.8), ("text", 0.7)))
RUNNER = had(1, 0.3, common=1)
TEXT = Evidence(id="text", kind="content", drop=0.1, modality="text")
FRIEND = Evidence(id="friend:3", kind="friend", drop=0.2)
FRIENDS = [FRIEND, Evidence(id="friend:5", kind="friend", drop=0.1)]


def said(*pieces: Evidence) -> list[str]:
    return [sentence.text for sentence in explain(pieces, title)]


def test_what_is_said_is_what_is_known() -> None:
    assert said(ALIEN, RUNNER, TEXT) == [
        "Because you had “Alien (1979)” (you gave it 4.5, 12 users had both) and “Blade Runner” (1 user had both).",
        "Its picture and text are close to those of “Alien (1979)”.",
    ]
    assert said(RUNNER, TEXT) == ["Because you had “Blade Runner” (1 user had both).", "Its own text speaks for it."]
    assert said(had(3, 1.0)) == ["Because you had “Heat”."]
    assert said(FRIEND) == ["A friend of yours had it."]
    assert said(RUNNER, FRIEND) == ["Because you had “Blade Runner” (1 user had both).", "A friend of yours had it."]
    assert said(RUNNER, *FRIENDS)[1] == "2 friends of yours had it."
    assert len(said(ALIEN, *FRIENDS)) == 2  # the closeness of a thing comes first
    assert said() == []


def test_what_speaks_against_it_or_hardly_for_it_is_not_told() -> None:
    assert said(had(0, -0.2)) == []
    weak = [had(item, drop) for item, drop in ((0, 1.0), (1, 0.01), (3, 0.0))]
    assert [piece.item for piece in worth_telling(weak)] == [0]
    many = [had(item, 1.0 - item / 10) for item in range(5)]
    assert [piece.item for piece in worth_telling(many)] == [0, 1, 2]


def test_neighbours_that_are_not_near_are_not_called_close() -> None:
    far = had(0, 1.0, alike=(("image", 0.29), ("text", 0.31)))
    assert said(far)[1] == "Its text is close to that of “Alien (1979)”."
    assert len(said(had(0, 1.0, alike=(("image", 0.29),)))) == 1


def test_sentences_name_their_evidence() -> None:
    first, second = explain([ALIEN, RUNNER, TEXT], title)
    assert first.evidence == ("had:0", "had:1")
    assert second.evidence == ("had:0",)


@pytest.mark.guarantee("G12")
def test_the_templates_pass_the_check() -> None:
    for pieces in ([ALIEN, RUNNER, TEXT], [RUNNER, TEXT], [FRIEND], FRIENDS, [had(3, 1.0)]):
        for sentence in explain(pieces, title):
            assert unsupported(sentence.text, pieces, ITEM, title, TITLES) == []


@pytest.mark.guarantee("G12")
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("You liked Alien (1979), and Aliens goes well with that.", []),
        ("Aliens is similar to Alien (1979) (you gave it 4.5, 12 users had both).", []),
        ("Its picture and plot are close to those of “Alien (1979)”.", []),
        ("Blade Runner (you gave it 4.5)", ["word 'gave'", "word '4.5'"]),  # a rating of another title
        ("You gave Blade Runner 12.", ["word 'gave'", "word '12.'"]),
        ("Fans of Heat will like this.", ["title 'Heat'", "word 'Fans'", "word 'Heat'"]),
        ("People like it since it is Big, too.", ["word 'People'", "word 'like'", "word 'Big'"]),
        ("13 users had both.", ["word '13'", "word 'users'", "word 'had'"]),
        ("You hated Alien (1979).", ["word 'hated'"]),
        ("Directed by Steven Spielberg.", ["word 'Directed'", "word 'by'", "word 'Steven'", "word 'Spielberg'"]),
        ("Five stars.", ["word 'Five'", "word 'stars'"]),
        ("Its sound is close to that of Alien (1979).", ["word 'sound'", "word 'close'"]),
        ("Your friend had it.", ["word 'friend'", "word 'had'"]),
        ("Visit evil.example to have it.", ["word 'Visit'", "word 'evil'", "word 'example'", "word 'have'"]),
        ("Das ist es.", ["word 'Das'", "word 'ist'", "word 'es'"]),
        ("It is the be\u200bst.", ["word 'best'"]),
        ("He\u200bat is like it", ["title 'Heat'", "word 'Heat'", "word 'like'"]),
        ("Ｈｅａｔ is like it", ["title 'Heat'", "word 'Heat'", "word 'like'"]),
        ("… ; ! -", ["no words"]),
        ("It is it <3 @you #1 $", ["word '<'", "word '3'", "word '@'", "word '#'", "word '1'", "word '$'"]),
    ],
)
def test_foreign_titles_numbers_quotes_and_claims_are_found(text: str, wrong: list[str]) -> None:
    assert unsupported(text, [ALIEN, RUNNER], ITEM, title, TITLES) == wrong


HEAT = had(3, 0.2, rating=1.0, liked=False, alike=(("image", 0.2),))


@pytest.mark.guarantee("G12")
@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("You had Alien (1979), Heat and Blade Runner.", []),
        ("You had both “Alien (1979)” and Heat, so Aliens should suit you.", []),
        ("Since you enjoyed Alien (1979) and Blade Runner, you might like Aliens.", []),
        ("You had Heat. Its plot is close to that of Alien (1979).", []),
        ("It goes with what you had, and with Alien (1979), which you liked.", []),
        ("It goes with Heat, which you enjoyed.", ["enjoyed"]),
        ("It goes with what you liked.", ["liked"]),
        ("It is Aliens, which you had.", ["had"]),
        ("Alien (1979), which you had Aliens.", ["had"]),
        ("Because you had it and it is similar.", ["had", "similar"]),
        ("Because you had Aliens.", ["had"]),  # that is the item itself
        ("You had Alien (1979) and Aliens.", ["had"]),
        ("You had Alien (1979), Heat, and Aliens.", ["had"]),
        ("You liked it.", ["liked"]),
        ("You enjoyed Alien (1979) and Heat.", ["enjoyed"]),  # she gave one of them 1
        ("Alien (1979) liked you.", ["liked"]),
        ("They had Alien (1979).", ["had"]),
        ("People who had Alien (1979) enjoyed Aliens.", ["People", "who", "had", "enjoyed"]),
        ("Aliens is close to Blade Runner.", ["close"]),  # nothing says so
        ("Aliens is close to Alien (1979) and Heat.", ["close"]),  # neighbours, but far ones
        ("Aliens is like Heat.", ["like"]),
        ("Its sound is the same as that of Alien (1979).", ["sound", "same"]),
        ("It is similar.", ["similar"]),
    ],
)
def test_what_she_had_and_liked_and_what_is_alike_has_to_be_in_the_evidence(text: str, wrong: list[str]) -> None:
    found = unsupported(text, [ALIEN, RUNNER, HEAT, TEXT], ITEM, title, TITLES)
    assert found == [f"word {word!r}" for word in wrong]


@pytest.mark.guarantee("G12")
@pytest.mark.parametrize(
    ("text", "friends", "wrong"),
    [
        ("A friend of yours had it.", 1, []),
        ("It fits you since 2 friends of yours had Aliens.", 2, []),
        ("A friend of yours enjoyed it.", 1, ["word 'enjoyed'"]),  # nobody knows
        ("2 friends of yours had you.", 2, ["word 'had'"]),
        ("Friends of yours had it.", 1, ["word 'Friends'", "word 'had'"]),
        ("2 friends of yours had it.", 1, ["word '2'", "word 'friends'", "word 'had'"]),
        ("3 friends of yours had it.", 2, ["word '3'", "word 'friends'", "word 'had'"]),
        ("12 friends of yours had it.", 2, ["word '12'", "word 'friends'", "word 'had'"]),
    ],
)
def test_as_many_friends_are_told_of_as_there_are(text: str, friends: int, wrong: list[str]) -> None:
    assert unsupported(text, FRIENDS[:friends], ITEM, title, TITLES) == wrong


@dataclass
class Talker:
    """Answers what it is told to; keeps what it was asked."""

    answer: str | Exception
    name: str = "talker"
    asked: list[str] = field(default_factory=list)

    def complete(self, system: str, prompt: str, schema: dict[str, object], max_tokens: int) -> str:
        self.asked.append(prompt)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def letter_log_probs(self, system: str, prompt: str) -> dict[str, float]:
        raise AssertionError("nobody asks for letters here")

    def num_tokens(self, text: str) -> int:
        return len(text.split())


def phrased(answer: str | Exception) -> tuple[list[str], int]:
    pieces = [ALIEN, RUNNER, TEXT]
    phraser = Phraser(Talker(answer), title, TITLES)
    found = phraser.phrase(explain(pieces, title), pieces, ITEM)
    assert {name for sentence in found for name in sentence.evidence} == {"had:0", "had:1"}
    return [sentence.text for sentence in found], phraser.refused


def test_other_words_are_shown_where_they_say_nothing_else() -> None:
    words = "You had Alien (1979) and Blade Runner, so Aliens should suit you."
    assert phrased(json.dumps({"text": words})) == ([words], 0)
    assert phrased(f'Sure: ```json\n{{"text": "{words}"}}\n```') == ([words], 0)
    assert phrased(words) == ([words], 0)


@pytest.mark.guarantee("G12")
@pytest.mark.parametrize(
    "answer",
    [
        '{"text": "As you liked Heat, you will like Aliens."}',
        '{"text": "99 users had both."}',
        '{"text": "The best film there is."}',
        '{"text": "“Unforgettable”, says everyone."}',
        '{"text": ""}',
        "a" * 20 + " " + "word " * 100,
    ],
)
def test_words_that_say_more_give_way_to_the_template(answer: str) -> None:
    assert phrased(answer) == (said(ALIEN, RUNNER, TEXT), 1)


TRUE = "You had Alien (1979) and Blade Runner, so Aliens should suit you"
FALSE = (
    "Heat",
    "“Heat”",
    "Big",
    "Casablanca",
    "7",
    "1979",
    "99 %",
    "“so they say”",
    "best",
    "free",
    "5/5",
    "Spielberg",
)


@pytest.mark.guarantee("G12")
@given(st.sampled_from(FALSE), st.integers(0, len(TRUE.split())), st.sampled_from(["", "\u200b", "\n", "**"]))
def test_a_foreign_word_anywhere_brings_the_template_back(lie: str, place: int, noise: str) -> None:
    words = TRUE.split()
    if any(
        name in " ".join([*words[:place][-2:], "|", *words[place:][:2]])
        for name in ("Alien | (1979)", "Blade | Runner")
    ):
        return  # within a title it is no word of its own
    text = " ".join([*words[:place], noise + lie, *words[place:]])
    assert phrased(json.dumps({"text": text})) == (said(ALIEN, RUNNER, TEXT), 1)
    assert phrased(json.dumps({"text": TRUE})) == ([TRUE], 0)


def test_no_answer_is_a_failure_with_its_reason_and_three_are_enough() -> None:
    talker = Talker(NoAnswer("no answer in time"))
    phraser, pieces = Phraser(talker, title, TITLES), [ALIEN, RUNNER, TEXT]
    for _ in range(5):
        assert phraser.phrase(explain(pieces, title), pieces, ITEM) == explain(pieces, title)
    assert (phraser.refused, phraser.failures, len(talker.asked)) == (0, ["no answer in time"] * 3, 3)


def test_nothing_to_say_is_not_phrased() -> None:
    talker = Talker("x")
    assert Phraser(talker, title, TITLES).phrase([], [], ITEM) == []
    assert talker.asked == []
