"""Recipes of a known panel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from triptych.config import SeeRecipe, SpellRecipe, load_recipe


def spell_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> SpellRecipe:
    """`load_recipe` of a recipe of spell."""
    recipe = load_recipe(name_or_path, overrides)
    assert isinstance(recipe, SpellRecipe)
    return recipe


def see_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> SeeRecipe:
    """`load_recipe` of a recipe of see."""
    recipe = load_recipe(name_or_path, overrides)
    assert isinstance(recipe, SeeRecipe)
    return recipe
