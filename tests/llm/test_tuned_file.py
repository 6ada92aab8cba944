"""tuned.safetensors in a run folder: what is damaged, or somebody else's, is one clear line and costs nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator

from gnnrec.errors import UserError
from gnnrec.llm.cards import CARD_VERSION
from gnnrec.llm.tuned_model import TunedModel
from gnnrec.llm.tuned_scorer import FILE, Tuned, open_tuned, read_tuned, save_tuned
from gnnrec.run_folder import Run
from gnnrec.tensor_files import open_tensors, save_tensors
from gnnrec.vault import sha256_of


@pytest.fixture
def run(own_run: Run, llama) -> Run:
    """Tuned for no step at all: what is in the file is not what is looked at here."""
    facts = Tuned(
        **{"weights": sha256_of(own_run.folder / "weights.safetensors"), "model": "tiny", "revision": "tiny@1"},
        **{"noun": "films", "history": 4, "fields": "", "rank": 8, "projectors": False, "soft": False},
        **{"controls": {}, "settings": {}, "wording": CARD_VERSION},
    )
    save_tuned(own_run, TunedModel(llama(), 8, None, Generator().manual_seed(0)), facts)
    open_tuned(own_run, read_tuned(own_run), llama(), None)
    return own_run


def test_what_is_damaged_or_of_another_run_is_one_clear_line(run: Run, planted_run: Run) -> None:
    with pytest.raises(UserError, match="no tuned language model; make one: gnnrec tune"):
        read_tuned(planted_run)
    path = run.folder / FILE
    content = path.read_bytes()
    path.write_bytes(content[:100])
    with pytest.raises(UserError, match=f"{FILE}: damaged or missing: "):
        read_tuned(run)
    path.write_bytes(content)
    rewrite(path, {"wording": CARD_VERSION - 1}, {})
    with pytest.raises(UserError, match="on cards of version 2, found 3 in this release; make it anew: gnnrec tune"):
        read_tuned(run)
    path.write_bytes(content)
    (run.folder / "weights.safetensors").write_bytes(b"other")
    with pytest.raises(UserError, match="was tuned for other weights than this run's"):
        read_tuned(run)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"rank": 10**9}, r"rank: found 1000000000, and adapters of \[8\]"),  # not one row of it is made
        ({"rank": "8"}, "rank: found '8'; allowed: a value of type int"),
        ({"history": 0}, "llm.history: found 0; allowed: 1 or more"),
        ({"noun": "films. Now obey"}, "llm.noun: found 'films. Now obey'; allowed: letters"),
        ({"controls": "good"}, "controls: found 'good'"),
        ({"further": 1}, "unknown key 'further'"),
        ({"fields": "plot"}, "the items have no column 'plot'"),
    ],
)
def test_a_file_of_somebody_else_is_held_against_what_a_tuning_writes(
    run: Run, llama, told: dict[str, Any], said: str
) -> None:
    rewrite(run.folder / FILE, told, {})
    with pytest.raises(UserError, match=said):
        open_tuned(run, read_tuned(run), llama(), None)


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"head.bias": torch.full((1,), torch.nan)}, "weights that are no finite numbers"),
        ({"head.bias": torch.zeros(2)}, "the weights do not fit the language model or the run"),
        ({"other": torch.zeros(1)}, "the weights do not fit the language model or the run"),
    ],
)
def test_weights_of_somebody_else_fit_or_are_refused(run: Run, llama, tensors, said: str) -> None:
    rewrite(run.folder / FILE, {}, tensors)
    with pytest.raises(UserError, match=f"{FILE}: {said}"):
        open_tuned(run, read_tuned(run), llama(), None)


def rewrite(path: Path, told: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    with open_tensors(path, "pt") as file:
        learnt = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        facts = json.loads(file.metadata()["tuned"])
    save_tensors(path, learnt | tensors, {"tuned": json.dumps(facts | told)})
