"""Shipped recipes: each loads, survives a round trip through TOML, and has a tiny form that differs only in size."""

from __future__ import annotations

import tomllib

import pytest

from tests.recipes import spell_recipe
from triptych.config import (
    describe_shipped,
    differences,
    dump_recipe,
    load_any_recipe,
    load_recipe,
    parse_experiment,
    parse_recipe,
    shipped_recipes,
    tiny,
)
from triptych.config.loading import SHIPPED
from triptych.errors import RecipeError

FULL = list(shipped_recipes())
NAMES = [*FULL, *(tiny(name) for name in FULL)]
SIZES_AND_LENGTHS = {
    "model.hidden", "model.embedding", "model.encoder_hidden", "model.attention_width",
    "model.encoder_layers", "model.decoder_layers", "model.layer_dropout",
    "training.epochs", "training.batch_size", "training.patience", "training.average_decay", "training.synthetic_pairs",
    "data.max_train_pairs", "data.max_eval_pairs",
    "data.set", "data.height", "data.width", "data.max_train_images", "data.max_eval_images",
    "model.channels", "model.blocks", "model.drop_path", "model.weights",
    "optimizer.warmup_steps",
    "patterns.width", "patterns.counts", "patterns.seeds", "patterns.count", "cues.per_memory", "cues.noise",
    "cues.draws", "networks.points", "grid.resolution", "grid.paths",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_round_trip_through_toml_gives_an_equal_recipe(name: str) -> None:
    recipe = load_any_recipe(name)
    text = dump_recipe(recipe)
    parse = parse_experiment if recipe.panel == "recall" else parse_recipe
    assert parse(tomllib.loads(text), origin=name) == recipe
    assert "extends" not in text


@pytest.mark.parametrize("name", FULL)
def test_every_recipe_has_a_tiny_form_of_the_same_kind(name: str) -> None:
    twin = tiny(name)
    recipe, small = load_any_recipe(name), load_any_recipe(twin)
    changed = differences(recipe, small).keys()
    assert changed, f"{twin} is no smaller than {name}"
    assert changed <= SIZES_AND_LENGTHS, f"{twin} differs from {name} in {sorted(changed - SIZES_AND_LENGTHS)}"
    assert small.panel == "recall" or small.training.most_epochs <= 2


def test_every_tiny_form_has_its_recipe() -> None:
    assert tomllib.loads((SHIPPED / "tiny.toml").read_text(encoding="utf-8")).keys() == set(FULL)
    with pytest.raises(RecipeError, match="expected a shipped one"):
        tiny("p2g-additve")


@pytest.mark.parametrize("name", FULL)
def test_a_shipped_recipe_says_its_command_and_its_title(name: str) -> None:
    assert "triptych " in describe_shipped(name) or "make demo" in describe_shipped(name)
    assert load_any_recipe(name).title


def test_the_recipes_of_the_specification_have_its_numbers() -> None:
    for name, attention in (("p2g-plain", "none"), ("p2g-additive", "additive")):
        recipe = spell_recipe(name)
        assert (recipe.model.cell, recipe.model.hidden, recipe.model.embedding) == ("lstm", 128, 128)
        assert (recipe.model.attention, recipe.model.tie_output, recipe.model.input_feeding) == (attention, True, False)
        assert (recipe.model.dropout, recipe.model.layer_dropout) == (0.3, 0.0)
        assert (recipe.model.encoder_layers, recipe.model.decoder_layers) == (1, 1)
        assert (recipe.model.source_symbol_dropout, recipe.model.target_symbol_dropout) == (0.0, 0.0)
        assert (recipe.optimizer.name, recipe.optimizer.learning_rate) == ("adam", 0.003)
        assert (recipe.optimizer.schedule, recipe.optimizer.weight_decay) == ("constant", 0.0)
        assert (recipe.training.epochs, recipe.training.batch_size) == (20, 64)
        assert (recipe.training.monitor, recipe.training.keep, recipe.training.mode) == ("valid_cer", "best", "min")
        assert (recipe.training.label_smoothing, recipe.training.patience, recipe.training.average_decay) == (0, 0, 0)
        assert recipe.decoding.method == "greedy"
    for name, attention in (("spa-eng-plain", "none"), ("spa-eng-general", "general")):
        recipe = spell_recipe(name)
        assert (recipe.model.hidden, recipe.model.attention, recipe.model.dropout) == (128, attention, 0.3)
        assert (recipe.training.epochs, recipe.training.keep) == (50, "last")
        assert (recipe.data.source_column, recipe.data.target_column) == (2, 1)
    assert spell_recipe("p2g-plain").data.source_unit == "symbols"
    assert spell_recipe("p2g-plain").data.target_unit == "characters"


def test_differences_names_exactly_the_changed_keys() -> None:
    plain = load_recipe("p2g-plain")
    changed = load_recipe("p2g-plain", ["training.seed=7", "data.fractions={train=0.5, valid=0.5}", "title=other"])
    assert differences(plain, changed) == {
        "data.fractions.test": (0.1, None),
        "data.fractions.train": (0.8, 0.5),
        "data.fractions.valid": (0.1, 0.5),
        "title": (plain.title, "other"),
        "training.seed": (0, 7),
    }
    assert differences(plain, plain) == {}
