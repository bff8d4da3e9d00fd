"""Exported graphs as the decoders see them: the step contract of `triptych.decoding`.

Letters in shapes: B rows, S source length, V target vocabulary.

A model is two graphs that share names. The encoder turns `symbols` (B, S), `lengths` (B,) and, of a model with
features, `features` (B, F) into tensors with one row per source. The step takes those tensors and the latest `symbols`
(B,), and returns `log_probabilities` (B, V), perhaps `attention` (B, S), and for each tensor X that changes, `next_X`.
The others stay as the encoder made them. The step of a hard monotonic model also has `transitions` (B, S, S), which is
fetched only for alignments. That of one that copies also takes `copy_ids` (B, S).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from triptych.decoding.contract import END, START, Array, Sources
from triptych.text.symbols import Vocabulary

NEXT = "next_"
COPY_IDS = "copy_ids"  # (B, S), what a model that copies writes from each position; not the encoder's
TRANSITIONS = "transitions"  # (B, S, S), computed again where a walk is asked for


@dataclass(frozen=True)
class GraphState:
    """Tensors by the names that the graphs give them, rows first.

    Attributes:
        changing: what every step replaces.
        fixed: what the encoder made of the source.
        source: which source each row belongs to. Shape (B,).
        attention: weights of the latest step; None after `select`. Shape (B, S).
        transitions: gives those of the latest step; None after `select`, and where the model has none.
    """

    changing: Mapping[str, Array]
    fixed: Mapping[str, Array]
    source: Array
    attention: Array | None = None
    transitions: Callable[[], Array] | None = None

    @property
    def walk(self) -> tuple[Array, Array] | None:
        """The latest step of a hard monotonic model; see `triptych.decoding.scoring.Walking`."""
        if self.transitions is None:
            return None
        return self.transitions(), _with_copies(self.changing["written"], self.changing, self.fixed)

    def select(self, index: Array) -> GraphState:
        """Rows by index. Where hypotheses only change places within their source, the fixed part is not copied."""
        source = self.source[index]
        same = np.array_equal(source, self.source)
        return GraphState(
            {name: value[index] for name, value in self.changing.items()},
            self.fixed if same else {name: value[index] for name, value in self.fixed.items()},
            source,
        )


class GraphModel:
    """An encoder graph and a step graph as a step model.

    Args:
        encoder, step: sessions of the two graphs.
        boundaries: put a start and an end symbol around every source.
    """

    def __init__(self, encoder: Any, step: Any, *, boundaries: bool = False) -> None:
        self._encoder = encoder
        self._step = step
        self._boundaries = boundaries
        self._encoded = [output.name for output in encoder.get_outputs()]
        outputs = [output.name for output in step.get_outputs()]
        self._walks = TRANSITIONS in outputs
        self._after = [name for name in outputs if name != TRANSITIONS]
        self._wanted = {entry.name for entry in step.get_inputs()}
        self._changing = [name for name in self._encoded if NEXT + name in self._after]
        self.copies = COPY_IDS in self._wanted

    def start(self, sources: Sources) -> GraphState:
        """The state before the first target symbol, one row per source."""
        symbols, lengths = sources.symbols, sources.lengths
        if self._boundaries:
            symbols, lengths = with_boundaries(symbols, lengths)
        given = {"symbols": symbols, "lengths": lengths}
        if sources.features is not None:
            given["features"] = sources.features
        values = self._encoder.run(self._encoded, given)
        made = dict(zip(self._encoded, values, strict=True))
        changing = {name: made.pop(name) for name in self._changing}
        fixed = {name: value for name, value in made.items() if name in self._wanted}
        if self.copies:
            assert sources.copy_ids is not None
            fixed[COPY_IDS] = np.pad(sources.copy_ids, ((0, 0), (1, 1)))  # nothing is copied from a boundary
        return GraphState(changing, fixed, np.arange(len(lengths)))

    def step(self, symbols: Array, state: GraphState) -> tuple[Array, GraphState]:
        """Feed one symbol per row (B,); get log-probabilities (B, V), -inf for padding, start and unknown."""
        fed = {"symbols": symbols, **state.changing, **state.fixed}
        made = dict(zip(self._after, self._step.run(self._after, fed), strict=True))
        changing = {name: made[NEXT + name] for name in self._changing}

        def transitions() -> Array:
            found: Array = self._step.run([TRANSITIONS], fed)[0]
            return found

        walk = transitions if self._walks else None
        return made["log_probabilities"], GraphState(changing, state.fixed, state.source, made.get("attention"), walk)


def _with_copies(written: Array, changing: Mapping[str, Array], fixed: Mapping[str, Array]) -> Array:
    """Probability of each symbol at each position, of copied ones too. Shapes: written (B, S, V) to (B, S, V + S - 2).

    `copied` (B, S) is the probability that a position copies, and `written` is the rest's.
    """
    if COPY_IDS not in fixed:
        return written
    ids, vocabulary = fixed[COPY_IDS], written.shape[2]
    whole = np.pad(written, ((0, 0), (0, 0), (0, ids.shape[1] - 2)))
    rows, positions = np.indices(ids.shape)
    whole[rows, positions, ids] += changing["copied"]
    assert whole.shape[2] == vocabulary + ids.shape[1] - 2
    return whole


def with_boundaries(symbols: Array, lengths: Array) -> tuple[Array, Array]:
    """The same sources between a start and an end symbol, so two longer each. Shapes (B, S), (B,)."""
    longer = np.full((symbols.shape[0], symbols.shape[1] + 2), Vocabulary.pad, dtype=symbols.dtype)
    longer[:, 0] = START
    longer[:, 1:-1] = symbols
    longer[np.arange(len(lengths)), lengths + 1] = END
    return longer, lengths + 2
