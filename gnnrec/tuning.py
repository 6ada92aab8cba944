"""Search of settings by what they are worth on validation, by Optuna: TPE (Bergstra et al. 2011), median pruning.

A study is a folder: study.sqlite (every trial, written when it ends), best.toml (the recipe of the best one so far).
The same call on it goes on: finished trials are kept, an unfinished one is run again, and since every draw depends on
the finished trials alone, a study that was stopped tries what an undisturbed one does. Test rows are not handed to it.
"""

import copy
import fcntl
import functools
import importlib.util
import itertools
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np
from torch_geometric.data import HeteroData

from gnnrec.datasets import Dataset, Split, split
from gnnrec.encoders import EncodersConfig, encode_dataset
from gnnrec.errors import UserError, count, missing_extra
from gnnrec.files import claim_folder, write_text
from gnnrec.fingerprints import content_fingerprint, fingerprint
from gnnrec.graph import GraphConfig
from gnnrec.pipeline import fit_model, training_graph
from gnnrec.recipe import Recipe, load_recipe
from gnnrec.search_space import Axis, Value, parse_search, with_settings
from gnnrec.training import Interrupted
from gnnrec.validation import validation_metric

if TYPE_CHECKING:
    import optuna

FILES = ("study.sqlite", "study.sqlite-journal", "best.toml", "lock")
UNPRUNED = 5  # trials that run to their end before any is stopped early
FAILURES = (ValueError, RuntimeError, MemoryError)  # of one trial: diverged, no inverse, out of memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One combination of settings. A pruned one was stopped early, a failed one has no value."""

    number: int  # from 1
    state: str  # complete | pruned | failed
    value: float | None  # mean of `values`
    values: tuple[float, ...]  # the recipe's train.metric on validation, by seed; of a pruned one, when it was stopped
    seconds: float
    settings: dict[str, Value]
    failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    folder: Path
    metric: str
    trials: tuple[Trial, ...]  # the finished ones, by number
    best: Trial
    recipe: Recipe  # of the best one, as in best.toml

    def to_json(self) -> dict[str, Any]:
        return {
            "study": str(self.folder),
            "recipe": str(self.folder / "best.toml"),
            "metric": self.metric,
            "best": asdict(self.best),
            "trials": [asdict(trial) for trial in self.trials],
        }


def tune_settings(
    dataset: Dataset,
    out: str | Path,
    recipe: Recipe | None = None,
    *,
    search: Sequence[str] = (),
    trials: int = 30,
    minutes: float | None = None,
    seeds: int = 1,
    say: Callable[[str], None] = lambda line: None,
) -> Study:
    """Search the settings of `recipe` that are best on validation by its `train.metric`.

    `search` as in `search_space.parse_search`. The budget, `trials` and `minutes`, is of the study as a whole, over
    all calls; a trial that is on its way when the minutes end does not count and is run again if there are more later.
    A finite search of no more combinations than `trials` is tried whole. Every trial is trained with `seeds` seeds
    from train.seed on; pruning looks at the first. A trial that fails is recorded and kept away from.

    Raises UserError for settings that cannot be searched, for a folder of another study, and where no trial came to an
    end; training.Interrupted after Ctrl-C.
    """
    out, recipe = Path(out), recipe or Recipe()
    for name, number in (("--trials", trials), ("--seeds", seeds), ("--minutes", minutes)):
        if number is not None and not number > 0:
            raise UserError(f"{name}: found {number}; allowed: above 0")
    if importlib.util.find_spec("optuna") is None:
        raise missing_extra("tune", "optuna")
    recipe.refuse_finetuning("tune-settings")
    axes = parse_search(search, recipe)
    claim_folder(out, FILES)
    kept = "could not be written: what is finished is kept and the same command goes on"
    with _locked(out / "lock"), _stored(out / "study.sqlite", kept):
        objective = Objective(dataset, recipe)
        identity = recipe.to_toml() + json.dumps([asdict(axis) for axis in axes]) + f"{seeds} seeds"
        identity += fingerprint(dataset) + content_fingerprint(objective.graph(recipe.encoders, recipe.graph))
        study = _open_study(out / "study.sqlite", identity)
        return _Tuner(out, recipe, axes, trials, seeds, objective, study).run(minutes, say)


def read_study(folder: Path) -> Study:
    """A study as it is on disk. Raises UserError for a folder without one, or without a trial that came to its end."""
    if not (folder / "study.sqlite").is_file() or not (folder / "best.toml").is_file():
        raise UserError(f"{folder}: holds no study; expected a folder made by gnnrec tune-settings")
    if importlib.util.find_spec("optuna") is None:
        raise missing_extra("tune", "optuna")
    trials = _finished(_load(folder / "study.sqlite"))
    recipe = load_recipe(str(folder / "best.toml"))
    best = max((trial for trial in trials if trial.state == "complete"), key=_value)
    return Study(folder=folder, metric=recipe.train.metric, trials=tuple(trials), best=best, recipe=recipe)


