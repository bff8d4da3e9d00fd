"""Errors carry their parts, and their text is made of them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from tests.messages import check_message
from triptych.errors import DataError, RecipeError, TriptychError, check_choice


def test_an_error_about_a_value_says_it_with_its_rule_and_the_next_step() -> None:
    error = RecipeError(
        field="decoding.beam_size", value=0, expected="an integer >= 1", hint="Use --decode greedy for no beam."
    )
    assert (error.field, error.value, error.expected) == ("decoding.beam_size", 0, "an integer >= 1")
    assert error.hint == "Use --decode greedy for no beam."
    check_message("errors.value", error)


def test_an_error_without_a_value_says_that_it_is_missing() -> None:
    error = TriptychError(field="--name", expected="the name of a run")
    assert error.value is None
    check_message("errors.missing", error)


def test_texts_are_quoted_and_long_values_cut() -> None:
    assert str(TriptychError(field="cell", value="lstn", expected="lstm or gru")) == (
        "cell is 'lstn'; expected lstm or gru."
    )
    assert len(str(TriptychError(field="words", value=["word"] * 10_000, expected="one"))) < 300


@pytest.mark.parametrize(("line", "place"), [(None, "pairs.tsv: "), (12, "pairs.tsv:12: ")])
def test_an_error_about_a_file_begins_with_its_place(line: int | None, place: str) -> None:
    error = DataError("the target is empty.", path="pairs.tsv", line=line, hint="Fix the row.")
    assert (error.path, error.line) == (Path("pairs.tsv"), line)
    assert str(error) == f"{place}the target is empty. Fix the row."


def test_an_error_keeps_its_parts_between_processes() -> None:
    error = DataError(field="rows", value=3, expected="4", path="a.tsv", line=2)
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert (copy.field, copy.value, copy.expected, copy.path, copy.line) == ("rows", 3, "4", Path("a.tsv"), 2)


def test_a_message_without_a_full_stop_is_completed_by_its_rule() -> None:
    error = DataError("The file has 3 lines", field="lines", value=3, expected="5", hint="Add two.", path="a.txt")
    assert str(error) == "a.txt: The file has 3 lines; expected 5. Add two."
    assert str(DataError("The file has 3 lines.", expected="5")) == "The file has 3 lines."


def test_a_choice_is_one_of_the_known_names() -> None:
    check_choice("energy", ("energy", "distance"), field="score")
    for known, expected in (
        (("energy", "distance"), "energy or distance"),
        (("energy", "a", "b"), "one of energy, a, b"),
    ):
        with pytest.raises(TriptychError) as caught:
            check_choice("enrgy", known, field="score")
        found = caught.value
        assert (found.field, found.value, found.expected) == ("score", "enrgy", expected)
        assert found.hint == "Did you mean 'energy'?"
