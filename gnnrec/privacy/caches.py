"""What the caches of this machine hold of one user."""

import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from pathlib import Path

from gnnrec.datasets import Dataset
from gnnrec.encoders.cache import cache_file
from gnnrec.encoders.encode import MODALITIES, content_hash
from gnnrec.encoders.pretrained import cache_root
from gnnrec.errors import UserError
from gnnrec.llm.settings import CACHE as RERANKING
from gnnrec.run_folder import Run
from gnnrec.words.asking import FILE as WRITTEN
from gnnrec.words.content import CACHE as WORDS
from gnnrec.words.content import PROFILE


def content_of(dataset: Dataset, user: str) -> set[str]:
    """The keys under which features of her own texts, pictures and sounds are kept."""
    if dataset.users is None or user not in dataset.user_ids:
        return set()
    row = dataset.user_ids.index(user)
    contents = [dataset.users.content(modality)[row] for modality in MODALITIES]
    return {content_hash(content) for content in contents if content is not None}


def cached_files() -> list[Path]:
    """Everything in the caches that could be about a user; pretrained weights are not."""
    return [cache_root() / name for name in ("features", RERANKING, WORDS) if (cache_root() / name).is_dir()]


def count_features(keys: Collection[str]) -> int:
    """How many `drop_features` would delete."""
    return _of_features("SELECT COUNT(*)", keys, lambda found: int(found.fetchone()[0]))


def drop_features(keys: Collection[str]) -> int:
    """Delete these contents' features, of every encoder, from the bytes of the files too; returns how many."""
    return _of_features("DELETE", keys, lambda found: found.rowcount)


def _of_features(verb: str, keys: Collection[str], number: Callable[[sqlite3.Cursor], int]) -> int:
    found = 0
    for path in sorted((cache_root() / "features").glob("*.sqlite")) if keys else []:
        try:
            with closing(sqlite3.connect(path, timeout=60)) as connection:
                connection.execute("PRAGMA secure_delete=ON")
                with connection:
                    marks = ",".join("?" * len(keys))
                    found += number(connection.execute(f"{verb} FROM features WHERE content IN ({marks})", [*keys]))
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise UserError(f"{path}: the cache of features cannot be changed ({error}); it may be deleted") from error
    return found


def drop_profiles(run: Run) -> None:
    """Delete all features of the encoder that read the users' profiles, where the run has these: a profile is a
    sentence about what somebody took, and cannot be told from the texts beside it. They are made anew."""
    encoder = run.provenance["encoders"]["users"].get(PROFILE)
    if encoder is not None:
        for path in (cache_root() / "features").glob(f"{cache_file(Path(), encoder).name}*"):
            path.unlink()


def answers() -> list[Path]:
    """Files of all that language models answered, and of what was computed for lists."""
    root = cache_root()
    files = [*(root / RERANKING).rglob("*"), *(root / WORDS).glob(f"{WRITTEN}*")]
    return [path for path in files if path.is_file()]


def drop_answers() -> None:
    """Delete these: they are kept by hashes of prompts that tell what somebody took, so hers cannot be told from
    others'. It is asked and computed anew."""
    for path in answers():
        path.unlink(missing_ok=True)
