"""The hard monotonic transducer: each symbol is written from one source position, which moves on and is summed out.

A hidden position a_t walks over the source, mostly forward. Given the decoder's state s_t (a recurrence over the target
alone) and source states h_j,

    p(a_t = j | a_{t-1} = i) = softmax_j(e_tj + r_{j-i} + u_{t,i,j-i}),   e_tj = v · tanh(Ws s_t + Wh h_j),
                                                                      u_tid = v_d · tanh(Ws s_t + Wh h_i)
    p(y_t | a_t = j)         = softmax(E tanh(Oh h_j + Os s_t) + b)

with steps d = j - i clamped to a window and steps back by more than `back` forbidden. The source is enclosed by a start
and an end symbol, which are positions too, and a_0 is the start. The forward algorithm sums over all walks, so training
is exact likelihood, and decoding knows the position's distribution.

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
        written: probability of each symbol at each position, at the latest step. Shape (B, S, V).
        stepper: the recurrence for single symbols, in evaluation on a processor.
        transitions: probability of each position after each other one, at the latest step; None after `select`.
            Shape (B, S, S).
    """

    recurrent: tuple[Tensor, ...]
    source: EncodedSources
    position: Tensor | None = None
    written: Tensor | None = None
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

    def select(self, index: Tensor) -> WalkState:
        """The state whose row i is this one's row `index[i]`."""
        return WalkState(
            recurrent=tuple(part.index_select(1, index) for part in self.recurrent),
            source=self.source.select(index),
            position=None if self.position is None else self.position.index_select(0, index),
            written=None if self.written is None else self.written.index_select(0, index),
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
        self.window = window
        self.back = back

    def view(self, states: Tensor, valid: Tensor) -> EncodedSources:
        """Keys and values of the source, computed once."""
        rows = torch.arange(states.shape[0], device=states.device)
        return EncodedSources(self.from_source(states), self.key(states), valid, rows)

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

    def written(self, states: Tensor, source: EncodedSources) -> Tensor:
        """p(y | a_t = j) for every symbol. Shape (B, T, S, V)."""
        mixed = torch.tanh(source.states.unsqueeze(1) + self.from_state(states).unsqueeze(2))  # (B, T, S, E)
        if self.training and self.dropout.p > 0:  # one mask for all positions of a step
            mixed = mixed * self.dropout(torch.ones_like(mixed[:, :, :1]))
        return torch.softmax(F.linear(mixed, self.embedding.weight, self.output_bias), dim=-1)


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

    def forward(self, source: SourceBatch, symbols: Tensor) -> Tensor:
        """Teacher forcing: log-probabilities (B, T, V) of the symbols that follow each fed one. Fed symbols (B, T).

        The recurrence and all scores are computed for all steps at once; only the forward algorithm, a product of a
        vector with an S x S matrix per step, walks through time.
        """
        fed = symbols
        if self.training:
            source = replace(source, symbols=hide_symbols(source.symbols, self.source_symbol_dropout))
            fed = hide_symbols(symbols, self.target_symbol_dropout)
        viewed = self._view(source)
        states, _ = self.decoder.states(fed, None)
        transitions = self.decoder.transitions(states, viewed)
        written = self.decoder.written(states, viewed)
        with torch.autocast(symbols.device.type, enabled=False):  # in half precision small probabilities would be zero
            exact = torch.promote_types(written.dtype, torch.float32)
            return self._walk(symbols, transitions.to(exact), written.to(exact), viewed.valid)

    def _walk(self, symbols: Tensor, transitions: Tensor, written: Tensor, valid: Tensor) -> Tensor:
        """The forward algorithm: log-probabilities (B, T, V) from steps (B, T, S, S) and symbols (B, T, S, V)."""
        seen = symbols[:, 1:, None, None].expand(-1, -1, written.shape[2], 1)
        likelihood = written[:, :-1].gather(-1, seen).squeeze(-1)  # (B, T - 1, S), of the symbol that did come
        position, positions = transitions[:, 0, 0], []
        for step in range(symbols.shape[1]):
            if step > 0:
                position = _move(position, likelihood[:, step - 1], transitions[:, step], valid)
            positions.append(position)
        return torch.log((torch.stack(positions, 1).unsqueeze(2) @ written).squeeze(2) + TINY)

    def start(self, batch: SourceBatch) -> WalkState:
        """The state before the first target symbol, one row per source."""
        recurrent = self.decoder.recurrent
        parts = 2 if isinstance(recurrent, nn.LSTM) else 1
        zero = self.decoder.output_bias.new_zeros(recurrent.num_layers, batch.symbols.shape[0], recurrent.hidden_size)
        stepper = stepper_for(recurrent, self.decoder.embedding)
        return WalkState((zero,) * parts, self._view(batch), stepper=stepper)

    def step(self, symbols: Tensor, state: WalkState) -> tuple[Tensor, WalkState]:
        """Feed one symbol per row (B,); get log-probabilities (B, V), -inf for padding, start and unknown."""
        source = state.source
        if state.stepper is None:
            outputs, recurrent = self.decoder.states(symbols.unsqueeze(1), state.recurrent)
            output = outputs[:, 0]
        else:
            output, recurrent = state.stepper(symbols, state.recurrent, None)
        queries = source.spread(output)
        transitions = source.gather(self.decoder.transitions(queries, source))  # (B, S, S)
        written = source.gather(self.decoder.written(queries, source))  # (B, S, V)
        if state.position is None or state.written is None:
            position = transitions[:, 0]
        else:
            seen = symbols[:, None, None].expand(-1, state.written.shape[1], 1)
            likelihood = state.written.gather(-1, seen).squeeze(-1)
            position = _move(state.position, likelihood, transitions, source.row_valid)
        probabilities = (position.unsqueeze(1) @ written).squeeze(1).masked_fill(self.get_buffer("never"), 0.0)
        log_probs = torch.log(probabilities / probabilities.sum(-1, keepdim=True))
        return log_probs, WalkState(recurrent, source, position, written, state.stepper, transitions)

    def _view(self, source: SourceBatch) -> EncodedSources:
        bounded = with_boundaries(source)
        states, _ = self.encoder(bounded)
        return self.decoder.view(states, source_valid(bounded, states.device))


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
