"""Settings of decoding as an exported folder holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from triptych.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def settings_of(kind: type[Settings], values: Mapping[str, Any]) -> Settings:
    """The settings by name.

    Raises:
        RecipeError: an unknown name, or a value that breaks its rule.
    """
    known = [entry.name for entry in fields(kind)]
    for name in values:
        if name not in known:
            raise RecipeError(f"decoding.{name} is not a setting. {did_you_mean(str(name), known)}")
    return kind(**values)
