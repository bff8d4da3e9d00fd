"""Pairs of symbol sequences read from TSV or CSV files, and single sources read line by line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from triptych.data.files import Line, number_lines, open_binary
from triptych.errors import DataError, RecipeError
from triptych.text.features import Features, SourceColumns, split_features
from triptych.text.languages import with_language
from triptych.text.layouts import alternatives, described, resolved
from triptych.text.lexicons import Lexicon
from triptych.text.remarks import PairRemarks
from triptych.text.rows import Columns, Layout, Row, delimiter_of, rows, without_blank_end
from triptych.text.symbols import Tokenizer

MAX_SYMBOLS = 1000


class Pair(NamedTuple):
    """Source and target of a pair, as symbols, the line (from 1) where the pair's row begins, and its features."""

    source: tuple[str, ...]
    target: tuple[str, ...]
    line: int
    features: Features = ()

    @property
    def input(self) -> Input:
        """What the target is predicted from."""
        return Input(self.source, self.features)


class Input(NamedTuple):
    """What a target is predicted from: the source's symbols, and features, sorted, where the model has any."""

    source: tuple[str, ...]
    features: Features = ()


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was skipped: the line (from 1) where it begins, why, and whether there was nothing but blanks."""

    line: int
    reason: str
    is_blank: bool = False


@dataclass(frozen=True)
class PairFile:
    """The pairs of a file; iterating over it gives the pairs.

    Attributes:
        path: the file.
        pairs: the good rows in file order; exact duplicates are kept as often as they are there.
        skipped: the bad rows, empty unless they were to be skipped.
        warnings: what is legal and yet likely a mistake, one complete sentence each, path included.
        merged: by side, symbols of the file that normalising made one and the same, such as `S` and `s`.
        decomposed: the sides whose texts are in the normal form NFD rather than NFC.
        layout: how the file was read where it is not a table, such as "read as a dictionary".
    """

    path: Path
    pairs: tuple[Pair, ...]
    skipped: tuple[BadRow, ...] = ()
    warnings: tuple[str, ...] = ()
    merged: Mapping[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)
    decomposed: frozenset[str] = frozenset()
    layout: str = ""

    def turned(self) -> PairFile:
        """The same with sources and targets swapped; its warnings name the sides of the file."""
        other = {"source": "target", "target": "source"}
        return replace(
            self,
            pairs=tuple(pair._replace(source=pair.target, target=pair.source) for pair in self.pairs),
            merged={other[side]: groups for side, groups in self.merged.items()},
            decomposed=frozenset(other[side] for side in self.decomposed),
        )

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)


class SourceLine(NamedTuple):
    """One line to predict from.

    Attributes:
        line: its number, from 1.
        text: of the source, without the line end.
        symbols: of the source.
        features: sorted; empty where there is no column of them.
        features_text: that column.
    """

    line: int
    text: str
    symbols: tuple[str, ...]
    features: Features = ()
    features_text: str = ""


def read_pairs(
    path: Path | str,
    *,
    layout: Layout | None = None,
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    max_symbols: int = MAX_SYMBOLS,
    skip_bad_rows: bool = False,
) -> PairFile:
    """Read all pairs of a UTF-8 file, streaming; a .gz file is unpacked on the way.

    White space around a field is dropped. A tab-delimited file has no quoting: every tab separates. With any other
    delimiter, fields are quoted as in CSV, and a quoted field may hold line breaks. Blank rows at the end are ignored.

    Args:
        path: the file.
        layout: of the file; by default a table whose first columns are source and target, without features.
        source_tokenizer: splits sources.
        target_tokenizer: splits targets.
        max_symbols: the longest source or target allowed, in symbols, >= 1.
        skip_bad_rows: skip bad rows and list them instead of stopping at the first.
    Returns:
        PairFile with at least one pair.
    Raises:
        DataError: the file is missing, empty, damaged or not text, a row is bad, or all rows are.
        RecipeError: delimiter, columns or max_symbols is not usable.
    """
    path = Path(path)
    _check_max_symbols(max_symbols)
    tokenizers = {"source": source_tokenizer, "target": target_tokenizer}
    layout, lexicon = resolved(path, layout or Layout(), source_tokenizer.unit, target_tokenizer.unit)
    columns = layout.columns
    remarks = PairRemarks(path, columns, tokenizers)
    reader = _PairReader(columns, tokenizers, max_symbols, remarks)
    pairs: list[Pair] = []
    skipped: list[BadRow] = []
    has_header = False
    with open_binary(path) as stream:
        lines = number_lines(stream, path=path)
        table = lexicon.rows(lines) if lexicon else rows(lines, delimiter_of(path, layout.delimiter))
        if columns.named and (header := next(table, None)):
            has_header = True
            reader.read_header(header, path)
        for row in without_blank_end(table):
            if row.is_blank and layout.skips_blank_rows:
                continue
            try:
                pairs += [reader(part) for part in reader.alternatives(row, layout.alternatives)]
            except _BadRowError as error:
                if not skip_bad_rows:
                    hint = "Fix the row, or pass --skip-bad."
                    raise DataError(f"{error}.", hint=hint, path=path, line=row.line) from None
                skipped.append(BadRow(row.line, str(error)))
    if not pairs:
        raise _nothing_read(path, skipped, has_header=has_header)
    return PairFile(
        path,
        tuple(pairs),
        tuple(skipped),
        remarks.sentences([pair[:3] for pair in pairs]),
        remarks.merged(),
        remarks.decomposed(),
        described(layout) if lexicon else "",
    )


def read_sources(
    lines: Iterable[str] | Iterable[bytes],
    tokenizer: Tokenizer,
    *,
    path_label: Path | str,
    max_symbols: int = MAX_SYMBOLS,
    on_bad_row: Callable[[BadRow], None] | None = None,
    columns: SourceColumns | None = None,
) -> Iterator[SourceLine]:
    """Yield sources to predict from, one per line, holding one line at a time. Blank lines at the end are ignored.

    Args:
        lines: lines, or an open stream; a binary one (`sys.stdin.buffer`) lets lines that are not UTF-8 be skipped.
        tokenizer: splits sources; the one the model was trained with.
        path_label: what to call the lines in errors: a path, or "standard input".
        max_symbols: the longest source allowed, in symbols, >= 1.
        on_bad_row: called with each bad line, blank ones among them, which is then skipped; None raises at the first.
        columns: where lines have their source and their features; None takes the whole line as the source.
    Raises:
        DataError: a line is bad and `on_bad_row` is None, or the stream cannot be read on.
    """
    _check_max_symbols(max_symbols)

    def refuse(row: BadRow) -> None:
        if on_bad_row is None:
            hint = "Fix the line, or pass --skip-bad."
            raise DataError(f"{row.reason}.", hint=hint, path=path_label, line=row.line)
        on_bad_row(row)

    blank: list[BadRow] = []  # bad lines, unless nothing but blank lines comes after them
    for line in number_lines(lines, path=path_label):
        if columns is not None and line.number == 1 and columns.take_header(line.text):
            continue
        try:
            source, features_text = _columns_of(line, columns)
            symbols = _symbols_of(source, tokenizer, max_symbols, what="the source")
            features = () if columns is None else _features_of(features_text, columns.columns)
        except _BlankError as error:
            blank.append(BadRow(line.number, str(error), is_blank=True))
            continue
        except _BadRowError as error:
            for row in (*blank, BadRow(line.number, str(error))):
                refuse(row)
        else:
            for row in blank:
                refuse(row)
            yield SourceLine(line.number, source, symbols, features, features_text)
        blank.clear()


def stream_pairs(
    lines: Iterable[str] | Iterable[bytes],
    *,
    layout: Layout,
    lexicon: Lexicon | None = None,
    source_tokenizer: Tokenizer,
    target_tokenizer: Tokenizer,
    path_label: Path | str,
    max_symbols: int = MAX_SYMBOLS,
    on_bad_row: Callable[[BadRow], None] | None = None,
) -> Iterator[Pair]:
    """Yield pairs one by one, holding one row at a time. Blank rows at the end are ignored.

    Args:
        lines: lines, or an open stream; a binary one lets lines that are not UTF-8 be skipped.
        layout: without `auto`; no delimiter is a tab.
        lexicon: how entries are written where it is a dictionary.
        source_tokenizer: splits sources.
        target_tokenizer: splits targets.
        path_label: what to call the lines in errors: a path, or "standard input".
        max_symbols: the longest source or target allowed, in symbols, >= 1.
        on_bad_row: called with each bad row, which is then skipped; None raises at the first.
    Raises:
        DataError: a row is bad and `on_bad_row` is None, or the stream cannot be read on.
    """
    _check_max_symbols(max_symbols)
    tokenizers, columns = {"source": source_tokenizer, "target": target_tokenizer}, layout.columns
    reader = _PairReader(columns, tokenizers, max_symbols, PairRemarks(Path(path_label), columns, tokenizers))
    numbered = number_lines(lines, path=path_label)
    table = lexicon.rows(numbered) if lexicon else rows(numbered, layout.delimiter or "\t")
    if columns.named and (header := next(table, None)):
        reader.read_header(header, Path(path_label))
    for row in without_blank_end(table):
        try:
            pairs = [reader(part) for part in reader.alternatives(row, layout.alternatives)]
        except _BadRowError as error:
            if on_bad_row is None:
                hint = "Fix the row, or pass --skip-bad."
                raise DataError(f"{error}.", hint=hint, path=path_label, line=row.line) from None
            on_bad_row(BadRow(row.line, str(error), is_blank=row.is_blank))
        else:
            yield from pairs


class _BadRowError(Exception):
    """Why a row cannot be used, without path and line and without a full stop."""


class _BlankError(_BadRowError):
    """There is nothing but blanks."""


class _PairReader:
    """Turns rows into pairs; where columns have names, after `read_header`."""

    def __init__(
        self, columns: Columns, tokenizers: Mapping[str, Tokenizer], max_symbols: int, remarks: PairRemarks
    ) -> None:
        self._positions = {side: column - 1 for side, column in columns.by_side.items() if isinstance(column, int)}
        self._columns = columns
        self._tokenizers = tokenizers
        self._max_symbols = max_symbols
        self._remarks = remarks

    def read_header(self, header: Row, path: Path) -> None:
        """Find the positions of named columns."""
        self._positions = self._columns.positions(header, path)
        self._remarks.header_width = len(header.fields)

    def alternatives(self, row: Row, separator: str) -> list[Row]:
        """The row once for each combination of the alternatives in its source and target."""
        positions = [self._positions[side] for side in self._tokenizers]
        return alternatives(row, positions, separator) if separator else [row]

    def __call__(self, row: Row) -> Pair:
        if row.problem:
            raise _BadRowError(row.problem)
        if row.is_blank:
            raise _BadRowError("the row is blank; expected a source and a target")
        texts = {side: self._text(side, row) for side in self._tokenizers}
        source, target = (
            _symbols_of(text, self._tokenizers[side], self._max_symbols, what=f"the {side}")
            for side, text in texts.items()
        )
        has_features = self._columns.features is not None
        features = _features_of(self._text("features", row) if has_features else "", self._columns)
        self._remarks.note(row, texts)
        return Pair(source, target, row.line, features)

    def _text(self, side: str, row: Row) -> str:
        position = self._positions[side]
        if position >= len(row.fields):
            columns = "1 column" if len(row.fields) == 1 else f"{len(row.fields)} columns"
            owner = "features'" if side == "features" else f"{side}'s"
            found = f"the row has {columns}; expected at least {position + 1}, the {owner} column"
            raise _BadRowError(found + (_other_layout(row.fields[0]) if len(row.fields) == 1 else ""))
        return row.fields[position]


def _other_layout(text: str) -> str:
    """The setting by which a row of one column may have several, if it looks so."""
    if any(delimiter in text for delimiter in "\t;,|"):
        return ", or another delimiter (data.delimiter)"
    return ", or a dictionary (data.layout)" if len(text.split()) > 1 else ""


def _columns_of(line: Line, columns: SourceColumns | None) -> tuple[str, str]:
    """The texts of a line's source and of its features."""
    if line.problem:
        raise _BadRowError(line.problem)
    if columns is None or not line.text.strip():
        return line.text, ""
    try:
        return columns.split(line.text)
    except (DataError, csv.Error) as error:
        raise _BadRowError(str(error)) from None


