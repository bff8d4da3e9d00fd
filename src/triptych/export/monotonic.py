"""The hard monotonic transducer (`triptych.spell.monotonic`) as two graphs: the encoder, and one step of the walk.

Sources come between their boundaries. Before the first symbol the walk stands at the start, and whatever was written
there is certain, so that the first step is one of the walk's like any other.

Letters in shapes: B rows, S source length with boundaries, V target vocabulary, E embedding, H hidden, A attention.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triptych.export.graph import Graph
from triptych.export.recurrent import encode, one_step
from triptych.export.transducer import F32, state_names
from triptych.runtime.network import COPY_IDS, NEXT, TRANSITIONS
from triptych.spell.monotonic import TINY, MonotonicDecoder, MonotonicTransducer
from triptych.text.symbols import Vocabulary


def encoder_graph(network: MonotonicTransducer) -> Graph:
    """From `symbols` (B, S) and `lengths` (B,): what is read from positions, and the walk before its first step."""
    graph, decoder = Graph("encoder"), network.decoder
    encoded = encode(graph, network.encoder)
    embedding, vocabulary = decoder.embedding.embedding_dim, decoder.embedding.num_embeddings
    graph.output("states", graph.linear(encoded.states, decoder.from_source), F32, "rows", "positions", embedding)
    keys = graph.linear(encoded.states, decoder.key)
    graph.output("keys", keys, F32, "rows", "positions", decoder.key.out_features)
    graph.output("valid", encoded.valid, np.bool_, "rows", "positions")
    rows = graph.unsqueeze(graph.size("symbols", 0), 0)
    shape = graph.op("Shape", "symbols")
    for name in (name for layer in state_names(decoder) for name in layer):
        width = graph.op("Concat", rows, graph.tensor([decoder.recurrent.hidden_size]), axis=0)
        zeros = graph.op("Expand", graph.tensor(0.0), width)
        graph.output(name, zeros, F32, "rows", decoder.recurrent.hidden_size)
    at_start = graph.op("Equal", graph.count(graph.size("symbols", 1)), graph.tensor([0]))
    position = graph.op("Expand", graph.op("Cast", at_start, to=1), shape)
    graph.output("position", position, F32, "rows", "positions")
    certain = graph.op("Expand", graph.tensor(1.0), graph.op("Concat", shape, graph.tensor([vocabulary]), axis=0))
    graph.output("written", certain, F32, "rows", "positions", vocabulary)
    if network.copies:
        graph.output("copied", graph.op("Expand", graph.tensor(0.0), shape), F32, "rows", "positions")
    return graph


def step_graph(network: MonotonicTransducer) -> Graph:
    """One symbol further: `log_probabilities` (B, V), the walk after, `attention` (B, S - 2).

    With copying there are V + S - 2 log-probabilities, and `copy_ids` (B, S) is an input.
    """
    graph, decoder = Graph("step"), network.decoder
    embedding, vocabulary = decoder.embedding.embedding_dim, decoder.embedding.num_embeddings
    hidden = decoder.recurrent.hidden_size
    symbols = graph.input("symbols", np.int64, "rows")
    states = graph.input("states", F32, "rows", "positions", embedding)
    keys = graph.input("keys", F32, "rows", "positions", decoder.key.out_features)
    valid = graph.input("valid", np.bool_, "rows", "positions")
    before = graph.input("position", F32, "rows", "positions")
    written_before = graph.input("written", F32, "rows", "positions", vocabulary)
    names = state_names(decoder)
    for name in (name for layer in names for name in layer):
        graph.input(name, F32, "rows", hidden)

    copying = _Copying.of(graph, symbols, vocabulary) if network.copies else None
    fed = symbols if copying is None else copying.fed
    embedded = graph.op("Gather", graph.tensor(decoder.embedding.weight), fed)
    output, after = one_step(graph, decoder.recurrent, embedded, names)
    seen = _seen(graph, written_before, fed)
    if copying is not None:
        seen = copying.seen(graph, seen)
    transitions = _transitions(graph, decoder, output, keys)
    position = _moved(graph, before, seen, transitions)
    mixed = graph.op("Tanh", graph.op("Add", states, graph.unsqueeze(graph.linear(output, decoder.from_state), 1)))
    logits = graph.op("Add", graph.matmul(mixed, decoder.embedding.weight), graph.tensor(decoder.output_bias))
    written = graph.op("Softmax", logits, axis=-1)  # (B, S, V)
    copied = None
    if copying is not None and decoder.gate is not None:
        copied, rest = copying.shares(graph, graph.squeeze(graph.linear(mixed, decoder.gate), 2))
        written = graph.op("Mul", written, graph.unsqueeze(rest, 2))

    total = graph.squeeze(graph.op("MatMul", graph.unsqueeze(position, 1), written), 1)
    allowed = graph.op("Mul", total, graph.tensor((~network.get_buffer("never")).float()))
    if copying is not None and copied is not None:
        allowed = copying.added(graph, allowed, graph.op("Mul", position, copied))
    sums = graph.op("ReduceSum", allowed, graph.tensor([1]), keepdims=1)
    log_probabilities = graph.op("Log", graph.op("Div", allowed, sums))
    graph.output(
        "log_probabilities", log_probabilities, F32, "rows", vocabulary if copying is None else "symbols_after"
    )
    if copied is not None:
        graph.output(f"{NEXT}copied", copied, F32, "rows", "positions")
    for layer, parts in zip(names, after, strict=True):
        for name, part in zip(layer, parts, strict=True):
            graph.output(NEXT + name, part, F32, "rows", hidden)
    graph.output(f"{NEXT}position", position, F32, "rows", "positions")
    graph.output(f"{NEXT}written", written, F32, "rows", "positions", vocabulary)
    graph.output("attention", _attention(graph, position, valid), F32, "rows", "inner_positions")
    graph.output(TRANSITIONS, transitions, F32, "rows", "positions", "positions")
    return graph


@dataclass(frozen=True)
class _Copying:
    """Nodes of a step graph whose positions may copy.

    Attributes:
        ids: what copying each position writes, an input. Shape (B, S).
        symbols: the symbols that came. Shape (B,).
        is_known: 1 where the vocabulary has them, 0 elsewhere. Shape (B,).
        fed: those symbols, unknown where the vocabulary lacks them. Shape (B,).
    """

    ids: str
    symbols: str
    is_known: str
    fed: str

    @classmethod
    def of(cls, graph: Graph, symbols: str, vocabulary: int) -> _Copying:
        """Declares the inputs."""
        ids = graph.input(COPY_IDS, np.int64, "rows", "positions")
        graph.input("copied", F32, "rows", "positions")
        known = graph.op("Less", symbols, graph.tensor([vocabulary]))
        fed = graph.op("Where", known, symbols, graph.tensor([Vocabulary.unknown]))
        return cls(ids, symbols, graph.op("Cast", known, to=1), fed)

    def seen(self, graph: Graph, likelihood: str) -> str:
        """The probability that each position gave the symbol that came, from that of the fed one. Shape (B, S)."""
        by_vocabulary = graph.op("Mul", likelihood, graph.unsqueeze(self.is_known, 1))
        same = graph.op("Cast", graph.op("Equal", self.ids, graph.unsqueeze(self.symbols, 1)), to=1)
        return graph.op("Add", by_vocabulary, graph.op("Mul", "copied", same))

    def shares(self, graph: Graph, scores: str) -> tuple[str, str]:
        """The probability that each position copies, 0 at boundaries and padding, and that it does not. Each (B, S).

        By a softmax: ONNX Runtime's sigmoid is exact in its absolute size alone, and small shares are multiplied.
        """
        nothing = graph.op("Equal", self.ids, graph.tensor([Vocabulary.pad]))
        score = graph.unsqueeze(scores, 2)
        both = graph.op("Concat", score, graph.op("Mul", score, graph.tensor(0.0)), axis=2)
        copied, rest = graph.ops("Split", [graph.op("Softmax", both, axis=-1), graph.tensor([1, 1])], 2, axis=2)
        return (
            graph.op("Where", nothing, graph.tensor(0.0), graph.squeeze(copied, 2)),
            graph.op("Where", nothing, graph.tensor(1.0), graph.squeeze(rest, 2)),
        )

    def added(self, graph: Graph, total: str, copied: str) -> str:
        """The vocabulary's probabilities (B, V) and the copies' (B, S) together. Shape (B, V + S - 2)."""
        inner = graph.op("Slice", copied, graph.tensor([1]), graph.tensor([-1]), graph.tensor([1]))
        nothing = graph.op("Mul", inner, graph.tensor(0.0))
        wide = graph.op("Concat", total, nothing, axis=1)
        return graph.op("ScatterElements", wide, self.ids, copied, axis=1, reduction="add")


def _seen(graph: Graph, written: str, symbols: str) -> str:
    """The probability that each position gave the symbol that came. Shape (B, S)."""
    shape = graph.op("Shape", written)
    rows_and_positions = graph.op("Slice", shape, graph.tensor([0]), graph.tensor([2]))
    wanted = graph.op("Concat", rows_and_positions, graph.tensor([1]), axis=0)
    index = graph.op("Expand", graph.op("Unsqueeze", symbols, graph.tensor([1, 2])), wanted)
    return graph.squeeze(graph.op("GatherElements", written, index, axis=2), 2)


def _transitions(graph: Graph, decoder: MonotonicDecoder, output: str, keys: str) -> str:
    """p(a_t = j | a_{t-1} = i), shape (B, S, S); see `MonotonicDecoder.transitions`."""
    query = graph.unsqueeze(graph.linear(output, decoder.query), 1)
    scores = graph.matmul(graph.op("Tanh", graph.op("Add", query, keys)), decoder.scores.weight)  # (B, S, 1 + steps)
    steps = 2 * decoder.window + 1
    of_position, of_step = graph.ops("Split", [scores, graph.tensor([1, steps])], 2, axis=2)
    position = graph.count(graph.size(keys, 1))
    step = graph.op("Sub", graph.unsqueeze(position, 0), graph.unsqueeze(position, 1))  # (S, S), j - i
    window = decoder.window
    clamped = graph.op("Clip", step, graph.tensor(np.array(-window)), graph.tensor(np.array(window)))
    kind = graph.op("Add", clamped, graph.tensor(np.array(window)))
    step_score = graph.op("Gather", graph.tensor(decoder.step_score), kind)
    shape = graph.op("Concat", graph.unsqueeze(graph.size(keys, 0), 0), graph.op("Shape", kind), axis=0)
    gathered = graph.op("GatherElements", of_step, graph.op("Expand", kind, shape), axis=2)
    total = graph.op("Add", graph.op("Add", graph.transpose(of_position, 0, 2, 1), gathered), step_score)
    back = graph.op("Less", step, graph.tensor(np.array(-decoder.back)))
    forbidden = graph.op("Or", graph.unsqueeze(back, 0), graph.unsqueeze(graph.op("Not", "valid"), 1))
    return graph.op("Softmax", graph.op("Where", forbidden, graph.tensor(-1e9), total), axis=-1)


def _moved(graph: Graph, position: str, likelihood: str, transitions: str) -> str:
    """The next position's distribution. Shape (B, S)."""
    alive = graph.op("Add", graph.op("Mul", position, likelihood), graph.tensor(TINY))
    known = graph.op("Where", "valid", alive, graph.tensor(0.0))
    share = graph.op("Div", known, graph.op("ReduceSum", known, graph.tensor([1]), keepdims=1))
    return graph.squeeze(graph.op("MatMul", graph.unsqueeze(share, 1), transitions), 1)


def _attention(graph: Graph, position: str, valid: str) -> str:
    """Position of the latest symbol; the boundaries' shares go to their neighbours. Shape (B, S - 2)."""
    one = graph.tensor([1])
    last = graph.op("Sub", graph.op("ReduceSum", graph.op("Cast", valid, to=7), one, keepdims=1), one)  # (B, 1)
    place = graph.unsqueeze(graph.count(graph.size(position, 1)), 0)  # (1, S)

    def share(at: str) -> str:
        """The probability of one position per row, (B, 1)."""
        chosen = graph.op("Where", graph.op("Equal", place, at), position, graph.tensor(0.0))
        return graph.op("ReduceSum", chosen, one, keepdims=1)

    inside = graph.op("Where", graph.op("Less", place, last), position, graph.tensor(0.0))
    first = graph.op("Where", graph.op("Equal", place, one), share(graph.tensor([0])), graph.tensor(0.0))
    before_last = graph.op("Equal", place, graph.op("Sub", last, one))
    final = graph.op("Where", before_last, share(last), graph.tensor(0.0))
    total = graph.op("Add", graph.op("Add", inside, first), final)
    return graph.op("Slice", total, one, graph.tensor([-1]), one)
