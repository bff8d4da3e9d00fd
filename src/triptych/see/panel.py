"""The panel `see`: implements `triptych.api.panels.Panel` for classifying small images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from triptych.config import Combination, SeeDecoding, SeeRecipe, with_changes
from triptych.config.options import given_fields
from triptych.config.see import SeeEvidence
from triptych.data.progress import reading_bar
from triptych.errors import DataError, RecipeError, RunError
from triptych.images.classifier import Classifier
from triptych.images.form import InputForm
from triptych.images.sources import Collection
from triptych.report import comparison
from triptych.report.card import Use
from triptych.report.comparison import Errors
from triptych.runs.members import joined, load_networks
from triptych.runs.run import Run
from triptych.runs.transfer import Transfer
from triptych.see import demo, evaluation_report, explaining, lines, start
from triptych.see.adapter import EnsembleNetwork, Model, NetworkScorer
from triptych.see.batches import loaders
from triptych.see.build import build_described, build_network, describe_network
from triptych.see.calibration import fit_temperature
from triptych.see.collection import load_collection
from triptych.see.images import Images, input_form
from triptych.see.metrics import Predicted, Scores, score
from triptych.see.named_sets import classes_of
from triptych.see.objective import SeeObjective, balanced_weights
from triptych.training.hardware import check_device
from triptych.training.objective import Prepared

CLASSES_LISTED = 20  # in a model card


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of a model on a split, with what it was made from."""

    split: str
    decoding: SeeDecoding
    items: Predicted
    images: Images
    scores: Scores

    @property
    def warnings(self) -> list[str]:
        """A sentence where the model predicts one class for everything."""
        predicted, count = set(self.items.predictions.tolist()), len(self.items.names)
        if len(predicted) > 1 or len(set(self.items.truths.tolist())) == 1:
            return []
        return [
            f"the model predicts class {self.items.classes[predicted.pop()]!r} for all {count} images of {self.split}. "
            "Train longer or with another learning rate; where one class is far more frequent than others, with "
            "--set training.class_weights=balanced."
        ]