def _features_of(text: str, columns: Columns) -> Features:
    try:
        return with_language(split_features(text, columns.features_separator), columns.language, columns.languages)
    except DataError as error:
        raise _BadRowError(str(error).removesuffix(".")) from None


def _symbols_of(text: str, tokenizer: Tokenizer, max_symbols: int, *, what: str) -> tuple[str, ...]:
    if not text.strip():
        raise _BlankError(f"{what} is empty; expected at least one symbol")
    symbols = tokenizer.split(text)
    if not symbols:
        raise _BadRowError(f"{what} is {text[:40]!r}, of which normalising leaves nothing; expected one symbol or more")
    if len(symbols) > max_symbols:
        raise _BadRowError(f"{what} has {len(symbols)} symbols; expected at most {max_symbols}")
    return symbols


def _check_max_symbols(max_symbols: int) -> None:
    if max_symbols < 1:
        raise RecipeError(field="max_symbols", value=max_symbols, expected="an integer >= 1")


def _nothing_read(path: Path, skipped: list[BadRow], *, has_header: bool) -> DataError:
    if skipped:
        first = skipped[0]
        return DataError(f"{first.reason}. No row can be used, of {len(skipped)}.", path=path, line=first.line)
    held = "holds a header and no rows" if has_header else "is empty"
    return DataError(f"the file {held}; expected at least one pair.", path=path)
