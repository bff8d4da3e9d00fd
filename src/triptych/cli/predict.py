"""`triptych predict`."""

from __future__ import annotations

from typing import Annotated

import typer

from triptych.cli.options import (
    BeamSize,
    DecodeMethod,
    Device,
    DictionaryFile,
    LengthPenalty,
    LexiconFile,
    LexiconWeight,
    NBest,
    RunName,
    Samples,
    Seed,
    SkipBad,
    Temperature,
    TopK,
    TopP,
    Views,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


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
    decode: DecodeMethod = None,
    beam_size: BeamSize = None,
    n_best: NBest = None,
    length_penalty: LengthPenalty = None,
    samples: Samples = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    seed: Seed = None,
    lexicon: LexiconFile = None,
    lexicon_weight: LexiconWeight = None,
    dictionary: DictionaryFile = None,
    skip_bad: SkipBad = False,
    line_buffered: Annotated[
        bool, typer.Option("--line-buffered", help="Answer each line before reading the next; slower.")
    ] = False,
    views: Views = None,
    device: Device = "cpu",
) -> None:
    """Predict a target for every line, or a class for every image, as TSV.

    Spell: source, prediction, log-probability; with `--n-best 3` further candidates, in pairs of columns. See: path,
    class, probability, then the next two classes alike; `--n-best 1` prints the first alone. Reads and writes as a pipe
    does, in bounded memory.

    Examples:

        echo "ɹ ə m e ɪ n d ɚ" | triptych predict first

        triptych predict first words.txt --n-best 3 > predictions.tsv

        triptych predict pictures holiday/ --n-best 3
    """
    import sys

    from triptych import api
    from triptych.cli.output import warn
    from triptych.files import tsv_row
    from triptych.runs.run import Run

    given = {
        "decode": decode,
        "beam_size": beam_size,
        "n_best": n_best,
        "length_penalty": length_penalty,
        "samples": samples,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
        "lexicon": lexicon,
        "lexicon_weight": lexicon_weight,
        "dictionary": dictionary,
        "views": views,
    }
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
