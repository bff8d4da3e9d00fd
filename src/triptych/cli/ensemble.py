"""`triptych ensemble`."""

from __future__ import annotations

from typing import Annotated

import typer

from triptych.api import Combination
from triptych.cli.options import AsJson


def ensemble(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN...", help="Names or paths of the members, all of one panel.")
    ],
    name: Annotated[str, typer.Option(help="Name of the new run.")],
    by: Annotated[
        Combination,
        typer.Option(
            help="average: mean of the probabilities (spell: at every step). vote (spell): the prediction that most "
            "members make, also of members that read and write in different directions."
        ),
    ] = "average",
    choose: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="(spell) Take at most N of the runs, chosen by their errors on validation data."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a run of that name.")] = False,
    json: AsJson = False,
) -> None:
    """Combine several runs into one.

    The new run holds its members' tensors. Commands that read a run, such as `test`, `predict` and `explain`, take it.

    Examples:

        triptych ensemble seed-1 seed-2 seed-3 --name three

        triptych ensemble seed-1 seed-2 seed-3 backward-1 backward-2 --by vote --choose 4 --name four
    """
    from triptych import api
    from triptych.api import Run, panel_of
    from triptych.cli.output import print_json, say, say_validation, shell_name

    members = [Run.open(run) for run in runs]
    if choose is not None:
        steps = api.search_members(members, by=by, most=choose)
        for step in steps:
            say(f"chosen  {runs[step.members[-1]]}: {step.errors} of {step.items} validation items wrong together")
        members = [members[place] for place in steps[-1].members]
    made = api.make_ensemble(members, name=name, force=force, by=by)
    evaluation = api.evaluate(made, split="valid")
    if json:
        print_json(
            {
                "run": str(made.path),
                "members": [member.name for member in members],
                "valid": evaluation.scores.to_dict(),
            }
        )
        return
    panel = panel_of(made.recipe().panel)
    say_validation(panel.measures(evaluation.scores.to_dict()), evaluation.scores.n_items)
    made_name = shell_name(made)
    say(f"next    triptych test {made_name}{panel.ensemble_test_options}   triptych predict {made_name}")
