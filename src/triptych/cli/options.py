"""Options that several commands share."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    pass


def _existing(location: Path | None) -> Path | None:
    """Told before anything is imported that takes its time."""
    if location is not None:
        from triptych.data.files import check_location

        check_location(location)
    return location


RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Shipped recipe (see `triptych recipes`) or a .toml file.")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Name or path of a run.")]
DataPath = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Where the data is: a folder with splits or without, or one file. Default: the recipe's named set.",
        callback=_existing,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Change a setting of the recipe; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
Device = Annotated[str, typer.Option("--device", help="Where the model runs: cpu, cuda, mps.")]
DecodeMethod = Annotated[
    str | None,
    typer.Option("--decode", metavar="METHOD", help="Of spell: greedy, beam or sample. Default: as the recipe says."),
]
BeamSize = Annotated[int | None, typer.Option(help="Of spell: hypotheses kept by beam search.")]
NBest = Annotated[
    int | None,
    typer.Option(
        help="Of spell: hypotheses listed by beam search, best first; widens the beam. "
        "Of see, with `predict`: classes listed for each image."
    ),
]
LengthPenalty = Annotated[
    float | None, typer.Option(help="Of spell: power of the length that log-probabilities are divided by.")
]
Samples = Annotated[int | None, typer.Option(help="Of spell: samples drawn per source.")]
Temperature = Annotated[float | None, typer.Option(help="Of spell: sampling temperature.")]
TopK = Annotated[int | None, typer.Option(help="Of spell: sample from so many most probable symbols; 0 keeps all.")]
TopP = Annotated[
    float | None, typer.Option(help="Of spell: sample from the smallest set of symbols with this probability mass.")
]
Seed = Annotated[int | None, typer.Option(help="Of spell: seed of sampling.")]
LexiconFile = Annotated[
    Path | None, typer.Option("--lexicon", help="Of spell: word list, one target per line; predict its words only.")
]
LexiconWeight = Annotated[
    float | None,
    typer.Option(help="Of spell, with --lexicon: allow other words too, at this cost in nats. 0 is free; 5 is dear."),
]
DictionaryFile = Annotated[
    Path | None, typer.Option("--dictionary", help="Of spell: pairs that are looked up before the model is asked.")
]


Views = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="Of see: average over one view, flips, shifts or shifts-and-flips. Default: as the recipe says.",
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Skip rows or files that cannot be read, and report how many.")
]


def reject(panel: str, options: Mapping[str, Any]) -> None:
    """See that no option was given that has no effect on a run of that panel; None and False are not given.

    Raises:
        RecipeError: one was.
    """
    from triptych.errors import RecipeError

    for name, value in options.items():
        if value is not None and value is not False:
            option = f"--{name.replace('_', '-')}"
            shown = "given" if value is True else value
            raise RecipeError(f"{option} is {shown} and has no effect on a run of the panel {panel}. Leave it out.")


def train_command(recipe: str, *, data: Path | None, settings: Sequence[str] = ()) -> str:
    """The line that trains a recipe on data, with settings in their order, to be pasted into a shell."""
    located = [] if data is None else ["--data", str(data)]
    changed = [part for setting in settings for part in ("--set", setting)]
    return shlex.join(["triptych", "train", recipe, *located, *changed])
