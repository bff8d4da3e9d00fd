"""Attention of a decoder (`triptych.spell.attention`) as nodes of its graphs.

Letters in shapes: B rows, S source length, H hidden.
"""

from __future__ import annotations

import math

import numpy as np

from triptych.errors import RunError
from triptych.export.graph import Graph
from triptych.spell.attention import (
    AdditiveAttention,
    Attention,
    DotAttention,
    GeneralAttention,
    HopfieldAttention,
)


def keys(graph: Graph, attention: Attention, states: str) -> str | None:
    """Keys, computed once per source (B, S, H); None where they are the states themselves."""
    if isinstance(attention, AdditiveAttention | HopfieldAttention):
        return graph.matmul(states, attention.key.weight)
    return None


def read_source(graph: Graph, attention: Attention, query: str, *, hidden: int) -> tuple[str, str]:
    """Attention of a query (B, H) to the source: the context (B, H) and the weights (B, S).

    Declares the inputs `states`, `valid` and, where there are any, `keys`.
    """
    states = graph.input("states", np.float32, "rows", "positions", hidden)
    valid = graph.input("valid", np.bool_, "rows", "positions")
    compared = states
    if isinstance(attention, AdditiveAttention | HopfieldAttention):
        compared = graph.input("keys", np.float32, "rows", "positions", hidden)
    return _attend(graph, _scores(graph, attention, query, compared, valid), states, valid)


def _scores(graph: Graph, attention: Attention, query: str, keys: str, valid: str) -> str:
    """Unnormalised scores (B, S)."""
    match attention:
        case DotAttention():
            return _products(graph, query, keys)
        case GeneralAttention():
            return _products(graph, graph.matmul(query, attention.query.weight), keys)
        case AdditiveAttention():
            projected = graph.unsqueeze(graph.matmul(query, attention.query.weight), 1)
            mixed = graph.op("Tanh", graph.op("Add", projected, keys))
            return graph.squeeze(graph.matmul(mixed, attention.energy.weight), 2)
        case HopfieldAttention():
            beta = graph.tensor(attention.log_beta.detach().exp())
            state = graph.matmul(query, attention.query.weight)
            for _ in range(attention.steps - 1):
                state, _ = _attend(graph, _products(graph, graph.op("Mul", beta, state), keys), keys, valid)
            return _products(graph, graph.op("Mul", beta, state), keys)
    raise RunError(f"{type(attention).__name__} cannot be exported.")


def _products(graph: Graph, query: str, keys: str) -> str:
    """Inner products of a query (B, H) with keys (B, S, H). Shape (B, S)."""
    return graph.squeeze(graph.op("MatMul", keys, graph.unsqueeze(query, 2)), 2)


def _attend(graph: Graph, scores: str, values: str, valid: str) -> tuple[str, str]:
    """Values (B, S, H) averaged by the softmax of scores (B, S), without padding: (B, H), and the weights (B, S)."""
    weights = graph.op("Softmax", graph.op("Where", valid, scores, graph.tensor(-math.inf)), axis=-1)
    return graph.squeeze(graph.op("MatMul", graph.unsqueeze(weights, 1), values), 1), weights
