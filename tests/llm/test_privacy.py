"""Nothing about anybody leaves, and nothing of what is looked for is shown: prompts, headers, caches, remarks."""

import ast
import inspect
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from fake_server import Fake, in_order, said, serving
from stub_server import Stub, past

from gnnrec.datasets import Dataset
from gnnrec.language import endpoint, local, local_server
from gnnrec.llm import block_scorer, cards, cosine_scorer, list_scorers
from gnnrec.llm.cards import CardConfig, Cards
from gnnrec.llm.list_scorers import PermutationScorer
from gnnrec.llm.past import Past
from gnnrec.llm.rerank import choose_weight, validation_windows
from gnnrec.llm.settings import LLMConfig
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run

CONFIG = LLMConfig(window=10, cap=9)
KEY = "sk-canary-4711"
SECRETS = ("@example.org", "+49 30 1234567", "born 1970", "female", "lives in Utrecht", KEY, "canary of an account")
TOML = """
name = "private"
[interactions]
path = "log.csv"
rating = "rating"
timestamp = "timestamp"
[items]
path = "items.csv"
text = ["title", "genres"]
[users]
path = "users.csv"
text = ["bio"]
friends = "friends.csv"
[features.text]
path = "text.npy"
[features.user.text]
path = "bio.npy"
"""


@pytest.fixture(scope="module")
def private_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users whose ids are addresses and whose texts say who they are; friends, too."""
    folder, random = tmp_path_factory.mktemp("private"), np.random.default_rng(0)
    users = [f"jane{number}@example.org" for number in range(30)]
    rows = [
        f"{user},film{item},{5 - step % 3},{60 * place + step}"
        for place, user in enumerate(users)
        for step, item in enumerate(random.permutation(24)[:8])
    ]
    (folder / "log.csv").write_text("\n".join(["user,item,rating,timestamp", *rows]) + "\n")
    titles = [f"film{item},Film number {'abcdefghijklmnopqrstuvwx'[item]},Drama|War" for item in range(24)]
    (folder / "items.csv").write_text("\n".join(["item,title,genres", *titles]) + "\n")
    bios = [f"{user},female; born 1970; lives in Utrecht; {SECRETS[1]}; write to {user}" for user in users]
    (folder / "users.csv").write_text("\n".join(["user,bio", *bios]) + "\n")
    pairs = [f"{users[place]},{users[(place + 1) % 30]}" for place in range(30)]
    (folder / "friends.csv").write_text("\n".join(["user,friend", *pairs]) + "\n")
    np.save(folder / "text.npy", random.normal(size=(24, 6)).astype(np.float32))
    np.save(folder / "bio.npy", random.normal(size=(30, 6)).astype(np.float32))
    (folder / "dataset.toml").write_text(TOML)
    few_steps = ("train.epochs=2", "model.dim=8", "train.batch_size=128")
    train(Dataset.load(folder), folder / "run", load_recipe("default", few_steps))
    return folder / "run"


@pytest.mark.guarantee("G14")
@pytest.mark.parametrize("status", [200, 401])
def test_no_person_and_no_key_leaves_or_stays_behind(run_command, private_run, tmp_path, monkeypatch, status):
    monkeypatch.setenv("GNNREC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("GNNREC_LLM_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", SECRETS[-1])  # meant for another server
    monkeypatch.setenv("OPENAI_PROJECT_ID", SECRETS[-1])
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", f"x-account: {SECRETS[-1]}")

    def behave(request):
        if status == 401:
            return 401, {}, json.dumps({"error": {"message": f"wrong key {KEY}"}})
        prompt = request["messages"][-1]["content"]
        return in_order(str)(request) if "Candidates:" in prompt else said('{"titles": ["Film number a"], "text": "x"}')

    user = "jane3@example.org"
    with serving(behave) as fake:
        how = ("--set", "llm.provider=openai", "llm.model=m", f"llm.base_url={fake.url}", "llm.window=8")
        shown = []
        for verb in (("--rerank", "--explain"), ("--generate",)):
            done, out, err = run_command("recommend", private_run, "--user", user, *verb, *how, "llm.phrase=true")
            assert done == 0
            shown += [out.replace(f"for user {user}", ""), err]
    assert len(fake.requests) >= 3
    if status == 200:  # a person's card: what she liked, how much, and of what kind
        (card,) = {text.split("\n\n")[0] for text in prompts_of(fake, "Recommend ")}
        assert re.findall(r"^- Film number \w, rated [45] of 5$", card, re.MULTILINE) == card.splitlines()[1:-1]
        assert re.search(r"counts: genres: Drama (\d), War \1$", card)
    headers = [{name: value for name, value in told.items() if name != "authorization"} for told in fake.headers]
    assert {told["authorization"] for told in fake.headers} == {f"Bearer {KEY}"}
    kept = [path.read_bytes().decode(errors="replace") for path in tmp_path.rglob("*") if path.is_file()]
    everything = json.dumps([fake.requests, headers], ensure_ascii=False) + "".join(kept) + "".join(shown)
    assert [secret for secret in SECRETS if secret in everything] == []
    assert {key for request in fake.requests for key in request} <= {
        *("messages", "model", "temperature", "max_tokens", "response_format")
    }


def prompts_of(fake: Fake, word: str) -> list[str]:
    """Those that hold a word."""
    texts = [request["messages"][-1]["content"] for request in fake.requests]
    return [text for text in texts if word in text]


def retitled(run: Run, user: int) -> Run:
    """The same run, but that another candidate of this user's is what she took in validation."""
    users, items, _, hits = validation_windows(run, 10, 300)
    row = users.tolist().index(user)
    taken = items[row][hits[row]][0]
    other = next(item for item, hit in zip(items[row], hits[row]) if not hit)
    moved = replace(run)
    change = (run.val.user == user) & (run.val.item == taken)
    moved.__dict__["val"] = replace(run.val, item=np.where(change, other, run.val.item))
    return moved


