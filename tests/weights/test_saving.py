"""A checkpoint of tables is the old one or the new one, whichever call fails while it is written."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "faults"))
from failing import failing
from problem import QUICK, trained, trainer

from gnnrec.training import Trainer


@pytest.mark.parametrize(("tables", "every"), [("sharded", 13), ("mapped", 5)])
def test_whichever_call_fails_the_training_goes_on_to_the_same_bits(tables: str, every: int, tmp_path: Path) -> None:
    """Of all calls every fifth is made to fail, or every thirteenth."""
    config = replace(QUICK, tables=tables, epochs=2)
    whole, _ = trained("mf", config)

    def opened(folder: Path) -> Trainer:
        return trainer("mf", config, checkpoint=folder / "checkpoint.safetensors")

    def step(made: Trainer) -> None:
        """One more of the running epoch, as Trainer.epoch makes it."""
        resumed = made.generator.get_state() if made.state.step else None
        made.generator.set_state(made.epoch_start)
        batch = made._batches()[made.state.step]
        if resumed is not None:
            made.generator.set_state(resumed)
        made.state.loss_sum += made.step(batch)
        made.state.step += 1

    (tmp_path / "old").mkdir()
    first = opened(tmp_path / "old")
    step(first)
    first.save()
    seen, at = set(), 0
    while True:
        folder = tmp_path / str(at)
        shutil.copytree(tmp_path / "old", folder)
        made = opened(folder)
        step(made)
        with failing(at) as layer:
            try:
                made.save()
            except Exception as error:
                assert "No space left on device" in str(error) and "\n" not in str(error)
        seen.add(opened(folder).state.step)
        ours, state = trained("mf", config, checkpoint=folder / "checkpoint.safetensors")
        assert state.updates == 6
        assert all(torch.equal(value, whole.state_dict()[name]) for name, value in ours.state_dict().items())
        shutil.rmtree(folder)
        if len(layer.calls) <= at:
            break
        at += every
    assert seen == {1, 2} and at > 3 * every
