"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from triptych.config import Recipe, SpellDecoding

RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Shipped recipe (see `triptych recipes`) or a .toml file.")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Name or path of a run.")]
DataPath = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Folder with the split files, or one file to split. Default: the recipe's named set.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Change a setting of the recipe; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
Device = Annotated[str, typer.Option("--device", help="Where the model runs: cpu, cuda, mps.")]
DecodeMethod = Annotated[
    str | None, typer.Option("--decode", metavar="METHOD", help="greedy, beam or sample. Default: as the recipe says.")
]
BeamSize = Annotated[int | None, typer.Option(help="Hypotheses kept by beam search.")]
NBest = Annotated[int | None, typer.Option(help="Hypotheses returned by beam search, best first.")]
LengthPenalty = Annotated[float | None, typer.Option(help="Power of the length that log-probabilities are divided by.")]
Samples = Annotated[int | None, typer.Option(help="Samples drawn per source.")]
Temperature = Annotated[float | None, typer.Option(help="Sampling temperature.")]
TopK = Annotated[int | None, typer.Option(help="Sample from so many most probable symbols; 0 keeps all.")]
TopP = Annotated[float | None, typer.Option(help="Sample from the smallest set of symbols with this probability mass.")]
Seed = Annotated[int | None, typer.Option(help="Seed of sampling.")]
LexiconFile = Annotated[
    Path | None, typer.Option("--lexicon", help="Word list, one target per line: predict its words only.")
]
LexiconWeight = Annotated[
    float | None,
    typer.Option(help="With --lexicon: allow other words too, at this cost in nats. 0 is free; 5 is dear."),
]
DictionaryFile = Annotated[
    Path | None, typer.Option("--dictionary", help="Pairs that are looked up before the model is asked.")
]


def decoding_of(recipe: Recipe, **options: Any) -> SpellDecoding:
    """The recipe's decoding with the options that were given on top; the n-best of a beam are kept in step."""
    from triptych.config import with_changes

    given = {name: value for name, value in options.items() if value is not None}
    changes = {f"decoding.{'method' if name == 'decode' else name}": value for name, value in given.items()}
    if "decode" not in given:
        if {"beam_size", "n_best", "length_penalty"} & given.keys():
            changes["decoding.method"] = "beam"
        elif {"samples", "temperature", "top_k", "top_p"} & given.keys():
            changes["decoding.method"] = "sample"
    return with_changes(recipe, changes).decoding
