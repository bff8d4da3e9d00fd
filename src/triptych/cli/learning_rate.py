"""`triptych find-learning-rate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triptych.cli.options import AsJson, DataPath, RecipeName, Settings, Tiny, located, train_command


def find_learning_rate(
    recipe: RecipeName,
    data: DataPath = None,
    settings: Settings = None,
    tiny: Tiny = False,
    steps: Annotated[int, typer.Option(min=10, help="Number of updates, each at a higher rate.")] = 300,
    out: Annotated[Path, typer.Option(help="Folder for the figure.")] = Path("learning-rate"),
    json: AsJson = False,
) -> None:
    """Raise the learning rate over a few updates, plot the losses and suggest a rate. No model is kept.

    Source: Smith 2017, arXiv:1506.01186, section 3.3.
    """
    from triptych import api
    from triptych.api import Hardware, load_recipe
    from triptych.cli.output import print_json, say

    Hardware().leave_slurm_step()
    named = api.tiny(recipe) if tiny else recipe
    found = api.find_learning_rate(load_recipe(named, settings or ()), data=located(data), steps=steps, out=out)
    if json:
        print_json({"suggestion": found.suggestion, "picture": str(found.picture), "trials": found.trials})
        return
    if found.suggestion is None:
        say("No learning rate can be suggested: the loss fell by no more than its noise. Try more --steps.")
    else:
        print(f"suggested learning rate  {found.suggestion:.2g}")
        chosen = [*(settings or ()), f"optimizer.learning_rate={found.suggestion:.2g}"]
        say(f"use it   {train_command(named, data=located(data), settings=chosen)}")
    say(f"figure   {found.picture}")
