"""From a recipe to a run, and what to try before: learning rates."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import triptych
from triptych.api.locating import placed
from triptych.api.panels import Data, Panel, panel_of
from triptych.config import Recipe, differences as recipe_differences, with_changes
from triptych.data.fingerprints import short_digests
from triptych.data.locations import Location, to_plain
from triptych.errors import RecipeError, RunError
from triptych.report.canvas import save
from triptych.report.search import learning_rate_picture
from triptych.runs.run import Row, Run, hashes, is_helper_process, now
from triptych.runs.transfer import Transfer
from triptych.training.beginning import fit_prepared
from triptych.training.hardware import Hardware, precision_here
from triptych.training.objective import Prepared
from triptych.training.output import Fitted, Output

FEW_UPDATES = 100
NAME_FOR_HELPERS = "TRIPTYCH_RUN_OF_MAIN_PROCESS"


@dataclass(frozen=True)
class Trained:
    """A finished or interrupted training.

    Attributes:
        run: where everything is.
        fitted: the epochs and how it ended.
        seconds: training time, all sittings of a resumed run together.
        data: what was read, for `evaluate`.
    """

    run: Run
    fitted: Fitted
    seconds: float
    data: Any = None

    @property
    def best(self) -> Mapping[str, Any]:
        """The best epoch's row of `metrics.csv`; empty before the first epoch ended."""
        return self.fitted.rows[self.fitted.best_epoch - 1] if self.fitted.rows else {}


def recipe_from(start: Run, recipe: Recipe | None = None, settings: Sequence[str] = ()) -> Recipe:
    """The recipe of a training that starts from a run: that run's own, or another one with its sizes.

    Args:
        start: the run.
        recipe: another recipe; where it leaves sizes to the data, the start run's are taken.
        settings: `table.key=value`, on top of the run's own recipe.
    Raises:
        RunError: the run is of another panel, is an ensemble, or has no model.
        RecipeError: a setting that breaks a rule.
    """
    chosen = recipe or start.recipe(settings)
    if recipe is None and getattr(chosen.data, "languages", []):
        chosen = with_changes(chosen, {"data.languages": []})  # those of the new data
    sized: Recipe = panel_of(chosen.panel).sized_as(chosen, start)
    return sized


def start_run(
    recipe: Recipe,
    *,
    recipe_name: str,
    name: str | None,
    data: Location | None = None,
    force: bool = False,
    start_from: Run | None = None,
) -> Run:
    """Make the directory of a new run, named after its recipe and seed unless `name` is given.

    Recipe, place of the data and the run to start from are written at once: from then on the run can be resumed.

    Raises:
        RunError: the name is taken, or is that of the run to start from.
    """
    recipe = placed(recipe, data)
    chosen = name or f"{Path(recipe_name).stem}-{recipe.training.seed}"
    if is_helper_process():
        return Run.open(os.environ.get(NAME_FOR_HELPERS, chosen))
    begun_from = {}
    if start_from is not None:
        if Run.place(chosen).resolve() == start_from.path.resolve():
            raise RunError(
                "a training cannot start from the run that it replaces.", hint="Choose another name with --name."
            )
        place, digest = str(start_from.path.absolute()), start_from.weights_digest()
        begun_from = {"started_from": {"run": place, "sha256": digest}}
    run = Run.create(chosen, force=force)
    run.write_recipe(recipe)
    run.update_facts(status="running", began=now(), data_location=to_plain(data), **begun_from)
    os.environ[NAME_FOR_HELPERS] = str(run.path.absolute())
    return run


def train(
    recipe: Recipe,
    run: Run,
    *,
    data: Location | None = None,
    hardware: Hardware | None = None,
    output: Output | None = None,
) -> Trained:
    """Train a recipe into a run; resume from its checkpoint where there is one. A finished run stays as it is.

    Args:
        recipe: what to train; its own when the run is resumed.
        run: from `start_run`, or `Run.open` to resume.
        data: folder or file of the data, or one for each language; None for the recipe's named set.
        hardware: processes and what they run on.
        output: progress, logs and listeners.
    Raises:
        DataError: the data cannot be read.
        RunError: the run was begun with another recipe or other data, is an ensemble, lacks its checkpoint, or another
            process is training it.
    """
    recipe = placed(recipe, data)
    _check_resumable(run, recipe)
    if run.facts().get("status") == "finished":
        return _finished(run)
    with run.writing():
        return _train(recipe, run, data, hardware or Hardware(), output or Output())


