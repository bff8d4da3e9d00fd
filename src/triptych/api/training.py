"""From a recipe to a run, and what to try before: learning rates."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import triptych
from triptych.api.panels import panel_of
from triptych.config import Recipe, TrainingTable
from triptych.config import differences as recipe_differences
from triptych.data.fingerprints import short_digests
from triptych.errors import RunError
from triptych.report.canvas import save
from triptych.report.search import learning_rate_picture
from triptych.runs.run import Run, hashes, now
from triptych.training.hardware import Hardware, precision_here
from triptych.training.output import Output
from triptych.training.prepared import Prepared
from triptych.training.processes import is_helper_process

if TYPE_CHECKING:
    from triptych.training.fit import Fitted

FEW_UPDATES = 100
NAME_FOR_HELPERS = "TRIPTYCH_RUN_OF_MAIN_PROCESS"


@dataclass(frozen=True)
class Trained:
    """A finished or interrupted training.

    Attributes:
        run: where everything is.
        fitted: the epochs and how it ended.
        seconds: training time, all sittings of a resumed run together.
        warnings: about the data, complete sentences.
        data: what was read, for `evaluate`.
    """

    run: Run
    fitted: Fitted
    seconds: float
    warnings: Sequence[str] = ()
    data: Any = None

    @property
    def best(self) -> Mapping[str, Any]:
        """The best epoch's row of `metrics.csv`; empty before the first epoch ended."""
        return self.fitted.rows[self.fitted.best_epoch - 1] if self.fitted.rows else {}


def start_run(
    recipe: Recipe, *, recipe_name: str, name: str | None, data: Path | None = None, force: bool = False
) -> Run:
    """Make the directory of a new run, named after its recipe and seed unless `name` is given.

    Recipe and place of the data are written at once: from then on the run can be resumed.
    """
    chosen = name or f"{Path(recipe_name).stem}-{recipe.training.seed}"
    if is_helper_process():
        return Run.open(os.environ.get(NAME_FOR_HELPERS, chosen))
    run = Run.create(chosen, force=force)
    run.write_recipe(recipe)
    run.update_facts(status="running", began=now(), data_location=_location(data))
    os.environ[NAME_FOR_HELPERS] = str(run.path.absolute())
    return run


def train(
    recipe: Recipe,
    run: Run,
    *,
    data: Path | None = None,
    hardware: Hardware | None = None,
    output: Output | None = None,
) -> Trained:
    """Train a recipe into a run; where the run holds a checkpoint, go on from it; where it has finished, do nothing.

    Args:
        recipe: what to train; its own when the run is resumed.
        run: from `start_run`, or `Run.open` to resume.
        data: folder or file of the data; None for the recipe's named set.
        hardware: processes and what they run on.
        output: progress, logs and listeners.
    Raises:
        DataError: the data cannot be read.
        RunError: the run was begun with another recipe or other data.
    """
    changed = recipe_differences(run.recipe(), recipe)
    if changed:
        listing = ", ".join(f"{key} was {old!r}, is {new!r}" for key, (old, new) in changed.items())
        raise RunError(
            f"{run.path} was begun with another recipe: {listing}. Resume without changes, or use a new name."
        )
    before, hardware = run.facts(), hardware or Hardware()
    try:
        # One training has one precision, also where `auto` would be another on the machine that goes on with it.
        begun_with = before.get("hardware", {}).get("precision")
        precision = precision_here(begun_with or recipe.training.precision, hardware.accelerator)
        prepared = panel_of(recipe.panel).prepare(recipe, data)
    except Exception:
        _free_name(run)
        raise
    run.forget_replaced()
    if output is not None:
        output.warn(prepared.warnings)
    if "data" in before and hashes(before.get("data", [])) != hashes(prepared.fingerprints):
        raise RunError(
            f"{run.path} was begun with other data; expected the same files. Restore them or use a new name."
        )
    finished = before.get("status") == "finished"
    if not is_helper_process():
        run.remove_leftovers()
        if not finished:
            _write_beginning(run, recipe, prepared, data, hardware, precision)
    if output is not None and not run.checkpoint.exists() and not finished and not is_helper_process():
        output.warn(_few_updates(prepared.counts["train"], recipe.training))
        output.tell(f"{prepared.summary()}; a network of {_trainable(prepared):,} parameters")
    from triptych.training.fit import fit  # seconds of importing Lightning, which no mistake above waits for

    fitted = fit(
        prepared.objective,
        prepared.loaders,
        optimizer=recipe.optimizer,
        training=recipe.training.model_copy(update={"precision": precision}),
        run=run,
        hardware=hardware,
        output=output,
    )
    seconds = round(sum(float(row["seconds"]) for row in fitted.rows), 2)
    if fitted.is_main_process and not finished:
        run.update_facts(
            status="finished" if fitted.complete else "interrupted",
            ended=now(),
            seconds=seconds,
            epochs=len(fitted.rows),
            best_epoch=fitted.best_epoch,
            best=fitted.rows[fitted.best_epoch - 1] if fitted.rows else {},
        )
    return Trained(run, fitted, seconds, prepared.warnings, prepared.data)


