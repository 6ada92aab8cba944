"""Let the k-th call fail by which a command writes, for every k: what is there is the old state or the new one.

python scripts/bench/write_faults.py [--most 60] [--only NAME …]     writes rows of results/faults.json

Each command (write_works.py) runs in a process of its own below failing_calls.c, with one call that fails, and for a
third as many k with all later ones, too. Where a command makes more than `--most` calls, as many of them are taken,
evenly spread. After each fault the state has to be the old or the new one and an error one line; the same command again
has to end with the new state.
"""

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

from failing import Ended, alone, under_layer

under_layer()

import faiss  # noqa: E402, F401 (what the commands need is loaded once, before they are forked)
import numpy as np  # noqa: E402
import pyarrow.parquet  # noqa: E402, F401
import tensorboard.summary.writer.record_writer  # noqa: E402, F401
from rows import row, save  # noqa: E402
from works import Work  # noqa: E402
from write_works import WORKS  # noqa: E402

import gnnrec.privacy.forget  # noqa: E402
import gnnrec.update  # noqa: E402, F401
from gnnrec.cipher import new_key_file  # noqa: E402

UNSOUND = "unsound"


class Trials:
    """One command, again and again from what was there before it."""

    def __init__(self, work: Work, place: Path) -> None:
        self.work, self.now, self.kept = work, place / "now", place / "kept"
        os.environ["GNNREC_CACHE"] = str(self.now / "cache")
        for name in ("GNNREC_KEY", "GNNREC_KEY_FILE"):
            os.environ.pop(name, None)
        if work.key is not None:
            new_key_file(place / work.key)
            os.environ["GNNREC_KEY_FILE"] = str(place / work.key)
        prepared = alone(lambda: work.prepare(self.now), self.now)
        assert prepared.status == 0, prepared.said
        (self.now / "cache").mkdir(exist_ok=True)
        self.now.rename(self.kept)
        self.afresh()
        self.old = str(alone(self.found, self.now).found)
        undisturbed = self.run()
        assert undisturbed.status == 0, undisturbed.said
        self.new, self.calls = str(alone(self.found, self.now).found), undisturbed.calls
        for state in (self.old, self.new):
            assert not state.startswith(UNSOUND), state

    def afresh(self) -> None:
        shutil.rmtree(self.now, ignore_errors=True)
        shutil.copytree(self.kept, self.now)

    def run(self, at: int = -1, *, for_good: bool = False) -> Ended:
        return alone(lambda: self.work.command(self.now), self.now, at, for_good=for_good)

    def found(self) -> str:
        """The state, or what is wrong with it."""
        try:
            return self.work.state(self.now)
        except Exception as error:
            return f"{UNSOUND}: {type(error).__name__}: {error}"

    def missing(self) -> str:
        try:
            self.work.done(self.now)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def wrong(self, at: int, for_good: bool) -> list[str]:
        """What is not as it should be after the call number `at` failed."""
        self.afresh()
        ended = self.run(at, for_good=for_good)
        looked = alone(lambda: self.aftermath(ended.status), self.now)
        lines = [] if isinstance(looked.found, list) else [f"nobody could look: {looked.said[-600:]}"]
        if ended.status not in (0, 2) or len(ended.said.splitlines()) != bool(ended.status):
            lines.append(f"exit {ended.status}: {ended.said[-600:]}")
        return lines + (looked.found or [])

    def aftermath(self, status: int) -> list[str]:
        lines, after = list[str](), self.found()
        if after not in (self.old, self.new) or (status == 0 and after != self.new):
            lines.append(f"exit {status}, then {after}")
        complete = after == self.new and not self.missing()
        again = self.work.command(self.now)
        if again and not (again == 2 and complete):  # which may say that there is nothing left to do
            lines.append(f"the same command again: exit {again}")
        if (last := self.found()) != self.new or self.missing():
            lines.append(f"the same command again: {last} {self.missing()}")
        return lines


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=60, help="calls that fail, of one command")
    parser.add_argument("--only", nargs="+", choices=list(WORKS), default=list(WORKS))
    parser.add_argument("--dry", action="store_true", help="write no results")
    options = parser.parse_args()
    for name in options.only:
        began, faults, wrong = time.monotonic(), 0, 0
        with tempfile.TemporaryDirectory(prefix="write-faults-") as place:
            trials = Trials(WORKS[name](), Path(place))
            for for_good, most in ((False, options.most), (True, options.most // 3)):
                for at in np.unique(np.linspace(0, trials.calls - 1, min(most, trials.calls)).astype(int)).tolist():
                    problems = trials.wrong(at, for_good)
                    faults, wrong = faults + 1, wrong + bool(problems)
                    for problem in problems:
                        print(f"{name}, call {at}{' and on' * for_good}: {problem}".replace("\n", " | "), flush=True)
            calls = trials.calls
        spent = time.monotonic() - began
        print(f"{name}: {calls} calls, {faults} faults, {wrong} wrong states, {spent:.0f} s", flush=True)
        counts = {"calls": float(calls), "faults": float(faults), "wrong": float(wrong)}
        if not options.dry:
            save("faults", [row("made data", f"failing calls: {name}", [0], [counts], spent)])


if __name__ == "__main__":
    main()
