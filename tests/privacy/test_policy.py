"""Every sentence follows from a fact: change the fact, and the sentence changes, in both languages."""

import json
import time
from dataclasses import fields, replace

import pytest
from crowd import HER, trained, write_people

from gnnrec.datasets import Dataset
from gnnrec.due import FILE
from gnnrec.llm.settings import LLMConfig
from gnnrec.privacy.facts import Asked, gather
from gnnrec.privacy.policy import LANGUAGES, SERVED, Both, PolicyConfig, ServiceConfig, data_card, markdown, policy
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
    ({"asked": (Asked("h", "m", "cards"),)}, "your ratings of them where there are any", "您的评分（如有）"),
    ({"tracked": ("mlflow",)}, "no ids and no interactions, went to: mlflow", "已发送至：mlflow"),
    ({"due": 2}, "not yet taken out of this run: 2", "2 名"),
]


@pytest.fixture(scope="module")
def facts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policy")
    return gather(trained(write_people(folder / "people"), folder / "run"), LLMConfig())


def written(facts, language, told=None, **service):
    return markdown(Both("t", "t"), policy(facts, told or PolicyConfig(), ServiceConfig(**service)), language)


@pytest.mark.parametrize(("change", "en", "zh"), FLIPS)
def test_a_fact_that_changes_changes_its_sentence(facts, change, en, zh):
    for language, sentence in zip(LANGUAGES, (en, zh)):
        before, after = written(facts, language), written(replace(facts, **change), language)
        assert before != after
        assert sentence is None or (sentence in after and sentence not in before)


@pytest.mark.parametrize("name", [field.name for field in fields(PolicyConfig)])
def test_what_the_operator_says_stands_there_and_what_not_is_open(facts, name):
    told = PolicyConfig(**{name: "Said by me"})
    assert "Said by me" in written(facts, "en", told) and "Said by me" in written(facts, "zh", told)
    unsaid = len(fields(PolicyConfig)) + len(SERVED)
    for language, word in zip(LANGUAGES, ("not stated by the operator", "运营者未说明")):
        assert written(facts, language).count(word) == unsaid
        assert written(facts, language, told).count(word) == unsaid - 1


@pytest.mark.parametrize("name", SERVED)
def test_how_a_service_is_started_is_said_as_it_was_told_and_is_open_else(facts, name):
    for language in LANGUAGES:
        texts = [written(facts, language, **{name: said}) for said in (True, False, None)]
        for text, own in zip(texts, SERVED[name]):
            sentence = getattr(own, language)
            assert [sentence in one for one in texts] == [one is text for one in texts]


def test_nothing_is_said_of_language_models_but_what_is_known(facts):
    for told in (None, True, False):
        assert "No language model" not in written(facts, "en", rerank=told)
        assert "said here only by --set llm" in written(facts, "en", rerank=told)
    external = replace(facts, asked=(Asked("api.example.com", "big", "lists"),))
    assert "said here only by" not in written(external, "en")


@pytest.mark.parametrize(
    ("data", "service", "sentence"),
    [
        (None, None, "keeps feedback without a limit of time, unless"),
        (30.0, None, "drops feedback older than 30 days at its start and daily, unless"),
        (30.0, 7.0, "drops feedback older than 7 days at its start and daily."),
        (30.0, 0.0, "keeps feedback without a limit of time."),
    ],
)
def test_the_limit_of_feedback_is_that_of_the_service_and_else_of_the_data(facts, data, service, sentence):
    assert sentence in written(replace(facts, retention_days=data), "en", retention_days=service)


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
    asked = ("serve.tls=true", "llm.provider=openai", "llm.base_url=https://api.example.com/v1", "llm.model=big")
    told = one_document("policy", run.folder, "--out", tmp_path / "out", "--set", "policy.contact=me@x.example", *asked)
    text = (tmp_path / "out" / "policy.en.md").read_text()
    for sentence in ("epsilon 2.5", "No other account", "1 events", "api.example.com", "me@x.example", "(TLS)"):
        assert sentence in text
    assert sorted(path.rpartition("/")[2] for path in told["written"]) == [
        *("data_card.en.md", "data_card.zh.md", "policy.en.md", "policy.zh.md")
    ]
    assert run_command("policy", run.folder, "--lang", "fr")[2].endswith("found 'fr'; allowed: en, zh\n")
    assert provenance["dataset"]["fingerprint"] in markdown(
        Both("", ""), data_card(gather(Run.load(run.folder), LLMConfig()), ServiceConfig()), "en"
    )


