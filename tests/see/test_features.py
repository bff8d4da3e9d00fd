"""Features of images: the network's own, computed once for a content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.see.normalisations import vary_statistics
from triptych.images.form import InputForm
from triptych.see import features
from triptych.see.efficientnet import EfficientNetLite, build_efficientnet
from triptych.see.features import features_of, without_normalisations
from triptych.see.images import Images, scaled

FORM = InputForm(height=32, width=32, mean=(0.5, 0.4, 0.3), deviation=(0.5, 0.6, 0.7))


@pytest.fixture(scope="module")
def network() -> EfficientNetLite:
    torch.manual_seed(0)
    built = build_efficientnet("efficientnet-lite0", FORM.shape, 3).eval()
    vary_statistics(built)
    return built


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of each computation."""
    counts: list[int] = []
    original = features._computed

    def counted(network: nn.Module, pixels: torch.Tensor, form: InputForm) -> features.Features:
        counts.append(len(pixels))
        return original(network, pixels, form)

    monkeypatch.setattr(features, "_computed", counted)
    return counts


def images(*numbers: int) -> Images:
    """Images that their numbers make."""
    drawn = [np.random.default_rng(number).integers(0, 256, FORM.shape, dtype=np.uint8) for number in numbers]
    names = [str(number) for number in numbers]
    digests = [f"{number:064x}" for number in numbers]
    return Images(torch.from_numpy(np.stack(drawn)), torch.zeros(len(numbers), dtype=torch.int64), names, digests)


@pytest.mark.usefixtures("cache")
def test_they_are_what_the_networks_last_layer_sees(network: EfficientNetLite) -> None:
    given = images(*range(11))
    found = features_of(network, given, FORM)
    with torch.inference_mode():
        wanted = network.features(scaled(FORM, given.pixels))
    assert wanted.std() > 0.01
    torch.testing.assert_close(torch.from_numpy(found), wanted, rtol=1e-4, atol=1e-5)


def test_only_new_images_are_computed(
    network: EfficientNetLite, cache: Path, computed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "IMAGES_PER_FILE", 3)
    first = features_of(network, images(1, 2, 3, 4, 5), FORM)
    assert sum(computed) == 5
    assert len(list(cache.glob("*/*.safetensors"))) == 2
    again = features_of(network, images(5, 9, 1), FORM)
    assert sum(computed) == 6
    assert np.array_equal(again[[0, 2]], first[[4, 0]])
    progress: list[tuple[int, int]] = []
    features_of(network, images(9, 8), FORM, progress=lambda done, total: progress.append((done, total)))
    assert sum(computed) == 7
    assert progress == [(2, 2)]


@pytest.mark.usefixtures("cache")
def test_another_form_or_other_weights_have_features_of_their_own(
    network: EfficientNetLite, computed: list[int]
) -> None:
    features_of(network, images(1), FORM)
    features_of(network, images(1), FORM.model_copy(update={"mean": (0.0, 0.0, 0.0)}))
    assert sum(computed) == 2
    torch.manual_seed(5)
    features_of(build_efficientnet("efficientnet-lite0", FORM.shape, 3), images(1), FORM)
    assert sum(computed) == 3
    other = build_efficientnet("efficientnet-lite0", FORM.shape, 7)  # of the last layer alone
    other.load_state_dict({**network.state_dict(), "last.weight": other.last.weight, "last.bias": other.last.bias})
    features_of(other, images(1), FORM)
    assert sum(computed) == 3


def test_files_that_are_damaged_or_cannot_be_written_cost_time_alone(
    network: EfficientNetLite, cache: Path, computed: list[int]
) -> None:
    first = features_of(network, images(1, 2), FORM)
    (file,) = cache.glob("*/*.safetensors")
    file.write_bytes(file.read_bytes()[:-200])
    assert np.array_equal(features_of(network, images(1, 2), FORM), first)
    assert sum(computed) == 4
    for path in cache.glob("*/*.safetensors"):
        path.unlink()
    cache.joinpath(next(cache.iterdir()).name).rmdir()
    cache.rmdir()
    cache.write_text("not a folder")
    assert np.array_equal(features_of(network, images(1, 2), FORM), first)


def test_the_cache_forgets_what_was_not_used_for_longest(
    network: EfficientNetLite, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features_of(network, images(1), FORM)
    (first,) = cache.glob("*/*.safetensors")
    monkeypatch.setattr(features, "LIMIT_BYTES", first.stat().st_size + 10)
    features_of(network, images(2), FORM)
    assert first not in list(cache.glob("*/*.safetensors"))
    assert len(list(cache.glob("*/*.safetensors"))) == 1


def test_normalisations_become_part_of_the_convolutions(network: EfficientNetLite) -> None:
    fast = without_normalisations(network)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fast.modules())
    assert any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    given = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(fast(given), network(given), rtol=1e-4, atol=1e-5)
