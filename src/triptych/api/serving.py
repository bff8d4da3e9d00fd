"""Runs and memories as a server offers them: loaded once, described for the page, and asked with plain values."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from triptych.api.models import loaded
from triptych.api.served_memory import (
    Addition as Addition,
    MemoryInfo as MemoryInfo,
    Query as Query,
    RetrievedAnswer as RetrievedAnswer,
    ServedMemory as ServedMemory,
    Stored as Stored,
    Trace as Trace,
)
from triptych.config import SpellDecoding as SpellDecoding, dump_recipe
from triptych.config.loading import explain_invalid as explain_invalid
from triptych.config.serve import ServeLimits as ServeLimits
from triptych.decoding import Speller
from triptych.errors import (
    ConflictError as ConflictError,
    DataError as DataError,
    MissingExtraError as MissingExtraError,
    RecipeError as RecipeError,
    TriptychError as TriptychError,
    did_you_mean as did_you_mean,
)
from triptych.images.classifier import Array
from triptych.images.reading import FORMATS
from triptych.report.comparison import read_rows
from triptych.runs.run import Run
from triptych.see.adapter import Model
from triptych.see.explaining import Evidence, evidence
from triptych.spell.running_text import Cut as Cut, cut
from triptych.text.alignment import Alignment as Alignment, PairScore as PairScore
from triptych.text.languages import language_of, without_language as without_language
from triptych.text.pairs import Input as Input
from triptych.text.predictions import Prediction as Prediction
from triptych.text.symbols import Vocabularies

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

    @classmethod
    def of(cls, run: Run, model: Speller, limits: ServeLimits) -> Self:
        """The run with its loaded model."""
        known = model.vocabularies
        data: Any = run.recipe().data
        own = {
            "running_text": known.source_tokenizer.unit != "symbols" and data.blank_rows == "skip",
            "source_unit": known.source_tokenizer.unit,
            "features": known.takes_features,
            "languages": list(known.languages),
        }
        return cls({**_info(run, model), **own, **_examples(run, known)}, model)

    def settings(self, given: Mapping[str, Any]) -> SpellDecoding:
        """The run's decoding settings with some changed; a setting of one method implies that method.

        Raises:
            RecipeError: a setting without effect on the method, or a value that breaks its rule.
        """
        try:
            return self.speller.decoding.changed(given)
        except RecipeError as error:
            raise _without_table(error) from None

    def cut(self, text: str, settings: SpellDecoding, limits: ServeLimits) -> Cut:
        """Running text cut into words; those that are too long for the server stay as they are.

        Raises:
            RecipeError: the run's sources are not words, or samples are asked for.
        """
        try:
            return cut(self.speller, [text], settings, max_symbols=limits.max_source_symbols)
        except RecipeError as error:
            raise _without_table(error) from None

    def split(self, text: str) -> tuple[str, ...]:
        """The symbols of a source; empty where there are none."""
        return self.speller.vocabularies.source_tokenizer.split(text)

    def split_target(self, text: str) -> tuple[str, ...]:
        """The symbols of a target; empty where there are none."""
        return self.speller.vocabularies.target_tokenizer.split(text)

    def score(
        self, pairs: Sequence[tuple[Input, Sequence[str]]], *, with_alignment: bool
    ) -> list[tuple[PairScore, Alignment | None]]:
        """What the model says of pairs of what a target is predicted from and its symbols."""
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

    @classmethod
    def of(cls, run: Run, model: Model, limits: ServeLimits) -> Self:
        """The run with its loaded model, which from now on decodes no larger images than the limit allows."""
        model.form = model.form.model_copy(update={"max_pixels": limits.max_image_pixels})
        image = model.form.model_dump(include={"height", "width", "colour"})
        return cls({**_info(run, model), "classes": list(model.classes), "image": image}, model)

    def probabilities(self, images: Sequence[Array]) -> list[Array]:
        """Class probabilities of decoded images, each uint8 (C, height, width). Shape of each: (classes,)."""
        return list(self.classifier.probabilities(np.stack(images)))

    def evidence(self, pixels: Array, *, layer: str | None, of_class: str | None) -> Evidence:
        """See `triptych.see.explaining.evidence`."""
        return evidence(self.classifier, pixels, layer=layer, of_class=of_class)

    def most_probable(self, probabilities: Array, top_k: int | None) -> list[tuple[str, float]]:
        """Classes and their probabilities, the most probable first."""
        classes = self.classifier.classes
        best = np.argsort(-probabilities, kind="stable")[: top_k or self.classifier.decoding.top_k]
        return [(classes[place], float(probabilities[place])) for place in best]


SERVED: Mapping[str, type[ServedSpeller] | type[ServedClassifier]] = {"spell": ServedSpeller, "see": ServedClassifier}


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
    runs: Sequence[str], memories: Sequence[Path], *, device: str = "cpu", limits: ServeLimits
) -> Catalogue:
    """Load runs, by name or path, and memories, by their folders.

    Raises:
        RunError, DataError: one cannot be loaded.
        TriptychError: two have the same name, or there is nothing to serve.
    """
    opened = {_served_name(run): run for run in map(Run.open, runs)}
    stored = {folder.resolve().name: folder for folder in memories}
    if len(opened) < len(runs) or len(stored) < len(memories):
        names = [*(_served_name(Run.open(run)) for run in runs), *(folder.resolve().name for folder in memories)]
        twice = next((name for name in names if names.count(name) > 1), "")
        raise TriptychError(f"two folders are named {twice!r}.", hint="Rename a folder.")
    if not opened and not stored:
        raise TriptychError("nothing to serve.", hint="Name a run or a memory, for example: triptych serve first")
    served: dict[str, dict[str, Any]] = {panel: {} for panel in SERVED}
    for name, run in opened.items():
        panel = run.recipe().panel
        served[panel][name] = SERVED[panel].of(run, loaded(run, device=device), limits)
    return Catalogue(served["spell"], served["see"], {name: ServedMemory(folder) for name, folder in stored.items()})


def _served_name(run: Run) -> str:
    return run.path.resolve().name if run.packed is None else run.name


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


def _without_table(error: RecipeError) -> RecipeError:
    """An error about a setting, for requests, which have no tables."""
    return RecipeError(str(error).removeprefix("decoding."), field=error.field.removeprefix("decoding."))


def _info(run: Run, model: Speller | Model) -> dict[str, Any]:
    facts, recipe = run.facts(), run.recipe()
    data = [{**entry, "path": Path(str(entry.get("path", ""))).name} for entry in facts.get("data", [])]
    return {
        "name": _served_name(run),
        "panel": recipe.panel,
        **{key: facts[key] for key in _PUBLIC if key in facts},
        "data": data,
        "recipe": dump_recipe(recipe),
        "decoding": model.decoding.model_dump(),
    }


def _examples(run: Run, vocabularies: Vocabularies) -> dict[str, list[str]]:
    """Sources to try, with features and language of each, from the items that the run was tested on."""
    every = [file for file in sorted((run.path / "predictions").glob("*.tsv")) if ".errors." not in file.name]
    files = [file for file in every if file.name.startswith("test.")] or every
    rows = (row for file in files[:1] for row in read_rows(file)[: 4 * _EXAMPLES])
    features = {row["source"]: row.get("features") or "" for row in rows if row.get("source")}
    chosen = list(features)[:_EXAMPLES]
    if not vocabularies.languages:
        return {"examples": chosen, "example_features": [features[source] for source in chosen]}
    split = [vocabularies.split_features(features[source]) for source in chosen]
    return {
        "examples": chosen,
        "example_features": [vocabularies.join_features(without_language(each)) for each in split],
        "example_languages": [language_of(each) for each in split],
    }
