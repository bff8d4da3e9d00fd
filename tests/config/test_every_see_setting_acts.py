"""No setting of the panel `see` is without effect: for each key, a change of it is seen where it is used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

from tests.config.test_every_setting_acts import leaves
from tests.prepared import prepare
from tests.recipes import see_recipe
from tests.see.architectures import Architecture
from tests.see.shapes import KINDS, draw_shape, write_shapes
from triptych import api
from triptych.config import SeeAugmentation, SeeDecoding, SeeRecipe
from triptych.errors import TriptychError
from triptych.images.classifier import Classifier
from triptych.images.form import InputForm
from triptych.runs.run import Run
from triptych.see import panel
from triptych.see.adapter import NetworkScorer
from triptych.see.collection import load_collection
from triptych.see.images import input_form

ONE_VALUE = ("panel",)
Case = tuple[str, tuple[str, ...]]


def test_keys_of_one_value_have_one() -> None:
    assert get_args(SeeRecipe.model_fields["panel"].annotation) == ("see",)


def recipe_with(*settings: str, of: str = "scenes-cnn-tiny") -> SeeRecipe:
    return see_recipe(of, ["data.height=12", "data.width=12", *settings])


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRIPTYCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        patched.setenv(api.NAME_FOR_HELPERS, "")
        yield


# data: what load_collection gives, and the form of the input


@dataclass(frozen=True)
class Data:
    """A change of `[data]` and what else must be set for it to matter.

    Attributes:
        change: the setting as `key=value`.
        base: settings on both sides.
        location: `splits`, `classes` without splits, `bad` with a file that cannot be read, or `none`.
    """

    change: str
    base: tuple[str, ...] = ()
    location: str = "classes"


DATA = {
    "set": Data("set=nonesuch", location="none"),
    "train": Data("train=valid", location="splits"),
    "valid": Data("valid=train", location="splits"),
    "test": Data("test=train", location="splits"),
    "height": Data("height=9"),
    "width": Data("width=9"),
    "colour": Data("colour=grey"),
    "fit": Data("fit=crop"),
    "pixels": Data("pixels=standard"),
    "skip_bad": Data("skip_bad=true", location="bad"),
    "max_pixels": Data("max_pixels=100"),
    "memory_limit_mb": Data("memory_limit_mb=1", ("height=160", "width=160")),
    "fractions": Data("fractions={train=0.5, valid=0.3, test=0.2}"),
    "valid_fraction": Data("valid_fraction=0.4", location="unvalidated"),
    "split_seed": Data("split_seed=1"),
    "max_train_images": Data("max_train_images=3"),
    "max_eval_images": Data("max_eval_images=1"),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path | None]:
    """Data of every kind; one picture is wider than high."""
    place = tmp_path_factory.mktemp("see-settings")
    for split in ("train", "valid", "test"):
        write_shapes(place / "splits" / split, each=4, seed=len(split))
    for split in ("train", "test"):
        write_shapes(place / "unvalidated" / split, each=5, seed=len(split))
    for name in ("classes", "bad"):
        write_shapes(place / name, each=8)
        noise = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)
        Image.fromarray(noise).save(place / name / "dark" / "wide.png")
    (place / "bad" / "dark" / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return {"none": None, **{name: place / name for name in ("splits", "classes", "bad", "unvalidated")}}


def read(recipe: SeeRecipe, location: Path | None) -> Any:
    try:
        collection = load_collection(recipe.data, location)
    except TriptychError as error:
        return str(error)
    form = input_form(recipe.data, collection.splits["train"].pixels)
    splits_read = [
        (split, images.names, images.labels.tolist(), images.pixels.shape, images.pixels.flatten(1).sum(dim=1).tolist())
        for split, images in collection.splits.items()
    ]
    return splits_read, form, collection.warnings


@pytest.mark.parametrize("key", [key for key in DATA if key != "memory_limit_mb"])
def test_data(key: str, places: dict[str, Path | None]) -> None:
    case = DATA[key]
    location = places[case.location]
    base = [f"data.{setting}" for setting in case.base]
    plain = read(recipe_with(*base), location)
    assert plain == read(recipe_with(*base), location), "the observation itself must be repeatable"
    assert plain != read(recipe_with(*base, f"data.{case.change}"), location)


def test_images_beyond_the_memory_limit_are_mapped(
    places: dict[str, Path | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped: list[bool] = []
    from triptych.images.cache import decode_images
    from triptych.see import collection

    def noted(*given: Any, **named: Any) -> Any:
        mapped.append(named["mapped"])
        return decode_images(*given, **named)

    monkeypatch.setattr(collection, "decode_images", noted)
    case = DATA["memory_limit_mb"]
    base = [f"data.{setting}" for setting in case.base]
    read(recipe_with(*base), places["classes"])
    assert not any(mapped)
    mapped.clear()
    read(recipe_with(*base, f"data.{case.change}"), places["classes"])
    assert mapped
    assert all(mapped)


# augmentation: what becomes of a batch


AUGMENTATION: dict[str, Case] = {
    "flip": ("flip=0.5", ()),
    "vertical_flip": ("vertical_flip=0.5", ()),
    "crop_scale": ("crop_scale=0.5", ()),
    "shift": ("shift=0.2", ()),
    "rotation": ("rotation=30", ()),
    "zoom": ("zoom=0.3", ()),
    "brightness": ("brightness=0.3", ()),
    "contrast": ("contrast=0.3", ()),
    "saturation": ("saturation=0.3", ()),
    "mixup": ("mixup=1.0", ()),
    "cutmix": ("cutmix=1.0", ()),
    "cutout": ("cutout=0.5", ()),
}


@pytest.mark.parametrize("key", AUGMENTATION)
def test_augmentation(key: str, places: dict[str, Path | None]) -> None:
    def loss(*settings: str) -> float:
        prepared = prepare(recipe_with("training.batch_size=6", *settings), places["classes"])
        objective: Any = prepared.objective
        augmentation = objective.augmentation
        assert augmentation is None or isinstance(augmentation, SeeAugmentation)
        torch.manual_seed(0)
        return float(torch.as_tensor(objective.loss(next(iter(prepared.loaders.train(0, 1)))).total).detach())

    change, base = AUGMENTATION[key]
    given = [f"augmentation.{setting}" for setting in base]
    assert loss(*given) != loss(*given, f"augmentation.{change}")


# model: shapes, modules, and what they compute in training


RESIDUAL = ("name=residual", "block_dropout=0.0", "hidden=[]", "hidden_dropout=[]")
MODEL: dict[str, Case] = {
    "name": ("name=residual", ("block_dropout=0.0", "hidden=[]", "hidden_dropout=[]")),
    "normalised": ("normalised=true", ("head=flatten",)),
    "last_hidden_norm": ("last_hidden_norm=false", ("normalised=true",)),
    "head": ("head=average", ()),
    "head_steps": ("head_steps=3", ("head=hopfield",)),
    "head_queries": ("head_queries=2", ("head=hopfield",)),
    "channels": ("channels=[4, 8]", ()),
    "kernels": ("kernels=[5]", ()),
    "padding": ("padding=['valid']", ("channels=[4]",)),
    "block_dropout": ("block_dropout=0.9", ()),
    "hidden": ("hidden=[32, 17]", ()),
    "hidden_dropout": ("hidden_dropout=[0.0, 0.9]", ()),
    "blocks": ("blocks=1", RESIDUAL),
    "drop_path": ("drop_path=0.9", RESIDUAL),
    "squeeze": ("squeeze=2", RESIDUAL),
    "dropout": ("dropout=0.9", RESIDUAL),
}
LITE = ("name=efficientnet-lite0", "block_dropout=0.0", "hidden=[]", "hidden_dropout=[]", "channels=[32, 64, 128]")


def compute(recipe: SeeRecipe) -> list[float]:
    torch.manual_seed(0)
    network = Architecture(recipe.model, 24, 24, 3, 3).build().train()
    for parameter in network.parameters():  # gates and branches that begin at nothing would hide what they do
        if parameter.ndim == 1 or not parameter.any():
            torch.nn.init.normal_(parameter)
    torch.manual_seed(1)
    values: list[float] = network(torch.rand(4, 3, 24, 24)).detach().flatten().tolist()
    return values


@pytest.mark.parametrize("key", MODEL)
def test_model(key: str) -> None:
    change, base = MODEL[key]
    settings = [f"model.{setting}" for setting in base]
    plain = compute(recipe_with(*settings))
    assert plain == compute(recipe_with(*settings)), "the observation itself must be repeatable"
    assert plain != compute(recipe_with(*settings, f"model.{change}"))


def test_weights(monkeypatch: pytest.MonkeyPatch, places: dict[str, Path | None]) -> None:
    loaded: list[str] = []
    monkeypatch.setattr(panel, "load_published", lambda _network, name: loaded.append(name))
    settings = ("data.height=32", "data.width=32", *(f"model.{each}" for each in LITE))
    prepare(recipe_with(*settings), places["classes"])
    assert not loaded
    prepare(recipe_with(*settings, "model.weights=imagenet"), places["classes"])
    assert loaded == ["efficientnet-lite0"]


# optimizer and training: what a short training leaves behind


OPTIMIZER: dict[str, Case] = {
    "name": ("optimizer.name=adam", ()),
    "learning_rate": ("optimizer.learning_rate=0.1", ()),
    "weight_decay": ("optimizer.weight_decay=0.1", ()),
    "momentum": ("optimizer.momentum=0.9", ()),
    "beta1": ("optimizer.beta1=0.5", ("optimizer.name=adam",)),
    "beta2": ("optimizer.beta2=0.5", ("optimizer.name=adam",)),
    "schedule": ("optimizer.schedule=cosine", ()),
    "warmup_steps": ("optimizer.warmup_steps=3", ()),
    "warmup_fraction": ("optimizer.warmup_fraction=0.4", ()),
    "final_fraction": ("optimizer.final_fraction=0.5", ("optimizer.schedule=linear",)),
    # so small a rate that accuracy stands still from the first epoch on
    "plateau_patience": (
        "optimizer.plateau_patience=0",
        ("optimizer.schedule=plateau", "optimizer.learning_rate=1e-7", "training.epochs=4"),
    ),
}
TRAINING: dict[str, Case] = {
    "epochs": ("training.epochs=1", ()),
    "batch_size": ("training.batch_size=5", ()),
    "seed": ("training.seed=1", ()),
    "keep": ("training.keep=last", ("optimizer.learning_rate=1e-8",)),
    "patience": ("training.patience=1", ("optimizer.learning_rate=1e-8",)),
    "patience_fraction": ("training.patience_fraction=0.3", ("optimizer.learning_rate=1e-8",)),
    "gradient_clip": ("training.gradient_clip=0.001", ()),
    "average_decay": ("training.average_decay=0.5", ()),
    "precision": ("training.precision=64-true", ("training.average_decay=0.5",)),
    "label_smoothing": ("training.label_smoothing=0.5", ()),
    "class_weights": ("training.class_weights=balanced", ()),
    "fit_last": ("training.fit_last=true", ("data.height=32", "data.width=32", *(f"model.{each}" for each in LITE))),
}


def left_behind(settings: tuple[str, ...], folder: Path, data: Path | None) -> Any:
    short = ("training.epochs=3", "training.batch_size=8", "optimizer.learning_rate=0.02")
    recipe = recipe_with(*short, *settings)
    run = Run.create(str(folder))
    run.write_recipe(recipe)
    trained = api.train(recipe, run, data=data)
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in trained.fitted.rows]
    return rows, trained.fitted.best_epoch, {name: tensor.tolist() for name, tensor in run.tensors().items()}


@pytest.mark.parametrize(("change", "base"), [*OPTIMIZER.values(), *TRAINING.values()], ids=[*OPTIMIZER, *TRAINING])
def test_optimizer_and_training(
    change: str, base: tuple[str, ...], tmp_path: Path, places: dict[str, Path | None]
) -> None:
    plain = left_behind(base, tmp_path / "plain", places["classes"])
    assert plain != left_behind((*base, change), tmp_path / "changed", places["classes"])


def test_monitor(tmp_path: Path, places: dict[str, Path | None]) -> None:
    """When all images are classified correctly, the loss falls on."""
    fast = ("model.normalised=true", "optimizer.learning_rate=0.05", "training.epochs=6")
    rows, by_accuracy, _ = left_behind(fast, tmp_path / "accuracy", places["classes"])
    again, best, _ = left_behind((*fast, "training.monitor=valid_loss"), tmp_path / "loss", places["classes"])
    assert rows == again
    accuracies, losses = ([row[key] for row in rows] for key in ("valid_accuracy", "valid_loss"))
    assert by_accuracy == 1 + accuracies.index(max(accuracies))
    assert best == 1 + losses.index(min(losses))
    assert by_accuracy != best


def test_keys_of_older_recipes_are_read_and_change_nothing() -> None:
    older = ("training.mode=max", "training.channels_last=false", "model.output=logits")
    assert recipe_with(*older) == recipe_with()
    assert recipe_with("training.monitor=valid_loss", "training.mode=min").training.mode == "min"
    for wrong in ("training.mode=min", "training.channels_last=3", "model.output=odds"):
        with pytest.raises(TriptychError):
            recipe_with(wrong)


def test_the_same_training_leaves_the_same_behind(tmp_path: Path, places: dict[str, Path | None]) -> None:
    both = [left_behind((), tmp_path / name, places["classes"]) for name in "ab"]
    assert both[0] == both[1]


# decoding: what a model answers


DECODING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "views": ({"views": "flips"}, {}),
    "top_k": ({"top_k": 1}, {}),
    "temperature": ({"temperature": 3.0}, {}),
    "batch_size": ({"batch_size": 2}, {}),
}


@pytest.mark.parametrize("key", DECODING)
def test_decoding(key: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Architecture.of(12, 12, 3, channels=(4,)).build().eval()
    seen: list[int] = []
    network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    form = InputForm(height=12, width=12, mean=(0.0,) * 3, deviation=(1.0,) * 3)
    pictures = [draw_shape(tmp_path / f"{kind}.png", kind, 3) for kind in KINDS]

    def answers(settings: SeeDecoding) -> Any:
        seen.clear()
        model = Classifier(NetworkScorer(network), form=form, classes=KINDS, decoding=settings)
        return model.predict(list(pictures)), list(seen)

    change, base = DECODING[key]
    assert answers(SeeDecoding(**base)) == answers(SeeDecoding(**base))
    assert answers(SeeDecoding(**base)) != answers(SeeDecoding(**{**base, **change}))


# the rest


def test_title(tmp_path: Path, places: dict[str, Path | None]) -> None:
    recipe = recipe_with("title=A title of its own", "training.epochs=1")
    run = Run.create(str(tmp_path / "run"))
    run.write_recipe(recipe)
    api.train(recipe, run, data=places["classes"])
    assert "A title of its own" in api.write_report(run).read_text(encoding="utf-8").split("<h2")[0]


def test_validation_goes_by_the_batch_size_of_decoding(places: dict[str, Path | None]) -> None:
    prepared = prepare(recipe_with("decoding.batch_size=2", "data.max_eval_images=3"), places["splits"])
    assert [len(batch) for batch in prepared.loaders.valid(0, 1)] == [2, 1]


def test_no_key_is_missing() -> None:
    tables: dict[str, Iterable[str]] = {
        "data": DATA,
        "augmentation": AUGMENTATION,
        "model": [*MODEL, "weights"],
        "optimizer": OPTIMIZER,
        "training": [*TRAINING, "monitor"],
        "decoding": DECODING,
    }
    shown = [f"{table}.{key}" for table, keys in tables.items() for key in keys]
    assert sorted([*shown, *ONE_VALUE, "title"]) == sorted(leaves(SeeRecipe))
