"""The panel `see` as the frame sees it: prepare a training, load a model, evaluate it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from triptych.config import SeeDecoding, SeeRecipe
from triptych.data.progress import reading_bar
from triptych.errors import DataError, RecipeError, RunError
from triptych.images.form import InputForm
from triptych.images.sources import Collection
from triptych.report import comparison
from triptych.report.card import Use
from triptych.report.comparison import Errors
from triptych.report.html import Section
from triptych.runs.devices import check_device
from triptych.runs.members import joined, members_of
from triptych.runs.run import Run
from triptych.see import evaluation_report as story
from triptych.see.batches import Shuffled, loader
from triptych.see.build import build_described, build_network, describe_network
from triptych.see.classifier import Classifier
from triptych.see.collection import load_collection
from triptych.see.ensemble import EnsembleNetwork
from triptych.see.images import Images
from triptych.see.inputs import input_form
from triptych.see.metrics import Judged, Scores, score
from triptych.see.objective import SeeObjective
from triptych.training.prepared import Loaders, Prepared

PANEL = "see"
CLASSES_LISTED = 20  # in a model card


@dataclass(frozen=True)
class Evaluation:
    """How a model did on a split.

    Attributes:
        split: which split.
        decoding: how classes were read off.
        items: images, true classes and probabilities, in the order of the data.
        images: the images themselves.
        scores: figures with intervals.
    """

    split: str
    decoding: SeeDecoding
    items: Judged
    images: Images
    scores: Scores


def prepare(recipe: SeeRecipe, location: Path | None) -> Prepared:
    """Read the data and build the network, initialised from `training.seed`."""
    with reading_bar("images") as progress:
        collection = load_collection(recipe.data, location, progress=progress)
    if len(collection.classes) < 2:
        raise DataError(
            f"the data has {len(collection.classes)} class, {', '.join(collection.classes)}; expected at least two. "
            "Lay the images out as one folder per class."
        )
    form = input_form(recipe.data, collection.splits["train"].pixels)
    torch.manual_seed(recipe.training.seed)
    sizes = _sizes(form, collection.classes)
    network = build_network(recipe.model, **sizes).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = SeeObjective(
        network,
        form=form,
        classes=len(collection.classes),
        augmentation=recipe.augmentation,
        label_smoothing=recipe.training.label_smoothing,
        class_weights=_class_weights(recipe, collection),
    )
    description = {
        "architecture": describe_network(recipe.model, **sizes),
        "input": form.to_dict(),
        "classes": list(collection.classes),
        "decoding": recipe.decoding.model_dump(),
    }
    loaders = _loaders(recipe, collection, network)
    return Prepared(
        objective,
        loaders,
        description,
        collection.fingerprints,
        collection.counts,
        collection.warnings,
        collection,
        collection.available,
        collection.content,
    )


def load(run: Run, *, device: str = "cpu") -> Classifier:
    """The run's kept model, ready to predict. Nothing is unpickled.

    Raises:
        RunError: the model is missing, damaged, of another panel or of a newer format.
    """
    check_device(device)
    description = run.model(PANEL)
    path = run.path / "model.json"
    form = InputForm.from_dict(description.get("input"), path)
    classes = description.get("classes")
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise RunError(f"{path}: classes is {classes!r}; expected a list of names.")
    networks = []
    for document, tensors in members_of(description, run.tensors(), path):
        network = build_described(document, path, **_sizes(form, classes))
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise RunError(
                f"{run.path}: model.safetensors does not fit model.json ({_one_line(error)}); "
                "expected both from one training."
            ) from None
        networks.append(network)
    try:
        decoding = SeeDecoding.model_validate(description.get("decoding", {}))
    except ValidationError as error:
        raise RunError(f"{path}: decoding is damaged ({_one_line(error)}); expected what training wrote.") from None
    whole = networks[0] if len(networks) == 1 else EnsembleNetwork(networks)
    whole = whole.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Classifier(whole, form=form, classes=classes, decoding=decoding, device=device)


def join(runs: Sequence[Run]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of one model made of several runs' models; its probabilities are not calibrated.

    Raises:
        RunError: fewer than two runs, an ensemble among them, other classes or another form of images, or other data:
            what one member was trained on might be another's test.
    """

    def alike(description: Mapping[str, Any], _path: Path) -> Any:
        return description.get("classes"), description.get("input")

    description, tensors = joined(
        runs, PANEL, alike=alike, otherwise="other classes or another form of images", limit="max_train_images"
    )
    return {**description, "decoding": runs[0].recipe().decoding.model_dump()}, tensors


def read(
    recipe: SeeRecipe, location: Path | None, classifier: Classifier, *, whole: str | None = None
) -> Collection[Images]:
    """The recipe's data by the model's classes, split as for training; with `whole`, only that split.

    Where the data has no splits, `whole` is all of it.
    """
    with reading_bar("images") as progress:
        return load_collection(recipe.data, location, whole=whole, classes=classifier.classes, progress=progress)


def evaluate(
    classifier: Classifier, _recipe: SeeRecipe, data: Collection[Images], *, split: str, decoding: SeeDecoding
) -> Evaluation:
    """Predict a split and judge it."""
    if split not in data.splits:
        raise DataError(f"split is {split!r}; expected one that the data has: {', '.join(data.splits)}.")
    return judge(classifier, data.splits[split], split=split, decoding=decoding)


