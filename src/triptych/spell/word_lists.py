"""A word list to keep to and a dictionary to look up first, read from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from triptych.config import SpellRecipe
from triptych.config.spell import SpellWordLists
from triptych.data.files import open_binary
from triptych.decoding import Speller
from triptych.errors import DataError, RecipeError
from triptych.text.pairs import BadRow, read_pairs, read_sources
from triptych.text.vocabularies import Vocabularies

Symbols = tuple[str, ...]
Warn = Callable[[Sequence[str]], None]


def with_word_lists(
    speller: Speller, lists: SpellWordLists, *, recipe: SpellRecipe | None = None, warn: Warn = lambda _: None
) -> Speller:
    """A speller with a word list to keep to, or a dictionary to look up first.

    Args:
        speller: the model.
        lists: the files.
        recipe: of the run; where it swaps the sides of its data, the dictionary's are swapped alike.
        warn: called with sentences on words that cannot be used.
    Raises:
        DataError: a file cannot be read.
        RecipeError: a weight without a word list.
    """
    if lists.lexicon_weight is not None and lists.lexicon is None:
        raise RecipeError(
            f"--lexicon-weight is {lists.lexicon_weight} without a word list.", hint="Add --lexicon FILE."
        )
    vocabularies = speller.vocabularies
    if lists.lexicon is not None:
        words = _words(lists.lexicon, vocabularies, warn)
        speller = speller.with_lexicon(words, weight=lists.lexicon_weight)
    if lists.dictionary is not None:
        reverse = recipe is not None and recipe.data.reverse
        speller = speller.with_dictionary(_entries(lists.dictionary, vocabularies, reverse=reverse))
    return speller


def label(lists: SpellWordLists) -> str:
    """What word lists add to the name of an evaluation."""
    text = "" if lists.lexicon is None else f"-lexicon-{lists.lexicon.stem}"
    text += "" if lists.lexicon_weight is None else f"-w{lists.lexicon_weight:g}"
    return text + ("" if lists.dictionary is None else f"-dictionary-{lists.dictionary.stem}")


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