@dataclass(frozen=True)
class LearningRates:
    """What trying learning rates showed.

    Attributes:
        suggestion: the rate where the loss falls most steeply; None where none stands out.
        trials: rate and smoothed loss of every update.
        picture: both, drawn.
    """

    suggestion: float | None
    trials: list[tuple[float, float]]
    picture: Path


def find_learning_rate(recipe: Recipe, *, data: Path | None, steps: int, out: Path) -> LearningRates:
    """Try ever higher learning rates for a few updates; nothing is kept, and later trainings are untouched."""
    prepared = panel_of(recipe.panel).prepare(recipe, data)
    from triptych.training.learning_rate import try_learning_rates

    rates, losses, suggestion = try_learning_rates(
        prepared.objective, prepared.loaders, optimizer=recipe.optimizer, training=recipe.training, steps=steps
    )
    figure = learning_rate_picture(rates, losses, suggestion)
    saved = save(figure, out, "learning-rate")
    return LearningRates(suggestion, list(zip(rates, losses, strict=True)), saved.png)


def _write_beginning(
    run: Run, recipe: Recipe, prepared: Prepared, data: Path | None, hardware: Hardware, precision: str
) -> None:
    run.forget_judgements()
    run.write_model(recipe.panel, prepared.description)
    run.write_trained_on(short_digests(prepared.data.keys("train")))
    before = run.facts()
    run.update_facts(
        status="running",
        panel=recipe.panel,
        title=recipe.title,
        seed=recipe.training.seed,
        began=before.get("began", now()),
        data_location=_location(data),
        data=[dict(entry) for entry in prepared.fingerprints],
        counts=dict(prepared.counts),
        parameters=_trainable(prepared),
        hardware={**asdict(hardware), "precision": precision},
        versions={
            "triptych": triptych.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
    )


def _few_updates(count: int, training: TrainingTable) -> list[str]:
    """A warning where a training has so few updates that weights hardly leave where they started."""
    each = -(-count // training.batch_size)
    if each * training.epochs >= FEW_UPDATES:
        return []
    return [
        f"the training makes {each * training.epochs} updates, {each} per epoch; with so few "
        "it learns little. Raise training.epochs, or lower training.batch_size."
    ]


def _trainable(prepared: Prepared) -> int:
    return sum(p.numel() for p in prepared.objective.network.parameters() if p.requires_grad)


def _free_name(run: Run) -> None:
    """Remove a run that holds no more than `start_run` wrote, so that the name can be used again."""
    if not is_helper_process() and {path.name for path in run.path.iterdir()} <= {"recipe.toml", "run.json"}:
        run.remove()


def _location(data: Path | None) -> str | None:
    """Where the data is, whatever the current folder will be."""
    return None if data is None else str(data.absolute())
