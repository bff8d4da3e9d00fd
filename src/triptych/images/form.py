"""The form in which a network sees images: that of the recipe, and the scale of the values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from triptych.config import ImageForm
from triptych.errors import RunError

Numbers = Annotated[tuple[float, ...], Field(strict=False)]
Deviations = Annotated[tuple[Annotated[float, Field(gt=0)], ...], Field(strict=False)]


class InputForm(ImageForm):
    """Conversion of an image to the input of a network.

    Attributes:
        mean: per channel, of values from 0 to 1; subtracted.
        deviation: per channel, > 0; divided by.
    """

    mean: Numbers
    deviation: Deviations

    @model_validator(mode="after")
    def _fits_the_channels(self) -> Self:
        for name in ("mean", "deviation"):
            entries = len(getattr(self, name))
            if entries != self.channels:
                raise ValueError(f"{name} has {entries} entries; expected {self.channels}, one per channel")
        return self

    @property
    def is_unit(self) -> bool:
        """Whether values stay as they are, from 0 to 1."""
        return not any(self.mean) and all(deviation == 1 for deviation in self.deviation)

    def scaled(self, pixels: NDArray[Any]) -> NDArray[np.float32]:
        """Bytes (B, C, height, width) as the network's numbers."""
        values = pixels.astype(np.float32) / np.float32(255)
        if self.is_unit:
            return np.asarray(values)
        mean, deviation = (np.array(part, dtype=np.float32)[:, None, None] for part in (self.mean, self.deviation))
        return np.asarray((values - mean) / deviation)

    @classmethod
    def from_dict(cls, document: Any, path: Path) -> Self:
        """What `model_dump` gave; `path` names the file in messages.

        Raises:
            RunError: it is damaged.
        """
        if not isinstance(document, Mapping) or not document.keys() >= cls.model_fields.keys():
            raise RunError("input is damaged (entries are missing).", path=path)
        try:
            return cls.model_validate(dict(document))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise RunError(f"input is damaged ({place}: {first['msg']}).", path=path) from None
