"""The hard monotonic transducer: each symbol is written from one source position, which moves on and is summed out.

A hidden position a_t walks over the source, mostly forward. Given the decoder's state s_t (a recurrence over the target
alone) and source states h_j,

    p(a_t = j | a_{t-1} = i) = softmax_j(e_tj + r_{j-i} + u_{t,i,j-i}),   e_tj = v · tanh(Ws s_t + Wh h_j),
                                                                      u_tid = v_d · tanh(Ws s_t + Wh h_i)
    p(y_t | a_t = j)         = softmax(E tanh(Oh h_j + Os s_t) + b)

with steps d = j - i clamped to a window and steps back by more than `back` forbidden. The source is enclosed by a start
and an end symbol, which are positions too, and a_0 is the start. The forward algorithm sums over all walks, so training
is exact likelihood, and decoding knows the position's distribution.

With copying, the symbol x_j at a position may be written as it is, also one that no target of training has:

    p(y_t | a_t = j) = (1 - g_tj) softmax(E m_tj + b) + g_tj [y_t = x_j],   m_tj = tanh(Oh h_j + Os s_t),
    g_tj = sigmoid(v_g · m_tj + b_g), and 0 at the boundaries.

Symbols are then V and, for each row, S more: see `triptych.text.copying`.

Source: Wu and Cotterell 2019, arXiv:1905.06319, section 3 (the first-order model), with a learned score per step in
place of a mask alone. Checked by tests/spell/test_monotonic.py against summing over all walks.

Letters in shapes: B batch, S source length, T target length, V vocabulary, E embedding, H hidden, A attention width.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.nn.dropout import Dropout
from triptych.spell.encoder import (
    CELLS,
    EncodedSources,
    Encoder,
    Sizes,
    SourceBatch,
    hide_symbols,
    source_valid,
    with_boundaries,
)
from triptych.spell.recurrence import Stepper, stepper_for
from triptych.text.symbols import Vocabulary

TINY = 1e-20  # keeps a walk alive where probabilities underflow


@dataclass(frozen=True)
class WalkState:
    """State of decoding between symbols, one row per hypothesis.

    Attributes:
        recurrent: the cell's state, each part of shape (layers, B, H).
        source: the encoded sources.
        position: distribution of the position the latest symbol is written from, before the symbol is known. (B, S).
        written: probability of each symbol at each position, at the latest step. Shape (B, S, V). With copying only
            what the vocabulary writes.
        copied: probability that each position copies, at the latest step; None without copying. Shape (B, S).
        stepper: the recurrence for single symbols, in evaluation on a processor.
        transitions: probability of each position after each other one, at the latest step; None after `select`.
            Shape (B, S, S).
    """

    recurrent: tuple[Tensor, ...]
    source: EncodedSources
    position: Tensor | None = None
    written: Tensor | None = None
    copied: Tensor | None = None
    stepper: Stepper | None = None
    transitions: Tensor | None = None

    @property
    def attention(self) -> Tensor | None:
        """Position of the latest symbol; the boundaries' shares go to their neighbours. Shape (B, S - 2)."""
        if self.position is None:
            return None
        last = self.source.row_valid.sum(1, keepdim=True) - 1  # the end symbol's position
        inner = self.position[:, 1:].clone()
        inner[:, 0] += self.position[:, 0]
        inner.scatter_add_(1, last - 2, self.position.gather(1, last))
        return inner.scatter(1, last - 1, 0.0)[:, :-1]

    @property
    def all_written(self) -> Tensor | None:
        """Probability of each symbol at each position, of copied ones too: (B, S, V), or with copying (B, S, V + S)."""
        if self.written is None or self.copied is None:
            return self.written
        ids = self.source.row_copy_ids
        assert ids is not None
        whole = F.pad(self.written, (0, _inner(ids)))
        return whole.scatter_add(2, ids.unsqueeze(2), self.copied.unsqueeze(2))

    def select(self, index: Tensor) -> WalkState:
        """The state whose row i is this one's row `index[i]`."""
        return WalkState(
            recurrent=tuple(part.index_select(1, index) for part in self.recurrent),
            source=self.source.select(index),
            position=None if self.position is None else self.position.index_select(0, index),
            written=None if self.written is None else self.written.index_select(0, index),
            copied=None if self.copied is None else self.copied.index_select(0, index),
            stepper=self.stepper,
        )


