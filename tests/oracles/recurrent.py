"""Second truths for the transducer: attention and recurrence written out for one row, one step and one position."""

from __future__ import annotations

import torch
from torch import Tensor

from triptych.spell.attention import AdditiveAttention, Attention, DotAttention, GeneralAttention, HopfieldAttention
from triptych.spell.encoder import Encoder
from triptych.spell.model import Decoder


def score_one(attention: DotAttention | GeneralAttention | AdditiveAttention, query: Tensor, state: Tensor) -> Tensor:
    """e of one decoder state and one encoder state, each of shape (H,)."""
    match attention:
        case DotAttention():
            return sum_of_products(query, state)
        case GeneralAttention():
            projected = torch.stack([sum_of_products(row, query) for row in attention.query.weight])
            return sum_of_products(projected, state)
        case AdditiveAttention():
            total = torch.zeros((), dtype=query.dtype)
            for unit in range(len(query)):
                inner = sum_of_products(attention.query.weight[unit], query)
                inner = inner + sum_of_products(attention.key.weight[unit], state)
                total = total + attention.energy.weight[0, unit] * torch.tanh(inner)
            return total


def scores_of_one(attention: Attention, query: Tensor, states: list[Tensor]) -> list[Tensor]:
    """e of one decoder state (H,) and each of the encoder states (H,); of the last step, where there are several."""
    if not isinstance(attention, HopfieldAttention):
        return [score_one(attention, query, state) for state in states]
    beta = torch.exp(attention.log_beta)
    query = torch.stack([sum_of_products(row, query) for row in attention.query.weight])
    keys = [torch.stack([sum_of_products(row, state) for row in attention.key.weight]) for state in states]
    for _ in range(attention.steps - 1):
        query, _ = attend_one([beta * sum_of_products(query, key) for key in keys], torch.stack(keys))
    return [beta * sum_of_products(query, key) for key in keys]


def attend_one(scores: list[Tensor], states: Tensor) -> tuple[Tensor, Tensor]:
    """Context (H,) and weights (S,) of one query over the real states (S, H) only."""
    powers = [torch.exp(score) for score in scores]
    total = torch.stack(powers).sum()
    weights = torch.stack([power / total for power in powers])
    context = torch.zeros_like(states[0])
    for weight, state in zip(weights, states, strict=True):
        context = context + weight * state
    return context, weights


def sum_of_products(left: Tensor, right: Tensor) -> Tensor:
    """The inner product of two vectors."""
    return (left * right).sum()


def lstm_step(x: Tensor, h: Tensor, c: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor]:
    """One LSTM step of one row, gates in PyTorch's order: input, forget, cell, output."""
    w_ih, w_hh, b_ih, b_hh = weights
    gates = w_ih @ x + b_ih + w_hh @ h + b_hh
    i, f, g, o = gates.chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_step(x: Tensor, h: Tensor, weights: list[Tensor]) -> Tensor:
    """One GRU step of one row, gates in PyTorch's order: reset, update, new."""
    w_ih, w_hh, b_ih, b_hh = weights
    xr, xz, xn = (w_ih @ x + b_ih).chunk(3)
    hr, hz, hn = (w_hh @ h + b_hh).chunk(3)
    r, z = torch.sigmoid(xr + hr), torch.sigmoid(xz + hz)
    n = torch.tanh(xn + r * hn)
    return (1 - z) * n + z * h


def run_direction(
    inputs: list[Tensor], start: list[Tensor], weights: list[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs of one layer in one direction, and its final state: [h, c] of an LSTM, [h] of a GRU."""
    state, outputs = start, []
    for x in inputs:
        state = list(lstm_step(x, state[0], state[1], weights)) if len(state) == 2 else [gru_step(x, state[0], weights)]
        outputs.append(state[0])
    return outputs, state


def layer_weights(recurrent: torch.nn.RNNBase, layer: int, *, backward: bool = False) -> list[Tensor]:
    """A layer's four parameters."""
    suffix = f"l{layer}" + ("_reverse" if backward else "")
    return [getattr(recurrent, f"{name}_{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def encode_one(encoder: Encoder, symbols: list[int]) -> tuple[list[Tensor], list[list[Tensor]]]:
    """States of one source, and per layer the final state with both directions joined."""
    outputs = [encoder.embedding.weight[symbol] for symbol in symbols]
    finals = []
    for number, layer in enumerate(encoder.recurrent):
        assert isinstance(layer, torch.nn.LSTM | torch.nn.GRU)
        parts = 2 if isinstance(layer, torch.nn.LSTM) else 1
        zero = [torch.zeros(layer.hidden_size, dtype=outputs[0].dtype) for _ in range(parts)]
        ahead, final_ahead = run_direction(outputs, zero, layer_weights(layer, 0))
        back, final_back = run_direction(outputs[::-1], zero, layer_weights(layer, 0, backward=True))
        inputs, outputs = outputs, [torch.cat(pair) for pair in zip(ahead, back[::-1], strict=True)]
        if encoder.residual and number > 0:
            outputs = [before + after for before, after in zip(inputs, outputs, strict=True)]
        finals.append([torch.cat(pair) for pair in zip(final_ahead, final_back, strict=True)])
    if encoder.shortcut is not None:
        local = [encoder.shortcut.weight @ encoder.embedding.weight[symbol] for symbol in symbols]
        outputs = [state + own for state, own in zip(outputs, local, strict=True)]
    return outputs, finals


def transduce_one(
    encoder: Encoder, decoder: Decoder, source: list[int], fed: list[int]
) -> tuple[list[Tensor], list[Tensor]]:
    """Logits and attention weights for one source, symbol by symbol, as the equations of S1, S2 and S5 say.

    Input feeding joins the output of the step before to the embedding; it is zero before the first step.
    """
    states, finals = encode_one(encoder, source)
    layers = [finals[min(layer, len(finals) - 1)] for layer in range(decoder.layers)]
    output = torch.zeros_like(states[0])
    weight = decoder.embedding.weight if decoder.output_weight is None else decoder.output_weight
    logits, attention = [], []
    for symbol in fed:
        x = decoder.embedding.weight[symbol]
        if decoder.input_feeding:
            x = torch.cat((x, output))
        for layer in range(decoder.layers):
            _, layers[layer] = run_direction([x], layers[layer], layer_weights(decoder.recurrent, layer))
            x = layers[layer][0]
        output = x
        if decoder.attention is not None:
            assert decoder.combine is not None
            scores = scores_of_one(decoder.attention, x, states)
            context, weights = attend_one(scores, torch.stack(states))
            output = torch.tanh(decoder.combine.weight @ torch.cat((context, x)))
            attention.append(weights)
        logits.append(weight @ output + decoder.output_bias)
    return logits, attention
