"""The table of decoding: one declaration, one rule everywhere, one way of choosing by options."""

from __future__ import annotations

from typing import Any

import pytest

from triptych.config import SpellDecoding, SpellRecipe, load_recipe
from triptych.config.decoding import METHODS, checked
from triptych.errors import RecipeError

USUAL = SpellDecoding()
READERS = (checked, USUAL.changed)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("method", "beem", "one of greedy, beam, sample"),
        ("beam_size", 0, "an integer >= 1"),
        ("beam_size", 2.5, "an integer"),
        ("samples", True, "an integer"),
        ("temperature", 0, "a number >= 0.0001"),
        ("top_p", 1.5, "a number <= 1"),
        ("top_k", -1, "an integer >= 0"),
        ("seed", "x", "an integer"),
        ("length_penalty", float("inf"), "a finite number"),
        ("max_length_factor", -0.5, "a number >= 0"),
        ("max_length_extra", -1, "an integer >= 0"),
        ("batch_size", 0, "an integer >= 1"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named_with_it(name: str, value: Any, expected: str) -> None:
    for read in READERS:
        with pytest.raises(RecipeError) as caught:
            read({name: value})
        assert (caught.value.field, caught.value.value, caught.value.expected) == (f"decoding.{name}", value, expected)


def test_an_unknown_setting_names_the_nearest() -> None:
    for read in READERS:
        with pytest.raises(RecipeError, match="Did you mean 'beam_size'"):
            read({"beam": 3})


def test_every_setting_is_described_and_belongs_to_one_method_or_to_all() -> None:
    for name, field in SpellDecoding.model_fields.items():
        assert field.description, name
    of_methods = [name for method in METHODS for name in SpellDecoding.of_method(method)]
    of_all = [name for name in SpellDecoding.model_fields if SpellDecoding.method_of(name) is None]
    assert sorted([*of_methods, *of_all]) == sorted(SpellDecoding.model_fields)
    assert SpellDecoding.of_method("greedy") == ()
    assert SpellDecoding.of_method("beam") == ("beam_size", "n_best", "length_penalty")
    assert of_all == ["method", "remembered", "max_length_factor", "max_length_extra", "batch_size"]


def test_more_candidates_than_the_beam_has_are_refused_with_beam_search_alone() -> None:
    """Before, a recipe with another method trained to its end, and could then not be evaluated."""
    text = ["decoding.n_best=8", "decoding.beam_size=5"]
    for method in ("greedy", "sample"):
        recipe = load_recipe("p2g-additive", [*text, f"decoding.method={method}"])
        assert isinstance(recipe, SpellRecipe)
        assert recipe.decoding.candidates == (1 if method == "greedy" else 3)
    with pytest.raises(RecipeError, match="n_best is 8; expected an integer from 1 to beam_size = 5"):
        load_recipe("p2g-additive", [*text, "decoding.method=beam"])
    with pytest.raises(RecipeError, match="n_best is 8; expected an integer from 1 to beam_size = 5"):
        checked({"method": "beam", "n_best": 8})


def test_a_length_limit_without_a_factor_is_allowed_everywhere() -> None:
    recipe = load_recipe("p2g-additive", ["decoding.max_length_factor=0.0"])
    assert isinstance(recipe, SpellRecipe)
    assert recipe.decoding.max_length_factor == checked({"max_length_factor": 0.0}).max_length_factor == 0


@pytest.mark.parametrize(
    ("usual", "given", "expected"),
    [
        ({}, {}, {"method": "greedy"}),
        ({}, {"beam_size": 3}, {"method": "beam", "beam_size": 3}),
        ({}, {"top_p": 0.5}, {"method": "sample", "top_p": 0.5}),
        ({"method": "sample"}, {"seed": 3}, {"method": "sample", "seed": 3}),
        ({}, {"n_best": 8}, {"method": "beam", "n_best": 8, "beam_size": 8}),
        ({"method": "beam", "n_best": 4}, {"beam_size": 2}, {"beam_size": 2, "n_best": 2}),
        ({}, {"max_length_extra": 2}, {"method": "greedy", "max_length_extra": 2}),
        ({"method": "beam"}, {"method": "greedy"}, {"method": "greedy"}),
    ],
)
def test_given_settings_choose_the_method_and_fit_the_beam(
    usual: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    before = SpellDecoding(**usual)
    found = before.changed(given)
    assert found.model_dump() == {**before.model_dump(), **expected}


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"method": "greedy", "beam_size": 3}, "decoding.beam_size"),
        ({"method": "beam", "top_p": 0.5}, "decoding.top_p"),
        ({"beam_size": 3, "top_p": 0.5}, "decoding.top_p"),
    ],
)
def test_a_setting_without_effect_is_refused(given: dict[str, Any], field: str) -> None:
    with pytest.raises(RecipeError) as caught:
        USUAL.changed(given)
    assert caught.value.field == field
    assert caught.value.value == given[field.removeprefix("decoding.")]


def test_candidates_widen_the_beam_or_draw_samples() -> None:
    assert USUAL.for_candidates(None) is USUAL
    assert USUAL.for_candidates(1).method == "greedy"
    wide = USUAL.for_candidates(9)
    assert (wide.method, wide.n_best, wide.beam_size) == ("beam", 9, 9)
    narrow = USUAL.for_candidates(3)
    assert (narrow.method, narrow.n_best, narrow.beam_size) == ("beam", 3, 5)
    one = SpellDecoding(method="beam", n_best=4).for_candidates(1)
    assert (one.method, one.n_best, one.beam_size) == ("beam", 1, 5)
    assert SpellDecoding(method="sample").for_candidates(7).samples == 7
    for settings in (USUAL, SpellDecoding(method="beam"), SpellDecoding(method="sample")):
        with pytest.raises(RecipeError) as caught:
            settings.for_candidates(0)
        assert caught.value.value == 0
