"""`triptych ensemble`."""

from __future__ import annotations

from typing import Annotated

import typer

from triptych.cli.options import AsJson


def ensemble(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN...", help="Names or paths of the members, all of one panel.")
    ],
    name: Annotated[str, typer.Option(help="Name of the new run.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a run of that name.")] = False,
    json: AsJson = False,
) -> None:
    """Combine several runs into one that averages their probabilities (spell: at every step).

    The new run is whole: it holds its members' tensors, and `test`, `predict` and `explain` take it as any other.

    Example:

        triptych ensemble seed-1 seed-2 seed-3 --name three
    """
    from triptych import api
    from triptych.api import Run, panel_of
    from triptych.cli.output import print_json, say, say_validation, shell_name

    made = api.make_ensemble([Run.open(run) for run in runs], name=name, force=force)
    evaluation = api.evaluate(made, split="valid")
    if json:
        print_json({"run": str(made.path), "members": runs, "valid": evaluation.scores.to_dict()})
        return
    panel = panel_of(made.recipe().panel)
    say_validation(panel.measures(evaluation.scores.to_dict()), evaluation.scores.n_items)
    made_name = shell_name(made)
    say(f"next    triptych test {made_name}{panel.ensemble_test_options}   triptych predict {made_name}")
