"""Every sentence follows from a fact: change the fact, and the sentence changes, in both languages."""

import json
from dataclasses import replace

import pytest

from gnnrec.llm.settings import LLMConfig
from gnnrec.privacy.facts import Asked, gather
from gnnrec.privacy.policy import LANGUAGES, Both, PolicyConfig, data_card, markdown, policy
from gnnrec.run_folder import Run

FLIPS = [
    ({"ratings": True}, "Ratings are kept.", "- 保存评分。"),
    ({"pseudonyms": True}, "pseudonyms, keyed hashes", "以假名"),
    ({"user_columns": ()}, "Nothing else of users", "不以表格保存"),
    ({"user_content": ("text",)}, "Features are computed of your text", "计算特征：text"),
    ({"friends": False}, None, None),
    ({"feedback_events": 3}, "3 events", "3 条"),
    ({"retention_days": 30.0}, "feedback older than 30 days", "超过 30 天的反馈"),
    ({"epsilon": 4.0, "delta": 1e-5}, "epsilon 4, delta 1e-05", "epsilon 4，delta 1e-05"),
    ({"encrypted": True}, "files of the run are encrypted", "模型文件已加密"),
    ({"readable_by_others": False}, "No other account", "其他账户不能读取"),
    (
        {"asked": (Asked("api.example.com", "big", "lists"),)},
        "big on api.example.com is told",
        "api.example.com 上的 big",
    ),
    ({"asked": (Asked("127.0.0.1", "big", "lists"),)}, "big on this machine is told", "本机上的 big"),
    ({"due": 2}, "not yet taken out of this run: 2", "2 名"),
]


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    from crowd import trained, write_people

    folder = tmp_path_factory.mktemp("policy")
    return gather(trained(write_people(folder / "people"), folder / "run"), LLMConfig())


def written(facts, language, told=None):
    return markdown(Both("t", "t"), policy(facts, told or PolicyConfig()), language)


@pytest.mark.parametrize(("change", "en", "zh"), FLIPS)
def test_a_fact_that_changes_changes_its_sentence(facts, change, en, zh):
    for language, sentence in zip(LANGUAGES, (en, zh)):
        before, after = written(facts, language), written(replace(facts, **change), language)
        assert before != after
        assert sentence is None or (sentence in after and sentence not in before)


@pytest.mark.parametrize("name", ["controller", "contact", "purpose", "basis"])
def test_what_the_operator_says_stands_there_and_what_not_is_open(facts, name):
    told = PolicyConfig(**{name: "Said by me"})
    assert "Said by me" in written(facts, "en", told) and "Said by me" in written(facts, "zh", told)
    assert written(facts, "en").count("not stated by the operator") == 4
    assert written(facts, "zh").count("运营者未说明") == 4


def test_the_facts_are_those_of_the_run(facts):
    assert (facts.users, facts.items, facts.friends, facts.ratings) == (40, 21, True, False)
    assert facts.user_columns == ("age", "city", "avatar") and facts.feedback_events is None
    assert (facts.first, facts.epsilon, facts.asked, facts.due) == ("1970-01-12", None, (), 0)
    assert facts.readable_by_others and not facts.encrypted and not facts.pseudonyms


def test_the_command_reads_settings_and_files(run, tmp_path, one_document, run_command):
    provenance = json.loads((run.folder / "run.json").read_text())
    provenance["privacy"] = {"epsilon": 2.5, "delta": 1e-6}
    (run.folder / "run.json").write_text(json.dumps(provenance))
    run.folder.chmod(0o700)
    (tmp_path / "run.feedback.jsonl").write_text('{"user": "u1", "item": "i1", "timestamp": 5}\n')
    asked = ("llm.provider=openai", "llm.base_url=https://api.example.com/v1", "llm.model=big")
    told = one_document("policy", run.folder, "--out", tmp_path / "out", "--set", "policy.contact=me@x.example", *asked)
    text = (tmp_path / "out" / "policy.en.md").read_text()
    for sentence in ("epsilon 2.5", "No other account", "1 events", "api.example.com", "me@x.example"):
        assert sentence in text
    assert sorted(path.rpartition("/")[2] for path in told["written"]) == [
        *("data_card.en.md", "data_card.zh.md", "policy.en.md", "policy.zh.md")
    ]
    assert run_command("policy", run.folder, "--lang", "fr")[2].endswith("found 'fr'; allowed: en, zh\n")
    assert provenance["dataset"]["fingerprint"] in markdown(
        Both("", ""), data_card(gather(Run.load(run.folder), LLMConfig())), "en"
    )
