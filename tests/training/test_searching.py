"""What a search makes of a recipe's own rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.toy import write_toy
from triptych import api
from triptych.config import load_recipe
from triptych.errors import RecipeError
from triptych.training.dimensions import parse_search

RECIPE = ("p2g-additive-tiny", ["training.epochs=4", "model.dropout=0"])


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return write_toy(tmp_path / "toy", train=24, valid=6, test=4)


def searched(data: Path, *searches: str, name: str, settings: tuple[str, ...] = ()) -> api.Tuned:
    recipe = load_recipe(RECIPE[0], [*RECIPE[1], *settings])
    return api.tune(recipe, [parse_search(text) for text in searches], name=name, data=data, prune=False)


def test_a_recipe_that_keeps_its_last_model_is_evaluated_by_it(data: Path) -> None:
    wild = ("training.monitor=valid_loss", "training.batch_size=4")
    rates = "optimizer.learning_rate=0.3,0.2"
    for keep in ("best", "last"):
        found = searched(data, rates, name=keep, settings=(*wild, f"training.keep={keep}")).search
        for trial in found.trials:
            losses = [row["valid_loss"] for row in trial.history]
            assert trial.value == (losses[-1] if keep == "last" else min(losses))
        assert any(
            trial.history[-1]["valid_loss"] > min(r["valid_loss"] for r in trial.history) for trial in found.trials
        )


def test_widths_that_must_be_equal_are_searched_together(data: Path) -> None:
    tuned = searched(data, "model.hidden,model.embedding=8,12", name="linked", settings=("training.epochs=1",))
    assert [trial.state for trial in tuned.search.trials] == ["complete", "complete"]
    assert tuned.recipe is not None
    model = load_recipe(tuned.recipe).model_dump()["model"]
    assert model["hidden"] == model["embedding"] in (8, 12)


def test_combinations_that_break_a_rule_fail_and_others_are_tried(data: Path) -> None:
    grid = ("model.hidden=8,12", "model.embedding=8,12")
    found = searched(data, *grid, name="grid", settings=("training.epochs=1",)).search
    assert sorted(trial.state for trial in found.trials) == ["complete", "complete", "failed", "failed"]
    with pytest.raises(RecipeError, match="embedding is 10 and hidden is"):
        searched(data, "model.hidden=8,12", "model.embedding=8,10", name="wrong")
