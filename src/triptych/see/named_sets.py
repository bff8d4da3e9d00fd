"""Images that are known by name: the digits that arrive with scikit-learn, and Kuzushiji-MNIST by download."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from triptych.data.downloads import fetch
from triptych.data.fingerprints import fingerprint_items
from triptych.errors import DataError, did_you_mean
from triptych.images.arrays import Labelled, labelled_source, read_idx
from triptych.images.sources import WHOLE, Collection, ImageList

_KMNIST_ADDRESSES = (
    "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
    "https://web.archive.org/web/2023id_/http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
)
_KMNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "bdb82020997e1d708af4cf47b453dcf7",
    "train-labels-idx1-ubyte.gz": "e144d726b3acfaa3e44228e80efcd344",
    "t10k-images-idx3-ubyte.gz": "5c965bf0a639b31b8f53240b1b52f4d7",
    "t10k-labels-idx1-ubyte.gz": "7320c461ea6c1c855c0b718fb2a4b134",
}
_DIGITS_TOP = 16


@dataclass(frozen=True)
class NamedSet:
    """Images with a name.

    Attributes:
        description: one sentence on what it holds.
        licence: the terms of the data.
        classes: number of classes.
        load: reads the images, after a download where one is needed.
    """

    name: str
    description: str
    licence: str
    classes: int
    load: Callable[[], Collection[ImageList]]


def list_named_sets() -> tuple[NamedSet, ...]:
    """All named sets of images."""
    return (
        NamedSet(
            name="digits",
            description="1,797 handwritten digits of 8 x 8 grey pixels, 10 classes, from scikit-learn.",
            licence="CC BY 4.0, E. Alpaydin and C. Kaynak, UCI Machine Learning Repository",
            classes=10,
            load=_read_digits,
        ),
        NamedSet(
            name="kmnist",
            description="Kuzushiji-MNIST: 70,000 cursive Japanese letters of 28 x 28 grey pixels, 10 classes.",
            licence="CC BY-SA 4.0, ROIS-DS Center for Open Data in the Humanities",
            classes=10,
            load=_read_kmnist,
        ),
    )


def classes_of(name: str) -> int | None:
    """The number of classes of a named set, without reading it; None where there is no such set."""
    return next((known.classes for known in list_named_sets() if known.name == name), None)


def resolve(name: str) -> NamedSet:
    """The set of a name.

    Raises:
        DataError: there is no such set; the nearest name is suggested.
    """
    sets = {named_set.name: named_set for named_set in list_named_sets()}
    if name not in sets:
        raise DataError(field="data.set", value=name, expected="a known data set", hint=did_you_mean(name, sets))
    return sets[name]


def _read_digits() -> Collection[ImageList]:
    """The digits without splits, their grey values of 0 to 16 on the scale 0 to 255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images * (255 / _DIGITS_TOP)).astype(np.uint8)
    source = labelled_source(
        {WHOLE: Labelled(images, digits.target, "digits")}, place="digits", names=None, fingerprints=()
    )
    part = source.splits[WHOLE]
    content = (f"{label}\t{digest}" for label, digest in zip(part.labels, part.digests, strict=True))
    fingerprint = {"path": "digits", "images": len(part), "sha256": fingerprint_items(content)}
    return Collection(source.splits, source.classes, [fingerprint])


def _read_kmnist() -> Collection[ImageList]:
    """The official training and test images."""
    paths = [
        fetch(
            f"kmnist/{file}",
            urls=[address + file for address in _KMNIST_ADDRESSES],
            known_hash=f"md5:{digest}",
        )
        for file, digest in _KMNIST_MD5.items()
    ]
    return read_idx(paths[0].parent)
