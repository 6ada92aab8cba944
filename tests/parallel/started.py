"""The command in a process of its own, watched and disturbed: for tests of what several processes do together."""

import ipaddress
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from safetensors import safe_open

import gnnrec

PATIENCE = 600  # s; a machine with other work is slow


def command(*typed: Any, **environment: str) -> subprocess.Popen[str]:
    where = {"PYTHONPATH": str(Path(gnnrec.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "gnnrec.cli", *map(str, typed)],
        env=os.environ | where | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    """What it printed, once it has ended well."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    return out


def wait_for(process: subprocess.Popen[str], found: Callable[[], Any], seconds: float = 120) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def descendants(process: subprocess.Popen[str], told: str) -> list[psutil.Process]:
    """Processes that it started, and these in turn, whose command line has these words."""
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if told in " ".join(child.cmdline()):
                found.append(child)
        except psutil.Error:
            continue  # gone meanwhile
    return found


def rows(out: Path) -> list[dict[str, Any]]:
    path = out / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def saved_epochs(out: Path) -> int:
    """Epochs that the checkpoint holds."""
    path = out / "checkpoint.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, framework="np") as file:
        return int(json.loads(file.metadata()["state"])["epoch"])


def listening(processes: Iterable[psutil.Process]) -> set[tuple[str, int, str]]:
    """Address, port and name of the process, by TCP and UDP over IPv4 and IPv6: /proc/net/tcp, tcp6, udp, udp6."""
    found = set()
    for process in processes:
        try:
            name = process.name()
            for end in process.net_connections("inet"):
                if end.status == psutil.CONN_LISTEN or (end.status == psutil.CONN_NONE and end.laddr and not end.raddr):
                    found.add((end.laddr.ip, end.laddr.port, name))
        except psutil.Error:
            continue  # gone meanwhile
    return found


def on_loopback(address: str) -> bool:
    found = ipaddress.ip_address(address)
    return (getattr(found, "ipv4_mapped", None) or found).is_loopback


@dataclass(frozen=True, slots=True)
class Watch:
    """What was seen of a command and all processes that it started."""

    listened: set[tuple[str, int, str]]
    command_lines: set[str]


def watched(process: subprocess.Popen[str]) -> Watch:
    """Until it has ended."""
    seen, end = Watch(set(), set()), time.monotonic() + PATIENCE
    while process.poll() is None:
        assert time.monotonic() < end
        try:
            family = [psutil.Process(process.pid), *descendants(process, "")]
        except psutil.NoSuchProcess:
            break
        seen.listened.update(listening(family))
        for one in family:
            with suppress(psutil.Error):  # gone meanwhile
                seen.command_lines.add(" ".join(one.cmdline()))
        time.sleep(0.2)
    return seen
