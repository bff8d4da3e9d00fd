"""`triptych demo`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from triptych.cli.options import AsJson, Settings

DEMOS = {"spell": "demo-spell"}
EXPLAINED = "R IH M EY N D ER"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    panel: Annotated[str, typer.Argument(help="spell.")] = "spell",
    name: Annotated[str | None, typer.Option(help="Name of the run. Default: demo-PANEL.")] = None,
    settings: Settings = None,
    json: AsJson = False,
) -> None:
    """Do a panel's main job on data that is already here: train, test, explain, report.

    A second demo replaces the first one's run.
    """
    from triptych import api
    from triptych.cli.output import print_json, say
    from triptych.cli.train import show_progress
    from triptych.config import load_recipe
    from triptych.errors import RecipeError, did_you_mean

    if panel not in DEMOS:
        raise RecipeError(f"panel is {panel!r}; expected one that has a demo. {did_you_mean(panel, DEMOS)}")
    recipe = load_recipe(DEMOS[panel], settings or ())
    run = api.start_run(recipe, recipe_name=DEMOS[panel], name=name or DEMOS[panel], force=True)
    say(f"Training {recipe.title} ({recipe.training.epochs} epochs). Ctrl-C stops and keeps the best so far.")
    trained = api.train(recipe, run, output=show_progress(recipe))
    if not trained.fitted.rows:
        say("Stopped before the first epoch ended. Start again with: triptych demo")
        raise typer.Exit(130)
    evaluation = api.evaluate(run, split="test")
    explanation = api.explain(run, EXPLAINED)
    report = api.write_report(run)
    if json:
        picture = None if explanation.picture is None else str(explanation.picture)
        print_json(
            {"run": str(run.path), "report": str(report), "attention": picture, "test": evaluation.scores.to_dict()}
        )
        return
    _tell(evaluation, trained.seconds)
    print(f"\nattention map  {explanation.picture}")
    print(f"report         {report}")
    print(f"run            {run.path}")
    print("\nTry next:")
    print(f'  echo "{EXPLAINED}" | triptych predict {run.name} --n-best 3')
    print(f"  triptych test {run.name} --decode beam --n-best 3")
    print("  triptych train p2g-additive --data FILE.tsv --name mine   # your pairs: phonemes, tab, word")


def _tell(evaluation: Any, seconds: float) -> None:
    from triptych.cli.output import interval, print_table
    from triptych.spell.metrics import examples

    scores = evaluation.scores
    print(f"\nTrained in {seconds:.0f} s. On {scores.n_items} words it never saw:")
    print(f"  CER {interval(scores.cer)}   edits per letter, with its 95 % interval")
    print(f"  WER {interval(scores.wer)}   share of words not exactly right\n")
    rows = []
    for example in examples(evaluation.items, 12):
        predicted = "".join(example.predictions[0])
        truth = " / ".join("".join(reference) for reference in example.references)
        right = any(example.predictions[0] == reference for reference in example.references)
        rows.append([" ".join(example.source), truth, predicted, "right" if right else ""])
    print_table(["phonemes", "truth", "predicted", ""], rows)
