"""Trainings on the shipped movies by the command itself: two workers, by torchrun and by Ray, do what one process does.

So they do where a worker is killed by -9, and where others go on. (scripts/bench/distributed.py does the same with
data that is not shipped.) LightGCN from factors is near its best after few epochs, so that NDCG@20 says something.
"""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from started import (
    PATIENCE,
    Watch,
    command,
    descendants,
    finished,
    listening,
    on_loopback,
    rows,
    saved_epochs,
    wait_for,
    watched,
)

from gnnrec.pipeline import evaluate
from gnnrec.run_folder import Run

MOVIES = Path(__file__).parents[2] / "data" / "movies"
EPOCHS = 6
SETTINGS = ["model.name=lightgcn", "model.dim=16", "model.start=factors", "encoders.text=none", "encoders.image=none"]
SETTINGS += ["train.precision=float32", f"train.epochs={EPOCHS}", "train.validate_every=2"]
ENGINES = {"torchrun": ["--nproc", "2"], "ray": ["--nproc", "2", "--engine", "ray"]}
WORKERS = {"torchrun": "spawn_main", "ray": "RayTrainWorker"}  # words of their command lines
DASHBOARD = 8265  # its port
START = "train", MOVIES, "--out"


def training(out: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    return command(*START, out, *more, "--set", *SETTINGS, **environment)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone") / "run"
    finished(training(out))
    return out


def same(found: Path, expected: Path) -> None:
    ours, theirs = rows(found), rows(expected)
    assert [row["epoch"] for row in ours] == [row["epoch"] for row in theirs] == list(range(1, EPOCHS + 1))
    assert [row["loss"] for row in ours] == pytest.approx([row["loss"] for row in theirs], rel=1e-6)
    one, other = (Run.load(out) for out in (found, expected))
    for split in ("val", "test"):
        ndcg = [evaluate(run, split_name=split).metrics["ndcg@20"] for run in (one, other)]
        assert ndcg[0] == pytest.approx(ndcg[1], abs=0.002) and ndcg[1] > 0.04


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Watch, Path]]:
    """Engine -> the folder of an undisturbed training by two, what was seen of it, and its home; made once.

    RAY_ADDRESS names an address where nobody listens.
    """
    made: dict[str, tuple[Path, Watch, Path]] = {}

    def of(engine: str) -> tuple[Path, Watch, Path]:
        if engine not in made:
            folder = tmp_path_factory.mktemp(engine)
            (folder / "home").mkdir()
            with socket.socket() as nobody:
                nobody.bind(("127.0.0.1", 0))
                address = f"127.0.0.1:{nobody.getsockname()[1]}"
                where = {"HOME": str(folder / "home"), "RAY_ADDRESS": address}
                process = training(folder / "run", *ENGINES[engine], **where)
                seen = watched(process)
            finished(process)
            made[engine] = folder / "run", seen, folder / "home"
        return made[engine]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_two_workers_train_what_one_process_does(alone: Path, watch: Any, engine: str) -> None:
    same(watch(engine)[0], alone)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_nobody_listens_but_on_loopback(watch: Any, engine: str) -> None:
    _, seen, _ = watch(engine)
    assert any(WORKERS[engine] in told for told in seen.command_lines)
    assert {end for end in seen.listened if not on_loopback(end[0])} == set()
    if engine == "ray":  # what is there to be seen was seen
        assert {"gcs_server", "raylet"} <= {name for _, _, name in seen.listened}


@pytest.mark.slow
def test_ray_shows_no_dashboard_and_leaves_nothing_at_home(watch: Any) -> None:
    """Ray starts the program all the same, for its statistics (which are off), without the server and its modules."""
    _, seen, home = watch("ray")
    programs = [told for told in seen.command_lines if "dashboard/dashboard.py" in told]
    assert all("--modules-to-load=UsageStatsHead --disable-frontend" in told for told in programs)
    assert DASHBOARD not in {port for _, port, _ in seen.listened}
    assert not (home / ".ray").exists()


