"""`triptych export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from triptych.cli.options import AsJson, OtherDataPath, located

if TYPE_CHECKING:
    from triptych.api import Cost


def export(
    run: Annotated[str, typer.Argument(metavar="RUN|STORE", help="Name or path of a run, or folder of a memory.")],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Folder to write.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Store weights in eight bits, and print the change of the metrics.")
    ] = False,
    split: Annotated[
        str, typer.Option(help="With --int8: split that the metrics are measured on, valid or test.")
    ] = "valid",
    data: OtherDataPath = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing exported folder.")] = False,
    json: AsJson = False,
) -> None:
    """Export a run's model, or a memory, as a folder that needs only NumPy and ONNX Runtime, not PyTorch.

    Outputs are compared with PyTorch's before the folder is written.

    Examples:

        triptych export first --out exported

        triptych export first --out exported-int8 --int8 --split test

        triptych export store/ --out exported-memory
    """
    from triptych import api
    from triptych.cli.output import print_json, print_table, say

    if api.is_memory(Path(run)):
        for option, value in (("--int8", int8), ("--data", data)):
            if value:
                shown = "given" if value is True else value
                raise api.RecipeError(f"{option} is {shown} and has no effect on a memory.", hint="Remove it.")
        size = api.export_store(Path(run), out, force=force)
        if json:
            print_json({"path": str(out), "bytes": size})
        else:
            print(f"exported    {out}, {size / 1e6:.2f} MB")
        return
    shipped = api.export(api.Run.open(run), out, int8=int8, split=split, data=located(data), force=force)
    if json:
        cost = None if shipped.cost is None else shipped.cost.to_dict()
        found = {"bytes": shipped.bytes, "difference": shipped.difference, "cost": cost}
        print_json({"path": str(shipped.path), **found})
        return
    print(f"exported    {shipped.path}, {shipped.bytes / 1e6:.2f} MB")
    print(f"difference  {shipped.difference:.1e} from PyTorch at most")
    if shipped.cost is not None:
        title = (
            f"int8 on {shipped.cost.split}: {shipped.cost.n_items} items, {shipped.cost.changed} predicted differently"
        )
        print_table(["measure", "before", "int8", "difference [95 % interval]"], _rows(shipped.cost), title=title)
        if shipped.cost.is_slower:
            say("int8 is smaller and slower on this machine; export without --int8 where speed matters.")


def _rows(cost: Cost) -> list[list[str]]:
    rows = [["size, MB", f"{cost.bytes_before / 1e6:.2f}", f"{cost.bytes_after / 1e6:.2f}", "-"]]
    if cost.items_per_second_before:
        before, after = cost.items_per_second_before, cost.items_per_second_after
        rows.append(["items per second here", f"{before:.0f}", f"{after:.0f}", f"{after / before:.2f} times"])
    for name, change in cost.changes.items():
        found = change.difference
        difference = f"{found.difference:+.4f} [{found.interval.low:+.4f}, {found.interval.high:+.4f}]"
        rows.append([name, f"{change.before.value:.4f}", f"{change.after.value:.4f}", difference])
    return rows
