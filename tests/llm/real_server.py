"""`transformers serve` on loopback: a server that others wrote."""

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PATIENCE = 60.0  # seconds until it answers; it takes about ten


@contextmanager
def transformers_server(hub: Path) -> Iterator[str]:
    """Its address. The system chooses the port; the process ends with the context, whatever happens."""
    command = (sys.executable, "-m", "transformers.cli.transformers", "serve", "--host", "127.0.0.1", "--port", "0")
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--dtype", "float32"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(hub), "OMP_NUM_THREADS": "1"},
    )
    too_long = threading.Timer(PATIENCE, process.kill)
    too_long.start()
    told: list[str] = []
    try:
        assert process.stderr is not None
        for line in process.stderr:
            told.append(line)
            if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", line):
                break
        else:
            pytest.fail("transformers serve did not start:\n" + "".join(told[-20:]))
        too_long.cancel()
        threading.Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop it
        yield f"{found[1]}/v1"
    finally:
        too_long.cancel()
        process.kill()
        process.wait()
