"""Recall demo: store scanned digits, recall them from halves and from noisy copies, and draw the energies."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.experiments.patterns import Digits, cosines, load_digits
from triptych.files import write_bytes_atomically, write_text_atomically
from triptych.recall.retrieval import retrieve
from triptych.report.canvas import save
from triptych.report.recall_figures import RecalledImage, recalled_images
from triptych.runs.run import runs_folder

STORED = 200
BETA = 2.0
NOISE = 1.0  # of a pattern's root mean square
SUCCESS = 0.9
_SIDE = 8
_STEPS_SHOWN = (1, 2, 3)  # and the last


@dataclass(frozen=True)
class Recalled:
    """Results of one kind of cue.

    Attributes:
        kind: what was done to the digits.
        cues: how many.
        recalled: share whose result has a cosine above 0.9 to the digit that was stored.
        same_class: share whose result is nearest to a stored digit of the same class.
        mean_steps: updates until the state rests.
        largest_rise: of the energy in one update, over all cues.
        rounding: the largest rise that rounding alone can cause.
    """

    kind: str
    cues: int
    recalled: float
    same_class: float
    mean_steps: float
    largest_rise: float
    rounding: float

    @property
    def energy_never_rose(self) -> bool:
        """By more than rounding."""
        return self.largest_rise <= self.rounding


@dataclass(frozen=True)
class RecallDemo:
    """Results of the demo.

    Attributes:
        stored: how many digits.
        beta: inverse temperature.
        results: of half-hidden and of noisy cues.
        figure: cues, trajectories, results and energies, as PNG.
        patterns, cues: the stored digits and the noisy ones, grey values from 0 to 1 or beyond, as `.npy` of one row
            each.
        labels: the digit of each, one line each.
        seconds: without drawing.
    """

    stored: int
    beta: float
    results: Sequence[Recalled]
    figure: Path
    patterns: Path
    cues: Path
    labels: Path
    seconds: float


@dataclass(frozen=True)
class _Asked:
    """Cues of one kind, NaN where they are unknown, and what they led to."""

    kind: str
    cue: Tensor
    right: Tensor
    steps: Tensor
    state: Tensor
    trajectory: Tensor
    energies: Tensor


def run_recall_demo(name: str | Path, *, stored: int = STORED, beta: float = BETA, seed: int = 0) -> RecallDemo:
    """Store digits, retrieve each from its upper half and from itself with noise, and draw some.

    Args:
        name: of a folder among the runs, or a path, for the figure and the arrays; made when missing.
        stored: digits, from 1 to 1,797.
        beta: inverse temperature, > 0.
        seed: which digits, and which noise.
    """
    out = runs_folder() / name
    began = time.perf_counter()
    digits = load_digits(stored, seed=seed)
    patterns = digits.patterns
    generator = torch.Generator().manual_seed(seed)
    hidden = patterns.clone()
    hidden[:, patterns.shape[1] // 2 :] = float("nan")
    noisy = patterns + NOISE * torch.randn(patterns.shape, generator=generator)
    asked = [_ask("lower half hidden", patterns, hidden, beta), _ask("noise", patterns, noisy, beta)]
    results = [_measure(each, digits) for each in asked]
    seconds = round(time.perf_counter() - began, 2)
    rows = [row for each in asked for row in _rows(each, digits)]
    figure = save(recalled_images(rows, steps_shown=len(_STEPS_SHOWN) + 1), out, "recall-demo").png
    paths = out / "patterns.npy", out / "cues.npy"
    for path, array in zip(paths, (digits.images, digits.grey(noisy)), strict=True):
        _write_array(path, array)  # as images, which a memory with centred-unit compares as they are compared here
    labels = out / "labels.txt"
    write_text_atomically(labels, "".join(f"{label}\n" for label in digits.labels.tolist()))
    return RecallDemo(stored, beta, results, figure, *paths, labels, seconds)


def _ask(kind: str, patterns: Tensor, cue: Tensor, beta: float) -> _Asked:
    found = retrieve(patterns, cue, beta=beta, known_valid=~cue.isnan(), extras=("trajectory", "energies"))
    assert found.trajectory is not None
    assert found.energies is not None
    right = cosines(found.state, patterns) > SUCCESS
    return _Asked(kind, cue, right, found.steps, found.state, found.trajectory, found.energies)


def _measure(asked: _Asked, digits: Digits) -> Recalled:
    scale = digits.patterns.square().sum(1).max() + asked.cue.nan_to_num(0.0).square().sum(1).max()
    nearest = torch.cdist(asked.state, digits.patterns).argmin(1)
    return Recalled(
        kind=asked.kind,
        cues=len(asked.cue),
        recalled=asked.right.double().mean().item(),
        same_class=(digits.labels[nearest] == digits.labels).double().mean().item(),
        mean_steps=asked.steps.double().mean().item(),
        largest_rise=asked.energies.diff(dim=0).max().item(),
        rounding=16 * torch.finfo(asked.energies.dtype).eps * scale.item(),
    )


def _rows(asked: _Asked, digits: Digits) -> list[RecalledImage]:
    """The two cues that were furthest from the right digit, and one that led to another digit, where there are any."""
    fall = asked.energies[1] - asked.energies[-1]  # the first update takes a cue most of its way
    chosen = fall.masked_fill(~asked.right, -1).topk(min(2, int(asked.right.sum()))).indices.tolist()
    chosen += (~asked.right).nonzero().flatten().tolist()[:1]
    return [_row(asked, digits, index) for index in chosen]


def _row(asked: _Asked, digits: Digits, index: int) -> RecalledImage:
    taken = int(asked.steps[index])
    shown = [min(step, taken) for step in (*_STEPS_SHOWN, taken)]
    return RecalledImage(
        label=f"{asked.kind}: {int(digits.labels[index])}",
        stored=_image(digits, index, digits.patterns[index]),
        cue=_image(digits, index, asked.cue[index]),
        states=[_image(digits, index, asked.trajectory[step, index]) for step in shown],
        steps=shown,
        energies=asked.energies[: taken + 1, index].tolist(),
        right=bool(asked.right[index]),
    )


def _image(digits: Digits, index: int, state: Tensor) -> NDArray[np.float32]:
    """A state in grey values. Shape (8, 8)."""
    grey = digits.grey(state.unsqueeze(0), [index])[0]
    image: NDArray[np.float32] = grey.reshape(_SIDE, _SIDE).numpy()
    return image


def _write_array(path: Path, array: Tensor) -> None:
    written = io.BytesIO()
    np.save(written, array.numpy())
    write_bytes_atomically(path, written.getvalue())
