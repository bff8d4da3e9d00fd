"""Searches: grids, spans, failures, pruning, interruption, several processes."""

from __future__ import annotations

import ast
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import patch

import optuna
import pytest

from tests.command import surroundings
from triptych.errors import DataError, RecipeError, TrainingError
from triptych.runs.run import Row
from triptych.training import tuning
from triptych.training.dimensions import Choices, Dimension, Span, Value
from triptych.training.tuning import Limits, Report, Search, default_storage, search

REPOSITORY = Path(__file__).parents[2]
GRID: list[Dimension] = [Choices("x", (1, 2, 3)), Choices("y", (0.5, 0.25))]
PLANE: list[Dimension] = [Span("x", 0.0, 1.0), Span("n", 1, 8, whole=True)]
Figure = Callable[[Mapping[str, Any]], list[float]]


class Searcher:
    """Counts what it was asked to train; a trial's figures are a function of its settings."""

    def __init__(self, folder: Path, figures: Figure) -> None:
        self.storage = default_storage(folder)
        self.figures = figures
        self.tried: list[dict[str, Value]] = []

    def run(self, params: Mapping[str, Value], report: Report) -> Sequence[Row]:
        self.tried.append(dict(params))
        rows: list[Row] = []
        for epoch, figure in enumerate(self.figures(params), start=1):
            rows.append({"epoch": epoch, "figure": figure})
            report(rows[-1])
        return rows

    def search(self, dimensions: list[Dimension], *, goal: Any = "min", base: str = "", **limits: Any) -> Search:
        return search(
            self.run,
            dimensions,
            name="s",
            storage=self.storage,
            monitor="figure",
            goal=goal,
            base=base,
            limits=Limits(**{"prune": False} | limits),
        )


def product(params: Mapping[str, Any]) -> list[float]:
    return [10.0, params["x"] * params.get("y", 1.0)]


def test_a_grid_is_tried_once_over_in_order(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path, product)
    found = searcher.search(GRID)
    assert [(p["x"], p["y"]) for p in searcher.tried] == [(x, y) for x in (1, 2, 3) for y in (0.5, 0.25)]
    assert found.best is not None
    assert (dict(found.best.params), found.best.value) == ({"x": 1, "y": 0.25}, 0.25)
    assert found.trials[0].history == [{"epoch": 1, "figure": 10.0}, {"epoch": 2, "figure": 0.5}]
    assert searcher.search(GRID).trials == found.trials
    assert len(searcher.tried) == 6
    assert not found.interrupted


def test_the_goal_may_be_to_rise(tmp_path: Path) -> None:
    found = Searcher(tmp_path, lambda p: [p["x"], 0.0]).search(GRID, goal="max")
    assert found.best is not None
    assert (found.best.params["x"], found.best.value) == (3, 3.0)


def test_a_part_of_a_grid_and_later_the_rest(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path, product)
    assert len(searcher.search(GRID, trials=2).trials) == 2
    assert len(searcher.search(GRID, trials=4).trials) == 4
    assert len({tuple(p.values()) for p in searcher.tried}) == 4
    assert len(searcher.search(GRID, trials=100).trials) == 6
    assert len({tuple(p.values()) for p in searcher.tried}) == 6
    other = Searcher(tmp_path / "other", product)
    other.search(GRID, trials=2, seed=1)
    assert other.tried != searcher.tried[:2]


def test_spans_are_drawn_anew_by_seed_and_number(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path / "a", product)
    searcher.search(PLANE, trials=3)
    searcher.search(PLANE, trials=14)  # gone on with, and beyond the draws that begin a search
    assert len(searcher.tried) == 14
    assert len({p["x"] for p in searcher.tried}) == 14
    assert {type(p["n"]) for p in searcher.tried} == {int}
    again = Searcher(tmp_path / "b", product)
    again.search(PLANE, trials=14)
    assert again.tried == searcher.tried
    other = Searcher(tmp_path / "c", product)
    other.search(PLANE, trials=3, seed=1)
    assert other.tried != searcher.tried[:3]


def test_spans_come_nearer_to_the_best(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path, lambda p: [(p["x"] - 0.3) ** 2])
    found = searcher.search([Span("x", 0.0, 1.0)], trials=30)
    assert found.best is not None
    assert float(found.best.params["x"]) == pytest.approx(0.3, abs=0.05)
    late = [abs(float(p["x"]) - 0.3) for p in searcher.tried[15:]]
    assert sum(late) / len(late) < 0.2  # 0.29 by chance


