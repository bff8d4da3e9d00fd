"""Learning curves of several trainings in one figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from triptych.report.canvas import (
    COLOURS,
    LINE_STYLES,
    house_style,
    new_figure,
    number,
    say_nothing_to_show,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, Any]]

_MARKERS_UP_TO = 40  # epochs; beyond, markers run together


@house_style()
def learning_curves(histories: Mapping[str, History], *, key: str, label: str = "") -> Figure:
    """One number per epoch of several trainings, such as the trials of a search, in one figure.

    Args:
        histories: rows with `epoch` and `key`, by the name of the training; the legend keeps the order. A number may be
            missing, None, empty text or NaN, as after a training that failed.
        key: what to draw.
        label: its name in the figure; the key itself when empty.
    """
    from matplotlib.ticker import MaxNLocator

    names = [shortened(name, 40) for name in histories]
    per_row = max(1, min(4, 84 // (6 + max(map(len, names), default=1))))
    figure = new_figure(7, 3.8 + 0.22 * math.ceil(len(names) / per_row))
    axes = figure.subplots()
    axes.set(xlabel="epoch", ylabel=label or key)
    lines, drawn = [], False
    for place, rows in enumerate(histories.values()):
        epochs = np.array([number(row.get("epoch")) for row in rows])
        values = np.array([number(row.get(key)) for row in rows])
        style = LINE_STYLES[place // len(COLOURS) % len(LINE_STYLES)]
        marker = "o" if len(rows) <= _MARKERS_UP_TO else ""
        colour = COLOURS[place % len(COLOURS)]
        lines += axes.plot(epochs, values, color=colour, linestyle=style, marker=marker, markersize=3.5, linewidth=1.6)
        drawn = drawn or bool(np.isfinite(values).any())
    if not drawn:
        say_nothing_to_show(axes, "nothing to draw yet")
        return figure
    axes.xaxis.set_major_locator(MaxNLocator(10, steps=[1, 2, 5, 10], integer=True))
    figure.legend(lines, names, loc="outside lower center", ncols=per_row)
    return figure
