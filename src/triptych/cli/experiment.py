"""`triptych experiment`."""

from __future__ import annotations

from typing import Annotated

import typer

from triptych.cli.options import AsJson, RecipeName, Settings, Tiny


def experiment(
    recipe: RecipeName,
    name: Annotated[str | None, typer.Option(help="Name of the run. Default: the recipe's.")] = None,
    settings: Settings = None,
    tiny: Tiny = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a run of that name.")] = False,
    json: AsJson = False,
) -> None:
    """Run an experiment on memories, and write a run with its numbers, figures and report.

    Examples:

        triptych experiment recall-capacity

        triptych experiment recall-capacity --set patterns.width=128 --name wide
    """
    from triptych import api
    from triptych.cli.output import print_json, print_table, say

    named = api.tiny(recipe) if tiny else recipe
    chosen = api.load_experiment(named, settings or ())
    say(f"{chosen.title or chosen.experiment} ...")
    done = api.run_experiment(chosen, recipe_name=named, name=name, force=force)
    if json:
        print_json({**vars(done), "run": done.run.path})
        return
    rows = [[key, "-" if value is None else f"{value:.4g}"] for key, value in done.findings.items()]
    print_table(["finding", "value"], rows)
    for path in done.figures:
        print(f"figure   {path}")
    for path in done.results:
        print(f"numbers  {path}")
    print(f"report   {done.report}")
    say(f"{done.seconds:.1f} s")
