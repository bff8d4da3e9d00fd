"""Options of commands, made from the tables that declare the settings.

A field of a panel's table is an option of each command that the table belongs to: `length_penalty` is
`--length-penalty`, with the field's type and description. `json_schema_extra` may say otherwise: `option` is another
name, or None for no option; `commands` are the only ones that have it.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from triptych.config.common import Table
from triptych.config.decoding import SpellDecoding
from triptych.config.see import SeeDecoding, SeeEvidence
from triptych.config.spell_prediction import SpellFeatures, SpellLanguage, SpellOutput, SpellWordLists

TABLES: Mapping[str, Mapping[str, tuple[type[Table], ...]]] = {
    "spell": {
        "predict": (SpellDecoding, SpellWordLists, SpellLanguage, SpellOutput),
        "test": (SpellDecoding, SpellWordLists),
        "explain": (SpellDecoding, SpellFeatures, SpellLanguage),
    },
    "see": {"predict": (SeeDecoding,), "test": (SeeDecoding,), "explain": (SeeEvidence,)},
}


@dataclass(frozen=True)
class RunOption:
    """An option of a command that takes a run.

    Attributes:
        name: as Python names it.
        kind: int, float, str, bool or Path.
        help: what it does, for each panel that has it.
    """

    name: str
    kind: type
    help: str


def option_fields(table: type[Table], command: str) -> dict[str, str]:
    """The fields of a table that a command has options for, by the option's name."""
    fields = {}
    for name, field in table.model_fields.items():
        more = field.json_schema_extra
        extra: Mapping[str, Any] = more if isinstance(more, dict) else {}
        option = extra.get("option", name)
        if option is not None and command in extra.get("commands", (command,)):
            fields[str(option)] = name
    return fields


def options_of(panel: str, command: str) -> tuple[str, ...]:
    """Names of the options that have an effect with a command on a run of a panel."""
    return tuple(option for table in TABLES[panel][command] for option in option_fields(table, command))


def given_fields(table: type[Table], command: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values of options that belong to a table, by field."""
    return {field: given[option] for option, field in option_fields(table, command).items() if option in given}


def run_options(command: str) -> list[RunOption]:
    """All options that a command has for runs, in the order of the tables; one that several panels have comes once."""
    helps: dict[str, dict[str, str]] = {}
    kinds: dict[str, type] = {}
    declared = ((panel, table) for panel, tables in TABLES.items() for table in tables[command])
    for panel, table in declared:
        for option, name in option_fields(table, command).items():
            field = table.model_fields[name]
            kinds.setdefault(option, _kind(field.annotation))
            helps.setdefault(option, {})[panel] = _help(field)

    def labelled(texts: Mapping[str, str]) -> str:
        only = " only" if len(texts) == 1 else ""
        return " ".join(f"({panel}{only}) {text}" for panel, text in texts.items())

    return [RunOption(option, kinds[option], labelled(texts)) for option, texts in helps.items()]


def _kind(annotation: Any) -> type:
    """The type of an option's value, from a field's annotation."""
    if get_origin(annotation) in (Union, types.UnionType):
        return _kind(next(part for part in get_args(annotation) if part is not type(None)))
    if get_origin(annotation) is Literal:
        return str
    if get_args(annotation) and hasattr(annotation, "__metadata__"):
        return _kind(get_args(annotation)[0])
    if annotation in (int, float, str, bool, Path):
        kind: type = annotation
        return kind
    raise TypeError(f"a setting of type {annotation} cannot be an option of a command")


def _help(field: FieldInfo) -> str:
    """The description as a sentence, with the names that may be chosen."""
    text = field.description or ""
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    unnamed = [str(choice) for choice in choices if str(choice) not in text]
    text = text.rstrip(".") + "."
    return f"{text} One of {', '.join(map(str, choices))}." if unnamed else text
