"""Explain predictions: where a speller attended, what a classifier saw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.api.evaluation import recipe_in_use
from triptych.api.panels import given_options, panel_of
from triptych.runs.run import Run

if TYPE_CHECKING:
    from triptych.api.panels import Explanation
    from triptych.see.explaining import ImageExplanation
    from triptych.spell.explaining import Explanation as SourceExplanation


def explain_all(
    run: Run,
    items: Sequence[str],
    given: Mapping[str, Any] | None = None,
    *,
    out: Path | None = None,
    device: str = "cpu",
) -> Sequence[Explanation]:
    """Explain the predictions for some items; the model is loaded once.

    Args:
        run: the run.
        items: a source, or image files.
        given: options of a command by name; None counts as not given.
        out: folder for the figures; by default the run's.
        device: where the model runs.
    Raises:
        RecipeError: an option that has no effect on the run, or a value that breaks its rule.
        DataError: an item cannot be read.
    """
    recipe = recipe_in_use(run)
    panel = panel_of(recipe.panel)
    options = given_options(panel, "explain", given or {})
    return panel.explain(panel.load(run, device=device), recipe, items, options, out=out or run.figures)


def explain(
    run: Run,
    source: str,
    *,
    features: str | None = None,
    n_best: int | None = None,
    out: Path | None = None,
    device: str = "cpu",
) -> SourceExplanation:
    """Predict one source with a spell run and draw its attention.

    Args:
        run: a run of the panel `spell`.
        source: one source as text.
        features: of the source, as text, for a run with features.
        n_best: candidates to list; three by default.
        out: folder for the figure; by default the run's.
        device: where the model runs.
    """
    given = {"n_best": n_best, "features": features}
    found: Any = explain_all(run, [source], given, out=out, device=device)[0]
    explanation: SourceExplanation = found
    return explanation


def explain_image(
    run: Run,
    image: Path,
    *,
    layer: str | None = None,
    of_class: str | None = None,
    out: Path | None = None,
    device: str = "cpu",
) -> ImageExplanation:
    """Classify one image, and draw what a convolution made of it and the evidence for the class.

    Args:
        run: a run of the panel `see`.
        image: an image file.
        layer: the convolution whose activations are drawn, by name or number; the first by default.
        of_class: the class whose evidence is drawn; the predicted one by default.
        out: folder for the figures; by default the run's.
        device: where the model runs.
    Raises:
        DataError: the image cannot be read.
        RecipeError: no such convolution or class.
    """
    found: Any = explain_all(run, [str(image)], {"layer": layer, "class": of_class}, out=out, device=device)[0]
    explanation: ImageExplanation = found
    return explanation