class SeePanel:
    """Recipes, runs and predictions of see, as the `Panel` protocol defines them."""

    name = "see"
    demo: ClassVar[Any] = demo
    given: ClassVar[Any] = None
    ensemble_test_options = ""
    label_prefix = "views "
    section = staticmethod(evaluation_report.section)
    overview = staticmethod(evaluation_report.overview)

    def read(
        self, recipe: SeeRecipe, location: Path | None, *, model: Model | None = None, whole: str | None = None
    ) -> Collection[Images]:
        """Read the recipe's images and split them, labelled by the model's classes where there is a model.

        With `whole`, only that split: the part of that name where the data has splits, otherwise all of it.
        """
        classes = None if model is None else model.classes
        with reading_bar("images") as progress:
            return load_collection(recipe.data, location, whole=whole, classes=classes, progress=progress)

    def build(self, recipe: SeeRecipe, data: Collection[Images]) -> Prepared:
        """Build the network for some images, initialised from `training.seed`."""
        if len(data.classes) < 2:
            raise DataError(
                f"the data has {len(data.classes)} class, {', '.join(data.classes)}; expected at least two.",
                hint="Lay the images out as one folder per class.",
            )
        form = input_form(recipe.data, data.splits["train"].pixels)
        torch.manual_seed(recipe.training.seed)
        network = build_network(recipe.model, form.shape, len(data.classes))
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        balanced = recipe.training.class_weights == "balanced"
        objective = SeeObjective(
            network,
            form=form,
            classes=len(data.classes),
            augmentation=recipe.augmentation,
            label_smoothing=recipe.training.label_smoothing,
            class_weights=balanced_weights(data.splits["train"].labels, len(data.classes)) if balanced else None,
        )
        description = {
            "architecture": describe_network(recipe.model, form.shape, len(data.classes)),
            "input": form.model_dump(mode="json"),
            "classes": list(data.classes),
            "decoding": recipe.decoding.model_dump(),
        }
        return Prepared(recipe, objective, loaders(recipe, data, network), description)

    def sized(self, recipe: SeeRecipe, _data: Collection[Images]) -> SeeRecipe:
        """The recipe: of images nothing is "auto"."""
        return recipe

    def sized_as(self, recipe: SeeRecipe, run: Run) -> SeeRecipe:
        """The recipe with a start run's sizes wherever it leaves sizes to the data.

        Raises:
            RunError: the run is of another panel, an ensemble, or has no model.
        """
        run.model(self.name)
        return recipe

    def start(self, prepared: Prepared, run: Run) -> Transfer:
        """Copy into a prepared network what fits of a run's model; see `triptych.see.start`."""
        return start.started(prepared.objective.network, prepared.description, run)

    def load(self, run: Run, *, device: str = "cpu") -> Model:
        """The run's kept model, ready to predict. Nothing is unpickled.

        Raises:
            RunError: the model is missing, damaged, of another panel or of a newer format.
        """
        check_device(device)
        description = run.model(self.name)
        path = run.path / "model.json"
        form = InputForm.from_dict(description.get("input"), path)
        classes = description.get("classes")
        if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
            raise RunError(field="classes", value=classes, expected="a list of names", path=path)
        networks = load_networks(run, description, lambda own: build_described(own, path, form.shape, len(classes)))
        whole = networks[0] if len(networks) == 1 else EnsembleNetwork(networks)
        whole = whole.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        scorer, decoding = NetworkScorer(whole, device), _decoding(description, path)
        return Classifier(scorer, form=form, classes=classes, decoding=decoding)

    def with_dictionary(self, model: Model, _recipe: SeeRecipe, _run: Run) -> Model:
        """The model: images have no dictionary."""
        return model

    def join(self, runs: Sequence[Run], *, by: Combination = "average") -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Description and tensors of one model made of several runs' models; its probabilities are not calibrated.

        Raises:
            RecipeError: they are to vote; classifiers are averaged.
            RunError: fewer than two runs, an ensemble among them, other classes or another form of images, or other
                data: what one member was trained on might be another's test.
        """
        if by == "vote":
            raise RecipeError(
                field="--by", value=by, expected="average, since every image classifier gives probabilities"
            )

        description, tensors = joined(
            runs,
            self.name,
            alike=lambda description, _path: (description.get("classes"), description.get("input")),
            otherwise="other classes or another form of images",
            free={"max_train_images": 0},
        )
        return {**description, "decoding": runs[0].recipe().decoding.model_dump()}, tensors

    def search_members(
        self, runs: Sequence[Run], recipe: SeeRecipe, data: Any, *, by: Combination, most: int
    ) -> list[Any]:
        """Raises RecipeError: only members of spell ensembles are searched for."""
        raise RecipeError(field="--choose", value=most, expected="a spell ensemble", hint="Leave it out.")

    def remarks(self, _model: Model, _recipe: SeeRecipe, _data: Collection[Images], *, split: str) -> list[str]:
        """Nothing: every image can be read by every model."""
        return []

    def evaluate(
        self, model: Model, recipe: SeeRecipe, data: Collection[Images], *, split: str, decoding: SeeDecoding
    ) -> Evaluation:
        """Predict a split and score it."""
        if split not in data.splits:
            raise DataError(field="split", value=split, expected=f"one that the data has: {', '.join(data.splits)}")
        images = data.splits[split]
        probabilities = model.probabilities(images.pixels.numpy(), decoding=decoding)
        items = Predicted(images.names, images.labels.numpy(), probabilities, model.classes)
        return Evaluation(split, decoding, items, images, score(items))

    def in_use(self, recipe: SeeRecipe, description: Mapping[str, Any], path: Path) -> SeeRecipe:
        """The recipe with the decoding that the model has now, the temperature of a calibrated one included."""
        return recipe.model_copy(update={"decoding": _decoding(description, path)})

    def choose(self, recipe: SeeRecipe, given: Mapping[str, Any]) -> SeeDecoding:
        """The recipe's decoding with options of a command on top.

        Raises:
            RecipeError: a value that breaks its rule.
        """
        fields = given_fields(SeeDecoding, "predict", given)
        changes = {f"decoding.{name}": value for name, value in fields.items()}
        chosen = with_changes(recipe, changes).decoding
        assert isinstance(chosen, SeeDecoding)
        return chosen

    def equip(
        self,
        model: Model,
        _recipe: SeeRecipe,
        _given: Mapping[str, Any],
        *,
        warn: Callable[[Sequence[str]], None],
    ) -> tuple[Model, str]:
        """The model as it is: there is nothing to equip a classifier with."""
        return model, ""

    def predict(
        self,
        model: Model,
        _recipe: SeeRecipe,
        places: Sequence[str],
        *,
        decoding: SeeDecoding,
        given: Mapping[str, Any],
        skip_bad: bool,
        line_buffered: bool,
        warn: Callable[[Sequence[str]], None],
    ) -> Iterator[list[str]]:
        """Cells of a line of output per image of some files and folders: path, class, probability, further classes."""
        return lines.predicted(
            model, places, decoding=decoding, skip_bad=skip_bad, line_buffered=line_buffered, warn=warn
        )

    def explain(
        self, model: Model, _recipe: SeeRecipe, items: Sequence[str], given: Mapping[str, Any], *, out: Path
    ) -> list[explaining.ImageExplanation]:
        """Activation maps of images, and the evidence for a class."""
        what = SeeEvidence.model_validate(given_fields(SeeEvidence, "explain", given))
        return [explaining.explained(model, Path(item), what, out=out) for item in items]

    def fit_temperature(self, run: Run, model: Model, data: Collection[Images]) -> float:
        """The temperature with which the model's probabilities fit the validation images best."""
        images = data.splits["valid"]
        decoding = _decoding(run.model(self.name), run.path / "model.json")
        scores = torch.from_numpy(model.scores(images.pixels.numpy(), decoding=decoding))
        return round(fit_temperature(scores, images.labels), 4)

    def network_of(self, model: Model) -> tuple[nn.Module, tuple[int, int, int] | None]:
        """The loaded network, and the shape (C, height, width) of one input."""
        return model.scorer.network, model.form.shape

    def untrained(
        self, recipe: SeeRecipe, location: Path | None, *, classes: int | None
    ) -> tuple[nn.Module, tuple[int, int, int] | None]:
        """The network that a recipe would train, and the shape of one input; its data is read only if it must be.

        Raises:
            RecipeError: the number of classes is not known, or below 2.
        """
        shape = recipe.data.shape
        count = classes_of(recipe.data.set) if classes is None and location is None else classes
        if count is None:
            if location is None and not recipe.data.set:
                raise RecipeError(
                    "the number of classes is unknown, since the recipe names no data set.",
                    hint="Use --classes N or --data PATH.",
                )
            return self.build(recipe, self.read(recipe, location)).objective.network, shape
        if count < 2:
            raise RecipeError(field="--classes", value=count, expected="an integer >= 2")
        return build_network(recipe.model, shape, count), shape

    def next_commands(self, name: str, *, has_test: bool) -> list[str]:
        """Commands to try after a training."""
        test = [f"triptych test {name}"] if has_test else []
        calibrate = f"triptych calibrate {name}"
        return [calibrate, *test, f"triptych predict {name} FOLDER", f"triptych explain {name} IMAGE"]

    def label(self, decoding: SeeDecoding) -> str:
        """A short name for how classes are read off: `one`, `flips`."""
        return decoding.views

    def record(self, folder: Path, name: str, evaluation: Evaluation, model: Model) -> dict[str, Any]:
        """Write every prediction, and return the details for the report."""
        evaluation_report.write_predictions(folder, name, evaluation.items, evaluation.images.digests)
        details = evaluation_report.details_of(evaluation.items, evaluation.scores, evaluation.images.pixels)
        return {**details, "decoding": evaluation.decoding.model_dump(), "classes": list(model.classes)}

    def measures(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        """The main figures as people read them."""
        named = {"accuracy": "accuracy", "top3": "accuracy within 3", "log_loss": "log loss"}
        return {text: scores[key] for key, text in named.items() if key in scores}

    def use(self, description: Mapping[str, Any]) -> Use:
        """The model card's sections on a classifier."""
        form, classes = description["input"], description["classes"]
        temperature = description.get("decoding", {}).get("temperature", 1.0)
        calibration = (
            "Probabilities were not calibrated after training (`triptych calibrate`); see the report."
            if temperature == 1.0
            else f"Probabilities are calibrated with the temperature {temperature:g}; see the report."
        )
        listed = ", ".join(classes[:CLASSES_LISTED]) + (", ..." if len(classes) > CLASSES_LISTED else "")
        return Use(
            purpose=f"Classifies images into {len(classes)} classes: {listed}. Images are scaled to "
            f"{form['height']} x {form['width']} pixels, {form['colour']}.",
            limits=(
                "It assigns one of its classes to every image, also to an image of something else.",
                "It cannot distinguish classes that differ only in detail finer than "
                f"{form['height']} x {form['width']} pixels.",
                calibration,
            ),
            python="model.predict([PATH], top_k=3)[0].classes",
            command="triptych predict RUN FOLDER --n-best 3",
        )

    def read_errors(self, path: Path) -> Errors:
        """Errors per image from a predictions file; images are identified by digest, or by name where it is missing.

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


def _decoding(description: Mapping[str, Any], path: Path) -> SeeDecoding:
    try:
        return SeeDecoding.model_validate(description.get("decoding", {}))
    except ValidationError as error:
        raise RunError(f"decoding is damaged ({_one_line(error)}).", path=path) from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


PANEL = SeePanel()
