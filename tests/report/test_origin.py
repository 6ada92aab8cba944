"""What a report says of how its run was made: all of it, and as the run's own file has it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import gnnrec
from gnnrec.datasets import Dataset
from gnnrec.fingerprints import fingerprint
from gnnrec.machine import CODE, code_hash
from gnnrec.pipeline import train
from gnnrec.recipe import load_recipe
from gnnrec.report import write_report
from gnnrec.report.origin import origin
from gnnrec.run_folder import Run

SEEDS = ["train.seed=7", "split.method=random", "split.seed=11"]


class Facts(HTMLParser):
    """The names and values of a description list."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.inside, self.words = "", {"dt": list[str](), "dd": list[str]()}
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.inside = tag
        if tag in self.words:
            self.words[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside in self.words:
            self.words[self.inside][-1] += data

    @property
    def told(self) -> dict[str, str]:
        return dict(zip(self.words["dt"], self.words["dd"], strict=True))


@pytest.fixture
def run(tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A small one with seeds of its own, as if by this command."""
    monkeypatch.setattr("sys.argv", ["gnnrec", "train", "tiny", "--set", *SEEDS])
    return train(Dataset.load(tiny_data), tmp_path / "run", load_recipe("popularity", SEEDS))


def test_data_seeds_versions_machine_and_times_are_told(run: Run, tiny_data: Path) -> None:
    told, kept = origin(run), json.loads((run.folder / "run.json").read_text())
    assert told["data sha256"] == fingerprint(Dataset.load(tiny_data))
    assert re.fullmatch("[0-9a-f]{64}", told["data sha256"])
    assert told["seeds"] == "training 7, split 11"
    assert told["command"] == f"gnnrec train tiny --set {' '.join(SEEDS)}"
    libraries = (told["gnnrec"], told["torch"], told["numpy"])
    assert libraries == (gnnrec.__version__, torch.__version__, np.__version__)
    assert told["code"] == code_hash(CODE)
    machine = {name: "none" if value is None else value for name, value in kept["machine"].items()}
    assert {"platform", "processor", "cpus", "memory_gb", "threads", "cuda"} == set(machine)
    assert {name: told[name] for name in machine} == machine
    assert told["made"] == kept["finished"] and re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", told["made"])
    assert told["seconds of training"] == kept["training_seconds"]
    assert told["seconds in all"] == kept["total_seconds"] >= kept["training_seconds"]
    assert told["rows set aside"] == 2 and told["licence of the data"] == "none"
    assert told["items text"] == "given"


def test_all_of_it_stands_in_the_report(run: Run, tmp_path: Path) -> None:
    html = write_report(run.folder, tmp_path / "report.html").read_text(encoding="utf-8")
    shown = Facts(html.partition('<section id="provenance">')[2].partition("</section>")[0]).told
    told = origin(run)
    assert list(shown) == list(told)
    exact = ("data sha256", "seeds", "gnnrec", "code", "torch", "platform", "made", "command", "energy estimate")
    assert {name: shown[name] for name in exact} == {name: told[name] for name in exact}