def test_a_socket_on_all_interfaces_would_be_seen() -> None:
    """Else the test above could not fail."""
    program = (
        "import socket, sys; s = [socket.create_server((a, 0), family=f) for a, f in {}]; "
        "print(flush=True); sys.stdin.read()"
    )
    ends = "[('0.0.0.0', socket.AF_INET), ('127.0.0.1', socket.AF_INET)]"
    typed = [sys.executable, "-c", program.format(ends)]
    with subprocess.Popen(typed, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = {address for address, _, _ in listening([psutil.Process(process.pid)])}
        process.kill()
    assert found == {"0.0.0.0", "127.0.0.1"}
    assert [on_loopback(address) for address in ("0.0.0.0", "::", "192.0.2.1", "127.0.0.1", "::1")] == [False] * 3 + [
        True
    ] * 2
    assert on_loopback("::ffff:127.0.0.1") and not on_loopback("::ffff:192.0.2.1")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_killed_in_the_middle_costs_nothing_that_is_finished(alone: Path, tmp_path: Path, engine: str) -> None:
    out = tmp_path / "run"
    process = training(out, *ENGINES[engine])
    wait_for(process, lambda: saved_epochs(out) >= 2, PATIENCE)
    known, workers = saved_epochs(out), descendants(process, WORKERS[engine])
    old = rows(out)[:known]
    assert len(workers) == 2 and known < EPOCHS
    workers[1].send_signal(signal.SIGKILL)
    others = wait_for(process, lambda: [one for one in descendants(process, WORKERS[engine]) if one not in workers])
    assert others
    finished(process)
    assert rows(out)[:known] == old  # with their seconds: they were not made again
    same(out, alone)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("ray", None), (None, "ray")])
def test_others_go_on_with_a_checkpoint(alone: Path, tmp_path: Path, first: str | None, then: str | None) -> None:
    out = tmp_path / "run"
    process = training(out, *ENGINES.get(first or "", []))
    wait_for(process, lambda: saved_epochs(out) >= 2, PATIENCE)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    last = err.splitlines()[-1]
    assert process.returncode == 1 and last.startswith("gnnrec: stopped")
    assert last.endswith("; the state is saved and the same command goes on")
    known = saved_epochs(out)
    old = rows(out)[:known]
    assert known < EPOCHS
    finished(training(out, *ENGINES.get(then or "", [])))
    assert rows(out)[:known] == old
    same(out, alone)


@pytest.fixture
def cluster() -> Iterator[subprocess.Popen[str]]:
    """Two machines; the first line that it prints is their address."""
    program = Path(__file__).with_name("two_machines.py")
    typed = [sys.executable, "-W", "ignore", program]
    with subprocess.Popen(typed, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            started = descendants(process, "")
            process.communicate()
            for one in started:
                with suppress(psutil.Error):  # gone, as most are
                    one.kill()


@pytest.mark.slow
def test_a_cluster_that_loses_a_machine_goes_on_with_the_other(
    alone: Path, cluster: subprocess.Popen[str], tmp_path: Path
) -> None:
    """Ray Train is elastic there: it starts as many workers as there are places, up to --nproc."""
    assert cluster.stdout is not None
    address, out = cluster.stdout.readline().strip(), tmp_path / "run"
    assert address
    on_loopback_alone = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
    process = training(out, *ENGINES["ray"], "--address", address, **on_loopback_alone)
    wait_for(process, lambda: saved_epochs(out) >= 2, PATIENCE)
    known, workers = saved_epochs(out), descendants(cluster, WORKERS["ray"])
    old = rows(out)[:known]
    assert len(workers) == 2 and known < EPOCHS
    [kept] = [one.ppid() for one in descendants(cluster, "TrainController")]  # where the command itself is
    [lost] = [one for one in workers if one.ppid() != kept]
    machine = psutil.Process(lost.ppid())
    for one in (machine, *machine.children(recursive=True)):
        one.kill()
    others = wait_for(process, lambda: set(descendants(cluster, WORKERS["ray"])) - set(workers))
    assert [one.ppid() for one in others] == [kept]
    finished(process)
    assert rows(out)[:known] == old
    same(out, alone)
