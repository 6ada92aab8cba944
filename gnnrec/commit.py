"""Several files that change together: readers find all of the old ones or all of the new ones.

The new files are first written and fsynced beside the old ones, in a folder of their own. Its rename to COMMITTED is
the moment at which they count; then each takes its place. Who dies in between has left COMMITTED behind, and the next
reader or writer of the folder finishes the work (`finish`): a redo log, as databases have it. Renaming the whole folder
instead would not do where it is a mount point, or holds what is somebody else's.
"""

import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from gnnrec.errors import UserError
from gnnrec.files import KEYS, sync_folder, sync_tree, writing

COMMITTED = ".committed"
GONE = ".gone"  # folder in it: an empty file for each name that is to go away


@contextmanager
def together(target: Path, replaced: Collection[str] = ()) -> Iterator[Path]:
    """Yield a folder to write files into; on a clean exit they take their places in `target`, all or none of them.

    replaced: names of files in `target` that go away unless they were written anew. Raises UserError where the folder
    cannot be made or the disk is full.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        finish(target)
        staged = Path(tempfile.mkdtemp(prefix=".tmp-", dir=target))
        if (target / KEYS).exists():
            shutil.copyfile(target / KEYS, staged / KEYS)  # what is written there is encrypted, too
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from error
    try:
        yield staged
        with writing(target):
            (staged / KEYS).unlink(missing_ok=True)
            written = {path.name for path in staged.iterdir()}
            (staged / GONE).mkdir()
            for name in replaced:
                if name not in written and (target / name).exists():
                    (staged / GONE / name).touch()
            sync_tree(staged)
            staged.replace(target / COMMITTED)
            sync_folder(target)
            finish(target)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def finish(target: Path) -> None:
    """Bring to an end what a writer that died had committed; as often as it takes. Raises OSError where it cannot."""
    committed = target / COMMITTED
    if committed.is_symlink() or not committed.is_dir():
        return
    for path in sorted(committed.iterdir()):
        if path.name == GONE:
            for gone in path.iterdir():
                (target / gone.name).unlink(missing_ok=True)
        else:
            path.replace(target / path.name)
    sync_folder(target)
    shutil.rmtree(committed)
    sync_folder(target)
