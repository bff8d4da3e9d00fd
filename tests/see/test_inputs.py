"""The form of a network's input: scale, statistics, and the way to model.json and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from triptych.config import SeeData
from triptych.errors import RunError
from triptych.images.form import InputForm
from triptych.see.images import input_form, scaled


def pixels(count: int = 1500) -> torch.Tensor:
    """Random bytes, each channel of another mean and spread."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(count, 3, 4, 5, generator=generator) * torch.tensor([255.0, 100.0, 30.0]).view(1, 3, 1, 1)
    return drawn.to(torch.uint8)


def test_unit_pixels_lie_between_0_and_1() -> None:
    form = input_form(SeeData(height=4, width=5), pixels())
    given = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    assert scaled(form, given).flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])
    assert scaled(form, given.float() / 255).flatten().tolist() == pytest.approx([0.0, 0.2, 1.0])


def test_standard_pixels_have_mean_0_and_deviation_1_per_channel() -> None:
    given = pixels()
    form = input_form(SeeData(height=4, width=5, pixels="standard"), given)
    values = scaled(form, given)
    assert values.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert values.std(dim=(0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-4)


def test_arrays_and_tensors_are_scaled_alike() -> None:
    given = pixels(20)
    for kind in ("unit", "standard"):
        form = input_form(SeeData(height=4, width=5, pixels=kind), given)
        torch.testing.assert_close(
            torch.from_numpy(form.scaled(given.numpy())), scaled(form, given), rtol=1e-6, atol=1e-6
        )


def test_a_channel_that_never_varies_is_not_divided_by_nothing() -> None:
    form = input_form(SeeData(pixels="standard", colour="grey"), torch.full((3, 1, 2, 2), 51, dtype=torch.uint8))
    assert form.mean == pytest.approx((0.2,))
    assert form.deviation == (1.0,)


def test_the_form_survives_model_json(tmp_path: Path) -> None:
    form = input_form(SeeData(height=4, width=5, pixels="standard", fit="pad"), pixels())
    assert InputForm.from_dict(form.model_dump(mode="json"), tmp_path) == form


@pytest.mark.parametrize(
    "change",
    [{"height": 0}, {"colour": "blue"}, {"mean": [0.5]}, {"deviation": [1.0, 0.0, 1.0]}, {"fit": "squash"}, {"x": 1}],
)
def test_a_damaged_form_is_an_error_that_names_the_file(change: dict[str, Any], tmp_path: Path) -> None:
    document = {**input_form(SeeData(), pixels()).model_dump(mode="json"), **change}
    with pytest.raises(RunError, match=r"model\.json: input is damaged"):
        InputForm.from_dict(document, tmp_path / "model.json")
