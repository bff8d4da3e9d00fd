"""Pairs of symbol sequences read from TSV or CSV files, and single sources read line by line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from triptych.data.files import Line, number_lines, open_binary
from triptych.data.splits import connected_groups
from triptych.errors import DataError, RecipeError, did_you_mean
from triptych.text.symbols import Tokenizer

MAX_SYMBOLS = 1000
ENOUGH_TO_KNOW_A_HEADER = 10  # pairs
_DELIMITERS = {".tsv": "\t", ".txt": "\t", ".csv": ","}


@dataclass(frozen=True, slots=True)
class Pair:
    """What is given and what it is to become, as symbols, and the line (from 1) where the pair's row begins."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out: the line (from 1) where it begins, why, and whether there was nothing but blanks."""

    line: int
    reason: str
    is_blank: bool = False


@dataclass(frozen=True)
class PairFile:
    """What a file of pairs held; iterating over it gives the pairs.

    Attributes:
        path: the file.
        pairs: the good rows in file order; exact duplicates are kept as often as they are there.
        skipped: the bad rows, empty unless they were to be skipped.
        warnings: what is legal and yet likely a mistake, one complete sentence each, path included.
    """

    path: Path
    pairs: tuple[Pair, ...]
    skipped: tuple[BadRow, ...] = ()
    warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


@dataclass(frozen=True)
class Columns:
    """Which columns hold the source and the target: numbers from 1, or names, which make the first row a header."""

    source: int | str = 1
    target: int | str = 2

    def __post_init__(self) -> None:
        for side in ("source", "target"):
            column = getattr(self, side)
            number = isinstance(column, int) and not isinstance(column, bool)
            if not (number and column >= 1) and not (isinstance(column, str) and column.strip()):
                raise RecipeError(f"columns.{side} is {column!r}; expected a number >= 1 or a name from the header.")

    @property
    def named(self) -> bool:
        """Whether a column is given by name, so that the first row is a header."""
        return isinstance(self.source, str) or isinstance(self.target, str)


class SourceLine(NamedTuple):
    """One line to predict from: its number from 1, its text without the line end, and its symbols."""

    line: int
    text: str
    symbols: tuple[str, ...]


def read_pairs(
    path: Path | str,
    *,
    columns: Columns | None = None,
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    delimiter: str | None = None,
    max_symbols: int = MAX_SYMBOLS,
    skip_bad_rows: bool = False,
) -> PairFile:
    """Read all pairs of a UTF-8 file, streaming; a .gz file is unpacked on the way.

    White space around a field is dropped. A tab-delimited file has no quoting: every tab separates. With any other
    delimiter, fields are quoted as in CSV, and a quoted field may hold line breaks.

    Args:
        path: the file.
        columns: where source and target are; by default the first and the second column.
        source_tokenizer: splits sources.
        target_tokenizer: splits targets.
        delimiter: one character; None goes by the name: tab for .tsv and .txt, comma for .csv.
        max_symbols: the longest source or target allowed, in symbols, >= 1.
        skip_bad_rows: leave bad rows out and list them instead of stopping at the first.
    Returns:
        PairFile with at least one pair.
    Raises:
        DataError: the file is missing, empty, damaged or not text, a row is bad, or all rows are.
        RecipeError: delimiter or max_symbols is not usable.
    """
    path = Path(path)
    columns = columns or Columns()
    _check_max_symbols(max_symbols)
    split_row = _RowSplitter(columns, (source_tokenizer, target_tokenizer), max_symbols)
    separator = _delimiter_of(path, delimiter)
    pairs: list[Pair] = []
    skipped: list[BadRow] = []
    rows_seen = 0
    blank: list[_Row] = []  # bad rows, unless nothing but blank rows comes after them

    def read(row: _Row) -> None:
        try:
            pairs.append(split_row(row))
        except _BadRowError as error:
            if not skip_bad_rows:
                raise DataError(f"{error}. Mend the row, or skip bad rows.", path=path, line=row.line) from None
            skipped.append(BadRow(row.line, str(error)))

    with open_binary(path) as stream:
        for rows_seen, row in enumerate(_rows(number_lines(stream, path=path), separator), start=1):
            if rows_seen == 1 and columns.named:
                split_row.read_header(row, path)
            elif row.is_blank:
                blank.append(row)
            else:
                for waiting in [*blank, row]:
                    read(waiting)
                blank.clear()
    for row in blank if not pairs else ():
        read(row)
    if not pairs:
        raise _nothing_read(path, rows_seen, skipped)
    return PairFile(path, tuple(pairs), tuple(skipped), _warnings(path, pairs, columns))


