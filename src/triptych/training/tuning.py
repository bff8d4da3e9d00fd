"""Searching recipe settings with Optuna: grids and ranges, shared storage, pruning, resuming.

Any number of processes may work on one search. The points of a grid are a queue in the storage, from which a trial is
taken by one process only; where two processes have queued the same point at once, the later trial gives way. A trial
whose training fails counts as tried; one that is interrupted or killed does not, and its place is filled again.
"""

from __future__ import annotations

import itertools
import json
import logging
import random
import time
import tomllib
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError

from triptych.config import parse_recipe
from triptych.errors import RecipeError, TrainingError
from triptych.runs.run import Row
from triptych.training.dimensions import Choices, Dimension, Value

Report = Callable[[Row], None]
Train = Callable[[Mapping[str, Value], Report], Sequence[Row]]
HEARTBEAT_S, GRACE_S = 5, 30  # a running trial reports every 5 s; after 30 s of silence its process counts as dead
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
    """The state of a search.

    Attributes:
        trials: in the order in which they were queued or begun.
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
        spared: epochs of every trial before it may be stopped; a schedule with a warm-up needs some to show.
    """

    trials: int | None = None
    prune: bool = True
    seed: int = 0
    spared: int = 2


def search(
    train: Train,
    dimensions: Sequence[Dimension],
    *,
    name: str,
    storage: str,
    monitor: str,
    goal: Literal["min", "max"],
    base: str = "",
    limits: Limits | None = None,
) -> Search:
    """Try configurations until enough have been tried, those of earlier and parallel calls included.

    Args:
        train: trains a configuration, reports every epoch's row, and returns those of the epochs whose model may be
            kept, the best of which is the trial's value. Its TrainingError or RecipeError is recorded as that trial's
            failure.
        dimensions: what to vary. All choices: every combination once. Otherwise: tree-structured Parzen estimator
            (Bergstra et al. 2011) over choices and spans.
        name: of the search in the storage; the same name resumes it.
        storage: an Optuna storage address, such as `sqlite:///search.db`; processes and machines may share it.
        monitor: metric to optimise.
        goal: whether it should fall or rise.
        base: recipe as TOML and hashes of the data, a list as JSON; a search is resumed only with the same ones.
        limits: how many trials, and whether hopeless ones are stopped.
    Returns:
        All trials, those of other processes included; after Ctrl-C those so far.
    Raises:
        RecipeError: the storage cannot be used, or the search was started with other settings.
    """
    keys = [key for dimension in dimensions for key in dimension.key.split(",")]
    if len(set(keys)) < len(keys):
        raise RecipeError(field="--search", value=", ".join(keys), expected="each key once")
    limits = limits or Limits()
    study = _open(name, storage, goal, limits)
    _check_same(study, " ".join(sorted(map(str, dimensions))), base)
    plan = _Plan(dimensions, limits)
    attempt = _Attempt(train, study, plan, monitor, min if goal == "min" else max)
    interrupted = False
    try:
        _work(study, plan, attempt)
    except KeyboardInterrupt:
        interrupted = True
    return _result(study, goal, interrupted=interrupted)


class _Plan:
    """Settings to try: points of a grid in order, or a number of draws from spans."""

    def __init__(self, dimensions: Sequence[Dimension], limits: Limits) -> None:
        self.dimensions = dimensions
        self.limits = limits
        grid = [[(d.key, value) for value in d.values] for d in dimensions if isinstance(d, Choices)]
        self.points = [dict(point) for point in itertools.product(*grid)] if len(grid) == len(dimensions) else []
        self.wanted = limits.trials or (len(self.points) or TRIALS_OF_SPANS)
        self.order = list(range(len(self.points)))
        if self.points and self.wanted < len(self.points):
            random.Random(limits.seed).shuffle(self.order)  # a part of the grid is spread over all of it

    def queue(self, study: optuna.Study) -> None:
        """Queue as many points of the grid as are wanted and are neither tried nor queued yet."""
        trials = [trial for trial in study.get_trials(deepcopy=False) if _counts(trial)]
        known = {trial.user_attrs[POINT] for trial in trials if POINT in trial.user_attrs}
        missing = [point for point in self.order if point not in known]
        for point in missing[: max(0, self.wanted - len(known))]:
            study.enqueue_trial(self.points[point], user_attrs={POINT: point})

    def is_surplus(self, trial: optuna.Trial, study: optuna.Study) -> bool:
        """Whether earlier trials, of other processes, leave this one nothing to try."""
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number and _counts(t)]
        if not self.points:
            return len(earlier) >= self.wanted
        point = trial.user_attrs.get(POINT)
        return point is None or any(other.user_attrs.get(POINT) == point for other in earlier)


