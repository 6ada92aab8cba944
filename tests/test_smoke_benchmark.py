"""A training step that got 1.5 times slower fails here; scripts/bench/smoke.py says how it is measured and renewed."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def smoke() -> ModuleType:
    path = Path(__file__).parents[1] / "scripts/bench/smoke.py"
    spec = importlib.util.spec_from_file_location("smoke", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kernels(smoke: ModuleType) -> dict:
    return {name: (smoke.step_of(name), smoke.reference_of(name)) for name in smoke.measurable()}


def test_no_step_is_slower_than_recorded(smoke: ModuleType, kernels: dict) -> None:
    assert smoke.read_record().keys() == smoke.VARIANTS.keys()
    assert smoke.slower(kernels, smoke.read_record()) == {}, "slower; if meant: python scripts/bench/smoke.py --renew"


def test_a_slowed_step_is_found(smoke: ModuleType, kernels: dict) -> None:
    """The record is made anew, since the one on file may be of a step that has become faster since.

    Three times as slow, for a limit of 1.5: what other processes do to either measurement must not decide this test.
    """
    record = smoke.measure(kernels, 15)

    def slowed(step, reference):
        def thrice():  # a step that passes over everything twice more
            for _ in range(3):
                step()

        return thrice, reference

    found = smoke.slower({name: slowed(*pair) for name, pair in kernels.items()}, record, looks=(15,))
    assert found.keys() == kernels.keys() and all(times > smoke.LIMIT for times in found.values())
