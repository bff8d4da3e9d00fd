"""Counts against real modules and PyTorch's own flop counter, and the published comparison (A2)."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tests.see.architectures import RESIDUAL
from triptych.anatomy.convolution import conv_matrix
from triptych.anatomy.counts import LayerCount, compare_with_fully_connected, count_parameters
from triptych.errors import ShapeError, TriptychError


def scenes(*, modern: bool) -> nn.Sequential:
    """Three blocks and an MLP for 48 x 48 colour images; `modern` has norms and global average pooling."""
    blocks: list[nn.Module] = []
    for before, after in ((3, 32), (32, 64), (64, 128)):
        norm: list[nn.Module] = [nn.BatchNorm2d(after)] if modern else []
        blocks += [nn.Conv2d(before, after, 3, padding=1), *norm, nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)]
    blocks += [nn.AdaptiveAvgPool2d(1), nn.Flatten()] if modern else [nn.Flatten()]
    for before, after in ((128 if modern else 128 * 36, 1024), (1024, 512)):
        norm = [nn.BatchNorm1d(after)] if modern else []
        blocks += [nn.Linear(before, after), nn.ReLU(), *norm, nn.Dropout(0.1)]
    return nn.Sequential(*blocks, nn.Linear(512, 6), nn.LogSoftmax(1))


def letters() -> nn.Sequential:
    """Two convolutions and an MLP for 28 x 28 grey images."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 5, padding="same"),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(576, 600),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(600, 120),
        nn.ReLU(),
        nn.Linear(120, 10),
        nn.LogSoftmax(1),
    )


def test_totals_are_the_published_ones() -> None:
    assert count_parameters(scenes(modern=False), (3, 48, 48)).trainable == 5_340_742
    assert count_parameters(scenes(modern=True), (3, 48, 48)).trainable == 756_742


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (scenes(modern=False), (3, 48, 48)),
        (scenes(modern=True), (3, 48, 48)),
        (letters(), (1, 28, 28)),
        (nn.Sequential(nn.Conv2d(4, 6, (3, 2), stride=2, dilation=2, groups=2, bias=False)), (4, 11, 9)),
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Linear(8, 3)), (2, 10)),
    ],
)
def test_counts_equal_those_of_pytorch(module: nn.Module, shape: tuple[int, ...]) -> None:
    found = count_parameters(module, shape)
    assert found.parameters == sum(parameter.numel() for parameter in module.parameters())
    counter = FlopCounterMode(display=False)
    with counter:
        module.eval()(torch.zeros(1, *shape))
    assert 2 * found.multiply_accumulates == counter.get_total_flops()
    state: Tensor = torch.zeros(1, *shape)
    for layer, count in zip(module.children(), found.layers, strict=True):
        state = layer(state)
        assert count.output_shape == tuple(state.shape[1:])
        assert count.kind == type(layer).__name__
        assert count.parameters == sum(parameter.numel() for parameter in layer.parameters())


def test_receptive_fields_follow_the_chain() -> None:
    layers = count_parameters(letters(), (1, 28, 28)).layers
    fields = [layer.receptive_field for layer in layers]
    sizes = [None if field is None else [(axis.size, axis.jump, axis.start) for axis in field] for field in fields[:7]]
    assert sizes[0] == [(5, 1, -2)] * 2
    assert sizes[2] == [(6, 2, -2)] * 2
    assert sizes[3] == [(10, 2, -2)] * 2
    assert sizes[5] == [(12, 4, -2)] * 2
    assert fields[6:] == [None] * 8


def sizes(layer: LayerCount) -> tuple[int, ...] | None:
    return None if layer.receptive_field is None else tuple(axis.size for axis in layer.receptive_field)


