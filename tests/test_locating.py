"""Where a recipe's data is says its languages, before anything is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.messages import check_message
from tests.recipes import see_recipe, spell_recipe
from triptych import api
from triptych.api.locating import check_placed
from triptych.errors import RecipeError

PLACES = {"dut": Path("b"), "ady": Path("a")}


def test_languages_come_from_the_places_unless_the_recipe_has_them() -> None:
    plain, own = spell_recipe("p2g-best-tiny"), spell_recipe("p2g-best-tiny", ["data.languages=['ady', 'dut']"])
    found = api.placed(plain, PLACES)
    assert found.data.languages == ["dut", "ady"]  # type: ignore[union-attr]
    assert found.model_dump(exclude={"data"}) == plain.model_dump(exclude={"data"})
    assert api.placed(own, PLACES) == own
    for place in (None, Path("folder")):
        assert api.placed(plain, place) == plain


def test_what_has_no_languages_takes_one_path() -> None:
    with pytest.raises(RecipeError) as caught:
        api.placed(see_recipe("demo-see-tiny"), PLACES)
    assert (caught.value.field, caught.value.value) == ("--data", "dut=b ady=a")
    check_message("languages.of-images", caught.value)
    with pytest.raises(RecipeError) as caught:
        check_placed(spell_recipe("p2g-best-tiny"), PLACES)
    check_message("languages.of-a-run-of-one", caught.value)
    check_placed(spell_recipe("p2g-best-tiny"), Path("folder"))
