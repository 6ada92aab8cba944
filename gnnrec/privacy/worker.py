"""Private scoring in a process of its own.

SEAL checks what it reads, and yet one damaged ciphertext of some ten thousand ends the process that reads it (an error
while it unwinds from another). So strangers' messages are read by a process that has nothing but the item vectors, and
that is started again when it is gone. Both sides of the pipe speak frames: a length and that many bytes.

As a program: `python -m gnnrec.privacy.worker RUN`. It tells the catalogue's sizes, then answers each message with a
byte, SCORED or REFUSED, and the scores or the reason.
"""

import asyncio
import json
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

from gnnrec.errors import UserError
from gnnrec.privacy.homomorphic import PrivateCatalogue, Refused
from gnnrec.run_folder import Run

LENGTH = struct.Struct("<Q")
SCORED, REFUSED = b"+", b"-"
WAITING = 16  # requests that may wait; more are told to come again


class Overrun(Exception):
    """Too many wait already."""


class ScoringProcess:
    """Scores for one run, one message after the other. Belongs to one event loop."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._one, self._waiting = asyncio.Lock(), 0
        self._process: asyncio.subprocess.Process | None = None
        self._sizes: dict[str, int] = {}

    async def sizes(self) -> dict[str, int]:
        """items, dimensions and most_bytes, of a message. Raises UserError where the run cannot be scored so."""
        async with self._one:
            await self._ready()
        return self._sizes

    async def score(self, message: bytes) -> bytes:
        """Raises Refused for what is no message of this catalogue, and Overrun."""
        if self._waiting >= WAITING:
            raise Overrun
        self._waiting += 1
        try:
            async with self._one:
                process = await self._ready()
                try:
                    answer = await _asked(process, message)
                except (asyncio.IncompleteReadError, OSError) as error:
                    await self._end()
                    raise Refused("a ciphertext is damaged") from error
                except BaseException:  # whoever asks next must not get this answer
                    await self._end()
                    raise
        finally:
            self._waiting -= 1
        if answer[:1] == REFUSED:
            raise Refused(answer[1:].decode())
        return answer[1:]

    async def close(self) -> None:
        async with self._one:
            await self._end()

    async def _ready(self) -> asyncio.subprocess.Process:
        if self._process is not None and self._process.returncode is None:
            return self._process
        command = (sys.executable, "-m", "gnnrec.privacy.worker", str(self.run))
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        try:
            assert self._process.stdout is not None
            self._sizes = json.loads(await _frame(self._process.stdout))
        except asyncio.IncompleteReadError as error:
            assert self._process.stderr is not None
            reason = (await self._process.stderr.read()).decode(errors="replace").strip().splitlines() or ["no reason"]
            await self._end()
            raise UserError(f"serve --private-scoring: {reason[-1]}") from error
        except BaseException:
            await self._end()
            raise
        return self._process

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()


async def _asked(process: asyncio.subprocess.Process, message: bytes) -> bytes:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(LENGTH.pack(len(message)) + message)
    await process.stdin.drain()
    return await _frame(process.stdout)


async def _frame(stream: asyncio.StreamReader) -> bytes:
    return await stream.readexactly(LENGTH.unpack(await stream.readexactly(LENGTH.size))[0])


def main(run: str) -> None:
    source, target = sys.stdin.buffer, sys.stdout.buffer
    catalogue = PrivateCatalogue(Run.load(Path(run)).item_vectors)
    sizes = {"items": catalogue.num_items, "dimensions": catalogue.dim, "most_bytes": catalogue.most_bytes}
    _write(target, json.dumps(sizes).encode())
    while head := source.read(LENGTH.size):
        try:
            answer = SCORED + catalogue.score(source.read(LENGTH.unpack(head)[0]))
        except Refused as error:
            answer = REFUSED + str(error).encode()
        _write(target, answer)


def _write(target: BinaryIO, frame: bytes) -> Any:
    target.write(LENGTH.pack(len(frame)) + frame)
    target.flush()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except UserError as error:
        sys.exit(str(error))