class MonotonicDecoder(nn.Module):
    """A recurrence over the target, scores of positions and steps, and symbols written from positions.

    Args:
        vocabulary_size: V of the target.
        sizes: E, H, cell and dropout; dropout also falls on the decoder's states.
        source_hidden: width of the encoder's states.
        attention_width: A.
        window: steps longer than this score as one of this length.
        back: longest step back, >= 0.
        layers: recurrent layers, >= 1.
        copy: let every position write its own symbol.
    """

    def __init__(
        self,
        vocabulary_size: int,
        sizes: Sizes,
        *,
        source_hidden: int,
        attention_width: int,
        window: int = 3,
        back: int = 1,
        layers: int = 1,
        copy: bool = False,
    ) -> None:
        super().__init__()
        embedding, hidden = sizes.embedding, sizes.hidden
        self.embedding = nn.Embedding(vocabulary_size, embedding, padding_idx=Vocabulary.pad)
        self.dropout = Dropout(sizes.dropout)
        self.recurrent = CELLS[sizes.cell](
            embedding,
            hidden,
            num_layers=layers,
            batch_first=True,
            dropout=sizes.layer_dropout if layers > 1 else 0.0,
        )
        self.query = nn.Linear(hidden, attention_width)
        self.key = nn.Linear(source_hidden, attention_width, bias=False)
        self.scores = nn.Linear(attention_width, 1 + 2 * window + 1, bias=False)  # v, and v_d for each step d
        self.step_score = nn.Parameter(_first_step_scores(window))
        self.from_source = nn.Linear(source_hidden, embedding)
        self.from_state = nn.Linear(hidden, embedding)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.gate = nn.Linear(embedding, 1) if copy else None
        self.window = window
        self.back = back

    def view(self, states: Tensor, valid: Tensor, copy_ids: Tensor | None = None) -> EncodedSources:
        """Keys and values of the source, computed once."""
        rows = torch.arange(states.shape[0], device=states.device)
        return EncodedSources(self.from_source(states), self.key(states), valid, rows, copy_ids=copy_ids)

    def known(self, symbols: Tensor) -> Tensor:
        """The symbols with those that only copying writes as the unknown one, to be fed."""
        vocabulary = self.embedding.num_embeddings
        return symbols if self.gate is None else symbols.masked_fill(symbols >= vocabulary, Vocabulary.unknown)

    def states(self, symbols: Tensor, recurrent: tuple[Tensor, ...] | None) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Decoder states (B, T, H) for fed symbols (B, T), and the recurrence after them."""
        embedded = self.dropout(self.embedding(symbols))
        hidden = None if recurrent is None else recurrent if len(recurrent) > 1 else recurrent[0]
        outputs, hidden = self.recurrent(embedded, hidden)
        return self.dropout(outputs), hidden if isinstance(hidden, tuple) else (hidden,)

    def transitions(self, states: Tensor, source: EncodedSources) -> Tensor:
        """p(a_t = j | a_{t-1} = i). Shape (B, T, S, S), i before j; rows sum to one."""
        mixed = torch.tanh(self.query(states).unsqueeze(2) + source.keys.unsqueeze(1))  # (B, T, S, A)
        scores = self.scores(mixed)  # (B, T, S, 1 + steps)
        length = source.keys.shape[1]
        positions = torch.arange(length, device=states.device)
        step = positions.unsqueeze(0) - positions.unsqueeze(1)  # (S, S), j - i
        kind = step.clamp(-self.window, self.window) + self.window
        of_step = scores[..., 1:].gather(-1, kind.expand(*scores.shape[:2], length, length))  # (B, T, i, j)
        total = scores[..., 0].unsqueeze(2) + of_step + self.step_score[kind]
        forbidden = (step < -self.back) | ~source.valid[:, None, None, :]
        # A row of padding may have nowhere to go: the finite value keeps its softmax finite, and its weight is zero.
        return torch.softmax(total.masked_fill(forbidden, -1e9), dim=-1)

    def written(self, states: Tensor, source: EncodedSources) -> tuple[Tensor, Tensor | None]:
        """p(y | a_t = j) for every symbol, by the vocabulary and by copying. Shapes (B, T, S, V), (B, T, S) or None."""
        mixed = torch.tanh(source.states.unsqueeze(1) + self.from_state(states).unsqueeze(2))  # (B, T, S, E)
        if self.training and self.dropout.p > 0:  # one mask for all positions of a step
            mixed = mixed * self.dropout(torch.ones_like(mixed[:, :, :1]))
        written = torch.softmax(F.linear(mixed, self.embedding.weight, self.output_bias), dim=-1)
        if self.gate is None or source.copy_ids is None:
            return written, None
        nothing = (source.copy_ids == Vocabulary.pad).unsqueeze(1)
        scores = self.gate(mixed).squeeze(-1)
        copied = torch.sigmoid(scores).masked_fill(nothing, 0.0)
        rest = torch.sigmoid(-scores).masked_fill(nothing, 1.0)  # 1 - g would round to a few digits where g is near 1
        return written * rest.unsqueeze(-1), copied


class MonotonicTransducer(nn.Module):
    """Encoder and monotonic decoder together; decoded through `triptych.spell.adapter`.

    Args:
        encoder: from source symbols to states.
        decoder: the walk and what it writes.
        source_symbol_dropout: share of source symbols shown as unknown in training, in [0, 1).
        target_symbol_dropout: the same for the symbols fed to the decoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: MonotonicDecoder,
        *,
        source_symbol_dropout: float = 0.0,
        target_symbol_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.source_symbol_dropout = source_symbol_dropout
        self.target_symbol_dropout = target_symbol_dropout
        never = torch.zeros(decoder.embedding.num_embeddings, dtype=torch.bool)
        never[[Vocabulary.pad, Vocabulary.start, Vocabulary.unknown]] = True
        self.register_buffer("never", never, persistent=False)

    @property
    def copies(self) -> bool:
        """Whether batches need `copy_ids`, and symbols are V + S."""
        return self.decoder.gate is not None

    def forward(self, source: SourceBatch, symbols: Tensor) -> Tensor:
        """Teacher forcing: log-probabilities (B, T, V) of the symbols that follow each fed one. Fed symbols (B, T).

        With copying there are V + S of them.

        The recurrence and all scores are computed for all steps at once; only the forward algorithm, a product of a
        vector with an S x S matrix per step, walks through time.
        """
        fed = self.decoder.known(symbols)
        if self.training:
            source = replace(source, symbols=hide_symbols(source.symbols, self.source_symbol_dropout))
            fed = hide_symbols(fed, self.target_symbol_dropout)
        viewed = self._view(source)
        states, _ = self.decoder.states(fed, None)
        transitions = self.decoder.transitions(states, viewed)
        written, copied = self.decoder.written(states, viewed)
        with torch.autocast(symbols.device.type, enabled=False):  # in half precision small probabilities would be zero
            exact = torch.promote_types(written.dtype, torch.float32)
            written, copied = written.to(exact), None if copied is None else copied.to(exact)
            return self._walk(symbols, transitions.to(exact), written, copied, viewed)

    def _walk(
        self, symbols: Tensor, transitions: Tensor, written: Tensor, copied: Tensor | None, source: EncodedSources
    ) -> Tensor:
        """The forward algorithm: log-probabilities (B, T, V) from steps (B, T, S, S) and symbols (B, T, S, V)."""
        ids = None if source.copy_ids is None else source.copy_ids.unsqueeze(1)
        before = None if copied is None else copied[:, :-1]
        likelihood = _likelihood(written[:, :-1], before, ids, symbols[:, 1:])  # (B, T - 1, S), of what did come
        position, positions = transitions[:, 0, 0], []
        for step in range(symbols.shape[1]):
            if step > 0:
                position = _move(position, likelihood[:, step - 1], transitions[:, step], source.valid)
            positions.append(position)
        return torch.log(_mixture(torch.stack(positions, 1), written, copied, ids) + TINY)

    def start(self, batch: SourceBatch) -> WalkState:
        """The state before the first target symbol, one row per source."""
        recurrent = self.decoder.recurrent
        parts = 2 if isinstance(recurrent, nn.LSTM) else 1
        zero = self.decoder.output_bias.new_zeros(recurrent.num_layers, batch.symbols.shape[0], recurrent.hidden_size)
        stepper = stepper_for(recurrent, self.decoder.embedding)
        return WalkState((zero,) * parts, self._view(batch), stepper=stepper)

    def step(self, symbols: Tensor, state: WalkState) -> tuple[Tensor, WalkState]:
        """Feed one symbol per row (B,); get log-probabilities (B, V), -inf for padding, start and unknown."""
        source, ids = state.source, state.source.row_copy_ids
        fed = self.decoder.known(symbols)
        if state.stepper is None:
            outputs, recurrent = self.decoder.states(fed.unsqueeze(1), state.recurrent)
            output = outputs[:, 0]
        else:
            output, recurrent = state.stepper(fed, state.recurrent, None)
        queries = source.spread(output)
        transitions = source.gather(self.decoder.transitions(queries, source))  # (B, S, S)
        of_grid, copied = self.decoder.written(queries, source)
        written = source.gather(of_grid)  # (B, S, V)
        copied = None if copied is None else source.gather(copied)
        if state.position is None or state.written is None:
            position = transitions[:, 0]
        else:
            likelihood = _likelihood(state.written, state.copied, ids, symbols)
            position = _move(state.position, likelihood, transitions, source.row_valid)
        probabilities = _mixture(position.unsqueeze(1), written.unsqueeze(1), *_steps(copied, ids)).squeeze(1)
        never = self.get_buffer("never")
        probabilities[:, : len(never)].masked_fill_(never, 0.0)
        log_probs = torch.log(probabilities / probabilities.sum(-1, keepdim=True))
        return log_probs, WalkState(recurrent, source, position, written, copied, state.stepper, transitions)

    def _view(self, source: SourceBatch) -> EncodedSources:
        bounded = with_boundaries(source)
        states, _ = self.encoder(bounded)
        copy_ids = bounded.copy_ids if self.copies else None
        return self.decoder.view(states, source_valid(bounded, states.device), copy_ids)


