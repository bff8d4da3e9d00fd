"""Spellers with random weights over a small alphabet, and their exports: comparing two readers needs no training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from triptych.config import SpellDecoding, SpellModel
from triptych.decoding import Ensemble, Speller
from triptych.export import spell
from triptych.export.folder import write_manifest
from triptych.runtime.folder import Exported
from triptych.spell.adapter import TorchModel
from triptych.spell.build import Network, build_transducer
from triptych.text.symbols import Tokenizer, Vocabularies, Vocabulary

LETTERS = tuple("abcdefghij")
FEATURES = ("PL", "PST", "V")
SPREAD = 0.6  # of the random weights: large enough that symbols differ in probability


def network(seed: int = 0, **settings: Any) -> Network:
    """A transducer over the alphabet with random weights, in evaluation mode."""
    torch.manual_seed(seed)
    size, features_size = len(LETTERS) + 4, settings.pop("features_size", 0)
    model = SpellModel(**{"hidden": 12, "embedding": 12, **settings})
    built = build_transducer(model, source_size=size, target_size=size, features_size=features_size).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(SPREAD * torch.randn_like(parameter))
    return built


def speller(*networks: Network, tokenizer: Tokenizer | None = None, **decoding: Any) -> Speller:
    """A speller of one network, or of an ensemble."""
    tokenizer = tokenizer or Tokenizer()
    vocabulary = Vocabulary(LETTERS)
    embedded = networks[0].encoder.features
    features = None if embedded is None else Vocabulary(FEATURES)
    vocabularies = Vocabularies(tokenizer, tokenizer, vocabulary, vocabulary, features)
    models = [TorchModel(network) for network in networks]
    model: Any = models[0] if len(models) == 1 else Ensemble(models)
    return Speller(model, vocabularies, SpellDecoding(**decoding))


def ship(shipped: Speller, folder: Path) -> Exported:
    """Export a speller into a folder."""
    folder.mkdir()
    model = spell.write(shipped, folder)
    write_manifest(folder, panel="spell", name="random", model=model, use=spell.use(model), more={})
    return Exported.open(folder)
