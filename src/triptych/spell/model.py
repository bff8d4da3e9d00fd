"""The recurrent transducer: a bidirectional encoder, an autoregressive decoder, and attention between them.

Attention modifies the decoder's output and does not feed back into its recurrence, so teacher forcing runs the decoder
over all target steps in one call. With `input_feeding` it does feed back, and time is stepped through.

Letters in shapes: B batch, S source length, T target length, V vocabulary, E embedding, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.errors import ShapeError
from triptych.nn.dropout import Dropout
from triptych.spell.attention import Attention, read_source
from triptych.spell.encoder import CELLS, EncodedSources, Encoder, Sizes, SourceBatch, hide_symbols, source_valid
from triptych.spell.recurrence import Stepper, stepper_for
from triptych.text.symbols import Vocabulary


@dataclass(frozen=True)
class DecoderState:
    """State of the decoder between symbols, one row per hypothesis.

    Attributes:
        recurrent: the cell's state: (h, c) of an LSTM, (h,) of a GRU. Each of shape (layers, B, H).
        memory: the encoded sources.
        fed: the attended output of the step before, with input feeding. Shape (B, H).
        attention: weights of the latest step; None after `select`. Shape (B, S).
        stepper: the recurrence for single symbols, in evaluation on a processor.
    """

    recurrent: tuple[Tensor, ...]
    memory: EncodedSources
    fed: Tensor | None = None
    attention: Tensor | None = None
    stepper: Stepper | None = None

    def select(self, index: Tensor) -> DecoderState:
        """The state whose row i is this one's row `index[i]`. Index shape (rows,)."""
        return DecoderState(
            recurrent=tuple(part.index_select(1, index) for part in self.recurrent),
            memory=self.memory.select(index),
            fed=None if self.fed is None else self.fed.index_select(0, index),
            stepper=self.stepper,
        )


