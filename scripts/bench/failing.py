"""Commands whose k-th write call fails: a layer below the process (failing_calls.c, which needs a C compiler), and what
becomes of a command in it.

What is imported before `under_layer` is imported twice: the process begins anew with the layer before it.
"""

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("failing_calls.c")
LIBRARY = "FAILING_LIBRARY"
ALONE = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS", "MKL_NUM_THREADS"), "1")


def under_layer() -> None:
    """Begin this process anew below the layer, unless it is. Exits where there is no C compiler."""
    if LIBRARY in os.environ:
        return
    library = Path(tempfile.mkdtemp(prefix="failing-")) / "failing_calls.so"
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"{SOURCE.name} needs a C compiler: {error}")
    environment = os.environ | ALONE | {"LD_PRELOAD": str(library), LIBRARY: str(library)}
    os.execve(sys.executable, [sys.executable, "-W", "ignore", *sys.argv], environment)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a piece of work in a process of its own came out."""

    status: int  # of its exit; negative where a signal ended it
    said: str  # on stderr
    calls: int  # that change files below the folder
    found: Any  # what it returned


def alone(work: Callable[[], Any], below: Path, at: int = -1, *, for_good: bool = False) -> Ended:
    """Do it in a forked process whose call number `at` (from 0; -1: none) fails, and where `for_good` all that follow.

    Status 3 and the error in `said` where it raises. What it returns has to be JSON.
    """
    with tempfile.TemporaryDirectory(prefix="failing-") as name:
        counter, said, found = (Path(name) / part for part in ("counter", "said", "found"))
        counter.write_bytes(bytes(8))
        if not (pid := os.fork()):
            _child(work, below, at, for_good, counter, said, found)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        calls = int.from_bytes(counter.read_bytes(), sys.byteorder)
        answer = json.loads(found.read_text()) if found.exists() else None
        return Ended(status, said.read_text(errors="replace"), calls, answer)


def _child(
    work: Callable[[], Any], below: Path, at: int, for_good: bool, counter: Path, said: Path, found: Path
) -> None:
    status = 3
    try:
        for stream, path in ((1, Path(os.devnull)), (2, said)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), stream)
        layer = ctypes.CDLL(os.environ[LIBRARY])
        layer.failing_arm(os.fsencode(below), ctypes.c_long(at), int(for_good), os.fsencode(counter))
        answer = work()
        found.write_text(json.dumps(answer))
        status = answer if isinstance(answer, int) else 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)
