"""The arithmetic of a plan by hand, and its memory beside what tensors there are."""

from collections.abc import Callable

import pytest

from gnnrec.errors import UserError
from gnnrec.plan import SIZES, Curve, Rates, Workload, batch_of, memory, plan, step_seconds
from gnnrec.training import TrainConfig

FLAT = Rates(
    gather=Curve(sizes=SIZES, seconds=(1e-9,) * 4),
    dense=Curve(sizes=SIZES, seconds=(2e-9,) * 4),
    softmax=1e-12,
    batch=1e-8,
    overhead=1e-3,
    build=Curve(sizes=(1_000, 10_000_000), seconds=(1e-7, 1e-7), grows=True),
    rank=1e-11,
    base_bytes=5e8,
)
WORK = Workload(users=60_000, items=40_000, interactions=5_000_000, dim=10, layers=2, epochs=3)


def test_a_step_by_hand() -> None:
    assert batch_of(WORK, TrainConfig()) == (100_000, 4096)
    products = 4 * 2 * 5e6 * 10 * 1e-9
    expected = products + 1e6 * 2e-9 + 1e5 * 4096 * 10 * 1e-12 + 1e5 * 10 * 1e-8 + 1e-3
    assert step_seconds(WORK, FLAT) == pytest.approx(expected)


def test_memory_by_hand() -> None:
    found = memory(WORK, FLAT)
    assert found["graph"] == 88 * 5e6 and found["process"] == 5e8
    making, training = 32 * 1e6 + 40 * 5e6, 28 * 1e6 + 32 * 1e5 * 10 + 2 * 2**22
    assert sum(found.values()) == 5e8 + 88 * 5e6 + max(making, training)
    assert memory(Workload(users=1, items=10, interactions=1, features=7), FLAT)["content"] == 280


def test_machines_traffic_and_hours_by_hand() -> None:
    all_bytes = sum(memory(WORK, FLAT).values())
    found = plan(WORK, FLAT, machine_bytes=all_bytes / 3.5, gigabits=8.0)
    assert found["machines"] == 4
    assert found["traffic_bytes_per_step"] == 2 * 3 / 4 * 4 * 1e6
    sending = found["traffic_bytes_per_step"] / 1e9
    epoch = 50 * (step_seconds(WORK, FLAT) / 4 + sending)
    assert found["seconds"]["epoch"] == pytest.approx(epoch)
    assert found["hours"] * 3600 == pytest.approx(5e6 * 1e-7 / 4 + 3 * epoch + 6e4 * 4e4 * 10 * 1e-11 / 4)
    assert plan(WORK, FLAT, machine_bytes=all_bytes)["traffic_bytes"] == 0
    with pytest.raises(UserError, match="--machines: found 2; allowed: 4 or more"):
        plan(WORK, FLAT, machine_bytes=all_bytes / 3.5, machines=2)


def test_a_curve_is_interpolated_in_the_logarithm_and_flat_outside() -> None:
    curve = Curve(sizes=(1 << 10, 1 << 20), seconds=(1.0, 3.0))
    assert [curve.at(size) for size in (1, 1 << 15, 1 << 30)] == pytest.approx([1.0, 2.0, 3.0])
    growing = Curve(sizes=(1 << 10, 1 << 20), seconds=(1.0, 3.0), grows=True)
    assert growing.at(1 << 30) == pytest.approx(5.0)


def test_the_command_refuses_what_is_no_count(run_command: Callable) -> None:
    status, _, err = run_command("plan", "--users", "1.5", "--items", "3", "--interactions", "4")
    assert status == 2 and "found '1.5'; allowed: a whole number" in err
