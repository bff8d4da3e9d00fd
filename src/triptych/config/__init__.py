"""Strict recipes: TOML in, checked tables, TOML out."""

from triptych.config.common import Combination, OptimizerTable, Precision, Table, TrainingTable
from triptych.config.decoding import SpellDecoding
from triptych.config.loading import (
    PANELS,
    AnyRecipe,
    Recipe,
    describe_shipped,
    differences,
    dump_recipe,
    load_any_recipe,
    load_experiment,
    load_recipe,
    names_recipe,
    parse_experiment,
    parse_recipe,
    parse_value,
    shipped_recipes,
    tiny,
    with_changes,
)
from triptych.config.recall import RECALL_EXPERIMENTS, RecallRecipe
from triptych.config.see import ImageForm, SeeAugmentation, SeeData, SeeDecoding, SeeModel, SeeRecipe, SeeTraining
from triptych.config.spell import (
    SpellData,
    SpellModel,
    SpellRecipe,
    SpellTraining,
)

__all__ = [
    "PANELS",
    "RECALL_EXPERIMENTS",
    "AnyRecipe",
    "Combination",
    "ImageForm",
    "OptimizerTable",
    "Precision",
    "RecallRecipe",
    "Recipe",
    "SeeAugmentation",
    "SeeData",
    "SeeDecoding",
    "SeeModel",
    "SeeRecipe",
    "SeeTraining",
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
    "load_any_recipe",
    "load_experiment",
    "load_recipe",
    "names_recipe",
    "parse_experiment",
    "parse_recipe",
    "parse_value",
    "shipped_recipes",
    "tiny",
    "with_changes",
]
