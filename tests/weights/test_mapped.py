"""Tables in files train what tables in memory do, to the bit; a killed training goes on from its last checkpoint."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator

from gnnrec.datasets import powerlaw
from gnnrec.errors import UserError
from gnnrec.graph import GraphConfig, build_graph
from gnnrec.models.mf import MF, MFConfig
from gnnrec.training import TrainConfig, Trainer
from gnnrec.vault import encrypt_folder
from gnnrec.weights.mapped import draw_into_file
from gnnrec.weights.undo import UndoLog

sys.path.insert(0, str(Path(__file__).parent))
from problem import QUICK, trained, trainer

SAMPLED = replace(QUICK, fanout=3)
MAPPED = replace(SAMPLED, tables="mapped")
MODELS = ("mf", "lightgcn", "xsimgcl", "modality_gnn")


def equal(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    expected = theirs.state_dict()
    return all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())


@pytest.mark.parametrize("name", MODELS)
def test_in_files_and_in_memory_end_with_the_same_bits(name: str, tmp_path: Path) -> None:
    ours, found = trained(name, MAPPED, checkpoint=tmp_path / "checkpoint.safetensors", settings="s")
    theirs, expected = trained(name, SAMPLED)
    assert equal(ours, theirs)
    for one, other in zip(found.history, expected.history, strict=True):
        assert one | {"seconds": 0} == other | {"seconds": 0}


@pytest.mark.parametrize("name", MODELS)
def test_without_an_average_they_are_those_of_whole_tables(name: str) -> None:
    """xsimgcl apart from nothing: its rows are looked up once in a pass, too."""
    ours, found = trained(name, replace(MAPPED, average=0.0))
    theirs, expected = trained(name, replace(SAMPLED, average=0.0, tables="whole"))
    assert equal(ours, theirs)
    assert [row["loss"] for row in found.history] == [row["loss"] for row in expected.history]
    assert found.history[-1]["ndcg@20"] == pytest.approx(expected.history[-1]["ndcg@20"], abs=1e-9)


def test_an_average_that_catches_up_is_the_one_of_all_steps() -> None:
    config = replace(SAMPLED, epochs=8, batch_size=9, average=0.9)  # 256 updates, beyond the slow beginning
    ours, _ = trained("lightgcn", replace(config, tables="mapped"))
    theirs, _ = trained("lightgcn", replace(config, tables="whole"))
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-4, atol=2e-6)


class Death(BaseException):
    """What nothing catches, as nothing catches SIGKILL."""


@pytest.mark.parametrize("step", [1, 4, 5, 6, 8])
def test_a_training_that_dies_at_a_step_goes_on_to_the_same_bits(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps an epoch: before there is a checkpoint, at the first after one, in the middle, before the last."""
    whole, expected = trained("modality_gnn", MAPPED, checkpoint=tmp_path / "whole" / "checkpoint.safetensors")
    assert expected.updates == 9
    kind, count = type(trainer("mf", QUICK)), 0
    original = kind.step

    def dying(self: Any, batch: torch.Tensor) -> float:
        nonlocal count
        count += 1
        loss = original(self, batch)  # its rows are in the files already
        if count == step:
            raise Death
        return loss

    checkpoint = tmp_path / "dead" / "checkpoint.safetensors"
    with monkeypatch.context() as patched, pytest.raises(Death):
        patched.setattr(kind, "step", dying)
        trained("modality_gnn", MAPPED, checkpoint=checkpoint)
    ours, found = trained("modality_gnn", MAPPED, checkpoint=checkpoint)
    assert equal(ours, whole)
    assert [row["loss"] for row in found.history] == [row["loss"] for row in expected.history]


def test_a_killed_process_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    checkpoint = tmp_path / "dead" / "checkpoint.safetensors"
    code = f"""if True:
        from pathlib import Path
        from problem import kill_in_the_third, trained
        from test_mapped import MAPPED
        trained("lightgcn", MAPPED, checkpoint=Path({str(checkpoint)!r}), on_epoch=kill_in_the_third())
    """
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, capture_output=True)
    assert done.returncode == -9, done.stderr
    assert checkpoint.exists()
    ours, _ = trained("lightgcn", MAPPED, checkpoint=checkpoint)
    whole, _ = trained("lightgcn", MAPPED)
    assert equal(ours, whole)


def own_megabytes() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon"))


def test_what_a_table_needs_is_not_in_memory(tmp_path: Path) -> None:
    """A part of the users' table are 73 MB; in memory there would be five."""
    log = powerlaw(300_000, 1_000, 4_000).interactions.unordered()
    graph = build_graph(log, {}, config=GraphConfig(together=0))
    config = replace(MAPPED, whole_catalogue=1, shared_negatives=50)
    before = own_megabytes()
    model = MF(MFConfig(dim=64), graph, Generator().manual_seed(0), draw_into_file(tmp_path))
    made = Trainer(model, graph, log.rows(np.zeros(0, np.int64)), config, tmp_path / "checkpoint.safetensors")
    for batch in torch.arange(400).split(100):
        made.step(batch)
    with made.weights.averaged(made.state.updates):
        made.weights.keep(0)
    made.save()
    assert own_megabytes() - before < 60
    assert (tmp_path / "checkpoint-tables" / "user.best-0").stat().st_size == 4 * 64 * 300_000


