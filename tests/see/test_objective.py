"""The loss of image classifiers, against PyTorch's own and against its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor, nn

from triptych.config import SeeAugmentation
from triptych.images.form import InputForm
from triptych.see.augmentation import augmented
from triptych.see.batches import ImageBatch
from triptych.see.images import scaled
from triptych.see.objective import SeeObjective, balanced_weights

FORM = InputForm(height=6, width=5, mean=(0.4, 0.5, 0.6), deviation=(0.2, 0.3, 0.4))
CLASSES = 4


def batch() -> ImageBatch:
    drawn = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (7, 3, 6, 5), dtype=torch.uint8, generator=drawn)
    return ImageBatch(pixels, torch.tensor([0, 1, 2, 3, 0, 1, 2]))


def network(*, log_probabilities: bool = False) -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(90, CLASSES)]
    return nn.Sequential(*layers, *([nn.LogSoftmax(dim=1)] if log_probabilities else []))


def values() -> Tensor:
    """The batch as the network sees it, by the definition."""
    mean, deviation = (torch.tensor(part).view(1, 3, 1, 1) for part in (FORM.mean, FORM.deviation))
    return (batch().pixels / 255 - mean) / deviation


def test_the_loss_is_the_negative_log_likelihood() -> None:
    share = SeeObjective(network(), form=FORM, classes=CLASSES).loss(batch())
    expected = F.nll_loss(network(log_probabilities=True)(values()), batch().labels, reduction="sum")
    torch.testing.assert_close(share.total, expected)
    assert share.count == 7


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_log_probabilities_and_logits_have_the_same_loss_and_gradients(smoothing: float) -> None:
    found = []
    for log_probabilities in (False, True):
        layers = network(log_probabilities=log_probabilities)
        share = SeeObjective(layers, form=FORM, classes=CLASSES, label_smoothing=smoothing).loss(batch())
        torch.autograd.backward(torch.as_tensor(share.total))
        found.append((share.total, [parameter.grad for parameter in layers.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)


def test_label_smoothing_spreads_its_share_over_all_classes() -> None:
    share = SeeObjective(network(), form=FORM, classes=CLASSES, label_smoothing=0.2).loss(batch())
    targets = 0.8 * F.one_hot(batch().labels, CLASSES) + 0.2 / CLASSES
    torch.testing.assert_close(share.total, -(targets * network()(values()).log_softmax(dim=1)).sum())


def test_balanced_weights_are_scikit_learns_and_multiply_the_loss() -> None:
    labels = torch.tensor([0] * 5 + [1] * 2 + [3])
    weights = balanced_weights(labels, CLASSES)
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels.numpy())
    torch.testing.assert_close(weights[[0, 1, 3]].double(), torch.from_numpy(expected), rtol=1e-6, atol=0)
    assert weights[2] == 0
    assert float(weights[labels].mean()) == pytest.approx(1)
    assert balanced_weights(torch.arange(CLASSES).repeat(3), CLASSES).tolist() == [1] * CLASSES
    share = SeeObjective(network(), form=FORM, classes=CLASSES, class_weights=weights).loss(batch())
    losses = F.cross_entropy(network()(values()), batch().labels, reduction="none")
    torch.testing.assert_close(share.total, (weights[batch().labels] * losses).sum())
    assert share.count == 7
    mixed = SeeAugmentation(mixup=1.0)
    objective = SeeObjective(network(), form=FORM, classes=CLASSES, augmentation=mixed, class_weights=weights)
    torch.manual_seed(5)
    share = objective.loss(batch())
    torch.manual_seed(5)
    pixels, targets = augmented(batch().pixels / 255, F.one_hot(batch().labels, CLASSES).float(), mixed)
    torch.testing.assert_close(
        share.total, -(weights * targets * network()(scaled(FORM, pixels)).log_softmax(dim=1)).sum()
    )


@pytest.mark.parametrize("changes", [SeeAugmentation(mixup=1.0), SeeAugmentation(cutmix=1.0, flip=0.5)])
def test_augmentation_changes_images_and_mixes_labels(changes: SeeAugmentation) -> None:
    objective = SeeObjective(network(), form=FORM, classes=CLASSES, augmentation=changes)
    torch.manual_seed(5)
    share = objective.loss(batch())
    torch.manual_seed(5)
    pixels, targets = augmented(batch().pixels / 255, F.one_hot(batch().labels, CLASSES).float(), changes)
    assert ((targets > 0).sum(dim=1) == 2).any()
    scores = network()(scaled(FORM, pixels)).log_softmax(dim=1)
    torch.testing.assert_close(share.total, -(targets * scores).sum())
    assert not torch.allclose(
        torch.as_tensor(share.total),
        torch.as_tensor(SeeObjective(network(), form=FORM, classes=CLASSES).loss(batch()).total),
    )


def test_measuring_neither_smooths_nor_augments() -> None:
    objective = SeeObjective(
        network(), form=FORM, classes=CLASSES, label_smoothing=0.3, augmentation=SeeAugmentation(mixup=1.0, shift=0.5)
    )
    measured = objective.measure(batch())
    scores = network()(values())
    torch.testing.assert_close(measured["loss"].total, F.cross_entropy(scores, batch().labels, reduction="sum"))
    right = sum(int(row.argmax()) == label for row, label in zip(scores, batch().labels.tolist(), strict=True))
    assert (int(measured["accuracy"].total), measured["accuracy"].count) == (right, 7)


def test_images_come_with_channels_last() -> None:
    seen: list[bool] = []
    layers = network()
    layers.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].is_contiguous(memory_format=torch.channels_last))
    )
    SeeObjective(layers, form=FORM, classes=CLASSES).loss(batch())
    assert seen == [True]
