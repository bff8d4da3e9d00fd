"""`triptych explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triptych.cli.options import AsJson, Device, NBest, RunName


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    run: RunName,
    source: Annotated[str, typer.Argument(help="One source, as the run's data writes it.")],
    n_best: NBest = 3,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures. Default: the run's figures.")] = None,
    device: Device = "cpu",
    json: AsJson = False,
) -> None:
    """Draw where the model looked while it wrote, and list what else it considered.

    Example:

        triptych explain first "ɹ ə m e ɪ n d ɚ"
    """
    from triptych import api
    from triptych.cli.output import print_json, print_table, say
    from triptych.training.run import Run

    explanation = api.explain(Run.open(run), source, n_best=n_best or 1, out=out, device=device)
    candidates = explanation.prediction.candidates
    if explanation.prediction.unknown:
        names = ", ".join(repr(symbol) for symbol in explanation.prediction.unknown)
        say(f"warning: {names} never seen in training; expect a poor prediction.")
    if json:
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