def _train(recipe: Recipe, run: Run, data: Location | None, hardware: Hardware, output: Output) -> Trained:
    """Read, build and fit, as the only process that writes the run."""
    before, panel = run.facts(), panel_of(recipe.panel)
    try:
        # One training has one precision, also where `auto` would be another on the machine that resumes it.
        begun_with = before.get("hardware", {}).get("precision")
        precision = precision_here(begun_with or recipe.training.precision, hardware.accelerator)
        read = panel.read(recipe, data)
        prepared = panel.build(recipe, read)
        begun_from = _copied(run, prepared, panel)
    except Exception:
        if run.is_new and not is_helper_process():
            run.remove()
        raise
    run.forget_replaced()
    output.warn(read.warnings)
    if "data" in before and hashes(before.get("data", [])) != hashes(read.fingerprints):
        raise RunError("this run was started with other data.", hint="Restore them or use a new name.", path=run.path)
    if not is_helper_process():
        run.remove_leftovers()
        _write_beginning(run, recipe, prepared, read, data, hardware, precision)
        if not run.checkpoint.exists():
            output.warn(_few_updates(prepared))
            sizes = "".join(f"; {name} of {len(held):,} bytes" for name, held in prepared.files.items())
            output.describe(f"{summary(read)}; a network of {prepared.trainable:,} parameters{sizes}")
            if begun_from is not None:
                run.update_facts(started_from={**before["started_from"], **begun_from.to_dict()})
                output.warn(begun_from.remarks)
                output.describe(f"started from {Path(before['started_from']['run']).name}: {begun_from}")
    output.decide(prepared.recipe)
    fitted = fit_prepared(
        prepared,
        optimizer=prepared.recipe.optimizer,
        training=prepared.recipe.training.model_copy(update={"precision": precision}),
        run=run,
        hardware=hardware,
        output=output,
    )
    seconds = _seconds(fitted.rows)
    if fitted.is_main_process:
        run.update_facts(
            status="finished" if fitted.complete else "interrupted",
            ended=now(),
            seconds=seconds,
            epochs=len(fitted.rows),
            best_epoch=fitted.best_epoch,
            best=fitted.rows[fitted.best_epoch - 1] if fitted.rows else {},
        )
    return Trained(run, fitted, seconds, read)


def _copied(run: Run, prepared: Prepared, panel: Panel) -> Transfer | None:
    """Copy the weights of the run that a training starts from; None where it starts from none, or has a checkpoint.

    Raises:
        RunError: that run is not there any more, has changed, or does not fit.
    """
    begun_from = run.facts().get("started_from")
    if begun_from is None or run.checkpoint.exists():
        return None
    start = Run.open(begun_from["run"])
    if start.weights_digest() != begun_from["sha256"]:
        raise RunError(
            "this run has other weights than when the training that starts from it was begun.",
            hint="Begin again with --force in place of --resume.",
            path=start.path,
        )
    return panel.start(prepared, start)


def _check_resumable(run: Run, recipe: Recipe) -> None:
    """See that training can begin in a run, or continue, with a recipe.

    Raises:
        RunError: it cannot.
    """
    facts = run.facts()
    if "members" in facts or ((run.path / "model.json").exists() and "members" in run.model()):
        raise RunError(
            "this run is an ensemble, which is not trained itself.", hint="Train its members instead.", path=run.path
        )
    changed = recipe_differences(run.recipe(), recipe)
    if changed:
        listing = ", ".join(f"{key} was {old!r}, is {new!r}" for key, (old, new) in changed.items())
        raise RunError(
            f"this run was begun with another recipe: {listing}.",
            hint="Resume without changes, or use a new name.",
            path=run.path,
        )
    # A training that was killed in its first epoch may have a row of history and no checkpoint yet.
    if facts.get("status") != "finished" and len(run.history()) > 1 and not run.checkpoint.exists():
        raise RunError(
            "checkpoints/last.ckpt is missing, so that training cannot continue after its "
            f"{len(run.history())} epochs.",
            hint="Restore the file, or retrain with --force in place of --resume.",
            path=run.path,
        )


