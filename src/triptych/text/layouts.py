"""How a file of pairs is laid out where that is to be found out, and several alternatives in one of its fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from triptych.errors import RecipeError
from triptych.text.lexicons import Lexicon, is_lexicon
from triptych.text.rows import Layout, Row, fitting_layout
from triptych.text.symbols import Unit

CLOSE_SEPARATORS = (",", ";", "/", "|")  # of alternatives; ~ without white space is a mark of X-SAMPA


def resolved(path: Path, layout: Layout, source_unit: Unit, target_unit: Unit) -> tuple[Layout, Lexicon | None]:
    """The layout of a file without `auto`, and how its entries are written where it is a dictionary.

    In a dictionary whose columns are 1 and 2, words are the sources, unless sources are in symbols and targets are not.

    Raises:
        RecipeError: a dictionary with other columns than 1 and 2.
        DataError: the file cannot be opened or read.
    """
    columns = layout.columns
    if layout.kind == "table" or (layout.kind == "auto" and (layout.delimiter or not columns.are_first_two)):
        return layout._replace(kind="table"), None
    if not columns.are_first_two:
        wanted = " and ".join(repr(column) for column in columns.by_side.values())
        raise RecipeError(
            field="columns", value=wanted, expected="1 and 2 in a dictionary: the word, then its phonemes", path=path
        )
    if layout.kind == "auto" and not is_lexicon(path):
        return layout._replace(kind="table"), None
    if columns.source == 1 and source_unit == "symbols" and target_unit != "symbols":
        columns = replace(columns, source=2, target=1)
    return layout._replace(columns=columns, kind="dictionary"), Lexicon.of(path)


def other_layout(path: Path, layout: Layout) -> Layout:
    """The layout to read a file with that may be laid out unlike the data that a layout is for.

    A dictionary is read as one wherever that is certain, and a table as `fitting_layout` finds.

    Raises:
        DataError: the file cannot be opened or read.
    """
    if layout.kind != "table" and layout.columns.features is None and is_lexicon(path):
        columns = replace(layout.columns, source=1, target=2)
        return Layout(columns, kind="dictionary", alternatives=layout.alternatives)
    return fitting_layout(path, layout._replace(kind="table"))


def described(layout: Layout) -> str:
    """How a dictionary was read."""
    words, phonemes = ("sources", "targets") if layout.columns.source == 1 else ("targets", "sources")
    return f"read as a dictionary with words as {words} and phonemes as {phonemes}"


def alternatives(row: Row, positions: Sequence[int], separator: str) -> list[Row]:
    """A row once for each combination of the alternatives in its fields.

    Args:
        row: of a table.
        positions: of the fields, from 0; those that the row lacks are ignored.
        separator: between alternatives: a comma or the like wherever it is, other text between white space alone.
    """
    parts = [row]
    for position in positions:
        if position < len(row.fields):
            texts = _parts(row.fields[position], separator)
            parts = [
                replace(part, fields=[*part.fields[:position], text, *part.fields[position + 1 :]])
                for part in parts
                for text in texts
            ]
    return parts


def _parts(text: str, separator: str) -> Sequence[str]:
    around = r"\s*" if separator in CLOSE_SEPARATORS else r"\s+"
    return [part for part in re.split(f"{around}{re.escape(separator)}{around}", text.strip()) if part] or [text]
