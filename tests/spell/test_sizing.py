"""Settings that a recipe leaves to the data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.messages import check_message
from tests.prepared import prepare
from tests.recipes import spell_recipe
from tests.toy import write_toy
from triptych import api
from triptych.config import SpellModel, dump_recipe, parse_recipe
from triptych.config.common import AUTO
from triptych.errors import RecipeError, TriptychError
from triptych.runs.run import Run
from triptych.spell.build import build_transducer
from triptych.spell.sizing import FEW_PAIRS, SYNTHETIC, sized

COUNTS = (1, 100, 400, 800, 3_600, 10_000, 33_000, 109_000, 1_000_000)
EVERYTHING = ("training.epochs", "training.batch_size", "model.hidden", "model.embedding", "model.encoder_hidden")
AUTOMATIC = tuple(
    f"{key}=auto" for key in (*EVERYTHING, "model.encoder_layers", "model.dropout", "model.layer_dropout")
)


@pytest.mark.parametrize("pairs", COUNTS)
def test_every_automatic_setting_gets_a_number_that_its_rule_allows(pairs: int) -> None:
    recipe = spell_recipe("p2g-best", AUTOMATIC)
    chosen = sized(recipe, pairs)
    again = parse_recipe(chosen.model_dump(), origin="")  # checks every rule again
    assert again == chosen
    assert AUTO not in {*chosen.model.model_dump().values(), *chosen.training.model_dump().values()} - {"32-true"}
    build_transducer(chosen.model, source_size=30, target_size=30)


def test_what_the_recipe_sets_stays() -> None:
    recipe = spell_recipe("p2g-best", [*AUTOMATIC, "model.hidden=50", "training.epochs=7", "model.dropout=0.11"])
    chosen = sized(recipe, 3_600)
    assert (chosen.model.hidden, chosen.training.epochs, chosen.model.dropout) == (50, 7, 0.11)
    assert chosen.model.embedding != AUTO


def test_smaller_data_is_seen_more_often_and_less_in_all() -> None:
    chosen = [sized(spell_recipe("p2g-best", AUTOMATIC), pairs).training for pairs in COUNTS[1:]]
    epochs = [training.most_epochs for training in chosen]
    several = [pairs + training.synthetic_count // 5 for training, pairs in zip(chosen, COUNTS[1:], strict=True)]
    seen = [training.most_epochs * pairs for training, pairs in zip(chosen, several, strict=True)]
    updates = [total / training.items_per_update for total, training in zip(seen, chosen, strict=True)]
    real = [epochs for epochs, training in zip(epochs, chosen, strict=True) if not training.synthetic_count]
    assert real == sorted(real, reverse=True)
    assert seen == sorted(seen)
    assert min(updates) > 900, "at any size weights can leave where they started"


def test_a_network_needs_numbers() -> None:
    with pytest.raises(RecipeError) as caught:
        build_transducer(SpellModel(hidden=AUTO, embedding=AUTO), source_size=9, target_size=9)
    assert (caught.value.field, caught.value.value) == ("model.embedding", AUTO)


def test_a_recipe_keeps_auto_when_it_is_written(tmp_path: Path) -> None:
    recipe = spell_recipe("p2g-best", AUTOMATIC)
    (tmp_path / "written.toml").write_text(dump_recipe(recipe), encoding="utf-8")
    assert spell_recipe(tmp_path / "written.toml") == recipe


def test_a_run_records_what_was_chosen_and_resumes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_toy(tmp_path / "data", train=40, valid=8, test=8)
    small = ["model.hidden=8", "model.embedding=8", "training.batch_size=auto", "training.epochs=auto"]
    recipe = spell_recipe("p2g-plain-tiny", small)
    monkeypatch.setattr("triptych.spell.sizing.MOST_EPOCHS", 2)
    said: list[int] = []
    run = Run.create("first")
    run.write_recipe(recipe)
    trained = api.train(recipe, run, data=data, output=api.Output(decide=lambda r: said.append(r.training.most_epochs)))
    assert len(trained.fitted.rows) == 2
    assert said == [2]
    assert run.facts()["chosen"] == {"training.batch_size": 16, "training.epochs": 2}
    assert run.recipe() == recipe
    architecture = json.loads((run.path / "model.json").read_text(encoding="utf-8"))["architecture"]
    assert architecture["hidden"] == 8
    assert api.train(recipe, run, data=data).fitted.complete


def test_the_network_of_a_run_is_described_by_numbers(tmp_path: Path) -> None:
    data = write_toy(tmp_path / "data", train=40, valid=8, test=8)
    prepared = prepare(spell_recipe("p2g-best", AUTOMATIC), data)
    assert AUTO not in prepared.description["architecture"].values()
    assert sum(p.numel() for p in prepared.objective.network.parameters()) == prepared.trainable
    assert all(torch.isfinite(p).all() for p in prepared.objective.network.parameters())


def test_see_derives_nothing() -> None:
    with pytest.raises(TriptychError, match=r"training\.epochs is 'auto'; expected an integer"):
        api.load_recipe("kmnist-cnn", ["training.epochs=auto"])


def test_few_pairs_get_synthetic_ones() -> None:
    recipe = spell_recipe("p2g-best", AUTOMATIC)
    for pairs, synthetic in ((100, SYNTHETIC), (FEW_PAIRS - 1, SYNTHETIC), (FEW_PAIRS, 0), (10_000, 0)):
        assert sized(recipe, pairs).training.synthetic_count == synthetic, pairs
    for features in ("data.features_column=3", "data.languages=['a', 'b']"):
        assert sized(spell_recipe("p2g-best", [*AUTOMATIC, features]), 100).training.synthetic_count == 0
    many, none = (sized(spell_recipe("p2g-best", [f"training.synthetic_pairs={n}"]), 800).training for n in (15_000, 0))
    assert many.most_epochs * 3_800 == pytest.approx(none.most_epochs * 800, rel=0.05), "as many pairs are seen"


def test_synthetic_pairs_are_trained_on_and_nothing_else(tmp_path: Path) -> None:
    write_toy(tmp_path, train=60, valid=12, test=12)
    short = ("training.epochs=4", "data.remember=true")
    plain, with_synthetic = (
        prepare(spell_recipe("p2g-best", [*short, f"training.synthetic_pairs={count}"]), tmp_path) for count in (0, 40)
    )
    loader, items = with_synthetic.loaders.train(0, 1), []
    for epoch in range(4):
        loader.sampler.set_epoch(epoch)
        items += [item for batch in loader for item in batch.items]
    assert set(items) == set(range(100))
    assert sorted(item for item in items if item >= 60) == list(range(60, 100)), "each synthetic pair once"
    assert {item for batch in plain.loaders.train(0, 1) for item in batch.items} == set(range(60))
    assert plain.description == with_synthetic.description, "symbols and remembered pairs are those of the data"
    assert plain.files == with_synthetic.files


def test_synthetic_pairs_do_not_go_with_features() -> None:
    with pytest.raises(RecipeError, match="features") as caught:
        spell_recipe("p2g-best", ["training.synthetic_pairs=10", "data.features_column=3"])
    check_message("recipe.synthetic-pairs-with-features", caught.value)


def test_the_warning_of_few_updates_counts_synthetic_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_toy(tmp_path / "data", train=40, valid=8, test=8)
    small = ["model.hidden=8", "model.embedding=8", "training.batch_size=8", "training.epochs=2"]
    for count, updates in ((0, 10), (40, 20)):
        recipe = spell_recipe("p2g-plain-tiny", [*small, f"training.synthetic_pairs={count}"])
        run = Run.create(f"with-{count}")
        run.write_recipe(recipe)
        warnings: list[str] = []
        api.train(recipe, run, data=data, output=api.Output(warn=warnings.extend))
        assert f"the training makes {updates} updates, {updates // 2} per epoch" in "".join(warnings)
