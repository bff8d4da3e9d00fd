"""A size for images whose recipe leaves it to the data."""

from __future__ import annotations

import statistics
from contextlib import suppress

import numpy as np
from PIL import Image

from triptych.images.sources import ImageList

SAMPLE = 200  # images whose headers are read


def usual_side(images: ImageList) -> int:
    """The median of the shorter sides, in pixels, of up to 200 images spread over the list; 0 if none can be read.

    Only headers of files are read.
    """
    if isinstance(images.images, np.ndarray):
        return int(min(images.images.shape[1:3]))
    step = max(1, len(images) // SAMPLE)
    sides = []
    for path in images.images[::step]:
        with suppress(Exception), Image.open(path) as image:  # a bad file is reported where it is decoded
            sides.append(min(image.size))
    return int(statistics.median(sides)) if sides else 0
