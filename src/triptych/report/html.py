"""A report as one HTML file that needs nothing else: no network, no scripts, figures inside.

Everything that comes from data is escaped, and the page's own security policy forbids scripts and every address.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.errors import TriptychError
from triptych.files import write_text_atomically
from triptych.report.canvas import SavedFigure, figure_bytes
from triptych.report.tables import Table

if TYPE_CHECKING:
    from jinja2 import Template
    from matplotlib.figure import Figure

LARGEST_SVG = 250_000  # bytes; above it a figure is embedded as PNG when that is smaller

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS_PER_INCH = 96  # of a page
_WIDE = 600  # page pixels


@dataclass(frozen=True)
class Picture:
    """An image inside a report.

    Attributes:
        media_type: `image/png` or `image/svg+xml`.
        alt: description of the image for those who do not see it; not empty.
        caption: a sentence below, or nothing.
        width: in page pixels, > 0; narrower screens shrink it. None: the width of the file.
    """

    content: bytes
    media_type: str
    alt: str
    caption: str = ""
    width: int | None = None

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise TriptychError(field="alt", value=self.alt, expected="a sentence that describes the image")
        if self.width is not None and self.width <= 0:
            raise TriptychError(field="width", value=self.width, expected="a number of pixels > 0, or None")

    @property
    def is_wide(self) -> bool:
        """Whether it would be unreadable when shrunk to a phone, and scrolls there instead."""
        return self.width is not None and self.width > _WIDE

    @property
    def address(self) -> str:
        """The image as a `data:` address; inside `<img>` it can neither run scripts nor load anything."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.content).decode('ascii')}"

    @classmethod
    def from_figure(cls, figure: Figure, *, alt: str, caption: str = "", saved: SavedFigure | None = None) -> Picture:
        """A figure as SVG, or as PNG where the SVG is large (> 250 kB) and the PNG is smaller.

        Where it has just been saved, the bytes of the files in `saved` are used instead of drawing it again.
        """
        width = round(figure.get_figwidth() * _PIXELS_PER_INCH)
        content = saved.svg.read_bytes() if saved else figure_bytes(figure, "svg")
        media_type = "image/svg+xml"
        if len(content) > LARGEST_SVG:
            png = saved.png.read_bytes() if saved else figure_bytes(figure, "png")
            if len(png) < len(content):
                content, media_type = png, "image/png"
        return cls(content, media_type, alt, caption, width)

    @classmethod
    def from_png(cls, content: bytes, *, alt: str, caption: str = "", width: int | None = None) -> Picture:
        """A PNG file's bytes as they are.

        Raises:
            TriptychError: the bytes are not a PNG file.
        """
        if not content.startswith(_PNG_SIGNATURE):
            raise TriptychError(field="the beginning of content", value=content[:8], expected="a PNG file")
        return cls(content, "image/png", alt, caption, width)


@dataclass(frozen=True)
class Section:
    """A part of a report, shown in this order; the title is also the entry in the contents.

    Attributes:
        text: paragraphs of plain text, parted by empty lines.
        preformatted: text kept as it is, line by line (a recipe, a command).
    """

    title: str
    text: str = ""
    tables: Sequence[Table] = ()
    figures: Sequence[Picture] = ()
    preformatted: str = ""

    @property
    def paragraphs(self) -> list[str]:
        """The text's paragraphs, without the blanks around them."""
        return [part.strip() for part in re.split(r"\n\s*\n", self.text) if part.strip()]


@dataclass(frozen=True)
class Report:
    """A title, a line below it, and sections."""

    title: str
    subtitle: str = ""
    sections: Sequence[Section] = ()


def render(report: Report) -> str:
    """One HTML page: contents, sections, tables and figures, readable on paper and on a phone, light or dark."""
    sections = list(zip(_anchors([section.title for section in report.sections]), report.sections, strict=True))
    return _template().render(report=report, sections=sections)


def write_report(path: Path | str, report: Report) -> None:
    """Render a report into a file, which is complete or absent.

    Raises:
        OSError: the folder cannot be written.
    """
    write_text_atomically(path, render(report))


def _anchors(titles: Sequence[str]) -> list[str]:
    """A distinct identifier for each title: its letters and digits, with a number where another has the same."""
    anchors: list[str] = []
    for title in titles:
        plain = re.sub(r"\W+", "-", title.lower()).strip("-") or "section"
        anchor, number = plain, 2
        while anchor in anchors:
            anchor, number = f"{plain}-{number}", number + 1
        anchors.append(anchor)
    return anchors


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = resources.files("triptych.report").joinpath("templates", "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)
