"""Augmentation: every setting acts as it says, labels mix by the pixels that stay, and a seed repeats the draw."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageEnhance
from torch import Generator, Tensor

from triptych.config import SeeAugmentation
from triptych.see.augmentation import _grid, augmented

EVERY = {
    "flip": 0.5, "vertical_flip": 0.5, "crop_scale": 0.5, "shift": 0.2, "rotation": 30.0, "zoom": 0.3,
    "brightness": 0.3, "contrast": 0.3, "saturation": 0.5, "mixup": 0.4, "cutmix": 1.0, "cutout": 0.4,
}  # fmt: skip


def images(count: int = 16, channels: int = 3, height: int = 12, width: int = 16) -> Tensor:
    return torch.rand(count, channels, height, width, generator=Generator().manual_seed(5))


def labels(count: int = 16, classes: int = 16) -> Tensor:
    return torch.eye(classes)[torch.arange(count) % classes]


def changed(settings: SeeAugmentation, pixels: Tensor, *, seed: int = 0) -> Tensor:
    return augmented(pixels, labels(len(pixels)), settings, Generator().manual_seed(seed))[0]


def test_every_setting_is_tested_here() -> None:
    assert set(SeeAugmentation.model_fields) == set(EVERY)


@pytest.mark.parametrize("setting", EVERY)
def test_every_setting_acts_keeps_the_range_and_repeats_with_its_seed(setting: str) -> None:
    augmentation = SeeAugmentation(**{setting: EVERY[setting]})
    pixels, targets = images(), labels()
    before = pixels.clone(), targets.clone()
    first, second = (augmented(pixels, targets, augmentation, Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(pixels, before[0])
    assert torch.equal(targets, before[1])
    assert not torch.equal(first[0], pixels)
    assert first[0].shape == pixels.shape
    assert first[0].min() >= 0
    assert first[0].max() <= 1
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert torch.allclose(first[1].sum(dim=1), torch.ones(16))
    assert torch.equal(first[1], targets) == (setting not in ("mixup", "cutmix"))
    assert not torch.equal(first[0], changed(augmentation, pixels, seed=2))


def test_without_settings_nothing_changes() -> None:
    assert torch.equal(changed(SeeAugmentation(), images()), images())


def test_chance_is_pytorchs_own_without_a_generator() -> None:
    augmentation = SeeAugmentation(**EVERY)
    results = []
    for _ in range(2):
        torch.manual_seed(3)
        results.append(augmented(images(), labels(), augmentation)[0])
    assert torch.equal(*results)


@pytest.mark.parametrize(("setting", "side"), [("flip", 3), ("vertical_flip", 2)])
@pytest.mark.parametrize("resampled", [False, True])
def test_a_certain_flip_is_the_mirror_image(setting: str, side: int, *, resampled: bool) -> None:
    augmentation = SeeAugmentation(**{setting: 1.0}, shift=1e-9 if resampled else 0.0)
    torch.testing.assert_close(changed(augmentation, images()), images().flip(side), atol=1e-4, rtol=0)


def test_a_flip_falls_on_its_share_of_images() -> None:
    pixels = images(2000, channels=1, height=2, width=2)
    result = changed(SeeAugmentation(flip=0.3), pixels)
    mirrored = (result == pixels.flip(3)).all(dim=(1, 2, 3))
    assert (mirrored | (result == pixels).all(dim=(1, 2, 3))).all()
    assert 0.25 < mirrored.float().mean() < 0.35


def ramps(count: int, height: int, width: int) -> Tensor:
    """Two channels that are the place itself, in pixels from the middle: sampled images tell where they come from."""
    x = torch.arange(width) - (width - 1) / 2
    y = torch.arange(height) - (height - 1) / 2
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)]).expand(count, -1, -1, -1)


def fitted_maps(result: Tensor) -> Tensor:
    """The affine maps of `ramps`, in pixels, by least squares over the middle, which no edge has touched. (B, 2, 3)."""
    height, width = result.shape[2:]
    rows, columns = slice(height * 3 // 8, height * 5 // 8), slice(width * 3 // 8, width * 5 // 8)
    places = ramps(1, height, width)[0, :, rows, columns].flatten(1).T
    places = torch.cat([places, torch.ones(len(places), 1)], dim=1)
    values = result[:, :, rows, columns].flatten(2).transpose(1, 2)
    solution = torch.linalg.lstsq(places.expand(len(result), -1, -1), values)
    assert (places @ solution.solution - values).abs().max() < 1e-3
    maps: Tensor = solution.solution.transpose(1, 2)
    return maps


def test_a_turn_keeps_lengths_on_images_that_are_not_square() -> None:
    maps = fitted_maps(changed(SeeAugmentation(rotation=30), ramps(200, 32, 48)))
    angles = torch.atan2(maps[:, 1, 0], maps[:, 0, 0]).rad2deg()
    assert angles.abs().max() <= 30
    assert angles.max() > 27
    assert angles.min() < -27
    radians = angles.deg2rad()
    expected = torch.stack([radians.cos(), -radians.sin(), radians.sin(), radians.cos()], dim=1).view(-1, 2, 2)
    torch.testing.assert_close(maps[:, :, :2], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(maps[:, :, 2], torch.zeros(200, 2), atol=1e-2, rtol=0)


def test_a_shift_reaches_its_share_of_each_side() -> None:
    maps = fitted_maps(changed(SeeAugmentation(shift=0.25), ramps(400, 32, 48)))
    torch.testing.assert_close(maps[:, :, :2], torch.eye(2).expand(400, 2, 2), atol=1e-3, rtol=0)
    for axis, length in ((0, 48), (1, 32)):
        furthest = maps[:, axis, 2].abs().max() / length
        assert 0.24 < furthest <= 0.25 + 1e-4
        assert maps[:, axis, 2].min() < 0 < maps[:, axis, 2].max()


def test_a_zoom_is_the_same_on_both_sides_and_within_its_bounds() -> None:
    maps = fitted_maps(changed(SeeAugmentation(zoom=0.2), ramps(400, 32, 48)))
    factors = 1 / maps[:, 0, 0]
    torch.testing.assert_close(maps[:, 0, 0], maps[:, 1, 1], atol=1e-3, rtol=0)
    assert 0.8 - 1e-3 <= factors.min() < 0.82
    assert 1.18 < factors.max() <= 1.2 + 1e-3


def test_a_crop_keeps_its_share_of_the_area_and_stays_inside() -> None:
    height, width = 32, 48
    maps = fitted_maps(changed(SeeAugmentation(crop_scale=0.4), ramps(600, height, width)))
    across, down = maps[:, 0, 0], maps[:, 1, 1]
    area = across * down
    assert 0.4 - 1e-3 <= area.min() < 0.43
    assert 0.97 < area.max() <= 1 + 1e-3
    aspect = across / down
    assert 3 / 4 - 1e-3 <= aspect.min() < 0.8
    assert 1.25 < aspect.max() <= 4 / 3 + 1e-3
    for axis, (share, length) in enumerate(((across, width), (down, height))):
        assert (maps[:, axis, 2].abs() + share * length / 2 <= length / 2 + 1e-2).all()


def test_the_grid_is_pytorchs_own() -> None:
    maps = torch.randn(5, 2, 3, generator=Generator().manual_seed(0))
    torch.testing.assert_close(_grid(maps, 7, 9), F.affine_grid(maps, [5, 1, 7, 9], align_corners=False))


def test_colour_changes_are_those_of_pillow() -> None:
    """Each alone against PIL.ImageEnhance, which works on bytes, with the factor read off the result."""
    pixels = images(8, height=24, width=24) * 0.4 + 0.3  # nothing reaches 0 or 1
    for setting, enhancer in (
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ):
        result = changed(SeeAugmentation(**{setting: 0.5}), pixels)
        for image, ours in zip(pixels, result, strict=True):
            picture = Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())
            candidates = [factor / 100 for factor in range(50, 151)]
            distances = [
                float(np.abs(np.asarray(enhancer(picture).enhance(f)) / 255 - ours.permute(1, 2, 0).numpy()).max())
                for f in candidates
            ]
            assert min(distances) < 2.5 / 255, setting


def test_strong_colour_changes_never_turn_round() -> None:
    result = changed(SeeAugmentation(brightness=3.0), torch.full((300, 1, 2, 2), 0.2))
    assert result.min() >= 0
    assert result.max() == pytest.approx(0.8, abs=0.02)


def test_saturation_leaves_grey_images() -> None:
    grey = images(channels=1)
    torch.testing.assert_close(changed(SeeAugmentation(saturation=0.9), grey), grey)
    torch.testing.assert_close(
        changed(SeeAugmentation(saturation=0.9), grey.expand(-1, 3, -1, -1)), grey.expand(-1, 3, -1, -1)
    )


def test_cutout_blanks_a_pixel_at_least() -> None:
    pixels = torch.rand(20, 1, 6, 9)
    assert (changed(SeeAugmentation(cutout=0.01), pixels) != pixels).flatten(1).sum(1).tolist() == [1] * 20


def test_cutout_blanks_a_square_with_the_mean_colour() -> None:
    pixels = images(300, height=20, width=20)
    result = changed(SeeAugmentation(cutout=0.3), pixels)
    mean = pixels.mean(dim=(0, 2, 3))
    blank = (result != pixels).any(dim=1)
    for image, mask in zip(result, blank, strict=True):
        torch.testing.assert_close(image[:, mask], mean[:, None].expand(-1, int(mask.sum())))
        rows, columns = mask.any(dim=1).sum(), mask.any(dim=0).sum()
        assert mask.sum() == rows * columns
        assert max(rows, columns) <= 6
    assert (blank.sum(dim=(1, 2)) == 36).float().mean() > 0.4  # the others lie across an edge
    assert blank.float().mean(dim=0).min() > 0.005  # a corner is expected in 9 of 400


def test_mixup_weighs_pixels_and_labels_alike() -> None:
    """Image k is constant at k / 15 and labelled k, so the mixed label's mean must be the mixed pixel."""
    pixels = (torch.arange(16) / 15).view(16, 1, 1, 1).expand(16, 3, 4, 5)
    result, targets = augmented(pixels, labels(), SeeAugmentation(mixup=0.8), Generator().manual_seed(0))
    torch.testing.assert_close(targets @ torch.arange(16.0) / 15, result[:, 0, 0, 0], atol=1e-5, rtol=0)
    assert (result == result[:, :1, :1, :1]).all()
    assert ((targets > 0).sum(dim=1) <= 2).all()


