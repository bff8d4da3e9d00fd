"""Settings that recipes of earlier versions have: renamed ones are read by their new name, settled ones are dropped.

A run's `recipe.toml` is written whole, so it holds settings that no longer exist. One whose value had no alternative
is dropped; any other value is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.errors import RecipeError

RENAMED = {
    "spell": {("data", "skip_bad_rows"): "skip_bad"},
    "see": {("data", "skip_bad_files"): "skip_bad"},
}
SETTLED: Mapping[str, Mapping[tuple[str, str], tuple[Any, ...]]] = {
    "spell": {("training", "mode"): ("min",), ("model", "name"): ("recurrent",)},
    "see": {("training", "mode"): ("min", "max")},  # follows from the monitored metric
}


def modernised(tree: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """A recipe's tables with the settings of today.

    Args:
        tree: as TOML has it.
        origin: of the recipe, for messages.
    Raises:
        RecipeError: a setting that was dropped, with a value that has no meaning today.
    """
    panel = str(tree.get("panel"))
    modern = {key: dict(table) if isinstance(table, Mapping) else table for key, table in tree.items()}
    for (table, old), new in RENAMED.get(panel, {}).items():
        if isinstance(modern.get(table), dict) and old in modern[table]:
            modern[table].setdefault(new, modern[table].pop(old))
    for (table, old), values in SETTLED.get(panel, {}).items():
        if isinstance(modern.get(table), dict) and old in modern[table]:
            value = modern[table].pop(old)
            if value not in values:
                raise RecipeError(
                    f"{origin}: {table}.{old} is {value!r}, a setting that no longer exists.", hint="Remove it."
                )
    return modern