def read_sources(
    lines: Iterable[str] | Iterable[bytes],
    tokenizer: Tokenizer,
    *,
    path_label: Path | str,
    max_symbols: int = MAX_SYMBOLS,
    on_bad_row: Callable[[BadRow], None] | None = None,
) -> Iterator[SourceLine]:
    """Yield sources to predict from, one per line, holding one line at a time.

    Args:
        lines: lines, or an open stream; a binary one (`sys.stdin.buffer`) lets lines that are not UTF-8 be skipped.
        tokenizer: splits sources; the one the model was trained with.
        path_label: what to call the lines in errors: a path, or "standard input".
        max_symbols: the longest source allowed, in symbols, >= 1.
        on_bad_row: called with each bad line, blank ones among them, which is then left out; None raises at the first.
    Raises:
        DataError: a line is bad and `on_bad_row` is None, or the stream cannot be read on.
    """
    _check_max_symbols(max_symbols)
    for line in number_lines(lines, path=path_label):
        try:
            yield SourceLine(line.number, line.text, _source_symbols(line, tokenizer, max_symbols))
        except _BadRowError as error:
            if on_bad_row is None:
                message = f"{error}. Mend the line, or skip bad rows."
                raise DataError(message, path=path_label, line=line.number) from None
            on_bad_row(BadRow(line.number, str(error), is_blank=isinstance(error, _BlankError)))


