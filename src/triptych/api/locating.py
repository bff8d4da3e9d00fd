"""Where a recipe's data is, and the languages that this says."""

from __future__ import annotations

from pathlib import Path

from triptych.config import Recipe, with_changes
from triptych.data.locations import Location, describe_location
from triptych.errors import RecipeError


def placed(recipe: Recipe, location: Location | None) -> Recipe:
    """The recipe with the languages of data that lies by language, where it names none itself.

    Raises:
        RecipeError: the recipe's data has no languages, such as images.
    """
    if location is None or isinstance(location, Path):
        return recipe
    if not hasattr(recipe.data, "languages"):
        raise RecipeError(
            field="--data",
            value=describe_location(location),
            expected="one path, without a language",
            hint="Write --data PATH.",
        )
    return recipe if recipe.data.languages else with_changes(recipe, {"data.languages": list(location)})


def check_placed(recipe: Recipe, location: Location) -> None:
    """See that data by language is for a run that has languages.

    Raises:
        RecipeError: it is not.
    """
    if not isinstance(location, Path) and not getattr(recipe.data, "languages", ()):
        raise RecipeError(
            field="--data",
            value=describe_location(location),
            expected="one path, without a language: this run was not trained on several",
            hint="Write --data PATH.",
        )
