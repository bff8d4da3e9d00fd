"""A word list to keep to and a dictionary to look up first, read from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from triptych.config import SpellRecipe
from triptych.decoding import Speller
from triptych.errors import RecipeError
from triptych.spell.corpus import dictionary_layout
from triptych.text.dictionaries import read_dictionary, read_words

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
        recipe: of the run, whose data is laid out like the dictionary, swapped sides included.
        warn: called with sentences on words and entries that cannot be used.
    Raises:
        DataError: a file cannot be read.
        RecipeError: a weight without a word list, or out of range.
    """
    if weight is not None and lexicon is None:
        raise RecipeError(f"--lexicon-weight is {weight} without a word list.", hint="Add --lexicon FILE.")
    vocabularies = speller.vocabularies
    if lexicon is not None:
        words = read_words(lexicon, vocabularies)
        warn(words.warnings)
        speller = speller.with_lexicon(words.words, weight=weight)
    if dictionary is not None:
        found = read_dictionary(dictionary, vocabularies, dictionary_layout(recipe.data) if recipe else None)
        warn(found.warnings)
        speller = speller.with_dictionary(found.entries)
    return speller


def label(lexicon: Path | None, weight: float | None, dictionary: Path | None) -> str:
    """What word lists add to the name of an evaluation."""
    text = "" if lexicon is None else f"-lexicon-{lexicon.stem}" + ("" if weight is None else f"-w{weight:g}")
    return text + ("" if dictionary is None else f"-dictionary-{dictionary.stem}")
