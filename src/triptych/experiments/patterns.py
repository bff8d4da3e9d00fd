"""What experiments store: random signs, or scanned digits that arrive with scikit-learn; and cues made from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from triptych.errors import TriptychError, check_choice
from triptych.recall.separation import SOFTMAX, Entmax, Separation, TopK


@dataclass(frozen=True)
class Digits:
    """Scanned digits of 8 x 8 pixels in a random order.

    Attributes:
        images: grey values from 0 (paper) to 1 (ink). Shape (N, 64).
        labels: which digit. Shape (N,), int64.
        mean: of all 1,797 images. Shape (64,).
    """

    images: Tensor
    labels: Tensor
    mean: Tensor

    @property
    def patterns(self) -> Tensor:
        """The images less the mean image, each scaled to norm sqrt(64), as long as a pattern of signs. Shape (N, 64).

        Uncentred, all digits point the same way, since most of their pixels agree.
        """
        return (self.images - self.mean) * (math.sqrt(self.images.shape[1]) / self.lengths.unsqueeze(1))

    @property
    def lengths(self) -> Tensor:
        """Norms of the images less the mean image. Shape (N,)."""
        lengths: Tensor = torch.linalg.vector_norm(self.images - self.mean, dim=1)
        return lengths

    def grey(self, rows: Tensor, places: Sequence[int] | None = None) -> Tensor:
        """Patterns, cues or states in grey values again, each on the scale of its digit. Shapes: (n, 64) to (n, 64).

        Args:
            rows: on the scale of `patterns`.
            places: which digit each row belongs to; the one of the same row when None.
        """
        lengths = self.lengths if places is None else self.lengths[list(places)]
        return self.mean + rows * lengths.unsqueeze(1) / math.sqrt(rows.shape[1])


def load_digits(count: int, *, seed: int) -> Digits:
    """Digits drawn without replacement, from 1 to 1,797.

    Source: scikit-learn's copy of the UCI "Optical Recognition of Handwritten Digits" test set.
    """
    from sklearn import datasets

    found = datasets.load_digits()
    images = torch.from_numpy(found.data).float() / 16
    if not 1 <= count <= len(images):
        raise TriptychError(field="count", value=count, expected=f"an integer from 1 to {len(images)}, all digits")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count]
    return Digits(images[order], torch.from_numpy(found.target)[order].long(), images.mean(0))


def random_signs(count: int, width: int, generator: torch.Generator) -> Tensor:
    """Independent -1 and 1, equally likely. Shape (count, width)."""
    return torch.randint(0, 2, (count, width), generator=generator).float() * 2 - 1


def stored_patterns(source: str, count: int, width: int, *, seed: int) -> Tensor:
    """Patterns of norm sqrt(D) from "digits" or "signs". Shape (count, width)."""
    check_choice(source, ("digits", "signs"), field="source")
    if source == "digits":
        return load_digits(count, seed=seed).patterns
    return random_signs(count, width, torch.Generator().manual_seed(seed))


def known_places(count: int, width: int, share: float, generator: torch.Generator) -> Tensor:
    """Which coordinates of each cue are known: the same number in every row, at random places. Shape (count, width)."""
    places = torch.rand(count, width, generator=generator).argsort(1).argsort(1)
    return places < round(share * width)


def separation_of(name: str, *, alpha: float, k: int) -> Separation:
    """The separation function of that name: softmax, entmax with its alpha, or top-k with its k."""
    known: dict[str, Separation] = {"softmax": SOFTMAX, "entmax": Entmax(alpha), "top-k": TopK(k)}
    check_choice(name, tuple(known), field="separation")
    return known[name]


def cosines(state: Tensor, patterns: Tensor) -> Tensor:
    """Row by row; 0 where one has length 0. Shapes: (B, D), (B, D) to (B,)."""
    return torch.nn.functional.cosine_similarity(state, patterns, dim=1)
