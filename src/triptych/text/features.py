"""Features beside a source, such as `V;PRS;NOM(1,SG)`: texts as sets of features, and lines with both columns."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from triptych.errors import DataError, RecipeError
from triptych.text.languages import token
from triptych.text.rows import Columns, Row, delimiter_of

Features = tuple[str, ...]


def check_separator(separator: str) -> None:
    """Raise RecipeError unless features can be separated by this."""
    if len(separator) != 1 or separator in "()\t\r\n":
        raise RecipeError(
            field="features_separator",
            value=separator,
            expected="one character, not a bracket, tab or line break",
            hint="Use ; for UniMorph, | for Universal Dependencies.",
        )


def split_features(text: str, separator: str = ";") -> Features:
    """The features of a text, each once, sorted: they are a set, and `V;PST` is `PST;V`.

    A group in brackets is its name and its parts, each with the group's name, so that combinations that training never
    showed are made of parts that it did show: `V;NOM(1,SG)` has the features `V`, `NOM`, `NOM(1)` and `NOM(SG)`. Parts
    are separated by commas or the separator. Of groups within groups the innermost names the part: `ABL(PL;PSS(1,SG))`
    has `ABL`, `ABL(PL)`, `PSS`, `PSS(1)` and `PSS(SG)`. Splitting the joined features again gives the same features.

    Args:
        text: blank for an item without features.
        separator: one character; a space is any white space.
    Raises:
        DataError: brackets that do not pair.
        RecipeError: the separator is not usable.
    """
    check_separator(separator)
    found: set[str] = set()
    groups: list[str] = []
    begun = ""

    def finish() -> None:
        part = begun.strip()
        if part:
            found.add(f"{groups[-1]}({part})" if groups and groups[-1] else part)

    for letter in text:
        if letter == "(":
            if begun.strip():
                found.add(begun.strip())
            groups.append(begun.strip())
        elif letter == ")" and groups:
            finish()
            groups.pop()
        elif letter == ")":
            raise _unpaired(text)
        elif letter == separator or (separator == " " and letter.isspace()) or (groups and letter in ",;"):
            finish()
        else:
            begun += letter
            continue
        begun = ""
    if groups:
        raise _unpaired(text)
    finish()
    return tuple(sorted(found))


def join_features(features: Sequence[str], separator: str = ";") -> str:
    """A text of which `split_features` makes these features: `NOM`, `NOM(1)`, `NOM(SG)`, `V` are `NOM(1,SG);V`."""
    parts: dict[str, list[str]] = {name: [] for name in features}
    for name in features:
        group, bracket, part = name.partition("(")
        if bracket and group in parts and name.endswith(")"):
            parts[group].append(part[:-1])
            del parts[name]
    return separator.join(f"{name}({','.join(inner)})" if inner else name for name, inner in parts.items())


def _unpaired(text: str) -> DataError:
    return DataError(field="features", value=text[:80], expected="brackets in pairs, as in V;NOM(1,SG)")


@dataclass
class SourceColumns:
    """Where lines to predict from have their source and their features.

    A line with all columns of the training data is read like it; a line of two columns is a source and its features.
    Where columns have names, a first line with these names is a header, whose positions hold from then on.

    Attributes:
        columns: of the training data; `features` is set.
        delimiter: between columns.
    """

    columns: Columns
    delimiter: str
    _positions: tuple[int, int] | None = field(default=None, init=False)

    @classmethod
    def of(cls, columns: Columns, delimiter: str | None, path: Path | str) -> SourceColumns:
        """The columns of a file's lines; without a delimiter it goes by the file's name, and is a tab elsewhere."""
        try:
            found = delimiter_of(Path(path), delimiter)
        except DataError:
            found = "\t"
        return cls(columns, found)

    def take_header(self, text: str) -> bool:
        """Whether a first line is a header, which is then used."""
        if not self.columns.named:
            return False
        row = Row(1, self._cells(text))
        if not self.columns.fit(row):
            return False
        found = self.columns.positions(row, Path())
        self._positions = (found["source"], found["features"])
        return True

    def split(self, text: str) -> tuple[str, str]:
        """Source and features of a line.

        Raises:
            DataError: it lacks a column.
        """
        cells = self._cells(text)
        for positions in (self._positions, self._numbered(), (0, 1) if len(cells) == 2 else None):
            if positions is not None and max(positions) < len(cells):
                return cells[positions[0]], cells[positions[1]]
        count = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
        also = f", among them its language, such as {token(self.columns.languages[0])}" if self._lacks_language else ""
        raise DataError(f"the line has {count}; expected two, a source and its features{also}")

    @property
    def _lacks_language(self) -> bool:
        """Whether each line must name its language."""
        return bool(self.columns.languages) and self.columns.language is None

    def _numbered(self) -> tuple[int, int] | None:
        source, features = self.columns.source, self.columns.features
        return (source - 1, features - 1) if isinstance(source, int) and isinstance(features, int) else None

    def _cells(self, text: str) -> list[str]:
        return text.split("\t") if self.delimiter == "\t" else next(csv.reader([text], delimiter=self.delimiter), [""])
