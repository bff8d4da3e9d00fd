"""`triptych pack` and `triptych models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triptych.cli.options import AsJson, OtherDataPath, RunName, located


def pack(
    run: RunName,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="File to write. Default: the run's name, .triptych.")
    ] = None,
    weights: Annotated[
        str,
        typer.Option(help="float32, float16 or int8; for the last two, the change on validation data is measured."),
    ] = "float32",
    data: OtherDataPath = None,
    dictionary: Annotated[
        bool,
        typer.Option("--dictionary", help="Let the recipe's named data set answer first; the set is not packed."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: AsJson = False,
) -> None:
    """Pack a run into one file, to be shared: commands that read a run take its path.

    Examples:

        triptych pack first

        triptych pack first --out small.triptych --weights int8

        triptych predict small.triptych words.txt
    """
    from triptych import api
    from triptych.cli.output import interval, print_json, print_table

    made = api.pack(api.Run.open(run), out, weights=weights, data=located(data), dictionary=dictionary, force=force)
    if json:
        measures = {
            name: {"before": made.before[name].to_dict(), "after": made.after[name].to_dict()} for name in made.before
        }
        print_json({"path": str(made.path), "bytes": made.bytes, "weights": made.weights, "valid": measures})
        return
    print(f"packed      {made.path}, {made.bytes / 1e6:.2f} MB, weights in {made.weights}")
    if made.before:
        rows = [[name, interval(made.before[name]), interval(made.after[name])] for name in made.before]
        title = f"valid: {made.items} items"
        print_table(["measure", "float32 [95 % interval]", f"{made.weights} [95 % interval]"], rows, title=title)


def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Print this model's card instead of the list; also of a run.")
    ] = None,
    json: AsJson = False,
) -> None:
    """List the ready-made models of the package, or print a model card.

    Commands that read a run take a model's name: `triptych predict NAME words.txt`.
    """
    from triptych import api
    from triptych.cli.output import cell, print_json, print_table, say

    if name is not None:
        card = api.model_card(name)
        if json:
            print_json({"name": name, "card": card})
        else:
            print(card, end="")
        return
    found = api.ready_made_models()
    if json:
        documents = [
            {
                "name": model.name,
                "title": model.title,
                "bytes": model.bytes,
                "test": {measure: value.to_dict() for measure, value in model.measures.items()},
            }
            for model in found
        ]
        print_json({"models": documents})
        return
    if not found:
        say("This installation has no ready-made models. Train one with: triptych train RECIPE --name NAME")
        return
    rows = [
        [
            model.name,
            f"{model.bytes / 1e6:.1f} MB",
            ", ".join(f"{measure} {cell(value.value)}" for measure, value in model.measures.items()),
            model.title,
        ]
        for model in found
    ]
    print_table(["model", "size", "test", "what it does"], rows)
    say("Print a card with: triptych models NAME. Predict with: triptych predict NAME FILE")
