"""`[decoding]` of a spell recipe: how targets are decoded. The only place where these settings are declared.

A new setting is one field here: the decoders take the whole table, and everything that people set it with (recipes,
options of commands, HTTP, Python) is made from its type, rule, default and description, and from the method it is `Of`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from triptych.config.common import (
    Fraction,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Seed,
    Table,
)
from triptych.errors import RecipeError, did_you_mean

Method = Literal["greedy", "beam", "sample"]
METHODS: tuple[Method, ...] = get_args(Method)


@dataclass(frozen=True)
class Of:
    """Marks a setting that has an effect with one method alone."""

    method: Method


BEAM, SAMPLE = Of("beam"), Of("sample")
SERVERS_OWN: dict[str, Any] = {"requests": False}  # marks a setting that requests to a server do not change


class SpellDecoding(Table):
    """`[decoding]`: how targets are read off the model when testing and predicting.

    Settings of methods that are not in use are kept for when the method changes.
    """

    method: Method = Field(
        default="greedy",
        description="greedy: the most probable symbol at each step; beam: the best few targets; sample: drawn targets",
        json_schema_extra={"option": "decode"},
    )
    beam_size: Annotated[PositiveInt, BEAM] = Field(default=5, description="hypotheses kept per source")
    n_best: Annotated[PositiveInt, BEAM] = Field(
        default=1, description="candidates per source, best first; at most beam_size"
    )
    length_penalty: Annotated[NonNegativeFloat, BEAM] = Field(
        default=0.0,
        le=10,  # beyond it lengths to this power leave the range of 32 bits
        description="scores are log-probability / length to this power; 0 = none, 1 = mean per symbol",
    )
    samples: Annotated[PositiveInt, SAMPLE] = Field(default=3, description="samples drawn per source")
    temperature: Annotated[float, SAMPLE] = Field(
        default=1.0,
        ge=1e-4,
        le=1e4,
        description="divides log-probabilities; below 1 sharpens the distribution, above 1 flattens it",
    )
    top_k: Annotated[NonNegativeInt, SAMPLE] = Field(
        default=0, description="draw from this many most probable symbols; 0 = all"
    )
    top_p: Annotated[Fraction, SAMPLE] = Field(
        default=1.0, description="draw from the smallest set of symbols with this probability mass; 1 = all"
    )
    seed: Annotated[Seed, SAMPLE] = Field(default=0, description="of the random numbers")
    remembered: bool = Field(
        default=True,
        description="answer with the targets that training had, where the run keeps its training pairs (data.remember)",
        json_schema_extra={"commands": ["predict", "test"]},
    )
    max_length_factor: NonNegativeFloat = Field(
        default=3.0,
        description="the longest target has max_length_factor * source length + max_length_extra symbols",
        json_schema_extra=SERVERS_OWN,
    )
    max_length_extra: NonNegativeInt = Field(
        default=10, description="symbols allowed beyond max_length_factor", json_schema_extra=SERVERS_OWN
    )
    batch_size: PositiveInt = Field(
        default=256,
        description="sources decoded at once; fewer where they are long",
        json_schema_extra=SERVERS_OWN,
    )

    @model_validator(mode="after")
    def _beam_holds_n_best(self) -> Self:
        if self.method == "beam" and self.n_best > self.beam_size:
            raise ValueError(
                f"n_best is {self.n_best}; expected an integer from 1 to beam_size = {self.beam_size}. Raise beam_size"
            )
        return self

    @classmethod
    def method_of(cls, name: str) -> Method | None:
        """The one method with which a setting has an effect; None where it has with every method."""
        return next((mark.method for mark in cls.model_fields[name].metadata if isinstance(mark, Of)), None)

    @classmethod
    def of_requests(cls) -> tuple[str, ...]:
        """The settings that requests to a server may change."""
        return tuple(name for name, field in cls.model_fields.items() if field.json_schema_extra != SERVERS_OWN)

    @classmethod
    def of_method(cls, method: str) -> tuple[str, ...]:
        """The settings that have an effect with one method alone."""
        return tuple(name for name in cls.model_fields if cls.method_of(name) == method)

    @property
    def candidates(self) -> int:
        """Candidates per source, at most."""
        return {"greedy": 1, "beam": self.n_best, "sample": self.samples}[self.method]

    def changed(self, given: Mapping[str, Any]) -> SpellDecoding:
        """These settings with the given ones on top, checked.

        Without a method among them, settings of one method alone choose that method. Of beam size and n-best, one that
        is given moves the other, so that the beam is at least as wide.

        Raises:
            RecipeError: an unknown setting, a value that breaks its rule, or one without effect with the method.
        """
        values = {**given, "method": given.get("method") or self._implied_method(given)}
        for name, value in given.items():
            owner = self.method_of(name) if name in type(self).model_fields else None
            if owner not in (None, values["method"]) and values["method"] in METHODS:
                raise RecipeError(
                    f"decoding.{name} is {value} and has no effect with method {values['method']!r}.",
                    field=f"decoding.{name}",
                    value=value,
                    hint=f"Choose method {owner!r}, or remove it.",
                )
        return checked({**self.model_dump(), **self._fitted(values)})

    def for_candidates(self, n_best: int | None) -> SpellDecoding:
        """The settings for `n_best` candidates: as many samples, or a beam at least as wide; None changes nothing."""
        if n_best is None:
            return self
        if self.method == "sample":
            return self.changed({"samples": n_best})
        if n_best == 1 and self.method == "greedy":
            return self
        return self.changed({"method": "beam", "n_best": n_best})

    def _implied_method(self, given: Mapping[str, Any]) -> str:
        """This method, unless a setting is given that only another one has."""
        owners = list(_owners(given))
        return self.method if not owners or self.method in owners else owners[0]

    def _fitted(self, given: Mapping[str, Any]) -> dict[str, Any]:
        fitted = dict(given)
        if "n_best" in given and "beam_size" not in given and isinstance(given["n_best"], int):
            fitted["beam_size"] = max(self.beam_size, given["n_best"])
        if "beam_size" in given and "n_best" not in given and isinstance(given["beam_size"], int):
            fitted["n_best"] = max(1, min(self.n_best, given["beam_size"]))
        return fitted


def _owners(given: Mapping[str, Any]) -> Iterator[str]:
    for name in given:
        owner = SpellDecoding.method_of(name) if name in SpellDecoding.model_fields else None
        if owner is not None:
            yield owner


def checked(values: Mapping[str, Any]) -> SpellDecoding:
    """The table of these settings, defaults for the others.

    Raises:
        RecipeError: an unknown setting, or a value that breaks its rule.
    """
    try:
        return SpellDecoding.model_validate(dict(values))
    except ValidationError as error:
        raise _refusal(error) from None


def _refusal(error: ValidationError) -> RecipeError:
    """The first problem with its parts."""
    detail = error.errors()[0]
    if not detail["loc"]:  # a rule about several settings
        return RecipeError(f"decoding.{detail['msg'].removeprefix('Value error, ')}.")
    name = str(detail["loc"][0])
    if detail["type"] == "extra_forbidden":
        hint = did_you_mean(name, SpellDecoding.model_fields)
        return RecipeError(f"decoding.{name} is not a known setting.", hint=hint)
    from triptych.config.loading import rule_of  # which imports this module

    hint = did_you_mean(str(detail["input"]), METHODS) if name == "method" else ""
    return RecipeError(field=f"decoding.{name}", value=detail["input"], expected=rule_of(detail), hint=hint)
