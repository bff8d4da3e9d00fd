"""`triptych score`, `triptych align` and `triptych distil`: what a run says of given pairs and words."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from triptych.cli.options import AsJson, Device, OtherDataPath, RunName, SkipBad, located

Language = Annotated[
    str | None,
    typer.Option("--language", help="Language of the pairs, one of the run's, for a run of several languages."),
]
PairFiles = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PAIRS...",
        help="Files of pairs, laid out like the run's data. - is standard input, the default: source, target and "
        "anything after, as `triptych predict` writes.",
    ),
]


def score(
    run: RunName,
    files: PairFiles = None,
    rerank: Annotated[
        bool,
        typer.Option(
            "--rerank",
            help="Read lists of candidates, as `triptych predict --n-best` writes them, and print them in a new order.",
        ),
    ] = False,
    weight: Annotated[
        float | None,
        typer.Option(help="With --rerank: share of this run's log-probability, 0 to 1. Default: 0.5."),
    ] = None,
    reverse: Annotated[
        bool, typer.Option("--reverse", help="With --rerank: the run rewrites candidates as sources.")
    ] = False,
    language: Language = None,
    skip_bad: SkipBad = False,
    device: Device = "cpu",
    json: AsJson = False,
) -> None:
    """Score given pairs: log-probability, its mean per symbol, and the number of symbols never seen in training.

    Prints source, target and these as TSV. With `--rerank`, source, candidate, score and further candidates, which
    another `triptych score --rerank` can read.

    Examples:

        triptych score first pairs.tsv

        triptych predict first words.txt --n-best 5 | triptych score second --rerank

        triptych predict g2p words.txt --n-best 5 | triptych score p2g --rerank --reverse --weight 0.3
    """
    from triptych import api
    from triptych.api import RecipeError, Run
    from triptych.cli.output import warn

    opened, places = Run.open(run), files or ["-"]
    if not rerank:
        for option, value in (("--weight", weight), ("--reverse", reverse or None)):
            if value is not None:
                raise RecipeError(f"{option} has no effect without --rerank.", hint="Add --rerank, or remove it.")
        scored = api.score(opened, places, language=language, skip_bad=skip_bad, device=device, warn=warn)
        _show(scored, opened.name, as_json=json)
        return
    share = 0.5 if weight is None else weight
    lists = api.rerank(
        opened,
        places,
        weight=share,
        reverse=reverse,
        language=language,
        skip_bad=skip_bad,
        device=device,
        warn=warn,
    )
    _show(lists, opened.name, as_json=json)


def align(
    run: RunName,
    files: PairFiles = None,
    language: Language = None,
    skip_bad: SkipBad = False,
    device: Device = "cpu",
    json: AsJson = False,
) -> None:
    """Align given pairs: which source symbol each target symbol is written from.

    Prints source, target, the alignment as `x:k+s e:_`, and as places from 0, `0-0 0-1`. Hard monotonic attention: the
    most probable walk. Soft attention and ensembles: the heaviest path through the weights that never goes back.

    Examples:

        triptych align first pairs.tsv

        triptych predict first words.txt | triptych align first --json
    """
    from triptych import api
    from triptych.api import Run
    from triptych.cli.output import warn

    opened = Run.open(run)
    found = api.align(opened, files or ["-"], language=language, skip_bad=skip_bad, device=device, warn=warn)
    _show(found, opened.name, as_json=json)


def distil(
    teacher: Annotated[str, typer.Argument(metavar="TEACHER", help="Name or path of a run, best an ensemble.")],
    words: Annotated[Path, typer.Option("--words", metavar="FILE", help="Words without targets, one per line.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder of data to write.")],
    min_probability: Annotated[
        float, typer.Option(help="Add answers of at least this probability; below 0.5 a word may have several.")
    ] = 0.5,
    data: OtherDataPath = None,
    device: Device = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Replace the files of an existing folder.")] = False,
    json: AsJson = False,
) -> None:
    """Write data for a student: the teacher's own pairs, and its answers for words without targets.

    Words of the validation and test data are never added. Train the student with the teacher's recipe or another one.

    Examples:

        triptych ensemble seed-1 seed-2 seed-3 --name three

        triptych distil three --words words.txt --out distilled

        triptych train p2g-best --data distilled --name student
    """
    from triptych import api
    from triptych.cli.output import print_json, say

    run = api.Run.open(teacher)
    found = api.distil(run, words, out, data=located(data), min_probability=min_probability, device=device, force=force)
    if json:
        print_json({"folder": str(out), **found.to_dict()})
        return
    print(f"distilled  {out}: {found.own:,} own training pairs and {found.added:,} new ones")
    say(
        f"words      {found.answered:,} of {found.words:,} answered; {found.known:,} in the data already, "
        f"{found.doubtful:,} without an answer of probability {min_probability:g} or more, {found.unreadable:,} not "
        "readable"
    )
    say(f"next       triptych train RECIPE --data {shlex.quote(str(out))} --name NAME")


def _show(lines: Iterator[Any], name: str, *, as_json: bool) -> None:
    import sys

    from triptych.api import tsv_row
    from triptych.cli.output import print_json

    if as_json:
        print_json({"run": name, "pairs": [line.document for line in lines]})
        return
    for line in lines:
        print(tsv_row(line.cells))
    sys.stdout.flush()
