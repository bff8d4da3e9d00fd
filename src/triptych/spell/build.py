"""From the recipe's `[model]` to a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import nn

from triptych.config import SpellModel
from triptych.config.common import decided
from triptych.errors import RunError
from triptych.spell.attention import build_attention
from triptych.spell.encoder import Encoder, Sizes
from triptych.spell.features import FeatureEncoder
from triptych.spell.model import Decoder, Transducer
from triptych.spell.monotonic import MonotonicDecoder, MonotonicTransducer

Network = Transducer | MonotonicTransducer


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
        if isinstance(module, FeatureEncoder):
            module.forget_unknown()
        if isinstance(module, nn.LSTM):
            _open_forget_gates(module)


def _open_forget_gates(layers: nn.LSTM) -> None:
    for name, parameter in layers.named_parameters():
        if "bias_ih" in name:  # gates in order: input, forget, cell, output
            nn.init.ones_(parameter.data[layers.hidden_size : 2 * layers.hidden_size])


def build_transducer(settings: SpellModel, *, source_size: int, target_size: int, features_size: int = 0) -> Network:
    """A transducer with freshly initialised weights.

    Args:
        settings: kinds and sizes, the recipe's `[model]`.
        source_size, target_size, features_size: of the vocabularies, special symbols included; 0 without features.
    Raises:
        RecipeError: a size is still "auto"; see `triptych.spell.sizing`.
    """
    sizes = Sizes(
        settings.cell,
        decided(settings.embedding, "model.embedding"),
        decided(settings.hidden, "model.hidden"),
        decided(settings.dropout, "model.dropout"),
        decided(settings.layer_dropout, "model.layer_dropout"),
    )
    source_hidden = decided(settings.encoder_hidden, "model.encoder_hidden") or sizes.hidden
    encoder = Encoder(
        source_size,
        replace(sizes, hidden=source_hidden),
        layers=decided(settings.encoder_layers, "model.encoder_layers"),
        residual=settings.encoder_residual,
        dropped=settings.encoder_dropout,
        shortcut=bool(decided(settings.encoder_shortcut, "model.encoder_shortcut")),
        features=FeatureEncoder(features_size, sizes.embedding) if features_size else None,
    )
    hidden_symbols = {
        "source_symbol_dropout": settings.source_symbol_dropout,
        "target_symbol_dropout": settings.target_symbol_dropout,
    }
    network: Network
    if settings.attention == "monotonic":
        network = MonotonicTransducer(
            encoder, _monotonic_decoder(settings, target_size, sizes, source_hidden), **hidden_symbols
        )
    else:
        network = Transducer(encoder, _decoder(settings, target_size, sizes), **hidden_symbols)
    if settings.initial_weights == "scaled":
        initialise(network)
    return network


def _monotonic_decoder(settings: SpellModel, target_size: int, sizes: Sizes, source_hidden: int) -> MonotonicDecoder:
    return MonotonicDecoder(
        target_size,
        sizes,
        source_hidden=source_hidden,
        attention_width=settings.attention_width or sizes.hidden,
        layers=settings.decoder_layers,
        copy=settings.copy_symbols,
    )


def _decoder(settings: SpellModel, target_size: int, sizes: Sizes) -> Decoder:
    return Decoder(
        target_size,
        sizes,
        attention=build_attention(settings.attention, sizes.hidden, steps=settings.attention_steps),
        layers=settings.decoder_layers,
        tie_output=settings.tie_output,
        input_feeding=settings.input_feeding,
    )


def description_of(settings: SpellModel, sizes: Mapping[str, int]) -> dict[str, Any]:
    """What `build_from_description` reads, for `model.json`; sizes by name, as `build_transducer` takes them."""
    return {**sizes, **settings.model_dump(exclude={"name"})}


def build_from_description(description: Any, path: Path) -> Network:
    """The network that a `model.json` describes, untrained.

    Raises:
        RunError: it describes no network.
    """
    try:
        settings = dict(description)
        sizes = {name: settings.pop(name) for name in ("source_size", "target_size")}
        sizes["features_size"] = settings.pop("features_size", 0)  # absent in older models
        return build_transducer(SpellModel(**settings), **sizes)
    except ValidationError as error:
        first = error.errors()[0]
        why = f"{'.'.join(map(str, first['loc']))} {first['input']!r}: {first['msg']}"
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        why = str(error)
    raise RunError(
        f"the description of the network is damaged ({why}).", hint="Restore the file, or train again.", path=path
    )
