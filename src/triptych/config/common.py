"""Recipe tables that every panel shares: how to optimise and how to train."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from triptych.errors import RecipeError

PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegativeFloat = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]
Fraction = Annotated[float, Field(gt=0, le=1)]
Fractions = dict[Literal["train", "valid", "test"], Fraction]
RISING = ("valid_accuracy",)  # metrics that are better the higher they are
Precision = Literal["32-true", "16-mixed", "bf16-mixed", "64-true", "auto"]
Combination = Literal[
    "average", "vote"
]  # of an ensemble's members: mean probabilities, or the most frequent prediction
Auto = Literal["auto"]
AUTO: Auto = "auto"  # of a setting that is derived from the training data; `decided` is its value afterwards
Decided = TypeVar("Decided", int, float)


def decided(value: Decided | Auto, key: str) -> Decided:
    """The value of a setting that may be "auto", once it is derived from the training data.

    Raises:
        RecipeError: it is still "auto".
    """
    if value == AUTO:
        expected = "a number, since there is no training data here to derive it from"
        raise RecipeError(field=key, value=value, expected=expected)
    return value


def is_language(name: str) -> bool:
    """Whether a language can have this name: letters and digits of any script, hyphens and underscores."""
    return bool(name) and all(letter.isalnum() or letter in "-_" for letter in name)


class Table(BaseModel):
    """A strict, frozen table of a recipe: unknown keys fail, values are not coerced from other types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False)


def check_fractions(fractions: Fractions) -> None:
    """Check the shares of the splits of data that has none.

    Raises:
        ValueError: train or valid has no share, or the sum is not 1.
    """
    listed = ", ".join(f"{split} {share:g}" for split, share in fractions.items())
    if not {"train", "valid"} <= fractions.keys():
        raise ValueError(f"fractions has {listed or 'nothing'}; expected shares of train and valid, and of test if any")
    whole = math.fsum(fractions.values())
    if not math.isclose(whole, 1, abs_tol=1e-6):
        raise ValueError(f"fractions sum to {whole:g} ({listed}); expected 1")


def without_retired(
    values: Any, retired: Mapping[str, Sequence[Any]], *, renamed: Mapping[str, str] | None = None
) -> Any:
    """A table's values without keys that no longer exist, so that older recipes and runs can be read.

    Args:
        values: as they were given.
        retired: the keys, each with the values under which leaving it out changes nothing.
        renamed: keys that have another name now.
    """
    if not isinstance(values, Mapping):
        return values
    kept = {key: value for key, value in values.items() if key not in retired or value not in retired[key]}
    return {(renamed or {}).get(key, key): value for key, value in kept.items()}


def _check_one_length(table: Table, count: str, fraction: str) -> None:
    """See that a length is not given both as a count and as a share of the training."""
    number, share = getattr(table, count), getattr(table, fraction)
    if number and share:
        raise ValueError(f"{count} is {number} and {fraction} is {share:g}; expected one of them to be 0")


class OptimizerTable(Table):
    """`[optimizer]`: the update rule and its schedule."""

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: PositiveFloat = 0.001
    weight_decay: NonNegativeFloat = 0.0
    momentum: Probability = Field(default=0.0, description="(sgd)")
    beta1: Probability = Field(default=0.9, description="(adam and adamw) decay of the mean gradient")
    beta2: Probability = Field(default=0.999, description="(adam and adamw) decay of the mean squared gradient")
    schedule: Literal["constant", "cosine", "linear", "one-cycle", "plateau"] = Field(
        default="constant",
        description="cosine and linear fall to final_fraction at the last step; one-cycle also rises; "
        "plateau halves when the monitored metric has stalled for more than plateau_patience epochs",
    )
    warmup_steps: NonNegativeInt = Field(default=0, description="steps of linear rise before the schedule")
    warmup_fraction: Probability = Field(
        default=0.0, description="the same as a share of all steps, so that it suits any amount of data"
    )
    final_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="learning rate at the end, as a fraction of learning_rate"
    )
    plateau_patience: NonNegativeInt = Field(
        default=3, description="epochs without improvement before plateau lowers the rate"
    )

    @model_validator(mode="after")
    def _one_warmup(self) -> Self:
        _check_one_length(self, "warmup_steps", "warmup_fraction")
        return self

    @model_validator(mode="after")
    def _settings_have_effect(self) -> Self:
        falls = ("cosine", "linear", "one-cycle")
        needs = {
            "momentum": ("name", ("sgd",)),
            "beta1": ("name", ("adam", "adamw")),
            "beta2": ("name", ("adam", "adamw")),
            "final_fraction": ("schedule", falls),
            "plateau_patience": ("schedule", ("plateau",)),
        }
        for key, (chooser, choices) in needs.items():
            value, chosen = getattr(self, key), getattr(self, chooser)
            if chosen not in choices and value != type(self).model_fields[key].default:
                raise ValueError(
                    f"{key} is {value} and has no effect with {chooser} {chosen!r}; "
                    f"expected {chooser} to be {' or '.join(choices)}. Remove {key} or change {chooser}"
                )
        return self


class TrainingTable(Table):
    """`[training]`: how long, in which batches, and which model is kept."""

    epochs: PositiveInt | Auto = Field(default=20, description="auto (spell): from the number of training pairs")
    batch_size: PositiveInt | Auto = Field(
        default=64, description="items per update, over all devices together; auto (spell): from the number of pairs"
    )
    seed: Seed = 0
    monitor: str = Field(default="valid_loss", description="metric that chooses the best epoch, by name")
    keep: Literal["best", "last"] = Field(default="best", description="which epoch's model the run keeps")
    patience: NonNegativeInt = Field(
        default=0, description="stop after this many epochs without a new best; 0 never stops early"
    )
    patience_fraction: Probability = Field(
        default=0.0, description="the same as a share of all epochs, so that it suits any amount of data"
    )
    gradient_clip: NonNegativeFloat = Field(default=0.0, description="largest gradient norm; 0 does not clip")
    average_decay: Probability = Field(
        default=0.0,
        description="decay of the exponential moving average of the weights, which evaluation and predictions use; "
        "it starts smaller; 0 = off",
    )
    precision: Precision = Field(
        default="32-true",
        description="of the arithmetic; auto is bf16-mixed on hardware with instructions for it and 32-true elsewhere",
    )

    @model_validator(mode="after")
    def _one_patience(self) -> Self:
        _check_one_length(self, "patience", "patience_fraction")
        return self

    @property
    def most_epochs(self) -> int:
        """How many epochs there are unless patience ends.

        Raises:
            RecipeError: epochs is "auto", and was not derived from training data.
        """
        return decided(self.epochs, "training.epochs")

    @property
    def epochs_without_best(self) -> int:
        """After how many epochs without a new best training stops, >= 1; 0 never stops it."""
        if self.patience_fraction:
            return math.ceil(self.patience_fraction * self.most_epochs)
        return self.patience

    @property
    def items_per_update(self) -> int:
        """How many items an update takes, over all devices together.

        Raises:
            RecipeError: batch_size is "auto", and was not derived from training data.
        """
        return decided(self.batch_size, "training.batch_size")

    @property
    def mode(self) -> Literal["min", "max"]:
        """Whether the monitored metric should fall or rise."""
        return "max" if self.monitor in RISING else "min"
