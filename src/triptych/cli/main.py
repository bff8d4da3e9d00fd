"""The command `triptych`: one file per command, and errors as one line.

Commands import what they need when they run, so that help answers at once.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer

from triptych.api import TriptychError
from triptych.cli import (
    anatomy,
    calibrate,
    compare,
    count,
    demo,
    ensemble,
    experiment,
    explain,
    export,
    learning_rate,
    memory,
    pack,
    predict,
    recipes,
    report,
    runs,
    score,
    serve,
    test,
    train,
    tune,
)

app = typer.Typer(
    name="triptych",
    help="Small neural systems to train on a laptop, look inside, and ship without PyTorch.",
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for command in (
    demo.demo,
    train.train,
    test.test,
    predict.predict,
    score.score,
    score.align,
    score.distil,
    explain.explain,
    experiment.experiment,
    report.report,
    runs.runs,
    compare.compare,
    calibrate.calibrate,
    ensemble.ensemble,
    count.count,
    export.export,
    pack.pack,
    pack.models,
    serve.serve,
    tune.tune,
    learning_rate.find_learning_rate,
    recipes.recipes,
):
    app.command()(command)
for group in (memory, anatomy):
    group.register(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the whole trace of an error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    if debug:
        os.environ["TRIPTYCH_DEBUG"] = "1"


@app.command()
def version() -> None:
    """Print the version."""
    import triptych

    print(triptych.__version__)


def main() -> None:
    """Run the command line; a mistake of the user's is one line on standard error and status 2."""
    _settle_surroundings()
    status = 0
    try:
        result = app(sys.argv[1:] or ["--help"], prog_name="triptych", standalone_mode=False)
        status = result if isinstance(result, int) else 0
    except TriptychError as error:
        _fail(str(error), error)
        status = 2
    except typer.TyperException as error:  # a command, option or value that is not known
        _fail(_usage_error(error), error)
        status = 2
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted.", None)
        status = 130
    except (BrokenPipeError, SystemExit) as error:  # the reader of a pipe has gone, as `head` does
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__context__, BrokenPipeError):
            raise
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - so that closing does not fail
        status = 141
    except OSError as error:  # a full disk, a folder that may not be written
        _fail(f"{error.filename or 'the system'}: {error.strerror or error}.", error)
        status = 2
    sys.exit(status)


def _settle_surroundings() -> None:
    """Write UTF-8 whatever the system's code page is, and draw without the backend of a notebook that started us."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8")
    os.environ["MPLBACKEND"] = "Agg"


def _usage_error(error: typer.TyperException) -> str:
    """What is wrong with the arguments, and which command describes the right ones."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    message = message if message.endswith((".", "?")) else f"{message}."
    return message if context is None else f"{message} See: {context.command_path} --help"


def _fail(message: str, error: BaseException | None) -> None:
    if error is not None and os.environ.get("TRIPTYCH_DEBUG"):
        raise error
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
