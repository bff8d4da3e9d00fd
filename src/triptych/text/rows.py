"""Rows of TSV and CSV files, the columns that hold sources and targets, and the delimiter between columns."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

from triptych.data.files import Line, number_lines, open_binary
from triptych.errors import DataError, RecipeError, did_you_mean

_DELIMITERS = {".tsv": "\t", ".txt": "\t", ".csv": ","}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table.

    Attributes:
        line: where it begins, from 1.
        fields: text of each column.
        problem: why the row cannot be used, without a full stop; None where nothing is wrong.
        lines: how many lines it takes; more than one where a quoted field holds line breaks.
    """

    line: int
    fields: list[str]
    problem: str | None = None
    lines: int = 1

    @property
    def is_blank(self) -> bool:
        """Whether every column is empty and nothing else is wrong."""
        return not self.problem and not any(text.strip() for text in self.fields)


@dataclass(frozen=True)
class Columns:
    """Columns of the source and the target, and of features where there are any.

    Numbers from 1, or names, which make the first row a header. Features are separated by `features_separator`. Where
    `languages` are known, every row has one of them: `language` where its features name none.
    """

    source: int | str = 1
    target: int | str = 2
    features: int | str | None = None
    features_separator: str = ";"
    language: str | None = None
    languages: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for side, column in self.by_side.items():
            is_number = isinstance(column, int) and not isinstance(column, bool)
            if not (is_number and column >= 1) and not (isinstance(column, str) and column.strip()):  # type: ignore[operator]
                raise RecipeError(
                    field=f"columns.{side}", value=column, expected="a number >= 1 or a name from the header"
                )

    @property
    def by_side(self) -> dict[str, int | str]:
        """The columns under `source`, `target` and, where there is one, `features`."""
        found = {"source": self.source, "target": self.target}
        return found if self.features is None else {**found, "features": self.features}

    @property
    def named(self) -> bool:
        """Whether a column is given by name, so that the first row is a header."""
        return any(isinstance(column, str) for column in self.by_side.values())

    @property
    def are_first_two(self) -> bool:
        """Whether they are the numbers 1 and 2, in either order, without features."""
        return self.features is None and {self.source, self.target} == {1, 2}

    def positions(self, header: Row, path: Path) -> dict[str, int]:
        """The position of each side's column, from 0; names are searched in the header.

        Raises:
            DataError: the header cannot be read, or does not have a name exactly once.
        """
        if header.problem and self.named:
            raise DataError(f"{header.problem}.", path=path, line=header.line)
        names = [name.strip() for name in header.fields]
        found = {}
        for side, column in self.by_side.items():
            if isinstance(column, int):
                found[side] = column - 1
                continue
            count = names.count(column.strip())
            if count != 1:
                times = "not" if count == 0 else f"{count} times"
                raise DataError(
                    f"the {side} column {column!r} is {times} in the header; expected it once.",
                    field=f"{side}_column",
                    value=column,
                    hint=did_you_mean(column, names),
                    path=path,
                    line=header.line,
                )
            found[side] = names.index(column.strip())
        return found

    def fit(self, header: Row) -> bool:
        """Whether a first row has all these columns."""
        names = [name.strip() for name in header.fields]
        return all(
            column <= len(names) if isinstance(column, int) else names.count(column.strip()) == 1
            for column in self.by_side.values()
        )


class Layout(NamedTuple):
    """Layout of a file of pairs.

    Attributes:
        columns: of source and target; in a dictionary the word is column 1 and its phonemes are column 2.
        delimiter: one character; None goes by the file's name.
        kind: `table`; `dictionary`, with white space after a word (see `triptych.text.lexicons`); or `auto`, which is a
            dictionary where that is certain.
        alternatives: what separates several sources or targets in one field, each of which makes a pair; empty is none.
        skips_blank_rows: rows without content are ends of sentences and not mistakes.
        remark: a sentence if the layout was guessed.
    """

    columns: Columns = Columns()
    delimiter: str | None = None
    kind: Literal["auto", "table", "dictionary"] = "table"
    alternatives: str = ""
    skips_blank_rows: bool = False
    remark: str = ""


