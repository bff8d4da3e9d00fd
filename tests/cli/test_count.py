"""`triptych count`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Triptych, one_error
from triptych.see.named_sets import classes_of, resolve


@pytest.mark.parametrize(
    ("arguments", "total"),
    [
        (["scenes-cnn", "--classes", "6"], 5_340_742),
        (["scenes-cnn-norm", "--classes", "6"], 756_742),
        (["scenes-cnn-norm", "--classes", "6", "--set", "model.last_hidden_norm=false"], 755_718),
        (["kmnist-cnn"], 420_906),
    ],
)
def test_totals_of_the_protocols(triptych: Triptych, arguments: list[str], total: int) -> None:
    result = triptych("count", *arguments, "--json")
    assert result.status == 0, result.err
    document = json.loads(result.out)
    assert document["parameters"] == document["trainable"] == total
    assert sum(layer["parameters"] for layer in document["layers"]) == total


def test_table_of_layers(triptych: Triptych) -> None:
    result = triptych("count", "kmnist-cnn")
    lines = {line.split()[0]: line for line in result.out.splitlines() if line.strip()}
    assert "8 x 28 x 28" in lines["blocks.0.convolution"]
    assert f"{28 * 28 * 8 * 25:,}" in lines["blocks.0.convolution"]
    assert "5 x 5" in lines["blocks.0.convolution"]
    assert f"{28 * 28 * (28 * 28 * 8 + 8):,}" in lines["blocks.0.convolution"]
    assert "10 x 10" in lines["blocks.1.convolution"]
    assert "420,906" in lines["total"]
    assert "420,906 of 420,906 parameters are trained." in result.out
    assert "fully connected layer" in result.out
    assert result.err == ""


def test_classes_decide_the_last_layer(triptych: Triptych) -> None:
    documents = [json.loads(triptych("count", "kmnist-cnn", "--classes", k, "--json").out) for k in ("10", "49")]
    assert documents[1]["parameters"] - documents[0]["parameters"] == 39 * 121


def test_classes_of_named_sets_are_theirs() -> None:
    assert len(resolve("digits").load().classes) == classes_of("digits")


def test_a_run_of_spell_is_counted_part_by_part(triptych: Triptych, workspace: Path) -> None:
    recorded = json.loads((workspace / "runs" / "first" / "run.json").read_text())["parameters"]
    document = json.loads(triptych("count", "first", "--json").out)
    assert document["panel"] == "spell"
    assert document["parameters"] == sum(part["parameters"] for part in document["modules"]) == recorded
    result = triptych("count", "first")
    assert f"{recorded:,} of {recorded:,} parameters are trained." in result.out
    assert "depend on the lengths" in result.err


def test_an_ensemble_counts_its_members(triptych: Triptych, workspace: Path) -> None:
    single = json.loads(triptych("count", "first", "--json").out)["parameters"]
    assert triptych("ensemble", "first", "second", "--name", "both").status == 0
    assert json.loads(triptych("count", "both", "--json").out)["parameters"] == 2 * single


def test_a_recipe_of_spell_needs_its_data(triptych: Triptych, workspace: Path, toy_runs: object) -> None:
    data = json.loads((workspace / "runs" / "first" / "run.json").read_text())["data_location"]
    document = json.loads(triptych("count", "p2g-additive-tiny", "--data", data, "--json").out)
    assert document["parameters"] > 0
    assert "--classes is 3 and has no effect on a recipe of spell" in one_error(
        triptych("count", "p2g-additive-tiny", "--classes", "3")
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["scenes-cnn"], "number of classes is unknown"),
        (["kmnist-cn"], "'kmnist-cn' is neither a recipe nor a run; expected one. Did you mean 'kmnist-cnn'?"),
        (["kmnist-cnn", "--classes", "1"], "--classes is 1; expected an integer >= 2"),
        (["first", "--classes", "3"], "--classes is 3 with a run"),
        (["kmnist-cnn", "--set", "data.height=5"], "images are 5 x 28 pixels; expected at least 8 x 8"),
    ],
)
@pytest.mark.usefixtures("workspace")
def test_mistakes(triptych: Triptych, arguments: list[str], message: str) -> None:
    assert message in one_error(triptych("count", *arguments))
