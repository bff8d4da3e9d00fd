"""What a server serves: runs and memories by name, loaded once, and what there is to say of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from triptych import api
from triptych.config import dump_recipe
from triptych.errors import RunError, TriptychError, did_you_mean
from triptych.memory.memory import Memory
from triptych.report.comparison import read_rows
from triptych.runs.run import Run
from triptych.see.classifier import Classifier
from triptych.serve.refusals import NotServedError
from triptych.spell.speller import Speller

Served = TypeVar("Served")
_EXAMPLES = 12
# Of run.json: no paths of this machine.
_PUBLIC = (
    "title",
    "began",
    "ended",
    "seconds",
    "best_epoch",
    "parameters",
    "counts",
    "versions",
    "seed",
    "evaluations",
)


@dataclass(frozen=True)
class StoredMemory:
    """A memory and the folder it is saved in."""

    memory: Memory
    folder: Path


@dataclass(frozen=True)
class Catalogue:
    """Everything a server serves, by name.

    Attributes:
        spellers, classifiers: models of runs.
        memories: with their folders.
        cards: of the runs, plain values for JSON.
    """

    spellers: Mapping[str, Speller] = field(default_factory=dict)
    classifiers: Mapping[str, Classifier] = field(default_factory=dict)
    memories: Mapping[str, StoredMemory] = field(default_factory=dict)
    cards: Mapping[str, dict[str, Any]] = field(default_factory=dict)

    def speller(self, name: str) -> Speller:
        """The model of a run of spell."""
        return _found("run", name, self.spellers)

    def classifier(self, name: str) -> Classifier:
        """The model of a run of see."""
        return _found("run", name, self.classifiers)

    def memory(self, name: str) -> StoredMemory:
        """A memory."""
        return _found("memory", name, self.memories)

    def card(self, name: str) -> dict[str, Any]:
        """What there is to say of a run."""
        return _found("run", name, self.cards)


def load_catalogue(runs: Sequence[str], memories: Sequence[Path], *, device: str, max_image_pixels: int) -> Catalogue:
    """Load runs and memories.

    Args:
        runs: names or paths.
        memories: folders.
        device: where the models are put.
        max_image_pixels: largest image that a classifier decodes.
    Raises:
        RunError, DataError: one cannot be loaded.
        TriptychError: two have one name, or there is nothing to serve.
    """
    opened = [Run.open(name) for name in runs]
    _check_different([run.path.resolve().name for run in opened])
    _check_different([folder.resolve().name for folder in memories])
    if not opened and not memories:
        raise TriptychError("runs and memories are none; expected at least one. For example: triptych serve first")
    spellers: dict[str, Speller] = {}
    classifiers: dict[str, Classifier] = {}
    cards: dict[str, dict[str, Any]] = {}
    for run in opened:
        name, model = run.path.resolve().name, api.load(run.path, device=device)
        if isinstance(model, Speller):
            spellers[name] = model
        elif isinstance(model, Classifier):
            model.form = replace(model.form, max_pixels=max_image_pixels)
            classifiers[name] = model
        else:
            raise RunError(f"{run.path} is of the panel {run.recipe().panel!r}; expected spell or see. "
                           "Serve a memory with --memory.")  # fmt: skip
        cards[name] = _card(run, name, model)
    stored = {folder.resolve().name: StoredMemory(Memory.load(folder), folder) for folder in memories}
    return Catalogue(spellers, classifiers, stored, cards)


def _card(run: Run, name: str, model: Speller | Classifier) -> dict[str, Any]:
    facts = run.facts()
    recipe = run.recipe()
    data = [{**entry, "path": Path(str(entry.get("path", ""))).name} for entry in facts.get("data", [])]
    card = {
        "name": name,
        "panel": recipe.panel,
        **{key: facts[key] for key in _PUBLIC if key in facts},
        "data": data,
        "recipe": dump_recipe(recipe),
        "decoding": model.decoding.model_dump(),
    }
    if isinstance(model, Speller):
        return card | {"source_unit": model.vocabularies.source_tokenizer.unit, "examples": _examples(run)}
    form = model.form
    image = {"height": form.height, "width": form.width, "colour": form.colour}
    return card | {"classes": list(model.classes), "image": image}


def _examples(run: Run) -> list[str]:
    """Sources to try, from what the run was tested on."""
    every = [file for file in sorted((run.path / "predictions").glob("*.tsv")) if ".errors." not in file.name]
    files = [file for file in every if file.name.startswith("test.")] or every
    sources = (row.get("source") for file in files[:1] for row in read_rows(file)[: 4 * _EXAMPLES])
    return list(dict.fromkeys(source for source in sources if source))[:_EXAMPLES]


def _check_different(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise TriptychError(f"the name {name!r} is there twice; expected different ones. Rename a folder.")


def _found(what: str, name: str, known: Mapping[str, Served]) -> Served:
    if name in known:
        return known[name]
    raise NotServedError(f"{what} is {printable(name)}; expected one that is served. {_hint(name, known)}")


def _hint(name: str, known: Iterable[str]) -> str:
    names = list(known)
    return did_you_mean(name[:100], names) if names else "There is none."


def printable(text: str, longest: int = 60) -> str:
    """A text from outside as it may stand in a message: quoted, cut, control characters escaped."""
    return ascii(text if len(text) <= longest else text[:longest] + "...")
