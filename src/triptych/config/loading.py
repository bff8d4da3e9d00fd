"""Recipes from TOML to checked tables and back.

A recipe is a diff: it states what differs from the defaults, or from the recipe it `extends`, with the reason beside
each line. `--set key=value` is one more diff on top. What a run used is written out whole by `dump`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from triptych.config.recall import RECALL_EXPERIMENTS, RecallRecipe
from triptych.config.see import SeeRecipe
from triptych.config.spell import SpellRecipe
from triptych.errors import NOT_GIVEN, RecipeError, did_you_mean, nearest

Recipe = SpellRecipe | SeeRecipe  # what is trained
AnyRecipe = Recipe | RecallRecipe  # experiments too
PANELS: dict[str, type[SpellRecipe] | type[SeeRecipe]] = {"spell": SpellRecipe, "see": SeeRecipe}
Checked = TypeVar("Checked", bound=BaseModel)
TINY, TINY_FILE = "-tiny", "tiny.toml"
SHIPPED = Path(__file__).resolve().parent.parent / "recipes"
TYPE_RULES = {
    "int_type": "an integer",
    "int_from_float": "an integer",
    "int_parsing": "an integer",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "a text",
    "tuple_type": "a list, such as [1, 2]",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}
LENGTH_RULES = {"too_short": ("at least", "min_length"), "too_long": ("at most", "max_length")}
BOUND_RULES = {"greater_than": ">", "greater_than_equal": ">=", "less_than": "<", "less_than_equal": "<="}
# How names of the types of a union begin in pydantic's locations.
UNION_MEMBERS = ("int", "str", "bool", "constrained-", "literal[")


def shipped_recipes() -> dict[str, Path]:
    """Names and files of the shipped recipes."""
    return {path.stem: path for path in sorted(SHIPPED.glob("*.toml")) if path.name != TINY_FILE}


def names_recipe(name: str) -> bool:
    """Whether `load_recipe` takes a name for that of a shipped recipe, its tiny form included, or for a file."""
    return name.endswith(".toml") or name.removesuffix(TINY) in shipped_recipes()


def tiny(name: str) -> str:
    """The name of a shipped recipe scaled down to run in seconds.

    Raises:
        RecipeError: it is not a shipped recipe's name.
    """
    if name not in shipped_recipes():
        raise RecipeError(
            f"--tiny is given with the recipe {name!r}; expected a shipped one.",
            hint=did_you_mean(name, shipped_recipes()),
        )
    return name + TINY


def _tiny_changes(name: str) -> dict[str, Any]:
    """The settings that scale a shipped recipe down."""
    changes: dict[str, Any] = tomllib.loads((SHIPPED / TINY_FILE).read_text(encoding="utf-8"))[name]
    return changes


def load_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a shipped recipe by name, or any recipe by path, and check it.

    Args:
        name_or_path: a name that `triptych recipes` lists, or a path that ends in `.toml`.
        overrides: `table.key=value` settings, applied in order on top.
    Raises:
        RecipeError: no such recipe, TOML that does not parse, an unknown key, a wrong type or range.
    """
    return parse_recipe(_overridden(name_or_path, overrides), origin=str(name_or_path))


def load_experiment(name_or_path: str | Path, overrides: Iterable[str] = ()) -> RecallRecipe:
    """Read an experiment's recipe as `load_recipe` reads one that is trained.

    Raises:
        RecipeError: as there, or the recipe is one that is trained.
    """
    return parse_experiment(_overridden(name_or_path, overrides), origin=str(name_or_path))


def load_any_recipe(name_or_path: str | Path, overrides: Iterable[str] = ()) -> AnyRecipe:
    """Read a recipe of either kind; see `load_recipe`."""
    tree, origin = _overridden(name_or_path, overrides), str(name_or_path)
    return parse_experiment(tree, origin=origin) if tree.get("panel") == "recall" else parse_recipe(tree, origin=origin)


def parse_recipe(tree: Mapping[str, Any], *, origin: str) -> Recipe:
    """Check a recipe that was already read into dictionaries; `origin` names it in messages."""
    if tree.get("panel") == "recall":
        raise RecipeError(
            field="panel",
            value="recall",
            expected="one that trains, and this is an experiment",
            hint=f"Run it with: triptych experiment {origin}",
            path=origin,
        )
    return check_table(_schema_of(tree, "panel", PANELS, origin, expected="the name of a panel"), tree, origin)


