"""The direct fit of a last layer: features of the training images, computed once, and a penalty chosen on others."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from triptych.config import SeeRecipe
from triptych.data.progress import reading_bar
from triptych.images.form import InputForm
from triptych.images.sources import Collection
from triptych.see.efficientnet import EfficientNetLite
from triptych.see.features import Features, features_of
from triptych.see.images import Images
from triptych.see.last_layer import Chosen, choose
from triptych.statistics import share_of
from triptych.training.objective import FirstFit


def fit_last_layer(
    recipe: SeeRecipe,
    network: EfficientNetLite,
    form: InputForm,
    data: Collection[Images],
    class_weights: Tensor | None = None,
) -> FirstFit:
    """Fit the network's last layer to some images in place, with everything before it as it is.

    Args:
        recipe: seed of the folds.
        network: changed in place.
        form: how bytes become its input.
        data: images to train on, and to validate on if there are any.
        class_weights: what an image of each class counts. Shape (K,); None is 1 for all.
    """
    splits = {split: data.splits[split] for split in ("train", "valid") if split in data.splits}
    features = _features(network, form, splits)
    labels = {split: images.labels.numpy() for split, images in splits.items()}
    chosen = choose(
        features["train"],
        labels["train"],
        len(data.classes),
        valid=(features["valid"], labels["valid"]) if "valid" in splits else None,
        class_weights=None if class_weights is None else class_weights.numpy(),
        seed=recipe.training.seed,
    )
    with torch.no_grad():
        network.last.weight.copy_(torch.from_numpy(chosen.layer.weight))
        network.last.bias.copy_(torch.from_numpy(chosen.layer.bias))
    train_loss = chosen.layer.loss(features["train"], labels["train"])
    return _described(chosen, train_loss)


def _features(network: EfficientNetLite, form: InputForm, splits: dict[str, Images]) -> dict[str, Features]:
    total = sum(len(images.labels) for images in splits.values())
    found, before = {}, 0
    with reading_bar("features") as progress:
        for split, images in splits.items():
            found[split] = features_of(
                network,
                images,
                form,
                progress=lambda done, _all, before=before: progress(before + done, total),  # type: ignore[misc]
            )
            before += len(images.labels)
    return found


def _described(chosen: Chosen, train_loss: float) -> FirstFit:
    metrics = {"train_loss": train_loss}
    facts: dict[str, Any] = {"penalty": chosen.penalty, "chosen_by": chosen.by}
    text = f"the last layer is fitted with penalty {chosen.penalty:.2g}"
    if not len(chosen.right):
        return FirstFit(metrics, facts, f"{text}; no image could be held out, so its accuracy is unknown")
    accuracy = share_of(chosen.right)
    metrics |= {"valid_loss": chosen.losses[chosen.penalty], "valid_accuracy": accuracy.value}
    facts |= {
        "held_out": len(chosen.right),
        "accuracy": accuracy.to_dict(),
        "log_losses": {f"{penalty:.2g}": loss for penalty, loss in chosen.losses.items()},
    }
    low, high = accuracy.interval.low, accuracy.interval.high
    return FirstFit(
        metrics,
        facts,
        f"{text}, chosen by {chosen.by}: accuracy {accuracy.value:.3f} [{low:.3f}, {high:.3f}] "
        f"on {len(chosen.right):,} images that were held out",
    )
