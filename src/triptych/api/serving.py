"""Runs and memories as a server offers them: loaded once, described for the page, and asked with plain values."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from triptych.api.models import load
from triptych.api.served_memory import (
    Addition,
    MemoryInfo,
    Query,
    RetrievedAnswer,
    ServedMemory,
    Stored,
    Trace,
)
from triptych.config import SpellDecoding, dump_recipe
from triptych.config.loading import explain_invalid
from triptych.config.serve import ServeLimits, describe_limits, load_limits
from triptych.decoding import Speller
from triptych.errors import (
    ConflictError,
    DataError,
    MissingExtraError,
    RecipeError,
    RunError,
    TriptychError,
    did_you_mean,
)
from triptych.images.classifier import Array, Classifier
from triptych.images.reading import FORMATS
from triptych.report.comparison import read_rows
from triptych.runs.run import Run
from triptych.see.adapter import Model
from triptych.see.explaining import Evidence, evidence
from triptych.text.alignment import Alignment, PairScore
from triptych.text.pairs import Input
from triptych.text.predictions import Prediction

__all__ = [
    "DECODING_SETTINGS",
    "Addition",
    "Alignment",
    "Catalogue",
    "ConflictError",
    "DataError",
    "Input",
    "MemoryInfo",
    "MissingExtraError",
    "PairScore",
    "Prediction",
    "Query",
    "RecipeError",
    "RetrievedAnswer",
    "ServeLimits",
    "ServedClassifier",
    "ServedMemory",
    "ServedSpeller",
    "SpellDecoding",
    "Stored",
    "Trace",
    "TriptychError",
    "declared_pixels",
    "describe_limits",
    "did_you_mean",
    "explain_invalid",
    "fitted_limits",
    "load_catalogue",
    "load_limits",
]

_EXAMPLES = 12
# Of run.json: no paths of this machine.
_PUBLIC = (
    "title", "began", "ended", "seconds", "best_epoch", "parameters", "counts", "versions", "seed", "evaluations",
)  # fmt: skip
DECODING_SETTINGS = SpellDecoding.of_requests()


@dataclass(frozen=True)
class ServedSpeller:
    """A spell run.

    Attributes:
        info: what `GET /v1/runs/RUN` answers.
        speller: the model.
    """

    info: dict[str, Any]
    speller: Speller

    def settings(self, given: Mapping[str, Any]) -> SpellDecoding:
        """The run's decoding settings with some changed; a setting of one method implies that method.

        Raises:
            RecipeError: a setting without effect on the method, or a value that breaks its rule.
        """
        try:
            return self.speller.decoding.changed(given)
        except RecipeError as error:  # requests have no tables
            text, field = str(error).removeprefix("decoding."), error.field.removeprefix("decoding.")
            raise RecipeError(text, field=field) from None

    def split(self, text: str) -> tuple[str, ...]:
        """The symbols of a source; empty where there are none."""
        return self.speller.vocabularies.source_tokenizer.split(text)

    def split_target(self, text: str) -> tuple[str, ...]:
        """The symbols of a target; empty where there are none."""
        return self.speller.vocabularies.target_tokenizer.split(text)

    def inputs(self, sources: Sequence[Sequence[str]], features: Sequence[str] | None) -> list[Input]:
        """Sources, given as symbols, with the features of each.

        Raises:
            DataError: features where the run has none, or none where it has them, or not as many as sources.
        """
        return self.speller.inputs(sources, features)

    def predict(
        self,
        inputs: Sequence[Input],
        settings: SpellDecoding,
        *,
        with_attention: bool = False,
        with_alignment: bool = False,
    ) -> Sequence[Prediction[Any]]:
        """Predict what `inputs` gave."""
        found = self.speller.stream(
            inputs, decoding=settings, with_attention=with_attention, with_alignment=with_alignment
        )
        return list(found)

    def score(
        self, pairs: Sequence[tuple[Input, Sequence[str]]], *, with_alignment: bool
    ) -> list[tuple[PairScore, Alignment | None]]:
        """What the model says of pairs: what `inputs` gave, each with a target's symbols."""
        features = None if self.speller.vocabularies.features is None else [given.features for given, _ in pairs]
        sources, targets = [given.source for given, _ in pairs], [target for _, target in pairs]
        scores = self.speller.score(sources, targets, features=features)
        aligned = self.speller.align(sources, targets, features=features) if with_alignment else [None] * len(pairs)
        return list(zip(scores, aligned, strict=True))


@dataclass(frozen=True)
class ServedClassifier:
    """A see run.

    Attributes:
        info: what `GET /v1/runs/RUN` answers.
        classifier: the model.
    """

    info: dict[str, Any]
    classifier: Model

    def read(self, content: bytes) -> Array:
        """Decode an uploaded image in the network's size, uint8. Shape (C, height, width).

        Raises:
            DataError: it cannot be read.
        """
        return self.classifier.read(content)

    def probabilities(self, images: Sequence[Array]) -> list[Array]:
        """Class probabilities of decoded images. Shape of each: (classes,)."""
        return list(self.classifier.probabilities(np.stack(images)))

    def evidence(self, pixels: Array, *, layer: str | None, of_class: str | None) -> Evidence:
        """See `triptych.see.explaining.evidence`."""
        return evidence(self.classifier, pixels, layer=layer, of_class=of_class)

    def most_probable(self, probabilities: Array, top_k: int | None) -> list[tuple[str, float]]:
        """Classes and their probabilities, the most probable first."""
        classes = self.classifier.classes
        best = np.argsort(-probabilities, kind="stable")[: top_k or self.classifier.decoding.top_k]
        return [(classes[place], float(probabilities[place])) for place in best]


