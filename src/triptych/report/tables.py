"""Small tables of results, as text cells and Markdown; the report's template makes them HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from triptych.errors import ShapeError
from triptych.statistics import Estimate

Cell = str | int | float | Estimate | None

_MARKDOWN_MARKS = re.compile(r"([\\`*_<>|\[\]])")


@dataclass(frozen=True)
class Table:
    """A table whose every row has one cell per column.

    Attributes:
        title: shown above; also names the table to a screen reader.
        rows: cells; None is shown as a dash.
        caption: a sentence below, or nothing.
        digits: decimals of floats and estimates, >= 0.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    digits: int = 3

    def __post_init__(self) -> None:
        if not self.columns:
            raise ShapeError(f"columns of table {self.title!r} is empty; expected at least one heading.")
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ShapeError(
                    f"row {number} of table {self.title!r} has {len(row)} cells; expected {len(self.columns)}, "
                    "one per column."
                )

    @property
    def cells(self) -> list[list[str]]:
        """Every row's cells as text, numbers formatted."""
        return [[format_cell(cell, self.digits) for cell in row] for row in self.rows]

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers (and perhaps gaps) only, and is set flush right."""
        columns = [[row[place] for row in self.rows if row[place] is not None] for place in range(len(self.columns))]
        return [bool(cells) and not any(isinstance(cell, str | bool) for cell in cells) for cells in columns]

    def to_markdown(self) -> str:
        """A Markdown table under its title in bold; marks in the data are escaped."""
        rule = ["---:" if numeric else "---" for numeric in self.numeric]
        rows = [
            [_plain_markdown(text) if isinstance(cell, str) else text for cell, text in zip(row, texts, strict=True)]
            for row, texts in zip(self.rows, self.cells, strict=True)
        ]
        lines = [[_plain_markdown(name) for name in self.columns], rule, *rows]
        text = f"**{_plain_markdown(self.title)}**\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
        return f"{text}\n{_plain_markdown(self.caption)}\n" if self.caption else text


def format_cell(cell: Cell, digits: int = 3) -> str:
    """A value as a table shows it: `0.213 [0.198, 0.229]` for an estimate, a dash for None.

    A float other than zero that `digits` decimals would show as zero keeps as many significant digits instead;
    integers from 10,000 on are grouped by thousands.
    """
    if cell is None:
        return "–"
    if isinstance(cell, Estimate):
        low, high = cell.interval.low, cell.interval.high
        return f"{cell.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
    if isinstance(cell, float):
        vanishes = cell != 0 and abs(cell) < 0.5 * 10**-digits
        return f"{cell:.{max(digits, 1)}g}" if vanishes else f"{cell:.{digits}f}"
    if isinstance(cell, int) and not isinstance(cell, bool):
        return f"{cell:,}" if abs(cell) >= 10_000 else str(cell)
    return str(cell)


def _plain_markdown(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _MARKDOWN_MARKS.sub(r"\\\1", " ".join(text.splitlines()))
