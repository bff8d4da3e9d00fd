"""What the command line and the server call, and what Python users call: train, load, evaluate, explain."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

import triptych
from triptych.config import Recipe, SpellDecoding, differences, parse_decoding
from triptych.data.fingerprints import fingerprint_file
from triptych.errors import DataError, RunError
from triptych.spell import panel as spell
from triptych.spell.corpus import load_corpus
from triptych.spell.ensemble import ensemble
from triptych.spell.lexicon import ExactLexicon, Lexicon
from triptych.spell.panel import Evaluation
from triptych.spell.speller import Speller
from triptych.training.fit import Fitted, Hardware, Output, fit
from triptych.training.prepared import Prepared
from triptych.training.run import Run

NAME_FOR_HELPERS = "TRIPTYCH_RUN_OF_MAIN_PROCESS"


@dataclass(frozen=True)
class Trained:
    """A finished or interrupted training.

    Attributes:
        run: where everything is.
        fitted: the epochs and how it ended.
        seconds: training time, all sittings of a resumed run together.
        warnings: about the data, complete sentences.
    """

    run: Run
    fitted: Fitted
    seconds: float
    warnings: Sequence[str] = ()

    @property
    def best(self) -> Mapping[str, Any]:
        """The best epoch's row of `metrics.csv`; empty before the first epoch ended."""
        return self.fitted.rows[self.fitted.best_epoch - 1] if self.fitted.rows else {}


def load(run: str | Path, *, device: str = "cpu") -> Speller:
    """Load the model of a run, ready to predict.

    Args:
        run: name or path of a run.
        device: where to put it: `cpu`, `cuda`, `mps`.
    Raises:
        RunError: no such run, or its model is missing or damaged.
    """
    return spell.load(Run.open(run), device=device)


def load_ensemble(runs: Sequence[str | Path], *, device: str = "cpu") -> Speller:
    """Load several runs that predict as one, by averaging their probabilities at every step.

    Raises:
        RunError: no runs, or runs whose vocabularies differ.
    """
    if not runs:
        raise RunError("runs is []; expected at least one run. For example: triptych ensemble first second")
    return ensemble({str(run): load(run, device=device) for run in runs})


def start_run(recipe: Recipe, *, recipe_name: str, name: str | None, force: bool = False) -> Run:
    """Make the directory of a new run, named after its recipe and seed unless `name` is given."""
    if is_helper_process():
        return Run.open(os.environ.get(NAME_FOR_HELPERS, name or ""))
    chosen = name or f"{Path(recipe_name).stem}-{recipe.training.seed}"
    run = Run.create(chosen, force=force)
    run.write_recipe(recipe)
    os.environ[NAME_FOR_HELPERS] = str(run.path.absolute())
    return run


def is_helper_process() -> bool:
    """Whether this process helps another one to train, as Lightning or torchrun tell it."""
    return any(os.environ.get(name, "0") != "0" for name in ("LOCAL_RANK", "NODE_RANK", "RANK", "SLURM_PROCID"))


def train(
    recipe: Recipe,
    run: Run,
    *,
    data: Path | None = None,
    hardware: Hardware | None = None,
    output: Output | None = None,
) -> Trained:
    """Train a recipe into a run; where the run holds a checkpoint, go on from it.

    Args:
        recipe: what to train; its own when the run is resumed.
        run: from `start_run`, or `Run.open` to resume.
        data: folder or file of pairs; None for the recipe's named set.
        hardware: devices and precision.
        output: progress, logs and listeners.
    Raises:
        DataError: the data cannot be read.
        RunError: the run was begun with another recipe or other data.
    """
    changed = differences(run.recipe(), recipe)
    if changed:
        listing = ", ".join(f"{key} was {old!r}, is {new!r}" for key, (old, new) in changed.items())
        raise RunError(f"{run.path} was begun with another recipe: {listing}. Resume without changes, or use a new name.")
    prepared = spell.prepare(recipe, data)
    before = run.facts()
    if before and before.get("data") != [dict(entry) for entry in prepared.fingerprints]:
        raise RunError(f"{run.path} was begun with other data; expected the same files. Restore them or use a new name.")
    main_process = not is_helper_process()
    if main_process:
        _write_beginning(run, recipe, prepared, data, hardware or Hardware())
    began = time.monotonic()
    fitted = fit(
        prepared.objective,
        prepared.loaders,
        optimizer=recipe.optimizer,
        training=recipe.training,
        run=run,
        hardware=hardware,
        output=output,
    )
    seconds = time.monotonic() - began + before.get("seconds", 0.0)
    if fitted.is_main_process:
        run.update_facts(
            status="interrupted" if fitted.interrupted else "finished",
            ended=_now(),
            seconds=round(seconds, 2),
            epochs=len(fitted.rows),
            best_epoch=fitted.best_epoch,
            best=fitted.rows[fitted.best_epoch - 1] if fitted.rows else {},
        )
    return Trained(run, fitted, seconds, prepared.warnings)


