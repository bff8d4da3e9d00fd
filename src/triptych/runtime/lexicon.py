"""A model held to a word list, in NumPy; what it does and why is told in `triptych.spell.decoding.constrained`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from triptych.errors import RecipeError
from triptych.runtime.network import END, Array, StepModel

OUTSIDE = -1


class Lexicon:
    """Words over symbol indices, as a trie. Node 0 is the root; `OUTSIDE` is no beginning of a word.

    Args:
        words: symbol indices without start and end symbols; they may repeat.
    """

    def __init__(self, words: Iterable[Sequence[int]]) -> None:
        self._children: list[dict[int, int]] = [{}]
        self._is_word = [False]
        for word in words:
            node = 0
            for symbol in word:
                after = self._children[node].get(symbol)
                if after is None:
                    after = self._children[node][symbol] = len(self._children)
                    self._children.append({})
                    self._is_word.append(False)
                node = after
            self._is_word[node] = True

    def __len__(self) -> int:
        """Number of different words."""
        return sum(self._is_word)

    def child(self, node: int, symbol: int) -> int:
        """The node that a symbol leads to."""
        return OUTSIDE if node == OUTSIDE else self._children[node].get(symbol, OUTSIDE)

    def is_word(self, node: int) -> bool:
        """Whether a word ends at a node."""
        return node != OUTSIDE and self._is_word[node]

    def continuations(self, node: int) -> list[int]:
        """The symbols that lead from a node to another inside the trie, and the end symbol where a word ends."""
        if node == OUTSIDE:
            return []
        return [*self._children[node], END] if self._is_word[node] else list(self._children[node])


@dataclass(frozen=True)
class ConstrainedState:
    """The model's state and the lexicon node that each row has reached.

    Attributes:
        inner: the model's own state.
        nodes: nodes before the next symbol is fed. Shape (B,).
        begun: whether the start symbol has been fed; it is no part of a word.
    """

    inner: Any
    nodes: Array
    begun: bool = False

    @property
    def attention(self) -> Array | None:
        """The model's own."""
        attention: Array | None = self.inner.attention
        return attention

    def select(self, index: Array) -> Self:
        """The rows at `index`."""
        return type(self)(self.inner.select(index), self.nodes[index], self.begun)


class Constrained:
    """A model whose targets come from a lexicon, always, or at a cost of `weight` nats otherwise.

    Args:
        model: the model to hold.
        lexicon: its targets.
        weight: nats >= 0 for leaving the lexicon; None forbids it.
    Raises:
        RecipeError: an empty lexicon, or a weight out of range.
    """

    def __init__(self, model: StepModel, lexicon: Lexicon, weight: float | None = None) -> None:
        if weight is not None and not 0 <= weight < math.inf:
            raise RecipeError(
                f"lexicon weight is {weight}; expected a number of nats >= 0. Use None to allow no other."
            )
        if not len(lexicon):
            raise RecipeError("the lexicon has 0 words; expected 1 or more. Pass words, or decode without a lexicon.")
        self.model = model
        self.lexicon = lexicon
        self.weight = math.inf if weight is None else weight

    def start(self, symbols: Array, lengths: Array) -> ConstrainedState:
        """The model's state with every row at the root."""
        return ConstrainedState(self.model.start(symbols, lengths), np.zeros(len(lengths), dtype=np.int64))

    def step(self, symbols: Array, state: ConstrainedState) -> tuple[Array, ConstrainedState]:
        """The model's step with what the lexicon takes off. Shapes (B,) -> (B, V), not normalised."""
        log_probs, inner = self.model.step(symbols, state.inner)
        nodes = state.nodes
        if state.begun:
            moves = zip(nodes.tolist(), symbols.tolist(), strict=True)
            nodes = np.array([self.lexicon.child(node, symbol) for node, symbol in moves], dtype=np.int64)
        leaves = np.ones(log_probs.shape, dtype=bool)
        for row, node in enumerate(nodes.tolist()):
            leaves[row, self.lexicon.continuations(node)] = False
        leaves[nodes == OUTSIDE] = False  # left already, and paid for
        # Not `weight * leaves`: an infinite weight times no departure would be nan.
        log_probs = np.where(leaves, log_probs - np.float32(self.weight), log_probs)
        return log_probs, ConstrainedState(inner, nodes, begun=True)

    def penalty(self, symbols: tuple[int, ...], finished: bool) -> float:
        """Nats taken off a hypothesis in all."""
        node = 0
        for symbol in symbols:
            node = self.lexicon.child(node, symbol)
        left = node == OUTSIDE or (finished and not self.lexicon.is_word(node))
        inner = self.model.penalty(symbols, finished) if isinstance(self.model, Constrained) else 0.0
        return inner + (self.weight if left else 0.0)
