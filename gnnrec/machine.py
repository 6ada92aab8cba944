"""The machine that a run was made on, the libraries, and the code itself."""

import hashlib
import os
import platform
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch

import gnnrec

CODE = Path(gnnrec.__file__).parent
PROC = Path("/proc")  # of Linux; elsewhere processor and memory stay unknown
DIGITS = 16  # of the hash of the code: enough to tell versions apart


def machine() -> dict[str, Any]:
    memory = told_by("meminfo", "MemTotal")  # "16384 kB", which are KiB
    return {
        "platform": platform.platform(),
        "processor": told_by("cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "memory_gb": None if memory is None else round(int(memory.split()[0]) * 1024 / 1e9, 1),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def told_by(name: str, key: str) -> str | None:
    """The value of the first line `key: value` of a file of /proc; None where there is no such file or line."""
    try:
        text = (PROC / name).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(rf"^{key}\s*:\s*(\S.*?)\s*$", text, re.MULTILINE)
    return found and found.group(1)


def versions() -> dict[str, str]:
    import scipy
    import torch_geometric

    return {
        "gnnrec": gnnrec.__version__,
        "code": code_hash(CODE),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_geometric": torch_geometric.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def code_hash(folder: Path) -> str:
    """Of all Python files below a folder, by name and content: a version number says nothing of what was changed since.

    Reads some hundred files, so that it is for the making of runs, not for their use.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        for part in (path.relative_to(folder).as_posix().encode(), path.read_bytes()):
            digest.update(len(part).to_bytes(8, "big") + part)  # with its length: no two folders share the bytes
    return f"sha256 {digest.hexdigest()[:DIGITS]}"
