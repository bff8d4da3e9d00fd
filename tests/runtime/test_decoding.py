"""Settings of the runtime's decoders."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from triptych.config import SpellDecoding
from triptych.errors import RecipeError
from triptych.runtime.decoding import Decoding
from triptych.runtime.network import log_sum_exp
from triptych.runtime.paths import filtered, inverse_distribution
from triptych.spell.decoding import sampling


def test_settings_and_defaults_are_the_recipe_s() -> None:
    assert {entry.name: getattr(Decoding(), entry.name) for entry in fields(Decoding)} == SpellDecoding().model_dump()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("method", "beem", r"decoding\.method is 'beem'; expected one of greedy, beam, sample\. Did you mean 'beam'\?"),
        ("beam_size", 0, r"decoding\.beam_size is 0; expected an integer >= 1"),
        ("beam_size", 2.0, r"decoding\.beam_size is 2\.0; expected an integer >= 1"),
        ("samples", True, r"decoding\.samples is True; expected an integer >= 1"),
        ("temperature", 0, r"decoding\.temperature is 0; expected a number > 0"),
        ("top_p", 1.5, r"decoding\.top_p is 1\.5; expected a number above 0 and at most 1"),
        ("top_k", -1, r"decoding\.top_k is -1; expected an integer >= 0"),
        ("seed", "x", r"decoding\.seed is 'x'; expected an integer >= 0"),
        ("length_penalty", float("inf"), r"decoding\.length_penalty is inf; expected a number >= 0"),
        ("max_length_factor", 0, r"decoding\.max_length_factor is 0; expected a number > 0"),
        ("max_length_extra", -1, r"decoding\.max_length_extra is -1; expected an integer >= 0"),
        ("batch_size", 0, r"decoding\.batch_size is 0; expected an integer >= 1"),
        ("beam", 3, r"decoding\.beam is not a setting\. Did you mean 'beam_size'\?"),
    ],
)
def test_values_out_of_range_are_told(name: str, value: Any, message: str) -> None:
    with pytest.raises(RecipeError, match=f"^{message}"):
        Decoding.from_dict({name: value})


def test_more_candidates_than_the_beam_has_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"^decoding\.n_best is 6; expected at most decoding\.beam_size = 5"):
        Decoding(method="beam", n_best=6)


@pytest.mark.parametrize("settings", [{}, {"top_k": 3}, {"top_p": 0.7}, {"top_k": 4, "top_p": 0.5, "temperature": 2.0}])
def test_distributions_and_draws_are_the_library_s(settings: dict[str, Any]) -> None:
    logits = torch.randn(50, 9, generator=torch.Generator().manual_seed(0)) * 2
    logits[:, 0] = -torch.inf
    log_probs = logits.log_softmax(1)
    own = {**settings, "top_k": settings.get("top_k"), "top_p": settings.get("top_p")}
    wanted = sampling.filtered(log_probs, sampling.Sampling(**own))
    found = filtered(log_probs.numpy(), Decoding(method="sample", **settings))
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5)
    uniform = np.random.default_rng(0).random(50)
    drawn = inverse_distribution(found, uniform)
    assert drawn.tolist() == sampling.inverse_distribution(wanted, torch.from_numpy(uniform)).tolist()


def test_log_sum_exp_of_nothing_possible_is_impossible() -> None:
    values = np.array([[-np.inf, -np.inf], [0.0, -np.inf], [1000.0, 1000.0]], dtype=np.float32)
    np.testing.assert_allclose(log_sum_exp(values, axis=1), [-np.inf, 0.0, 1000 + np.log(2)], rtol=1e-6)
