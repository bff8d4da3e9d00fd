"""Searching settings of a recipe on validation data."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

from triptych.api.locating import placed
from triptych.api.panels import panel_of
from triptych.config import Recipe, dump_recipe, with_changes
from triptych.data.locations import Location
from triptych.errors import RecipeError, TrainingError
from triptych.files import write_text_atomically, write_tsv
from triptych.report.canvas import save
from triptych.report.figures import compare_curves
from triptych.report.run_report import column_label
from triptych.report.search import search_picture
from triptych.runs.run import Row, hashes
from triptych.training.dimensions import Choices, Dimension, Value, settings_of
from triptych.training.fit import fit
from triptych.training.output import Output
from triptych.training.tuning import Limits, Search, default_storage, search

ACCURACY = "valid_accuracy"
COMBINATIONS_CHECKED = 1000


@dataclass(frozen=True)
class Tuned:
    """A search and what it left behind.

    Attributes:
        search: trials and the best of them.
        folder: storage, table and figures.
        recipe: the best configuration as a recipe; None before a trial is complete.
        picture: the monitored metric against the searched settings.
        curves: by metric, such as `train_loss` and `valid_accuracy`, the curves of all trials in one figure.
    """

    search: Search
    folder: Path
    recipe: Path | None
    picture: Path
    curves: Mapping[str, Path]


def tune(
    recipe: Recipe,
    dimensions: Sequence[Dimension],
    *,
    name: str,
    data: Location | None = None,
    storage: str | None = None,
    trials: int | None = None,
    prune: bool = True,
    listener: Callable[[str], None] = lambda _: None,
) -> Tuned:
    """Search settings of a recipe on validation data, and write the best configuration as a recipe.

    Args:
        recipe: what to vary.
        dimensions: settings and their values.
        name: of the search; the same name resumes it.
        data: folder or file of the data, or one for each language.
        storage: Optuna storage address; None keeps an SQLite file in the search's folder.
        trials: how many in all; None for a whole grid.
        prune: stop hopeless trials early.
        listener: called with a line per warning about the data, and a line per trial.
    """
    recipe = placed(recipe, data)
    _check_values(recipe, dimensions)
    folder = Path("searches") / name
    training, panel = recipe.training, panel_of(recipe.panel)
    read = panel.read(recipe, data)
    for warning in read.warnings:
        listener(f"warning: {warning}")
    read_with = recipe.data
    epochs = panel.sized(recipe, read).training.most_epochs

    def run(params: Mapping[str, Value], report: Callable[[Row], None]) -> Sequence[Row]:
        listener("trying " + ", ".join(f"{key}={value}" for key, value in params.items()))
        varied = with_changes(recipe, settings_of(params))
        own = read if varied.data == read_with else panel.read(varied, data)
        prepared = panel.build(varied, own)
        output = Output(listener=lambda row, _: report(row))
        try:
            fitted = fit(
                prepared.objective,
                prepared.loaders,
                optimizer=prepared.recipe.optimizer,
                training=prepared.recipe.training,
                run=None,
                output=output,
            )
        except TrainingError as error:
            listener(f"failed: {error}")
            raise
        if fitted.interrupted:
            raise KeyboardInterrupt
        return fitted.rows if training.keep == "best" else fitted.rows[-1:]

    found = search(
        run,
        dimensions,
        name=name,
        storage=storage or default_storage(folder),
        monitor=training.monitor,
        goal=training.mode,
        base=json.dumps([dump_recipe(recipe), *hashes(read.fingerprints)]),
        limits=Limits(trials, prune, training.seed, spared=max(2, epochs // 4)),
    )
    return _write_search(found, recipe, folder)


def _check_values(recipe: Recipe, dimensions: Sequence[Dimension]) -> None:
    """A wrong key or value fails before the first training: every value must be right in some combination.

    Combinations that are not, such as two widths that must be equal, are trials that fail.

    Raises:
        RecipeError: what is wrong with the first value that is right in none.
    """
    ends = [d.values if isinstance(d, Choices) else (d.low, d.high) for d in dimensions]
    errors: dict[tuple[int, int], RecipeError] = {}
    right: set[tuple[int, int]] = set()
    for point in islice(product(*(range(len(values)) for values in ends)), COMBINATIONS_CHECKED):
        places = list(enumerate(point))
        try:
            with_changes(recipe, settings_of({dimensions[d].key: ends[d][value] for d, value in places}))
        except RecipeError as wrong:
            for place in places:
                errors.setdefault(place, wrong)
        else:
            right.update(places)
    for place, error in errors.items():
        if place not in right:
            raise error


def _write_search(found: Search, recipe: Recipe, folder: Path) -> Tuned:
    training = recipe.training
    documents = [{"params": t.params, "value": t.value, "state": t.state} for t in found.trials if t.state != "stopped"]
    picture = search_picture(documents, goal=training.mode, value_label=column_label(training.monitor))
    saved = save(picture, folder, "search")
    histories = {
        ", ".join(f"{k.split('.')[-1]}={v}" for k, v in t.params.items()): t.history for t in found.trials if t.history
    }
    save(compare_curves(histories, metric=training.monitor, loss="train_loss"), folder, "curves")
    curves = _draw_curves(histories, training.monitor, folder)
    best_path = None
    if found.best is not None:
        best_path = folder / "best.toml"
        write_text_atomically(best_path, dump_recipe(with_changes(recipe, settings_of(found.best.params))))
    keys = sorted({key for trial in found.trials for key in trial.params})
    rows = []
    for trial in found.trials:
        value = "" if trial.value is None else f"{trial.value:.6g}"
        settings = (str(trial.params.get(key, "")) for key in keys)
        rows.append([str(trial.number), trial.state, value, *settings, trial.failure])
    write_tsv(folder / "trials.tsv", ["trial", "state", training.monitor, *keys, "failure"], rows)
    return Tuned(found, folder, best_path, saved.png, curves)


def _draw_curves(histories: Mapping[str, Sequence[Mapping[str, float]]], monitor: str, folder: Path) -> dict[str, Path]:
    """One figure of all trials for each: the training loss, the monitored metric, and accuracy where it is known."""
    there = {key for rows in histories.values() for row in rows for key in row}
    drawn = {}
    for key in dict.fromkeys(("train_loss", monitor, ACCURACY)):
        if key in there:
            split, _, metric = key.partition("_")
            label = f"{'training' if split == 'train' else 'validation'} {metric.replace('_', ' ')}"
            figure = compare_curves(histories, metric=key, metric_label=label)
            drawn[key] = save(figure, folder, label.replace(" ", "-")).png
    return drawn
