"""A model held to a lexicon: another step model, so every decoder works with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, Self

import numpy as np

from triptych.decoding.contract import END, Array, Penalised, Sources, StateT, StepModel, copies
from triptych.decoding.trie import Lexicon
from triptych.errors import RecipeError, ShapeError


@dataclass(frozen=True)
class ConstrainedState(Generic[StateT]):
    """The model's state and the lexicon node that each row has reached.

    Attributes:
        inner: the model's own state.
        nodes: nodes before the next symbol is fed. Shape (B,), int64.
        begun: whether the start symbol has been fed; it belongs to no word.
    """

    inner: StateT
    nodes: Array
    begun: bool = False

    @property
    def attention(self) -> Array | None:
        """The model's own."""
        return self.inner.attention

    def select(self, index: Array) -> Self:
        """The rows at `index`."""
        return type(self)(self.inner.select(index), self.nodes[index], self.begun)


class Constrained(Generic[StateT]):
    """A step model whose targets come from a lexicon, always or by preference.

    Without a weight, a symbol that continues no word, and the end symbol where no word ends, get -inf; only words are
        finished. A hypothesis cut by the length limit is the beginning of a word, and says `finished=False`.
    With a weight, the step that leaves the lexicon (by such a symbol, or by such an end) costs that many nats, once. A
        spelling outside the lexicon wins where the model prefers it by more than that.

    All other log-probabilities stay the model's own: rows are *not* renormalised, and sum to less than one. Decoders do
    not rely on normalised rows, and sampling normalises what it draws from. `Hypothesis.log_probability` is the bare
    model's in both cases; `Hypothesis.score` includes the weight.

    Args:
        model: the step model to wrap.
        lexicon: its targets.
        weight: nats >= 0 for leaving the lexicon; None forbids it.
    Raises:
        RecipeError: a weight out of range; an empty lexicon, or one that uses the end symbol.
    """

    def __init__(self, model: StepModel[StateT], lexicon: Lexicon, weight: float | None = None) -> None:
        if weight is not None and not 0 <= weight < math.inf:
            raise RecipeError(
                field="lexicon weight",
                value=weight,
                expected="a number of nats >= 0",
                hint="Use None to allow nothing else.",
            )
        if not len(lexicon):
            raise RecipeError(
                "the lexicon has 0 words; expected 1 or more.", hint="Pass words, or decode without a lexicon."
            )
        if (lexicon.edges % max(lexicon.width, 1) == END).any():
            raise RecipeError(
                f"the lexicon uses symbol {END}, which ends a target; expected words without it.",
                hint="Pass words without start and end symbols.",
            )
        self.model = model
        self.copies = copies(model)  # symbols that only copying writes are in no word
        self.lexicon = lexicon
        self.weight = math.inf if weight is None else weight

    def start(self, sources: Sources) -> ConstrainedState[StateT]:
        """The model's state with every row at the root."""
        return ConstrainedState(self.model.start(sources), np.zeros(len(sources), dtype=np.int64))

    def step(self, symbols: Array, state: ConstrainedState[StateT]) -> tuple[Array, ConstrainedState[StateT]]:
        """The model's step with what the lexicon takes off. Shapes (B,) -> (B, V), not normalised.

        Raises:
            ShapeError: the lexicon has a symbol beyond the model's vocabulary.
        """
        log_probs, inner = self.model.step(symbols, state.inner)
        lexicon, vocabulary = self.lexicon, log_probs.shape[1]
        if lexicon.width > vocabulary:
            raise ShapeError(
                field="the lexicon's largest symbol",
                value=lexicon.width - 1,
                expected=f"a symbol below the vocabulary's size {vocabulary}",
                hint="Build the lexicon with the model's own target vocabulary.",
            )
        nodes = lexicon.child(state.nodes, symbols) if state.begun else state.nodes
        leaves = ~lexicon.continuations(nodes, vocabulary)
        leaves[:, END] = ~lexicon.is_word[nodes]
        leaves &= (nodes != lexicon.outside)[:, None]  # outside, the weight has been paid
        # Not `weight * leaves`: an infinite weight times no departure would be nan.
        log_probs = np.where(leaves, log_probs - log_probs.dtype.type(self.weight), log_probs)
        return log_probs, ConstrainedState(inner, nodes, begun=True)

    def penalty(self, symbols: Array, lengths: Array, finished: Array) -> Array:
        """Nats taken off each hypothesis. Shapes: symbols (H, T) padded, lengths and finished (H,) -> (H,)."""
        nodes = self.lexicon.walk(symbols, lengths)
        left = (nodes == self.lexicon.outside) | (finished & ~self.lexicon.is_word[nodes])
        own = np.where(left, np.float32(self.weight), np.float32(0))
        inner = self.model.penalty(symbols, lengths, finished) if isinstance(self.model, Penalised) else np.float32(0)
        return np.asarray(own + inner)