def test_what_a_crash_cut_off_the_log_is_left_out_and_the_rest_taken_back(tmp_path: Path) -> None:
    def parts(values: torch.Tensor) -> dict[str, Any]:
        return {"user": {"weight": values}}

    before = torch.arange(12.0).view(6, 2)
    now = before.clone()
    log = UndoLog(tmp_path / "undo", parts(now))
    for rows, value in (([4, 1], 50.0), ([1, 2], 60.0)):  # row 1 is in it once, as it was first
        log.keep(parts(now), {"user": torch.tensor(rows)})
        now[rows] = value
    log.close()
    size = (tmp_path / "undo").stat().st_size
    with (tmp_path / "undo").open("ab") as file:
        file.write((tmp_path / "undo").read_bytes()[: size // 3])
    again = UndoLog(tmp_path / "undo", parts(now))
    again.take_back(parts(now))
    assert torch.equal(now, before) and (tmp_path / "undo").stat().st_size == size
    again.keep(parts(now), {"user": torch.tensor([4, 2])})  # are in it
    assert (tmp_path / "undo").stat().st_size == size
    content = bytearray((tmp_path / "undo").read_bytes())
    content[-1] ^= 1
    (tmp_path / "undo").write_bytes(content)
    now[:] = 7
    UndoLog(tmp_path / "undo", parts(now)).take_back(parts(now))
    assert now[:, 0].tolist() == [7, 2, 7, 7, 8, 7]  # the second record is damaged: its row 2 stays


def test_a_command_trains_in_files_and_leaves_none(planted_folder: Path, tmp_path: Path, run_command: Any) -> None:
    settings = ["model.name=lightgcn", "model.dim=8", "train.epochs=2", "train.sampling=neighbours"]
    for tables in ("mapped", "whole", "sharded"):
        more = [*settings, f"train.tables={tables}", "train.average=0.0"]
        status, _, err = run_command("train", planted_folder, "--out", tmp_path / tables, "--set", *more)
        assert status == 0, err
    files = [(tmp_path / tables / "weights.safetensors").read_bytes() for tables in ("mapped", "whole", "sharded")]
    assert files[0] == files[1] == files[2]
    assert not [path for path in (tmp_path / "mapped").iterdir() if path.name.startswith(("checkpoint", ".tmp-tables"))]


def test_a_command_cannot_map_what_is_encrypted(
    planted_folder: Path, tmp_path: Path, encryption_key: Path, run_command: Any
) -> None:
    settings = ["--set", "model.name=mf", "train.sampling=neighbours", "train.tables=mapped"]
    status, _, err = run_command("train", planted_folder, "--out", tmp_path / "run", "--encrypt", *settings)
    assert status == 2
    assert "found 'mapped'; allowed in an encrypted run: whole, sharded" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("sign", {"tables": "sharded"}, "train.tables: found 'sharded'; allowed: whole, since Sign has no embeddings"),
        ("vbpr", {"tables": "mapped"}, "train.sampling: found 'neighbours'; allowed: whole, since VBPR"),
    ],
)
def test_who_cannot_have_such_tables_is_one_clear_line(name: str, settings: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        trainer(name, replace(QUICK, **settings))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tables": "split"}, "train.tables: found 'split'; allowed: whole, sharded, mapped"),
        ({"tables": "mapped", "sampling": "whole"}, "allowed: whole, since steps with train.sampling=whole"),
    ],
)
def test_settings_that_cannot_be_are_one_clear_line(settings: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        TrainConfig(**settings)


def test_an_encrypted_run_has_no_mapped_files(tmp_path: Path, encryption_key: Path) -> None:
    encrypt_folder(tmp_path / "run")
    with pytest.raises(UserError, match="found 'mapped'; allowed in an encrypted run: whole, sharded"):
        trainer("mf", MAPPED, checkpoint=tmp_path / "run" / "checkpoint.safetensors")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["data-keys.json"]


def test_blocks_in_an_encrypted_run_are_encrypted_and_read_again(tmp_path: Path, encryption_key: Path) -> None:
    encrypt_folder(tmp_path / "run")
    checkpoint = tmp_path / "run" / "checkpoint.safetensors"
    first = trained("mf", QUICK, checkpoint=checkpoint)[0]
    files = list((tmp_path / "run" / "checkpoint-tables").glob("*.safetensors"))
    assert files and all(path.read_bytes().startswith(b"gnnrec\x00\x01") for path in files)
    assert equal(trained("mf", QUICK, checkpoint=checkpoint)[0], first)


def test_a_checkpoint_of_tables_elsewhere_is_one_of_other_settings(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    whole = replace(SAMPLED, tables="whole", epochs=1)
    trained("mf", whole, checkpoint=path, settings="whole")
    with pytest.raises(UserError, match=r"checkpoint\.safetensors: was made under other settings or data"):
        trained("mf", MAPPED, checkpoint=path, settings="mapped")


def test_lost_files_of_tables_name_what_to_delete(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    trained("mf", replace(MAPPED, epochs=1), checkpoint=path, settings="s")
    shutil.rmtree(tmp_path / "checkpoint-tables")
    with pytest.raises(UserError, match=r"does not belong to the checkpoint; delete checkpoint\.safetensors beside it"):
        trained("mf", MAPPED, checkpoint=path, settings="s")
    path.unlink()
    trained("mf", replace(MAPPED, epochs=1), checkpoint=path, settings="s")  # begins again
