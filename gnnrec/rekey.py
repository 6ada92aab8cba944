"""Another key for what is encrypted: run folders, exports, feedback logs.

The data keys are sealed anew, which takes no time and touches no data. Who kept an old data-keys.json and the old key
can still open what was written up to now; `deep` gives the data a new key, too. Nothing else may write there meanwhile.
"""

from contextlib import nullcontext
from pathlib import Path

from gnnrec import cipher, sealed_log, vault
from gnnrec.cipher import Key
from gnnrec.commit import finish
from gnnrec.errors import UserError
from gnnrec.files import KEYS


def rekey(path: Path, new: Key | None = None, *, deep: bool = False) -> int:
    """Returns how many files were written anew. new: the user's key from now on, by default the one of the environment.

    data-keys.json names the old key or the new one, whenever this is stopped; the same call then ends what was begun,
    file by file. Raises UserError for what is not encrypted, without the old key, and for a file that was changed.
    """
    if path.is_dir():
        finish(path)
    keys = vault.keys_of(path)
    if not keys.exists():
        raise UserError(f"{path}: is not encrypted (no {keys.name})")
    if new is None and not deep:
        raise UserError("rekey: nothing to do; allowed: --new-key FILE, --deep, or both")
    with nullcontext() if path.is_dir() else sealed_log.locked(path):
        envelope = vault.Envelope.load(keys, *([] if new is None else [new]))
        user, data = new or envelope.user, dict(envelope.data)
        if deep and len(data) == 1:  # more than one: a stopped call has drawn the new one
            fresh = Key.new()
            data[fresh.id] = fresh
        current = vault.Envelope(user, data)
        current.save(keys)
        if not deep:
            return 0
        written = _seal_all(path, current)
        vault.Envelope(user, {current.newest.id: current.newest}).save(keys)
        return written


def _seal_all(path: Path, envelope: vault.Envelope) -> int:
    if not path.is_dir():
        sealed_log.seal_anew(path, envelope)
        return 1
    files = [file for file in sorted(path.iterdir()) if file.name != KEYS and not file.name.startswith(".tmp")]
    old = [file for file in files if not cipher.is_sealed_by(_start(file), envelope.newest)]
    for file in old:
        vault.write_bytes(file, vault.read_bytes(file, envelope), envelope)
    return len(old)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(cipher.HEADER)