def fitting_layout(path: Path, layout: Layout) -> Layout:
    """The layout to read a file with that may be laid out unlike the data that a layout is for.

    The columns stay where they fit the first row, with the given delimiter or that of the file's name. Otherwise a file
    of two columns is read as source and target. What fits in no way is returned as it was given.

    Raises:
        DataError: the file cannot be opened or read.
    """
    columns = layout.columns
    known = _DELIMITERS.get(_suffix(path), "\t")
    given = layout.delimiter or known
    candidates = list(dict.fromkeys((given, known, "\t")))
    headers = {candidate: _first_row(path, candidate) for candidate in candidates}
    for candidate, header in headers.items():
        if header and columns.fit(header):
            return layout._replace(delimiter=layout.delimiter if candidate == given else candidate)
    for candidate, header in headers.items():
        if header and len(header.fields) == 2 and columns.features is None:
            wanted = " and ".join(repr(column) for column in columns.by_side.values())
            remark = f"{path}: the columns {wanted} are missing; its two columns are read as source and target."
            two = replace(columns, source=1, target=2)
            return layout._replace(columns=two, delimiter=candidate, remark=remark)
    return layout


def is_comma_separated(path: Path) -> bool:
    """Whether a file's name says that commas are between its columns."""
    return _DELIMITERS.get(_suffix(path)) == ","


def _first_row(path: Path, delimiter: str) -> Row | None:
    with open_binary(path) as stream:
        return next(islice(rows(number_lines(stream, path=path), delimiter), 1), None)


def delimiter_of(path: Path, delimiter: str | None) -> str:
    """The given delimiter, or the one that the file's name implies.

    Raises:
        RecipeError: the delimiter is not usable.
        DataError: none is given, and the name implies none.
    """
    if delimiter is not None:
        if len(delimiter) != 1 or delimiter in '\r\n" \0':
            raise RecipeError(
                field="delimiter", value=delimiter, expected="one character, not a quote, space or line break"
            )
        return delimiter
    suffix = _suffix(path)
    if suffix not in _DELIMITERS:
        raise DataError(
            field="the extension",
            value=suffix,
            expected=f"one of {', '.join(_DELIMITERS)}, with or without .gz",
            hint="For another extension, set data.delimiter.",
            path=path,
        )
    return _DELIMITERS[suffix]


def _suffix(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return suffixes[-1] if suffixes else ""


def rows(lines: Iterator[Line], delimiter: str) -> Iterator[Row]:
    """The rows of a table: without quoting where tabs delimit, else as in CSV, where quoted fields hold line breaks."""
    if delimiter != "\t":
        return _csv_rows(lines, delimiter)
    return (Row(line.number, line.text.split(delimiter), line.problem) for line in lines)


def without_blank_end(table: Iterator[Row]) -> Iterator[Row]:
    """Rows without the blank ones at the end; all rows if all are blank."""
    blank: list[Row] = []
    has_content = False
    for row in table:
        if row.is_blank:
            blank.append(row)
            continue
        has_content = True
        yield from blank
        yield row
        blank.clear()
    if not has_content:
        yield from blank


class _Feed:
    """Hands lines to the csv module; those of a row that turned out not to be CSV can be handed out again."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self._again: deque[Line] = deque()
        self.row: list[Line] = []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.row.append(line)
        return line.text + "\n"

    def repeat(self) -> None:
        """Hand out again all lines of this row but the first."""
        self._again.extendleft(reversed(self.row[1:]))


def _csv_rows(lines: Iterator[Line], delimiter: str) -> Iterator[Row]:
    """Rows of CSV; after a row that is not CSV, reading resumes at the line after the one where it begins.

    Otherwise a quote that is never closed would take all rows up to the next quote with it. The csv module's limit on
    the length of a field bounds how many lines are held.
    """
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.row = []
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            first = feed.row[0]
            feed.repeat()
            found = f"the row is not CSV: {error}; expected quotes to be closed, and doubled inside quotes"
            yield Row(first.number, [], first.problem or found)
        else:
            problem = next((line.problem for line in feed.row if line.problem), None)
            yield Row(feed.row[0].number, fields, problem, lines=len(feed.row))
