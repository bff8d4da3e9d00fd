"""Parameters and multiplications of a network: per layer of any module, and in closed form.

Parameters of a layer, b being 1 with a bias and 0 without:

    convolution   O (C/G) M N + b O            multiply-accumulates: outputs (C/G) M N
    linear        in * out + b out                                   outputs * in

Multiplications of normalisation, activation and pooling layers are not counted.
Checked by tests/anatomy/test_counts.py against PyTorch's own counters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from triptych.anatomy.modes import evaluating, watching
from triptych.anatomy.windows import ReceptiveField, Window, output_size
from triptych.errors import ShapeError, TriptychError

Field = tuple[ReceptiveField, ...]


class Fields(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Receptive fields of tensors, followed through pointwise functions while this is entered.

    What any other function gives is taken to see everything, until `keep` says better.

    Args:
        given: the network's input. Shape (B, C, ...), with one to three axes of an image; with others nothing is known.
    """

    def __init__(self, given: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        axes = given.ndim - 2
        self._fields: Any = WeakTensorKeyDictionary()
        self.keep(given, (ReceptiveField(),) * axes if axes in (1, 2, 3) else None)

    def of(self, tensor: Tensor) -> Field | None:
        """Receptive field of the tensor; None where it is everything, or unknown."""
        field: Field | None = self._fields.get(tensor)
        return field

    def keep(self, tensor: Tensor, field: Field | None) -> None:
        """Say what a value of the tensor sees."""
        self._fields[tensor] = field

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        seeing = [tensor for tensor in _tensors((*args, *named.values())) if tensor in self._fields]
        field = self._together(seeing) if torch.Tag.pointwise in func.tags else None
        result = func(*args, **named)
        if seeing:
            for tensor in _tensors([result]):
                self.keep(tensor, field)
        return result

    def _together(self, tensors: Sequence[Tensor]) -> Field | None:
        """Receptive field of a combination of tensors, value by value."""
        fields = [field for tensor in tensors if (field := self.of(tensor)) is not None]
        sizes = {tensor.shape[2:] for tensor in tensors}
        if not fields or len(fields) < len(tensors) or len(sizes) > 1:
            return None
        axes = list(zip(*fields, strict=True))
        if any(len({seen.jump for seen in axis}) > 1 for axis in axes):
            return None
        return tuple(_hull(axis) for axis in axes)


def _hull(axis: Sequence[ReceptiveField]) -> ReceptiveField:
    """From the first place that any of them sees to the last."""
    start, end = min(seen.start for seen in axis), max(seen.start + seen.size for seen in axis)
    return ReceptiveField(end - start, axis[0].jump, start)


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among values, and in lists of them."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_GLOBAL = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.Flatten)
_COUNTED = (*_CONVOLUTIONS, nn.Linear)
_FREE = (
    *_POOLS,
    *_GLOBAL,
    nn.modules.batchnorm._NormBase,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.modules.dropout._DropoutNd,
    nn.ReLU,
    nn.GELU,
    nn.SiLU,
    nn.ELU,
    nn.LeakyReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.Softmax,
    nn.LogSoftmax,
    nn.Identity,
    nn.Unflatten,
    nn.Embedding,
)


@dataclass(frozen=True)
class LayerCount:
    """One layer of a network, at one of the places where it is used.

    Attributes:
        name: dotted path in the module.
        kind: class name.
        output_shape: without the batch axis.
        parameters: all of its own; 0 where they were counted at an earlier layer that shares them.
        trainable: those that receive gradients.
        multiply_accumulates: for one input; None for a kind whose count is not known here.
        dense_parameters: of the fully connected layer that would take a convolution's place, its bias included where
            the convolution has one; for every other layer its own parameters.
        receptive_field: what one output sees of the network's input, along each axis of an image, over all paths that
            lead to it; None once the layer sees everything, or where it does not follow from layers and sums (a
            concatenation, another function between them).
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable: int
    multiply_accumulates: int | None
    dense_parameters: int
    receptive_field: tuple[ReceptiveField, ...] | None


@dataclass(frozen=True)
class NetworkCount:
    """The layers of a network in the order in which they ran, and parameters that belong to none of them."""

    layers: tuple[LayerCount, ...]
    outside_layers: int
    trainable_outside_layers: int

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers) + self.outside_layers

    @property
    def trainable(self) -> int:
        return sum(layer.trainable for layer in self.layers) + self.trainable_outside_layers

    @property
    def multiply_accumulates(self) -> int:
        """For one input, over the layers whose count is known."""
        return sum(layer.multiply_accumulates or 0 for layer in self.layers)

    @property
    def dense_parameters(self) -> int:
        """With every convolution replaced by a fully connected layer between the same inputs and outputs."""
        return sum(layer.dense_parameters for layer in self.layers) + self.outside_layers


def count_parameters(module: nn.Module, input_shape: tuple[int, ...]) -> NetworkCount:
    """Run a module once on zeros and count, layer by layer.

    The module comes back as it was: in its mode, and with its running statistics. A layer is a module without children;
    layers that do not run (an auxiliary head) are counted outside the layers.

    Args:
        module: takes one tensor.
        input_shape: of one input, without the batch axis.
    Raises:
        ShapeError: the module cannot run on that shape.
    """
    zeros = torch.zeros(1, *input_shape).to(next(module.parameters(), torch.zeros(0)))
    counter = _Counter(zeros)
    layers = {
        name or type(layer).__name__: layer
        for name, layer in module.named_modules()
        if not any(True for _ in layer.children())
    }
    with evaluating(module), watching(layers, counter.add), counter.fields, torch.no_grad():
        try:
            module(zeros)
        except (RuntimeError, ValueError, IndexError) as error:
            raise ShapeError(
                field="input_shape",
                value=tuple(input_shape),
                expected="one that the module runs on, without the batch axis",
                hint=f"The module's error: {error}",
            ) from error
    rest = [parameter for parameter in module.parameters() if parameter not in counter.counted]
    outside = sum(parameter.numel() for parameter in rest)
    return NetworkCount(tuple(counter.layers), outside, sum(p.numel() for p in rest if p.requires_grad))


@dataclass(frozen=True)
class Comparison:
    """Weights of a convolutional network and of the fully connected one with as many hidden units, biases ignored."""

    convolutional: int
    fully_connected: int

    @property
    def ratio(self) -> float:
        """Weights of the fully connected network per weight of the convolutional one."""
        return self.fully_connected / self.convolutional


def compare_with_fully_connected(
    height: int, width: int, kernel_height: int, kernel_width: int, *, outputs: int = 3
) -> Comparison:
    """One convolution, pooling by 2 and a linear layer, against two linear layers with the same hidden size.

    For a grey image H x W, an M x N kernel and K >= 1 outputs, with H' = H - M + 1 and W' = W - N + 1,

        convolutional     M N + K floor(H'/2) floor(W'/2)
        fully connected   (H W + K) floor(H'/2) floor(W'/2)

    Raises:
        ShapeError: the kernel or the pooling does not fit.
        TriptychError: outputs breaks its rule.
    """
    if outputs < 1:
        raise TriptychError(field="outputs", value=outputs, expected="an integer >= 1")
    hidden = 1
    for size, kernel in ((height, kernel_height), (width, kernel_width)):
        hidden *= output_size(output_size(size, kernel=kernel), kernel=2, stride=2)
    return Comparison(kernel_height * kernel_width + outputs * hidden, (height * width + outputs) * hidden)


class _Counter:
    """Counts layers as they run.

    Args:
        given: the network's input.
    """

    def __init__(self, given: Tensor) -> None:
        self.layers: list[LayerCount] = []
        self.counted: set[nn.Parameter] = set()
        self.fields = Fields(given)

    def add(self, name: str, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """Count a layer that has run."""
        given, output = inputs[0], output[0] if isinstance(output, tuple) else output
        own = [parameter for parameter in layer.parameters() if parameter not in self.counted]
        self.counted.update(own)
        parameters = sum(parameter.numel() for parameter in own)
        if isinstance(layer, (*_COUNTED, *_FREE)):  # functions count the others
            self.fields.keep(output, _field_after(self.fields.of(given), layer))
        self.layers.append(
            LayerCount(
                name=name,
                kind=type(layer).__name__,
                output_shape=tuple(output.shape[1:]),
                parameters=parameters,
                trainable=sum(parameter.numel() for parameter in own if parameter.requires_grad),
                multiply_accumulates=_multiply_accumulates(layer, given, output),
                dense_parameters=_dense_parameters(layer, given, output) if own else parameters,
                receptive_field=self.fields.of(output),
            )
        )


def _multiply_accumulates(layer: nn.Module, given: Tensor, output: Tensor) -> int | None:
    if isinstance(layer, _CONVOLUTIONS):
        return output[0].numel() * (layer.in_channels // layer.groups) * math.prod(layer.kernel_size)
    if isinstance(layer, nn.Linear):
        return output[0].numel() * layer.in_features
    return 0 if isinstance(layer, _FREE) or output is given else None


def _dense_parameters(layer: nn.Module, given: Tensor, output: Tensor) -> int:
    if not isinstance(layer, _CONVOLUTIONS):
        return sum(parameter.numel() for parameter in layer.parameters())
    return output[0].numel() * (given[0].numel() + (layer.bias is not None))


def _field_after(field: Field | None, layer: nn.Module) -> Field | None:
    """Receptive field after a known layer, given those of its inputs."""
    if field is None or isinstance(layer, (*_GLOBAL, nn.Linear)):
        return None
    if not isinstance(layer, (*_CONVOLUTIONS, *_POOLS)):
        return field
    windows = [_window(layer, axis, len(field)) for axis in range(len(field))]
    return tuple(seen.after(window) for seen, window in zip(field, windows, strict=True))


def _window(layer: Any, axis: int, axes: int) -> Window:
    """The window of a convolution or pooling layer along one axis."""

    def along(value: Any) -> int:
        return int(value if isinstance(value, int) else value[axis])

    kernel, dilation = along(layer.kernel_size), along(getattr(layer, "dilation", 1))
    padding = layer.padding
    if isinstance(padding, str):
        # With "same" and an even reach the left side gets the smaller half.
        padding = dilation * (kernel - 1) // 2 if padding == "same" else 0
    return Window(kernel, along(layer.stride), along(padding), dilation)
