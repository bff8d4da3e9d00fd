"""Lexicon and dictionary of a speller, read from files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from triptych.config import SpellRecipe
from triptych.config.spell_prediction import SpellWordLists
from triptych.decoding import Speller
from triptych.errors import RecipeError
from triptych.runs.run import Run
from triptych.spell.corpus import dictionary_layout, named_pairs
from triptych.text.dictionaries import read_dictionary, read_words

Symbols = tuple[str, ...]
Warn = Callable[[Sequence[str]], None]


def with_word_lists(
    speller: Speller, lists: SpellWordLists, *, recipe: SpellRecipe | None = None, warn: Warn = lambda _: None
) -> Speller:
    """A speller with a lexicon, a dictionary, or both.

    Args:
        speller: the model.
        lists: the files.
        recipe: of the run, whose data is laid out like the dictionary, swapped sides included.
        warn: called with sentences on words and entries that cannot be used.
    Raises:
        DataError: a file cannot be read.
        RecipeError: a weight without a word list.
    """
    if lists.lexicon_weight is not None and lists.lexicon is None:
        raise RecipeError(
            f"--lexicon-weight is {lists.lexicon_weight} without a word list.", hint="Add --lexicon FILE."
        )
    vocabularies = speller.vocabularies
    layout = dictionary_layout(recipe.data, speller.language) if recipe else None
    if lists.lexicon is not None:
        words = read_words(lists.lexicon, vocabularies, layout)
        warn(words.warnings)
        speller = speller.with_lexicon(words.words, weight=lists.lexicon_weight)
    if lists.dictionary is not None:
        found = read_dictionary(lists.dictionary, vocabularies, layout)
        warn([*found.warnings, *_disagreements(speller, found.entries, lists.dictionary)])
        speller = speller.with_dictionary(found.entries)
    return speller


def _disagreements(speller: Speller, entries: Sequence[tuple[Symbols, Symbols, Symbols]], path: Path) -> list[str]:
    """A sentence where a dictionary has other first targets than the training pairs that a run keeps."""
    if speller.remembered is None:
        return []
    first: dict[tuple[Symbols, Symbols], Symbols] = {}
    for source, target, features in entries:
        first.setdefault((source, features), target)
    lookup = speller.remembered.lookup
    others = [given for given, target in first.items() if lookup(*given)[:1] not in ((), (target,))]
    if not others:
        return []
    join, write = speller.vocabularies.source_tokenizer.join, speller.vocabularies.target_tokenizer.join
    shown = others[0]
    return [
        f"{path}: its entries come before the training pairs that the run keeps, of which {len(others)} have another "
        f"target; the first: {join(shown[0])!r}, {write(first[shown])!r} and not {write(lookup(*shown)[0])!r}."
    ]


def with_packed_dictionary(model: Speller, recipe: SpellRecipe, run: Run) -> Speller:
    """The model with the dictionary that was packed with its run in front; the model alone where there is none."""
    name = "" if run.packed is None else run.packed.dictionary
    return with_named_set(model, recipe, name) if name else model


def with_named_set(speller: Speller, recipe: SpellRecipe, name: str) -> Speller:
    """A speller that answers with all pairs of a named data set first, read as the recipe reads its data.

    Raises:
        DataError: the set cannot be read.
    """
    source, target = speller.vocabularies.source_tokenizer, speller.vocabularies.target_tokenizer
    settings = recipe.data.model_copy(update={"set": name, "skip_bad": True})
    if settings.reverse:
        return speller.with_dictionary((pair.target, pair.source) for pair in named_pairs(settings, target, source))
    return speller.with_dictionary((pair.source, pair.target) for pair in named_pairs(settings, source, target))


def label(lists: SpellWordLists) -> str:
    """Suffix of an evaluation's name for its word lists."""
    text = "" if lists.lexicon is None else f"-lexicon-{lists.lexicon.stem}"
    text += "" if lists.lexicon_weight is None else f"-w{lists.lexicon_weight:g}"
    return text + ("" if lists.dictionary is None else f"-dictionary-{lists.dictionary.stem}")
