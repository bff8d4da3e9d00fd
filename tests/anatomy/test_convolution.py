"""The matrix of a convolution against PyTorch's own, over random settings, and against its element formula."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor
from torch.nn.functional import conv2d

from tests.oracles.convolution import matrix_by_formula
from triptych.anatomy.convolution import Order, conv_matrix, unvec, vec
from triptych.errors import ShapeError, TriptychError

ORDERS: tuple[Order, ...] = get_args(Order)


@dataclass(frozen=True)
class Setting:
    kernel: Tensor
    image: tuple[int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def matrix(self, order: Order = "C") -> Tensor:
        return conv_matrix(
            self.kernel,
            self.image,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
            order=order,
        )

    def convolved(self, images: Tensor) -> Tensor:
        return conv2d(
            images,
            self.kernel,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups,
        )


@st.composite
def conv_settings(drawn: st.DrawFn) -> Setting:
    """Kernels that fit somewhere, with everything else free and different along height and width."""
    groups = drawn(st.integers(1, 3))
    group_channels, group_outputs = drawn(st.integers(1, 2)), drawn(st.integers(1, 2))
    kernel, stride, padding, dilation = (
        (drawn(st.integers(low, high)), drawn(st.integers(low, high))) for low, high in ((1, 3), (1, 3), (0, 2), (1, 2))
    )
    height, width = (
        drawn(st.integers(max(1, dilation[axis] * (kernel[axis] - 1) + 1 - 2 * padding[axis]), 7)) for axis in range(2)
    )
    generator = torch.Generator().manual_seed(drawn(st.integers(0, 10**6)))
    weights = torch.randn(groups * group_outputs, group_channels, *kernel, generator=generator, dtype=torch.float64)
    return Setting(weights, (groups * group_channels, height, width), stride, padding, dilation, groups)


@pytest.mark.parametrize("order", ORDERS)
@given(setting=conv_settings())
@settings(deadline=None, max_examples=60)
def test_the_matrix_times_vec_is_vec_of_the_convolution(order: Order, setting: Setting) -> None:
    images = torch.randn(3, *setting.image, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = setting.convolved(images)
    matrix = setting.matrix(order)
    assert matrix.is_sparse
    assert matrix.is_coalesced()
    assert matrix.shape == (expected[0].numel(), images[0].numel())
    found = (matrix @ vec(images, order=order).T).T
    torch.testing.assert_close(found, vec(expected, order=order))
    channels, height, width = expected.shape[1:]
    torch.testing.assert_close(unvec(found, (channels, height, width), order=order), expected)


@given(conv_settings())
@settings(deadline=None, max_examples=15)
def test_every_element_is_the_formula_and_zeros_are_not_stored(setting: Setting) -> None:
    expected = matrix_by_formula(
        setting.kernel,
        setting.image,
        stride=setting.stride,
        padding=setting.padding,
        dilation=setting.dilation,
        groups=setting.groups,
    )
    found = setting.matrix()
    assert torch.equal(found.to_dense(), expected)
    assert found.values().numel() == (expected != 0).sum()


def test_numbers_stand_for_both_axes_and_defaults_are_plain() -> None:
    kernel = torch.randn(2, 3, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plain = conv_matrix(kernel, (3, 6, 5))
    assert torch.equal(plain.to_dense(), conv_matrix(kernel, (3, 6, 5), stride=(1, 1), padding=(0, 0)).to_dense())
    full = conv_matrix(kernel, (3, 6, 5), stride=2, padding=1, dilation=2)
    pairs = conv_matrix(kernel, (3, 6, 5), stride=(2, 2), padding=(1, 1), dilation=(2, 2))
    assert torch.equal(full.to_dense(), pairs.to_dense())


def test_one_channel_and_stride_one_is_blocks_of_toeplitz_blocks() -> None:
    kernel = torch.randn(1, 1, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    blocks = conv_matrix(kernel, (1, 5, 4)).to_dense().reshape(3, 3, 5, 4).permute(0, 2, 1, 3)
    for i in range(3):
        for h in range(5):
            first = blocks[i, h]
            assert torch.equal(first, blocks[0, h - i] if 0 <= h - i < 3 else torch.zeros_like(first))
            for j in range(1, 3):
                assert torch.equal(first[j, 1:], first[j - 1, :-1])


def test_gradients_flow_to_the_kernel() -> None:
    kernel = torch.randn(2, 1, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    image = torch.randn(2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (found,) = torch.autograd.grad(
        (conv_matrix(kernel, (2, 4, 4), groups=2) @ vec(image).unsqueeze(1)).square().sum(), kernel
    )
    (expected,) = torch.autograd.grad(conv2d(image[None], kernel, groups=2).square().sum(), kernel)
    torch.testing.assert_close(found, expected)


def test_vec_by_rows_and_by_columns() -> None:
    image = torch.arange(12).reshape(2, 2, 3)
    assert vec(image).tolist() == list(range(12))
    assert vec(image, order="F").tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    for order in ORDERS:
        assert torch.equal(unvec(vec(image, order=order), (2, 2, 3), order=order), image)


KERNEL, SHAPE = torch.ones(1, 1, 3, 3), (1, 5, 5)


@pytest.mark.parametrize(
    ("call", "error", "field", "value"),
    [
        (lambda: conv_matrix(torch.ones(1, 1, 5, 5), (1, 4, 6)), ShapeError, "kernel", 5),
        (lambda: conv_matrix(torch.ones(1, 2, 3, 3), (3, 5, 5)), ShapeError, "kernel", (1, 2, 3, 3)),
        (lambda: conv_matrix(torch.ones(3, 1, 3, 3), (2, 5, 5), groups=2), ShapeError, "kernel", (3, 1, 3, 3)),
        (lambda: conv_matrix(torch.ones(3, 3), SHAPE), ShapeError, "kernel", (3, 3)),
        (lambda: conv_matrix(KERNEL, (1, 0, 5)), ShapeError, "input_shape", (1, 0, 5)),
        (lambda: conv_matrix(KERNEL, SHAPE, stride=0), TriptychError, "stride", 0),
        (lambda: conv_matrix(KERNEL, SHAPE, stride=(2, 1, 1)), TriptychError, "stride", (2, 1, 1)),  # type: ignore[arg-type]
        (lambda: conv_matrix(KERNEL, SHAPE, padding=-1), TriptychError, "padding", -1),
        (lambda: conv_matrix(KERNEL, SHAPE, padding="same"), TriptychError, "padding", "same"),  # type: ignore[arg-type]
        (lambda: conv_matrix(KERNEL, SHAPE, dilation=(1, 0)), TriptychError, "dilation", 0),
        (lambda: conv_matrix(KERNEL, SHAPE, groups=0), TriptychError, "groups", 0),
        (lambda: vec(torch.ones(1, 2, 2), order="f"), TriptychError, "order", "f"),  # type: ignore[arg-type]
        (lambda: vec(torch.ones(2, 2)), ShapeError, "images", (2, 2)),
        (lambda: unvec(torch.ones(5), (1, 2, 3)), ShapeError, "vectors", (5,)),
    ],
)
def test_errors_name_the_value(
    call: Callable[[], Tensor], error: type[TriptychError], field: str, value: object
) -> None:
    with pytest.raises(error) as raised:
        call()
    assert (raised.value.field, raised.value.value) == (field, value)


def test_integers_of_numpy_are_integers() -> None:
    kernel = torch.randn(1, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    found = conv_matrix(kernel, (1, 7, 7), stride=np.int64(2), padding=(np.int32(1), 0))  # type: ignore[arg-type]
    assert torch.equal(found.to_dense(), conv_matrix(kernel, (1, 7, 7), stride=2, padding=(1, 0)).to_dense())
