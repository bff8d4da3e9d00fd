"""`triptych demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from triptych.cli import recall_demo
from triptych.cli.options import AsJson, Settings

UNTRAINED = {"recall": recall_demo.show}  # demos that store and recall, and train nothing


def demo(
    panel: Annotated[str, typer.Argument(help="spell, see or recall.")] = "spell",
    name: Annotated[str | None, typer.Option(help="Name of the run. Default: demo-PANEL.")] = None,
    settings: Settings = None,
    json: AsJson = False,
) -> None:
    """Run a panel's demo on data that comes with Triptych: train, test, explain, report.

    A second demo replaces the first one's run.
    """
    from triptych import api
    from triptych.api import RecipeError, load_recipe, panel_of
    from triptych.cli.output import interval, print_json, print_table, say
    from triptych.cli.train import show_progress

    if panel in UNTRAINED:
        if settings:
            raise RecipeError(f"--set is {settings[0]!r} and has no effect on the {panel} demo.", hint="Remove it.")
        UNTRAINED[panel](name=name, as_json=json)
        return
    demo = panel_of(panel).demo
    recipe = load_recipe(demo.RECIPE, settings or ())
    run = api.start_run(recipe, recipe_name=demo.RECIPE, name=name or demo.RECIPE, force=True)
    say(f"Training {recipe.title} ({recipe.training.epochs} epochs). Ctrl-C stops and keeps the best so far.")
    trained = api.train(recipe, run, output=show_progress(recipe))
    if not trained.fitted.rows:
        say(f"Stopped before the first epoch ended. Start again with: triptych demo {panel}")
        raise typer.Exit(130)
    evaluation = api.evaluate(run, split="test", read=trained.data)
    example = demo.example(run, evaluation)
    explanation = api.explain(run, [example])[0]
    report = api.write_report(run)
    if json:
        print_json(
            {
                "run": str(run.path),
                "report": str(report),
                "example": explanation.to_dict(),
                "test": evaluation.scores.to_dict(),
            }
        )
        return
    print(f"\nTrained in {trained.seconds:.0f} s. On {demo.items(evaluation)} never seen in training:")
    for measure, value, meaning in demo.headline(evaluation):
        figure = f"{value:.4f}" if isinstance(value, float) else interval(value)
        print(f"  {measure} {figure}   {meaning}")
    print()
    print_table(*demo.table(evaluation))
    print()
    for shown, path in {**explanation.figures, "report": report, "run": run.path}.items():
        print(f"{shown:<25} {path}")
    print("\nTry next:")
    for command in demo.next_commands(run.name, example):
        print(f"  {command}")
