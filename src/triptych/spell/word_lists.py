"""A word list to keep to and a dictionary to look up first, read from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from triptych.config import SpellRecipe
from triptych.data.files import open_binary
from triptych.decoding import Speller
from triptych.errors import DataError, RecipeError
from triptych.text.pairs import BadRow, read_pairs, read_sources
from triptych.text.vocabularies import Vocabularies

Symbols = tuple[str, ...]
Warn = Callable[[Sequence[str]], None]


def with_word_lists(
    speller: Speller,
    *,
    lexicon: Path | None = None,
    weight: float | None = None,
    dictionary: Path | None = None,
    recipe: SpellRecipe | None = None,
    warn: Warn = lambda _: None,
) -> Speller:
    """A speller with a word list to keep to, or a dictionary to look up first.

    Args:
        speller: the model.
        lexicon: file of targets, one per line.
        weight: nats that a target outside the word list costs; None allows no other.
        dictionary: file of pairs, source and target, that are looked up before the model is asked.
        recipe: of the run; where it swaps the sides of its data, the dictionary's are swapped alike.
        warn: called with sentences on words that cannot be used.
    Raises:
        DataError: a file cannot be read.
        RecipeError: a weight without a word list, or out of range.
    """
    if weight is not None and lexicon is None:
        raise RecipeError(f"--lexicon-weight is {weight} without a word list.", hint="Add --lexicon FILE.")
    vocabularies = speller.vocabularies
    if lexicon is not None:
        speller = speller.with_lexicon(_words(lexicon, vocabularies, warn), weight=weight)
    if dictionary is not None:
        reverse = recipe is not None and recipe.data.reverse
        speller = speller.with_dictionary(_entries(dictionary, vocabularies, reverse=reverse))
    return speller


def label(lexicon: Path | None, weight: float | None, dictionary: Path | None) -> str:
    """What word lists add to the name of an evaluation."""
    text = "" if lexicon is None else f"-lexicon-{lexicon.stem}" + ("" if weight is None else f"-w{weight:g}")
    return text + ("" if dictionary is None else f"-dictionary-{dictionary.stem}")


def _entries(path: Path, vocabularies: Vocabularies, *, reverse: bool) -> list[tuple[Symbols, Symbols]]:
    """Source and target of each row, the columns swapped where the run swaps its own.

    Raises:
        DataError: no row has a source that the model could be asked for.
    """
    sides = (vocabularies.source_tokenizer, vocabularies.target_tokenizer)
    first, second = reversed(sides) if reverse else sides
    pairs = read_pairs(path, source_tokenizer=first, target_tokenizer=second).pairs
    entries = [(pair.target, pair.source) if reverse else (pair.source, pair.target) for pair in pairs]
    if entries and not any(source and not vocabularies.sources.unknown_in(source) for source, _ in entries):
        raise DataError(
            f"none of the {len(entries)} sources consists of symbols that the model knows (the first is "
            f"{' '.join(entries[0][0])!r}), so that the dictionary would never be used.",
            path=path,
            hint="Give the columns in the order of the run's data.",
        )
    return entries


def _words(path: Path, vocabularies: Vocabularies, warn: Warn) -> list[str]:
    """The words of a list, one per line, that the model can write; the others are counted in a warning.

    Blank lines are ignored. Raises DataError where a line is not text, or no word is left.
    """

    def refuse(row: BadRow) -> None:
        if not row.is_blank:
            raise DataError(f"{row.reason}. Fix the line.", path=path, line=row.line)

    split, targets = vocabularies.target_tokenizer.split, vocabularies.targets
    usable: list[str] = []
    others: list[str] = []
    with open_binary(path) as stream:
        for line in read_sources(stream, vocabularies.target_tokenizer, path_label=path, on_bad_row=refuse):
            (others if targets.unknown in targets.encode(split(line.text)) else usable).append(line.text)
    if others:
        problem = (
            f"{len(others)} of {len(usable) + len(others)} words have symbols never seen in training "
            f"(the first is {others[0]!r})"
        )
        if not usable:
            raise DataError(f"{problem}; expected one word per line, and nothing else.", path=path)
        warn([f"{path}: {problem}; they are ignored."])
    return usable
