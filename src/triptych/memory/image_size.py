"""The size of the images that patterns are made from."""

from __future__ import annotations

from dataclasses import dataclass

from triptych.errors import TriptychError
from triptych.recall.checks import check_count


@dataclass(frozen=True)
class ImageSize:
    """The size that images are brought to; `channels` is 1 (grey) or 3 (RGB), values are 0 to 1.

    Raises:
        TriptychError: a number breaks its rule.
    """

    height: int = 28
    width: int = 28
    channels: int = 1

    def __post_init__(self) -> None:
        check_count(self.height, name="height")
        check_count(self.width, name="width")
        if self.channels not in (1, 3):
            raise TriptychError(field="channels", value=self.channels, expected="1 (grey) or 3 (RGB)")
