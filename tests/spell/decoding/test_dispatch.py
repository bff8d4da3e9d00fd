"""The dispatcher hands each setting to the method that uses it."""

from dataclasses import replace
from itertools import chain

import pytest
import torch

from tests.oracles.decoding import TableModel, random_batch, random_model
from triptych.errors import RecipeError
from triptych.spell.decoding import Constrained, Decoding, LengthLimit, Sampling, beam_search, decode, greedy, sample
from triptych.spell.lexicon import Lexicon

MODEL = random_model(11, end_bias=-1.0, attention=True)
BATCH = random_batch(11, [5, 3, 1, 4])
LIMIT = LengthLimit(factor=2.0, extra=3)
LENGTH = {"max_length_factor": 2.0, "max_length_extra": 3}


def test_each_method_equals_its_own_function() -> None:
    expected = [[hypothesis] for hypothesis in greedy(MODEL, BATCH, limit=LIMIT)]
    assert decode(MODEL, BATCH, Decoding(method="greedy", **LENGTH)) == expected  # type: ignore[arg-type]
    settings = Decoding(method="beam", beam_size=4, n_best=3, length_penalty=0.7, **LENGTH)  # type: ignore[arg-type]
    beam = beam_search(MODEL, BATCH, beam_size=4, n_best=3, length_penalty=0.7, limit=LIMIT)
    assert decode(MODEL, BATCH, settings) == beam
    settings = Decoding(method="sample", samples=2, temperature=0.9, top_k=3, top_p=0.9, seed=5, **LENGTH)  # type: ignore[arg-type]
    drawn = sample(MODEL, BATCH, Sampling(2, 0.9, 3, 0.9, 5), limit=LIMIT, row_ids=[4, 3, 2, 1])
    assert decode(MODEL, BATCH, settings, row_ids=[4, 3, 2, 1]) == drawn


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
    base = Decoding(method=method, max_length_factor=1.0, max_length_extra=2)  # type: ignore[arg-type]
    changed_settings = replace(base, **changed)  # type: ignore[arg-type]
    assert decode(MODEL, BATCH, base) != decode(MODEL, BATCH, changed_settings)


@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_attention_comes_on_request_with_every_method(method: str) -> None:
    settings = Decoding(method=method)  # type: ignore[arg-type]
    for row in decode(MODEL, BATCH, settings):
        assert row[0].attention is None
    for length, row in zip([5, 3, 1, 4], decode(MODEL, BATCH, settings, with_attention=True), strict=True):
        assert row[0].attention is not None
        assert row[0].attention.shape == (len(row[0].symbols) + row[0].finished, length)
        assert row[0].attention.sum(1).tolist() == pytest.approx([1.0] * len(row[0].attention))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("method", ["greedy", "beam", "sample"])
def test_a_gpu_gives_what_the_cpu_gives(method: str) -> None:
    lexicon = Lexicon.from_words([(3,), (4, 3), (3, 5, 5)])
    settings = Decoding(method=method, n_best=3, samples=2, top_p=0.9)  # type: ignore[arg-type]
    results = []
    for device in ("cpu", "cuda"):
        weights = None if MODEL.attention_table is None else MODEL.attention_table.to(device)
        model = Constrained(TableModel(MODEL.table.to(device), weights), lexicon, "open", 1.0)
        results.append(decode(model, BATCH.to(device), settings, with_attention=True))
    for cpu, gpu in zip(*map(chain.from_iterable, results), strict=True):
        assert gpu.symbols == cpu.symbols
        assert gpu.score == pytest.approx(cpu.score, abs=1e-4)
        torch.testing.assert_close(gpu.attention, cpu.attention)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"method": "greddy"},
            "decoding.method is 'greddy'; expected one of greedy, beam, sample. Did you mean 'greedy'?",
        ),
        (
            {"beam_size": 0},
            "decoding.beam_size is 0; expected an integer >= 1. Use --decode greedy for no beam.",
        ),
        (
            {"n_best": 9},
            "decoding.n_best is 9; expected an integer from 1 to decoding.beam_size = 5. "
            "Raise decoding.beam_size to see more hypotheses.",
        ),
        (
            {"top_p": -0.1},
            "decoding.top_p is -0.1; expected a number above 0 and at most 1. Use 1 to sample from all symbols.",
        ),
        (
            {"max_length_factor": -1.0},
            "decoding.max_length_factor is -1.0; expected a number >= 0. "
            "Use 0 to limit the length by decoding.max_length_extra alone.",
        ),
        (
            {"max_length_extra": -3},
            "decoding.max_length_extra is -3; expected an integer >= 0. "
            "Lower decoding.max_length_factor for shorter targets.",
        ),
    ],
)
def test_impossible_settings_are_named(setting: dict[str, float], message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Decoding(**setting)  # type: ignore[arg-type]
    assert str(caught.value) == message
