"""Strict recipes: TOML in, checked tables, TOML out."""

from triptych.config.common import OptimizerTable, Table, TrainingTable
from triptych.config.loading import (
    PANELS,
    Recipe,
    describe_shipped,
    differences,
    dump_recipe,
    load_recipe,
    parse_recipe,
    parse_value,
    shipped_recipes,
    with_changes,
)
from triptych.config.spell import SpellData, SpellDecoding, SpellModel, SpellRecipe, SpellTraining

__all__ = [
    "PANELS",
    "OptimizerTable",
    "Recipe",
    "SpellData",
    "SpellDecoding",
    "SpellModel",
    "SpellRecipe",
    "SpellTraining",
    "Table",
    "TrainingTable",
    "describe_shipped",
    "differences",
    "dump_recipe",
    "load_recipe",
    "parse_recipe",
    "parse_value",
    "shipped_recipes",
    "with_changes",
]
