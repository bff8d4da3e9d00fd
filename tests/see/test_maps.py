"""Activation maps against the layer itself, and saliency against what the methods promise."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.see.architectures import RESIDUAL, V1, V3, Architecture
from triptych.errors import RecipeError, ShapeError
from triptych.see.convolutional import ConvolutionalNetwork
from triptych.see.maps import activation_maps, convolutions, saliency


@pytest.fixture(scope="module")
def network() -> ConvolutionalNetwork:
    torch.manual_seed(0)
    network = V1.build().eval()
    assert isinstance(network, ConvolutionalNetwork)
    return network


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    return torch.rand(1, 28, 28, generator=torch.manual_seed(1))


def test_maps_of_the_first_convolution(network: nn.Module, image: torch.Tensor) -> None:
    first = next(iter(convolutions(network).values()))
    seen = activation_maps(network, image)
    assert seen.layer == "blocks.0.convolution"
    torch.testing.assert_close(seen.maps, F.conv2d(image[None], first.weight, first.bias, padding=2)[0])


@pytest.mark.parametrize("layer", ["blocks.1.convolution", 1, "1", -1, "-1"])
def test_maps_of_another_by_name_or_number(network: nn.Module, image: torch.Tensor, layer: str | int) -> None:
    seen = activation_maps(network, image, layer=layer)
    assert seen.layer == "blocks.1.convolution"
    assert seen.maps.shape == (16, 12, 12)


def test_maps_leave_the_network_as_it_was(image: torch.Tensor) -> None:
    network = RESIDUAL.build().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    activation_maps(network, image.expand(3, -1, -1))
    saliency(network, image.expand(3, -1, -1))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(part.training for part in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(part._forward_hooks for part in network.modules())


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (2, r"layer is 2; expected a number from 0 to 1"),
        (-3, r"layer is -3; expected"),
        ("blocks.0.convolutoin", r"layer is 'blocks.0.convolutoin'; .* Did you mean 'blocks.0.convolution'\?"),
    ],
)
def test_unknown_convolutions(network: nn.Module, image: torch.Tensor, layer: str | int, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        activation_maps(network, image, layer=layer)


def test_wrong_shapes_and_networks_without_convolutions(network: nn.Module, image: torch.Tensor) -> None:
    with pytest.raises(ShapeError, match=r"image has shape \(1, 1, 28, 28\)"):
        activation_maps(network, image[None])
    with pytest.raises(RecipeError, match="the network has no convolutions"):
        activation_maps(nn.Linear(3, 3), image)


def test_a_network_that_is_sure_is_explained_as_by_its_logits(image: torch.Tensor) -> None:
    """Where a log-probability has no gradient left."""
    network = V1.build()
    nn.init.constant_(network.last.bias, 0.0)
    network.last.bias.data[3] = 200.0
    plain = nn.Sequential(network.blocks, network.head, network.hidden, network.last)  # without the normalisation
    sure, unnormalised = saliency(network, image), saliency(plain, image, layer=-1)
    assert sure.target == unnormalised.target == 3
    torch.testing.assert_close(sure.integrated_gradients, unnormalised.integrated_gradients)
    assert sure.integrated_gradients.abs().max() > 0


def test_integrated_gradients_are_complete(network: nn.Module, image: torch.Tensor) -> None:
    found = saliency(network, image, target=3)
    logits: Any = network.logits
    with torch.no_grad():
        gained = logits(image[None])[0, 3] - logits(torch.zeros(1, 1, 28, 28))[0, 3]
    assert found.integrated_gradients.sum().item() == pytest.approx(gained.item(), rel=0.05, abs=1e-3)
    assert found.integrated_gradients.shape == (28, 28)


def grad_cam(maps: torch.Tensor, logit: torch.Tensor) -> torch.Tensor:
    """relu(sum over channels of maps (1, C, H', W') times their mean gradients), enlarged to (28, 28)."""
    (gradient,) = torch.autograd.grad(logit, maps)
    coarse = F.relu((gradient.mean((2, 3), keepdim=True) * maps).sum(1, keepdim=True))
    return F.interpolate(coarse, (28, 28), mode="bilinear")[0, 0].detach()


def test_grad_cam_is_its_formula(network: ConvolutionalNetwork, image: torch.Tensor) -> None:
    found = saliency(network, image, target=3, layer=-1)
    maps: list[torch.Tensor] = []
    last = list(convolutions(network).values())[-1]
    handle = last.register_forward_hook(lambda _module, _inputs, output: maps.append(output))
    logit = network.logits(image[None])[0, 3]
    handle.remove()
    assert found.layer == "blocks.1.convolution"
    torch.testing.assert_close(found.grad_cam, grad_cam(maps[0], logit), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("architecture", [V1.changed(in_channels=3), V3.changed(height=28, width=28), RESIDUAL])
@pytest.mark.parametrize("head", ["", "average", "hopfield"])
def test_grad_cam_uses_the_input_of_the_head(
    architecture: Architecture, head: Literal["", "average", "hopfield"], image: torch.Tensor
) -> None:
    torch.manual_seed(4)
    network: Any = architecture.changed(head=head).build().eval()
    image = image.expand(3, -1, -1)
    if architecture is RESIDUAL:
        maps = F.relu(network.norm(network.stages(network.stem(image[None]))))
        logits = network.last(network.head(maps))
    else:
        maps = network.blocks(image[None])
        logits = network.last(network.hidden(network.head(maps)))
    target = int(logits.argmax())
    found = saliency(network, image)
    assert (found.layer, found.target) == ("head", target)
    torch.testing.assert_close(found.grad_cam, grad_cam(maps, logits[0, target]), rtol=1e-4, atol=1e-6)


def test_grad_cam_uses_the_last_convolution_of_another_network(image: torch.Tensor) -> None:
    parts = (nn.Conv2d(1, 2, 3), nn.Conv2d(2, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    assert saliency(nn.Sequential(*parts), image).layer == "1"


def test_grad_cam_passes_over_convolutions_of_a_single_place(image: torch.Tensor) -> None:
    class Gated(nn.Module):
        """Its maps, gated by a convolution that was put together last and sees one place."""

        def __init__(self) -> None:
            super().__init__()
            self.later = nn.Conv2d(2, 4, 3)
            self.first = nn.Conv2d(1, 2, 3)
            self.gate = nn.Conv2d(4, 4, 1)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = self.later(self.first(images))
            gates: torch.Tensor = self.gate(maps.mean(dim=(2, 3), keepdim=True)).sigmoid()
            return (maps * gates).mean(dim=(2, 3))

    network = Gated()
    assert saliency(network, image).layer == "later"
    assert saliency(network, image, layer=-1).layer == "gate"
    single = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(1, 2, 1), nn.Flatten())
    assert saliency(single, image).layer == "1"


def test_the_predicted_class_is_the_target_by_default(network: nn.Module, image: torch.Tensor) -> None:
    with torch.inference_mode():
        predicted = int(network(image[None]).argmax())
        found = saliency(network, image)  # works among predictions, too
    assert found.target == predicted
    assert torch.equal(found.integrated_gradients, saliency(network, image, target=predicted).integrated_gradients)


def test_unknown_target(network: nn.Module, image: torch.Tensor) -> None:
    with pytest.raises(RecipeError, match=r"target is 10; expected a class number from 0 to 9"):
        saliency(network, image, target=10)


def test_saliency_finds_the_part_that_counts() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 64, 2))
    convolution, last = network[0], network[3]
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(last, nn.Linear)
    nn.init.constant_(convolution.weight, 1.0)
    nn.init.zeros_(last.weight)
    last.weight.data.view(2, 2, 8, 8)[1, :, :3, :3] = 1.0  # class 1 is whatever lies in the upper left corner
    found = saliency(network, torch.ones(1, 8, 8), target=1)
    assert found.integrated_gradients[:3, :3].min() > 0
    assert found.integrated_gradients[4:, 4:].abs().max() == 0
