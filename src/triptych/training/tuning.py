"""Searching recipe settings with Optuna: grids and ranges, shared storage, pruning, resuming.

Any number of processes may work on one search. A trial counts when it is complete, pruned, running, or failed for a
reason of its own; one that was interrupted or killed does not, and its place is filled again. Trials are numbered by
the storage, each number once, and decisions go by that number: a trial looks only at those before it, so no two take
the same place.
"""

from __future__ import annotations

import itertools
import logging
import random
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from triptych.errors import RecipeError, TrainingError
from triptych.runs.run import Row
from triptych.training.dimensions import Choices, Dimension, Value

Report = Callable[[Row], None]
Run = Callable[[Mapping[str, Value], Report], Sequence[Row]]
HEARTBEAT_S, GRACE_S = 5, 30  # a running trial says so every 5 s; after 30 s of silence its process is taken for dead
POLL_S = 0.2
TRIALS_OF_SPANS = 20
FAILURE, POINT, SURPLUS = "failure", "point", "surplus"  # attributes of trials in the storage
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.RUNNING: "running"}


@dataclass(frozen=True)
class Trial:
    """One configuration that was tried.

    Attributes:
        number: from 0.
        params: settings by recipe key.
        value: best value of the monitored metric; the latest one where the trial was pruned or is running; None where
            no epoch ended.
        state: `complete`, `pruned`, `running`, `failed`, or `stopped` where its process was interrupted or killed.
        history: a row per epoch.
        failure: why it failed.
    """

    number: int
    params: Mapping[str, Value]
    value: float | None
    state: str
    history: Sequence[Mapping[str, float]]
    failure: str = ""


@dataclass(frozen=True)
class Search:
    """How a search stands.

    Attributes:
        trials: in order of their beginning.
        best: the best complete trial; None before one is.
        interrupted: Ctrl-C ended this call.
    """

    trials: Sequence[Trial]
    best: Trial | None
    interrupted: bool = False


@dataclass(frozen=True)
class Limits:
    """How far a search goes.

    Attributes:
        trials: how many in all; None tries a whole grid, or 20 of spans.
        prune: stop trials that do worse than the median of the others at the same epoch.
        seed: of the choice of configurations.
        spared: epochs of every trial before it may be stopped; schedules that rise first need time to show.
    """

    trials: int | None = None
    prune: bool = True
    seed: int = 0
    spared: int = 2


def search(
    run: Run,
    dimensions: Sequence[Dimension],
    *,
    name: str,
    storage: str,
    monitor: str,
    goal: Literal["min", "max"],
    base: str = "",
    limits: Limits | None = None,
) -> Search:
    """Try configurations until so many have been tried, those of earlier and parallel calls counted.

    Args:
        run: trains a configuration, reports every epoch's row, and returns those of the epochs whose model may be kept,
            the best of which is the trial's value. Its TrainingError or RecipeError
            is recorded as that trial's failure.
        dimensions: what to vary. All choices: every combination once. Otherwise: tree-structured Parzen estimator
            (Bergstra et al. 2011) over choices and spans.
        name: of the search in the storage; the same name goes on with it.
        storage: an Optuna storage address, such as `sqlite:///search.db`; processes and machines may share it.
        monitor: metric to optimise.
        goal: whether it should fall or rise.
        base: recipe and data as a text; a search goes on only with the same one.
        limits: how many trials, and whether hopeless ones are stopped.
    Returns:
        All trials, those of other processes included; after Ctrl-C those so far.
    Raises:
        RecipeError: the storage cannot be used, or the search was begun with other settings.
    """
    keys = [key for dimension in dimensions for key in dimension.key.split(",")]
    if len(set(keys)) < len(keys):
        raise RecipeError(f"--search varies {', '.join(keys)}; expected each key once.")
    limits = limits or Limits()
    place, study = _open(name, storage, goal, limits)
    _check_same(study, " ".join(sorted(map(str, dimensions))), base)
    plan = _Plan(dimensions, limits)
    attempt = _Attempt(run, place, study, plan, monitor, min if goal == "min" else max)
    interrupted = False
    try:
        _work(study, plan, attempt)
    except KeyboardInterrupt:
        interrupted = True
    return _standing(study, goal, interrupted=interrupted)


