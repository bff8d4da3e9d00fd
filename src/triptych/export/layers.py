"""Layers of image networks as nodes of a graph: one function per kind of module.

Letters in shapes: B images, C channels, Q queries of a pooling head.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from triptych.errors import RunError
from triptych.export.graph import Graph
from triptych.nn.dropout import Dropout
from triptych.recall.layers import HopfieldPooling
from triptych.see.convolutional import ConvolutionalNetwork
from triptych.see.ensemble import EnsembleNetwork
from triptych.see.heads import HopfieldHead
from triptych.see.residual import DropPath, ResidualBlock, ResidualNetwork, SqueezeExcitation


def add(graph: Graph, module: nn.Module, value: str) -> str:
    """What a module in evaluation mode makes of a value.

    Raises:
        RunError: there is no way to write the module.
    """
    writer = _WRITERS.get(type(module))
    if writer is None:
        raise RunError(
            f"the network has a layer {type(module).__module__}.{type(module).__name__}; expected a network of "
            "Triptych's own, model.name 'cnn' or 'residual'. Networks of other libraries bring exporters of their own."
        )
    return writer(graph, module, value)


def _one_after_the_other(graph: Graph, module: Any, value: str) -> str:
    for part in module.children():
        value = add(graph, part, value)
    return value


def _log_probabilities(graph: Graph, module: Any, value: str) -> str:
    return graph.op("LogSoftmax", _one_after_the_other(graph, module, value), axis=1)


def _mean_of_members(graph: Graph, module: Any, value: str) -> str:
    logs = [graph.unsqueeze(graph.op("LogSoftmax", add(graph, member, value), axis=1), 0) for member in module.members]
    total = graph.op("ReduceLogSumExp", graph.op("Concat", *logs, axis=0), axes=[0], keepdims=0)
    return graph.op("Sub", total, graph.tensor(math.log(len(logs))))


def _unchanged(_graph: Graph, _module: Any, value: str) -> str:
    return value


def _convolution(graph: Graph, module: Any, value: str) -> str:
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise RunError(f"padding is {module.padding!r} of {module.padding_mode}; expected numbers, and zeros.")
    bias = [] if module.bias is None else [graph.tensor(module.bias)]
    return graph.op(
        "Conv",
        value,
        graph.tensor(module.weight),
        *bias,
        strides=list(module.stride),
        pads=[*module.padding, *module.padding],
        dilations=list(module.dilation),
        group=module.groups,
    )


def _normalisation(graph: Graph, module: Any, value: str) -> str:
    tensors = [graph.tensor(part) for part in (module.weight, module.bias, module.running_mean, module.running_var)]
    return graph.op("BatchNormalization", value, *tensors, epsilon=module.eps)


def _border(graph: Graph, module: Any, value: str) -> str:
    left, right, top, bottom = module.padding
    return graph.op("Pad", value, graph.tensor([0, 0, top, left, 0, 0, bottom, right]))


def _max_pooling(graph: Graph, module: Any, value: str) -> str:
    kernel, stride, around = (_pair(size) for size in (module.kernel_size, module.stride, module.padding))
    return graph.op(
        "MaxPool", value, kernel_shape=kernel, strides=stride, pads=[*around, *around], ceil_mode=int(module.ceil_mode)
    )


def _mean_pooling(graph: Graph, module: Any, value: str) -> str:
    kernel, stride, around = (_pair(size) for size in (module.kernel_size, module.stride, module.padding))
    return graph.op(
        "AveragePool",
        value,
        kernel_shape=kernel,
        strides=stride,
        pads=[*around, *around],
        ceil_mode=int(module.ceil_mode),
        count_include_pad=int(module.count_include_pad),
    )


def _mean_of_all(graph: Graph, module: Any, value: str) -> str:
    if module.output_size not in (1, (1, 1)):
        raise RunError(f"output_size of adaptive pooling is {module.output_size}; expected 1.")
    return graph.op("GlobalAveragePool", value)


def _relu(graph: Graph, _module: Any, value: str) -> str:
    return graph.op("Relu", value)


def _linear(graph: Graph, module: Any, value: str) -> str:
    return graph.linear(value, module)


def _flat(graph: Graph, _module: Any, value: str) -> str:
    return graph.op("Flatten", value, axis=1)


def _log_softmax(graph: Graph, module: Any, value: str) -> str:
    return graph.op("LogSoftmax", value, axis=module.dim)


def _squeeze_excitation(graph: Graph, module: Any, value: str) -> str:
    means = graph.op("Flatten", graph.op("GlobalAveragePool", value), axis=1)
    inner = graph.op("Relu", graph.linear(means, module.reduce))
    weights = graph.op("Sigmoid", graph.linear(inner, module.expand))
    return graph.op("Mul", value, graph.op("Unsqueeze", weights, graph.tensor([2, 3])))


def _residual_block(graph: Graph, module: Any, value: str) -> str:
    activated = graph.op("Relu", add(graph, module.first_norm, value))
    inner = graph.op("Relu", add(graph, module.second_norm, add(graph, module.first, activated)))
    branch = add(graph, module.second, inner)
    if module.squeeze is not None:
        branch = add(graph, module.squeeze, branch)
    kept = value if module.shortcut is None else add(graph, module.shortcut, activated)
    return graph.op("Add", kept, branch)


def _hopfield_pooling(graph: Graph, module: Any, value: str) -> str:
    """From patterns (B, positions, C) to where the learnt states end, (B, Q, C)."""
    association = module.association
    plain = [association.query, association.key, association.value, association.output]
    plain += [association.normalise_state, association.normalise_stored]
    if association.heads != 1 or not all(isinstance(layer, nn.Identity) for layer in plain):
        raise RunError("the pooling layer has several heads or projections; expected one head without projections.")
    beta = graph.tensor(float(association.beta[0]))
    transposed = graph.transpose(value, 0, 2, 1)
    state = graph.tensor(module.states)  # (Q, C), the same for all images
    for _ in range(association.steps):
        scores = graph.op("Mul", graph.op("MatMul", state, transposed), beta)
        state = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), value)
    return state


def _hopfield_head(graph: Graph, module: Any, value: str) -> str:
    positions = graph.op("Reshape", value, graph.tensor([0, 0, -1]))  # (B, C, positions)
    return graph.op("Flatten", add(graph, module.pooling, graph.transpose(positions, 0, 2, 1)), axis=1)


_WRITERS: Mapping[type[nn.Module], Callable[[Graph, Any, str], str]] = {
    ConvolutionalNetwork: _log_probabilities,
    ResidualNetwork: _one_after_the_other,
    EnsembleNetwork: _mean_of_members,
    nn.Sequential: _one_after_the_other,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _normalisation,
    nn.BatchNorm2d: _normalisation,
    nn.ZeroPad2d: _border,
    nn.MaxPool2d: _max_pooling,
    nn.AvgPool2d: _mean_pooling,
    nn.AdaptiveAvgPool2d: _mean_of_all,
    nn.ReLU: _relu,
    nn.Linear: _linear,
    nn.Flatten: _flat,
    nn.LogSoftmax: _log_softmax,
    nn.Dropout: _unchanged,
    Dropout: _unchanged,
    nn.Identity: _unchanged,
    DropPath: _unchanged,
    SqueezeExcitation: _squeeze_excitation,
    ResidualBlock: _residual_block,
    HopfieldHead: _hopfield_head,
    HopfieldPooling: _hopfield_pooling,
}


def _pair(size: int | tuple[int, int]) -> list[int]:
    return [size, size] if isinstance(size, int) else list(size)
