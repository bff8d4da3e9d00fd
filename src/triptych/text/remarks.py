"""Likely mistakes in a valid file of pairs: swapped columns, a header, tabs within a field."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from triptych.text.rows import Columns, Row
from triptych.text.symbols import Tokenizer

ENOUGH_ROWS = 10  # pairs, to know a header or swapped columns
_TIE_BARS = "\N{COMBINING DOUBLE INVERTED BREVE}\N{COMBINING DOUBLE BREVE BELOW}"
_INVISIBLE = (
    "\u00ad\u034f\u061c\u200b\u200e\u200f\u2060\ufeff"  # soft hyphen, joiners, directions of writing, and alike
)
_VARIANT_NUMBER = re.compile(r"[^\s(]\(\d+\)$")  # the dictionary of CMU writes its second pronunciation as word(2)


class _Side(NamedTuple):
    """One side of all pairs."""

    name: str
    sequences: Sequence[tuple[str, ...]]


class _Seen:
    """Number of rows with a property, and the first of them."""

    def __init__(self) -> None:
        self.count = 0
        self.line = 0

    def add(self, line: int) -> None:
        self.line = self.line or line
        self.count += 1


class PairRemarks:
    """Notes every good row of a file and writes sentences about what was noted.

    Args:
        path: the file, which the sentences name.
        columns: where sources and targets are.
        tokenizers: of `source` and `target`.
    """

    def __init__(self, path: Path, columns: Columns, tokenizers: Mapping[str, Tokenizer]) -> None:
        self._path = path
        self._columns = columns
        self._tokenizers = tokenizers
        self.header_width = 0  # columns of the header, where there is one
        self._widths: dict[int, int] = {}  # number of columns -> the first line that has it
        self._variants, self._alternatives, self._commas, self._long_rows = _Seen(), _Seen(), _Seen(), _Seen()
        self._composed = dict.fromkeys(
            tokenizers, 0
        )  # texts in NFC and not in NFD, less those of which the reverse holds
        self._raw: dict[str, set[str]] = {
            side: set() for side, tokenizer in tokenizers.items() if tokenizer.unit == "symbols" and tokenizer.is_lossy
        }

    def note(self, row: Row, texts: Mapping[str, str]) -> None:
        """Note a good row and the text of each side."""
        fields = row.fields
        width = len(fields) if len(fields) < 3 or fields[-1].strip() else len(fields) - 1
        if width not in self._widths:
            self._widths[width] = row.line
        if row.lines > 1:
            self._long_rows.add(row.line)
        for side, text in texts.items():
            if not text.isascii():
                self._composed[side] += unicodedata.is_normalized("NFC", text) - unicodedata.is_normalized("NFD", text)
            if " ~ " in text:
                self._alternatives.add(row.line)
            if ", " in text and self._unit(side) == "symbols":
                self._commas.add(row.line)
            if text.endswith(")") and _VARIANT_NUMBER.search(text):
                self._variants.add(row.line)
        for side, raw in self._raw.items():
            raw.update(texts[side].split())

    def decomposed(self) -> frozenset[str]:
        """The sides whose texts are in NFD rather than in NFC; those that are in both say nothing."""
        return frozenset(side for side, balance in self._composed.items() if balance < 0)

    def merged(self) -> dict[str, tuple[tuple[str, ...], ...]]:
        """By side, symbols of the file that its tokenizer makes one and the same; of units of `symbols` alone."""
        found = {}
        for side, raw in self._raw.items():
            tokenizer = self._tokenizers[side]
            plain = Tokenizer(unit="symbols", normal_form=tokenizer.normal_form)
            groups: dict[tuple[str, ...], set[str]] = {}
            for symbol in raw:
                groups.setdefault(tokenizer.split(symbol), set()).update(plain.split(symbol))
            together = sorted(tuple(sorted(group)) for group in groups.values() if len(group) > 1)
            if together:
                found[side] = tuple(together)
        return found

    def sentences(self, pairs: Sequence[tuple[tuple[str, ...], tuple[str, ...], int]]) -> tuple[str, ...]:
        """Complete sentences about the file, path included.

        Args:
            pairs: source, target and line of all good rows, at least one.
        """
        sides = [_Side("source", [pair[0] for pair in pairs]), _Side("target", [pair[1] for pair in pairs])]
        return (*self._about_pairs(pairs, sides), *self._about_rows(), *self._about_symbols(sides))

    def _about_pairs(
        self, pairs: Sequence[tuple[tuple[str, ...], tuple[str, ...], int]], sides: Sequence[_Side]
    ) -> Iterator[str]:
        if len(pairs) == 1:
            yield f"{self._path}: there is 1 pair; training and splitting need more."
            return
        if all(pair[:2] == pairs[0][:2] for pair in pairs):
            yield f"{self._path}: all {len(pairs)} pairs are the same; nothing can be learnt from them."
            return
        single = [side for side in sides if _is_split_wrongly(side)]
        for side in single:
            yield (
                f"{self._path}: each of the {len(pairs)} {side.name}s is one single symbol, such as "
                f"{side.sequences[0][0]!r}, and most of them differ; expected sequences. Are the columns swapped, or "
                f"should data.{side.name}_unit be {'characters' if self._unit(side) == 'symbols' else 'symbols'}?"
            )
        if not single and not self._columns.named and pairs[0][2] == 1 and self._begins_with_header(sides):
            yield (
                f"{self._path}:1: the first row has symbols that no other row has, as a header would, and is read as a "
                "pair. If it is a header, name the columns: data.source_column and data.target_column."
            )

    def _begins_with_header(self, sides: Sequence[_Side]) -> bool:
        """Whether one side of the first pair has symbols of its own; a composed syllable counts as its letters."""
        for side in sides:
            rows: Sequence[Sequence[str]] = side.sequences
            if self._unit(side) != "symbols":
                rows = [unicodedata.normalize("NFD", "".join(row)) for row in rows]
            if len(rows) >= ENOUGH_ROWS and _stands_alone(rows):
                return True
        return False

    def _unit(self, side: _Side | str) -> str:
        return self._tokenizers[side if isinstance(side, str) else side.name].unit

    def _about_rows(self) -> Iterator[str]:
        usual, most = self.header_width or min(self._widths), max(self._widths)
        if most > max(usual, 2):
            wanted = " and ".join(str(column) for column in self._columns.by_side.values())
            yield (
                f"{self._path}:{self._widths[most]}: the row has {most} columns, "
                f"{'the header' if self.header_width else 'other rows'} {usual}; only the columns {wanted} are read. "
                "Does a field hold the delimiter?"
            )
        if self._alternatives.count:
            yield (
                f"{self._path}:{self._alternatives.line}: ' ~ ' between alternatives is read as a symbol; rows that "
                f"have it: {self._alternatives.count}. Make each alternative a pair with data.split_alternatives=~"
            )
        if self._commas.count:
            yield (
                f"{self._path}:{self._commas.line}: a comma after a symbol, as between alternatives, is read as part "
                f"of it; rows that have one: {self._commas.count}. Make each alternative a pair with "
                "data.split_alternatives=,"
            )
        if self._variants.count:
            yield (
                f"{self._path}:{self._variants.line}: a number in brackets at the end, as in word(2), is read as "
                f"symbols; rows that have one: {self._variants.count}. Remove it from the words, or set data.layout to "
                "dictionary where the words come first."
            )
        if self._long_rows.count:
            yield (
                f"{self._path}:{self._long_rows.line}: the row goes over several lines, within quotes; such rows: "
                f"{self._long_rows.count}. Where a quote was opened by mistake, several rows are read as one."
            )

    def _about_symbols(self, sides: Sequence[_Side]) -> Iterator[str]:
        for side in sides:
            if self._unit(side) == "symbols":
                continue
            symbols = {symbol for sequence in side.sequences for symbol in sequence}
            if any(bar in symbol for bar in _TIE_BARS for symbol in symbols):
                yield (
                    f"{self._path}: {side.name}s have tie bars, as in t͡ʃ, whose two letters are separate symbols with "
                    f"data.{side.name}_unit {self._unit(side)!r}. Put spaces between symbols and use 'symbols' to keep "
                    "them together."
                )
            unseen = sorted(symbol for symbol in symbols if symbol[0] in _INVISIBLE)
            if unseen:
                names = ", ".join(f"U+{ord(symbol[0]):04X}" for symbol in unseen[:5])
                yield f"{self._path}: {side.name}s have invisible characters, kept as symbols: {names}."
            blanks = sorted(symbol for symbol in symbols if symbol.isspace() and symbol not in (" ", "\n"))
            if blanks:
                names = ", ".join(f"U+{ord(blank[0]):04X}" for blank in blanks[:5])
                yield f"{self._path}: {side.name}s have white space other than the space, kept as symbols: {names}."


def _is_split_wrongly(side: _Side) -> bool:
    """Whether every sequence is one symbol and most of them differ, as words do that are read as symbols."""
    if len(side.sequences) < ENOUGH_ROWS or any(len(sequence) > 1 for sequence in side.sequences):
        return False
    long = [symbols for symbols in side.sequences if len(symbols[0]) > 1]
    return 2 * min(len(set(side.sequences)), len(long)) > len(side.sequences)


def _stands_alone(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is made of symbols that no other row has, and at most one row in ten is so.

    Where many rows have symbols of their own, as words in Chinese characters do, a first one says nothing.
    """
    if not set(rows[0]).isdisjoint(symbol for row in rows[1:] for symbol in row):
        return False
    counts = Counter(symbol for row in rows for symbol in set(row))
    alone = sum(all(counts[symbol] == 1 for symbol in row) for row in rows)
    return alone * ENOUGH_ROWS <= len(rows)
