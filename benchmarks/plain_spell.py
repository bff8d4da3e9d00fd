"""The S2 transducer and its training as most tutorials write them: what `triptych` is compared with.

Batches are shuffled pairs of all lengths, padded; the decoder steps through the target symbol by symbol, and each step
attends to the source. Sizes, equations and names of the parameters are those of `p2g-additive`, so weights can be
copied from one to the other and both then give the same loss.

Letters in shapes: B batch, S source length, T target length, V vocabulary, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader

from triptych.text.symbols import Vocabulary

State = tuple[Tensor, Tensor]
EncodedPair = tuple[Tensor, Tensor]
"""Source indices (S,), and target indices (T + 1,) between start and end symbol."""
PlainBatch = tuple[Tensor, Tensor, Tensor, Tensor]
"""Sources (B, S), their lengths (B,), symbols fed (B, T), symbols expected (B, T)."""


def collate(pairs: Sequence[EncodedPair]) -> PlainBatch:
    """Pad whatever pairs the loader drew together."""
    sources = pad_sequence([source for source, _ in pairs], batch_first=True, padding_value=Vocabulary.pad)
    targets = pad_sequence([target for _, target in pairs], batch_first=True, padding_value=Vocabulary.pad)
    lengths = torch.tensor([len(source) for source, _ in pairs])
    return sources, lengths, targets[:, :-1], targets[:, 1:]


def plain_loader(pairs: Sequence[EncodedPair], batch_size: int) -> DataLoader[EncodedPair]:
    """Shuffled batches, not bucketed."""
    return DataLoader(list(pairs), batch_size=batch_size, shuffle=True, collate_fn=collate)  # type: ignore[arg-type]


class PlainEncoder(nn.Module):
    """Bidirectional LSTM over packed sources."""

    def __init__(self, vocabulary_size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, hidden, padding_idx=Vocabulary.pad)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = nn.LSTM(hidden, hidden // 2, batch_first=True, bidirectional=True)

    def forward(self, sources: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        """States (B, S, H), and the final state with both directions joined, each part (1, B, H)."""
        embedded = self.dropout(self.embedding(sources))
        packed = pack_padded_sequence(embedded, lengths, batch_first=True, enforce_sorted=False)
        packed_states, (hidden, cell) = self.recurrent(packed)
        states, _ = pad_packed_sequence(packed_states, batch_first=True)
        joined = [torch.cat((part[0], part[1]), dim=-1).unsqueeze(0) for part in (hidden, cell)]
        return self.dropout(states), (joined[0], joined[1])


class PlainAttention(nn.Module):
    """Additive attention of one step: e_i = v · tanh(Ws s + Wh h_i)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.query = nn.Linear(hidden, hidden, bias=False)
        self.key = nn.Linear(hidden, hidden, bias=False)
        self.energy = nn.Linear(hidden, 1, bias=False)

    def forward(self, query: Tensor, states: Tensor, valid: Tensor) -> Tensor:
        """The context (B, 1, H) for a query (B, 1, H)."""
        scores = self.energy(torch.tanh(self.query(query) + self.key(states))).squeeze(-1)  # (B, S)
        weights = F.softmax(scores.masked_fill(~valid, float("-inf")), dim=-1)
        return torch.bmm(weights.unsqueeze(1), states)


class PlainDecoder(nn.Module):
    """LSTM with attention on its output, one symbol at a time; the output layer's weight is the embedding's."""

    def __init__(self, vocabulary_size: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary_size, hidden, padding_idx=Vocabulary.pad)
        self.dropout = nn.Dropout(dropout)
        self.recurrent = nn.LSTM(hidden, hidden, batch_first=True)
        self.attention = PlainAttention(hidden)
        self.combine = nn.Linear(2 * hidden, hidden, bias=False)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))

    def step(self, symbols: Tensor, state: State, states: Tensor, valid: Tensor) -> tuple[Tensor, State]:
        """Feed one symbol per row (B, 1); get logits (B, 1, V) and the state after."""
        embedded = self.dropout(self.embedding(symbols))
        output, state = self.recurrent(embedded, state)
        context = self.attention(output, states, valid)
        output = torch.tanh(self.combine(torch.cat((context, output), dim=-1)))
        return F.linear(self.dropout(output), self.embedding.weight, self.output_bias), state


class PlainTransducer(nn.Module):
    """Encoder and decoder together, for teacher forcing."""

    def __init__(self, source_size: int, target_size: int, *, hidden: int = 128, dropout: float = 0.3) -> None:
        super().__init__()
        self.encoder = PlainEncoder(source_size, hidden, dropout)
        self.decoder = PlainDecoder(target_size, hidden, dropout)

    def forward(self, sources: Tensor, lengths: Tensor, fed: Tensor) -> Tensor:
        """Logits (B, T, V) for the symbols that follow each fed one."""
        states, state = self.encoder(sources, lengths)
        valid = sources != Vocabulary.pad
        logits = []
        for position in range(fed.shape[1]):
            step_logits, state = self.decoder.step(fed[:, position : position + 1], state, states, valid)
            logits.append(step_logits)
        return torch.cat(logits, dim=1)


def plain_loss(model: PlainTransducer, batch: PlainBatch) -> Tensor:
    """Mean cross-entropy per target symbol, the end symbol included."""
    sources, lengths, fed, expected = batch
    logits = model(sources, lengths, fed)
    return F.cross_entropy(logits.transpose(1, 2), expected, ignore_index=Vocabulary.pad)


def train_plain_epoch(
    model: PlainTransducer, batches: DataLoader[EncodedPair], optimizer: torch.optim.Optimizer
) -> float:
    """Go through the pairs once; returns the mean of the batches' losses."""
    model.train()
    total = 0.0
    for batch in batches:
        optimizer.zero_grad()
        loss = plain_loss(model, batch)
        torch.autograd.backward(loss)
        optimizer.step()
        total += loss.item()
    return total / len(batches)
