"""Pages made from the code when the site is built: every command with its options, every setting of recipes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer.main
from pydantic import BaseModel

from triptych.cli.main import app
from triptych.config import RECALL_EXPERIMENTS, SeeRecipe, SpellRecipe


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the tables where a page asks for them. Called by MkDocs."""
    for marker, made in (("<!-- commands -->", _commands), ("<!-- settings -->", _settings)):
        if marker in markdown:
            markdown = markdown.replace(marker, "\n".join(made()))
    return markdown


def _commands() -> Iterator[str]:
    waiting: list[tuple[str, Any]] = [("triptych", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop(0)
        children = getattr(command, "commands", {})
        waiting = [(f"{name} {child}", inner) for child, inner in children.items()] + waiting
        if name == "triptych":
            continue
        yield f"## {name}\n\n{_help(command.help or '')}\n"
        if not children:
            yield from _table(command.params)


def _help(text: str) -> str:
    """A command's help; its examples as a block."""
    before, _, examples = text.replace("\f", "").replace("\b", "").partition("Examples:")
    if not examples:
        before, _, examples = text.replace("\b", "").partition("Example:")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    return before.strip() + ("\n\n```sh\n" + "\n".join(lines) + "\n```" if lines else "")


def _table(parameters: list[Any]) -> Iterator[str]:
    yield "| argument or option | meaning | default |\n| --- | --- | --- |"
    for parameter in parameters:
        names = parameter.opts + parameter.secondary_opts if parameter.opts[0].startswith("-") else [parameter.metavar]
        named = ", ".join(f"`{name or parameter.name}`" for name in names)
        default = parameter.default
        shown = "" if default in (None, False, ()) or callable(default) else f"`{default}`"
        yield f"| {named} | {_cell(getattr(parameter, 'help', None) or '')} | {shown} |"
    yield ""


def _settings() -> Iterator[str]:
    recipes = {"spell": SpellRecipe, "see": SeeRecipe}
    recipes |= {f"recall, experiment {name}": schema for name, schema in RECALL_EXPERIMENTS.items()}
    for name, schema in recipes.items():
        yield f"## {name}\n\n{_first_line(schema)}\n"
        for table, field in schema.model_fields.items():
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield f"### {name}: {table}\n\n{_first_line(inner)}\n"
                yield "| setting | values | default | meaning |\n| --- | --- | --- | --- |"
                defaults = inner.model_construct()
                for key, rule in inner.model_json_schema()["properties"].items():
                    default = _cell(repr(getattr(defaults, key, "")))
                    yield f"| `{table}.{key}` | {_values(rule)} | `{default}` | {_cell(rule.get('description', ''))} |"
                yield ""


def _first_line(schema: type[BaseModel]) -> str:
    return (schema.__doc__ or "").split("\n\n")[0].replace("\n", " ")


def _values(rule: dict[str, Any]) -> str:
    """What a setting may be, from its JSON schema."""
    if "enum" in rule:
        return ", ".join(f"`{value}`" for value in rule["enum"])
    if "const" in rule:
        return f"`{rule['const']}`"
    if "anyOf" in rule:
        return " or ".join(_values(choice) for choice in rule["anyOf"])
    if rule.get("type") == "array" and isinstance(rule.get("items"), dict):
        return f"list of {_values(rule['items'])}"
    bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {rule[key]:g}" for key, sign in bounds.items() if key in rule]
    return " ".join([str(rule.get("type", "")), ", ".join(limits)]).strip()


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
