"""From numbers to a network: every architecture of the panel by its settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import nn

from triptych.spell.attention import build_attention
from triptych.spell.encoder import Cell, Dropped, Encoder, Sizes
from triptych.spell.model import Decoder, Transducer
from triptych.spell.monotonic import MonotonicDecoder, MonotonicTransducer

Attention = Literal["none", "dot", "general", "additive", "hopfield", "monotonic"]
Network = Transducer | MonotonicTransducer


@dataclass(frozen=True)
class Architecture:
    """The numbers and names a transducer is built from; `model.json` keeps them.

    S1 is the default with vocabulary sizes; S2 adds `attention="additive"`, S5 `attention="general"`.
    """

    source_size: int
    target_size: int
    cell: Cell = "lstm"
    hidden: int = 128
    encoder_hidden: int = 0
    embedding: int = 128
    encoder_layers: int = 1
    encoder_residual: bool = False
    decoder_layers: int = 1
    attention: Attention = "none"
    attention_width: int = 0
    attention_steps: int = 1
    input_feeding: bool = False
    tie_output: bool = True
    initial_weights: Literal["scaled", "pytorch"] = "scaled"
    dropout: float = 0.3
    encoder_dropout: Dropped = "states"
    layer_dropout: float = 0.0
    source_symbol_dropout: float = 0.0
    target_symbol_dropout: float = 0.0


def initialise(network: nn.Module) -> None:
    """Starting weights under which small recurrent networks train well from few pairs.

    Embeddings and output weights are normal with standard deviation width^-1/2, so that tied logits begin near unit
    scale; recurrent weights, all gates of a cell in one matrix, have orthogonal columns; an LSTM's forget gates begin
    open (bias 1).

    Source: Saxe et al. 2014, arXiv:1312.6120; Jozefowicz et al. 2015, Proc. ICML, section 5.
    """
    for name, parameter in network.named_parameters():
        if name.endswith(("embedding.weight", "output_weight")):
            nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        elif "weight_hh" in name:
            nn.init.orthogonal_(parameter)
        elif "bias_hh" in name or "bias_ih" in name:
            nn.init.zeros_(parameter)
    for module in network.modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            nn.init.zeros_(module.weight.data[module.padding_idx])
        if isinstance(module, nn.LSTM):
            for name, parameter in module.named_parameters():
                if "bias_ih" in name:  # gates in order: input, forget, cell, output
                    nn.init.ones_(parameter.data[module.hidden_size : 2 * module.hidden_size])


def build_transducer(architecture: Architecture) -> Network:
    """A transducer with freshly initialised weights."""
    a = architecture
    sizes = Sizes(a.cell, a.embedding, a.hidden, a.dropout, a.layer_dropout)
    encoder_sizes = replace(sizes, hidden=a.encoder_hidden or a.hidden)
    encoder = Encoder(
        a.source_size,
        encoder_sizes,
        layers=a.encoder_layers,
        residual=a.encoder_residual,
        dropped=a.encoder_dropout,
    )
    network: Network
    if a.attention == "monotonic":
        decoder = MonotonicDecoder(
            a.target_size,
            sizes,
            source_hidden=encoder_sizes.hidden,
            attention_width=a.attention_width or a.hidden,
            layers=a.decoder_layers,
        )
        network = MonotonicTransducer(
            encoder,
            decoder,
            source_symbol_dropout=a.source_symbol_dropout,
            target_symbol_dropout=a.target_symbol_dropout,
        )
    else:
        attention = None if a.attention == "none" else build_attention(a.attention, a.hidden, steps=a.attention_steps)
        network = Transducer(
            encoder,
            Decoder(
                a.target_size,
                sizes,
                attention=attention,
                layers=a.decoder_layers,
                tie_output=a.tie_output,
                input_feeding=a.input_feeding,
            ),
            source_symbol_dropout=a.source_symbol_dropout,
            target_symbol_dropout=a.target_symbol_dropout,
        )
    if a.initial_weights == "scaled":
        initialise(network)
    return network