def told_by_the_command(run, tmp_path, one_document):
    out = tmp_path / "told"
    one_document("policy", run.folder, "--out", out)
    return [(out / f"policy.{language}.md").read_text() for language in LANGUAGES]


def test_a_run_under_pseudonyms_says_so(people, key, tmp_path, one_document):
    english, chinese = told_by_the_command(trained(people, tmp_path / "run", key()), tmp_path, one_document)
    assert "Users are kept under pseudonyms" in english and "用户以假名" in chinese
    assert "under their ids" not in english and "以其标识保存" not in chinese


def test_who_is_due_is_counted(run, tmp_path, one_document, run_command):
    assert run_command("forget", run.folder, "--user", HER, "--later")[0] == 0 and (run.folder / FILE).exists()
    english, chinese = told_by_the_command(run, tmp_path, one_document)
    assert "not yet taken out of this run: 1 users" in english and "1 名。" in chinese
    assert HER not in english + chinese


@pytest.mark.parametrize("days_ago", [0, 400])
def test_the_limit_of_the_log_is_held_against_the_calendar(people, tmp_path, one_document, days_ago):
    """Rows of ten days, of which a limit of three keeps those of the last three: counted from the newest one, so that a
    log that ended long ago is as long as ever. The document says how old its oldest row is today."""
    described = people / "dataset.toml"
    described.write_text(described.read_text().replace('timestamp = "time"', 'timestamp = "time"\nretention_days = 3'))
    newest = int(time.time()) - days_ago * 86_400 - 60
    lines = ["user,item,time"]
    lines += [f"u{user},i{(user + age) % 20},{newest - age * 86_400}" for user in range(40) for age in range(10)]
    (people / "log.csv.gz").write_text("\n".join(lines) + "\n")
    described.write_text(described.read_text().replace("log.csv.gz", "log.csv"))
    (people / "log.csv.gz").rename(people / "log.csv")
    dataset = Dataset.load(people)
    assert (dataset.expired, len(dataset.interactions)) == (240, 160)
    english, chinese = told_by_the_command(trained(people, tmp_path / "run"), tmp_path, one_document)
    assert "rows more than 3 days older than the newest one. That is not counted from today" in english
    assert "早 3 天以上" in chinese and "feedback older than 3 days" in english and "超过 3 天的反馈" in chinese
    assert ("its oldest row is 403 days old" in english) == ("已有 403 天" in chinese) == (days_ago == 400)
    assert ("which is more than that" in english) == (days_ago == 400)


@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        ("gnnrec train data --out run", ()),
        ("gnnrec train data --track mlflow:http://host wandb:offline --out run", ("mlflow", "wandb")),
        ("gnnrec train data --tra=wandb:offline", ("wandb",)),
    ],
)
def test_trackers_are_those_of_the_command_that_the_run_keeps(run, command, kinds):
    run.provenance["command"] = command
    assert gather(run, LLMConfig()).tracked == kinds


def test_a_model_that_talks_is_told_more_than_titles(run):
    told = {"provider": "openai", "base_url": "http://h/v1", "model": "m"}
    assert [one.what for one in gather(run, LLMConfig(**told)).asked] == ["cards"]
    assert [one.what for one in gather(run, LLMConfig(**told, past="titles")).asked] == ["lists"]
