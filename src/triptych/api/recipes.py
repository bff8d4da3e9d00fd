"""Recipes by name or path; see `triptych.config`."""

from triptych.config import (
    Recipe,
    TrainingTable,
    describe_shipped,
    differences,
    dump_recipe,
    load_any_recipe,
    load_experiment,
    load_recipe,
    names_recipe,
    shipped_recipes,
    tiny,
)

__all__ = [
    "Recipe",
    "TrainingTable",
    "describe_shipped",
    "differences",
    "dump_recipe",
    "load_any_recipe",
    "load_experiment",
    "load_recipe",
    "names_recipe",
    "shipped_recipes",
    "tiny",
]
