"""What commands print: figures on standard output, everything else on standard error."""

from __future__ import annotations

import json
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triptych.api import Estimate, Run


def say(message: str) -> None:
    """A line for the person who is watching."""
    print(message, file=sys.stderr)


def warn(messages: Sequence[str]) -> None:
    """Warnings, one line each."""
    for message in messages:
        say(f"warning: {message}")


def say_validation(measures: Mapping[str, Any], items: int) -> None:
    """What a model gave on validation data, each measure with its interval, on one line."""
    from triptych.api import Estimate

    figures = "  ".join(f"{name} {interval(Estimate.from_dict(value))}" for name, value in measures.items())
    say(f"validation {figures}  ({items} items)")


def shell_name(run: Run) -> str:
    """The run as commands are to be given it: its name where that finds it, otherwise its path."""
    from triptych.api import runs_folder

    return shlex.quote(run.name if run.path == runs_folder() / run.name else str(run.path))


def print_json(document: Mapping[str, Any]) -> None:
    """The one JSON object of `--json`. Infinity and nan become null."""
    print(json.dumps(_finite(document), ensure_ascii=False, indent=2, allow_nan=False, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """A table; numbers are aligned to the right. Wide where the terminal is, and whole in a pipe."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", show_header=any(columns))
    for position, column in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[position]) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(160, console.width))
    if title is not None:  # not the table's own title, which would fold at the table's width
        console.print(title, style="bold", markup=False)
    console.print(table)


def interval(estimate: Estimate) -> str:
    """`0.213 [0.198, 0.229]`."""
    return f"{estimate.value:.4f} [{estimate.interval.low:.4f}, {estimate.interval.high:.4f}]"


def cell(value: Any) -> str:
    """A value as a table shows it: four digits of a number, yes or no, a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{words(name)} {cell(inner)}" for name, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def words(name: str) -> str:
    """A key of a JSON object as a table shows it: `n_cues` as cues, `false_alarm_rate` with spaces."""
    return name.removeprefix("n_").replace("_", " ")


def _is_number(text: str) -> bool:
    try:
        float(text.split(" ")[0].rstrip("%s").replace(",", ""))
    except ValueError:
        return text in ("", "-")
    return True