def parse_recipe_text(text: str, overrides: Iterable[str], *, origin: str) -> Recipe:
    """Check a whole recipe that is given as TOML, with `table.key=value` settings on top.

    Raises:
        RecipeError: as of `load_recipe`.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"the recipe is not TOML ({error}).", path=origin) from None
    for override in overrides:
        _apply_override(tree, override)
    return parse_recipe(tree, origin=origin)


def parse_experiment(tree: Mapping[str, Any], *, origin: str) -> RecallRecipe:
    """Check an experiment's recipe that was already read into dictionaries; `origin` names it in messages."""
    panel = tree.get("panel")
    if panel != "recall":
        raise RecipeError(
            field="panel",
            value=NOT_GIVEN if panel is None else panel,
            expected="'recall', whose recipes are experiments",
            hint=f"Train it with: triptych train {origin}",
            path=origin,
        )
    schema = _schema_of(tree, "experiment", RECALL_EXPERIMENTS, origin, expected="the name of one")
    return check_table(schema, tree, origin)


def _schema_of(
    tree: Mapping[str, Any], field: str, known: Mapping[str, type[Checked]], origin: str, *, expected: str
) -> type[Checked]:
    """The table that an entry of a recipe names."""
    name = tree.get(field)
    if isinstance(name, str) and name in known:
        return known[name]
    value, hint = NOT_GIVEN if name is None else name, did_you_mean(str(name), known)
    raise RecipeError(field=field, value=value, expected=expected, hint=hint, path=origin)


def check_table(schema: type[Checked], tree: Mapping[str, Any], origin: str) -> Checked:
    """Values of a table, checked; `origin` names their source in messages.

    Raises:
        RecipeError: an unknown key, or a value that breaks its rule.
    """
    try:
        return schema.model_validate(tree)
    except ValidationError as error:
        problems = [explain_invalid(schema, details) for details in _by_key(error.errors())]
        raise RecipeError(" ".join(problems) if not origin else f"{origin}: {' '.join(problems)}") from None


def dump_recipe(recipe: AnyRecipe) -> str:
    """The whole recipe, defaults included, as TOML that `load_recipe` reads back to an equal one."""
    import tomli_w  # not at the top: exported models read decoding settings without it

    return tomli_w.dumps(recipe.model_dump())


def describe_shipped(name: str) -> str:
    """The text of a shipped recipe, comments included."""
    if name.endswith(TINY) and name.removesuffix(TINY) in shipped_recipes():
        return dump_recipe(load_any_recipe(name))
    return _shipped_path(name).read_text(encoding="utf-8")


def differences(first: AnyRecipe, second: AnyRecipe) -> dict[str, tuple[Any, Any]]:
    """Keys, as `table.key`, whose values differ between two recipes."""
    left, right = _flatten(first.model_dump()), _flatten(second.model_dump())
    return {key: (left.get(key), right.get(key)) for key in sorted({*left, *right}) if left.get(key) != right.get(key)}


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _shipped_path(name: str, extended: str = "") -> Path:
    shipped = shipped_recipes()
    if name not in shipped:
        raise RecipeError(
            f"recipe is {name!r}{extended}; expected a shipped recipe or a path that ends in .toml. "
            f"{did_you_mean(name, shipped)}"
        )
    return shipped[name]


def _overridden(name_or_path: str | Path, overrides: Iterable[str]) -> dict[str, Any]:
    tree = _read_tree(name_or_path, seen=())
    for override in overrides:
        _apply_override(tree, override)
    return tree


