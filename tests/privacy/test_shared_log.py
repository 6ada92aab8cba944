"""Two runs that learnt from one feedback log: after one has forgotten somebody, the other one refuses what would rest
on other events than its own, and can forget her, too."""

import json
from pathlib import Path

import pytest
from crowd import HER, SETTINGS, holding, write_people

from gnnrec.datasets import Dataset, read_events
from gnnrec.datasets.feedback import Feedback, open_feedback
from gnnrec.errors import UserError
from gnnrec.files import sha256_of_file
from gnnrec.pipeline import evaluate, train
from gnnrec.privacy.forget import ForgetConfig, forget
from gnnrec.recipe import load_recipe
from gnnrec.run_folder import Run


def hashes(folder: Path) -> list[str]:
    return [sha256_of_file(folder / f"{name}.safetensors") for name in ("weights", "embeddings", "graph")]


@pytest.mark.parametrize(
    ("later", "taken", "refusal"),
    [(0, 3, r"^\S+shared\.jsonl: 3 events, there were 6 before; .* gnnrec forget"), (5, 6, "the data is not what")],
)
def test_the_other_run_refuses_and_forgets_her_too(
    people: Path, tmp_path: Path, later: int, taken: int, refusal: str
) -> None:
    log, data, recipe = tmp_path / "shared.jsonl", Dataset.load(people), load_recipe(overrides=SETTINGS)
    somebody, another = [user for user in data.user_ids if user != HER][:2]

    def told(user: str, number: int) -> str:
        return json.dumps({"user": user, "item": data.item_ids[number], "timestamp": 10_000 + number}) + "\n"

    log.write_text("".join(told(HER if number % 2 else somebody, number) for number in range(6)))
    for name in ("one", "two"):
        train(Dataset.load(people, open_feedback(log)), tmp_path / name, recipe)
    with log.open("a") as file:
        file.writelines(told(another, 6 + number) for number in range(later))
    assert forget(tmp_path / "one", HER, ForgetConfig(erase=True)).complete
    assert [event["user"] for event in read_events(log)] == [somebody] * 3 + [another] * later
    with pytest.raises(UserError, match=refusal):
        evaluate(Run.load(tmp_path / "two"))
    assert forget(tmp_path / "two", HER).complete
    assert holding(HER, tmp_path / "one", tmp_path / "two", log) == []
    clean = write_people(tmp_path / "clean", without=HER)
    train(Dataset.load(clean, Feedback(path=log, num_events=taken)), tmp_path / "never", recipe)
    assert hashes(tmp_path / "two") == hashes(tmp_path / "never")
    assert evaluate(Run.load(tmp_path / "two")).metrics
