"""`triptych train`."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli.options import AsJson, DataPath, Settings, SkipBad, Tiny, located

if TYPE_CHECKING:
    from triptych.api import Hardware, Location, Trained


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE", help="Shipped recipe or .toml file; not needed with --resume or --start-from."
        ),
    ] = None,
    data: DataPath = None,
    name: Annotated[str | None, typer.Option(help="Name of the run. Default: recipe and seed.")] = None,
    settings: Settings = None,
    tiny: Tiny = False,
    start_from: Annotated[
        str | None,
        typer.Option(
            "--start-from",
            metavar="RUN",
            help="Begin with the weights of a run, as far as they fit. Without RECIPE: with its recipe too.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run of that name from its last complete epoch.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a run of that name.")] = False,
    skip_bad: SkipBad = False,
    accelerator: Annotated[str | None, typer.Option(help="auto (the default), cpu, gpu, mps or tpu.")] = None,
    devices: Annotated[int | None, typer.Option(min=1, help="Processes on this machine. Default: 1.")] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Machines. Default: 1.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="32-true, 16-mixed, bf16-mixed, 64-true or auto. Default: the recipe's.")
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write logs for TensorBoard.")] = False,
    json: AsJson = False,
) -> None:
    """Train a recipe, and write a run with its model, curves and report.

    Examples:

        triptych train p2g-additive --data my-folder --name first --set training.seed=1

        triptych train --start-from first --data other-folder --name second

        triptych train g2p --data ady=adyghe --data dut=dutch --name two-languages

        triptych train --resume --name first
    """
    from triptych import api
    from triptych.api import PRECISIONS, check_option
    from triptych.cli.output import print_json, say, shell_name

    overrides = list(settings or [])
    if skip_bad:
        overrides.append("data.skip_bad=true")
    if precision is not None:
        check_option("precision", precision, PRECISIONS)
        overrides.append(f"training.precision={precision}")
    hardware = _hardware(accelerator, devices, nodes, begun_on={})  # a mistake is reported before a run is begun
    named = api.tiny(recipe) if tiny and recipe is not None else recipe
    if resume:
        run, chosen, place = _resumed(named, located(data), name, overrides, start_from=start_from)
    else:
        hardware.leave_slurm_step()
        place = located(data)
        run, chosen = _begun(named, place, name, overrides, force=force, start_from=start_from)
    if resume:
        hardware = _hardware(accelerator, devices, nodes, begun_on=run.facts().get("hardware", {}))
        hardware.leave_slurm_step()
    is_reported = run.facts().get("status") == "finished" and (run.path / "report.html").exists()
    output = show_progress(chosen, tensorboard=tensorboard)
    try:
        trained = api.train(chosen, run, data=place, hardware=hardware, output=output)
    except KeyboardInterrupt:
        say(f"Interrupted. Resume with: triptych train --resume --name {shell_name(run)}")
        raise typer.Exit(130) from None
    if not trained.fitted.is_main_process:
        return
    document = already_finished(trained) if is_reported else finish(trained)
    if json:
        print_json(document)
    if trained.fitted.interrupted:
        raise typer.Exit(128 + (trained.fitted.signal or signal.SIGINT))  # as shells count


def _hardware(accelerator: str | None, devices: int | None, nodes: int | None, *, begun_on: dict[str, Any]) -> Hardware:
    """The given hardware options, and otherwise those that the run was started with."""
    from triptych.api import Hardware

    return Hardware.checked(
        accelerator or begun_on.get("accelerator", "auto"),
        devices=devices or begun_on.get("devices", 1),
        nodes=nodes or begun_on.get("nodes", 1),
    )


def _begun(
    recipe: str | None,
    data: Location | None,
    name: str | None,
    overrides: list[str],
    *,
    force: bool,
    start_from: str | None,
) -> tuple[Any, Any]:
    """A new run and its recipe."""
    from triptych import api
    from triptych.api import RecipeError, Run, load_recipe

    if start_from is not None:
        start = Run.open(start_from)
        chosen = api.recipe_from(start, None if recipe is None else load_recipe(recipe, overrides), overrides)
        chosen, named = api.placed(chosen, data), recipe or start.name
        return api.start_run(chosen, recipe_name=named, name=name, data=data, force=force, start_from=start), chosen
    if recipe is None:
        raise RecipeError(field="recipe", expected="one", hint="List them with: triptych recipes")
    chosen = api.placed(load_recipe(recipe, overrides), data)
    return api.start_run(chosen, recipe_name=recipe, name=name, data=data, force=force), chosen


def _resumed(
    recipe: str | None, data: Location | None, name: str | None, overrides: list[str], *, start_from: str | None
) -> tuple[Any, Any, Location | None]:
    """The run to resume, its recipe and the path of its data."""
    from triptych import api
    from triptych.api import RecipeError, Run, load_recipe

    if start_from is not None:
        raise RecipeError(
            "--start-from has no effect with --resume, which goes on with the run's own weights.", hint="Remove it."
        )
    if name is None:
        raise RecipeError(
            field="--name", expected="the name of the run to resume", hint="List the runs with: triptych runs"
        )
    run = Run.open(name)
    chosen = load_recipe(recipe if recipe is not None else run.path / "recipe.toml", overrides)
    if data is None and run.facts().get("status") != "finished":
        data = api.recorded_data(run)
    return run, chosen, data


def show_progress(recipe: Any, *, tensorboard: bool = False) -> Any:
    """Output of a training on standard error: a progress bar on a terminal, and a line per epoch."""
    import json
    import sys

    from triptych.api import Output, PrintEpochs, differences
    from triptych.cli.output import say, warn

    epochs = PrintEpochs()

    def decide(decided: Any) -> None:
        epochs.decide(decided)
        automatic = [f"{key} {json.dumps(value)}" for key, (_, value) in differences(recipe, decided).items()]
        if automatic:
            say(f"chosen  {', '.join(automatic)} (from the training data)")

    return Output(
        progress=sys.stderr.isatty(),
        tensorboard=tensorboard,
        listener=epochs,
        warn=warn,
        describe=lambda line: say(f"data    {line}"),
        decide=decide,
    )


def already_finished(trained: Trained) -> dict[str, Any]:
    """The document of a run that had finished before."""
    from triptych.api import panel_of
    from triptych.cli.output import say, shell_name

    run = trained.run
    say(f"{run.name} has already finished; nothing to do.")
    name = shell_name(run)
    say(f"next    triptych test {name}   triptych train RECIPE --name {name} --force")
    label = panel_of(run.recipe().panel).label(run.recipe().decoding)
    valid = run.facts().get("evaluations", {}).get(f"valid/{label}")
    report = str(run.path / "report.html")
    return {"run": str(run.path), "interrupted": False, "report": report, "best": dict(trained.best), "valid": valid}


def finish(trained: Trained) -> dict[str, Any]:
    """Evaluate the kept model on validation data, write the report, and print the paths of the files."""
    from triptych import api
    from triptych.api import panel_of
    from triptych.cli.output import say, say_validation, shell_name, warn

    run = trained.run
    document: dict[str, Any] = {"run": str(run.path), "interrupted": trained.fitted.interrupted}
    if not trained.fitted.rows:
        say(
            f"Stopped before the first epoch ended; nothing to keep yet. "
            f"Resume with: triptych train --resume --name {shell_name(run)}"
        )
        return document
    has_valid = "valid" in run.facts().get("counts", {})
    evaluation = api.evaluate(run, split="valid", read=trained.data) if has_valid else None
    report = api.write_report(run)
    kept, epochs = run.recipe().training.keep, run.recipe().training.epochs
    how = f"kept the {kept} epoch's model ({run.facts()['best_epoch']} was best of {len(trained.fitted.rows)}), "
    say(f"{how if epochs else ''}{trained.seconds:.0f} s of training")
    scores = None if evaluation is None else evaluation.scores.to_dict()
    if evaluation is not None and scores is not None:
        say_validation(panel_of(run.recipe().panel).measures(scores), evaluation.scores.n_items)
        warn(evaluation.warnings)
    say(f"report  {report}")
    if not trained.fitted.complete:
        say(f"Interrupted. Resume with: triptych train --resume --name {shell_name(run)}")
    else:
        has_test = "test" in run.facts().get("counts", {})
        commands = panel_of(run.recipe().panel).next_commands(shell_name(run), has_test=has_test)
        possible = [command for command in commands if has_valid or not command.startswith("triptych calibrate")]
        say(f"next    {'   '.join(possible)}")
    return {**document, "report": str(report), "best": dict(trained.best), "valid": scores}