def test_receptive_fields_of_residual_blocks_are_the_largest_of_their_paths() -> None:
    """By hand: s + 2 j for a 3 x 3 kernel and s + j for 2 x 2 pooling, the jump j doubling where the size is halved."""
    found = count_parameters(RESIDUAL.build(), (3, 28, 28))
    by_name = {layer.name: sizes(layer) for layer in found.layers}
    by_hand = {
        "stem.0": 3,
        "stem.3": 3 + 2,  # j = 2 from here on
        "stages.0.first_norm": 5,
        "stages.0.first": 5 + 4,
        "stages.0.second": 9 + 4,
        "stages.0.drop_path": 13,
        "stages.1.first_norm": 13,  # the longer path of 5 and 13
        "stages.1.first": 13 + 4,
        "stages.1.second": 17 + 4,
        "stages.2.first": 21 + 4,  # j = 4 from here on
        "stages.2.second": 25 + 8,
        "stages.2.shortcut.0": 21 + 2,
        "stages.2.shortcut.1": 23,
        "stages.3.first_norm": 33,  # the longer path of 23 and 33
        "stages.3.first": 33 + 8,
        "stages.3.second": 41 + 8,
        "norm": 49,
    }
    assert {name: by_name[name] for name in by_hand} == {name: (size, size) for name, size in by_hand.items()}
    assert by_name["last"] is None
    assert [layer.multiply_accumulates for layer in found.layers if layer.kind == "DropPath"] == [0] * 4


class Crossing(nn.Module):
    """Two paths of which neither sees all that the other sees, a plain ReLU and a gain."""

    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Conv1d(1, 2, 3, stride=4, padding=1)
        self.late = nn.Conv1d(1, 2, 4, stride=4)
        self.gain = nn.Parameter(torch.ones(2, 1))
        self.last = nn.Conv1d(2, 1, 1)

    def forward(self, signals: Tensor) -> Tensor:
        return self.last(self.gain * torch.relu(self.early(signals)) + self.late(signals))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("network", "layer", "shape", "size"),
    [(Crossing(), "last", (1, 16), 5), (RESIDUAL.build(), "norm", (3, 64, 64), 49)],
)
def test_receptive_fields_of_paths_are_where_gradients_reach(
    network: nn.Module, layer: str, shape: tuple[int, ...], size: int
) -> None:
    found = {count.name: count.receptive_field for count in count_parameters(network, shape).layers}[layer]
    assert found is not None
    given, outputs = torch.ones(1, *shape, requires_grad=True), list[Tensor]()
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)  # nothing cancels, and no ReLU is shut
    network.get_submodule(layer).register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    network.eval()(given)
    place = outputs[0].shape[-1] // 2
    (gradient,) = torch.autograd.grad(outputs[0][(0, 0, *[place] * (len(shape) - 1))], given)
    reached = gradient[0, 0].nonzero()
    for axis, field in enumerate(found):
        first = field.start + place * field.jump
        assert field.size == size
        assert (reached[:, axis].min().item(), reached[:, axis].max().item()) == (first, first + size - 1)


class Mixing(nn.Module):
    """What two convolutions give, put together in some other way than place by place."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.left = nn.Conv2d(1, 2, 3, padding=1)
        self.right = nn.Conv2d(1, 2, 3, padding=1, stride=6 if kind == "stride" else 1)
        self.last = nn.Conv2d(2, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        left, right = self.left(images), self.right(images)
        other = {"mean": right.mean((2, 3), keepdim=True), "turned": right.transpose(2, 3), "stride": right}
        return self.last(left * other[self.kind])  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["mean", "turned", "stride"])
def test_receptive_fields_end_where_places_are_mixed(kind: str) -> None:
    assert [sizes(layer) for layer in count_parameters(Mixing(kind), (1, 6, 6)).layers] == [(3, 3), (3, 3), None]


class Branching(nn.Module):
    """A sum of two paths, one layer twice, one never, and weights of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 2, 3, padding=1)
        self.left = nn.Conv2d(2, 2, 3, padding=1)
        self.right = nn.Conv2d(2, 2, 1)
        self.unused = nn.Linear(3, 4)
        self.gain = nn.Parameter(torch.ones(5))
        self.tied = nn.Conv2d(2, 2, 1)
        self.tied.weight = self.right.weight

    def forward(self, images: Tensor) -> Tensor:
        seen = self.first(images)
        return self.tied(self.right(self.left(seen) + self.right(seen)))  # type: ignore[no-any-return]