def _read_tree(name_or_path: str | Path, *, seen: tuple[Path, ...]) -> dict[str, Any]:
    text = str(name_or_path)
    name = text.removesuffix(TINY)
    if name != text and name in shipped_recipes():
        return _merge(_read_tree(name, seen=seen), _tiny_changes(name))
    extended = f", which {seen[-1].name} extends" if seen else ""
    path = Path(text) if text.endswith(".toml") else _shipped_path(text, extended)
    if path.resolve() in seen:
        chain = " -> ".join(step.name for step in (*seen, path))
        raise RecipeError(f"extends is a cycle: {chain}.", hint="Remove one extends.", path=path)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RecipeError(
            f"recipe is {text!r}{extended}; expected an existing file. List the shipped ones with: triptych recipes"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise RecipeError(f"not readable as TOML: {error}.", path=path) from None
    base = tree.pop("extends", None)
    if base is None:
        return tree
    parent = path.parent / base if str(base).endswith(".toml") else base
    return _merge(_read_tree(parent, seen=(*seen, path.resolve())), tree)


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both_tables = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both_tables else value
    return merged


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise RecipeError(
            field="--set", value=override, expected="table.key=value", hint="For example: --set training.seed=1"
        )
    *tables, last = key.strip().split(".")
    for table in tables:
        tree = tree.setdefault(table, {})
        if not isinstance(tree, dict):
            raise RecipeError(field="--set", value=override, expected=f"{table!r} to be a table, and it is a value")
    tree[last] = parse_value(text.strip())


def parse_value(text: str) -> Any:
    """A value as TOML reads it; text that is not a TOML value is taken as it is, so quotes are optional.

    No setting is a date, so text in the form of a date stays text.
    """
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return text if isinstance(value, date | time) else value


def explain_invalid(schema: type[BaseModel], details: Sequence[ErrorDetails]) -> str:
    """One message for the errors that pydantic found at one key; a key that takes several types has one for each."""
    detail = details[0]
    location = [str(part) for part in detail["loc"]]
    value, kind = detail["input"], detail["type"]
    if kind == "extra_forbidden":
        known = _known_keys(schema, location[:-1])
        return f"{'.'.join(location)} is not a known key. {_did_you_mean_key(location[-1], known)}"
    if location[-1:] == ["[key]"]:
        key = ".".join(location[:-1])
        return f"{key} is not a known key. {did_you_mean(location[-2], _choices(detail))}"
    if len(details) > 1:
        location.pop()
    key = ".".join(location)
    if kind == "missing":
        return f"{key} is missing; expected a value."
    if kind == "value_error":
        rule = detail["msg"].removeprefix("Value error, ")
        return f"{key}: {rule}." if key else f"{rule}."
    rule = " or ".join(rule_of(each) for each in details)
    return f"{key} is {_shown(value)}; expected {rule}.{_nearest_choice(details[-1])}"


def _did_you_mean_key(name: str, known: Sequence[str]) -> str:
    """As `did_you_mean`, but initials match too: `lr` suggests learning_rate."""
    meant = [key for key in known if "_" in key and "".join(word[0] for word in key.split("_")) == name.lower()]
    return f"Did you mean {meant[0]!r}?" if len(meant) == 1 else did_you_mean(name, known)


def _nearest_choice(detail: ErrorDetails) -> str:
    """A suggestion where a name is nearly right; the rule already lists all names."""
    if detail["type"] != "literal_error" or not isinstance(detail["input"], str):
        return ""
    close = nearest(detail["input"], _choices(detail))
    return f" Did you mean {close!r}?" if close else ""


def rule_of(detail: ErrorDetails) -> str:
    """What pydantic expected, worded as in the other messages."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in TYPE_RULES:
        return TYPE_RULES[kind]
    if kind in BOUND_RULES:
        bound = next(iter(context.values()))
        return f"{'an integer' if isinstance(bound, int) else 'a number'} {BOUND_RULES[kind]} {_bound(bound)}"
    if kind == "literal_error" and len(_choices(detail)) == 1:
        return repr(_choices(detail)[0])
    if kind == "literal_error":
        return f"one of {', '.join(choice or repr(choice) for choice in _choices(detail))}"
    if kind == "string_too_long":
        return f"at most {context['max_length']} characters"
    if kind == "multiple_of":
        return f"a multiple of {context['multiple_of']}"
    if kind in LENGTH_RULES:
        words, length = LENGTH_RULES[kind]
        return f"a list with {words} {context[length]} {'entry' if context[length] == 1 else 'entries'}"
    return detail["msg"].removeprefix("Input should be ")


def _bound(bound: float) -> str:
    """Integers in full, however long."""
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def _choices(detail: ErrorDetails) -> list[str]:
    """The names that a literal allows."""
    return [choice.strip(" '") for choice in detail["ctx"]["expected"].replace(" or ", ", ").split(",")]


def _shown(value: Any) -> str:
    """A value as a recipe has it."""
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _by_key(details: Iterable[ErrorDetails]) -> list[list[ErrorDetails]]:
    """Details of the same key together, in order of appearance.

    For a list that is long enough but has a wrong entry, only the entry is reported: pydantic also calls it too short.
    """
    groups: dict[tuple[int | str, ...], list[ErrorDetails]] = {}
    for detail in details:
        if detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
            continue
        location = detail["loc"]
        if detail["type"] != "extra_forbidden" and location and str(location[-1]).startswith(UNION_MEMBERS):
            location = location[:-1]
        groups.setdefault(location, []).append(detail)
    return list(groups.values())


def _known_keys(schema: type[BaseModel], tables: list[str]) -> list[str]:
    for table in tables:
        field = schema.model_fields.get(table)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return []
        schema = field.annotation
    return list(schema.model_fields)


def with_changes(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A copy with some keys changed, each given as `table.key`, and checked again."""
    tree: dict[str, Any] = recipe.model_dump()
    for key, value in changes.items():
        table, _, name = key.partition(".")
        tree = _merge(tree, {table: {name: value}} if name else {table: value})
    return parse_recipe(tree, origin="")