def _likelihood(written: Tensor, copied: Tensor | None, ids: Tensor | None, symbols: Tensor) -> Tensor:
    """The probability of one symbol at each position.

    Shapes: written (..., S, V), copied and ids (..., S), symbols (...), result (..., S).
    """
    positions, vocabulary = written.shape[-2:]
    known = symbols if copied is None else symbols.masked_fill(symbols >= vocabulary, Vocabulary.pad)
    seen = known[..., None, None].expand(*symbols.shape, positions, 1)
    likelihood = written.gather(-1, seen).squeeze(-1)
    if copied is None or ids is None:
        return likelihood
    return likelihood * (symbols < vocabulary).unsqueeze(-1) + copied * (ids == symbols.unsqueeze(-1))


def _mixture(positions: Tensor, written: Tensor, copied: Tensor | None, ids: Tensor | None) -> Tensor:
    """The probability of each symbol, over all positions.

    Shapes: positions (B, T, S), written (B, T, S, V), copied (B, T, S), ids (B, 1, S), result (B, T, V), with copying
    V and one for each position inside the boundaries.
    """
    total = (positions.unsqueeze(2) @ written).squeeze(2)
    if copied is None or ids is None:
        return total
    return F.pad(total, (0, _inner(ids))).scatter_add(2, ids.expand_as(copied), positions * copied)


