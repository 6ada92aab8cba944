"""Pseudonyms: a keyed hash in the place of a user's id: who has a run and not the key cannot say whose row it is.

A pseudonym is "~" and 26 letters: the first 16 bytes of HMAC-SHA256 (RFC 2104) of the id, in base32. Without the key it
can neither be turned back nor be found by trying ids; with the key the same id gives the same pseudonym in every run.
That is pseudonymization (GDPR, article 4(5)), not anonymity: what a user took may still give her away.
"""

import base64
import hmac
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from gnnrec.datasets.clean import as_id
from gnnrec.datasets.raw import RawDataset, RawTable
from gnnrec.errors import UserError

KEY, KEY_FILE = "GNNREC_PSEUDONYM_KEY", "GNNREC_PSEUDONYM_KEY_FILE"  # environment: the key, or a file that holds it
LEAST = 16  # bytes of a key
FORM = re.compile("~[a-z2-7]{26}")
OF_PEOPLE = ("--user", "--history")  # options of the command line whose values say something about somebody


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) < LEAST:
            raise UserError(f"{KEY}: found {len(self.key)} bytes; allowed: {LEAST} or more, drawn at random")

    def of(self, name: str) -> str:
        """The pseudonym of an id; of a pseudonym itself, so that nothing is hashed twice."""
        return name if FORM.fullmatch(name) else "~" + self._base32(name)

    @property
    def check(self) -> str:
        """What a run keeps to know its key by; it says nothing about the key."""
        return self._base32("gnnrec: which key")  # of() never gives it: a "~" is missing

    def _base32(self, text: str) -> str:
        digest = hmac.digest(self.key, text.encode(), "sha256")[:16]
        return base64.b32encode(digest).decode().rstrip("=").lower()

    @classmethod
    def from_environment(cls) -> "Pseudonyms | None":
        """None where there is no key. Raises UserError for a file that cannot be read and for a short key."""
        if key := os.environ.get(KEY):
            return cls(key.encode())
        if path := os.environ.get(KEY_FILE):
            try:
                return cls(Path(path).read_bytes().strip())
            except OSError as error:
                raise UserError(f"{KEY_FILE}: {path}: cannot be read ({error.strerror})") from error
        return None

    @classmethod
    def required(cls, check: str | None = None) -> "Pseudonyms":
        """The key of the environment. check: of the run that it has to fit. Raises UserError where there is none."""
        found = cls.from_environment()
        if found is None:
            raise UserError(f"pseudonyms: no key; allowed: {KEY}=KEY or {KEY_FILE}=FILE in the environment")
        if check is not None and found.check != check:
            raise UserError(f"pseudonyms: the key in {KEY} or {KEY_FILE} is not the one that the run was made with")
        return found


def with_pseudonyms(raw: RawDataset, pseudonyms: Pseudonyms) -> RawDataset:
    """The tables with pseudonyms in the columns of user ids; their other columns stay as they are.

    Lines that could not be read are forgotten here, since they may hold an id anywhere.
    """
    log = replace(raw.log, table=_renamed(raw.log.table, [raw.log.user], pseudonyms))
    users = raw.users and replace(raw.users, table=_renamed(raw.users.table, [raw.users.id], pseudonyms))
    friends = raw.friends and _renamed(raw.friends, raw.friends.columns[:2], pseudonyms)
    return replace(raw, log=log, users=users, friends=friends)


def _renamed(table: RawTable, columns: Sequence[str], pseudonyms: Pseudonyms) -> RawTable:
    frame = table.frame
    for name in columns:
        if name not in frame.columns:
            continue  # what reads the column says so
        ids = frame.select(as_id(table, name)).to_series()
        known = ids.drop_nulls().unique()
        told = pl.Series([pseudonyms.of(one) for one in known], dtype=pl.String)
        frame = frame.with_columns(ids.replace_strict(known, told, default=None, return_dtype=pl.String).alias(name))
    return replace(table, frame=frame, rejected=table.rejected.with_columns(value=pl.lit(None, pl.String)))


def without_ids(arguments: Sequence[str]) -> str:
    """A command line as a run may keep it: with … for the values of OF_PEOPLE, however far these are spelled out."""
    shown, hidden = list[str](), False
    for argument in arguments:
        option, equals, _ = argument.partition("=")
        about = len(option) > 2 and any(name.startswith(option) for name in OF_PEOPLE)
        shown.append("…" if hidden else f"{option}=…" if about and equals else argument)
        hidden = about and not equals
    return " ".join(shown)