class Decoder(nn.Module):
    """Autoregressive recurrent decoder with attention on its outputs.

    With attention, the output at step t is tanh(Wo [c_t; s_t]); without, it is s_t. Logits are E o + b with E the
    embedding when `tie_output`, else a matrix of their own.

    Args:
        vocabulary_size: V of the target.
        sizes: widths, cell and dropout; E equal to H when the output is tied.
        attention: a built attention, or None.
        layers: recurrent layers, >= 1.
        tie_output: use the embedding as the output layer's weight.
        input_feeding: join the output of the step before to the embedding (Luong et al. 2015, section 3.3).
    """

    def __init__(
        self,
        vocabulary_size: int,
        sizes: Sizes,
        *,
        attention: Attention | None,
        layers: int = 1,
        tie_output: bool = True,
        input_feeding: bool = False,
    ) -> None:
        super().__init__()
        embedding, hidden = sizes.embedding, sizes.hidden
        if tie_output and embedding != hidden:
            raise ShapeError(
                field="embedding",
                value=embedding,
                expected=f"hidden, {hidden}, when tie_output is true",
                hint="Make them equal or set tie_output to false.",
            )
        self.embedding = nn.Embedding(vocabulary_size, embedding, padding_idx=Vocabulary.pad)
        self.dropout = Dropout(sizes.dropout)
        self.recurrent = CELLS[sizes.cell](
            embedding + (hidden if input_feeding else 0),
            hidden,
            num_layers=layers,
            batch_first=True,
            dropout=sizes.layer_dropout if layers > 1 else 0.0,
        )
        self.attention = attention
        self.combine = None if attention is None else nn.Linear(2 * hidden, hidden, bias=False)
        self.output_weight = None if tie_output else nn.Linear(hidden, vocabulary_size, bias=False).weight
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.input_feeding = input_feeding
        self.layers = layers

    def begin(self, states: Tensor, valid: Tensor, final: tuple[Tensor, ...]) -> DecoderState:
        """The state before the first symbol. Shapes: states (B, S, H), valid (B, S), final parts (layers, B, H).

        Decoder layer i starts from the final state of encoder layer i; where the decoder is deeper, from the last.
        """
        depth = [min(i, final[0].shape[0] - 1) for i in range(self.layers)]
        keys = states.new_empty(states.shape[0], 0) if self.attention is None else self.attention.keys(states)
        source = torch.arange(states.shape[0], device=states.device)
        recurrent = tuple(part[depth].contiguous() for part in final)
        fed = states.new_zeros(states.shape[0], states.shape[2]) if self.input_feeding else None
        stepper = stepper_for(self.recurrent, self.embedding)
        return DecoderState(recurrent, EncodedSources(states, keys, valid, source), fed, stepper=stepper)

    def forward(self, symbols: Tensor, state: DecoderState) -> tuple[Tensor, Tensor | None, DecoderState]:
        """Feed symbols (B, T); get logits (B, T, V), attention weights (B, T, S) or None, and the state after."""
        if not self.input_feeding:
            return self._all_steps(symbols, state)
        logits, weights = [], []
        for step in range(symbols.shape[1]):
            step_logits, step_weights, state = self._all_steps(symbols[:, step : step + 1], state)
            logits.append(step_logits)
            weights.append(step_weights)
        return torch.cat(logits, 1), torch.cat([w for w in weights if w is not None], 1), state

    def _all_steps(self, symbols: Tensor, state: DecoderState) -> tuple[Tensor, Tensor | None, DecoderState]:
        outputs, recurrent = self._recur(symbols, state)  # (B, T, H)
        weights = None
        if self.attention is not None and self.combine is not None:
            context, weights = self._read(self.attention, outputs, state.memory)
            outputs = torch.tanh(self.combine(torch.cat((context, outputs), dim=-1)))
        outputs = self.dropout(outputs)
        weight = self.embedding.weight if self.output_weight is None else self.output_weight
        logits = F.linear(outputs, weight, self.output_bias)
        after = replace(
            state,
            recurrent=recurrent,
            fed=None if state.fed is None else outputs[:, -1],
            attention=None if weights is None else weights[:, -1],
        )
        return logits, weights, after

    def _recur(self, symbols: Tensor, state: DecoderState) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Outputs of the recurrence (B, T, H), and its state after."""
        if state.stepper is not None and symbols.shape[1] == 1:
            output, recurrent = state.stepper(symbols[:, 0], state.recurrent, state.fed)
            return output.unsqueeze(1), recurrent
        inputs = self.dropout(self.embedding(symbols))  # (B, T, E)
        if state.fed is not None:
            inputs = torch.cat((inputs, state.fed.unsqueeze(1)), dim=-1)
        outputs, hidden = self.recurrent(inputs, state.recurrent if len(state.recurrent) > 1 else state.recurrent[0])
        return outputs, hidden if isinstance(hidden, tuple) else (hidden,)

    def _read(self, attention: Attention, outputs: Tensor, memory: EncodedSources) -> tuple[Tensor, Tensor]:
        """Contexts of outputs (B, T, H), and the weights (B, T, S)."""
        if memory.places is None:
            return read_source(attention, outputs, memory.keys, memory.states, memory.valid)
        queries = memory.spread(outputs[:, 0])
        context, weights = read_source(attention, queries, memory.keys, memory.states, memory.valid)
        return memory.gather(context).unsqueeze(1), memory.gather(weights).unsqueeze(1)


class Transducer(nn.Module):
    """Encoder and decoder together; decoded through `triptych.spell.adapter`.

    Args:
        encoder: from source symbols to states of width H.
        decoder: from states and target symbols to logits over the target vocabulary.
        source_symbol_dropout: share of source symbols shown as unknown in training, in [0, 1).
        target_symbol_dropout: the same for the symbols fed to the decoder.
    """

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
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
        """Teacher forcing: logits (B, T, V) for the symbols that follow each fed one. Fed symbols (B, T)."""
        if self.training:
            source = replace(source, symbols=hide_symbols(source.symbols, self.source_symbol_dropout))
            symbols = hide_symbols(symbols, self.target_symbol_dropout)
        logits, _, _ = self.decoder(symbols, self.start(source))
        assert isinstance(logits, Tensor)
        return logits

    def start(self, batch: SourceBatch) -> DecoderState:
        """The state before the first target symbol, one row per source."""
        if batch.symbols.shape[0] != batch.lengths.shape[0]:
            raise ShapeError(
                f"source lengths have {batch.lengths.shape[0]} rows; expected {batch.symbols.shape[0]}, as the symbols."
            )
        states, final = self.encoder(batch)
        return self.decoder.begin(states, source_valid(batch, states.device), final)

    def step(self, symbols: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Feed one symbol per row (B,); get log-probabilities (B, V), -inf for padding, start and unknown."""
        logits, _, after = self.decoder(symbols.unsqueeze(1), state)
        never: Tensor = self.get_buffer("never")
        log_probs = torch.log_softmax(logits[:, 0].float().masked_fill(never, float("-inf")), dim=-1)
        return log_probs, after
