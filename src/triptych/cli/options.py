"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

if TYPE_CHECKING:
    from triptych.api import Location


def located(data: Sequence[str] | None) -> Location | None:
    """Where data is, from the texts of `--data`."""
    from triptych.api import parse_location

    return parse_location(data)


def _existing(data: list[str] | None) -> list[str] | None:
    """Check that the paths of data exist, before any slow import."""
    location = located(data) if data else None
    if location is not None:
        from triptych.api import check_locations

        check_locations(location)
    return data


RecipeName = Annotated[
    str, typer.Argument(metavar="RECIPE", help="Shipped recipe (see `triptych recipes`) or a .toml file.")
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="Name or path of a run.")]
DataPath = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Path of the data: a folder with or without splits, or one file; LANG=PATH once for each of several "
        "languages. Default: the recipe's named set.",
        callback=_existing,
    ),
]
OtherDataPath = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="PATH",
        help="Path of other data, or of the run's own where it has moved; LANG=PATH once for each of several "
        "languages. Default: the run's own data.",
        callback=_existing,
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Change a setting of the recipe; may be repeated."),
]
Tiny = Annotated[bool, typer.Option("--tiny", help="Scale the shipped recipe down to run in seconds.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print only one JSON object on standard output.")]
Device = Annotated[str, typer.Option("--device", help="Device that runs the model: cpu, cuda, mps.")]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Skip rows or files that cannot be read, and report how many.")
]


def with_run_options(command: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add an option for each setting that the command can change on a run.

    The function gets them as `given`, a mapping from names to values with None for those that were not given.

    Args:
        command: `predict`, `test` or `explain`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        from triptych.api import run_options

        options = {f"option_{option.name}": option for option in run_options(command)}
        hints = {name: hint for name, hint in get_type_hints(function, include_extras=True).items() if name != "given"}
        kinds: dict[str, Any] = {
            name: Annotated[
                option.kind | None,
                typer.Option(_flag(option.name, option.kind), help=option.help),
            ]
            for name, option in options.items()
        }
        own = [parameter for parameter in inspect.signature(function).parameters.values() if parameter.name != "given"]
        added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in options]

        @functools.wraps(function)
        def run(**values: Any) -> None:
            given = {option.name: values.pop(name, None) for name, option in options.items()}
            function(**values, given=given)

        run.__annotations__ = {**hints, **kinds}
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=run.__annotations__[parameter.name])
                for parameter in (*own, *added)
            ]
        )
        return run

    return decorate


def _flag(name: str, kind: type) -> str:
    """An option as it is typed; one that is true or false has both forms."""
    text = name.replace("_", "-")
    return f"--{text}/--no-{text}" if kind is bool else f"--{text}"


def train_command(recipe: str, *, data: Location | None, settings: Sequence[str] = ()) -> str:
    """The line that trains a recipe on data, with settings in their order, to be pasted into a shell."""
    from triptych.api import location_arguments

    changed = [part for setting in settings for part in ("--set", setting)]
    return shlex.join(["triptych", "train", recipe, *location_arguments(data), *changed])
