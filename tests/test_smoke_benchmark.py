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
    """Measured against the step as it is, in the same turns: what other processes do falls on both alike."""

    def doubled(step):
        def twice():  # a step that passes over everything once more
            step()
            step()

        return twice

    record = dict.fromkeys(kernels, 1.0)
    slowed = {name: (doubled(step), step) for name, (step, _) in kernels.items()}
    found = smoke.slower(slowed, record, looks=(5, 10))  # fewer of them: it stays slow at each
    assert found.keys() == kernels.keys() and all(times > smoke.LIMIT for times in found.values())
    assert smoke.slower({name: (step, step) for name, (step, _) in kernels.items()}, record) == {}