def test_a_failure_is_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    def fails(params: Mapping[str, Any]) -> list[float]:
        if params["x"] == 2:
            raise TrainingError("train_loss is nan")
        return product(params)

    searcher = Searcher(tmp_path, fails)
    found = searcher.search(GRID)
    assert [trial.state for trial in found.trials] == ["complete"] * 2 + ["failed"] * 2 + ["complete"] * 2
    assert found.trials[2].failure == "train_loss is nan"
    assert searcher.search(GRID).trials == found.trials
    assert len(searcher.tried) == 6


def test_all_may_fail(tmp_path: Path) -> None:
    def fails(params: Mapping[str, Any]) -> list[float]:
        raise RecipeError("x and y do not go together")

    found = Searcher(tmp_path, fails).search(GRID)
    assert found.best is None
    assert len(found.trials) == 6


def test_other_errors_end_the_search_and_leave_the_place_free(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path, product)
    searcher.figures = lambda p: (_ for _ in ()).throw(DataError("gone"))
    with pytest.raises(DataError, match="gone"):
        searcher.search(GRID)
    searcher.figures = product
    found = searcher.search(GRID)
    assert [trial.state for trial in found.trials] == ["stopped"] + ["complete"] * 6


def test_hopeless_trials_are_pruned(tmp_path: Path) -> None:
    def worse_and_worse(params: Mapping[str, Any]) -> list[float]:
        return [float(params["x"])] * 4

    grid: list[Dimension] = [Choices("x", (1, 2, 3, 4, 5, 6))]
    pruned = Searcher(tmp_path / "a", worse_and_worse).search(grid, prune=True)
    assert [trial.state for trial in pruned.trials] == ["complete"] * 3 + ["pruned"] * 3
    assert [len(trial.history) for trial in pruned.trials] == [4, 4, 4, 2, 2, 2]
    assert pruned.trials[5].value == 6
    whole = Searcher(tmp_path / "b", worse_and_worse).search(grid)
    assert [trial.state for trial in whole.trials] == ["complete"] * 6


def test_ctrl_c_ends_with_what_there_is(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path, product)

    def pressed(params: Mapping[str, Any]) -> list[float]:
        if len(searcher.tried) == 3:
            raise KeyboardInterrupt
        return product(params)

    searcher.figures = pressed
    cut = searcher.search(GRID)
    assert cut.interrupted
    assert [trial.state for trial in cut.trials] == ["complete", "complete", "stopped"]
    assert cut.best is not None
    whole = searcher.search(GRID)
    assert [trial.state for trial in whole.trials] == ["complete", "complete", "stopped"] + ["complete"] * 4
    assert Counter(tuple(p.values()) for p in searcher.tried)[(2, 0.5)] == 2  # the interrupted one, again


def test_a_search_goes_on_only_with_the_same_settings(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path, product)
    searcher.search(GRID, base="first")
    with pytest.raises(
        RecipeError, match=r"--search is x=1,2; expected x=1,2,3 y=0.5,0.25 to go on with the search 's'"
    ):
        searcher.search([Choices("x", (1, 2))], base="first")
    with pytest.raises(RecipeError, match="search 's' was begun with another recipe or other data"):
        searcher.search(GRID, base="second")
    with pytest.raises(RecipeError, match="--search varies x, x; expected each key once"):
        searcher.search([*GRID[:1], *GRID[:1]])


@pytest.mark.parametrize("storage", ["nonsense", "sqlite:////no/such/folder/x.db", "oracle://me@nowhere/x"])
def test_a_storage_that_cannot_be_opened(tmp_path: Path, storage: str) -> None:
    searcher = Searcher(tmp_path, product)
    searcher.storage = storage
    with pytest.raises(RecipeError, match=f"--storage is '{storage}'; expected an Optuna storage address"):
        searcher.search(GRID)


