"""A training that starts from another run's model: other data, more symbols, other features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from triptych.config import SpellRecipe
from triptych.config.common import AUTO
from triptych.errors import RunError
from triptych.runs.run import Run
from triptych.runs.transfer import Transfer, description_of_start, known_rows, transfer_from
from triptych.text.symbols import Vocabularies, Vocabulary, some_of

OF_SOURCE = ("encoder.embedding.weight",)
OF_FEATURES = ("encoder.features.embedding.weight",)
OF_TARGET = ("decoder.embedding.weight", "decoder.output_bias", "decoder.output_weight")
SHOWN = 5  # symbols that a message names
ADVICE = "Start from a run on data of the same notation, or train without --start-from."


def sized_as(recipe: SpellRecipe, start: Run) -> SpellRecipe:
    """The recipe with the start run's sizes wherever it leaves sizes to the data.

    Raises:
        RunError: the start run is of another panel, is an ensemble or has no model.
    """
    architecture = description_of_start(start, "spell")["architecture"]
    derived = {
        name: architecture[name]
        for name, value in recipe.model.model_dump().items()
        if value == AUTO and name in architecture
    }
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=derived)})


def started(network: nn.Module, description: Mapping[str, Any], start: Run) -> Transfer:
    """Copy into a network what fits of a run's model.

    Args:
        network: built for the new data; changed in place.
        description: of the new model, as for `model.json`.
        start: the run.
    Raises:
        RunError: the start run is of another panel, is an ensemble or has no model; its symbols are other units, in
            another normal form or script; or nothing of it fits.
    """
    path = start.path / "model.json"
    old, new = (
        Vocabularies.from_dict(description_of_start(start, "spell"), path),
        Vocabularies.from_dict(description, path),
    )
    remarks = []
    for side in ("source", "target"):
        _check_notation(side, new, old, start)
        known, of, fresh = _compared(_of_side(new, side), _of_side(old, side))
        if fresh:
            remarks.append(f"{of - known} of {of} {side} symbols are new to {start.name} ({some_of(fresh)}).")
    special = len(Vocabulary.special_names)
    sources = known_rows(new.sources.symbols, old.sources.symbols, special)
    targets = known_rows(new.targets.symbols, old.targets.symbols, special)
    rows = {**dict.fromkeys(OF_SOURCE, sources), **dict.fromkeys(OF_TARGET, targets)}
    if new.features is not None:
        known_features = () if old.features is None else old.features.symbols
        rows |= dict.fromkeys(OF_FEATURES, known_rows(new.features.symbols, known_features, special))
    found = transfer_from(start, network, rows)
    return replace(found, remarks=remarks)


def _check_notation(side: str, new: Vocabularies, old: Vocabularies, start: Run) -> None:
    """See that symbols of both runs are of one kind.

    Raises:
        RunError: they are of another unit or normal form, or not one letter is in both.
    """
    tokenizers = [getattr(each, f"{side}_tokenizer") for each in (new, old)]
    for name in ("unit", "normal_form", "backward"):
        here, there = (getattr(tokenizer, name) for tokenizer in tokenizers)
        if here != there:
            setting = f"{side}_unit" if name == "unit" else name
            raise RunError(
                f"{start.name} was trained with {side} {name.replace('_', ' ')} {there!r}, and this data is read with "
                f"{here!r}.",
                hint=f"Set it to {there!r} (data.{setting}, or the other side's where data.reverse is true), or train "
                "without --start-from.",
                path=start.path,
            )
    letters, known = ({s for s in _of_side(each, side).symbols if _is_letter(s)} for each in (new, old))
    if letters and not letters & known:
        here, there = (" ".join(sorted(each)[:SHOWN]) for each in (letters, known))
        raise RunError(
            f"{start.name} knows none of the {len(letters)} {side} letters of this data ({here} …), but {there} …; "
            "that is another script or notation.",
            hint=ADVICE,
            path=start.path,
        )


def _compared(new: Vocabulary, old: Vocabulary) -> tuple[int, int, list[str]]:
    """How many symbols are known, of how many, and the ones that are not."""
    fresh = [symbol for symbol in new.symbols if symbol not in old]
    return len(new.symbols) - len(fresh), len(new.symbols), fresh


def _of_side(vocabularies: Vocabularies, side: str) -> Vocabulary:
    return vocabularies.sources if side == "source" else vocabularies.targets


def _is_letter(symbol: str) -> bool:
    return any(character.isalpha() for character in symbol)
