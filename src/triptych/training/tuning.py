"""Searching recipe settings with Optuna: grids and ranges, shared storage, pruning, resuming."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import optuna

from triptych.config import parse_value
from triptych.errors import RecipeError
from triptych.training.run import Row

Value = str | int | float | bool
Report = Callable[[Row], None]
Run = Callable[[Mapping[str, Value], Report], Sequence[Row]]


@dataclass(frozen=True)
class Choices:
    """A setting that takes one of some values."""

    key: str
    values: tuple[Value, ...]

    def suggest(self, trial: optuna.Trial) -> Value:
        """One of the values."""
        return cast(Value, trial.suggest_categorical(self.key, self.values))


@dataclass(frozen=True)
class Span:
    """A setting that takes any number between two, whole numbers where both ends are."""

    key: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def suggest(self, trial: optuna.Trial) -> Value:
        """A number of the span."""
        if self.whole:
            return trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, log=self.log)


Dimension = Choices | Span


def parse_search(text: str) -> Dimension:
    """Read `key=v1,v2,v3` as choices and `key=low..high`, with `:log` behind it, as a span.

    Raises:
        RecipeError: neither, or a span whose ends do not make sense.
    """
    key, equals, values = text.partition("=")
    key, values = key.strip(), values.strip()
    if not equals or not key or not values:
        raise RecipeError(
            f"--search is {text!r}; expected key=v1,v2 or key=low..high. "
            "For example: --search optimizer.learning_rate=1e-4..1e-1:log"
        )
    if ".." not in values:
        return Choices(key, tuple(parse_value(value.strip()) for value in values.split(",")))
    span, _, scale = values.partition(":")
    low, high = (parse_value(end.strip()) for end in span.split("..", 1))
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not low < high or scale not in ("", "log") or (scale == "log" and low <= 0):
        raise RecipeError(f"--search is {text!r}; expected low..high with low < high, and low > 0 with :log.")
    return Span(key, low, high, log=scale == "log", whole=isinstance(low, int) and isinstance(high, int))


@dataclass(frozen=True)
class Trial:
    """One configuration that was tried.

    Attributes:
        number: from 0.
        params: settings by recipe key.
        value: best value of the monitored metric; None where the trial failed before its first epoch.
        state: `complete`, `pruned`, `failed`, `running`.
        history: a row per epoch.
    """

    number: int
    params: Mapping[str, Value]
    value: float | None
    state: str
    history: Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class Search:
    """How a search stands.

    Attributes:
        trials: in order of their beginning.
        best: the best complete trial; None before one is.
    """

    trials: Sequence[Trial]
    best: Trial | None


@dataclass(frozen=True)
class Limits:
    """How far a search goes.

    Attributes:
        trials: how many in all; None tries a whole grid, or 20 of spans.
        prune: stop trials that do worse than the median of the others at the same epoch.
        seed: of the choice of configurations.
    """

    trials: int | None = None
    prune: bool = True
    seed: int = 0


def search(
    run: Run,
    dimensions: Sequence[Dimension],
    *,
    name: str,
    storage: str,
    monitor: str,
    goal: Literal["min", "max"],
    limits: Limits | None = None,
) -> Search:
    """Try configurations until so many have been tried, those of earlier and parallel calls counted.

    Args:
        run: trains a configuration, reports every epoch's row, and returns all rows.
        dimensions: what to vary. All choices: every combination once. Otherwise: tree-structured Parzen estimator
            (Bergstra et al. 2011) over choices and spans.
        name: of the search in the storage; the same name goes on with it.
        storage: an Optuna storage address, such as `sqlite:///search.db`; processes and machines may share it.
        monitor: metric to optimise.
        goal: whether it should fall or rise.
        limits: how many trials, and whether hopeless ones are stopped.
    """
    limits = limits or Limits()
    prune = limits.prune
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    grid = {d.key: list(d.values) for d in dimensions if isinstance(d, Choices)}
    is_grid = len(grid) == len(dimensions)
    wanted = limits.trials or (math.prod(len(values) for values in grid.values()) if is_grid else 20)
    sampler: optuna.samplers.BaseSampler = (
        optuna.samplers.GridSampler(grid, seed=limits.seed) if is_grid else optuna.samplers.TPESampler(seed=limits.seed)
    )
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        load_if_exists=True,
        direction="minimize" if goal == "min" else "maximize",
        sampler=sampler,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=1)
        if prune
        else optuna.pruners.NopPruner(),
    )
    _check_same_dimensions(study, dimensions)
    best_of = min if goal == "min" else max

    def attempt(trial: optuna.Trial) -> float:
        params = {dimension.key: dimension.suggest(trial) for dimension in dimensions}
        history: list[Row] = []

        def report(row: Row) -> None:
            history.append(row)
            trial.set_user_attr("history", history)
            trial.report(float(row[monitor]), len(history))
            if prune and trial.should_prune():
                raise optuna.TrialPruned

        rows = run(params, report)
        return best_of(float(row[monitor]) for row in rows)

    while _tried(study) < wanted:
        study.optimize(attempt, n_trials=1)
    return _standing(study, best_of)


def _tried(study: optuna.Study) -> int:
    ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return len(study.get_trials(deepcopy=False, states=ended))


def _check_same_dimensions(study: optuna.Study, dimensions: Sequence[Dimension]) -> None:
    asked = sorted(dimension.key for dimension in dimensions)
    for trial in study.get_trials(deepcopy=False):
        known = sorted(trial.params)
        if known and known != asked:
            raise RecipeError(
                f"search {study.study_name!r} varied {', '.join(known)}; expected the same keys, "
                f"and --search gives {', '.join(asked)}. Choose another --name."
            )


def _standing(study: optuna.Study, best_of: Callable[..., float]) -> Search:
    trials = []
    for trial in study.get_trials(deepcopy=False):
        history = trial.user_attrs.get("history", [])
        value = trial.value if trial.value is not None else _last(trial.intermediate_values)
        state = {"complete": "complete", "pruned": "pruned", "fail": "failed"}.get(trial.state.name.lower(), "running")
        trials.append(Trial(trial.number, trial.params, value, state, history))
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        return Search(trials, None)
    best_value = best_of(trial.value for trial in complete if trial.value is not None)
    return Search(trials, next(trial for trial in complete if trial.value == best_value))


def _last(values: Mapping[int, float]) -> float | None:
    return values[max(values)] if values else None


def default_storage(folder: Path) -> str:
    """The address of an SQLite file in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / 'search.db').absolute()}"
