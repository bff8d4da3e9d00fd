"""`triptych tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli.options import AsJson, DataPath, RecipeName, Settings, Tiny, located, train_command

if TYPE_CHECKING:
    from triptych.api import Location, TrainingTable, Tuned


def tune(
    recipe: RecipeName,
    search: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=VALUES",
            help="A grid, key=v1,v2,v3, or a range, key=low..high or low..high:log; may be repeated. "
            "Tie keys to one value with a comma: key1,key2=v1,v2.",
        ),
    ],
    data: DataPath = None,
    settings: Settings = None,
    tiny: Tiny = False,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Total number of trials. Default: the whole grid, or 20.")
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(help="Optuna storage shared by workers. Default: an SQLite file in the search's folder."),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the search; reuse a name to resume it. Default: the recipe's.")
    ] = None,
    prune: Annotated[bool, typer.Option(help="Stop trials that are worse than the median.")] = True,
    json: AsJson = False,
) -> None:
    """Search settings on validation data, plot the search, and write the best configuration as a recipe.

    Run the same command again to resume a search, or at the same time in another process to share it.

    Examples:

        triptych tune p2g-additive --data DIR --search optimizer.learning_rate=0.001,0.003,0.01

        triptych tune p2g-additive --data DIR --search optimizer.learning_rate=1e-4..1e-1:log --trials 20
    """
    from triptych import api
    from triptych.api import Hardware, load_recipe, parse_search
    from triptych.cli.output import print_json, say

    Hardware().leave_slurm_step()
    named = api.tiny(recipe) if tiny else recipe
    chosen = load_recipe(named, settings or ())
    tuned = api.tune(
        chosen,
        [parse_search(text) for text in search],
        name=name or Path(named).stem,
        data=located(data),
        storage=storage,
        trials=trials,
        prune=prune,
        listener=say,
    )
    found = tuned.search
    if json:
        best = found.best
        print_json(
            {
                "folder": str(tuned.folder),
                "curves": {metric: str(path) for metric, path in tuned.curves.items()},
                "recipe": None if tuned.recipe is None else str(tuned.recipe),
                "best": None if best is None else {"params": dict(best.params), "value": best.value},
                "trials": [
                    {"params": dict(t.params), "value": t.value, "state": t.state, "failure": t.failure}
                    for t in found.trials
                ],
            }
        )
    else:
        _print_result(tuned, located(data), chosen.training)
    if found.interrupted:
        say("Interrupted. Resume with the same command.")
        raise typer.Exit(130)


def _print_result(tuned: Tuned, data: Location | None, training: TrainingTable) -> None:
    """Print the trials as a table, and the paths of the files."""
    from triptych.cli.output import print_table, say

    found = tuned.search
    keys = sorted({key for trial in found.trials for key in trial.params})
    rows = []
    for trial in found.trials:
        value = "" if trial.value is None else f"{trial.value:.4f}"
        mark = "best" if trial is found.best else ""
        rows.append([str(trial.number), *(str(trial.params.get(key, "")) for key in keys), value, trial.state, mark])
    metric, better = training.monitor.replace("_", " "), "lower" if training.mode == "min" else "higher"
    print_table(["trial", *keys, f"{metric} ({better} is better)", "state", ""], rows)
    say(f"figure  {tuned.picture}")
    for path in tuned.curves.values():
        say(f"curves  {path}")
    if tuned.recipe is not None:
        say(f"next    {train_command(str(tuned.recipe), data=data)}")