def _finished(run: Run) -> Trained:
    """A run that has nothing left to train, from what it says of itself; no data is read."""
    run.remove_leftovers()  # of an evaluation that was killed
    rows: list[Row] = [{**row, "epoch": int(row["epoch"])} for row in run.history()]
    best = int(run.facts().get("best_epoch", len(rows)))
    fitted = Fitted(rows, best, interrupted=False, complete=True, is_main_process=not is_helper_process())
    return Trained(run, fitted, _seconds(rows))


def _seconds(rows: Sequence[Row]) -> float:
    return round(sum(float(row["seconds"]) for row in rows), 2)


def summary(data: Data) -> str:
    """One line about the data: items of each split, and the total where a limit applies."""
    parts = []
    for split, count in data.counts.items():
        whole = f" of {data.available[split]:,}" if split in data.available else ""
        parts.append(f"{split} {count:,}{whole}")
    return f"{', '.join(parts)} {data.content}"


@dataclass(frozen=True)
class LearningRates:
    """Result of a learning-rate range test.

    Attributes:
        suggestion: the rate where the loss falls most steeply; None where no fall exceeds the noise.
        trials: rate and smoothed loss of every update.
        picture: figure of rates and losses.
    """

    suggestion: float | None
    trials: list[tuple[float, float]]
    picture: Path


def find_learning_rate(recipe: Recipe, *, data: Location | None, steps: int, out: Path) -> LearningRates:
    """Try ever higher learning rates for a few updates; nothing is kept, and later trainings are untouched."""
    recipe, panel = placed(recipe, data), panel_of(recipe.panel)
    if recipe.training.epochs == 0:
        raise RecipeError(field="training.epochs", value=0, expected="an integer >= 1, since no epoch has no rate")
    prepared = panel.build(recipe, panel.read(recipe, data))
    if prepared.first_fit is not None:
        prepared.first_fit()
    from triptych.training.learning_rate import try_learning_rates

    rates, losses, suggestion = try_learning_rates(
        prepared.objective, prepared.loaders, optimizer=recipe.optimizer, training=prepared.recipe.training, steps=steps
    )
    figure = learning_rate_picture(rates, losses, suggestion)
    saved = save(figure, out, "learning-rate")
    return LearningRates(suggestion, list(zip(rates, losses, strict=True)), saved.png)


def _write_beginning(
    run: Run,
    recipe: Recipe,
    prepared: Prepared,
    read: Data,
    location: Location | None,
    hardware: Hardware,
    precision: str,
) -> None:
    run.forget_evaluations()
    for name, content in prepared.files.items():
        run.write_file(name, content)
    run.write_model(recipe.panel, prepared.description)
    run.write_trained_on(short_digests(read.keys("train")))
    before = run.facts()
    run.update_facts(
        status="running",
        panel=recipe.panel,
        title=recipe.title,
        seed=recipe.training.seed,
        began=before.get("began", now()),
        data_location=to_plain(location),
        data=[dict(entry) for entry in read.fingerprints],
        counts=dict(read.counts),
        parameters=prepared.trainable,
        chosen={key: value for key, (_, value) in recipe_differences(recipe, prepared.recipe).items()},
        hardware={**asdict(hardware), "precision": precision},
        versions={
            "triptych": triptych.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
    )


def _few_updates(prepared: Prepared) -> list[str]:
    """A warning where a training has so few updates that weights hardly leave where they started."""
    epochs = prepared.recipe.training.most_epochs
    if epochs == 0:
        return []
    each = len(prepared.loaders.train(0, 1))
    updates = each * epochs
    if updates >= FEW_UPDATES:
        return []
    return [
        f"the training makes {updates} updates, {each} per epoch; with so few "
        "it learns little. Raise training.epochs, or lower training.batch_size."
    ]
