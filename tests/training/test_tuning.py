"""Searches: grids, spans, failures, pruning, interruption, several processes."""

from __future__ import annotations

import ast
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.command import surroundings
from tests.messages import check_message
from tests.training.searching import LONGEST_WAIT_S
from triptych.config import dump_recipe, load_recipe
from triptych.errors import DataError, RecipeError, TrainingError
from triptych.runs.run import Row
from triptych.training import tuning
from triptych.training.dimensions import Choices, Dimension, Span, Value
from triptych.training.tuning import Limits, Report, Search, default_storage, search

REPOSITORY = Path(__file__).parents[2]
POINTS = [{"x": x, "y": y} for x in (1, 2, 3) for y in (0.5, 0.25)]
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


def test_spans_are_drawn_by_seed_and_number(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path / "a", product)
    searcher.search(PLANE, trials=3)
    searcher.search(PLANE, trials=14)  # resumed, and beyond the draws that begin a search
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


def test_a_failure_is_recorded_and_the_search_continues(tmp_path: Path) -> None:
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


def test_a_search_is_resumed_only_with_the_same_settings(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path, product)
    searcher.search(GRID, base="first")
    with pytest.raises(RecipeError) as caught:
        searcher.search([Choices("x", (1, 2))], base="first")
    assert (caught.value.field, caught.value.value) == ("--search", "x=1,2")
    check_message("tuning.other-search", caught.value)
    with pytest.raises(RecipeError) as caught:
        searcher.search(GRID, base="second")
    check_message("tuning.other-base", caught.value)
    with pytest.raises(RecipeError) as caught:
        searcher.search([*GRID[:1], *GRID[:1]])
    assert (caught.value.field, caught.value.value) == ("--search", "x, x")


def test_a_recipe_that_another_version_wrote_is_the_same(tmp_path: Path) -> None:
    recipe = dump_recipe(load_recipe("p2g-additive-tiny"))
    assert "split_seed = 0\n" in recipe
    searcher = Searcher(tmp_path, product)
    searcher.search(GRID, base=json.dumps([recipe.replace("split_seed = 0\n", ""), "hash"]), trials=1)
    assert len(searcher.search(GRID, base=json.dumps([recipe, "hash"]), trials=2).trials) == 2
    for base in (
        [recipe.replace("split_seed = 0", "split_seed = 1"), "hash"],
        [recipe, "other hash"],
        ["no TOML", "hash"],
    ):
        with pytest.raises(RecipeError):
            searcher.search(GRID, base=json.dumps(base))


@pytest.mark.parametrize("storage", ["nonsense", "sqlite:////no/such/folder/x.db", "oracle://me@nowhere/x"])
def test_a_storage_that_cannot_be_opened(tmp_path: Path, storage: str) -> None:
    searcher = Searcher(tmp_path, product)
    searcher.storage = storage
    with pytest.raises(RecipeError) as caught:
        searcher.search(GRID)
    assert (caught.value.field, caught.value.value) == ("--storage", storage)


def beat(storage: str, trial: int) -> None:
    """A sign of life of a running trial, as of a process that was killed a moment ago."""
    with sqlite3.connect(storage.removeprefix("sqlite:///")) as database:
        (key,) = database.execute("select trial_id from trials where number = ?", (trial,)).fetchone()
        database.execute("insert into trial_heartbeats (trial_id, heartbeat) values (?, current_timestamp)", (key,))


