"""`triptych count`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli.options import AsJson, DataPath, Settings, located

if TYPE_CHECKING:
    from triptych.api import Counted, LayerCount, Location, NetworkCount


def count(
    name: Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="Shipped recipe, .toml file, or run.")],
    data: DataPath = None,
    classes: Annotated[
        int | None, typer.Option(help="Number of classes of images, for a recipe without --data.")
    ] = None,
    settings: Settings = None,
    json: AsJson = False,
) -> None:
    """Count a network's parameters, multiply-accumulates and receptive fields, layer by layer.

    For images also those of the fully connected network that would replace the convolutions.

    Examples:

        triptych count kmnist-cnn

        triptych count scenes-cnn --classes 6

        triptych count my-run --json
    """
    from triptych.cli.output import print_json

    counted = _counted(name, located(data), classes, settings)
    if json:
        print_json(_document(name, counted))
    elif counted.network is None:
        _print_modules(name, counted)
    else:
        _print_layers(name, counted, counted.network)


def _counted(name: str, data: Location | None, classes: int | None, settings: list[str] | None) -> Counted:
    from triptych import api

    if api.names_recipe(name):
        return api.count_recipe(api.load_recipe(name, settings or ()), data=data, classes=classes)
    try:
        run = api.Run.open(name)
    except api.RunError as error:
        known = [*api.shipped_recipes(), *(run.name for run in api.list_runs())]
        if Path(name).exists():
            raise
        hint = api.did_you_mean(name, known)
        raise api.RecipeError(f"{name!r} is neither a recipe nor a run.", hint=hint) from error
    place = data and api.describe_location(data)
    for option, value in (("--data", place), ("--classes", classes), ("--set", settings)):
        if value:
            shown = " ".join(value) if isinstance(value, list) else value
            raise api.RecipeError(f"{option} is {shown}, but a run's network is fixed.", hint=f"Remove {option}.")
    return api.count_run(run)


def _print_layers(name: str, counted: Counted, network: NetworkCount) -> None:
    from triptych.cli.output import print_table

    rows = [
        [
            layer.name,
            layer.kind,
            " x ".join(map(str, layer.output_shape)),
            f"{layer.parameters:,}",
            "-" if layer.multiply_accumulates is None else f"{layer.multiply_accumulates:,}",
            _field(layer),
            f"{layer.dense_parameters:,}",
        ]
        for layer in network.layers
    ]
    if network.outside_layers:
        rows.append(["outside layers", "", "", f"{network.outside_layers:,}", "-", "-", f"{network.outside_layers:,}"])
    totals = (network.parameters, network.multiply_accumulates)
    rows.append(["total", "", "", f"{totals[0]:,}", f"{totals[1]:,}", "", f"{network.dense_parameters:,}"])
    assert counted.input_shape is not None
    print_table(
        ["layer", "kind", "output", "parameters", "multiply-accumulates", "receptive field", "fully connected"],
        rows,
        title=f"{name}: images of {' x '.join(map(str, counted.input_shape))}",
    )
    factor = network.dense_parameters / network.parameters
    print(f"{network.trainable:,} of {network.parameters:,} parameters are trained.")
    print(
        f"With a fully connected layer in place of every convolution there would be {network.dense_parameters:,}, "
        f"{factor:,.1f} times as many."
    )


def _print_modules(name: str, counted: Counted) -> None:
    from triptych.cli.output import print_table, say

    rows = [[module.name or "network", module.kind, f"{module.parameters:,}"] for module in counted.modules]
    print_table(["part", "kind", "parameters"], [*rows, ["total", "", f"{counted.parameters:,}"]], title=name)
    print(f"{counted.trainable:,} of {counted.parameters:,} parameters are trained.")
    say("Output shapes and multiply-accumulates depend on the lengths of the sequences, and are not listed.")


def _field(layer: LayerCount) -> str:
    """`5 x 5`; `-` where the field is the whole image or does not follow from the layers."""
    return "-" if layer.receptive_field is None else " x ".join(str(axis.size) for axis in layer.receptive_field)


def _document(name: str, counted: Counted) -> dict[str, Any]:
    from dataclasses import asdict

    document: dict[str, Any] = {
        "name": name,
        "panel": counted.panel,
        "parameters": counted.parameters,
        "trainable": counted.trainable,
    }
    network = counted.network
    if network is None:
        return {**document, "modules": [asdict(module) for module in counted.modules]}
    return {
        **document,
        "input_shape": counted.input_shape,
        "multiply_accumulates": network.multiply_accumulates,
        "fully_connected_parameters": network.dense_parameters,
        "layers": [asdict(layer) for layer in network.layers],
    }
