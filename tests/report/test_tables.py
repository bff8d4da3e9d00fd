"""Tables as cells, HTML and Markdown."""

from __future__ import annotations

import math

import pytest

from triptych.errors import ShapeError
from triptych.report.html import Report, Section, render
from triptych.report.tables import Cell, Table, format_cell
from triptych.statistics import Estimate, Interval

CER = Estimate(0.21319, Interval(0.19812, 0.2289, 0.95))


@pytest.mark.parametrize(
    ("cell", "digits", "text"),
    [
        (CER, 3, "0.213 [0.198, 0.229]"),
        (CER, 1, "0.2 [0.2, 0.2]"),
        (0.5, 3, "0.500"),
        (0.0, 3, "0.000"),
        (-0.00001234, 3, "-1.23e-05"),
        (0.0004, 3, "0.0004"),
        (math.nan, 3, "nan"),
        (9999, 3, "9999"),
        (5340742, 3, "5,340,742"),
        (True, 3, "True"),
        (None, 3, "–"),
        ("t͡ʃ | <b>", 3, "t͡ʃ | <b>"),
    ],
)
def test_cells_are_formatted(cell: Cell, digits: int, text: str) -> None:
    assert format_cell(cell, digits) == text


def test_html_escapes_and_scopes() -> None:
    table = Table("<b>&", ["<i>symbol", "CER"], [["<script>alert(1)</script>", CER], ['"q"', None]], digits=2)
    html = render(Report("t", sections=[Section("s", tables=[table])]))
    assert "<script" not in html
    assert "<b>" not in html
    assert "<i>" not in html
    assert "<td>&lt;script&gt;alert(1)&lt;/script&gt;</td>" in html
    assert "<caption>&lt;b&gt;&amp;</caption>" in html
    assert '<th scope="col">&lt;i&gt;symbol</th><th scope="col" class="number">CER</th>' in html
    assert '<td class="number">0.21 [0.20, 0.23]</td>' in html
    assert '<td class="number">–</td>' in html


def test_columns_of_numbers_only_are_numeric() -> None:
    rows: list[list[Cell]] = [["a", 1, None, True, CER], ["b", 2.5, None, 1, 0.2], ["c", None, None, 2, None]]
    table = Table("t", list("vwxyz"), rows)
    assert table.numeric == [False, True, False, False, True]
    assert Table("t", ["a"], []).numeric == [False]


def test_markdown() -> None:
    table = Table("Errors_1", ["a|b", "CER"], [["x*y\n<z>\\", CER]], "See [this].")
    assert table.to_markdown() == (
        "**Errors\\_1**\n\n| a\\|b | CER |\n| --- | ---: |\n| x\\*y \\<z\\>\\\\ | 0.213 [0.198, 0.229] |\n\n"
        "See \\[this\\].\n"
    )
    assert Table("t", ["a"], []).to_markdown() == "**t**\n\n| a |\n| --- |\n"


def test_a_row_of_another_width_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"row 1 of table 'Errors' has 1 cells; expected 2, one per column\."):
        Table("Errors", ["a", "b"], [[1, 2], [3]])
    with pytest.raises(ShapeError, match="columns of table 'Errors' is empty; expected at least one heading"):
        Table("Errors", [], [])