def _steps(copied: Tensor | None, ids: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Copying at one step as at one of several. Shapes (B, S) to (B, 1, S)."""
    return None if copied is None else copied.unsqueeze(1), None if ids is None else ids.unsqueeze(1)


def _inner(ids: Tensor) -> int:
    """Number of positions inside the boundaries."""
    return ids.shape[-1] - 2


def _move(position: Tensor, likelihood: Tensor, transitions: Tensor, valid: Tensor) -> Tensor:
    """The next position's distribution: what the symbol says about the last position, then one step of the walk.

    Only real positions are kept alive, so that a row does not depend on its padding.

    Shapes: position (B, S), likelihood (B, S), transitions (B, S, S), valid (B, S), result (B, S).
    """
    known = (position * likelihood + TINY).masked_fill(~valid, 0.0)
    return ((known / known.sum(-1, keepdim=True)).unsqueeze(1) @ transitions).squeeze(1)


def _first_step_scores(window: int) -> Tensor:
    """One step forward for a symbol is likely, other ones less, steps back hardly. Shape (2 window + 1,).

    So the walk begins near the diagonal, without which 100 pairs are memorised before they are aligned.
    """
    scores = torch.full((2 * window + 1,), -4.0)
    scores[window:] = -2.0
    scores[window : window + 3] = torch.tensor([-1.5, 1.5, 0.0])[: window + 1]
    return scores
