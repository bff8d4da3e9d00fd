"""`triptych train --start-from RUN`: what is copied, what is reported, what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import Triptych, one_error
from triptych.runs.run import Run
from triptych.spell.panel import PANEL
from triptych.text.symbols import Vocabularies

NEVER = ("--set", "optimizer.learning_rate=1e-30", "--set", "training.epochs=1")  # so that what was copied can be seen


@pytest.fixture
def other(workspace: Path) -> Path:
    """Data of the toy language with one sound and one letter more, and without some."""
    rows = [f"B IY {sound}\tbee{letter}\n" for sound, letter in (("T", "t"), ("S", "s"), ("ZH", "ž"), ("K", "c"))]
    rows += [f"{sound} AA\t{letter}a\n" for sound, letter in (("M", "m"), ("F", "ph"), ("SH", "sh"), ("ZH", "ž"))]
    for split in ("train", "valid"):
        (workspace / "other").mkdir(exist_ok=True)
        (workspace / "other" / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
    return workspace / "other"


def rows_of(run: Run, name: str) -> dict[str, torch.Tensor]:
    """Rows of a tensor by symbol."""
    vocabularies = Vocabularies.from_dict(run.model(), run.path)
    symbols = (vocabularies.sources if name.startswith("encoder") else vocabularies.targets).symbols
    return dict(zip(symbols, run.tensors()[name][4:], strict=True))


def test_weights_are_copied_by_symbol_and_both_are_reported(triptych: Triptych, other: Path) -> None:
    result = triptych("train", "--start-from", "first", "--data", "other", "--name", "tuned", *NEVER)
    assert result.status == 0, result.err
    assert "source symbols are new to first ('ZH')." in result.err
    assert "target symbols are new to first ('ž')." in result.err
    first, tuned = Run.open("first"), Run.open("tuned")
    for name in ("encoder.embedding.weight", "decoder.embedding.weight", "decoder.output_bias"):
        before, after = rows_of(first, name), rows_of(tuned, name)
        assert len(before.keys() & after.keys()) >= 8
        for symbol in before.keys() & after.keys():
            torch.testing.assert_close(after[symbol], before[symbol])
    same = [name for name in first.tensors() if "embedding" not in name and "output" not in name]
    for name in same:
        torch.testing.assert_close(tuned.tensors()[name], first.tensors()[name])
    facts = tuned.facts()["started_from"]
    assert facts["run"] == str(first.path.absolute())
    assert facts["sha256"] == first.weights_digest()
    size = len(tuned.tensors()["encoder.embedding.weight"])
    assert facts["rows"]["encoder.embedding.weight"] == {"copied": size - 1, "of": size}
    assert facts["initialised"] == []
    line = next(line for line in result.err.splitlines() if "started from first" in line)
    assert f"{size - 1} of {size} rows of encoder.embedding.weight" in line
    assert tuned.recipe().model == first.recipe().model


def test_a_recipe_with_sizes_left_to_the_data_takes_the_start_runs(triptych: Triptych, other: Path) -> None:
    arguments = ("--data", "other", "--set", "model.attention=additive", *NEVER, "--set", "model.tie_output=true")
    recipe = other.parent / "mine.toml"
    recipe.write_text(
        'extends = "p2g-plain"\n[model]\nattention = "additive"\nhidden = "auto"\nembedding = "auto"\n',
        encoding="utf-8",
    )
    result = triptych("train", "mine.toml", "--start-from", "first", "--name", "tuned", *arguments)
    assert result.status == 0, result.err
    assert Run.open("tuned").recipe().model.hidden == 32
    assert Run.open("tuned").facts()["started_from"]["initialised"] == []


def test_a_training_that_starts_from_a_run_learns_from_there(triptych: Triptych, workspace: Path) -> None:
    shutil.copytree(Path(json.loads((workspace / "runs/first/run.json").read_text())["data_location"]), "toy")
    few = ("--set", "training.epochs=1", "--data", "toy", "--json", "--set", "optimizer.learning_rate=1e-4")
    tuned = json.loads(triptych("train", "--start-from", "first", "--name", "tuned", *few).out)
    fresh = json.loads(triptych("train", "p2g-additive-tiny", "--name", "fresh", *few).out)
    assert tuned["valid"]["cer"]["value"] < 0.5 * fresh["valid"]["cer"]["value"]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (
            ("--set", "data.source_unit=characters"),
            "first was trained with source unit 'symbols', and this data is read",
        ),
        (("--set", "data.normal_form=NFD"), "first was trained with source normal form 'NFC'"),
        (("--set", "data.reverse=true"), "first was trained with source unit 'symbols'"),
        (("--set", "model.hidden=16", "--set", "model.embedding=16"), "no weights of first fit this recipe"),
        (("--name", "first", "--force"), "a training cannot start from the run that it replaces."),
    ],
)
def test_what_does_not_fit_is_one_line_and_leaves_nothing(
    triptych: Triptych, other: Path, options: tuple[str, ...], part: str
) -> None:
    before = sorted(path.name for path in (other.parent / "runs").iterdir())
    name = () if "--name" in options else ("--name", "tuned")
    message = one_error(triptych("train", "--start-from", "first", "--data", "other", *name, *options))
    assert part in message
    assert sorted(path.name for path in (other.parent / "runs").iterdir()) == before


def test_another_script_is_refused(triptych: Triptych, workspace: Path) -> None:
    rows = [f"B IY {sound}\tби{letter}\n" for sound, letter in (("T", "т"), ("S", "с"), ("M", "м"), ("K", "к"))]
    (workspace / "cyrillic.tsv").write_text("".join(3 * rows), encoding="utf-8")
    arguments = ("--data", "cyrillic.tsv", "--name", "tuned", "--set", "data.fractions={train=0.5,valid=0.5}")
    message = one_error(triptych("train", "--start-from", "first", *arguments))
    assert "first knows none of the" in message
    assert "target letters of this data" in message
    assert "another script or notation" in message


def test_another_panel_an_ensemble_and_resuming_are_refused(triptych: Triptych, other: Path) -> None:
    message = one_error(triptych("train", "demo-see", "--start-from", "first", "--name", "tuned"))
    assert "panel is 'spell'; expected 'see'" in message
    made = PANEL.join([Run.open("first"), Run.open("second")])
    run = Run.create("both")
    run.write_recipe(Run.open("first").recipe())
    run.write_model("spell", made[0])
    run.write_tensors(made[1])
    assert "is an ensemble" in one_error(triptych("train", "--start-from", "both", "--data", "other"))
    resumed = one_error(triptych("train", "--resume", "--name", "first", "--start-from", "second"))
    assert resumed.startswith("--start-from has no effect with --resume")


def test_a_start_run_that_has_changed_is_noticed_on_resume(triptych: Triptych, other: Path) -> None:
    assert triptych("train", "--start-from", "first", "--data", "other", "--name", "tuned", *NEVER).status == 0
    run = Run.open("tuned")
    shutil.rmtree(run.path / "checkpoints")
    (run.path / "metrics.csv").unlink()
    run.update_facts(status="interrupted")
    first = Run.open("first")
    first.write_tensors({name: tensor + 1 for name, tensor in first.tensors().items()})
    message = one_error(triptych("train", "--resume", "--name", "tuned"))
    assert "this run has other weights than when the training that starts from it was begun." in message
