"""The tables of see: what must change together is said in one error."""

from __future__ import annotations

import re
import shlex

import pytest

from triptych.config import SeeRecipe, load_recipe
from triptych.errors import RecipeError

RECIPES = ("scenes-best", "kmnist-best", "kmnist-cnn", "scenes-cnn", "scenes-cnn-norm", "demo-see")


@pytest.mark.parametrize("recipe", RECIPES)
def test_going_to_timm_names_all_that_must_change(recipe: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(recipe, ["model.name=timm/resnet18"])
    advice = str(caught.value).partition("or add: ")[2].rstrip(".")
    settings = [word for word in shlex.split(advice) if word != "--set"]
    assert settings
    assert all(re.fullmatch(r"model\.\w+=.+", setting) for setting in settings)
    changed = load_recipe(recipe, ["model.name=timm/resnet18", *settings])
    assert isinstance(changed, SeeRecipe)
    assert changed.model.name == "timm/resnet18"