class _Plan:
    """What is to be tried: the points of a grid, or so many draws from spans."""

    def __init__(self, dimensions: Sequence[Dimension], limits: Limits) -> None:
        self.dimensions = dimensions
        self.limits = limits
        grid = [[(d.key, value) for value in d.values] for d in dimensions if isinstance(d, Choices)]
        self.points = [dict(point) for point in itertools.product(*grid)] if len(grid) == len(dimensions) else []
        self.wanted = limits.trials or (len(self.points) or TRIALS_OF_SPANS)
        self.order = list(range(len(self.points)))
        if self.points and self.wanted < len(self.points):
            random.Random(limits.seed).shuffle(self.order)  # a part of the grid is to be spread over all of it
        elif self.points:
            self.wanted = len(self.points)

    def sampler(self, number: int, point: Mapping[str, Value] | None = None) -> optuna.samplers.BaseSampler:
        """What chooses the values of trial `number`: the point of a grid, or draws with a seed of its own."""
        if not self.points:
            return optuna.samplers.TPESampler(seed=(self.limits.seed * 1_000_003 + number) % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.PartialFixedSampler(dict(point or {}), optuna.samplers.RandomSampler())


class _SurplusError(Exception):
    """A trial has no place in the search: others that began before it fill all of them."""


@dataclass(frozen=True)
class _Attempt:
    """Tries one configuration, as Optuna calls it."""

    run: Run
    storage: optuna.storages.RDBStorage
    study: optuna.Study
    plan: _Plan
    monitor: str
    best_of: Callable[[list[float]], float]

    def __call__(self, trial: optuna.Trial) -> float:
        self.storage.record_heartbeat(trial._trial_id)  # Optuna's first comes a little later, from a thread
        earlier = _wait_for_earlier(self.study, trial.number, chosen=bool(self.plan.points))
        if len(earlier) >= self.plan.wanted:  # another process was faster
            trial.set_user_attr(SURPLUS, True)
            raise _SurplusError
        point = None
        if self.plan.points:
            taken = {other.user_attrs[POINT] for other in earlier}
            place = next(place for place in self.plan.order if place not in taken)
            trial.set_user_attr(POINT, place)
            point = self.plan.points[place]
        self.study.sampler = self.plan.sampler(trial.number, point)
        params = {dimension.key: dimension.suggest(trial) for dimension in self.plan.dimensions}
        try:
            rows = self.run(params, _reporter(trial, self.monitor, prune=self.plan.limits.prune))
        except (TrainingError, RecipeError) as error:
            trial.set_user_attr(FAILURE, str(error))
            raise
        return self.best_of([float(row[self.monitor]) for row in rows])


def _reporter(trial: optuna.Trial, monitor: str, *, prune: bool) -> Report:
    history: list[Row] = []

    def report(row: Row) -> None:
        history.append(row)
        trial.set_user_attr("history", history)
        trial.report(float(row[monitor]), len(history))
        if prune and trial.should_prune():
            raise optuna.TrialPruned

    return report


def _work(study: optuna.Study, plan: _Plan, attempt: _Attempt) -> None:
    """Try one configuration after another until enough have ended, those of other processes included."""
    while True:
        _give_up_silent(study)
        counted = [trial for trial in study.get_trials(deepcopy=False) if _counts(trial)]
        if len(counted) < plan.wanted:
            study.sampler = plan.sampler(len(counted))
            try:
                study.optimize(attempt, n_trials=1, catch=(TrainingError, RecipeError, _SurplusError))
            except (optuna.exceptions.UpdateFinishedTrialError, ValueError) as error:
                if isinstance(error, ValueError) and "Cannot tell a FAIL trial" not in str(error):
                    raise
                # This process was silent for too long, and another one has given its trial up.
        elif any(trial.state == TrialState.RUNNING for trial in counted):
            time.sleep(POLL_S)
        else:
            return


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial takes a place in the search."""
    if trial.state == TrialState.FAIL:
        return FAILURE in trial.user_attrs
    if trial.state == TrialState.RUNNING and not trial.params and trial.datetime_start is not None:
        age = datetime.now() - trial.datetime_start  # killed before its first sign of life, it would never be silent
        if age.total_seconds() > 3 * GRACE_S:
            return False
    return trial.state != TrialState.WAITING and SURPLUS not in trial.user_attrs


def _wait_for_earlier(study: optuna.Study, number: int, *, chosen: bool) -> list[FrozenTrial]:
    """The trials before this one that count; with `chosen`, once each of them has chosen its point."""
    while True:
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number < number and _counts(t)]
        if not chosen or all(POINT in trial.user_attrs for trial in earlier):
            return earlier
        time.sleep(POLL_S)
        _give_up_silent(study)


def _give_up_silent(study: optuna.Study) -> None:
    """Mark running trials whose process has gone as failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.storages.fail_stale_trials(study)


def _open(name: str, storage: str, goal: str, limits: Limits) -> tuple[optuna.storages.RDBStorage, optuna.Study]:
    """The storage, and the search in it, new or old."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    waits = {"connect_args": {"timeout": 60}} if storage.startswith("sqlite") else {}
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3, n_warmup_steps=limits.spared)
    for attempts_left in reversed(range(5)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                place = optuna.storages.RDBStorage(
                    storage, engine_kwargs=waits, heartbeat_interval=HEARTBEAT_S, grace_period=GRACE_S
                )
            return place, optuna.create_study(
                study_name=name,
                storage=place,
                load_if_exists=True,
                direction="minimize" if goal == "min" else "maximize",
                pruner=pruner if limits.prune else optuna.pruners.NopPruner(),
            )
        except (SQLAlchemyError, ImportError, optuna.exceptions.StorageInternalError, RuntimeError) as error:
            if attempts_left and not isinstance(error, ImportError):  # two processes may be making its tables at once
                time.sleep(POLL_S)
                continue
            first_line = str(error).partition("\n")[0]
            raise RecipeError(
                f"--storage is {storage!r}; expected an Optuna storage address that can be opened ({first_line}). "
                "For example: sqlite:///search.db"
            ) from None
    raise AssertionError("unreachable")


def _check_same(study: optuna.Study, dimensions: str, base: str) -> None:
    """Refuse to mix trials of different searches; a new one is marked as this one."""
    known = study.user_attrs
    for key, text in (("dimensions", dimensions), ("base", base)):
        if key not in known:
            study.set_user_attr(key, text)
    if known.get("dimensions", dimensions) != dimensions:
        raise RecipeError(
            f"--search is {dimensions}; expected {known['dimensions']} to go on with the search {study.study_name!r}. "
            "Choose another --name."
        )
    if known.get("base", base) != base:
        raise RecipeError(
            f"search {study.study_name!r} was begun with another recipe or other data; expected the same to go on. "
            "Choose another --name."
        )


def _standing(study: optuna.Study, goal: Literal["min", "max"], *, interrupted: bool) -> Search:
    trials = []
    for trial in study.get_trials(deepcopy=False):
        if SURPLUS in trial.user_attrs:
            continue
        failure = trial.user_attrs.get(FAILURE, "")
        state = STATES.get(trial.state, "failed" if failure else "stopped")
        value = trial.value if trial.value is not None else _last(trial.intermediate_values)
        trials.append(Trial(trial.number, trial.params, value, state, trial.user_attrs.get("history", []), failure))
    complete = [(trial.value, trial) for trial in trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        return Search(trials, None, interrupted)
    choose = min if goal == "min" else max
    return Search(trials, choose(complete, key=lambda pair: pair[0])[1], interrupted)


def _last(values: Mapping[int, float]) -> float | None:
    return values[max(values)] if values else None


def default_storage(folder: Path) -> str:
    """The address of an SQLite file in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / 'search.db').absolute()}"
