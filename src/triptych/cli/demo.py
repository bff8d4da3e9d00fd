"""`triptych demo`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli.options import AsJson, Settings

if TYPE_CHECKING:
    from triptych.runs.run import Run

TRAINED = {"spell": "demo-spell", "see": "demo-see"}  # their recipes; recall stores and has nothing to train
EXPLAINED = "R IH M EY N D ER"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    panel: Annotated[str, typer.Argument(help="spell, see or recall.")] = "spell",
    name: Annotated[str | None, typer.Option(help="Name of the run. Default: demo-PANEL.")] = None,
    settings: Settings = None,
    json: AsJson = False,
) -> None:
    """Do a panel's main job on data that is already here: train, test, explain, report.

    A second demo replaces the first one's run.
    """
    from triptych import api
    from triptych.cli import recall_demo
    from triptych.cli.output import say
    from triptych.cli.train import show_progress
    from triptych.config import load_recipe
    from triptych.errors import RecipeError, did_you_mean

    if panel == "recall":
        if settings:
            raise RecipeError(f"--set is {settings[0]!r} and has no effect on the demo of recall. Leave it out.")
        recall_demo.show(name=name, as_json=json)
        return
    if panel not in TRAINED:
        hint = did_you_mean(panel, (*TRAINED, "recall"))
        raise RecipeError(f"panel is {panel!r}; expected one that has a demo. {hint}")
    recipe = load_recipe(TRAINED[panel], settings or ())
    run = api.start_run(recipe, recipe_name=TRAINED[panel], name=name or TRAINED[panel], force=True)
    say(f"Training {recipe.title} ({recipe.training.epochs} epochs). Ctrl-C stops and keeps the best so far.")
    trained = api.train(recipe, run, output=show_progress(recipe))
    if not trained.fitted.rows:
        say(f"Stopped before the first epoch ended. Start again with: triptych demo {panel}")
        raise typer.Exit(130)
    evaluation = api.evaluate(run, split="test", read=trained.data)
    finish = _finish_spell if panel == "spell" else _finish_see
    finish(run, evaluation, trained.seconds, json)


def _finish_spell(run: Run, evaluation: Any, seconds: float, as_json: bool) -> None:
    """Explain a word, write the report and say what came out."""
    from triptych import api
    from triptych.cli.output import print_json

    explanation = api.explain(run, EXPLAINED)
    report = api.write_report(run)
    if as_json:
        picture = None if explanation.picture is None else str(explanation.picture)
        print_json(
            {"run": str(run.path), "report": str(report), "attention": picture, "test": evaluation.scores.to_dict()}
        )
        return
    _tell_words(evaluation, seconds)
    print(f"\nattention map  {explanation.picture}")
    print(f"report         {report}")
    print(f"run            {run.path}")
    print("\nTry next:")
    print(f'  echo "{EXPLAINED}" | triptych predict {run.name} --n-best 3')
    print(f"  triptych test {run.name} --decode beam --n-best 3")
    print("  triptych train p2g-additive --data FILE.tsv --name mine   # your pairs: phonemes, tab, word")


def _finish_see(run: Run, evaluation: Any, seconds: float, as_json: bool) -> None:
    """Put an image of the test split beside the run, explain it, write the report and say what came out."""
    from PIL import Image

    from triptych import api
    from triptych.cli.output import print_json

    example = run.path / "example.png"
    pixels = evaluation.images.pixels[0]
    Image.fromarray(pixels[0].numpy() if len(pixels) == 1 else pixels.permute(1, 2, 0).numpy()).save(example)
    explanation = api.explain_image(run, example)
    report = api.write_report(run)
    if as_json:
        print_json(
            {
                "run": str(run.path),
                "report": str(report),
                "example": explanation.to_dict(),
                "test": evaluation.scores.to_dict(),
            }
        )
        return
    _tell_images(evaluation, seconds)
    print(f"\nactivation maps  {explanation.maps}")
    print(f"saliency         {explanation.saliency}")
    print(f"report           {report}")
    print(f"run              {run.path}")
    print("\nTry next:")
    print(f"  triptych predict {run.name} {example} --n-best 3")
    print(f"  triptych count {run.name}")
    print("  triptych train scenes-best --data FOLDER --name mine   # your images: a folder per class")


def _tell_images(evaluation: Any, seconds: float) -> None:
    from triptych.cli.output import interval, print_table

    scores, judged = evaluation.scores, evaluation.items
    print(f"\nTrained in {seconds:.0f} s. On {scores.n_items} images it never saw:")
    print(f"  accuracy {interval(scores.accuracy)}   with its 95 % interval")
    print(f"  calibration error {scores.calibration_error:.4f}   how far probabilities are from what they promise\n")
    step = max(1, len(judged.names) // 12)
    rows = []
    for place in range(0, len(judged.names), step)[:12]:
        truth, said = judged.classes[judged.truths[place]], judged.classes[judged.predictions[place]]
        mark = "right" if truth == said else ""
        rows.append([judged.names[place], truth, said, f"{judged.confidences[place]:.3f}", mark])
    print_table(["image", "truth", "predicted", "probability", ""], rows)


def _tell_words(evaluation: Any, seconds: float) -> None:
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