def test_a_silent_trial_is_waited_for_and_then_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is left to do, and its process, which was killed a moment ago, seems to be running."""
    monkeypatch.setattr(tuning, "GRACE_S", 1)
    searcher = Searcher(tmp_path, product)
    searcher.search(GRID, trials=5)
    last = next(point for point in POINTS if point not in searcher.tried)
    study = optuna.load_study(study_name="s", storage=searcher.storage)
    study.enqueue_trial(last, user_attrs={tuning.POINT: POINTS.index(last)})
    silent = study.ask()
    for dimension in GRID:
        dimension.suggest(silent)
    beat(searcher.storage, silent.number)
    found = searcher.search(GRID)
    assert [trial.state for trial in found.trials] == ["complete"] * 5 + ["stopped", "complete"]
    assert searcher.tried[5:] == [last]


def test_a_trial_killed_before_its_first_sign_of_life_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "HEARTBEAT_S", 1)
    monkeypatch.setattr(tuning, "GRACE_S", 1)
    searcher = Searcher(tmp_path, product)
    searcher.search(GRID, trials=1)
    optuna.load_study(study_name="s", storage=searcher.storage).ask()
    found = searcher.search(GRID)
    assert Counter(trial.state for trial in found.trials) == {"complete": 6, "running": 1}


def test_a_process_that_was_taken_for_dead_continues_with_other_trials(tmp_path: Path) -> None:
    """A laptop that slept, for example: meanwhile another process has given its trial up."""
    for moment in ("before its report", "after its last report"):
        searcher = Searcher(tmp_path / moment, product)

        def given_up(
            params: Mapping[str, Any], report: Report, searcher: Searcher = searcher, moment: str = moment
        ) -> Sequence[Row]:
            is_second = len(searcher.tried) == 1
            rows = Searcher.run(searcher, params, report) if moment.startswith("after") or not is_second else []
            if is_second:
                storage = optuna.storages.RDBStorage(searcher.storage)
                storage.set_trial_state_values(2, optuna.trial.TrialState.FAIL)  # numbered from 1
            return rows or Searcher.run(searcher, params, report)

        found = search(
            given_up, GRID, name="s", storage=searcher.storage, monitor="figure", goal="min", limits=Limits(prune=False)
        )
        assert Counter(trial.state for trial in found.trials) == {"complete": 6, "stopped": 1}
        assert found.trials[1].state == "stopped"


def test_errors_of_training_that_are_not_the_users_are_not_hidden(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path, lambda p: [float("a word")])
    with pytest.raises(ValueError, match="a word"):
        searcher.search(GRID)


def test_points_that_two_processes_queue_at_once_are_tried_once(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path, product)
    searcher.search(GRID, trials=1)
    study = optuna.load_study(study_name="s", storage=searcher.storage)
    for _ in range(2):
        for number, point in enumerate(POINTS):
            study.enqueue_trial(point, user_attrs={tuning.POINT: number})
    found = searcher.search(GRID)
    assert [trial.state for trial in found.trials] == ["complete"] * 6
    assert Counter(tuple(params.values()) for params in searcher.tried).most_common(1)[0][1] == 1


def test_a_search_of_november_2026_is_resumed(tmp_path: Path) -> None:
    """There a failure was a failed trial, and the points of a grid were numbered as now."""
    searcher = Searcher(tmp_path, product)
    searcher.search(GRID, trials=1)
    done = searcher.tried[0]
    study = optuna.load_study(study_name="s", storage=searcher.storage)
    failed = next(point for point in POINTS if point != done)
    study.enqueue_trial(failed)
    trial = study.ask()
    for dimension in GRID:
        dimension.suggest(trial)
    trial.set_user_attr(tuning.POINT, POINTS.index(failed))
    trial.set_user_attr(tuning.FAILURE, "train_loss is nan")
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    found = searcher.search(GRID)
    assert [trial.state for trial in found.trials] == ["complete", "failed"] + ["complete"] * 4
    assert failed not in searcher.tried


def test_spans_are_drawn_as_often_as_asked_by_several_workers(tmp_path: Path) -> None:
    searcher = Searcher(tmp_path, lambda p: [float(p["x"])])
    train = searcher.run

    def shared(params: Mapping[str, Any], report: Report) -> Sequence[Row]:
        if len(searcher.tried) == 2:  # another worker begins the last two while this one trains
            study = optuna.load_study(study_name="s", storage=searcher.storage)
            for _ in range(2):
                other = study.ask()
                for dimension in PLANE:
                    dimension.suggest(other)
                study.tell(other, 0.5)
        return train(params, report)

    limits = Limits(trials=4, prune=False)
    found = search(shared, PLANE, name="s", storage=searcher.storage, monitor="figure", goal="min", limits=limits)
    assert [trial.state for trial in found.trials] == ["complete"] * 5, "three here, and two of the other worker"
    assert len(searcher.tried) == 3


def start(storage: str, log: Path, seconds: float, *, processes: int = 1) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.training.searching", storage, str(log), str(seconds), str(processes)],
        cwd=REPOSITORY,
        env=surroundings(log.parent),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process: subprocess.Popen[str]) -> list[str]:
    try:
        output, errors = process.communicate(timeout=LONGEST_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, errors
    assert errors == ""
    found: list[str] = ast.literal_eval(output)
    return sorted(found)


def trainings(log: Path) -> list[tuple[str, str]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [(line.split()[0], line.split()[1]) for line in lines]


def test_two_processes_share_a_grid(tmp_path: Path) -> None:
    storage, log = f"sqlite:///{tmp_path / 'search.db'}", tmp_path / "log"
    first, second = (start(storage, log, 0.1, processes=2) for _ in range(2))
    expected = ["1a", "1b", "2a", "2b", "3a", "3b"]
    with first, second:
        assert [end(first), end(second)] == [expected, expected]
    assert sorted(point for _, point in trainings(log)) == expected
    assert len({pid for pid, _ in trainings(log)}) == 2


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_a_queued_trial_is_taken_once(tmp_path: Path) -> None:
    storage, queued = f"sqlite:///{tmp_path / 'search.db'}", 60
    first, second = (tuning._open("s", storage, "min", tuning.Limits()) for _ in range(2))
    for number in range(queued):
        first.enqueue_trial({"x": number})
    ready = threading.Barrier(2)

    def take(study: optuna.Study) -> list[int]:
        ready.wait()
        return [study.ask().number for _ in range(queued // 2)]

    with ThreadPoolExecutor(2) as pool:
        taken = [number for numbers in pool.map(take, (first, second)) for number in numbers]
    assert len(taken) == len(set(taken)), "two processes train the same trial"


def test_a_search_that_was_killed_is_resumed(tmp_path: Path) -> None:
    """The killed process's trial still says that it is running; it is given up after a while and tried again."""
    storage, log = f"sqlite:///{tmp_path / 'search.db'}", tmp_path / "log"
    process = start(storage, log, 0.5)
    while len(trainings(log)) < 3:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert end(start(storage, log, 0.0)) == ["1a", "1b", "2a", "2b", "3a", "3b"]
    assert Counter(point for _, point in trainings(log)) == {"1a": 1, "1b": 1, "2a": 2, "2b": 1, "3a": 1, "3b": 1}
