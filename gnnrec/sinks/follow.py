"""A training and those who follow it. What fails there is said once and left out; the training goes on."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from gnnrec.errors import UserError, first_line
from gnnrec.sinks.mlflow_sink import MlflowSink
from gnnrec.sinks.wandb_sink import WandbSink

Say = Callable[[str], None]


class Sink(Protocol):
    """Made of where it writes, the folder of the run and the settings by their full names."""

    def log(self, row: Mapping[str, float]) -> None:
        """One epoch, under the number in `epoch`."""

    def finish(self, metrics: Mapping[str, float]) -> None:
        """The training came to its end: its metrics on validation."""

    def stop(self) -> None:
        """The training was stopped or failed; the same one may go on later."""


SINKS: dict[str, Callable[[str, Path, Mapping[str, Any]], Sink]] = {"mlflow": MlflowSink, "wandb": WandbSink}


class Sinks:
    """All sinks of one training, by what was typed for them."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.open: dict[str, Sink] = {}

    def add(self, typed: str, folder: Path, settings: Mapping[str, Any]) -> None:
        """Raises UserError for what can be seen to be wrong at once: another kind, no place, a missing package."""
        kind, _, where = typed.partition(":")
        if kind not in SINKS or not where:
            raise UserError(f"--track: found {typed!r}; allowed: {', '.join(f'{name}:WHERE' for name in SINKS)}")
        try:
            self.open[typed] = SINKS[kind](where, folder, settings)
        except UserError:
            raise
        except Exception as error:
            self._give_up(typed, error)

    def log(self, history: Sequence[Mapping[str, float]]) -> None:
        """As `fit` calls it: with all rows so far, of which the last is new."""
        self._tell(lambda sink: sink.log(history[-1]))

    def finish(self, metrics: Mapping[str, float]) -> None:
        self._tell(lambda sink: sink.finish(metrics))
        self.open.clear()

    def stop(self) -> None:
        self._tell(lambda sink: sink.stop())

    def _tell(self, call: Callable[[Sink], None]) -> None:
        for typed, sink in list(self.open.items()):
            try:
                call(sink)
            except Exception as error:  # whatever their clients raise: a training is worth more than its log elsewhere
                del self.open[typed]
                self._give_up(typed, error)

    def _give_up(self, typed: str, error: Exception) -> None:
        self.say(f"--track {typed}: not followed any more, the training goes on: {first_line(error)}")


@contextmanager
def follow(track: Sequence[str], folder: Path, recipe: Mapping[str, Any], say: Say) -> Iterator[Sinks]:
    """The sinks that `track` names, for the training into `folder` with the settings `recipe`, by section and key."""
    settings = {f"{section}.{key}": value for section, part in recipe.items() for key, value in part.items()}
    sinks = Sinks(say)
    for typed in track:
        sinks.add(typed, folder, settings)
    try:
        yield sinks
    finally:
        sinks.stop()  # of those that have finished none is left
