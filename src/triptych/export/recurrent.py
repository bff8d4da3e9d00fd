"""Recurrent layers as ONNX operators, and the encoder made of them.

ONNX orders an LSTM's gates input, output, forget, cell where PyTorch has input, forget, cell, output; a GRU's update,
reset, new where PyTorch has reset, update, new. Its operators take lengths, so that padding is never read: outputs
beyond a row's length are zero, and final states are those of the last real symbol, as with packed sequences.

Letters in shapes: B batch, S source length, E embedding, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from triptych.export.graph import Graph
from triptych.spell.encoder import Encoder

Layer = nn.LSTM | nn.GRU


@dataclass(frozen=True)
class Encoded:
    """Outputs of the encoder's part of a graph.

    Attributes:
        states: shape (B, S, H).
        finals: for each layer, the parts of its final state, each of shape (B, H): h and c of an LSTM, h of a GRU.
        valid: shape (B, S).
    """

    states: str
    finals: Sequence[Sequence[str]]
    valid: str


def operator(graph: Graph, layer: Layer, number: int, inputs: str, lengths: str, start: Sequence[str]) -> list[str]:
    """Layer `number` of a recurrent module: all outputs (S, directions, B, H), then the final parts (directions, B, H).

    Args:
        graph: what to add to.
        layer: the module.
        number: which of its stacked layers.
        inputs: shape (S, B, width).
        lengths: int32, shape (B,); an empty name where all are S.
        start: the state to start from, each part (directions, B, H); empty for zeros.
    """
    suffixes = ["", "_reverse"] if layer.bidirectional else [""]
    weights = {
        kind: torch.stack([_reordered(layer, getattr(layer, f"{kind}_l{number}{end}")) for end in suffixes])
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    bias = torch.cat((weights["bias_ih"], weights["bias_hh"]), dim=-1)
    tensors = [graph.tensor(weights["weight_ih"]), graph.tensor(weights["weight_hh"]), graph.tensor(bias)]
    direction = "bidirectional" if layer.bidirectional else "forward"
    inputs_of_node = [inputs, *tensors, lengths, *start]
    if isinstance(layer, nn.LSTM):
        return graph.ops("LSTM", inputs_of_node, 3, hidden_size=layer.hidden_size, direction=direction)
    return graph.ops(
        "GRU", inputs_of_node, 2, hidden_size=layer.hidden_size, direction=direction, linear_before_reset=1
    )


def encode(graph: Graph, encoder: Encoder) -> Encoded:
    """The encoder, from the graph's inputs `symbols` (B, S), `lengths` (B,) and any `features` (B, F).

    It declares them.
    """
    symbols = graph.input("symbols", np.int64, "rows", "positions")
    lengths = graph.input("lengths", np.int64, "rows")
    lengths32 = graph.op("Cast", lengths, to=6)  # INT32, which the operators ask for
    embedded = graph.op("Gather", graph.tensor(encoder.embedding.weight), symbols)
    if encoder.features is not None:
        features = graph.input("features", np.int64, "rows", "features")
        each = graph.op("Gather", graph.tensor(encoder.features.embedding.weight), features)  # (B, F, E)
        embedded = graph.op("Add", embedded, graph.op("ReduceSum", each, graph.tensor([1]), keepdims=1))
    states = embedded = graph.transpose(embedded, 1, 0, 2)  # (S, B, E)
    finals = []
    for number, layer in enumerate(encoder.recurrent):
        assert isinstance(layer, nn.LSTM | nn.GRU)
        outputs, *final = operator(graph, layer, 0, states, lengths32, [])
        side_by_side = graph.transpose(outputs, 0, 2, 1, 3)  # (S, B, 2, H / 2)
        joined = graph.op("Reshape", side_by_side, graph.tensor([0, 0, -1]))
        states = graph.op("Add", joined, states) if encoder.residual and number > 0 else joined
        finals.append([_both_directions(graph, part) for part in final])
    if encoder.shortcut is not None:
        states = graph.op("Add", states, graph.linear(embedded, encoder.shortcut))
    position = graph.count(graph.size(symbols, 1))
    valid = graph.op("Less", graph.unsqueeze(position, 0), graph.unsqueeze(lengths, 1))
    return Encoded(graph.transpose(states, 1, 0, 2), finals, valid)


def one_step(graph: Graph, layer: Layer, value: str, names: Sequence[Sequence[str]]) -> tuple[str, list[list[str]]]:
    """All stacked layers of a decoder for one symbol.

    Args:
        graph: what to add to.
        layer: the module, of one direction.
        value: what is fed. Shape (B, width).
        names: for each layer, the parts of its state before, each (B, H).
    Returns:
        The last layer's output (B, H), and for each layer the parts of its state after.
    """
    after = []
    for number, parts in enumerate(names):
        start = [graph.unsqueeze(part, 0) for part in parts]
        _, *final = operator(graph, layer, number, graph.unsqueeze(value, 0), "", start)
        after.append([graph.squeeze(part, 0) for part in final])
        value = after[-1][0]
    return value, after


def _both_directions(graph: Graph, part: str) -> str:
    """(2, B, H / 2) to (B, H)."""
    return graph.op("Reshape", graph.transpose(part, 1, 0, 2), graph.tensor([0, -1]))


def _reordered(layer: Layer, weight: Tensor) -> Tensor:
    """Rows in ONNX's order of gates."""
    gates = weight.detach().chunk(4 if isinstance(layer, nn.LSTM) else 3)
    order = (0, 3, 1, 2) if isinstance(layer, nn.LSTM) else (1, 0, 2)
    return torch.cat([gates[place] for place in order])