class Recorder:
    """Sees what every scorer sees."""

    name = "recorder"

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.seen: list[tuple[list[int], list[int]]] = []

    def score(
        self, histories: Sequence[Past], windows: Sequence[Sequence[int]], users: Sequence[int]
    ) -> list[np.ndarray]:
        self.seen += [(list(history.items), list(window)) for history, window in zip(histories, windows)]
        return [-np.arange(len(window), dtype=float) for window in windows]


@pytest.mark.guarantee("G9")
def test_what_a_scorer_sees_does_not_depend_on_what_is_looked_for(planted_run: Run) -> None:
    users, *_ = validation_windows(planted_run, 10, 300)
    for user in users[:5].tolist():
        one, other = Recorder(), Recorder()
        truths = [choose_weight(planted_run, one, CONFIG), choose_weight(retitled(planted_run, user), other, CONFIG)]
        assert one.seen == other.seen
        assert truths[0].base != truths[1].base  # what was looked for did change


def stumbling(prompt: str) -> str:
    """Names too little for every third prompt or so, so that it is asked once more."""
    return "1" if sum(prompt.encode()) % 3 == 0 else "10 9 8 7 6 5 4 3 2 1"


@pytest.mark.guarantee("G9", "G10")
def test_prompts_and_retries_are_the_same_whatever_the_truth_is(planted_run: Run) -> None:
    assert planted_run.items is not None
    users, *_ = validation_windows(planted_run, 10, 300)
    asked = []
    for run in (planted_run, retitled(planted_run, int(users[0])), retitled(planted_run, int(users[-1]))):
        stub = Stub(stumbling)
        words = Cards(planted_run.items, lambda text: list(range(len(text.split()))), CardConfig())
        choose_weight(run, PermutationScorer(stub, words, "films"), CONFIG)
        asked.append(stub.prompts)
    assert asked[0] == asked[1] == asked[2]
    assert len(asked[0]) > len(set(asked[0]))  # some were asked again


@pytest.mark.guarantee("G9")
def test_a_thing_taken_in_validation_is_in_no_past(planted_run: Run) -> None:
    """The canary: a title that stands in validation alone never stands among what a person liked."""
    assert planted_run.items is not None
    stub = Stub(stumbling)
    words = Cards(planted_run.items, lambda text: list(range(len(text.split()))), CardConfig(history=99))
    choose_weight(planted_run, PermutationScorer(stub, words, "films"), CONFIG)
    train, val = planted_run.train, planted_run.val
    users, *_ = validation_windows(planted_run, 10, 300)
    histories = {past(prompt) for prompt in stub.prompts}
    expected = {
        tuple(f"Title of {planted_run.item_ids[item]}" for item in train.item[train.user == user][::-1])
        for user in users
    }
    assert histories <= expected
    for user in users:
        held_out = {f"Title of {planted_run.item_ids[item]}" for item in val.item[val.user == user]}
        mine = {f"Title of {planted_run.item_ids[item]}" for item in train.item[train.user == user]}
        assert not held_out & mine


@pytest.mark.guarantee("G10")
@pytest.mark.parametrize(
    "module",
    [block_scorer, cards, cosine_scorer, endpoint, list_scorers, local, local_server],
    ids=lambda m: m.__name__,
)
def test_what_asks_and_asks_again_cannot_know_the_truth(module: ModuleType) -> None:
    """No run, no metric, no split is imported where scores and retries are made."""
    tree = ast.parse(inspect.getsource(module))
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {name for name in names if name} & {"gnnrec.run_folder", "gnnrec.metrics", "gnnrec.pipeline", "gnnrec"}
    words = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    words |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not words & {"val", "test", "hits", "truth", "target"}
