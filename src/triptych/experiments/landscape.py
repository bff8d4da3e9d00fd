"""The energy of a memory in the plane, and to which fixed point each place leads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from triptych.experiments.metastable import group_states
from triptych.recall.checks import check_patterns, shape_error
from triptych.recall.energy import energy
from triptych.recall.retrieval import retrieve
from triptych.recall.separation import Separation

_TOLERANCE = 1e-9
_SAME = 1e-2  # of the patterns' largest norm, since rest is slow near the edge between two basins


@dataclass(frozen=True)
class Landscape:
    """Energies and basins on a square grid around the origin.

    Attributes:
        beta: inverse temperature.
        patterns: Shape (N, 2).
        axis: coordinates of the grid along both axes. Shape (R,).
        energies: E, row i at y = axis[i], column j at x = axis[j]. Shape (R, R).
        basins: number of the fixed point that the place leads to, likewise. Shape (R, R), int64.
        fixed_points: by their numbers. Shape (F, 2).
        fixed_energies: theirs. Shape (F,).
        paths: trajectories from a coarser grid, which stay where they came to rest. Shape (steps + 1, P, 2).
    """

    beta: float
    patterns: Tensor
    axis: Tensor
    energies: Tensor
    basins: Tensor
    fixed_points: Tensor
    fixed_energies: Tensor
    paths: Tensor

    @property
    def shares(self) -> list[float]:
        """Of the square that leads to each fixed point."""
        counts = torch.bincount(self.basins.flatten(), minlength=len(self.fixed_points))
        return (counts.double() / self.basins.numel()).tolist()


def map_landscape(
    patterns: Tensor,
    *,
    beta: float,
    separation: Separation,
    half_width: float,
    resolution: int,
    paths: int,
    max_steps: int,
) -> Landscape:
    """Compute the energy at every place of a grid, and follow every place to rest.

    Args:
        patterns: points of the plane. Shape (N, 2).
        half_width: the square goes from minus this to plus this.
        resolution: R, places along each side, >= 2.
        paths: trajectories kept, along each side, >= 0.
    """
    check_patterns(patterns)
    if patterns.shape[1] != 2:
        raise shape_error("patterns", patterns, "(N, 2), points of the plane")
    patterns = patterns.double()
    axis = torch.linspace(-half_width, half_width, resolution, dtype=torch.float64)
    places = _grid(axis)
    follow = partial(retrieve, patterns, beta=beta, max_steps=max_steps, tolerance=_TOLERANCE, separation=separation)
    ends = follow(places).state
    scale = torch.linalg.vector_norm(patterns, dim=1).max().clamp_min(1e-12).item()
    basins = group_states(ends, _SAME * scale)
    # Of the places in a basin, the one whose energy fell lowest has come nearest to the fixed point.
    depth = energy(patterns, ends, beta=beta, separation=separation)
    lowest = [depth.masked_fill(basins != number, float("inf")).argmin() for number in range(int(basins.max()) + 1)]
    fixed = ends[torch.stack(lowest)]
    coarse = torch.linspace(-half_width, half_width, paths + 2, dtype=torch.float64)[1:-1]
    kept = follow(_grid(coarse), extras=("trajectory",)).trajectory
    assert kept is not None
    return Landscape(
        beta=beta,
        patterns=patterns,
        axis=axis,
        energies=energy(patterns, places, beta=beta, separation=separation).reshape(resolution, resolution),
        basins=basins.reshape(resolution, resolution),
        fixed_points=fixed,
        fixed_energies=energy(patterns, fixed, beta=beta, separation=separation),
        paths=kept,
    )


def _grid(axis: Tensor) -> Tensor:
    """All pairs, row by row from below. Shapes: (R,) to (R * R, 2)."""
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)
