"""`triptych test`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli.options import AsJson, Device, OtherDataPath, RunName, SkipBad, located, with_run_options

if TYPE_CHECKING:
    from triptych.api import Tested


@with_run_options("test")
def test(
    run: RunName,
    data: OtherDataPath = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    skip_bad: SkipBad = False,
    device: Device = "cpu",
    json: AsJson = False,
    *,
    given: Mapping[str, Any],
) -> None:
    """Evaluate a run on its test split, under any decoding.

    Examples:

        triptych test first

        triptych test first --decode beam --beam-size 5 --n-best 3

        triptych test first --decode sample --samples 3 --top-p 0.8

        triptych test pictures --views flips

        triptych test pictures --data holiday --skip-bad
    """
    from triptych import api
    from triptych.api import Run
    from triptych.cli.output import warn

    opened = Run.open(run)
    tested = api.run_test(opened, given, split=split, data=located(data), skip_bad=skip_bad, device=device, warn=warn)
    show(tested, opened.name, as_json=json)


def show(tested: Tested, name: str, *, as_json: bool) -> None:
    """Print an evaluation as a table or as JSON."""
    from triptych.cli.output import interval, print_json, print_table

    scores = tested.evaluation.scores
    if as_json:
        print_json({"run": name, "split": tested.evaluation.split, "decoding": tested.label, **scores.to_dict()})
        return
    rows = [[measure, interval(estimate)] for measure, estimate in tested.measures.items()]
    title = f"{name}, {tested.evaluation.split}, {tested.how}: {scores.n_items} items"
    print_table(["measure", "value [95 % interval]"], rows, title=title)
