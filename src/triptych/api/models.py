"""Models of runs, ready to predict; alone, several as one, with word lists and dictionaries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.api.panels import panel_of
from triptych.data.files import open_binary
from triptych.errors import DataError, RecipeError, RunError
from triptych.runs.run import Run, now

if TYPE_CHECKING:
    from triptych.decoding import Speller
    from triptych.text.vocabularies import Vocabularies


def load(run: str | Path, *, device: str = "cpu") -> Any:
    """Load the model of a run, ready to predict: a `Speller` or a `Classifier`, as the run's panel is.

    Args:
        run: name or path of a run.
        device: where to put it: `cpu`, `cuda`, `mps`.
    Raises:
        RunError: no such run, or its model is missing or damaged.
    """
    opened = Run.open(run)
    return panel_of(opened.recipe().panel).load(opened, device=device)


def make_ensemble(runs: Sequence[Run], *, name: str, force: bool = False) -> Run:
    """A new run that holds several runs' models and predicts by averaging their probabilities, of spell at every step.

    Raises:
        RunError: fewer than two runs, runs of several panels or that cannot be averaged, or a name that is taken.
    """
    panels = sorted({run.recipe().panel for run in runs})
    if len(panels) > 1:
        raise RunError(f"runs are of the panels {' and '.join(panels)}; expected one panel. Join like with like.")
    description, tensors = panel_of(panels[0] if panels else "spell").join(runs)
    if any(name in (run.name, str(run.path)) for run in runs):
        raise RunError(f"name is {name!r}, a member's; expected another. Members stay as they are.")
    made = Run.create(name, force=force)
    made.forget_replaced()
    recipe = runs[0].recipe()
    made.write_recipe(recipe)
    first = runs[0].facts()
    kept = {
        key: first[key] for key in ("panel", "title", "data_location", "data", "counts", "versions") if key in first
    }
    made.write_model(recipe.panel, description)
    made.write_tensors(tensors)
    made.write_trained_on(np.concatenate([run.trained_on() for run in runs]))
    parameters = sum(run.facts().get("parameters", 0) for run in runs)
    made.update_facts(
        **kept, status="finished", began=now(), members=[str(run.path) for run in runs], parameters=parameters
    )
    return made


def equip(
    speller: Speller,
    *,
    lexicon: Path | None = None,
    weight: float | None = None,
    dictionary: Path | None = None,
    warn: Callable[[Sequence[str]], None] = lambda _: None,
) -> Speller:
    """A speller with a word list to keep to, or a dictionary to look up first.

    Args:
        speller: the model.
        lexicon: file of targets, one per line.
        weight: nats that a target outside the word list costs; None allows no other.
        dictionary: file of pairs, source and target, that are looked up before the model is asked.
        warn: called with sentences on words that cannot be used.
    Raises:
        DataError: a file cannot be read.
        RecipeError: a weight without a word list, or out of range.
    """
    from triptych.text.pairs import read_pairs

    if weight is not None and lexicon is None:
        raise RecipeError(f"--lexicon-weight is {weight} without --lexicon; expected a word list. Add --lexicon FILE")
    vocabularies = speller.vocabularies
    if lexicon is not None:
        speller = speller.with_lexicon(_words(lexicon, vocabularies, warn), weight=weight)
    if dictionary is not None:
        pairs = read_pairs(
            dictionary, source_tokenizer=vocabularies.source_tokenizer, target_tokenizer=vocabularies.target_tokenizer
        ).pairs
        speller = speller.with_dictionary((pair.source, pair.target) for pair in pairs)
    return speller


def _words(path: Path, vocabularies: Vocabularies, warn: Callable[[Sequence[str]], None]) -> list[str]:
    """The words of a list, one per line, that the model can write; told is how many others there are.

    Blank lines are no words. Raises DataError where a line is not text, or no word is left.
    """
    from triptych.text.pairs import BadRow, read_sources

    def refuse(row: BadRow) -> None:
        if not row.is_blank:
            raise DataError(f"{row.reason}. Mend the line.", path=path, line=row.line)

    split, targets = vocabularies.target_tokenizer.split, vocabularies.targets
    usable: list[str] = []
    others: list[str] = []
    with open_binary(path) as stream:
        for line in read_sources(stream, vocabularies.target_tokenizer, path_label=path, on_bad_row=refuse):
            (others if targets.unknown in targets.encode(split(line.text)) else usable).append(line.text)
    if others:
        told = (
            f"{len(others)} of {len(usable) + len(others)} words have symbols that training never showed "
            f"(the first is {others[0]!r})"
        )
        if not usable:
            raise DataError(f"{told}; expected one word per line, and nothing else.", path=path)
        warn([f"{path}: {told}; they are left out."])
    return usable


def equipment_label(lexicon: Path | None, weight: float | None, dictionary: Path | None) -> str:
    """What `equip` adds to the name of an evaluation."""
    label = "" if lexicon is None else f"-lexicon-{lexicon.stem}" + ("" if weight is None else f"-w{weight:g}")
    return label + ("" if dictionary is None else f"-dictionary-{dictionary.stem}")