def test_a_silent_trial_is_waited_for_and_then_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one whose process was killed a moment ago: nothing else is left to do, and it seems to be running."""
    monkeypatch.setattr(tuning, "GRACE_S", 1)
    searcher = Searcher(tmp_path, product)
    searcher.search(GRID, trials=5)
    last = next({"x": x, "y": y} for x in (1, 2, 3) for y in (0.5, 0.25) if {"x": x, "y": y} not in searcher.tried)
    study = optuna.load_study(study_name="s", storage=searcher.storage)
    silent = study.ask()
    for dimension in GRID:
        dimension.suggest(silent)
    silent.set_user_attr(tuning.POINT, 5)
    optuna.storages.RDBStorage(searcher.storage).record_heartbeat(silent._trial_id)
    found = searcher.search(GRID)
    assert [trial.state for trial in found.trials] == ["complete"] * 5 + ["stopped", "complete"]
    assert searcher.tried[5:] == [last]


def test_a_trial_killed_before_its_first_sign_of_life_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "HEARTBEAT_S", 1)
    monkeypatch.setattr(tuning, "GRACE_S", 2)
    searcher = Searcher(tmp_path, product)
    searcher.search(GRID, trials=1)
    optuna.load_study(study_name="s", storage=searcher.storage).ask()
    found = searcher.search(GRID)
    assert Counter(trial.state for trial in found.trials) == {"complete": 6, "running": 1}


def test_a_process_that_was_thought_dead_goes_on_with_other_trials(tmp_path: Path) -> None:
    """A laptop that slept, for example: meanwhile another process has given its trial up."""
    searcher = Searcher(tmp_path, product)

    def given_up(params: Mapping[str, Any]) -> list[float]:
        if len(searcher.tried) == 2:
            storage = optuna.storages.RDBStorage(searcher.storage)
            storage.set_trial_state_values(2, optuna.trial.TrialState.FAIL)  # numbered from 1
            return product(params)
        return product(params)

    searcher.figures = given_up
    found = searcher.search(GRID)
    assert [trial.state for trial in found.trials] == ["complete", "stopped"] + ["complete"] * 5


def test_a_trial_shows_life_before_it_does_anything(tmp_path: Path) -> None:
    """Else one that is killed at once would seem to be running for ever."""
    beats: list[int] = []

    def counted(params: Mapping[str, Any]) -> list[float]:
        with sqlite3.connect(tmp_path / "search.db") as storage:
            beats.append(storage.execute("select count(*) from trial_heartbeats").fetchone()[0])
        return product(params)

    with (
        patch.object(optuna.storages._heartbeat.HeartbeatThread, "start"),
        patch.object(optuna.storages._heartbeat.HeartbeatThread, "join"),
    ):
        Searcher(tmp_path, counted).search(GRID, trials=3)
    assert beats == [1, 2, 3]


def test_a_trial_waits_until_those_before_it_have_chosen(tmp_path: Path) -> None:
    Searcher(tmp_path, product)
    study = optuna.create_study(storage=default_storage(tmp_path))
    first, second = study.ask(), study.ask()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(tuning._wait_for_earlier, study, second.number, chosen=True)
        time.sleep(0.5)
        assert not waiting.done()
        first.set_user_attr(tuning.POINT, 3)
        assert [trial.user_attrs[tuning.POINT] for trial in waiting.result(timeout=5)] == [3]
    assert tuning._wait_for_earlier(study, first.number, chosen=True) == []


def start(storage: str, log: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.searching", storage, str(log), str(seconds)],
        cwd=REPOSITORY,
        env=surroundings(log.parent),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> list[str]:
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert errors == ""
    found: list[str] = ast.literal_eval(output)
    return sorted(found)


def trainings(log: Path) -> list[tuple[str, str]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [(line.split()[0], line.split()[1]) for line in lines]


def test_two_processes_share_a_grid(tmp_path: Path) -> None:
    storage, log = f"sqlite:///{tmp_path / 'search.db'}", tmp_path / "log"
    processes = [start(storage, log, 0.3), start(storage, log, 0.3)]
    expected = ["1a", "1b", "2a", "2b", "3a", "3b"]
    assert [end(process) for process in processes] == [expected, expected]
    assert sorted(point for _, point in trainings(log)) == expected
    assert len({pid for pid, _ in trainings(log)}) == 2


def test_killed_in_the_middle_and_gone_on_with(tmp_path: Path) -> None:
    """The killed process's trial still says that it is running; it is given up after a while, and tried again."""
    storage, log = f"sqlite:///{tmp_path / 'search.db'}", tmp_path / "log"
    process = start(storage, log, 0.5)
    while len(trainings(log)) < 3:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert end(start(storage, log, 0.0)) == ["1a", "1b", "2a", "2b", "3a", "3b"]
    assert Counter(point for _, point in trainings(log)) == {"1a": 1, "1b": 1, "2a": 2, "2b": 1, "3a": 1, "3b": 1}
