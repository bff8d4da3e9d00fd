"""A recipe with its data, ready to train."""

from __future__ import annotations

from typing import Any

from triptych.api.panels import panel_of
from triptych.data.locations import Location
from triptych.training.objective import Prepared


def prepare(recipe: Any, location: Location | None) -> Prepared:
    """The recipe's network and batches, built on the data at a place."""
    panel = panel_of(recipe.panel)
    return panel.build(recipe, panel.read(recipe, location))
