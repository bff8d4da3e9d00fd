"""`triptych predict`."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    SkipBadFiles,
    Temperature,
    TopK,
    TopP,
    Views,
    decoding_of,
    reject,
)

if TYPE_CHECKING:
    from triptych.decoding import Speller
    from triptych.text.pairs import BadRow
    from triptych.text.predictions import Prediction


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("predict")(predict)


def predict(
    run: RunName,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Sources, one per line (a .gz is unpacked); of images, a file or folder. - is standard input: "
            "sources, or paths of images, one per line.",
        ),
    ] = "-",
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
    skip_bad_rows: Annotated[
        bool, typer.Option("--skip-bad-rows", help="Of spell: leave bad lines out, with a count.")
    ] = False,
    line_buffered: Annotated[
        bool, typer.Option("--line-buffered", help="Answer each line before reading the next; slower.")
    ] = False,
    views: Views = None,
    skip_bad_files: SkipBadFiles = False,
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
    from triptych import api
    from triptych.cli.images import predict_images
    from triptych.cli.output import warn
    from triptych.config import SeeRecipe
    from triptych.runs.run import Run

    opened = Run.open(run)
    recipe = opened.recipe()
    read_by: dict[str, Any] = {
        "decode": decode,
        "beam_size": beam_size,
        "n_best": n_best,
        "length_penalty": length_penalty,
        "samples": samples,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
    }
    equipment: dict[str, Any] = {"lexicon": lexicon, "lexicon_weight": lexicon_weight, "dictionary": dictionary}
    if isinstance(recipe, SeeRecipe):
        of_spell = {**read_by, **equipment, "skip_bad_rows": skip_bad_rows}
        del of_spell["n_best"]  # of images it says how many classes to print
        reject("see", of_spell)
        predict_images(
            opened,
            file,
            top_k=n_best,
            views=views,
            skip_bad_files=skip_bad_files,
            line_buffered=line_buffered,
            device=device,
        )
        return
    reject("spell", {"views": views, "skip_bad_files": skip_bad_files})
    decoding = decoding_of(recipe, **read_by)
    speller = api.equip(
        api.load(run, device=device), lexicon=lexicon, weight=lexicon_weight, dictionary=dictionary, warn=warn
    )
    _predict_lines(
        speller,
        file,
        decoding,
        max_symbols=recipe.data.max_symbols,
        skip_bad_rows=skip_bad_rows,
        line_buffered=line_buffered,
    )


def _predict_lines(
    speller: Speller,
    file: str,
    decoding: Any,
    *,
    max_symbols: int,
    skip_bad_rows: bool,
    line_buffered: bool,
) -> None:
    """Predict line by line what a file or standard input holds."""
    from triptych.cli.output import say
    from triptych.data.files import open_binary
    from triptych.text.pairs import read_sources

    skipped = 0
    first: BadRow | None = None

    def count(row: BadRow) -> None:
        nonlocal skipped, first
        skipped, first = skipped + 1, first or row

    with ExitStack() as stack:
        stream: Any = sys.stdin.buffer if file == "-" else stack.enter_context(open_binary(Path(file)))
        label = "standard input" if file == "-" else file
        lines = read_sources(
            stream,
            speller.vocabularies.source_tokenizer,
            path_label=label,
            max_symbols=max_symbols,
            on_bad_row=count if skip_bad_rows else None,
        )
        ahead: deque[int] = deque()  # numbers of the lines read and not yet predicted, as many as a stream reads ahead

        def symbols() -> Iterator[tuple[str, ...]]:
            for line in lines:
                ahead.append(line.line)
                yield line.symbols

        results = speller.stream(symbols(), decoding=decoding, chunk=1 if line_buffered else None)
        _write(((ahead.popleft(), result) for result in results), speller, label, flush=line_buffered)
    if first is not None:
        say(f"warning: {label}:{first.line}: {first.reason}. Bad lines skipped, from this one on: {skipped}.")


def _write(predictions: Iterator[tuple[int, Prediction[Any]]], speller: Speller, label: str, *, flush: bool) -> None:
    from triptych.cli.output import say

    warned: set[str] = set()
    join = speller.vocabularies.source_tokenizer.join
    for line, prediction in predictions:
        fresh = [symbol for symbol in prediction.unknown if symbol not in warned]
        if fresh:
            warned.update(fresh)
            names = ", ".join(repr(symbol) for symbol in fresh)
            say(f"warning: {label}:{line}: {names} never seen in training; expect a poor prediction.")
        cells = [join(prediction.source)]
        for candidate in prediction.candidates:
            cells += [candidate.text, f"{candidate.log_probability:.4f}"]
        print("\t".join(cell.replace("\t", " ") for cell in cells), flush=flush)
    sys.stdout.flush()
