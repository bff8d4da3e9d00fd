"""Figures of training curves, attention and errors; they know no panel."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import DataError, ShapeError, TriptychError, did_you_mean
from triptych.report.canvas import (
    COLOURS,
    LINE_STYLES,
    MARKED,
    MUTED,
    Goal,
    best_position,
    house_style,
    new_figure,
    number,
    say_nothing_to_show,
    shortened,
    symbol_label,
)
from triptych.statistics import Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, Any]]
_Numbers = NDArray[np.float64]

_LONGEST_NAME = 60  # characters of a run's name that are shown
_LETTERS_PER_INCH = 12  # of a legend
_MARKERS_UP_TO = 40  # epochs; beyond, markers run together


@house_style()
def curves(
    history: History,
    *,
    metric: str,
    loss: str,
    also: Mapping[str, str] | None = None,
    goal: Goal = "min",
    metric_label: str = "",
    loss_label: str = "training loss",
) -> Figure:
    """Validation metrics and training loss per epoch, side by side, with the best epoch marked in all.

    Args:
        history: one row per epoch, with `epoch` and all keys; a number may be missing, None, empty text or NaN.
        metric: key of the validation metric by which the best epoch is chosen.
        loss: key of the training loss.
        also: keys of further validation metrics, and their names in the figure.
        goal: whether the best epoch has the smallest ("min") or the largest ("max") metric; of equal ones the first.
        metric_label: name of the metric in the figure; the key itself when empty.
        loss_label: name of the loss in the figure.
    Raises:
        DataError: there are rows, and none has the key.
    """
    drawn = [(metric, metric_label or metric), *(also or {}).items(), (loss, loss_label)]
    figure = new_figure(_width(len(drawn)), 3.4)
    best = best_position(_series(history, metric)[1], goal)
    for axes, (key, label) in zip(figure.subplots(1, len(drawn)), drawn, strict=True):
        epochs, values = _series(history, key)
        _draw_curve(axes, epochs, values, colour=COLOURS[2] if key == loss else COLOURS[0])
        if best is not None:
            axes.axvline(epochs[best], color=MARKED, linewidth=1, linestyle="--", zorder=1)
            axes.plot(epochs[best], values[best], "o", color=MARKED, markersize=7, zorder=3)
            what = "best: " if key == metric else ""
            axes.set_title(f"{what}{values[best]:.4g} at epoch {epochs[best]:g}", color=MARKED, fontsize=10)
        _finish_epoch_axes(axes, epochs, values, label)
    return figure


@house_style()
def compare_curves(
    histories: Mapping[str, History],
    *,
    metric: str,
    loss: str = "",
    also: Mapping[str, str] | None = None,
    metric_label: str = "",
    loss_label: str = "training loss",
) -> Figure:
    """Validation metrics and training loss per epoch of several trainings in one figure.

    Args:
        histories: rows as for `curves`, by the name of the training; the legend keeps the order.
        metric: key of the validation metric.
        loss: key of the training loss; empty draws none.
        also, metric_label, loss_label: as for `curves`.
    Raises:
        DataError: a history has rows, and none has the key.
    """
    drawn = [(metric, metric_label or metric), *(also or {}).items(), *([(loss, loss_label)] if loss else [])]
    names = [shortened(name, _LONGEST_NAME) for name in histories]
    width = _width(len(drawn))
    per_row = max(1, min(4, int(_LETTERS_PER_INCH * width) // (6 + max(map(len, names), default=1))))
    figure = new_figure(width, 3.4 + 0.22 * math.ceil(len(names) / per_row))
    panels = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axes, (key, label) in zip(panels, drawn, strict=True):
        series = [_series(history, key) for history in histories.values()]
        for run, (epochs, values) in enumerate(series):
            style = LINE_STYLES[run // len(COLOURS) % len(LINE_STYLES)]
            _draw_curve(axes, epochs, values, colour=COLOURS[run % len(COLOURS)], style=style)
        _finish_epoch_axes(
            axes,
            np.concatenate([epochs for epochs, _ in series] or [np.empty(0)]),
            np.concatenate([values for _, values in series] or [np.empty(0)]),
            label,
        )
    if histories:
        figure.legend(panels[0].lines, names, loc="outside lower center", ncols=per_row)
    return figure


@house_style()
def attention_map(weights: ArrayLike, source_symbols: Sequence[str], target_symbols: Sequence[str]) -> Figure:
    """Attention weights: one row per output symbol, one column per source symbol.

    Args:
        weights: rows sum to one. Shape (T, S), T and S >= 1, in [0, 1].
        source_symbols: S symbols.
        target_symbols: T symbols, or T - 1: the last row is then the end of the output, labelled *end*.
    Raises:
        ShapeError: the symbols do not fit the weights.
    """
    grid = np.asarray(weights, dtype=np.float64)
    if grid.ndim != 2 or grid.size == 0 or grid.shape[1] != len(source_symbols):
        raise ShapeError(
            f"weights has shape {grid.shape}; expected (T, {len(source_symbols)}), one column per source symbol."
        )
    if len(grid) - len(target_symbols) not in (0, 1):
        raise ShapeError(
            f"weights has {len(grid)} rows; expected {len(target_symbols)}, one per target symbol, "
            f"or {len(target_symbols) + 1} with the end row."
        )
    columns = [symbol_label(symbol) for symbol in source_symbols]
    rows = [symbol_label(symbol) for symbol in target_symbols]
    ends = len(grid) > len(rows)
    figure, axes, bar, size = _attention_axes(columns, [*rows, "end"] if ends else rows)
    image = axes.imshow(grid, cmap="Blues", vmin=0, vmax=1, interpolation="none", aspect="auto")
    axes.grid(visible=False)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xticks(range(len(columns)), columns, fontsize=size, rotation=_rotation(columns))
    axes.set_yticks(range(len(grid)), [*rows, "end"] if ends else rows, fontsize=size)
    if ends:
        axes.get_yticklabels()[-1].set(style="italic", color=MUTED)
    axes.set(xlabel="source", ylabel="output")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(True)
    figure.colorbar(image, cax=bar, ticks=[0, 0.5, 1])
    bar.set_ylabel("attention weight", fontsize=9)
    bar.tick_params(labelsize=8)
    return figure


@house_style()
def error_by_length(
    rows: Sequence[tuple[str, Estimate, int]], *, measure: str, length_label: str = "source length (symbols)"
) -> Figure:
    """An error rate with its interval per bin of length, with the number of items below each bin.

    Args:
        rows: label of the bin, error, items in it; in the order to draw.
    """
    figure = new_figure(max(4.5, 1.6 + 0.85 * len(rows)), 3.4)
    axes = figure.subplots()
    if not rows:
        say_nothing_to_show(axes, "no items")
        return figure
    values, low, high = (
        np.array(column)
        for column in zip(*((e.value, e.interval.low, e.interval.high) for _, e, _ in rows), strict=True)
    )
    whiskers = np.maximum([values - low, high - values], 0)
    positions = np.arange(len(rows))
    axes.errorbar(positions, values, yerr=whiskers, fmt="o", color=COLOURS[0], capsize=4, markersize=6, linewidth=1.4)
    axes.set_xticks(positions, [f"{label}\nn = {count:,}" for label, _, count in rows])
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylim(bottom=0)
    axes.grid(visible=False, axis="x")
    axes.set(xlabel=length_label, ylabel=f"{measure}, with {rows[0][1].interval.level * 100:g}% interval")
    return figure


@house_style()
def confusion_bars(confusions: Sequence[tuple[str, str, int]], *, top: int = 20) -> Figure:
    """The most frequent edits between reference and prediction, as bars.

    Args:
        confusions: reference symbol ("" for an insertion), predicted symbol ("" for a deletion), count >= 1.
        top: bars at most, >= 1.
    Raises:
        TriptychError: top breaks its rule.
    """
    if top < 1:
        raise TriptychError(field="top", value=top, expected="an integer >= 1")
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator

    shown = sorted(confusions, key=lambda confusion: -confusion[2])[:top]
    figure = new_figure(6, 1.3 + 0.26 * max(3, len(shown)))
    axes = figure.subplots()
    if not shown:
        say_nothing_to_show(axes, "no errors")
        return figure
    kinds = ["insertion" if not meant else "deletion" if not written else "substitution" for meant, written, _ in shown]
    colour = {"substitution": COLOURS[0], "deletion": COLOURS[1], "insertion": COLOURS[2]}
    bars = axes.barh(range(len(shown)), [count for *_, count in shown], color=[colour[kind] for kind in kinds])
    axes.bar_label(bars, labels=[f"{count:,}" for *_, count in shown], padding=3, fontsize=9)
    axes.set_yticks(
        range(len(shown)),
        [f"{symbol_label(meant)} → {symbol_label(written)}" for meant, written, _ in shown],
        fontsize=10.5,
    )
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10], integer=True))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("count")
    axes.set_title("reference → predicted", fontsize=10)
    patches = [Patch(color=colour[kind], label=kind) for kind in colour if kind in kinds]
    figure.legend(handles=patches, loc="outside lower center", ncols=3)
    return figure


def _attention_axes(columns: Sequence[str], rows: Sequence[str]) -> tuple[Figure, Axes, Axes, float]:
    """A figure that fits a grid with labels of these rows and columns; its axes, its colour bar's, the letter size.

    Every measure is known, so nothing is left to a layout engine: square cells, and no empty margins.
    """
    cell = float(np.clip(11 / max(len(columns), len(rows)), 0.13, 0.36))  # inches
    size = float(np.clip(cell * 40, 5, 12))  # points
    letter = 0.65 * size / 72  # inches
    left = 0.4 + letter * max(map(_letters, rows))
    above = 0.4 + (letter * max(map(_letters, columns)) if _rotation(columns) else size / 72)
    width, height = len(columns) * cell, len(rows) * cell
    bar_height = min(max(height, 1.2), 1.8)
    total_width, total_height = left + width + 0.95, above + max(height, bar_height) + 0.15
    figure = new_figure(total_width, total_height)
    figure.set_layout_engine("none")

    def place(x: float, y: float, w: float, h: float) -> Axes:
        """Axes by inches from the left and upper edges."""
        return figure.add_axes((x / total_width, 1 - (y + h) / total_height, w / total_width, h / total_height))

    return figure, place(left, above, width, height), place(left + width + 0.2, above, 0.14, bar_height), size


def _letters(label: str) -> int:
    """Width of a label in letters; combining marks take no width."""
    return sum(not unicodedata.category(letter).startswith("M") for letter in label)


def _rotation(columns: Sequence[str]) -> int:
    return 90 if max(map(_letters, columns)) > 3 else 0


def _width(panels: int) -> float:
    """Inches of a figure with that many curves side by side."""
    return {1: 7.0, 2: 9.0}.get(panels, 4.0 * panels)


def _series(history: History, key: str) -> tuple[_Numbers, _Numbers]:
    """Epochs and the numbers under a key, NaN where there is none. Shapes (epochs,)."""
    known = set().union(*history)
    for wanted in ("epoch", key):
        if history and wanted not in known:
            raise DataError(
                f"{wanted!r} is in no row of the history; expected one of its columns. {did_you_mean(wanted, known)}"
            )
    epochs = np.array([number(row.get("epoch")) for row in history], dtype=np.float64)
    return epochs, np.array([number(row.get(key)) for row in history], dtype=np.float64)


def _draw_curve(axes: Axes, epochs: _Numbers, values: _Numbers, *, colour: str, style: str = "-") -> None:
    marker = "o" if len(epochs) <= _MARKERS_UP_TO else ""
    axes.plot(epochs, values, color=colour, linestyle=style, marker=marker, markersize=3.5, linewidth=1.6)


def _finish_epoch_axes(axes: Axes, epochs: _Numbers, values: _Numbers, label: str) -> None:
    """Labels, whole epochs on the horizontal axis, and a word where there is nothing to draw."""
    from matplotlib.ticker import MaxNLocator

    axes.set(xlabel="epoch", ylabel=label)
    if not np.isfinite(values).any():
        say_nothing_to_show(axes, "no epochs yet" if not len(values) else "no finite values")
        return
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True))
    if len(set(epochs)) == 1:
        axes.set_xticks([epochs[0]])
