"""Output sizes against PyTorch's layers and by trying; receptive fields against where gradients reach."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings, strategies as st
from torch import nn

from tests.oracles.convolution import positions
from triptych.anatomy.windows import Window, output_size, pair, receptive_field
from triptych.errors import ShapeError, TriptychError


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 4), st.integers(0, 4), st.integers(1, 3))
def test_output_size_is_how_often_the_window_fits(
    size: int, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    expected = positions(size, kernel, stride, padding, dilation)
    if expected == 0:
        with pytest.raises(ShapeError) as raised:
            output_size(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
        assert (raised.value.field, raised.value.value) == ("kernel", dilation * (kernel - 1) + 1)
        return
    assert output_size(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation) == expected
    layer = nn.Conv1d(1, 1, kernel, stride, padding, dilation)
    assert layer(torch.zeros(1, 1, size)).shape[2] == expected


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 5), st.integers(0, 3), st.integers(1, 3), st.booleans())
@settings(deadline=None)
def test_output_size_of_pooling_rounds_as_pytorch_does(
    size: int, kernel: int, stride: int, padding: int, dilation: int, ceil: bool
) -> None:
    assume(padding <= kernel // 2)
    assume(positions(size, kernel, stride, padding, dilation) > 0)
    layer = nn.MaxPool1d(kernel, stride, padding, dilation, ceil_mode=ceil)
    found = output_size(size, kernel=kernel, stride=stride, padding=padding, dilation=dilation, ceil=ceil)
    assert layer(torch.zeros(1, 1, size)).shape[2] == found


windows = st.builds(Window, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2))


@given(st.lists(windows, max_size=4))
@settings(deadline=None)
def test_receptive_field_is_where_the_gradient_reaches(layers: list[Window]) -> None:
    field = receptive_field(layers)
    size = 3 * field.size + 16 * field.jump + 40
    image = torch.ones(1, 1, size, dtype=torch.float64, requires_grad=True)
    reached = image
    for window in layers:
        kernel = torch.ones(1, 1, window.kernel, dtype=torch.float64)
        reached = nn.functional.conv1d(reached, kernel, None, window.stride, window.padding, window.dilation)
    middle = reached.shape[2] // 2  # far from the padding
    for output in (middle, middle + 1):
        (gradient,) = torch.autograd.grad(reached[0, 0, output], image, retain_graph=True)
        places = gradient[0, 0].nonzero().flatten()
        first = field.start + output * field.jump
        assert (places[0].item(), places[-1].item()) == (first, first + field.size - 1)


def test_receptive_field_of_a_known_stack() -> None:
    """Two convolutions of 3 see 5; pooling by 2 doubles the jump; padding moves the start."""
    field = receptive_field([Window(3, padding=1), Window(3, padding=1), Window(2, stride=2), Window(3, dilation=2)])
    assert (field.size, field.jump, field.start) == (1 + 2 + 2 + 1 + 8, 2, -2)
    assert receptive_field([]).size == 1


def test_one_number_is_a_pair() -> None:
    assert pair(3, name="stride") == pair(np.int64(3), name="stride") == (3, 3)
    assert pair((1, 2), name="stride") == pair([np.int32(1), 2], name="stride") == (1, 2)
    for wrong in ("same", (2, 1, 1), 2.5, (1, 2.5), True, None):
        with pytest.raises(TriptychError) as caught:
            pair(wrong, name="stride")
        assert (caught.value.field, caught.value.value) == ("stride", wrong)


@pytest.mark.parametrize("name", ["kernel", "stride", "padding", "dilation"])
def test_settings_are_checked(name: str) -> None:
    values: Any = {"kernel": 1, "stride": 1, "padding": 0, "dilation": 1, name: -1}
    with pytest.raises(TriptychError) as raised:
        output_size(9, **values)
    assert (raised.value.field, raised.value.value) == (name, -1)
    assert raised.value.expected == f"an integer >= {0 if name == 'padding' else 1}"