def test_branches_shared_unused_and_frozen_weights() -> None:
    module = Branching()
    module.left.requires_grad_(False)
    found = count_parameters(module, (1, 6, 6))
    assert found.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert found.trainable == found.parameters - 38
    assert found.outside_layers == 5 + 16
    by_name = [(layer.name, layer.parameters, layer.trainable) for layer in found.layers]
    assert by_name == [("first", 20, 20), ("left", 38, 0), ("right", 6, 6), ("right", 0, 0), ("tied", 2, 2)]
    assert [sizes(layer) for layer in found.layers] == [(3, 3), (5, 5), (3, 3), (5, 5), (5, 5)]
    assert found.multiply_accumulates == 36 * (2 * 9 + 2 * 18 + 3 * 4)


def test_dense_parameters_are_those_of_the_full_matrix() -> None:
    convolution = nn.Conv2d(2, 3, 3, stride=2)
    module = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(12, 5))
    found = count_parameters(module, (2, 5, 6))
    matrix = conv_matrix(convolution.weight.detach(), (2, 5, 6), stride=2)
    assert found.layers[0].dense_parameters == matrix.numel() + len(matrix)
    assert found.dense_parameters == matrix.numel() + len(matrix) + 65
    unbiased = count_parameters(nn.Sequential(nn.Conv2d(2, 3, 3, stride=2, bias=False)), (2, 5, 6))
    assert unbiased.dense_parameters == matrix.numel()


def test_the_module_comes_back_as_it_was() -> None:
    module = scenes(modern=True)
    module[1].eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    count_parameters(module, (3, 48, 48))
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.training
    assert not module[1].training
    assert module[6].training
    assert not any(layer._forward_hooks for layer in module.modules())


def test_what_is_not_known_is_said_so() -> None:
    found = count_parameters(nn.Sequential(nn.LSTM(4, 3)), (7, 4))
    assert found.layers[0].multiply_accumulates is None
    assert found.parameters == 4 * 3 * (4 + 3 + 2)
    with pytest.raises(ShapeError) as raised:
        count_parameters(letters(), (3, 28, 28))
    assert "input_shape is (3, 28, 28); expected one that the module runs on" in str(raised.value)


@given(st.integers(4, 20), st.integers(4, 20), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_the_comparison_equals_counts_on_real_modules(height: int, width: int, m: int, n: int, outputs: int) -> None:
    found = compare_with_fully_connected(height, width, m, n, outputs=outputs)
    half = ((height - m + 1) // 2) * ((width - n + 1) // 2)
    assert found.convolutional == m * n + outputs * half
    assert found.fully_connected == (height * width + outputs) * half
    convolutional = nn.Sequential(
        nn.Conv2d(1, 1, (m, n), bias=False), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(half, outputs, bias=False)
    )
    full = nn.Sequential(
        nn.Flatten(), nn.Linear(height * width, half, bias=False), nn.Linear(half, outputs, bias=False)
    )
    assert count_parameters(convolutional, (1, height, width)).parameters == found.convolutional
    assert count_parameters(full, (1, height, width)).parameters == found.fully_connected
    assert found.ratio == found.fully_connected / found.convolutional


def test_the_comparison_has_three_outputs_and_checks_its_input() -> None:
    assert compare_with_fully_connected(6, 6, 3, 3) == compare_with_fully_connected(6, 6, 3, 3, outputs=3)
    assert compare_with_fully_connected(6, 6, 3, 3).convolutional == 9 + 3 * 4
    with pytest.raises(ShapeError):
        compare_with_fully_connected(3, 3, 3, 3)  # nothing is left to pool
    with pytest.raises(TriptychError) as raised:
        compare_with_fully_connected(6, 6, 3, 3, outputs=0)
    assert "outputs is 0; expected an integer >= 1." in str(raised.value)