def evaluate(
    run: Run,
    speller: Speller | None = None,
    *,
    split: str = "test",
    data: Path | None = None,
    decoding: SpellDecoding | None = None,
    label: str | None = None,
) -> Evaluation:
    """Judge a run's model on a split of its data, and record the result and every prediction in the run.

    Args:
        run: the run, whose recipe says how to read the data.
        speller: the model, where it is not simply the run's own; by default it is loaded.
        split: `train`, `valid` or `test`.
        data: where the data is now; by default where it was when training began.
        decoding: how to decode; by default as the recipe says.
        label: name of the evaluation; by default it says how it was decoded.
    """
    speller = speller or spell.load(run)
    settings = decoding or run.recipe().decoding
    location = data or recorded_data(run)
    evaluation = spell.evaluate(speller, run.recipe(), location, split=split, decoding=settings)
    name = f"{split}/{label or decoding_label(settings)}"
    spell.write_predictions(run.path / "predictions" / f"{name.replace('/', '.')}.tsv", evaluation.items)
    run.add_evaluation(
        name, {**evaluation.scores.to_dict(), "decoding": settings.model_dump(), "evaluated": _now()}
    )
    return evaluation


def recorded_data(run: Run) -> Path | None:
    """Where the run's data was when training began; None for a named set.

    Raises:
        DataError: it is not there any more.
    """
    recorded = run.facts().get("data_location")
    if recorded is None:
        return None
    location = Path(recorded)
    if not location.exists():
        raise DataError(f"data of {run.name} is not at {location} any more; expected it there. Say where with --data")
    return location


def decoding_label(settings: SpellDecoding) -> str:
    """A short name for how targets are decoded: `greedy`, `beam5`, `sample3-p0.8`."""
    match settings.method:
        case "beam":
            penalty = f"-length{settings.length_penalty:g}" if settings.length_penalty else ""
            return f"beam{settings.beam_size}{penalty}"
        case "sample":
            parts = [f"sample{settings.samples}"]
            parts += [f"t{settings.temperature:g}"] if settings.temperature != 1 else []
            parts += [f"k{settings.top_k}"] if settings.top_k else []
            parts += [f"p{settings.top_p:g}"] if settings.top_p < 1 else []
            return "-".join(parts)
        case _:
            return "greedy"


def _write_beginning(
    run: Run, recipe: Recipe, prepared: Prepared, data: Path | None, hardware: Hardware
) -> None:
    run.write_model(recipe.panel, prepared.description)
    before = run.facts()
    run.update_facts(
        status="running",
        panel=recipe.panel,
        title=recipe.title,
        seed=recipe.training.seed,
        began=before.get("began", _now()),
        data_location=None if data is None else str(data.absolute()),
        data=[dict(entry) for entry in prepared.fingerprints],
        counts=dict(prepared.counts),
        parameters=sum(p.numel() for p in prepared.objective.network.parameters() if p.requires_grad),
        hardware={"accelerator": hardware.accelerator, "devices": hardware.devices, "precision": hardware.precision},
        versions={
            "triptych": triptych.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