class Objective:
    """What a recipe is worth on the validation rows of a dataset. It holds no test rows."""

    def __init__(self, dataset: Dataset, recipe: Recipe) -> None:
        parts = split(dataset, recipe.split_config(dataset))
        if not len(parts.val):
            raise UserError(f"tune-settings: the split of {dataset.name} has no validation rows to choose by")
        nothing = parts.val.rows(np.arange(0))
        self.parts = Split(parts.train, parts.val, nothing)
        self.dataset = replace(dataset, interactions=nothing, published_split=None)
        self.recipe = recipe
        self.features = functools.lru_cache(maxsize=4)(functools.partial(encode_dataset, self.dataset))
        self.graph = functools.lru_cache(maxsize=4)(self._graph)

    def _graph(self, encoders: EncodersConfig, graph: GraphConfig) -> HeteroData:
        recipe = replace(self.recipe, encoders=encoders, graph=graph)
        return training_graph(self.dataset, self.parts, *self.features(encoders), recipe)

    def value(self, recipe: Recipe, on_epoch: Callable[[list[dict[str, float]]], None]) -> float:
        # A copy, so that what a model keeps beside the edges goes with it.
        graph = copy.copy(self.graph(recipe.encoders, recipe.graph))
        model, _ = fit_model(graph, self.parts.val, recipe, on_epoch=on_epoch)
        model.eval()
        return validation_metric(model, graph, self.parts.train, self.parts.val, recipe.train.metric)


class _OutOfTimeError(Exception):
    """The minutes of the study are over."""


class _Tuner:
    """A study on its way."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        axes: Sequence[Axis],
        trials: int,
        seeds: int,
        objective: Objective,
        study: "optuna.Study",
    ) -> None:
        self.folder, self.recipe, self.trials, self.seeds = folder, recipe, trials, seeds
        self.objective, self.study = objective, study
        self.space = {axis.key: _distribution(axis) for axis in axes}
        self.grid: list[dict[str, Value]] = []  # all combinations, where they are no more than the trials
        if all(axis.choices for axis in axes) and math.prod(len(axis.choices) for axis in axes) <= trials:
            choices = itertools.product(*(axis.choices for axis in axes))
            self.grid = [dict(zip(self.space, values)) for values in choices]

    def run(self, minutes: float | None, say: Callable[[str], None]) -> Study:
        finished = self.finished()
        if finished:
            say(f"{self.folder}: goes on after {len(finished)} finished trials")
        spent = sum(trial.seconds for trial in finished)
        deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes - spent
        while (
            len(finished) < self.trials and time.monotonic() < deadline and (not self.grid or self._untried(finished))
        ):
            try:
                self._next_trial(finished, deadline)
            except _OutOfTimeError:
                say("the minutes are over; the trial on its way does not count")
                break
            finished = self.finished()
            say(self._news(finished, deadline))
            self._keep(finished)
        kept = self._keep(finished)
        if kept is None:
            failures = [trial.failure for trial in finished if trial.failure]
            why = f"trial 1: {failures[0]}" if failures else "allow more --minutes, or fewer train.epochs"
            raise UserError(f"{self.folder}: none of {count(len(finished), 'trial')} came to an end; {why}")
        return kept

    def finished(self) -> list[Trial]:
        return _finished(self.study)

    def _untried(self, finished: Sequence[Trial]) -> list[dict[str, Value]]:
        tried = [trial.settings for trial in finished]
        return [settings for settings in self.grid if settings not in tried]

    def _next_trial(self, finished: Sequence[Trial], deadline: float) -> None:
        """Ask for settings, measure them and write down what came out."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState

        self.study.sampler = TPESampler(seed=len(finished), multivariate=True)
        if self.grid and not self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            self.study.enqueue_trial(self._untried(finished)[0])
        trial, began = self.study.ask(self.space), time.monotonic()
        again = next((one for one in finished if one.settings == trial.params), None)
        try:
            if again is not None:  # small spaces are drawn from twice
                state, values, failure = again.state, again.values, again.failure
            else:
                state, values, failure = self._measure(trial, deadline)
        except Interrupted as stopped:
            kept = f"{len(finished)} finished trials are kept and the same command goes on"
            raise Interrupted(f"stopped in trial {len(finished) + 1}; {kept}") from stopped
        trial.set_user_attr("values", values)
        trial.set_user_attr("failure", failure)
        trial.set_user_attr("seconds", time.monotonic() - began)
        if state == "complete":
            self.study.tell(trial, fmean(values))
        else:  # a failed one too: as pruned without a value it stands last, and the sampler keeps away from it
            self.study.tell(trial, state=TrialState.PRUNED)

    def _measure(self, trial: "optuna.Trial", deadline: float) -> tuple[str, tuple[float, ...], str]:
        """State, values by seed, and why it failed."""
        from optuna import TrialPruned

        metric, values = self.recipe.train.metric, list[float]()

        def watch(history: list[dict[str, float]]) -> None:
            if time.monotonic() > deadline:
                raise _OutOfTimeError
            if not values and metric in history[-1]:  # the first seed
                trial.report(history[-1][metric], int(history[-1]["epoch"]))
                if trial.should_prune():
                    raise TrialPruned(history[-1][metric])

        try:
            for seed in range(self.recipe.train.seed, self.recipe.train.seed + self.seeds):
                recipe = with_settings(self.recipe, trial.params | {"train.seed": seed}, "trial")
                values.append(self.objective.value(recipe, watch))
        except TrialPruned as pruned:
            return "pruned", tuple(pruned.args), ""
        except FAILURES as error:
            return "failed", (), str(error) or type(error).__name__
        return "complete", tuple(values), ""

    def _keep(self, finished: Sequence[Trial]) -> Study | None:
        """Write the best recipe so far; None where there is none yet."""
        best = max((trial for trial in finished if trial.state == "complete"), key=_value, default=None)
        if best is None:
            return None
        metric, recipe = self.recipe.train.metric, with_settings(self.recipe, best.settings, "best")
        head = (
            f"# Trial {best.number} of {len(finished)} on {self.objective.dataset.name}: {metric} {best.value:.4f} on "
        )
        write_text(self.folder / "best.toml", f"{head}validation.\n{recipe.to_toml()}")
        return Study(folder=self.folder, metric=metric, trials=tuple(finished), best=best, recipe=recipe)

    def _news(self, finished: Sequence[Trial], deadline: float) -> str:
        """The last trial in one line."""
        last, metric = finished[-1], self.recipe.train.metric
        settings = " ".join(
            f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in last.settings.items()
        )
        state = last.failure or last.state if last.state != "complete" else f"{metric} {last.value:.4f}"
        best = max((_value(trial) for trial in finished if trial.state == "complete"), default=math.nan)
        each = fmean(trial.seconds for trial in finished)
        left = min(each * (self.trials - len(finished)), max(deadline - time.monotonic(), 0))
        left_text = f"{left / 60:.0f} min" if left > 120 else f"{left:.0f} s"
        return (
            f"trial {last.number} of {self.trials}: {settings}: {state}, best {best:.4f}; took {last.seconds:.0f} s, "
            f"at most {left_text} left"
        )