def group_references(pairs: Iterable[Pair]) -> dict[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """All different targets of each source, in order of appearance: an output is right when it is any of them."""
    groups: dict[tuple[str, ...], dict[tuple[str, ...], None]] = {}
    for pair in pairs:
        groups.setdefault(pair.source, {})[pair.target] = None
    return {source: tuple(targets) for source, targets in groups.items()}


def split_keys(pairs: Iterable[Pair], *, by: Literal["target", "source", "both"] = "target") -> list[Hashable]:
    """One key per pair for `split_by_fraction`; pairs with equal keys stay in one split.

    Args:
        pairs: the pairs.
        by: "target" keeps all pronunciations of a word together in phoneme-to-spelling data; "source" keeps all
            targets of a source together; "both" joins pairs that share either, through any chain of pairs.
    Raises:
        RecipeError: `by` is none of these.
    """
    if by == "target":
        return [pair.target for pair in pairs]
    if by == "source":
        return [pair.source for pair in pairs]
    if by == "both":
        return connected_groups([(("source", *pair.source), ("target", *pair.target)) for pair in pairs])
    raise RecipeError(f"split.by is {by!r}; expected one of target, source, both.")


class _BadRowError(Exception):
    """Why a row cannot be used, without path and line and without a full stop."""


class _BlankError(_BadRowError):
    """There is nothing but blanks."""


@dataclass(frozen=True, slots=True)
class _Row:
    """The fields of a row, the line where it begins, and the first problem of the lines it is made of."""

    line: int
    fields: list[str]
    problem: str | None

    @property
    def is_blank(self) -> bool:
        """Nothing is in any column, and nothing is wrong with it but that."""
        return not self.problem and not any(text.strip() for text in self.fields)


class _RowSplitter:
    """Turns rows into pairs."""

    def __init__(self, columns: Columns, tokenizers: tuple[Tokenizer, Tokenizer], max_symbols: int) -> None:
        self._wanted = {"source": columns.source, "target": columns.target}
        self._tokenizers = dict(zip(self._wanted, tokenizers, strict=True))
        self._max_symbols = max_symbols
        self._positions = {side: column - 1 for side, column in self._wanted.items() if isinstance(column, int)}

    def read_header(self, row: _Row, path: Path) -> None:
        """Look named columns up in the first row."""
        if row.problem:
            raise DataError(f"{row.problem}.", path=path, line=row.line)
        header = [name.strip() for name in row.fields]
        for side, column in self._wanted.items():
            if not isinstance(column, str):
                continue
            count = header.count(column.strip())
            if count != 1:
                found = f"{side} column {column!r} is {count} times in the header; expected once"
                raise DataError(f"{found}. {did_you_mean(column, header)}", path=path, line=row.line)
            self._positions[side] = header.index(column.strip())

    def __call__(self, row: _Row) -> Pair:
        if row.problem:
            raise _BadRowError(row.problem)
        if row.is_blank:
            raise _BadRowError("the row is blank; expected a source and a target")
        source, target = (self._symbols(side, row) for side in ("source", "target"))
        return Pair(source, target, row.line)

    def _symbols(self, side: str, row: _Row) -> tuple[str, ...]:
        position = self._positions[side]
        if position >= len(row.fields):
            columns = "1 column" if len(row.fields) == 1 else f"{len(row.fields)} columns"
            raise _BadRowError(f"the row has {columns}; expected at least {position + 1}, the {side}'s column")
        return _symbols_of(row.fields[position], self._tokenizers[side], self._max_symbols, what=f"the {side}")


def _source_symbols(line: Line, tokenizer: Tokenizer, max_symbols: int) -> tuple[str, ...]:
    if line.problem:
        raise _BadRowError(line.problem)
    return _symbols_of(line.text, tokenizer, max_symbols, what="the source")


def _symbols_of(text: str, tokenizer: Tokenizer, max_symbols: int, *, what: str) -> tuple[str, ...]:
    if not text.strip():
        raise _BlankError(f"{what} is empty; expected at least one symbol")
    symbols = tokenizer.split(text)
    if not symbols:
        raise _BadRowError(f"{what} is {text[:40]!r}, of which normalising leaves nothing; expected one symbol or more")
    if len(symbols) > max_symbols:
        raise _BadRowError(f"{what} has {len(symbols)} symbols; expected at most {max_symbols}")
    return symbols


def _rows(lines: Iterator[Line], delimiter: str) -> Iterator[_Row]:
    if delimiter != "\t":
        return _csv_rows(lines, delimiter)
    return (_Row(line.number, line.text.split(delimiter), line.problem) for line in lines)


class _Feed:
    """Hands lines to the csv module and remembers where the current row began and what was wrong with its lines."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self.begin()

    def begin(self) -> None:
        self.first: int | None = None
        self.problem: str | None = None

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.first = self.first or line.number
        self.problem = self.problem or line.problem
        return line.text + "\n"


def _csv_rows(lines: Iterator[Line], delimiter: str) -> Iterator[_Row]:
    """Rows of CSV; after one that is not CSV, reading goes on at the next line."""
    feed = _Feed(lines)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    while True:
        feed.begin()
        fields: list[str] = []
        problem: str | None = None
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = f"the row is not CSV: {error}; expected quotes to be closed and doubled inside quotes"
        yield _Row(feed.first or 1, fields, feed.problem or problem)


def _delimiter_of(path: Path, delimiter: str | None) -> str:
    if delimiter is not None:
        if len(delimiter) != 1 or delimiter in '\r\n" \0':
            raise RecipeError(f"delimiter is {delimiter!r}; expected one character, not a quote, space or line break.")
        return delimiter
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in _DELIMITERS:
        known = ", ".join(_DELIMITERS)
        raise DataError(
            f"the file's extension is {suffix!r}; expected one of {known}, with or without .gz. Give the delimiter.",
            path=path,
        )
    return _DELIMITERS[suffix]


def _check_max_symbols(max_symbols: int) -> None:
    if max_symbols < 1:
        raise RecipeError(f"max_symbols is {max_symbols}; expected an integer >= 1.")


def _nothing_read(path: Path, rows_seen: int, skipped: list[BadRow]) -> DataError:
    if skipped:
        first = skipped[0]
        return DataError(f"all {len(skipped)} rows are bad; here, {first.reason}.", path=path, line=first.line)
    held = "holds a header and no rows" if rows_seen else "is empty"
    return DataError(f"the file {held}; expected at least one pair.", path=path)


def _warnings(path: Path, pairs: list[Pair], columns: Columns) -> tuple[str, ...]:
    warnings: list[str] = []
    if not columns.named and pairs[0].line == 1 and len(pairs) >= ENOUGH_TO_KNOW_A_HEADER and _is_strange(pairs):
        warnings.append(
            f"{path}:1: the first row has symbols that no other row has, as a header would, and is taken for a pair. "
            "If it is a header, name the columns: data.source_column and data.target_column."
        )
    if len(pairs) == 1:
        warnings.append(f"{path}: there is 1 pair; training and splitting need more.")
    elif all((pair.source, pair.target) == (pairs[0].source, pairs[0].target) for pair in pairs):
        warnings.append(f"{path}: all {len(pairs)} pairs are the same; nothing can be learnt from them.")
    return tuple(warnings)


def _is_strange(pairs: Sequence[Pair]) -> bool:
    """Whether one side of the first pair is made of symbols that this side of no other pair has."""
    first, others = pairs[0], pairs[1:]
    return any(
        set(of_first).isdisjoint(symbol for side in of_others for symbol in side)
        for of_first, of_others in (
            (first.source, (pair.source for pair in others)),
            (first.target, (pair.target for pair in others)),
        )
    )
