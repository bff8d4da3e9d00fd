"""Whether a cue belongs to what a memory holds: a score, a threshold calibrated on cues that do, and its AUROC.

The energy of a cue is low where patterns are near and dense: for patterns of one length it is, up to a constant,
minus the logarithm of a kernel density estimate over beta. The distance to the nearest pattern looks at that one alone.

**Calibration.** With n held-out cues that do belong, the threshold is the ceil((n + 1)(1 - r))-th smallest of their
scores. A further cue of their kind then scores above it with probability at most r, whatever the scores' distribution.

Source: Vovk, Gammerman and Shafer 2005, Algorithmic Learning in a Random World, chapter 2 (the threshold).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from triptych.errors import DataError, TriptychError, did_you_mean

Score = Literal["energy", "distance"]


@dataclass(frozen=True)
class Threshold:
    """Above which score a cue is called novel.

    Attributes:
        score: "energy" or "distance".
        threshold: in the score's own unit.
        false_alarm_rate: the share of cues that belong which are called novel all the same, at most.
        n_cues: held-out cues it was calibrated on.
    """

    score: Score
    threshold: float
    false_alarm_rate: float
    n_cues: int

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
        TriptychError: the rate breaks its rule.
        DataError: too few cues to keep that rate.
    """
    if not 0 < false_alarm_rate < 1:
        raise TriptychError(f"false_alarm_rate is {false_alarm_rate}; expected a number between 0 and 1, such as 0.05.")
    check_score(score)
    count = scores.shape[0]
    rank = math.ceil((count + 1) * (1 - false_alarm_rate) - 1e-9)
    if rank > count:
        needed = math.ceil(1 / false_alarm_rate - 1e-9) - 1
        raise DataError(
            f"the held-out cues are {count}; expected at least {needed} for a false alarm rate of "
            f"{false_alarm_rate:g}. Hold out more cues, or allow more false alarms."
        )
    found = torch.sort(scores).values[rank - 1].item()
    return Threshold(score, found, false_alarm_rate, count)


def auroc(known: Tensor, novel: Tensor) -> float:
    """The probability that a novel cue scores above a known one, ties counting half.

    Args:
        known: scores of cues that belong. Shape (n,).
        novel: scores of cues that do not. Shape (m,).
    Raises:
        DataError: one of them is empty.
    """
    from sklearn.metrics import roc_auc_score  # takes a second to import, and only this needs it

    for name, scores in (("known", known), ("novel", novel)):
        if not scores.shape[0]:
            raise DataError(f"the {name} cues are 0; expected at least one.")
    truth = torch.cat([torch.zeros(known.shape[0]), torch.ones(novel.shape[0])])
    return float(roc_auc_score(truth.numpy(), torch.cat([known, novel]).double().numpy()))


def check_score(score: str) -> None:
    """A score is one that a memory gives.

    Raises:
        TriptychError: it is not.
    """
    known = get_args(Score)
    if score not in known:
        raise TriptychError(f"score is {score!r}; expected {' or '.join(known)}. {did_you_mean(str(score), known)}")
