"""Runs as one file each, and the ready-made models of the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triptych
from triptych.api.evaluation import card_of, read_for_evaluation
from triptych.api.panels import panel_of, recipe_in_use
from triptych.config import dump_recipe
from triptych.data.locations import Location
from triptych.errors import RecipeError, RunError, did_you_mean
from triptych.report.tables import Cell, Table
from triptych.runs.packed import SUFFIX, WEIGHTS, Packed, Weights, ready_made, stored, without_paths, write_packed
from triptych.runs.run import Run
from triptych.statistics import Estimate
from triptych.text.remembered import FILES, checked

__all__ = ["PackedRun", "ReadyMade", "model_card", "pack", "ready_made_models"]


@dataclass(frozen=True)
class PackedRun:
    """A run that was packed.

    Attributes:
        path: the file.
        bytes: its size.
        weights: how tensors are kept.
        before, after: measures on validation data by name, of the run and of the file; empty where nothing is lost.
        items: how many items they are over.
    """

    path: Path
    bytes: int
    weights: str
    before: Mapping[str, Estimate] = field(default_factory=dict)
    after: Mapping[str, Estimate] = field(default_factory=dict)
    items: int = 0


def pack(
    run: Run,
    out: Path | None = None,
    *,
    weights: str = "float32",
    data: Location | None = None,
    dictionary: bool = False,
    force: bool = False,
) -> PackedRun:
    """Write a run as one file that `load` and every command that takes a run read.

    Args:
        run: the run.
        out: the file; by default its name with `.triptych`, in the present folder.
        weights: `float32`, `float16` or `int8`. Other than the first, the change on validation data is measured and
            written into the model card.
        data: the run's own data where it lies now, for that measure; by default where it was in training.
        dictionary: answer with the named data set of the recipe before the model is asked; the set is not in the file.
        force: replace a file that is there.
    Raises:
        RunError: the run has no model, or there is a file already.
        RecipeError: unknown weights, or a dictionary of a run that was not trained on a named set.
        DataError: the data for the measure cannot be read.
    """
    if weights not in WEIGHTS:
        hint = did_you_mean(weights, WEIGHTS)
        raise RecipeError(field="--weights", value=weights, expected=f"one of {', '.join(WEIGHTS)}", hint=hint)
    recipe = recipe_in_use(run)
    named = getattr(recipe.data, "set", "") if dictionary else ""
    if dictionary and not named:
        raise RecipeError("--dictionary needs a run of a named data set, and data.set is empty.", hint="Remove it.")
    place = out or Path(f"{run.name}{SUFFIX}")
    if place.exists() and not force:
        raise RunError("there is a file of this name already.", hint="Replace it with --force.", path=place)
    kind: Weights = next(each for each in WEIGHTS if each == weights)
    facts = {
        "triptych": triptych.__version__, "name": run.name, "panel": recipe.panel, "weights": weights,
        "dictionary": named,
    }  # fmt: skip
    card = card_of(run, file=place.name)
    entries = {
        "recipe.toml": dump_recipe(run.recipe()).encode(),
        "run.json": json.dumps(without_paths(run.facts()), ensure_ascii=False, indent=1).encode(),
        "model.json": json.dumps(run.model(), ensure_ascii=False).encode(),
        "model.safetensors": stored(run.tensors(), kind),
        "card.md": card.encode(),
        **{name: checked(run.content(name), run.path / name, run.model()) for name in run.model().get(FILES, {})},
    }
    write_packed(place, entries, facts=facts)
    try:
        before, after, items = _measured(run, place, data) if kind != "float32" else ({}, {}, 0)
        entries["card.md"] = (card + _storage(kind, before, after, items, named)).encode()
        size = write_packed(place, entries, facts=facts)
    except BaseException:
        place.unlink(missing_ok=True)
        raise
    return PackedRun(place, size, weights, before, after, items)


def _measured(run: Run, place: Path, data: Location | None) -> tuple[dict[str, Estimate], dict[str, Estimate], int]:
    """Measures on validation data of a run and of what was packed of it, and the number of items."""
    recipe = recipe_in_use(run)
    panel = panel_of(recipe.panel)
    found, items = [], 0
    read: Any = None
    for each in (run, Run(place, packed=Packed.open(place))):
        model = panel.load(each)
        read = read or read_for_evaluation(run, model, split="valid", data=data).data
        scores = panel.evaluate(model, recipe, read, split="valid", decoding=recipe.decoding).scores
        items = scores.n_items
        measures = panel.measures(scores.to_dict())
        found.append({name: Estimate.from_dict(value) for name, value in measures.items()})
    return found[0], found[1], items


def _storage(
    weights: str, before: Mapping[str, Estimate], after: Mapping[str, Estimate], items: int, dictionary: str
) -> str:
    """The card's section on how the model is kept."""
    parts = ["\n## Storage\n\n"]
    if before:
        rows: list[list[Cell]] = [[name, before[name], after[name]] for name in before]
        caption = f"On the {items:,} items of the run's validation data, with the run's own decoding."
        parts.append(Table("Weights", ["measure", "float32", weights], rows, caption=caption, digits=4).to_markdown())
    else:
        parts.append("Weights are kept in 32 bits, as in the run.\n")
    if dictionary:
        parts.append(
            f"\nThe data set {dictionary} answers first, and the model where it has no entry. Evaluations are of the "
            "model alone.\n"
        )
    return "".join(parts)


@dataclass(frozen=True)
class ReadyMade:
    """A model that is part of the package.

    Attributes:
        name: what `load` and commands call it.
        title: of its recipe.
        bytes: size of its file.
        measures: of its evaluation on test data, by name; empty where it has none.
    """

    name: str
    title: str
    bytes: int
    measures: Mapping[str, Estimate]


def ready_made_models() -> list[ReadyMade]:
    """The ready-made models, by name; nothing but their descriptions is read."""
    found = []
    for name, path in ready_made().items():
        run = Run(path, packed=Packed.open(path))
        facts = run.facts()
        tests = {key: value for key, value in facts.get("evaluations", {}).items() if key.startswith("test/")}
        figures = {
            text: Estimate.from_dict(value[key])
            for value in list(tests.values())[:1]
            for key, text in (("cer", "CER"), ("wer", "WER"), ("accuracy", "accuracy"))
            if key in value
        }
        found.append(ReadyMade(name, str(facts.get("title", "")), path.stat().st_size, figures))
    return found


def model_card(name: str) -> str:
    """The model card of a ready-made model, a packed run or a run; empty where the run has none yet.

    Raises:
        RunError: there is no such run, or its file is damaged.
    """
    return Run.open(name).card()
