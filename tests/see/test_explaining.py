"""Explanations of images: the probability of the explained class, the layer, and what a blank figure means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.see.architectures import Architecture
from tests.see.drawn import draw
from triptych.config import SeeDecoding
from triptych.config.see import SeeEvidence
from triptych.images.classifier import Classifier
from triptych.images.form import InputForm
from triptych.report.image_figures import saliency as draw_saliency
from triptych.see import explaining
from triptych.see.adapter import Model, NetworkScorer, network_input
from triptych.see.maps import saliency

CLASSES = ("cat", "dog", "fish", "owl")


def classifier() -> Model:
    torch.manual_seed(0)
    network = Architecture.of(16, 16, 4, channels=(4, 8)).build().eval()
    form = InputForm(height=16, width=16, mean=(0.0,) * 3, deviation=(1.0,) * 3)
    return Classifier(NetworkScorer(network), form=form, classes=CLASSES, decoding=SeeDecoding(top_k=1))


def test_the_explained_class_is_listed_with_its_probability(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []

    def noted(*given: Any, **named: Any) -> Any:
        drawn.append(given)
        return draw_saliency(*given, **named)

    monkeypatch.setattr(explaining, "draw_saliency", noted)
    model, image = classifier(), draw(tmp_path / "a.png", 1)
    every = model.predict(image, top_k=4)[0]
    least = every.classes[-1]
    found = explaining.explained(model, image, SeeEvidence(of_class=least), out=tmp_path / "out")
    expected = every.probabilities[-1]
    assert found.table()[1] == [[every.label, f"{every.probability:.4f}"], [least, f"{expected:.4f}"]]
    document = found.to_dict()
    assert document["explained_probability"] == pytest.approx(expected, rel=1e-6)
    assert document["classes"] == [{"class": every.label, "probability": pytest.approx(every.probability)}]
    assert drawn[0][2] == [(every.label, pytest.approx(every.probability)), (least, pytest.approx(expected))]
    assert len(explaining.explained(model, image, SeeEvidence(), out=tmp_path / "out").table()[1]) == 1


def test_a_layer_moves_the_activations_and_grad_cam(tmp_path: Path) -> None:
    model = classifier()
    pixels = model.read(draw(tmp_path / "a.png", 1))
    usual, second = (explaining.evidence(model, pixels, of_class="owl", layer=layer) for layer in (None, "1"))
    assert (usual.activations.layer, usual.saliency.layer) == ("blocks.0.convolution", "head")
    assert (second.activations.layer, second.saliency.layer) == ("blocks.1.convolution", "blocks.1.convolution")
    expected = saliency(model.scorer.network, network_input(model, pixels), target=3, layer=1)
    torch.testing.assert_close(second.saliency.grad_cam, expected.grad_cam)
    assert not torch.equal(usual.saliency.grad_cam, second.saliency.grad_cam)


def test_a_blank_grad_cam_is_said_in_words(tmp_path: Path) -> None:
    model = classifier()
    last: Any = model.scorer.network.get_submodule("last")
    last.weight.data.copy_(last.weight.data.abs())
    last.weight.data[2] *= -1  # what comes before it is never negative, so nothing is evidence for fish
    found = explaining.explained(model, draw(tmp_path / "a.png", 1), SeeEvidence(of_class="fish"), out=tmp_path / "out")
    probability = f"{found.evidence.probability:.4f}"
    assert found.notes == [
        f"Grad-CAM is blank: nothing in head is evidence for class 'fish', whose probability is {probability}."
    ]
    assert found.to_dict()["notes"] == found.notes
    assert (
        explaining.explained(model, tmp_path / "a.png", SeeEvidence(of_class="cat"), out=tmp_path / "out").notes == []
    )
