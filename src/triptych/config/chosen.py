"""Decoding chosen by options of a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.config.loading import with_changes
from triptych.config.spell import SpellDecoding, SpellRecipe, with_beam_for_n_best
from triptych.errors import RecipeError

DECODE_OPTIONS = {
    "greedy": (),
    "beam": ("beam_size", "n_best", "length_penalty"),
    "sample": ("samples", "temperature", "top_k", "top_p", "seed"),
}


def chosen_decoding(recipe: SpellRecipe, options: Mapping[str, Any]) -> SpellDecoding:
    """The recipe's decoding with the options that were given on top.

    Of beam size and n-best, one that was given moves the recipe's other, so that the beam is at least as wide.

    Raises:
        RecipeError: an option of another method than the one chosen, or a value that breaks its rule.
    """
    given = {name: value for name, value in options.items() if value is not None}
    method = given.pop("decode", None) or _implied_method(recipe.decoding.method, given)
    _check_options(method, given)
    fitted = with_beam_for_n_best(given, recipe.decoding)
    changes = {f"decoding.{name}": value for name, value in fitted.items()}
    decoding = with_changes(recipe, {**changes, "decoding.method": method}).decoding
    assert isinstance(decoding, SpellDecoding)
    return decoding


def _implied_method(usual: str, given: dict[str, Any]) -> str:
    """The recipe's method, unless an option that only another one has was given."""
    others = (method for method, names in DECODE_OPTIONS.items() if given.keys() & set(names))
    return usual if given.keys() <= set(DECODE_OPTIONS[usual]) else next(others, usual)


def _check_options(method: str, given: dict[str, Any]) -> None:
    for name, value in given.items():
        owner = next(owner for owner, names in DECODE_OPTIONS.items() if name in names)
        if method in DECODE_OPTIONS and method != owner:
            option = f"--{name.replace('_', '-')}"
            raise RecipeError(f"{option} is {value} and has no effect with {method}; expected --decode {owner}.")
