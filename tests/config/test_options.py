"""Options of commands are the fields of the tables."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field

from triptych.config.common import Table
from triptych.config.options import TABLES, given_fields, option_fields, options_of, run_options
from triptych.config.spell_prediction import SpellWordLists


@pytest.mark.parametrize("command", ["predict", "test", "explain"])
def test_every_field_is_an_option_with_help(command: str) -> None:
    options = {option.name: option for option in run_options(command)}
    for panel in TABLES:
        assert set(options_of(panel, command)) <= options.keys()
    for option in options.values():
        assert option.kind in (int, float, str, bool, Path)
        assert len(option.help) > len("(spell only) ."), f"{option.name} has no description"


def test_options_have_the_names_and_kinds_of_their_fields() -> None:
    options = {option.name: option.kind for option in run_options("predict")}
    assert (options["decode"], options["beam_size"], options["length_penalty"]) == (str, int, float)
    assert (options["lexicon"], options["lexicon_weight"], options["views"]) == (Path, float, str)
    assert "method" not in options
    assert "n_best" in options_of("see", "predict")
    assert "n_best" not in options_of("see", "test")


def test_what_is_given_is_found_by_field() -> None:
    class Some(Table):
        first: int = Field(default=1, json_schema_extra={"option": "other"})
        second: int = Field(default=1, json_schema_extra={"option": None})

    assert option_fields(Some, "test") == {"other": "first"}
    assert given_fields(Some, "test", {"other": 5, "second": 6}) == {"first": 5}
    assert given_fields(SpellWordLists, "test", {"lexicon": Path("a")}) == {"lexicon": Path("a")}
