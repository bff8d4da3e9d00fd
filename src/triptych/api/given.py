"""What a run's model says of given pairs: scores, alignments, and a new order of candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from triptych.api.panels import Warn, panel_of, recipe_in_use
from triptych.errors import RunError
from triptych.runs.run import Run


def score(
    run: Run, places: Sequence[str], *, skip_bad: bool = False, device: str = "cpu", warn: Warn = lambda _: None
) -> Iterator[Any]:
    """Log-probability of each pair of some files; a line has `cells` for TSV and a `document` for JSON.

    Args:
        run: the run.
        places: files laid out like the run's data; `-` is standard input, as `predict` writes.
        skip_bad: skip rows that cannot be read, and warn of them at the end.
        device: where the model runs.
        warn: called with sentences.
    Raises:
        RunError: the run's panel has no pairs.
        DataError: a row cannot be read; the pairs before it are answered first.
    """
    given, recipe, model = _loaded(run, device, "scores pairs")
    yield from given.score(model, recipe, places, skip_bad=skip_bad, warn=warn)


def align(
    run: Run, places: Sequence[str], *, skip_bad: bool = False, device: str = "cpu", warn: Warn = lambda _: None
) -> Iterator[Any]:
    """Which source symbol each target symbol of some pairs is written from; arguments as of `score`.

    Raises:
        RunError, DataError: as of `score`.
        RecipeError: the model has no attention.
    """
    given, recipe, model = _loaded(run, device, "aligns pairs")
    yield from given.align(model, recipe, places, skip_bad=skip_bad, warn=warn)


def rerank(
    run: Run,
    places: Sequence[str],
    *,
    weight: float = 0.5,
    reverse: bool = False,
    skip_bad: bool = False,
    device: str = "cpu",
    warn: Warn = lambda _: None,
) -> Iterator[Any]:
    """Lists of candidates, as `predict` writes them, in the order of a score that this run has a part in.

    Args:
        run: the run that scores them.
        places: files of such lists; `-` is standard input.
        weight: share of the run's log-probability, in [0, 1]; the rest is the score that a candidate has.
        reverse: the run rewrites candidates as sources.
        skip_bad: skip rows that cannot be read, and warn of them at the end.
        device: where the model runs.
        warn: called with sentences.
    Raises:
        RunError: the run's panel has no pairs.
        RecipeError: a weight out of range.
        DataError: a row cannot be read; the lists before it are answered first.
    """
    given, _, model = _loaded(run, device, "scores candidates")
    yield from given.rerank(model, places, weight=weight, reverse=reverse, skip_bad=skip_bad, warn=warn)


def _loaded(run: Run, device: str, what: str) -> tuple[Any, Any, Any]:
    recipe = recipe_in_use(run)
    panel = panel_of(recipe.panel)
    if panel.given is None:
        raise RunError(f"this is a {panel.name} run; only spell {what}.", path=run.path)
    return panel.given, recipe, panel.load(run, device=device)
