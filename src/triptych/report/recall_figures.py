"""Pictures of memories: curves with their spread, energy landscapes, and cues on their way to a pattern."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from triptych.errors import ShapeError
from triptych.report.canvas import COLOURS, LINE_STYLES, MUTED, frame_only, house_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Scale = Literal["linear", "log"]

_MARKERS = "osD^vPX"
# Pale, so that contours, paths and patterns stand out; neighbouring numbers differ in hue.
_BASINS = ("#CFE3F2", "#F9DCC4", "#CDEBDD", "#F1DCEA", "#FBEBC2", "#DCEFFA", "#E3E3E3", "#E7E0F5")


@dataclass(frozen=True)
class Band:
    """A median with its quartiles along an axis; `label` is shown in the legend."""

    label: str
    x: Sequence[float]
    low: Sequence[float]
    middle: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True)
class Axis:
    """A label and a scale; logarithmic axes show powers of `base`."""

    label: str
    scale: Scale = "linear"
    base: int = 10


@dataclass(frozen=True)
class Surface:
    """An energy over a square of the plane.

    Attributes:
        axis: coordinates along both axes. Shape (R,).
        energies: row i at y = axis[i]. Shape (R, R).
        basins: number of the fixed point each place leads to. Shape (R, R).
        patterns: Shape (N, 2).
        fixed_points: Shape (F, 2).
        paths: trajectories. Shape (steps + 1, P, 2).
    """

    title: str
    axis: ArrayLike
    energies: ArrayLike
    basins: ArrayLike
    patterns: ArrayLike
    fixed_points: ArrayLike
    paths: ArrayLike


@dataclass(frozen=True)
class RecalledImage:
    """One cue on its way.

    Attributes:
        label: beside its row.
        stored: the pattern that the cue was made from, from 0 (paper) to 1 (ink). Shape (H, W).
        cue: NaN where it is unknown. Shape (H, W).
        states: of the first steps, the last state last. Each of shape (H, W).
        steps: how many updates each of them is after.
        energies: at the cue and after every update.
        right: whether it led to its pattern.
    """

    label: str
    stored: ArrayLike
    cue: ArrayLike
    states: Sequence[ArrayLike]
    steps: Sequence[int]
    energies: Sequence[float]
    right: bool


@house_style()
def bands(
    panels: Sequence[tuple[Axis, Sequence[Band]]], *, x: Axis, limits: Mapping[str, float] | None = None
) -> Figure:
    """Medians with their quartiles shaded, in panels side by side that share the horizontal axis and the legend.

    Args:
        panels: vertical axis and curves of each; all panels have curves of the same labels.
        x: the horizontal axis.
        limits: places on the horizontal axis that theory names, by their label.
    Raises:
        ShapeError: a panel's curves are not those of the first.
    """
    labels = [band.label for band in panels[0][1]]
    for _, curves in panels:
        if [band.label for band in curves] != labels:
            raise ShapeError(f"curves are {[band.label for band in curves]}; expected {labels}, as in the first panel.")
    per_row = max(1, min(4, 96 // (8 + max(map(len, labels), default=1))))
    rows = -(-len(labels) // per_row)
    figure = new_figure(7.2 if len(panels) == 1 else 9.6, 3.9 + 0.22 * rows)
    axes: Any = figure.subplots(1, len(panels), squeeze=False)[0]
    for one, (y, curves) in zip(axes, panels, strict=True):
        for number, band in enumerate(curves):
            _draw_band(one, band, number)
        _scale(one.xaxis, x)
        _scale(one.yaxis, y)
        one.set(xlabel=x.label, ylabel=y.label)
        for label, place in (limits or {}).items():
            one.axvline(place, color=MUTED, linewidth=1, linestyle=":")
            above: dict[str, Any] = {"transform": one.get_xaxis_transform(), "ha": "center", "va": "bottom"}
            one.text(place, 1.02, label, fontsize=8.5, color=MUTED, **above)
    figure.legend(axes[0].lines[: len(labels)], labels, loc="outside lower center", ncols=per_row)
    return figure


@house_style()
def landscapes(surfaces: Sequence[Surface]) -> Figure:
    """Energies as contours over the basins of their fixed points, with patterns and trajectories; one to four."""
    figure = new_figure(3.5 * len(surfaces) + 0.4, 4.4)
    axes: Any = figure.subplots(1, len(surfaces), squeeze=False)[0]
    for one, surface in zip(axes, surfaces, strict=True):
        _draw_surface(one, surface)
    axes[0].set_ylabel("second coordinate")
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


@house_style()
def recalled_images(rows: Sequence[RecalledImage], *, steps_shown: int) -> Figure:
    """Cue, first states, result and stored pattern of each row, and its energy falling.

    Raises:
        ShapeError: a row has another number of states than `steps_shown`, the result included.
    """
    for row in rows:
        if not len(row.states) == len(row.steps) == steps_shown:
            raise ShapeError(f"{row.label} has {len(row.states)} states; expected {steps_shown}.")
    figure = new_figure(2.2 + 1.0 * (steps_shown + 2) + 2.6, 0.7 + 1.05 * len(rows))
    widths = [1.0] * (steps_shown + 2) + [2.3]
    axes: Any = figure.subplots(len(rows), steps_shown + 3, squeeze=False, gridspec_kw={"width_ratios": widths})
    for number, (line, row) in enumerate(zip(axes, rows, strict=True)):
        for one, image in zip(line[:-1], (row.cue, *row.states, row.stored), strict=True):
            _draw_image(one, image)
        _title_images(line, row, first=number == 0)
        line[0].set_ylabel(row.label, rotation=0, ha="right", va="center", labelpad=8)
        _draw_energies(line[-1], row, last=number == len(rows) - 1)
    axes[0][-1].set_title("energy", fontsize=10, loc="center")
    return figure


def _draw_band(axes: Axes, band: Band, number: int) -> None:
    colour = COLOURS[number % len(COLOURS)]
    style = LINE_STYLES[number // len(COLOURS) % len(LINE_STYLES)]
    marker = _MARKERS[number % len(_MARKERS)]
    # Curves that lie on each other stay visible: each has its own marker, and later ones are drawn smaller.
    size = max(3.0, 6.5 - number)
    axes.plot(band.x, band.middle, color=colour, linestyle=style, marker=marker, markersize=size, linewidth=1.6)
    axes.fill_between(band.x, band.low, band.high, color=colour, alpha=0.18, linewidth=0)


def _scale(axis: Any, given: Axis) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    if given.scale == "log":
        axis._set_axes_scale("log", base=given.base)
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
        axis.set_minor_locator(NullLocator())


def _draw_surface(axes: Axes, surface: Surface) -> None:
    from matplotlib.colors import ListedColormap

    axis, energies = np.asarray(surface.axis, dtype=float), np.asarray(surface.energies, dtype=float)
    basins = np.asarray(surface.basins)
    edges = (axis[0], axis[-1], axis[0], axis[-1])
    colours: dict[str, Any] = {"cmap": ListedColormap(_BASINS), "vmin": -0.5, "vmax": len(_BASINS) - 0.5}
    axes.imshow(basins % len(_BASINS), origin="lower", extent=edges, interpolation="none", **colours)
    levels = np.quantile(energies, np.linspace(0.01, 0.97, 14))
    axes.contour(axis, axis, energies, levels=np.unique(levels), colors="#777777", linewidths=0.6)
    paths = np.asarray(surface.paths, dtype=float)
    for path in range(paths.shape[1]):
        axes.plot(paths[:, path, 0], paths[:, path, 1], color=COLOURS[0], linewidth=0.7, alpha=0.75)
        axes.plot(*paths[0, path], ".", color=COLOURS[0], markersize=3)
    patterns, fixed = np.asarray(surface.patterns, dtype=float), np.asarray(surface.fixed_points, dtype=float)
    axes.plot([], [], "-", color=COLOURS[0], linewidth=1, label="trajectories")
    axes.plot([], [], "-", color="#777777", linewidth=0.8, label="equal energy")
    axes.plot(*patterns.T, "x", color="black", markersize=8, markeredgewidth=1.8, label="patterns")
    ring: dict[str, Any] = {"mfc": "none", "mec": COLOURS[1], "markersize": 11, "markeredgewidth": 1.8}
    axes.plot(*fixed.T, "o", label="fixed points", **ring)
    axes.grid(visible=False)
    axes.set(xlim=edges[:2], ylim=edges[2:], title=surface.title, xlabel="first coordinate", aspect="equal")
    axes.spines[:].set_visible(True)


def _draw_image(axes: Axes, image: ArrayLike) -> None:
    from matplotlib import colormaps

    values: NDArray[np.float64] = np.asarray(image, dtype=np.float64)
    shades = colormaps["gray_r"].with_extremes(bad="#E8B98C")  # unknown is not grey
    axes.imshow(np.ma.masked_invalid(values), cmap=shades, vmin=0, vmax=1, interpolation="none")
    frame_only(axes, "#BBBBBB")


def _title_images(line: Any, row: RecalledImage, *, first: bool) -> None:
    """Headings above the columns; under the result, whether it is right."""
    if first:
        line[0].set_title("cue", fontsize=10, loc="center")
        line[-3].set_title("result", fontsize=10, loc="center")
        line[-2].set_title("stored", fontsize=10, loc="center")
    for one, step in zip(line[1:-3], row.steps[:-1], strict=True):
        one.set_title(f"step {step}", fontsize=8.5, loc="center", color=MUTED)
    line[-3].spines[:].set(color=COLOURS[2] if row.right else COLOURS[1], linewidth=2)


def _draw_energies(axes: Axes, row: RecalledImage, *, last: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.plot(range(len(row.energies)), row.energies, color=COLOURS[0], marker="o", markersize=3.5, linewidth=1.6)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.tick_params(labelsize=8)
    axes.margins(y=0.15)
    axes.yaxis.tick_right()
    axes.spines["right"].set_visible(True)
    axes.spines["left"].set_visible(False)
    if last:
        axes.set_xlabel("updates", fontsize=9)
