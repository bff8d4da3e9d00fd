"""`triptych explain`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from triptych.cli.options import AsJson, Device, RunName, with_run_options


@with_run_options("explain")
def explain(
    run: RunName,
    items: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE|IMAGE...", help="One source, written as in the run's data; or image files."),
    ],
    out: Annotated[Path | None, typer.Option(help="Folder for the figures. Default: the run's figures.")] = None,
    device: Device = "cpu",
    json: AsJson = False,
    *,
    given: Mapping[str, Any],
) -> None:
    """Explain a prediction: draw attention or evidence, and list the other candidates.

    Spell: the attention map. See: activation maps of a convolution beside the image, and the evidence for the class.

    Examples:

        triptych explain first "ɹ ə m e ɪ n d ɚ"

        triptych explain pictures holiday/beach.jpg --layer 2
    """
    from triptych import api
    from triptych.api import Run
    from triptych.cli.output import print_json, print_table, say

    opened = Run.open(run)
    explained = api.explain(opened, items, given, out=out, device=device)
    if json:
        documents = [explanation.to_dict() for explanation in explained]
        several = explained[0].several
        print_json({several: documents} if several else documents[0])
        return
    for explanation in explained:
        print_table(*explanation.table(), title=explanation.title)
        for shown, path in explanation.figures.items():
            print(f"{shown}  {path}")
        for note in explanation.notes:
            say(note)
