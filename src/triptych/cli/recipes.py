"""`triptych recipes`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from triptych.cli.options import AsJson, Settings


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Print this recipe instead of the list.")] = None,
    settings: Settings = None,
    resolved: Annotated[bool, typer.Option("--resolved", help="Print every setting, defaults included.")] = False,
    json: AsJson = False,
) -> None:
    """List the shipped recipes, or print one."""
    from triptych.api import RecipeError, describe_shipped, dump_recipe, load_any_recipe, shipped_recipes
    from triptych.cli.output import print_json, print_table, say

    if name is None and (settings or resolved):
        raise RecipeError(field="NAME", expected="a recipe to print with --set or --resolved")
    if name is None:
        documents: list[dict[str, Any]] = []
        for shipped in shipped_recipes():
            recipe = load_any_recipe(shipped)
            documents.append({"name": shipped, "panel": recipe.panel, "title": recipe.title})
        if json:
            print_json({"recipes": documents})
            return
        rows = [[d["name"], d["panel"], d["title"]] for d in documents]
        print_table(["recipe", "panel", "what it trains or measures"], rows)
        say("Print one with: triptych recipes NAME. Scale one down to run in seconds with: triptych train NAME --tiny")
        return
    recipe = load_any_recipe(name, settings or ())
    if json:
        print_json(recipe.model_dump())
    elif resolved or settings or name.endswith(".toml"):
        print(dump_recipe(recipe), end="")
    else:
        print(describe_shipped(name), end="")
