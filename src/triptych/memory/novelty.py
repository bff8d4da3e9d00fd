"""Whether a cue belongs to what a memory holds: a score, and a threshold calibrated on cues that do.

The energy of a cue is low where patterns are near and dense: for patterns of one length it is, up to a constant,
minus the logarithm of a kernel density estimate over beta. The distance is that to the nearest pattern alone.

**Calibration.** With n held-out cues that do belong, the threshold is the ceil((n + 1)(1 - r))-th smallest of their
scores. A further cue of their kind then scores above it with probability at most r, whatever the scores' distribution.

Source: Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World, chapter 2 (the threshold).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

import torch
from pydantic import ConfigDict, Field
from torch import Tensor

from triptych.errors import DataError, TriptychError, check_choice
from triptych.recall.checks import number

Score = Literal["energy", "distance"]


@dataclass(frozen=True)
class Threshold:
    """Above which score a cue is called novel.

    Attributes:
        score: "energy" or "distance".
        threshold: in the score's own unit.
        false_alarm_rate: the share of cues that belong which are called novel all the same, at most.
        n_cues: held-out cues it was calibrated on.
        stale: the patterns, or beta, have changed since, so that it no longer holds.
    """

    score: Score
    threshold: float
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)]
    n_cues: Annotated[int, Field(ge=1)]
    stale: bool = False

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)

    def is_novel(self, scores: Tensor) -> Tensor:
        """True where a cue is novel. Shapes alike."""
        return scores > self.threshold


def calibrate(scores: Tensor, *, score: Score, false_alarm_rate: float = 0.05) -> Threshold:
    """The threshold for cues whose held-out companions scored so.

    Args:
        scores: of cues that belong to the memory's patterns but are not among them. Shape (n,).
        score: what was measured.
        false_alarm_rate: between 0 and 1.
    Raises:
        TriptychError: the score is not known, or the rate breaks its rule.
        DataError: too few cues to keep that rate.
    """
    if not 0 < number(false_alarm_rate) < 1:
        expected = "a number between 0 and 1, such as 0.05"
        raise TriptychError(field="false_alarm_rate", value=false_alarm_rate, expected=expected)
    check_score(score)
    count = scores.shape[0]
    rank = math.ceil((count + 1) * (1 - false_alarm_rate) - 1e-9)
    if rank > count:
        needed = math.ceil(1 / false_alarm_rate - 1e-9) - 1
        raise DataError(
            f"There are {count} held-out cues; a false alarm rate of {false_alarm_rate:g} takes at least {needed}.",
            field="cue",
            value=count,
            expected=f"at least {needed} rows",
            hint="Hold out more cues, or allow more false alarms.",
        )
    return Threshold(score, torch.sort(scores).values[rank - 1].item(), false_alarm_rate, count)


def check_score(score: str) -> None:
    """A score is one that a memory gives; TriptychError where it is not."""
    check_choice(score, get_args(Score), field="score")
