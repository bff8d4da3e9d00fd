"""Figures of a hyperparameter search and of the learning rate finder."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import DataError
from triptych.report.canvas import (
    COLOURS,
    MARKED,
    MUTED,
    Goal,
    best_position,
    house_style,
    new_figure,
    number,
    say_nothing_to_show,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Numbers = NDArray[np.float64]

_LOGARITHMIC_FROM = 50  # largest over smallest value of a searched parameter
_PANELS_PER_ROW = 3
_LETTERS_PER_INCH = 12  # at 10 points
_TICKS_UP_TO = 5  # distinct values that are each named on the axis, where they are far enough apart
_LETTER = 0.03  # width of a letter on an axis, as a share of the axis


@house_style()
def search_picture(trials: Sequence[Mapping[str, Any]], *, goal: Goal = "min", value_label: str = "value") -> Figure:
    """The measured value of each trial against each searched parameter; the best trial is marked.

    A parameter whose values span a factor of 50 or more, and lie more evenly by their logarithms than by themselves,
    has a logarithmic axis. Trials that did not complete are
    hollow at their last value, or a cross on the lower edge when they have none.

    Args:
        trials: each with `params` (name to value), `value` (a number or None) and `state` ("complete", "pruned",
            "failed"; any case).
        goal: whether the smallest ("min") or the largest ("max") value is best.
        value_label: name of the value in the figure.
    Raises:
        DataError: a trial lacks one of its keys.
    """
    for place, trial in enumerate(trials):
        missing = {"params", "value", "state"} - set(trial)
        if missing:
            raise DataError(f"trial {place} is {dict(trial)!r}; expected the keys params, value and state.")
    names = list(dict.fromkeys(name for trial in trials for name in trial["params"]))
    if not names:
        figure = new_figure(6, 3.4)
        say_nothing_to_show(figure.subplots(), "no trials yet")
        return figure
    per_row = 2 if len(names) == 4 else min(len(names), _PANELS_PER_ROW)
    rows = math.ceil(len(names) / per_row)
    figure = new_figure(max(6, 3.6 * per_row), 0.5 + 2.9 * rows)
    panels = figure.subplots(rows, per_row, squeeze=False, sharey=True).flatten()
    values = np.array([number(trial["value"]) for trial in trials])
    complete = np.array([str(trial["state"]).lower() == "complete" for trial in trials])
    best = best_position(np.where(complete, values, math.nan), goal)
    for axes, name in zip(panels, names, strict=False):
        _draw_parameter(axes, name, trials, values, complete, best)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes in panels[::per_row]:
        axes.set_ylabel(value_label)
    if np.isfinite(values).any():
        panels[0].margins(y=0.1)
    else:
        panels[0].set_yticks([])
    if best is not None:
        setting = ", ".join(f"{name} = {_shown_value(value)}" for name, value in trials[best]["params"].items())
        # Matplotlib's own wrapping takes dollar signs for mathematics even where that is switched off.
        words = textwrap.fill(f"best: {values[best]:.4g} at {setting}", int(_LETTERS_PER_INCH * figure.get_figwidth()))
        figure.suptitle(words, color=MARKED, fontsize=10, x=0.01, ha="left")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4)
    return figure


def _draw_parameter(
    axes: Axes,
    name: str,
    trials: Sequence[Mapping[str, Any]],
    values: _Numbers,
    complete: NDArray[np.bool_],
    best: int | None,
) -> None:
    """One panel of `search_picture`: values against one parameter, of the trials that have it."""
    has = np.array([name in trial["params"] for trial in trials])
    settings = [trial["params"].get(name) for trial in trials]
    positions = _place_settings(axes, settings, has)
    finished = has & complete & np.isfinite(values)
    stopped = has & ~complete & np.isfinite(values)
    lost = has & ~np.isfinite(values)
    if finished.any():
        axes.plot(positions[finished], values[finished], "o", color=COLOURS[0], alpha=0.8, label="complete")
    if stopped.any():
        axes.plot(positions[stopped], values[stopped], "o", mfc="none", color=MUTED, label="stopped early")
    if lost.any():
        foot = np.zeros(int(lost.sum()))
        axes.plot(
            positions[lost], foot, "x", color=MUTED, transform=axes.get_xaxis_transform(), clip_on=False, label="failed"
        )
    if best is not None and has[best]:
        axes.plot(positions[best], values[best], "*", color=MARKED, markersize=15, zorder=4, label="best")
    axes.set_xlabel(name)


def _place_settings(axes: Axes, settings: Sequence[Any], has: NDArray[np.bool_]) -> _Numbers:
    """Positions of a parameter's settings on the horizontal axis, which is set up for them. Shape (trials,).

    Numbers are placed at their value, anything else at its rank among the distinct settings.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

    present = [setting for setting, there in zip(settings, has, strict=True) if there]
    if all(isinstance(setting, int | float) and not isinstance(setting, bool) for setting in present):
        distinct = np.unique(np.array(present, dtype=np.float64))
        logarithmic = _is_logarithmic(distinct)
        if logarithmic:
            axes.set_xscale("log")
            axes.xaxis.set_minor_formatter(NullFormatter())
        if len(distinct) <= _TICKS_UP_TO:
            named = _far_apart(distinct, logarithmic=logarithmic)
            axes.set_xticks(named, [_shown_value(value) for value in named])
            axes.xaxis.set_minor_locator(NullLocator())
        else:
            if not logarithmic:
                axes.xaxis.set_major_locator(MaxNLocator(_TICKS_UP_TO))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _shown_value(value)))
        axes.margins(x=0.12)
        return np.array([setting if there else math.nan for setting, there in zip(settings, has, strict=True)], float)
    names = list(dict.fromkeys(map(_shown_value, present)))
    crowded = sum(map(len, names)) > 24
    axes.set_xticks(range(len(names)), names, rotation=30 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlim(-0.5, len(names) - 0.5)
    rank = {name: float(position) for position, name in enumerate(names)}
    return np.array(
        [rank.get(_shown_value(s), math.nan) if there else math.nan for s, there in zip(settings, has, strict=True)]
    )


def _far_apart(distinct: _Numbers, *, logarithmic: bool) -> list[float]:
    """Those of some rising numbers whose names do not overlap on the axis: the first, the last, and some between."""
    places = np.log(distinct) if logarithmic else distinct
    shares = (places - places[0]) / max(float(places[-1] - places[0]), 1e-300)
    widths = [_LETTER * (1 + len(_shown_value(float(value)))) for value in distinct]

    def overlap(left: int, right: int) -> bool:
        return bool(shares[right] - shares[left] < (widths[left] + widths[right]) / 2)

    last = len(distinct) - 1
    kept = [0]
    for place in range(1, last):
        if not overlap(kept[-1], place) and not overlap(place, last):
            kept.append(place)
    return [float(distinct[place]) for place in dict.fromkeys((*kept, last))]


def _is_logarithmic(distinct: _Numbers) -> bool:
    """Whether rising numbers (N,) span a wide factor, and their median is nearer the middle by logarithms."""
    if distinct[0] <= 0 or distinct[-1] / distinct[0] < _LOGARITHMIC_FROM:
        return False

    def off_middle(values: _Numbers) -> float:
        return abs(float(np.median(values) - (values[0] + values[-1]) / 2) / float(values[-1] - values[0]))

    return off_middle(np.log(distinct)) < off_middle(distinct)


def _shown_value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shortened(str(value), 20)


@house_style()
def learning_rate_picture(rates: Sequence[float], losses: Sequence[float], suggestion: float | None) -> Figure:
    """Smoothed training loss against the learning rate it was reached with; the suggested rate, if any, is marked."""
    from matplotlib.ticker import FuncFormatter

    figure = new_figure(6.5, 3.6)
    axes = figure.subplots()
    axes.plot(rates, losses, color=COLOURS[0], linewidth=1.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set(xlabel="learning rate", ylabel="smoothed training loss")
    if suggestion is not None:
        axes.axvline(suggestion, color=MARKED, linestyle="--", linewidth=1)
        axes.set_title(
            f"suggested: {suggestion:.2g}, a tenth of the rate with the lowest loss", color=MARKED, fontsize=10
        )
    finite = [loss for loss in losses if math.isfinite(loss)]
    if finite:  # the loss explodes at the right end; what matters is its fall
        axes.set_ylim(min(finite) * 0.95, min(max(finite), finite[0] * 1.5))
    return figure