@dataclass
class _Attempt:
    """Tries one configuration, as Optuna calls it.

    Attributes:
        given_up: another process took this one for dead, after a pause of the computer for example.
    """

    train: Train
    study: optuna.Study
    plan: _Plan
    monitor: str
    best_of: Callable[[list[float]], float]
    given_up: bool = field(default=False, init=False)

    def __call__(self, trial: optuna.Trial) -> float:
        self.given_up = False
        try:
            return self._value(trial)
        except (TrainingError, RecipeError) as error:
            trial.set_user_attr(FAILURE, str(error))
            raise optuna.TrialPruned from error  # it is tried, and nothing near it is promising
        except optuna.exceptions.UpdateFinishedTrialError:
            self.given_up = True
            raise

    def _value(self, trial: optuna.Trial) -> float:
        if self.plan.is_surplus(trial, self.study):
            trial.set_user_attr(SURPLUS, True)
            raise optuna.TrialPruned
        # A generator per trial: draws depend on seed and number, also where a search is resumed or shared.
        seed = (self.plan.limits.seed * 1_000_003 + trial.number) % 2**32
        self.study.sampler = optuna.samplers.TPESampler(seed=seed)
        params = {dimension.key: dimension.suggest(trial) for dimension in self.plan.dimensions}
        rows = self.train(params, _reporter(trial, self.monitor, prune=self.plan.limits.prune))
        trial.set_user_attr("finished", True)  # fails where the trial was given up
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
        plan.queue(study)
        trials = [trial for trial in study.get_trials(deepcopy=False) if _counts(trial)]
        is_queued = any(trial.state == TrialState.WAITING for trial in trials)
        if is_queued or (not plan.points and len(trials) < plan.wanted):
            try:
                study.optimize(attempt, n_trials=1)
            except Exception:
                if not attempt.given_up:
                    raise
        elif any(trial.state == TrialState.RUNNING for trial in trials):
            time.sleep(POLL_S)
        else:
            return


def _counts(trial: FrozenTrial) -> bool:
    """Whether a trial takes a place in the search."""
    if trial.state == TrialState.FAIL:
        return FAILURE in trial.user_attrs  # searches of November 2026 kept failures so
    if trial.state == TrialState.RUNNING and not trial.params and trial.datetime_start is not None:
        age = datetime.now() - trial.datetime_start  # killed before its first report, it would never be silent
        if age.total_seconds() > 3 * GRACE_S:
            return False
    return SURPLUS not in trial.user_attrs


def _open(name: str, storage: str, goal: str, limits: Limits) -> optuna.Study:
    """The search in its storage, new or resumed."""
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
            if waits:
                _lock_whole_transactions(place.engine)
            return optuna.create_study(
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
                field="--storage",
                value=storage,
                expected=f"an Optuna storage address that can be opened ({first_line})",
                hint="For example: sqlite:///search.db",
            ) from None
    raise AssertionError("unreachable")


def _lock_whole_transactions(engine: Engine) -> None:
    """Let each transaction of an SQLite storage begin with its lock, so that what it read still holds when it writes.

    Optuna takes a trial from the queue by reading its row `FOR UPDATE`, which SQLite does not have: two processes could
    both read that it waits, and both train it.
    """

    def begin_by_hand(connection: Any, _: Any) -> None:
        connection.isolation_level = None

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "connect", begin_by_hand)
    event.listen(engine, "begin", begin)
    engine.dispose()  # connections from before


def _check_same(study: optuna.Study, dimensions: str, base: str) -> None:
    """Refuse to mix trials of different searches; a new one is marked as this one."""
    known = study.user_attrs
    for key, text in (("dimensions", dimensions), ("base", base)):
        if key not in known:
            study.set_user_attr(key, text)
    if known.get("dimensions", dimensions) != dimensions:
        raise RecipeError(
            field="--search",
            value=dimensions,
            expected=f"{known['dimensions']!r} to resume the search {study.study_name!r}",
            hint="Use another --name for another search.",
        )
    if not _is_same_base(known.get("base", base), base):
        raise RecipeError(
            f"the search {study.study_name!r} was started with another recipe or other data.",
            hint="Use another --name for another search.",
        )


def _is_same_base(known: str, base: str) -> bool:
    """Whether two texts name the same recipe and data, also where another version wrote the recipe with other keys."""
    if known == base:
        return True
    try:
        (one, *data), (other, *other_data) = json.loads(known), json.loads(base)
        recipes = [parse_recipe(tomllib.loads(text), origin="") for text in (one, other)]
    except (ValueError, TypeError, RecipeError):
        return False
    return data == other_data and recipes[0] == recipes[1]


def _result(study: optuna.Study, goal: Literal["min", "max"], *, interrupted: bool) -> Search:
    trials = []
    tried: set[int] = set()
    for trial in study.get_trials(deepcopy=False):
        point = trial.user_attrs.get(POINT)
        # Another process may just have taken a point from the queue that was tried before, and not yet have noticed.
        is_repeated = trial.state == TrialState.RUNNING and point in tried
        if SURPLUS in trial.user_attrs or trial.state == TrialState.WAITING or is_repeated:
            continue
        if point is not None and trial.state != TrialState.FAIL:
            tried.add(point)
        failure = trial.user_attrs.get(FAILURE, "")
        state = "failed" if failure else STATES.get(trial.state, "stopped")
        value = trial.value if trial.value is not None else trial.intermediate_values.get(trial.last_step or 0)
        trials.append(Trial(trial.number, trial.params, value, state, trial.user_attrs.get("history", []), failure))
    complete = [(trial.value, trial) for trial in trials if trial.state == "complete" and trial.value is not None]
    if not complete:
        return Search(trials, None, interrupted)
    choose = min if goal == "min" else max
    return Search(trials, choose(complete, key=lambda pair: pair[0])[1], interrupted)


def default_storage(folder: Path) -> str:
    """The address of an SQLite file in a folder, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / 'search.db').absolute()}"
