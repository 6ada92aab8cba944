"""What the fuzzers found (scripts/fuzz), replayed: each file is refused in one line or read, and nothing else."""

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CORPUS = Path(__file__).parent / "corpus"
sys.path.insert(0, str(Path(__file__).parents[1] / "scripts" / "fuzz"))

import targets as fuzz  # noqa: E402

FOUND = sorted(path.relative_to(CORPUS) for path in CORPUS.rglob("*") if path.is_file())
TABLES = (
    *("users.csv", "friends.csv", "log.db", "mmrec/image_feat.npy", "movielens/movies.csv", "movielens/u.item"),
    *("arrow/state.json", "arrow/data.arrow", "arrow/dataset_dict.json", "user-vector", "audit", "model.gguf"),
)
QUICK = ("feedback.jsonl", "keys.json", "encoder.json", "recipe", "checkpoint", "vectors/words.bin", "export/items.npy")
EXAMPLES = 150


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """A target by its name, or by that of the folder of its finds, made once."""
    place, made = tmp_path_factory.mktemp("fuzz"), {}
    makers = {key: make for name, make in fuzz.targets(place) for key in (name, name.replace("/", "_"))}
    with ExitStack() as stack:

        def get(name: str) -> Any:
            if name not in made:
                service = name == "service"
                made[name] = fuzz.service_target(tmp_path_factory.mktemp("s"), stack) if service else makers[name]()
            return made[name]

        yield get


@pytest.mark.parametrize("path", FOUND, ids=str)
def test_what_was_found_stays_mended(target: Callable[[str], Any], path: Path) -> None:
    target(path.parts[0])((CORPUS / path).read_bytes())


@pytest.mark.parametrize(
    "name",
    [
        *QUICK,
        *TABLES,
        "dataset.toml",
        "log.csv",
        "run/run.json",
        "picture",
        "sound",
        "run/lists.safetensors",
        "run/tuned.safetensors",
        "service",
    ],
)
def test_every_seed_is_taken_and_its_damaged_copies_are_refused_or_taken(
    target: Callable[[str], Any], name: str
) -> None:
    read = target(name)
    assert all(map(read, read.seeds))

    @settings(
        max_examples=EXAMPLES if name in QUICK else EXAMPLES // 5,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=[*HealthCheck],
    )
    @given(
        seed=st.sampled_from(read.seeds), place=st.floats(0, 1), inserted=st.binary(max_size=8), cut=st.integers(0, 9)
    )
    def damaged(seed: bytes, place: float, inserted: bytes, cut: int) -> None:
        at = int(place * len(seed))
        read(seed[:at] + inserted + seed[at + cut :])

    damaged()
