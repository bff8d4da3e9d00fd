"""`triptych explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli.options import AsJson, Device, NBest, RunName

if TYPE_CHECKING:
    from triptych.runs.run import Run


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    run: RunName,
    sources: Annotated[
        list[str], typer.Argument(metavar="SOURCE", help="One source, as the run's data writes it; or image files.")
    ],
    n_best: NBest = None,
    layer: Annotated[
        str | None, typer.Option(help="Of see: name, or number from 0, of the convolution to show. Default: 0.")
    ] = None,
    of_class: Annotated[
        str | None,
        typer.Option("--class", help="Of see: class whose evidence is drawn. Default: predicted."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures. Default: the run's figures.")] = None,
    device: Device = "cpu",
    json: AsJson = False,
) -> None:
    """Draw where the model looked, and list what else it considered.

    Spell: the attention map. See: activation maps of a convolution beside the image, and what spoke for the class.

    Examples:

        triptych explain first "ɹ ə m e ɪ n d ɚ"

        triptych explain pictures holiday/beach.jpg --layer 2
    """
    from triptych.cli.images import explain_images
    from triptych.cli.options import reject
    from triptych.config import SeeRecipe
    from triptych.errors import RecipeError
    from triptych.runs.run import Run

    opened = Run.open(run)
    if isinstance(opened.recipe(), SeeRecipe):
        reject("see", {"n_best": n_best})
        explain_images(opened, sources, layer=layer, of_class=of_class, out=out, device=device, as_json=json)
        return
    reject("spell", {"layer": layer, "class": of_class})
    if len(sources) > 1:
        raise RecipeError(f"SOURCE is given {len(sources)} times; expected one. Put a source with spaces in quotes.")
    _explain_source(opened, sources[0], n_best=n_best or 3, out=out, device=device, as_json=json)


def _explain_source(run: Run, source: str, *, n_best: int, out: Path | None, device: str, as_json: bool) -> None:
    from triptych import api
    from triptych.cli.output import print_json, print_table, say

    explanation = api.explain(run, source, n_best=n_best, out=out, device=device)
    candidates = explanation.prediction.candidates
    if explanation.prediction.unknown:
        names = ", ".join(repr(symbol) for symbol in explanation.prediction.unknown)
        say(f"warning: {names} never seen in training; expect a poor prediction.")
    if as_json:
        rows = [{"text": c.text, "symbols": c.symbols, "log_probability": c.log_probability} for c in candidates]
        picture = explanation.picture
        print_json(
            {
                "source": explanation.prediction.source,
                "candidates": rows,
                "attention": None if explanation.weights is None else explanation.weights,
                "picture": None if picture is None else str(picture),
            }
        )
        return
    print_table(
        ["candidate", "log-probability", "probability"],
        [[c.text, f"{c.log_probability:.3f}", f"{c.probability:.3f}"] for c in candidates],
    )
    if explanation.picture is None:
        say("This model has no attention to draw. Train one that has, for example: triptych train p2g-additive")
    else:
        print(f"attention map  {explanation.picture}")
