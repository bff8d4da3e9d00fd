"""Word lists: a compact trie of allowed targets, and fixed targets for known sources."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, Self, TypeVar

import numpy as np
import torch
from torch import Tensor

from triptych.errors import DataError

SymbolT = TypeVar("SymbolT", bound=Hashable)


@dataclass(frozen=True, eq=False)
class Lexicon:
    """Words over symbol indices, as a trie of N nodes that steps many rows at once.

    Nodes are numbered level by level, and in a level by parent, then symbol. So the children of a node are neighbours,
    and the sorted list of edges is the whole trie: edge i leads to node i + 1. Node 0 is the root; one number more,
    `outside`, stands for everything that is no beginning of a word.

    Attributes:
        edges: parent * width + symbol, ascending. Shape (N - 1,), int64.
        first_edge: edges of node n are first_edge[n] to first_edge[n + 1] - 1; `outside` has none. Shape (N + 2,).
        is_word: whether a word ends at a node. Shape (N + 1,), bool.
        width: one more than the largest symbol.
    """

    edges: Tensor
    first_edge: Tensor
    is_word: Tensor
    width: int

    @classmethod
    def from_words(cls, words: Iterable[Sequence[int]]) -> Self:
        """Build the trie; words may come in any order, and repeat.

        Args:
            words: symbol indices >= 0 without start and end symbols. Leave out words with symbols that the model cannot
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
                f"word {number + 1} of the lexicon has the symbol {symbols.min()}; expected indices >= 0. "
                "Leave out words with symbols that the vocabulary does not have."
            )
        width = int(symbols.max(initial=-1)) + 1
        edges, word_nodes = _number_nodes(symbols, lengths, width)
        is_word = np.zeros(len(edges) + 2, dtype=bool)
        is_word[word_nodes] = True
        first_edge = np.searchsorted(edges // max(width, 1), np.arange(len(edges) + 3))
        return cls(torch.from_numpy(edges), torch.from_numpy(first_edge), torch.from_numpy(is_word), width)

    @property
    def outside(self) -> int:
        """The node of everything that no word begins with."""
        return len(self.edges) + 1

    def __len__(self) -> int:
        """Number of different words."""
        return int(self.is_word.sum())

    def __contains__(self, word: Sequence[int]) -> bool:
        nodes = self.walk(
            torch.tensor([list(word)], dtype=torch.long, device=self.edges.device),
            torch.tensor([len(word)], device=self.edges.device),
        )
        return bool(self.is_word[nodes[0]])

    def to(self, device: torch.device | str) -> Lexicon:
        """The same lexicon with its tensors on a device."""
        return Lexicon(self.edges.to(device), self.first_edge.to(device), self.is_word.to(device), self.width)

    def child(self, nodes: Tensor, symbols: Tensor) -> Tensor:
        """The nodes that symbols lead to from nodes, `outside` where there is none. All shapes (B,)."""
        if not len(self.edges):
            return torch.full_like(nodes, self.outside)
        wanted = nodes * self.width + symbols
        edge = torch.searchsorted(self.edges, wanted).clamp_max(len(self.edges) - 1)
        found = (self.edges[edge] == wanted) & (symbols < self.width)
        return torch.where(found, edge + 1, self.outside)

    def walk(self, symbols: Tensor, lengths: Tensor) -> Tensor:
        """The nodes that the first lengths[i] symbols of each row lead to. Shapes (B, T), (B,) -> (B,)."""
        nodes = torch.zeros_like(lengths)
        for position in range(symbols.shape[1]):
            nodes = torch.where(position < lengths, self.child(nodes, symbols[:, position]), nodes)
        return nodes

    def continuations(self, nodes: Tensor, vocabulary: int) -> Tensor:
        """Which symbols lead from a node to another inside the trie. Shape (B,) -> (B, vocabulary), bool.

        `vocabulary` must be at least `width`.
        """
        first = self.first_edge[nodes]
        counts = self.first_edge[nodes + 1] - first
        row = torch.arange(len(nodes), device=nodes.device).repeat_interleave(counts)
        place = torch.arange(len(row), device=nodes.device) - (counts.cumsum(0) - counts)[row]
        result = torch.zeros(len(nodes), vocabulary, dtype=torch.bool, device=nodes.device)
        result[row, self.edges[first[row] + place] % max(self.width, 1)] = True
        return result


IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


def _number_nodes(symbols: IntArray, lengths: IntArray, width: int) -> tuple[IntArray, IntArray]:
    """Edges of the trie, and the node at which each word ends; one pass per level over the words that reach it."""
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


class ExactLexicon(Generic[SymbolT]):
    """Fixed targets for known sources, to be asked before the model: a user's own spellings come first.

    Symbols are whatever the caller's are, text as a rule, so that targets may have symbols the model has never seen.

    Args:
        targets: one or more targets for each source, the preferred one first; repeated targets count once.
    Raises:
        DataError: a source without targets, or one string where a list of targets belongs.
    """

    def __init__(self, targets: Mapping[tuple[SymbolT, ...], Sequence[Sequence[SymbolT]]]) -> None:
        self._targets: dict[tuple[SymbolT, ...], tuple[tuple[SymbolT, ...], ...]] = {}
        for source, listed in targets.items():
            if isinstance(listed, str) or not listed:
                raise DataError(
                    f"targets of {source!r} in the lexicon are {listed!r}; expected a list of one or more targets. "
                    "Write a single target as a list of one."
                )
            self._targets[tuple(source)] = tuple(dict.fromkeys(tuple(target) for target in listed))

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[Sequence[SymbolT], Sequence[SymbolT]]]) -> Self:
        """The lexicon of (source, target) pairs, in which a source may come several times."""
        targets: dict[tuple[SymbolT, ...], list[Sequence[SymbolT]]] = {}
        for source, target in pairs:
            targets.setdefault(tuple(source), []).append(target)
        return cls(targets)

    def lookup(self, source: Sequence[SymbolT]) -> tuple[tuple[SymbolT, ...], ...]:
        """The targets of a source, the preferred one first; empty where it is not in the lexicon."""
        return self._targets.get(tuple(source), ())

    def __contains__(self, source: Sequence[SymbolT]) -> bool:
        return tuple(source) in self._targets

    def __len__(self) -> int:
        """Number of sources."""
        return len(self._targets)
