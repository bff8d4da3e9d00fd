"""Dimensions of a search: settings that take one of some values, or any value of a span."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import optuna

from triptych.config import parse_value
from triptych.errors import RecipeError

Value = str | int | float | bool


@dataclass(frozen=True)
class Choices:
    """A setting that takes one of some values."""

    key: str
    values: tuple[Value, ...]

    def __str__(self) -> str:
        return f"{self.key}={','.join(str(v).lower() if isinstance(v, bool) else str(v) for v in self.values)}"

    def suggest(self, trial: optuna.Trial) -> Value:
        """One of the values."""
        return cast(Value, trial.suggest_categorical(self.key, self.values))


@dataclass(frozen=True)
class Span:
    """A setting that takes any number between two, whole numbers where both ends are."""

    key: str
    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.key}={self.low}..{self.high}{':log' if self.log else ''}"

    def suggest(self, trial: optuna.Trial) -> Value:
        """A number of the span."""
        if self.whole:
            return trial.suggest_int(self.key, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, log=self.log)


Dimension = Choices | Span


def settings_of(params: Mapping[str, Value]) -> dict[str, Value]:
    """Recipe keys and values of a trial: `a.x,b.y` ties two keys to one value."""
    return {key: value for keys, value in params.items() for key in keys.split(",")}


def parse_search(text: str) -> Dimension:
    """Read `key=v1,v2,v3` as choices and `key=low..high`, with `:log` behind it, as a span.

    Keys that must have the same value are joined by commas: `key1,key2=v1,v2`.

    Raises:
        RecipeError: neither, or a span whose ends do not make sense.
    """
    key, equals, values = text.partition("=")
    parts = [part.strip() for part in key.split(",")]
    key, values = ",".join(parts), values.strip()
    if not equals or not all(parts) or not values:
        raise RecipeError(
            field="--search",
            value=text,
            expected="key=v1,v2 or key=low..high",
            hint="For example: --search optimizer.learning_rate=1e-4..1e-1:log",
        )
    if ".." not in values:
        choices = tuple(parse_value(value.strip()) for value in values.split(","))
        if "" in choices or len({str(choice) for choice in choices}) < len(choices):
            raise RecipeError(field="--search", value=text, expected="different values, separated by commas")
        return Choices(key, choices)
    span, _, scale = values.partition(":")
    low, high = (parse_value(end.strip()) for end in span.split("..", 1))
    numbers = all(isinstance(end, int | float) and not isinstance(end, bool) for end in (low, high))
    if not numbers or not low < high or scale not in ("", "log") or (scale == "log" and low <= 0):
        raise RecipeError(field="--search", value=text, expected="low..high with low < high, and low > 0 with :log")
    return Span(key, low, high, log=scale == "log", whole=isinstance(low, int) and isinstance(high, int))