def judge(classifier: Classifier, images: Images, *, split: str, decoding: SeeDecoding) -> Evaluation:
    """Predict and score some images."""
    probabilities = classifier.probabilities(images.pixels, decoding=decoding)
    judged = Judged(images.names, images.labels.numpy(), probabilities.double().numpy(), classifier.classes)
    return Evaluation(split, decoding, judged, images, score(judged))


def label(decoding: SeeDecoding) -> str:
    """A short name for how classes are read off: `one`, `flips`."""
    return decoding.views


def record(folder: Path, name: str, evaluation: Evaluation, classifier: Classifier) -> dict[str, Any]:
    """Write every prediction, and tell what a report shows."""
    story.write_predictions(folder, name, evaluation.items, evaluation.images.digests)
    told = story.details(evaluation.items, evaluation.scores, evaluation.images.pixels)
    return {**told, "decoding": evaluation.decoding.model_dump(), "classes": list(classifier.classes)}


def section(name: str, told: Mapping[str, Any], figures: Path) -> Section:
    """The part of the report about one evaluation."""
    return story.section(name, told, figures)


def overview(evaluations: Mapping[str, Mapping[str, Any]]) -> Section:
    """All evaluations of a run in one table."""
    return story.overview(evaluations)


def measures(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The main figures as people read them."""
    named = {"accuracy": "accuracy", "top3": "accuracy within 3", "log_loss": "log loss"}
    return {text: scores[key] for key, text in named.items() if key in scores}


def use(description: Mapping[str, Any]) -> Use:
    """What a model card says of a classifier."""
    form, classes = description["input"], description["classes"]
    temperature = description.get("decoding", {}).get("temperature", 1.0)
    calibration = (
        "Probabilities were not calibrated after training (`triptych calibrate`); the report shows how far they can be "
        "believed."
        if temperature == 1.0
        else f"Probabilities are taken at the temperature {temperature:g}; the report shows how far to believe them."
    )
    listed = ", ".join(classes[:CLASSES_LISTED]) + (", ..." if len(classes) > CLASSES_LISTED else "")
    return Use(
        purpose=f"It says which of {len(classes)} classes a picture is of: {listed}. Pictures are brought to "
        f"{form['height']} x {form['width']} pixels, {form['colour']}.",
        limits=(
            "It gives one of its classes to every picture, also to one of something else.",
            "What cannot be told at this size, it cannot tell.",
            calibration,
        ),
        python="model.predict([PATH], top_k=3)[0].classes",
        command="triptych predict RUN FOLDER --n-best 3",
    )


def read_errors(path: Path) -> Errors:
    """Errors per image from a predictions file; images are told apart by their digests, or by name where they lack one.

    Raises:
        DataError: the file lacks a column.
    """
    return comparison.read_errors(path, _errors)


def _errors(rows: Sequence[Mapping[str, str]]) -> Errors:
    items = [(row.get("digest") or row["image"], row["truth"]) for row in rows]
    wrong = np.array([row["prediction"] != row["truth"] for row in rows], dtype=float)
    losses = np.array([float(row["log_loss"]) for row in rows])
    ones = np.ones(len(rows))
    return Errors(items, {"error rate": (wrong, ones), "log loss": (losses, ones)})


def _sizes(form: InputForm, classes: Sequence[str]) -> dict[str, int]:
    """The sizes that a network is built for."""
    return {"in_channels": form.channels, "height": form.height, "width": form.width, "classes": len(classes)}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _class_weights(recipe: SeeRecipe, collection: Collection[Images]) -> torch.Tensor | None:
    if recipe.training.class_weights == "none":
        return None
    return SeeObjective.balanced_weights(collection.splits["train"].labels, len(collection.classes))


def _check_normalisable(network: nn.Module, batch_size: int, count: int, world_size: int) -> None:
    """See that no process trains on a single image where hidden layers are normalised over the batch."""
    if not any(isinstance(module, nn.BatchNorm1d) for module in network.modules()):
        return
    own = 1 if torch.cuda.is_available() else world_size  # on GPUs they normalise together
    share = f" for each of {own} processes" if own > 1 else ""
    rule = f"expected at least two{share}, since the network normalises over the images of a batch (model.normalised)."
    if batch_size < 2 * own:
        raise RecipeError(f"training.batch_size is {batch_size}; {rule}")
    if count < 2 * own:
        raise DataError(f"the number of training images is {count}; {rule}")


def _loaders(recipe: SeeRecipe, collection: Collection[Images], network: nn.Module) -> Loaders:
    train, valid = collection.splits["train"], collection.splits["valid"]
    _check_normalisable(network, recipe.training.batch_size, len(train.labels), 1)

    def train_loader(rank: int, world_size: int) -> Any:
        size, seed = recipe.training.batch_size, recipe.training.seed
        _check_normalisable(network, size, len(train.labels), world_size)
        order = Shuffled(len(train.labels), size, seed=seed, rank=rank, world_size=world_size)
        return loader(train, order)

    def valid_loader(rank: int, world_size: int) -> Any:
        size = recipe.decoding.batch_size
        order = Shuffled(len(valid.labels), size, shuffle=False, rank=rank, world_size=world_size)
        return loader(valid, order)

    return Loaders(train_loader, valid_loader)
