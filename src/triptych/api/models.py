"""Load models of runs, predict with them, and join several into an ensemble."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.api.panels import Selection, Warn, given_options, panel_of, recipe_in_use
from triptych.config import Combination
from triptych.data.fingerprints import fingerprint_file
from triptych.data.locations import Location, from_plain
from triptych.errors import DataError, RecipeError, RunError
from triptych.runs.run import Run, now
from triptych.text.remembered import FILES, checked


def load(run: str | Path, *, device: str = "cpu") -> Any:
    """Load the model of a run, ready to predict: a `Speller` or a `Classifier`, as the run's panel is.

    Args:
        run: name or path of a run, of a packed one, or of a ready-made model.
        device: where to put it: `cpu`, `cuda`, `mps`.
    Raises:
        RunError: no such run, or its model is missing or damaged.
    """
    return loaded(Run.open(run), device=device)


def loaded(run: Run, *, device: str = "cpu") -> Any:
    """The model of an opened run as it answers people: where a dictionary was packed with it, that comes first."""
    _use_one_thread_in_forks()
    recipe = run.recipe()
    panel = panel_of(recipe.panel)
    return panel.with_dictionary(panel.load(run, device=device), recipe, run)


@cache
def _use_one_thread_in_forks() -> None:
    """Keep processes that are forked after a model was loaded from waiting for threads that a fork does not copy."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def recorded_data(run: Run) -> Location | None:
    """Path of the run's data when training began, or one for each language; None for a named set.

    Raises:
        DataError: it is not there any more.
    """
    location = from_plain(run.facts().get("data_location"))
    if location is not None:
        for path in [location] if isinstance(location, Path) else location.values():
            if not path.exists():
                raise DataError(f"the data of {run.name} was not found.", hint="Pass its place with --data.", path=path)
    return location


def make_ensemble(runs: Sequence[Run], *, name: str, force: bool = False, by: Combination = "average") -> Run:
    """A new run that holds several runs' models.

    Args:
        runs: the members.
        name: of the new run.
        force: replace a run of that name.
        by: `average` their probabilities (spell: at every step), or let them `vote` on whole predictions (spell), which
            members of unlike directions can too.
    Raises:
        RunError: fewer than two runs, runs of several panels or that cannot be averaged, or a name that is taken.
    """
    panels = sorted({run.recipe().panel for run in runs})
    if len(panels) > 1:
        raise RunError(f"the runs are of the panels {' and '.join(panels)}; expected runs of one panel.")
    description, tensors = panel_of(panels[0] if panels else "spell").join(runs, by=by)
    if any(name in (run.name, str(run.path)) for run in runs):
        raise RunError(field="name", value=name, expected="another than a member's", hint="Members stay as they are.")
    made = Run.create(name, force=force)
    made.forget_replaced()
    recipe = runs[0].recipe()
    made.write_recipe(recipe)
    first = runs[0].facts()
    kept = {
        key: first[key] for key in ("panel", "title", "data_location", "data", "counts", "versions") if key in first
    }
    made.write_model(recipe.panel, description)
    made.write_tensors(tensors)
    for name in description.get(FILES, {}):
        made.write_file(name, checked(runs[0].content(name), runs[0].path / name, description))
    made.write_trained_on(np.concatenate([run.trained_on() for run in runs]))
    parameters = sum(run.facts().get("parameters", 0) for run in runs)
    made.update_facts(
        **kept,
        status="finished",
        began=now(),
        members=[str(run.path) for run in runs],
        combined_by=by,
        parameters=parameters,
    )
    return made


def search_members(runs: Sequence[Run], *, by: Combination, most: int) -> Sequence[Selection]:
    """Which of some runs to combine, chosen one after the other by their errors on the first one's validation data.

    Args:
        runs: what to choose from, of one panel.
        by: how they would be combined.
        most: members at the end, >= 2.
    Returns:
        A step for each member; the last one is the choice.
    Raises:
        RecipeError: `most` is too small, or the panel does not choose members.
        RunError: runs that cannot be combined.
        DataError: the data of the first run cannot be read.
    """
    if most < 2:
        raise RecipeError(field="--choose", value=most, expected="at least two members")
    recipe = recipe_in_use(runs[0])
    panel = panel_of(recipe.panel)
    panel.join(runs, by=by)  # that they can be combined
    return panel.search_members(runs, recipe, panel.read(recipe, recorded_data(runs[0])), by=by, most=most)


@dataclass(frozen=True)
class Chosen:
    """A run's model with the options of a command.

    Attributes:
        model: ready to predict, with word lists where they were given.
        recipe: of the run, with the model's own decoding.
        decoding: how predictions are read off the model.
        label: a short name for that, for the name of an evaluation.
        files: SHA-256 of each file that an option names, by the option.
    """

    model: Any
    recipe: Any
    decoding: Any
    label: str
    files: Mapping[str, str] = field(default_factory=dict)


def choose(
    run: Run, command: str, given: Mapping[str, Any], *, device: str = "cpu", warn: Warn = lambda _: None
) -> Chosen:
    """Load a run's model for a command's options.

    Args:
        run: the run.
        command: `predict` or `test`.
        given: its options by name; None counts as not given.
        device: where the model runs.
        warn: called with sentences on files that options name.
    Raises:
        RecipeError: an option that has no effect on the run, or a value that breaks its rule.
        DataError: a file that an option names cannot be read.
    """
    recipe = recipe_in_use(run)
    panel = panel_of(recipe.panel)
    options = given_options(panel, command, given)
    decoding = panel.choose(recipe, options)
    # A dictionary that was packed with a model answers people; in a test it would repeat its own entries.
    model = loaded(run, device=device) if command == "predict" else panel.load(run, device=device)
    model, suffix = panel.equip(model, recipe, options, warn=warn)
    files = {name: fingerprint_file(path)["sha256"] for name, path in options.items() if isinstance(path, Path)}
    return Chosen(model, recipe, decoding, panel.label(decoding) + suffix, files)


def predict(
    run: Run,
    places: Sequence[str],
    given: Mapping[str, Any] | None = None,
    *,
    skip_bad: bool = False,
    line_buffered: bool = False,
    device: str = "cpu",
    warn: Warn = lambda _: None,
) -> Iterator[list[str]]:
    """Predict what files hold: cells of a line of output for each item, in order and in bounded memory.

    Args:
        run: the run.
        places: files of sources, or image files and folders; `-` is standard input.
        given: options of a command by name, such as `n_best`.
        skip_bad: skip items that cannot be read, and warn of them at the end.
        line_buffered: predict each item before reading the next.
        device: where the model runs.
        warn: called with sentences.
    Raises:
        RecipeError: an option that has no effect on the run, or a value that breaks its rule.
        DataError: an item cannot be read; those before it are predicted first.
    """
    chosen = choose(run, "predict", given or {}, device=device, warn=warn)
    yield from panel_of(chosen.recipe.panel).predict(
        chosen.model,
        chosen.recipe,
        places,
        decoding=chosen.decoding,
        given={name: value for name, value in (given or {}).items() if value is not None},
        skip_bad=skip_bad,
        line_buffered=line_buffered,
        warn=warn,
    )
