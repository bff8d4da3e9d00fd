"""A word list as a compact trie of allowed targets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Self

import numpy as np

from triptych.decoding.contract import Array
from triptych.errors import DataError


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Words over symbol indices, as a trie of N nodes that steps many rows at once.

    Nodes are numbered level by level, and in a level by parent, then symbol. So the children of a node are neighbours,
    and the sorted list of edges is the whole trie: edge i leads to node i + 1. Node 0 is the root; one number more,
    `outside`, is every prefix that no word has.

    Attributes:
        edges: parent * width + symbol, ascending. Shape (N - 1,), int64.
        first_edge: edges of node n are first_edge[n] to first_edge[n + 1] - 1; `outside` has none. Shape (N + 2,).
        is_word: whether a word ends at a node. Shape (N + 1,), bool.
        width: one more than the largest symbol.
    """

    edges: Array
    first_edge: Array
    is_word: Array
    width: int

    @classmethod
    def from_words(cls, words: Iterable[Sequence[int]]) -> Self:
        """Build the trie; words may come in any order, and repeat.

        Args:
            words: symbol indices >= 0 without start and end symbols. Drop words with symbols that the model cannot
                produce: their beginnings would lead nowhere.
        Raises:
            DataError: an index is negative.
        """
        words = list(words)
        lengths = np.fromiter(map(len, words), np.int64, count=len(words))
        symbols = np.fromiter(chain.from_iterable(words), np.int64, count=int(lengths.sum()))
        if symbols.size and symbols.min() < 0:
            number = int(np.searchsorted(lengths.cumsum(), symbols.argmin(), side="right"))
            raise DataError(
                field=f"a symbol of word {number + 1} of the lexicon",
                value=int(symbols.min()),
                expected="an index >= 0",
                hint="Drop words with symbols that the vocabulary does not have.",
            )
        width = int(symbols.max(initial=-1)) + 1
        edges, word_nodes = _number_nodes(symbols, lengths, width)
        is_word = np.zeros(len(edges) + 2, dtype=bool)
        is_word[word_nodes] = True
        first_edge = np.searchsorted(edges // max(width, 1), np.arange(len(edges) + 3))
        return cls(edges, first_edge, is_word, width)

    @property
    def outside(self) -> int:
        """The node of everything that no word begins with."""
        return len(self.edges) + 1

    def __len__(self) -> int:
        """Number of different words."""
        return int(self.is_word.sum())

    def __contains__(self, word: Sequence[int]) -> bool:
        nodes = self.walk(np.array([list(word)], dtype=np.int64), np.array([len(word)]))
        return bool(self.is_word[nodes[0]])

    def child(self, nodes: Array, symbols: Array) -> Array:
        """The nodes that symbols lead to from nodes, `outside` where there is none. All shapes (B,)."""
        if not len(self.edges):
            return np.full_like(nodes, self.outside)
        wanted = nodes * self.width + symbols
        edge = np.minimum(np.searchsorted(self.edges, wanted), len(self.edges) - 1)
        found = (self.edges[edge] == wanted) & (symbols < self.width)
        return np.where(found, edge + 1, self.outside)

    def walk(self, symbols: Array, lengths: Array) -> Array:
        """The nodes that the first lengths[i] symbols of each row lead to. Shapes (B, T), (B,) -> (B,)."""
        nodes = np.zeros_like(lengths)
        for position in range(symbols.shape[1]):
            nodes = np.where(position < lengths, self.child(nodes, symbols[:, position]), nodes)
        return nodes

    def continuations(self, nodes: Array, vocabulary: int) -> Array:
        """Symbols with a child inside the trie, by node. Shape (B,) -> (B, vocabulary), bool.

        `vocabulary` must be at least `width`.
        """
        first = self.first_edge[nodes]
        counts = self.first_edge[nodes + 1] - first
        row = np.repeat(np.arange(len(nodes)), counts)
        place = np.arange(len(row)) - (counts.cumsum() - counts)[row]
        result = np.zeros((len(nodes), vocabulary), dtype=bool)
        result[row, self.edges[first[row] + place] % max(self.width, 1)] = True
        return result


def _number_nodes(symbols: Array, lengths: Array, width: int) -> tuple[Array, Array]:
    """The sorted edges, and the node each word ends at; one pass per level over the words that reach it."""
    starts = lengths.cumsum() - lengths
    nodes = np.zeros(len(lengths), dtype=np.int64)
    levels = [np.zeros(0, dtype=np.int64)]
    next_node = 1
    for depth in range(int(lengths.max(initial=0))):
        reaching = np.flatnonzero(lengths > depth)
        edges, which = np.unique(nodes[reaching] * width + symbols[starts[reaching] + depth], return_inverse=True)
        nodes[reaching] = next_node + which
        levels.append(edges)
        next_node += len(edges)
    return np.concatenate(levels), nodes