def test_mixing_weights_follow_the_beta_distribution() -> None:
    count, alpha = 4000, 0.4
    pixels = torch.zeros(count, 1, 1, 1)
    _, targets = augmented(pixels, torch.eye(count), SeeAugmentation(mixup=alpha), Generator().manual_seed(0))
    weights = targets.diagonal()
    assert weights.mean() == pytest.approx(0.5, abs=0.03)
    assert weights.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), abs=0.01)


def test_cutmix_pastes_a_rectangle_and_labels_by_its_area() -> None:
    height, width = 20, 30
    pixels = torch.arange(64.0).view(64, 1, 1, 1).expand(64, 1, height, width) / 63
    result, targets = augmented(pixels, labels(64, 64), SeeAugmentation(cutmix=1.0), Generator().manual_seed(0))
    areas = []
    for number, (image, target) in enumerate(zip(result, targets, strict=True)):
        pasted = image[0] != pixels[number, 0]
        share = pasted.float().mean()
        areas.append(float(share))
        assert pasted.sum() == pasted.any(dim=1).sum() * pasted.any(dim=0).sum()
        if share > 0:
            other = round(float(image[0][pasted][0]) * 63)
            assert target[other] == pytest.approx(float(share), abs=1e-5)
        assert target[number] == pytest.approx(1 - float(share), abs=1e-5)
    assert max(areas) > 0.5
    assert 0.1 < float(np.mean(areas)) < 0.5


def test_with_both_each_image_is_mixed_one_way() -> None:
    pixels = torch.arange(64.0).view(64, 1, 1, 1).expand(64, 1, 16, 16) / 63
    result, targets = augmented(
        pixels, labels(64, 64), SeeAugmentation(mixup=1.0, cutmix=1.0), Generator().manual_seed(0)
    )
    pasted = torch.tensor([image.unique().numel() == 2 for image in result])
    even = torch.tensor([image.unique().numel() == 1 for image in result])
    assert pasted.sum() > 15
    assert even.sum() > 15
    assert (pasted | even).all()
    torch.testing.assert_close(targets @ torch.arange(64.0) / 63, result.mean(dim=(1, 2, 3)), atol=1e-5, rtol=0)


def test_angles_reach_half_a_turn() -> None:
    half = fitted_maps(changed(SeeAugmentation(rotation=180), ramps(200, 32, 32)))
    assert torch.atan2(half[:, 1, 0], half[:, 0, 0]).rad2deg().abs().max() > 170
