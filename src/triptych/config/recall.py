"""The recipes of the panel `recall`: experiments on memories, each with tables of its own.

An experiment is not trained: `triptych experiment RECIPE` runs it, draws it and keeps its numbers.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from triptych.config.common import Fraction, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Seed, Table

Network = Literal["classic", "polynomial", "exponential", "sparse"]
SeparationName = Literal["softmax", "entmax", "top-k"]
Source = Literal["digits", "signs"]
Alpha = Annotated[float, Field(gt=1)]
Success = Annotated[
    float, Field(gt=-1, lt=1, description="cosine to the pattern that counts as recalled when exceeded")
]
DIGITS_WIDTH = 64
DIGITS = 1797


def _must_be_listed(table: Table, owners: dict[str, str], listed: list[str], key: str) -> None:
    """Settings of one choice stay at their defaults where that choice is not listed."""
    for name, owner in owners.items():
        value = getattr(table, name)
        if owner not in listed and value != type(table).model_fields[name].default:
            raise ValueError(
                f"{name} is {value} and has no effect without {owner!r}; expected {key} to list it. "
                f"Remove {name} or add {owner!r}"
            )


def _rising(values: list[Any]) -> list[Any]:
    if sorted(set(values)) != values:
        raise ValueError(f"the values {values} do not rise")
    return values


def _different(values: list[Any]) -> list[Any]:
    if len(set(values)) != len(values):
        raise ValueError(f"the values {values} are not all different")
    return values


Rising = AfterValidator(_rising)
Different = AfterValidator(_different)


class CapacityPatterns(Table):
    """`[patterns]` of capacity: random signs, from few patterns to many."""

    width: PositiveInt = Field(default=64, description="D, coordinates of a pattern")
    counts: Annotated[list[Annotated[int, Field(ge=2)]], Field(min_length=2), Rising] = Field(
        default=[2, 4, 6, 8, 10, 12, 16, 24, 32, 64, 128, 256, 512, 1024, 2048, 4096], description="N, each tried"
    )
    seeds: PositiveInt = Field(default=5, description="memories drawn for each count")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(  # each is multiplied before it reaches a generator of 64 bits
        default=0, description="of the first of them"
    )


class CapacityCues(Table):
    """`[cues]` of capacity: patterns of which a part is known."""

    known: Fraction = Field(default=0.5, description="share of a cue's coordinates that are the pattern's")
    per_memory: PositiveInt = Field(default=64, description="cues tried on a memory, at most one for each pattern")
    success: Success = 0.9


class CapacityNetworks(Table):
    """`[networks]` of capacity: which memories are compared."""

    names: Annotated[list[Network], Field(min_length=1), Different] = Field(
        default=["classic", "polynomial", "exponential", "sparse"], description="in the order of the legend"
    )
    degree: Annotated[int, Field(ge=2)] = Field(default=3, description="(polynomial) n in sum (x·s)^n")
    beta: PositiveFloat = Field(default=1.0, description="(exponential and sparse) inverse temperature")
    alpha: Alpha = Field(default=2.0, description="(sparse) entmax's alpha; 2 is sparsemax")
    max_steps: PositiveInt = Field(default=50, description="maximum of sweeps or updates")

    @model_validator(mode="after")
    def _settings_have_effect(self) -> Self:
        _must_be_listed(self, {"degree": "polynomial", "alpha": "sparse"}, list(self.names), "names")
        if not {"exponential", "sparse"} & set(self.names) and self.beta != 1:
            raise ValueError(
                f"beta is {self.beta} and has no effect without 'exponential' or 'sparse'; expected names to list one"
            )
        return self


class CapacityRecipe(Table):
    """Capacity of a memory: the share of partial cues recalled against the number of patterns stored."""

    panel: Literal["recall"]
    experiment: Literal["capacity"]
    title: str = ""
    patterns: CapacityPatterns = CapacityPatterns()
    cues: CapacityCues = CapacityCues()
    networks: CapacityNetworks = CapacityNetworks()


class StoredPatterns(Table):
    """`[patterns]` of noise and metastable: what is stored."""

    source: Source = Field(
        default="digits", description="scanned digits, centred and scaled to norm sqrt(D); or random signs"
    )
    count: PositiveInt = Field(default=200, description="N")
    width: PositiveInt = Field(default=DIGITS_WIDTH, description="D of signs; digits have 64")
    seed: Seed = Field(default=0, description="which digits, or which signs")

    @model_validator(mode="after")
    def _digits_are_as_they_are(self) -> Self:
        if self.source == "digits" and self.width != DIGITS_WIDTH:
            raise ValueError(f"width is {self.width} with source 'digits'; expected {DIGITS_WIDTH}, the digits' own")
        if self.source == "digits" and self.count > DIGITS:
            raise ValueError(f"count is {self.count} with source 'digits'; expected at most {DIGITS}, all there are")
        return self


class Separations(Table):
    """The separation functions that are compared, and their parameters."""

    separations: Annotated[list[SeparationName], Field(min_length=1), Different] = Field(
        default=["softmax", "entmax"], description="in the order of the legend"
    )
    alpha: Alpha = Field(default=2.0, description="(entmax) 2 is sparsemax")
    k: PositiveInt = Field(default=4, description="(top-k) patterns with a weight")
    max_steps: PositiveInt = 100

    @model_validator(mode="after")
    def _settings_have_effect(self) -> Self:
        _must_be_listed(self, {"alpha": "entmax", "k": "top-k"}, list(self.separations), "separations")
        return self


class NoiseNetworks(Separations):
    """`[networks]` of noise."""

    betas: Annotated[list[PositiveFloat], Field(min_length=1)] = Field(
        default=[0.1, 0.3], description="inverse temperatures, each tried"
    )


class NoiseCues(Table):
    """`[cues]` of noise: every stored pattern, with noise on it."""

    noise: Annotated[list[NonNegativeFloat], Field(min_length=2), Rising] = Field(
        default=[0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0],
        description="standard deviations, in units of a pattern's root mean square",
    )
    draws: PositiveInt = Field(default=5, description="cues of every pattern at every level, in as many seeds")
    success: Success = 0.9


class NoiseRecipe(Table):
    """Tolerance of a memory to noise: the share of noisy cues recalled against the noise."""

    panel: Literal["recall"]
    experiment: Literal["noise"]
    title: str = ""
    patterns: StoredPatterns = StoredPatterns()
    cues: NoiseCues = NoiseCues()
    networks: NoiseNetworks = NoiseNetworks()


class MetastableNetworks(Separations):
    """`[networks]` of metastable."""

    beta_low: PositiveFloat = 0.003
    beta_high: PositiveFloat = 3.0
    points: Annotated[int, Field(ge=2)] = Field(default=25, description="betas between them, evenly in the logarithm")
    mass: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.9, description="weight that the patterns counted in a state's size hold together"
    )

    @model_validator(mode="after")
    def _betas_rise(self) -> Self:
        if self.beta_low >= self.beta_high:
            raise ValueError(f"beta_low is {self.beta_low} and beta_high {self.beta_high}; expected a smaller beta_low")
        return self


class MetastableRecipe(Table):
    """Size of metastable states, in patterns, against the inverse temperature."""

    panel: Literal["recall"]
    experiment: Literal["metastable"]
    title: str = ""
    patterns: StoredPatterns = StoredPatterns()
    networks: MetastableNetworks = MetastableNetworks()


class LandscapePatterns(Table):
    """`[patterns]` of landscape: points of the plane."""

    points: Annotated[list[Annotated[list[float], Field(min_length=2, max_length=2)]], Field(min_length=1)] = Field(
        default=[[1.0, 0.3], [0.75, 0.75], [-0.9, 0.6], [-0.5, -0.8], [0.6, -0.7]], description="x and y of each"
    )


class LandscapeNetworks(Table):
    """`[networks]` of landscape."""

    separation: SeparationName = "softmax"
    betas: Annotated[list[PositiveFloat], Field(min_length=1, max_length=4)] = Field(
        default=[1.5, 12.0, 60.0], description="inverse temperatures, one figure each"
    )
    alpha: Alpha = Field(default=2.0, description="(entmax) 2 is sparsemax")
    k: PositiveInt = Field(default=2, description="(top-k) patterns with a weight")
    max_steps: PositiveInt = 1000

    @model_validator(mode="after")
    def _settings_have_effect(self) -> Self:
        _must_be_listed(self, {"alpha": "entmax", "k": "top-k"}, [self.separation], "separation")
        return self


class LandscapeGrid(Table):
    """`[grid]`: where the energy is computed and from where states set out."""

    half_width: PositiveFloat = Field(default=1.4, description="both axes range from minus this to plus this")
    resolution: Annotated[int, Field(ge=8)] = Field(default=141, description="points along each side")
    paths: NonNegativeInt = Field(default=9, description="trajectories drawn along each side")


class LandscapeRecipe(Table):
    """The energy of a memory in the plane, with the basin of every fixed point."""

    panel: Literal["recall"]
    experiment: Literal["landscape"]
    title: str = ""
    patterns: LandscapePatterns = LandscapePatterns()
    networks: LandscapeNetworks = LandscapeNetworks()
    grid: LandscapeGrid = LandscapeGrid()


RecallRecipe = CapacityRecipe | NoiseRecipe | MetastableRecipe | LandscapeRecipe
RECALL_EXPERIMENTS: dict[str, type[RecallRecipe]] = {
    "capacity": CapacityRecipe,
    "noise": NoiseRecipe,
    "metastable": MetastableRecipe,
    "landscape": LandscapeRecipe,
}
