"""The recipe `photos`, with random weights: features, a fitted last layer, and runs that work like any other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.recipes import see_recipe
from tests.see.shapes import KINDS, draw_shape, write_shapes
from triptych import api
from triptych.config import SeeRecipe
from triptych.errors import DataError, RecipeError
from triptych.runs.run import Run
from triptych.see import collection
from triptych.see.collection import load_collection
from triptych.see.efficientnet import EfficientNetLite
from triptych.see.images import scaled
from triptych.see.last_layer import choose
from triptych.see.panel import PANEL

RANDOM = ("model.weights=", "data.height=32", "data.width=32")


def photos(*settings: str) -> SeeRecipe:
    return see_recipe("photos", [*RANDOM, *settings])


@dataclass(frozen=True)
class Trained:
    """A run over shapes, with what its training printed."""

    run: Run
    data: Path
    lines: list[str]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRIPTYCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patched.setenv(api.NAME_FOR_HELPERS, "")
        yield


def train(recipe: SeeRecipe, place: Path, data: Path) -> Trained:
    lines: list[str] = []
    run = api.start_run(recipe, recipe_name="photos", name=str(place), data=data)
    api.train(recipe, run, data=data, output=api.Output(describe=lines.append))
    return Trained(run, data, lines)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    place = tmp_path_factory.mktemp("photos")
    for split, each in (("train", 6), ("test", 3)):
        write_shapes(place / "shapes" / split, each=each, seed=len(split))
    return train(photos(), place / "run", place / "shapes")


def test_all_training_images_are_trained_on_and_held_out_once(trained: Trained) -> None:
    facts = trained.run.facts()
    assert facts["status"] == "finished"
    assert facts["counts"] == {"train": 18, "test": 9}
    fit = facts["first_fit"]
    assert (fit["chosen_by"], fit["held_out"]) == ("6-fold cross-validation", 18)
    (row,) = trained.run.history()
    assert row["valid_accuracy"] == fit["accuracy"]["value"]
    low, high = fit["accuracy"]["low"], fit["accuracy"]["high"]
    assert f"accuracy {row['valid_accuracy']:.3f} [{low:.3f}, {high:.3f}] on 18 images" in trained.lines[-1]


def test_the_kept_layer_is_the_one_fitted_to_the_networks_features(trained: Trained) -> None:
    model = PANEL.load(trained.run)
    network = model.scorer.network
    assert isinstance(network, EfficientNetLite)
    data = PANEL.read(photos(), trained.data)
    with torch.inference_mode():
        features = {
            split: network.features(scaled(model.form, images.pixels)).numpy() for split, images in data.splits.items()
        }
    chosen = choose(features["train"], data.splits["train"].labels.numpy(), 3)
    assert trained.run.facts()["first_fit"]["penalty"] == chosen.penalty
    found = model.scores(data.splits["test"].pixels.numpy())[0]
    np.testing.assert_allclose(found, chosen.layer.scores(features["test"]), rtol=1e-3, atol=1e-3)


def test_everything_before_the_last_layer_stays_as_it_was(trained: Trained) -> None:
    recipe = photos()
    network = PANEL.build(recipe, PANEL.read(recipe, trained.data)).objective.network
    kept = trained.run.tensors()
    for name, tensor in network.state_dict().items():
        assert torch.equal(kept[name], tensor) != name.startswith("last."), name


def test_the_run_is_evaluated_explained_and_cannot_be_calibrated(trained: Trained, tmp_path: Path) -> None:
    tested = api.evaluate(trained.run, split="test")
    assert tested.scores.n_items == 9
    assert "valid_accuracy" in trained.run.history()[0]
    assert "Evaluation test" in api.write_report(trained.run).read_text(encoding="utf-8")
    image = draw_shape(tmp_path / "image.png", "striped", 77)
    (explained,) = PANEL.explain(PANEL.load(trained.run), photos(), [str(image)], {}, out=tmp_path)
    assert explained.saliency.exists()
    assert explained.evidence.saliency.layer == "head"
    with pytest.raises(DataError) as found:
        api.calibrate(trained.run)
    assert "no validation images" in str(found.value)
    assert "data.valid_fraction" in found.value.hint


def test_a_validation_folder_chooses_the_penalty(trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "shapes").mkdir()
    (tmp_path / "shapes" / "train").symlink_to(trained.data / "train")
    write_shapes(tmp_path / "shapes" / "valid", each=4, seed=9)
    again = train(photos(), tmp_path / "run", tmp_path / "shapes")
    fit = again.run.facts()["first_fit"]
    assert (fit["chosen_by"], fit["held_out"]) == ("validation", 12)
    scores = api.evaluate(again.run, split="valid").scores
    assert scores.accuracy.value == pytest.approx(fit["accuracy"]["value"])
    assert scores.log_loss.value == pytest.approx(again.run.history()[0]["valid_loss"], abs=1e-3)
    assert api.calibrate(again.run).temperature > 0


def test_one_image_per_class_is_enough(tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", each=1)
    found = train(photos(), tmp_path / "run", tmp_path / "shapes")
    assert found.run.facts()["counts"] == {"train": 3}
    assert found.lines[-1].endswith("no image could be held out, so its accuracy is unknown")
    assert api.write_report(found.run).exists()
    model = PANEL.load(found.run)
    for kind in KINDS:
        assert model.predict(tmp_path / "shapes" / kind / "000.png")[0].label == kind


def test_epochs_go_on_from_the_fitted_layer(trained: Trained, tmp_path: Path) -> None:
    write_shapes(tmp_path / "shapes", each=12)
    settings = ("training.epochs=1", "data.valid_fraction=0.1", "optimizer.learning_rate=1e-9", "training.batch_size=8")
    found = train(photos(*settings), tmp_path / "run", tmp_path / "shapes")
    assert found.run.facts()["first_fit"]["chosen_by"] == "validation"
    recipe = photos(*settings)
    prepared = PANEL.build(recipe, PANEL.read(recipe, tmp_path / "shapes"))
    assert prepared.first_fit is not None
    prepared.first_fit()
    wanted = prepared.objective.network.state_dict()["last.weight"]
    torch.testing.assert_close(found.run.tensors()["last.weight"], wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("each", "splits"),
    [(9, {"train": 27}), (10, {"train": 27, "test": 3}), (40, {"train": 96, "valid": 12, "test": 12})],
)
def test_few_images_are_not_spent_on_validation(
    each: int, splits: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collection, "LEAST_TO_VALIDATE", 100)
    write_shapes(tmp_path / "shapes", each=each)
    assert load_collection(photos().data, tmp_path / "shapes").counts == splits


def test_of_many_training_images_a_tenth_validates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_shapes(tmp_path / "shapes" / "train", each=10)
    assert load_collection(photos().data, tmp_path / "shapes").counts == {"train": 30}
    monkeypatch.setattr(collection, "LEAST_TO_VALIDATE", 30)
    assert load_collection(photos().data, tmp_path / "shapes").counts == {"train": 27, "valid": 3}


def test_the_size_follows_the_images(tmp_path: Path) -> None:
    recipe = see_recipe("photos", ["model.weights="])
    for side, wanted in ((20, collection.SIDE_OF_SMALL), (collection.SMALL, collection.PRETRAINED_SIDE)):
        folder = tmp_path / str(side)
        for number in range(2):
            for kind in KINDS:
                draw_shape(folder / kind / f"{number}.png", kind, number, side=side)
        data = PANEL.read(recipe, folder)
        assert data.splits["train"].pixels.shape[1:] == (3, wanted, wanted)
        prepared = PANEL.build(recipe, data)
        assert isinstance(prepared.recipe, SeeRecipe)
        assert prepared.recipe.data.height == prepared.recipe.data.width == wanted
        assert prepared.description["input"]["height"] == wanted


def test_a_run_keeps_the_size_that_was_chosen(tmp_path: Path) -> None:
    recipe = see_recipe("photos", ["model.weights="])
    write_shapes(tmp_path / "shapes", each=1)
    run = train(recipe, tmp_path / "run", tmp_path / "shapes").run
    assert json.loads((run.path / "run.json").read_text())["chosen"]["data.height"] == collection.SIDE_OF_SMALL
    folder = tmp_path / "larger"
    for kind in KINDS:
        draw_shape(folder / kind / "0.png", kind, 3, side=collection.SMALL)
    model = PANEL.load(run)
    data = PANEL.read(recipe, folder, model=model, whole="test")
    assert data.splits["test"].pixels.shape[2:] == (collection.SIDE_OF_SMALL,) * 2


@pytest.mark.parametrize(
    ("recipe", "setting", "parts"),
    [
        ("scenes-cnn", "training.fit_last=true", ("training.fit_last is true", "'cnn'", "efficientnet-lite0")),
        ("scenes-cnn", "training.epochs=0", ("training.epochs is 0", "training.fit_last")),
        ("scenes-cnn", "data.pixels=pretrained", ("data.pixels is pretrained", "'cnn'")),
        ("photos", "training.epochs=2", ("data.valid_fraction is auto", "training.epochs 2")),
        ("photos", "data.height=64", ("height is 64 and width is auto",)),
        ("scenes-cnn", "model.weights=imagenet", ("weights (imagenet)", "'cnn'")),
    ],
)
def test_settings_that_do_not_go_together_are_refused(recipe: str, setting: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError) as found:
        see_recipe(recipe, [setting])
    assert all(part in str(found.value) for part in parts), str(found.value)


def test_there_is_no_learning_rate_to_find_and_nothing_for_two_processes(trained: Trained, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"training\.epochs is 0"):
        api.find_learning_rate(photos(), data=trained.data, steps=10, out=tmp_path)
    run = api.start_run(photos(), recipe_name="photos", name=str(tmp_path / "run"), data=trained.data)
    with pytest.raises(RecipeError, match="in one process"):
        api.train(photos(), run, data=trained.data, hardware=api.Hardware("cpu", devices=2))
