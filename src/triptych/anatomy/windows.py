"""Sliding windows along one axis: how large the output is, and how far back one output sees.

A window has a kernel of k places, a stride s, a padding p on both sides and a dilation d; convolutions and pooling have
one per axis. Checked by tests/anatomy/test_windows.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from triptych.errors import ShapeError, TriptychError

Pair = tuple[int, int]


def pair(value: Any, *, name: str) -> Pair:
    """One integer for both axes, or two, for the height and the width.

    Raises:
        TriptychError: it is neither.
    """
    parts = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(parts) != 2 or not all(is_integer(part) for part in parts):
        raise TriptychError(field=name, value=value, expected="an integer, or two, for the height and the width")
    return int(parts[0]), int(parts[1])


def is_integer(value: Any) -> bool:
    """An integer of Python or NumPy, and not True or False."""
    return not isinstance(value, bool) and isinstance(value, Integral)


def output_size(
    size: int, *, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1, ceil: bool = False
) -> int:
    """floor((size + 2p - d(k - 1) - 1) / s) + 1, the places where a window fits, >= 1.

    With `ceil` it is rounded up instead, as pooling can; a last window that would begin in the padding on the right is
    dropped.

    Raises:
        ShapeError: the window does not fit once.
        TriptychError: a setting breaks its rule: size, kernel, stride and dilation >= 1, padding >= 0.
    Source: Dumoulin and Visin 2016, arXiv:1603.07285, relationship 14, for convolutions; PyTorch's pooling for `ceil`.
    """
    for name, value, least in (
        ("kernel", kernel, 1), ("stride", stride, 1), ("padding", padding, 0), ("dilation", dilation, 1),
    ):  # fmt: skip
        if not is_integer(value) or value < least:
            raise TriptychError(field=name, value=value, expected=f"an integer >= {least}")
    free = size + 2 * padding - dilation * (kernel - 1) - 1
    if free < 0:
        covered, there = dilation * (kernel - 1) + 1, size + 2 * padding
        raise ShapeError(
            f"The window covers {covered} places, but the input has only {there} with its padding.",
            field="kernel",
            value=covered,
            expected=f"at most {there} places",
            hint="Use a smaller kernel, or more padding.",
        )
    if not ceil:
        return free // stride + 1
    found = -(-free // stride) + 1
    return found - 1 if (found - 1) * stride >= size + padding else found


@dataclass(frozen=True)
class Window:
    """One layer along one axis; for what each means see `output_size`."""

    kernel: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1

    def outputs(self, size: int) -> int:
        """Places where it fits into an input of a size; see `output_size`."""
        return output_size(size, kernel=self.kernel, stride=self.stride, padding=self.padding, dilation=self.dilation)


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive field of a stack of layers, along one axis.

    Attributes:
        size: places from the first input it can see to the last, padding included.
        jump: how many input places lie between neighbouring outputs.
        start: the first place that output 0 sees; negative in the padding.
    """

    size: int = 1
    jump: int = 1
    start: int = 0

    def after(self, window: Window) -> ReceptiveField:
        """The field once another layer is put on top."""
        reach = window.dilation * (window.kernel - 1)
        return ReceptiveField(
            self.size + reach * self.jump, self.jump * window.stride, self.start - window.padding * self.jump
        )


def receptive_field(windows: Iterable[Window]) -> ReceptiveField:
    """size = 1 + sum_l d_l (k_l - 1) prod_{m < l} s_m, jump = prod s, start = -sum_l p_l prod_{m < l} s_m.

    Args:
        windows: layers from the input on.
    Source: Araujo, Norris and Sim 2019, Computing Receptive Fields of Convolutional Neural Networks, Distill.
    """
    field = ReceptiveField()
    for window in windows:
        field = field.after(window)
    return field
