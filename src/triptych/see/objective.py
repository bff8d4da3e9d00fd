"""The loss of image classification: the negative log-likelihood of the true class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.config import SeeAugmentation
from triptych.images.form import InputForm
from triptych.see.augmentation import augmented
from triptych.see.batches import ImageBatch
from triptych.see.images import scaled
from triptych.training.objective import Share


class SeeObjective:
    """Cross-entropy of the class; accuracy on validation images.

    The network gives logits or log-probabilities: normalising log-probabilities once more changes nothing, so the loss
    is the same either way.

    Args:
        network: takes float images (B, C, H, W), gives (B, classes).
        form: how bytes become the network's input.
        classes: how many.
        augmentation: random changes of training images; None for none.
        label_smoothing: share of the target probability that is spread over all classes, in [0, 1).
        class_weights: what the loss of an image of each class is multiplied by. Shape (classes,); None is 1 for all.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        form: InputForm,
        classes: int,
        augmentation: SeeAugmentation | None = None,
        label_smoothing: float = 0.0,
        class_weights: Tensor | None = None,
    ) -> None:
        self.network = network
        self.form = form
        self.classes = classes
        self.augmentation = None if augmentation == SeeAugmentation() else augmentation
        self.label_smoothing = label_smoothing
        self.class_weights = class_weights

    def loss(self, batch: ImageBatch) -> Share:
        """Sum of the cross-entropies in nats, and the number of images."""
        targets: Tensor = batch.labels
        pixels = batch.pixels
        if self.augmentation is not None:
            shares = F.one_hot(batch.labels, self.classes).float()
            pixels, targets = augmented(pixels.to(torch.get_default_dtype()) / 255, shares, self.augmentation)
        scores = self._scores(pixels)
        weights = None if self.class_weights is None else self.class_weights.to(scores)
        total = F.cross_entropy(scores, targets, weights, reduction="sum", label_smoothing=self.label_smoothing)
        return Share(total, len(batch))

    def measure(self, batch: ImageBatch) -> dict[str, Share]:
        """`loss` without smoothing, and `accuracy`."""
        scores = self._scores(batch.pixels)
        right = torch.count_nonzero(scores.argmax(dim=1) == batch.labels)
        total = F.cross_entropy(scores, batch.labels, reduction="sum")
        return {"loss": Share(total, len(batch)), "accuracy": Share(right, len(batch))}

    def _scores(self, pixels: Tensor) -> Tensor:
        values = scaled(self.form, pixels).contiguous(memory_format=torch.channels_last)  # faster on processors
        scores: Tensor = self.network(values)
        return scores.float()


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Weights that let every class count alike: N / (classes n_k) for a class with n_k of N images.

    They are 1 where all classes have as many, and the mean weight of the images is 1. Shape (classes,).

    Args:
        labels: class numbers of the training images. Shape (N,).
        classes: how many; one without images has weight 0.
    Source: scikit-learn's `class_weight="balanced"`, after King and Zeng 2001, Logistic Regression in Rare Events
        Data.
    """
    counts = torch.bincount(labels, minlength=classes)
    weights = len(labels) / (torch.count_nonzero(counts) * counts.clamp(min=1))
    return torch.where(counts > 0, weights, 0.0)
