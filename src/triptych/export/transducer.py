"""The recurrent transducer (`triptych.spell.model`) as two graphs: the encoder, and one step of the decoder.

The names are defined in `triptych.runtime.network`. Letters in shapes: B rows, S source length, V target
vocabulary, E embedding, H hidden.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from triptych.export.attention import keys, read_source
from triptych.export.graph import Graph
from triptych.export.recurrent import encode, one_step
from triptych.runtime.network import NEXT
from triptych.spell.model import Transducer

F32 = np.float32


def encoder_graph(network: Transducer) -> Graph:
    """From `symbols` (B, S) and `lengths` (B,): the decoder's first state, and what attention reads."""
    graph, decoder = Graph("encoder"), network.decoder
    encoded = encode(graph, network.encoder)
    hidden = decoder.recurrent.hidden_size
    for layer, names in enumerate(state_names(decoder)):
        final = encoded.finals[min(layer, len(encoded.finals) - 1)]
        for name, part in zip(names, final, strict=True):
            graph.output(name, part, F32, "rows", hidden)
    if decoder.attention is not None:
        graph.output("states", encoded.states, F32, "rows", "positions", hidden)
        graph.output("valid", encoded.valid, np.bool_, "rows", "positions")
        compared = keys(graph, decoder.attention, encoded.states)
        if compared is not None:
            graph.output("keys", compared, F32, "rows", "positions", hidden)
    if decoder.input_feeding:
        shape = graph.op("Concat", graph.unsqueeze(graph.size("symbols", 0), 0), graph.tensor([hidden]), axis=0)
        graph.output("fed", graph.op("Expand", graph.tensor(0.0), shape), F32, "rows", hidden)
    return graph


def step_graph(network: Transducer) -> Graph:
    """One symbol further: `log_probabilities` (B, V), the state after, `attention` (B, S)."""
    graph, decoder = Graph("step"), network.decoder
    hidden = decoder.recurrent.hidden_size
    symbols = graph.input("symbols", np.int64, "rows")
    value = graph.op("Gather", graph.tensor(decoder.embedding.weight), symbols)  # (B, E)
    names = state_names(decoder)
    for name in (name for layer in names for name in layer):
        graph.input(name, F32, "rows", hidden)
    if decoder.input_feeding:
        value = graph.op("Concat", value, graph.input("fed", F32, "rows", hidden), axis=1)
    output, after = one_step(graph, decoder.recurrent, value, names)
    weights = None
    if decoder.attention is not None:
        context, weights = read_source(graph, decoder.attention, output, hidden=hidden)
        assert decoder.combine is not None
        output = graph.op("Tanh", graph.linear(graph.op("Concat", context, output, axis=1), decoder.combine))
    logits = graph.matmul(output, decoder.embedding.weight if decoder.output_weight is None else decoder.output_weight)
    forbidden = torch.zeros_like(decoder.output_bias).masked_fill(network.get_buffer("never"), -math.inf)
    biased = graph.op("Add", logits, graph.tensor(decoder.output_bias.detach() + forbidden))
    vocabulary = decoder.embedding.num_embeddings
    graph.output("log_probabilities", graph.op("LogSoftmax", biased, axis=-1), F32, "rows", vocabulary)
    for layer, parts in zip(names, after, strict=True):
        for name, part in zip(layer, parts, strict=True):
            graph.output(NEXT + name, part, F32, "rows", hidden)
    if decoder.input_feeding:
        graph.output(f"{NEXT}fed", output, F32, "rows", hidden)
    if weights is not None:
        graph.output("attention", weights, F32, "rows", "positions")
    return graph


def state_names(decoder: nn.Module) -> list[list[str]]:
    """Names of the parts of each layer's state: h0, c0, h1, ..."""
    recurrent = decoder.recurrent
    assert isinstance(recurrent, nn.LSTM | nn.GRU)
    parts = ("h", "c") if isinstance(recurrent, nn.LSTM) else ("h",)
    return [[f"{part}{layer}" for part in parts] for layer in range(recurrent.num_layers)]