def _value(trial: Trial) -> float:
    return -math.inf if trial.value is None else trial.value


def _short(value: Value) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _finished(study: "optuna.Study") -> list[Trial]:
    from optuna.trial import TrialState

    found = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [_read(number, trial) for number, trial in enumerate(found, start=1)]


def _read(number: int, trial: "optuna.trial.FrozenTrial") -> Trial:
    values, failure = tuple(trial.user_attrs["values"]), trial.user_attrs["failure"]
    return Trial(
        number=number,
        state="failed" if failure else "complete" if trial.state.name == "COMPLETE" else "pruned",
        value=fmean(values) if values else None,
        values=values,
        seconds=trial.user_attrs["seconds"],
        settings=trial.params,
        failure=failure,
    )


def _distribution(axis: Axis) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if axis.choices:
        return CategoricalDistribution(axis.choices)
    if isinstance(axis.low, int) and isinstance(axis.high, int):
        return IntDistribution(axis.low, axis.high, log=axis.log)
    return FloatDistribution(axis.low, axis.high, log=axis.log)


def _load(path: Path) -> "optuna.Study":
    """A new study, or the one that is there. Raises UserError where the file is damaged."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _stored(path, "not a readable study"):
        return optuna.create_study(
            storage=f"sqlite:///{path}",
            study_name="gnnrec",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED),
            load_if_exists=True,
        )


@contextmanager
def _stored(path: Path, trouble: str) -> Iterator[None]:
    """Raises UserError in place of what optuna and SQLAlchemy say of a damaged file or a full disk."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        raise UserError(f"{path}: {trouble} ({str(error.__cause__ or error).splitlines()[0]})") from error


def _open_study(path: Path, identity: str) -> "optuna.Study":
    """The same, of these settings and data; trials that a stopped call left unfinished are closed without a value.

    Raises UserError where it belongs to others.
    """
    import optuna

    study = _load(path)
    if study.user_attrs.setdefault("identity", identity) != identity:
        raise UserError(f"{path.parent}: was made under other settings, search or data; choose another --out")
    study.set_user_attr("identity", identity)
    for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the system lets go of the lock of one that is killed."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{path.parent}: another tune-settings is at work on it") from error
        yield
