"""Data for a student: a run's own pairs, and its model's answers for words that have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from triptych.config import SpellDecoding, SpellRecipe
from triptych.data.files import open_binary
from triptych.decoding import Speller
from triptych.errors import DataError, RecipeError
from triptych.files import write_tsv
from triptych.spell.corpus import Corpus
from triptych.text.pairs import BadRow, Pair, read_sources

MOST_CANDIDATES = 5  # of a word, where the least probability allows several


@dataclass(frozen=True)
class Distilled:
    """What was written, in numbers.

    Attributes:
        own: training pairs of the run's data.
        added: pairs of words and the teacher's answers.
        answered: words that these pairs are of.
        words: different words of the file.
        doubtful: words without an answer that is probable enough.
        known: words that the data has already, in any split.
        unreadable: words with symbols that the teacher does not know, and lines that are not text.
    """

    own: int
    added: int
    answered: int
    words: int
    doubtful: int
    known: int
    unreadable: int

    def to_dict(self) -> dict[str, int]:
        """Plain values for JSON."""
        return asdict(self)


def distil(teacher: Speller, recipe: SpellRecipe, data: Corpus, words: Path, out: Path, *, least: float) -> Distilled:
    """Write a folder to train a student on: the data's splits, and the teacher's answers added to the training.

    Words of the validation and test data are never added, so that they stay held out.

    Args:
        teacher: the model, best an ensemble.
        recipe: of the teacher's run; the folder is laid out for it, with two columns.
        data: of the teacher's run.
        words: a file with one word per line.
        out: the folder; files of the same names are replaced.
        least: answers with a probability of at least this are added, in (0, 1]; below 0.5 a word may have several.
    Raises:
        RecipeError: the teacher was trained with features.
        DataError: the words cannot be read, or none of them gives a pair.
    """
    if teacher.vocabularies.features is not None:
        raise RecipeError(
            "the teacher needs features or a language beside each word, and a list of words has none.",
            hint="Train the student on the teacher's own data.",
        )
    sources, unreadable = _words(teacher, recipe, words)
    held = {pair.source for split in data.splits.values() for pair in split}
    fresh = [source for source in sources if source not in held]
    asked = [source for source in fresh if not teacher.vocabularies.sources.unknown_in(source)]
    decoding = SpellDecoding(
        **{**teacher.decoding.model_dump(), "method": "beam", "beam_size": 8, "n_best": MOST_CANDIDATES}
    )
    added: list[Pair] = []
    doubtful = 0
    for prediction in teacher.stream(asked, decoding=decoding):
        sure = [each for each in prediction.candidates if each.finished and each.symbols and each.probability >= least]
        doubtful += not sure
        added += [Pair(prediction.source, each.symbols, 0) for each in sure]
    if not added:
        raise DataError(
            f"none of the {len(sources)} words gives a pair: {len(sources) - len(fresh)} are in the data already, "
            f"{len(fresh) - len(asked)} have symbols that the teacher does not know, and of {doubtful} no answer has a "
            f"probability of {least:g} or more.",
            hint="Lower --min-probability, or name other words.",
            path=words,
        )
    for split, pairs in data.splits.items():
        rows = [*pairs, *added] if split == "train" else pairs
        write_tsv(out / f"{split}.tsv", *_table(teacher, recipe, rows))
    return Distilled(
        own=len(data.splits["train"]),
        added=len(added),
        answered=len(asked) - doubtful,
        words=len(sources),
        doubtful=doubtful,
        known=len(sources) - len(fresh),
        unreadable=unreadable + len(fresh) - len(asked),
    )


def _words(teacher: Speller, recipe: SpellRecipe, path: Path) -> tuple[list[tuple[str, ...]], int]:
    """The different words of a file, in the teacher's normal form, and the number of lines that are not usable."""
    bad: list[BadRow] = []
    with open_binary(path) as stream:
        lines = read_sources(
            stream,
            teacher.vocabularies.source_tokenizer,
            path_label=path,
            max_symbols=recipe.data.max_symbols,
            on_bad_row=bad.append,
        )
        sources = list(dict.fromkeys(line.symbols for line in lines))
    return sources, sum(not row.is_blank for row in bad)


def _table(teacher: Speller, recipe: SpellRecipe, pairs: Sequence[Pair]) -> tuple[Sequence[str], list[list[str]]]:
    """First row and rows of a file, in the order of the data's columns. The first row is a pair like the others."""
    first, second = teacher.vocabularies.source_tokenizer, teacher.vocabularies.target_tokenizer
    rows = [[first.join(pair.source), second.join(pair.target)] for pair in pairs]
    if recipe.data.reverse:
        rows = [row[::-1] for row in rows]
    return rows[0], rows[1:]
