"""The results of each experiment: measured numbers as tables, findings and figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch

from triptych.config.recall import CapacityRecipe, LandscapeRecipe, MetastableRecipe, NoiseRecipe, Separations
from triptych.experiments.capacity import CLASSIC_LIMIT, measure_capacity, polynomial_limit, quartiles
from triptych.experiments.landscape import Landscape, map_landscape
from triptych.experiments.metastable import StateSizes, measure_sizes
from triptych.experiments.noise import NoiseTrial, measure_noise
from triptych.experiments.patterns import separation_of, stored_patterns
from triptych.recall.separation import Separation
from triptych.report.recall_figures import Axis, Band, Surface, bands, landscapes
from triptych.report.tables import Cell, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class DrawnFigure:
    """A figure, what it shows, and a sentence below it."""

    figure: Figure
    alt: str
    caption: str


@dataclass(frozen=True)
class Outcome:
    """An experiment's results.

    Attributes:
        text: the findings in a sentence or two.
        findings: the main numbers by name, plain values for JSON.
        tables: every number measured; a table's title is its file's name.
        figures: by file name.
    """

    text: str
    findings: Mapping[str, Any]
    tables: Sequence[Table]
    figures: Mapping[str, DrawnFigure]


def capacity(recipe: CapacityRecipe) -> Outcome:
    """The share of partial cues recalled against the number of patterns, for each network."""
    patterns, cues, networks = recipe.patterns, recipe.cues, recipe.networks
    found = measure_capacity(
        networks.names,
        patterns.counts,
        width=patterns.width,
        seeds=range(patterns.seed, patterns.seed + patterns.seeds),
        known=cues.known,
        cues=cues.per_memory,
        success=cues.success,
        networks=networks,
    )
    labels = {
        "classic": "classic (1982)",
        "polynomial": f"polynomial, degree {networks.degree}",
        "exponential": f"exponential, beta {networks.beta:g}",
        "sparse": f"sparse, alpha {networks.alpha:g}, beta {networks.beta:g}",
    }
    curves = [_band(labels[name], found.curve(name)) for name in found.networks]
    limits = {}
    if "classic" in found.networks:
        limits[f"classic: {CLASSIC_LIMIT} D"] = CLASSIC_LIMIT * patterns.width
    if "polynomial" in found.networks and patterns.width > 1:
        limit = polynomial_limit(patterns.width, networks.degree)
        limits[f"degree {networks.degree}: {limit:,.0f}, without error"] = limit
    held = {name: found.capacity(name) for name in found.networks}
    largest = max(patterns.counts)
    listed = ", ".join(f"{name} {count:,}{' (all tried)' if count == largest else ''}" for name, count in held.items())
    figure = bands(
        [(Axis("share of cues recalled"), curves)],
        x=Axis(f"patterns stored, of width {patterns.width}", "log", 2),
        limits=limits,
    )
    theory = f"Dotted: what theory gives for random patterns of width D = {patterns.width}."
    caption = f"Median over {patterns.seeds} memories, quartiles shaded. {theory}"
    return Outcome(
        text=f"Most patterns held with at least half of the cues recalled, median over memories: {listed}.",
        findings={f"{name} holds": count for name, count in held.items()},
        tables=[_table("capacity", found.trials)],
        figures={"capacity": DrawnFigure(figure, "Share of cues recalled against the number of patterns", caption)},
    )


def noise(recipe: NoiseRecipe) -> Outcome:
    """The share of noisy cues recalled, and their cosine to the pattern, against the noise."""
    networks, cues = recipe.networks, recipe.cues
    trials = measure_noise(
        _stored(recipe),
        separations=_separations(networks),
        betas=networks.betas,
        noise=cues.noise,
        draws=cues.draws,
        success=cues.success,
        max_steps=networks.max_steps,
    )
    settings = list(dict.fromkeys((trial.separation, trial.beta) for trial in trials))
    shares = [_noise_band(trials, setting, "recalled") for setting in settings]
    near = [_noise_band(trials, setting, "cosine") for setting in settings]
    tolerated = {band.label: _last_above_half(band) for band in shares}
    figure = bands(
        [(Axis("share of cues recalled"), shares), (Axis("mean cosine to the pattern"), near)],
        x=Axis("noise, in units of the pattern"),
    )
    listed = ", ".join(f"{label} {'none' if level is None else f'{level:g}'}" for label, level in tolerated.items())
    return Outcome(
        text=f"Most noise at which the median draw still recalls at least half of the cues: {listed}.",
        findings={f"{label} tolerates": level for label, level in tolerated.items()},
        tables=[_table("noise", trials)],
        figures={
            "noise": DrawnFigure(
                figure,
                "Share of cues recalled and cosine to the pattern against the noise",
                f"Median over {cues.draws} draws of the noise, quartiles shaded. At noise 1 a cue is as far from its "
                "pattern as the pattern is long.",
            )
        },
    )


def metastable(recipe: MetastableRecipe) -> Outcome:
    """The number of patterns that states average, and the number of states, against beta."""
    networks = recipe.networks
    low, high = math.log10(networks.beta_low), math.log10(networks.beta_high)
    betas = torch.logspace(low, high, networks.points, dtype=torch.float64).tolist()
    found = measure_sizes(
        _stored(recipe),
        separations=_separations(networks),
        betas=betas,
        mass=networks.mass,
        max_steps=networks.max_steps,
    )
    names = list(dict.fromkeys(point.separation for point in found))
    sizes = [_band(name, [_quartiles_of(point) for point in found if point.separation == name]) for name in names]
    states = [
        _band(name, [(p.beta, p.states, p.states, p.states) for p in found if p.separation == name]) for name in names
    ]
    figure = bands(
        [
            (Axis(f"patterns that hold {networks.mass:.0%} of a state", "log"), sizes),
            (Axis("different states reached", "log"), states),
        ],
        x=Axis("beta", "log"),
    )
    alone = {name: _first_single(band) for name, band in zip(names, sizes, strict=True)}
    listed = ", ".join(f"{name} {'never' if beta is None else f'{beta:.3g}'}" for name, beta in alone.items())
    return Outcome(
        text=f"Smallest beta above which the median pattern leads to a state of one pattern: {listed}.",
        findings={f"{name} single from beta": beta for name, beta in alone.items()},
        tables=[
            Table(
                "metastable",
                ["separation", "beta", "low", "median", "high", "states", "converged"],
                [[p.separation, *_quartiles_of(p), p.states, p.converged] for p in found],
                digits=4,
            )
        ],
        figures={
            "metastable": DrawnFigure(
                figure,
                "Sizes of states and number of states against beta",
                f"Left: median over {recipe.patterns.count} patterns, quartiles shaded; each sets out from itself.",
            )
        },
    )


def landscape(recipe: LandscapeRecipe) -> Outcome:
    """The energy and the basins of a memory in the plane, at each beta."""
    networks, grid = recipe.networks, recipe.grid
    maps = [
        map_landscape(
            torch.tensor(recipe.patterns.points, dtype=torch.float64),
            beta=beta,
            separation=separation_of(networks.separation, alpha=networks.alpha, k=networks.k),
            half_width=grid.half_width,
            resolution=grid.resolution,
            paths=grid.paths,
            max_steps=networks.max_steps,
        )
        for beta in networks.betas
    ]
    rows: list[list[Cell]] = [
        [one.beta, number, *point.tolist(), energy.item(), share]
        for one in maps
        for number, (point, energy, share) in enumerate(
            zip(one.fixed_points, one.fixed_energies, one.shares, strict=True)
        )
    ]
    count = len(recipe.patterns.points)
    listed = ", ".join(f"{len(one.fixed_points)} at beta {one.beta:g}" for one in maps)
    return Outcome(
        text=f"Of {count} patterns, the states in which places come to rest: {listed}.",
        findings={f"states at beta {one.beta:g}": len(one.fixed_points) for one in maps},
        tables=[Table("landscape", ["beta", "state", "x", "y", "energy", "share of the square"], rows, digits=4)],
        figures={
            "landscape": DrawnFigure(
                landscapes([_surface(one) for one in maps]),
                "Energy contours of a memory in the plane, with the basin of every fixed point in its own colour",
                "A colour for the places that lead to the same fixed point.",
            )
        },
    )


def _stored(recipe: NoiseRecipe | MetastableRecipe) -> torch.Tensor:
    given = recipe.patterns
    return stored_patterns(given.source, given.count, given.width, seed=given.seed)


def _separations(given: Separations) -> dict[str, Separation]:
    """By the names that legends show."""
    shown = {"softmax": "softmax", "entmax": f"entmax {given.alpha:g}", "top-k": f"top {given.k}"}
    return {shown[name]: separation_of(name, alpha=given.alpha, k=given.k) for name in given.separations}


def _table(title: str, records: Sequence[Any]) -> Table:
    """A row for each record of one kind, with its fields as columns."""
    return Table(title, list(vars(records[0])), [list(vars(record).values()) for record in records])


def _band(label: str, points: Sequence[tuple[float, float, float, float]]) -> Band:
    x, low, middle, high = (list(column) for column in zip(*points, strict=True))
    return Band(label, x, low, middle, high)


def _noise_band(trials: Sequence[NoiseTrial], setting: tuple[str, float], measure: str) -> Band:
    points = []
    mine = [trial for trial in trials if (trial.separation, trial.beta) == setting]
    for level in dict.fromkeys(trial.noise for trial in mine):
        points.append((level, *quartiles([getattr(t, measure) for t in mine if t.noise == level])))
    return _band(f"{setting[0]}, beta {setting[1]:g}", points)


def _quartiles_of(point: StateSizes) -> tuple[float, float, float, float]:
    return (point.beta, *quartiles(point.sizes))


def _last_above_half(band: Band) -> float | None:
    """The largest noise up to which the median is at least one half everywhere."""
    held = list(takewhile(lambda point: point[1] >= 0.5, zip(band.x, band.middle, strict=True)))
    return held[-1][0] if held else None


def _first_single(band: Band) -> float | None:
    """The smallest beta from which on the median size is 1."""
    falling = zip(reversed(band.x), reversed(band.middle), strict=True)
    single = list(takewhile(lambda point: point[1] <= 1, falling))
    return single[-1][0] if single else None


def _surface(one: Landscape) -> Surface:
    count = len(one.fixed_points)
    drawn = ("axis", "energies", "basins", "patterns", "fixed_points", "paths")
    arrays = {name: getattr(one, name).numpy() for name in drawn}
    return Surface(title=f"beta {one.beta:g}: {count} state{'' if count == 1 else 's'}", **arrays)
