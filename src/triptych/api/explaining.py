"""Explain predictions: where a speller attended, what a classifier saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.api.panels import given_options, panel_of, recipe_in_use
from triptych.runs.run import Run


def explain(
    run: Run,
    items: Sequence[str],
    given: Mapping[str, Any] | None = None,
    *,
    out: Path | None = None,
    device: str = "cpu",
) -> Sequence[Any]:
    """Explain the predictions for some items; the model is loaded once.

    Args:
        run: the run.
        items: one source as text, or image files.
        given: options of the command by name: `n_best` (spell); `layer` and `class` (see).
        out: folder for the figures; by default the run's.
        device: where the model runs.
    Returns:
        One per item, as `triptych.api.panels.Explanation` has it: of spell with the attention, of see with the
        activations of a convolution and the evidence for a class.
    Raises:
        RecipeError: an option that has no effect on the run, or a value that breaks its rule.
        DataError: an item cannot be read.
    """
    recipe = recipe_in_use(run)
    panel = panel_of(recipe.panel)
    options = given_options(panel, "explain", given or {})
    return panel.explain(panel.load(run, device=device), recipe, items, options, out=out or run.figures)
