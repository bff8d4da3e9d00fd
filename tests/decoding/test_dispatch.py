"""`decode` hands each setting to the method that uses it."""

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch

from tests.oracles.decoding import random_batch, random_model
from triptych.config import SpellDecoding, SpellModel
from triptych.decoding import Constrained, Lexicon, beam_search, decode, greedy, sample
from triptych.spell.adapter import TorchModel
from triptych.spell.build import build_transducer

MODEL = random_model(11, end_bias=-1.0, attention=True)
SOURCES = random_batch(11, [5, 3, 1, 4])
METHODS = {"greedy": greedy, "beam": beam_search, "sample": sample}


@pytest.mark.parametrize("method", METHODS)
def test_each_method_equals_its_own_function(method: Any) -> None:
    settings = SpellDecoding(method=method, beam_size=4, n_best=3, length_penalty=0.7, samples=2, top_p=0.9)
    assert decode(MODEL, SOURCES, settings) == METHODS[method](MODEL, SOURCES, settings)


@pytest.mark.parametrize(
    ("method", "changed"),
    [
        ("greedy", {"max_length_factor": 0.5}),
        ("greedy", {"max_length_extra": 0}),
        ("beam", {"beam_size": 1}),
        ("beam", {"n_best": 2}),
        ("beam", {"length_penalty": 2.0}),
        ("sample", {"samples": 5}),
        ("sample", {"temperature": 3.0}),
        ("sample", {"top_k": 1}),
        ("sample", {"top_p": 0.1}),
        ("sample", {"seed": 1}),
    ],
)
def test_every_setting_changes_something(method: str, changed: dict[str, float]) -> None:
    base: dict[str, Any] = {"method": method, "max_length_factor": 1.0, "max_length_extra": 2}
    before = decode(MODEL, SOURCES, SpellDecoding(**base))
    assert before != decode(MODEL, SOURCES, SpellDecoding(**{**base, **changed}))


def test_every_setting_is_tested_here_or_with_the_speller() -> None:
    """`batch_size` changes no result, see tests/decoding/test_speller.py."""
    listed = test_every_setting_changes_something.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {"method", "batch_size", "remembered", *(name for _, changed in listed for name in changed)} == set(
        SpellDecoding.model_fields
    )


@pytest.mark.parametrize("method", METHODS)
def test_attention_comes_on_request_with_every_method(method: Any) -> None:
    settings = SpellDecoding(method=method)
    for row in decode(MODEL, SOURCES, settings):
        assert row[0].attention is None
    for length, row in zip([5, 3, 1, 4], decode(MODEL, SOURCES, settings, with_attention=True), strict=True):
        assert row[0].attention is not None
        assert row[0].attention.shape == (len(row[0].symbols) + row[0].finished, length)
        assert row[0].attention.sum(1).tolist() == pytest.approx([1.0] * len(row[0].attention))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("attention", ["additive", "monotonic"])
@pytest.mark.parametrize("method", METHODS)
def test_a_gpu_gives_what_the_cpu_gives(method: Any, attention: Any) -> None:
    torch.manual_seed(0)
    network = build_transducer(SpellModel(hidden=8, embedding=8, attention=attention), source_size=50, target_size=9)
    lexicon = Lexicon.from_words([(4,), (5, 4), (4, 6, 6)])
    settings = SpellDecoding(method=method, n_best=3, samples=2, top_p=0.9)
    results = []
    for device in ("cpu", "cuda"):
        model = Constrained(TorchModel(network.eval().to(device), device), lexicon, 1.0)
        results.append(decode(model, SOURCES, settings, with_attention=True))
    for cpu, gpu in zip(*map(chain.from_iterable, results), strict=True):
        assert gpu.symbols == cpu.symbols
        assert gpu.score == pytest.approx(cpu.score, abs=1e-3)
        assert cpu.attention is not None
        assert gpu.attention is not None
        np.testing.assert_allclose(gpu.attention, cpu.attention, atol=1e-3)
