"""`triptych predict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from triptych.cli.options import Device, RunName, SkipBad, with_run_options


@with_run_options("predict")
def predict(
    run: RunName,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE...",
            help="Sources, one per line (a .gz is unpacked); of images, files or folders. - is standard input, the "
            "default: sources, or paths of images, one per line.",
        ),
    ] = None,
    skip_bad: SkipBad = False,
    line_buffered: Annotated[
        bool, typer.Option("--line-buffered", help="Answer each line before reading the next; slower.")
    ] = False,
    device: Device = "cpu",
    *,
    given: Mapping[str, Any],
) -> None:
    """Predict a target for every line, or a class for every image, as TSV.

    Spell: source, prediction, log-probability; with `--n-best 3` further candidates, in pairs of columns. See: path,
    class, probability, then the same of the next two classes; `--n-best 1` prints the first alone. Works as a pipe, in
    bounded memory.

    Examples:

        echo "ɹ ə m e ɪ n d ɚ" | triptych predict first

        triptych predict first words.txt --n-best 3 > predictions.tsv

        triptych predict pictures holiday/ --n-best 3
    """
    import sys

    from triptych import api
    from triptych.api import Run, tsv_row
    from triptych.cli.output import warn

    for cells in api.predict(
        Run.open(run),
        files or ["-"],
        given,
        skip_bad=skip_bad,
        line_buffered=line_buffered,
        device=device,
        warn=warn,
    ):
        print(tsv_row(cells), flush=line_buffered)
    sys.stdout.flush()