@dataclass(frozen=True)
class Catalogue:
    """Everything that a server serves, by name."""

    spellers: Mapping[str, ServedSpeller] = field(default_factory=dict)
    classifiers: Mapping[str, ServedClassifier] = field(default_factory=dict)
    memories: Mapping[str, ServedMemory] = field(default_factory=dict)

    @property
    def runs(self) -> dict[str, dict[str, Any]]:
        """Description of each run, by name."""
        every: dict[str, ServedSpeller | ServedClassifier] = {**self.spellers, **self.classifiers}
        return {name: served.info for name, served in every.items()}


def load_catalogue(
    runs: Sequence[str], memories: Sequence[Path], *, device: str = "cpu", max_image_pixels: int
) -> Catalogue:
    """Load runs and memories.

    Args:
        runs: names or paths.
        memories: folders.
        device: where models are put.
        max_image_pixels: largest image that a classifier decodes.
    Raises:
        RunError, DataError: one cannot be loaded.
        TriptychError: two have the same name, or there is nothing to serve.
    """
    opened = {run.path.resolve().name: run for run in map(Run.open, runs)}
    stored = {folder.resolve().name: folder for folder in memories}
    if len(opened) < len(runs) or len(stored) < len(memories):
        names = [Path(place).resolve().name for place in [*runs, *map(str, memories)]]
        twice = next((name for name in names if names.count(name) > 1), "")
        raise TriptychError(f"two folders are named {twice!r}.", hint="Rename a folder.")
    if not opened and not stored:
        raise TriptychError("nothing to serve.", hint="Name a run or a memory, for example: triptych serve first")
    spellers: dict[str, ServedSpeller] = {}
    classifiers: dict[str, ServedClassifier] = {}
    for name, run in opened.items():
        model = load(run.path, device=device)
        if isinstance(model, Speller):
            more: dict[str, Any] = {
                "source_unit": model.vocabularies.source_tokenizer.unit,
                "features": model.vocabularies.features is not None,
                **_examples(run),
            }
            spellers[name] = ServedSpeller(_info(run, name, model.decoding) | more, model)
        elif isinstance(model, Classifier):
            model.form = model.form.model_copy(update={"max_pixels": max_image_pixels})
            form = model.form
            image = {"height": form.height, "width": form.width, "colour": form.colour}
            more = {"classes": list(model.classes), "image": image}
            classifiers[name] = ServedClassifier(_info(run, name, model.decoding) | more, model)
        else:
            raise RunError(field="panel", value=run.recipe().panel, expected="one that predicts", path=run.path)
    return Catalogue(spellers, classifiers, {name: ServedMemory(folder) for name, folder in stored.items()})


def fitted_limits(limits: ServeLimits, catalogue: Catalogue, warn: Callable[[str], None]) -> ServeLimits:
    """Limits that allow every run's own decoding settings: defaults are raised where a run needs more, with a warning.

    Raises:
        RecipeError: a run needs more than a limit that was set on purpose.
    """
    for name, served in catalogue.spellers.items():
        decoding = served.speller.decoding
        needs = {"beam": ("max_n_best", "beam_size", decoding.beam_size),
                 "sample": ("max_samples", "samples", decoding.samples)}  # fmt: skip
        limit, setting, value = needs.get(decoding.method, ("max_n_best", "n_best", 1))
        if value <= getattr(limits, limit):
            continue
        if limit in limits.model_fields_set:
            raise RecipeError(
                f"{name}: the run's own decoding.{setting} is {value}; expected at most {limit} = "
                f"{getattr(limits, limit)}.",
                field=limit,
                hint=f"Start with --limit {limit}={value}",
            )
        warn(f"{name}: its decoding.{setting} is {value}, so the limit {limit} is raised to {value}.")
        raised = {**limits.model_dump(include=limits.model_fields_set), limit: value}
        limits = ServeLimits.model_validate(raised)
    return limits


def declared_pixels(content: bytes) -> int:
    """Width times height of an image by its file's header; 0 where it has none, which decoding then reports."""
    Image.init()
    try:
        with Image.open(io.BytesIO(content), formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            return image.width * image.height
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return 2 * (Image.MAX_IMAGE_PIXELS or 2**31)
    except Exception:  # noqa: BLE001 - Pillow's readers raise all kinds on damaged files
        return 0


def _info(run: Run, name: str, decoding: Any) -> dict[str, Any]:
    facts, recipe = run.facts(), run.recipe()
    data = [{**entry, "path": Path(str(entry.get("path", ""))).name} for entry in facts.get("data", [])]
    return {
        "name": name,
        "panel": recipe.panel,
        **{key: facts[key] for key in _PUBLIC if key in facts},
        "data": data,
        "recipe": dump_recipe(recipe),
        "decoding": decoding.model_dump(),
    }


def _examples(run: Run) -> dict[str, list[str]]:
    """Sources to try, with the features of each, from the items that the run was tested on."""
    every = [file for file in sorted((run.path / "predictions").glob("*.tsv")) if ".errors." not in file.name]
    files = [file for file in every if file.name.startswith("test.")] or every
    rows = (row for file in files[:1] for row in read_rows(file)[: 4 * _EXAMPLES])
    features = {row["source"]: row.get("features") or "" for row in rows if row.get("source")}
    chosen = list(features)[:_EXAMPLES]
    return {"examples": chosen, "example_features": [features[source] for source in chosen]}
