"""Word lists of a speller: a lexicon that limits predictions, and a dictionary that replaces them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from triptych.data.files import open_binary
from triptych.errors import DataError
from triptych.text.layouts import other_layout
from triptych.text.lexicons import is_lexicon
from triptych.text.pairs import BadRow, read_pairs, read_sources
from triptych.text.rows import Layout
from triptych.text.symbols import Vocabularies, some_of

Symbols = tuple[str, ...]
_AUTO = Layout(kind="auto")


@dataclass(frozen=True)
class DictionaryLayout:
    """File layout of a run's data, and so of its dictionary.

    Attributes:
        layout: of the file, before `reverse`; a dictionary of two plain columns is read too.
        reverse: the first side is the model's target.
    """

    layout: Layout = _AUTO
    reverse: bool = False


@dataclass(frozen=True)
class WordList:
    """The words of a list that the model can write, and sentences on the others."""

    words: Sequence[str]
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Dictionary:
    """Source symbols, target symbols and features of each entry, and sentences on what is likely wrong with them."""

    entries: Sequence[tuple[Symbols, Symbols, Symbols]]
    warnings: Sequence[str] = ()


def read_words(path: Path, vocabularies: Vocabularies, layout: DictionaryLayout | None = None) -> WordList:
    """The words of a list, one per line, that the model can write, or the targets of a dictionary.

    Args:
        path: the list; blank lines are skipped. Where the model can write less than half of its lines, and it is
            certainly a dictionary, the targets of its entries are the words.
        vocabularies: the model's.
        layout: of the run's data; see `read_dictionary`.
    Raises:
        DataError: a line is not text, or the model can write none of the words.
    """

    def refuse(row: BadRow) -> None:
        if not row.is_blank:
            raise DataError(f"{row.reason}.", hint="Fix the line.", path=path, line=row.line)

    with open_binary(path) as stream:
        lines = list(read_sources(stream, vocabularies.target_tokenizer, path_label=path, on_bad_row=refuse))
    texts = [(line.text, line.symbols) for line in lines]
    remarks = []
    if 2 * sum(not vocabularies.targets.unknown_in(symbols) for _, symbols in texts) < len(texts) and is_lexicon(path):
        listed = read_dictionary(path, vocabularies, _of_any_language(layout or DictionaryLayout()))
        targets = dict.fromkeys(target for _, target, _ in listed.entries)
        texts = [(vocabularies.target_tokenizer.join(target), target) for target in targets]
        remarks.append(f"{path}: read as a dictionary; the words of the list are the targets of its entries.")
    usable: list[str] = []
    others: list[str] = []
    for text, symbols in texts:
        (others if vocabularies.targets.unknown_in(symbols) else usable).append(text)
    if not usable:
        found = f"the model can write none of the {len(others)} words, such as {others[0]!r}" if others else "no words"
        raise DataError(f"{found}; expected one word per line, of symbols that training showed.", path=path)
    if others:
        found = f"{len(others)} of {len(texts)} words have symbols that training never showed"
        remarks.append(f"{path}: {found}; they are skipped. The first: {others[0]!r}.")
    return WordList(usable, remarks)


def read_dictionary(path: Path, vocabularies: Vocabularies, layout: DictionaryLayout | None = None) -> Dictionary:
    """The pairs of a dictionary, from the model's source to its target.

    Args:
        path: a file laid out as the run's data, or with two plain columns.
        vocabularies: the model's.
        layout: of the run's data; by default source and target are the first two columns.
    Raises:
        DataError: the file cannot be read.
    """
    layout = layout or DictionaryLayout()
    first, second = vocabularies.source_tokenizer, vocabularies.target_tokenizer
    if layout.reverse:
        first, second = second, first
    found = other_layout(path, layout.layout)
    file = read_pairs(path, layout=found, source_tokenizer=first, target_tokenizer=second)
    pairs = ((pair.target, pair.source) if layout.reverse else (pair.source, pair.target) for pair in file)
    entries = list(dict.fromkeys((*sides, pair.features) for sides, pair in zip(pairs, file, strict=True)))
    remark = _strangers(path, [source for source, *_ in entries], vocabularies)
    return Dictionary(entries, [text for text in (found.remark, remark) if text])


def _of_any_language(layout: DictionaryLayout) -> DictionaryLayout:
    """The layout of a file whose targets alone are used."""
    columns = replace(layout.layout.columns, languages=(), language=None)
    return replace(layout, layout=layout.layout._replace(columns=columns))


def _strangers(path: Path, sources: Sequence[Symbols], vocabularies: Vocabularies) -> str:
    """A sentence where most sources have symbols that training never showed, as with swapped columns."""
    strange = [source for source in sources if vocabularies.sources.unknown_in(source)]
    if 2 * len(strange) <= len(sources):
        return ""
    return (
        f"{path}: {len(sources) - len(strange)} of {len(sources)} entries have sources made of the model's symbols "
        f"({some_of(vocabularies.sources.symbols)}); the first that has not: "
        f"{vocabularies.source_tokenizer.join(strange[0])!r}. Are the columns swapped, or is the dictionary for "
        "another model?"
    )
