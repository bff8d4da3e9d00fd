"""Common parts of all figures: the style, fonts, how symbols are written in them, and how they are saved.

Figures are built without pyplot, so that nothing global changes and no window opens.
"""

from __future__ import annotations

import io
import logging
import math
import re
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from triptych.errors import TriptychError
from triptych.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Goal = Literal["min", "max"]

# Okabe and Ito's colours, distinct under the common colour-vision deficiencies; yellow is too faint for lines.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")
MARKED = COLOURS[1]
MUTED = "#5F5F5F"
PIXELS_PER_INCH = 200

_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "text.parse_math": False,  # a dollar sign in the data is a dollar sign
    "svg.fonttype": "path",  # phonetic letters look the same where the font is missing
    "svg.hashsalt": "triptych",  # the same figure is the same bytes
}
_FONT = "DejaVu Sans"  # comes with matplotlib and has the phonetic alphabet; others are added for letters that it lacks
_MISSING_GLYPH = re.compile(r"Glyph \d+ .*missing from")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SavedFigure:
    """Paths of the two files of a figure."""

    png: Path
    svg: Path


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's own defaults under this project's style, whatever the user's settings; they come back at the end."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_MISSING_GLYPH.pattern)  # `figure_bytes` deals with them
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE | {"font.family": [_FONT]})
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure whose parts are laid out not to overlap; sizes in inches. Call inside `house_style`."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06))


def save(figure: Figure, folder: Path | str, name: str) -> SavedFigure:
    """Write `name`.png, at 200 pixels per inch, and `name`.svg; each file is complete or absent.

    The same figure gives the same bytes: no dates, no random identifiers. A missing folder is made.

    Raises:
        TriptychError: the name has a folder in it.
        OSError: the folder cannot be written.
    """
    if not name or Path(name).name != name:
        raise TriptychError(field="name", value=name, expected="a file name without folders")
    saved = SavedFigure(Path(folder) / f"{name}.png", Path(folder) / f"{name}.svg")
    for path, content in ((saved.png, figure_bytes(figure, "png")), (saved.svg, figure_bytes(figure, "svg"))):
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)
    return saved


def file_stem(text: str) -> str:
    """A text as part of a file's name: other characters than letters and digits are hyphens, at most 60 characters."""
    return "".join(letter if letter.isalnum() else "-" for letter in text)[:60] or "empty"


def figure_bytes(figure: Figure, kind: str) -> bytes:
    """A figure as the content of a `png` or `svg` file; the same figure gives the same bytes.

    The first time settles where the figure's parts lie: a layout made again for each drawing would creep. Letters that
    its font lacks are drawn with another installed font, or as boxes, with a warning.
    """
    with house_style():
        content, missing = _drawn(figure, kind, (_FONT,))
        if missing and (fonts := _fonts_with(missing)):
            content, missing = _drawn(figure, kind, (_FONT, *fonts))
    _warn_of_missing(missing)
    return content


def _drawn(figure: Figure, kind: str, fonts: Sequence[str]) -> tuple[bytes, frozenset[str]]:
    """A figure with some fonts as a file's content, and the letters that none of them has."""
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    if len(fonts) > 1:
        for text in texts:
            text.set_fontfamily(fonts)
    written = io.BytesIO()
    metadata: dict[str, Any] = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", message=_MISSING_GLYPH.pattern)
        if figure.get_layout_engine() is not None:
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
        figure.savefig(written, format=kind, dpi=PIXELS_PER_INCH, metadata=metadata)
    missing: frozenset[str] = frozenset()
    if any(_MISSING_GLYPH.match(str(warning.message)) for warning in caught):  # it names the first letter of a cluster
        drawn = frozenset("".join(text.get_text() for text in figure.findobj(Text)))
        missing = frozenset(letter for letter in drawn - _letters_of(tuple(fonts)) if letter.isprintable())
    return written.getvalue(), missing


@cache
def _letters_of(fonts: tuple[str, ...]) -> frozenset[str]:
    """The letters that at least one of some fonts has."""
    from matplotlib.font_manager import findfont, get_font

    return frozenset(chr(code) for font in fonts for code in get_font(findfont(font)).get_charmap())


@cache
def _fonts_with(letters: frozenset[str]) -> tuple[str, ...]:
    """Names of installed fonts that together have as many of the letters as possible."""
    from matplotlib.font_manager import fontManager, get_font

    wanted = {ord(letter) for letter in letters}
    names: list[str] = []
    for entry in sorted(fontManager.ttflist, key=lambda entry: (entry.style, entry.weight != 400, entry.name)):
        if not wanted:
            break
        if entry.name in names or entry.name.startswith(("Last Resort", ".")):
            continue
        try:
            found = wanted & get_font(entry.fname).get_charmap().keys()
        except (OSError, RuntimeError):  # a damaged font
            continue
        if found:
            names.append(entry.name)
            wanted -= found
    return tuple(names)


@cache
def _warn_of_missing(letters: frozenset[str]) -> None:
    """Warn once of letters that no installed font has; they are drawn as boxes."""
    if letters:
        shown = " ".join(map(symbol_label, sorted(letters)[:10]))
        script = unicodedata.name(min(letters), "unknown").split()[0].title()
        _log.warning(
            "warning: no installed font has %d of the letters in a figure (%s); they are drawn as boxes. "
            "Install a font for this script (%s), such as one of Noto.", len(letters), shown, script
        )  # fmt: skip


def shortened(text: str, longest: int) -> str:
    """Text of at most `longest` characters; what is cut from the end becomes an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def symbol_label(symbol: str) -> str:
    """A symbol as a visible text: blanks as ␣, nothing as ∅, a lone combining mark on a dotted circle.

    Symbols of more than 16 characters are cut there, so that a single one does not take the whole figure.
    """
    if not symbol:
        return "∅"
    shown = "".join(
        "␣" if letter == " " else letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in symbol
    )
    return shortened("◌" + shown if unicodedata.category(shown[0]).startswith("M") else shown, 16)


def number(value: Any) -> float:
    """A finite number, or NaN for None, empty text and infinities."""
    number = math.nan if value is None or value == "" else float(value)
    return number if math.isfinite(number) else math.nan


def best_position(values: NDArray[np.float64], goal: Goal) -> int | None:
    """Index of the best finite value, the first of equal ones; None without one."""
    if goal not in ("min", "max"):
        raise TriptychError(field="goal", value=goal, expected="'min' or 'max'")
    if not np.isfinite(values).any():
        return None
    return int(np.nanargmin(values) if goal == "min" else np.nanargmax(values))


def say_nothing_to_show(axes: Axes, words: str) -> None:
    """Words in place of a drawing."""
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", color=MUTED)
    frame_only(axes)


def frame_only(axes: Axes, colour: str = "#DDDDDD") -> None:
    """A thin frame without ticks and grid, as images have."""
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set(visible=True, color=colour)
