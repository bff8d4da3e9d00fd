"""From a run to a folder: complete or absent, never over something else, and what eight bits cost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.recipes import spell_recipe
from triptych import api, runtime
from triptych.config import SpellRecipe
from triptych.errors import DataError, MissingExtraError, RecipeError, RunError, TriptychError
from triptych.export import graph, spell
from triptych.export.run import WRITERS, writer_of
from triptych.runs.run import Run
from triptych.spell.corpus import load_corpus
from triptych.spell.metrics import score
from triptych.spell.panel import PANEL


@pytest.fixture
def first(workspace: Path) -> Run:
    return Run.open(workspace / "runs" / "first")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_folder_says_what_it_is(first: Run, workspace: Path) -> None:
    shipped = api.export(first, workspace / "deep" / "out")
    folder = workspace / "deep" / "out"
    assert names(folder) == {"README.md", "encoder.onnx", "export.json", "step.onnx"}
    assert names(folder.parent) == {"out"}
    document = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    assert (document["format"], document["panel"], document["name"]) == (1, "spell", "first")
    assert document["difference"] == shipped.difference <= 1e-5
    assert document["made_with"]["torch"] == torch.__version__
    assert shipped.bytes == sum((folder / name).stat().st_size for name in ("encoder.onnx", "step.onnx"))
    readme = (folder / "README.md").read_text(encoding="utf-8")
    assert "pip install numpy onnxruntime" in readme
    assert "runtime.load" in readme


def test_what_is_there_is_kept_unless_it_is_an_export_to_be_replaced(first: Run, workspace: Path) -> None:
    out = workspace / "out"
    out.mkdir()
    api.export(first, out)
    before = (out / "export.json").read_bytes()
    with pytest.raises(RunError, match=r"out: the folder exists\. Choose another with --out, or replace it"):
        api.export(first, out)
    assert (out / "export.json").read_bytes() == before
    (out / "step.onnx").write_bytes(b"old")
    api.export(first, out, force=True)
    assert runtime.load(out).predict("SH UW")[0].text
    with pytest.raises(RunError, match=r"first: this exists and is not an exported folder\."):
        api.export(first, first.path, force=True)
    assert names(workspace) == {"out", "runs"}


def test_a_failed_export_leaves_nothing_and_keeps_the_old_one(
    first: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = workspace / "out"
    api.export(first, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    monkeypatch.setattr(spell, "TOLERANCE", 1e-12)
    with pytest.raises(TriptychError, match=r"^the exported graphs differ from PyTorch by [0-9.e-]+; expected at most"):
        api.export(first, out, force=True)
    with pytest.raises(TriptychError, match=r"^the exported graphs differ"):
        api.export(first, workspace / "other")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert names(workspace) == {"out", "runs"}


def test_eight_bits_are_smaller_and_their_cost_is_measured(first: Run, workspace: Path) -> None:
    plain = api.export(first, workspace / "plain")
    shipped = api.export(first, workspace / "out", int8=True, split="test")
    cost = shipped.cost
    assert cost is not None
    assert (cost.split, cost.n_items, cost.bytes_before, cost.bytes_after) == ("test", 60, plain.bytes, shipped.bytes)
    assert shipped.bytes < 0.6 * plain.bytes
    evaluated = api.evaluate(first, split="test").scores
    assert cost.changes["CER"].before == evaluated.cer
    assert cost.changes["WER"].before == evaluated.wer
    recipe = first.recipe()
    assert isinstance(recipe, SpellRecipe)
    items = load_corpus(recipe.data, api.recorded_data(first)).items("test", references=recipe.data.references)
    after = score(spell.predicted(runtime.load(workspace / "out"), items))
    assert (cost.changes["CER"].after, cost.changes["WER"].after) == (after.cer, after.wer)
    assert cost.changes["WER"].difference.difference == pytest.approx(after.wer.value - evaluated.wer.value)
    document = json.loads((workspace / "out" / "export.json").read_text(encoding="utf-8"))
    assert document["quantization"] == "int8"
    assert document["cost"]["CER"]["after"]["value"] == after.cer.value
    source = "SH UW T AA"
    exact = runtime.load(workspace / "plain").predict(source)[0].log_probability
    rounded = runtime.load(workspace / "out").predict(source)[0].log_probability
    assert exact != rounded
    assert exact == pytest.approx(rounded, abs=0.5)
    assert names(workspace / "out") == {"README.md", "encoder.onnx", "export.json", "step.onnx"}


def test_a_cost_that_is_there_is_seen(first: Run, workspace: Path) -> None:
    """The exports of a good and of a poor run take the places of before and after."""
    api.export(first, workspace / "good")
    api.export(Run.open(workspace / "runs" / "second"), workspace / "poor")
    good, poor = (runtime.Exported.open(workspace / name) for name in ("good", "poor"))
    recipe = spell_recipe(first.path / "recipe.toml")
    cost = spell.cost(good, poor, recipe, PANEL.read(recipe, api.recorded_data(first)), split="valid")
    assert cost.changes["WER"].difference.difference > 0.2
    assert cost.changes["WER"].difference.interval.low > 0
    assert cost.changed >= 0.2 * cost.n_items


def test_splits_and_panels_that_are_not_known(first: Run, workspace: Path) -> None:
    with pytest.raises(RecipeError, match=r"^--split is 'train'; expected valid or test\."):
        api.export(first, workspace / "out", split="train")
    with pytest.raises(RunError, match=r"^panel is 'hear'; expected one that can be exported: "):
        writer_of("hear")
    with pytest.raises(DataError, match=r"nowhere"):
        api.export(first, workspace / "out", int8=True, data=workspace / "nowhere")
    assert names(workspace) == {"runs"}


def test_every_panel_that_is_written_can_be_read() -> None:
    assert set(WRITERS) <= set(runtime.READERS)
    assert all(writer_of(panel) for panel in WRITERS)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_extra_is_reported_with_its_command(
    package: str, first: Run, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = rf"^{package} is not installed\. Install it with: pip install 'triptych\[onnx\]'$"
    with pytest.raises(MissingExtraError, match=message):
        api.export(first, workspace / "out")
    assert names(workspace) == {"runs"}


def test_a_graph_that_is_wrong_is_not_saved_quietly(tmp_path: Path) -> None:
    import onnx

    wrong = graph.Graph("wrong")
    value = wrong.input("x", np.float32, "rows", 3)
    wrong.output("y", wrong.matmul(value, torch.ones(2, 4)), np.float32, "rows", 2)
    with pytest.raises(onnx.shape_inference.InferenceError, match="Incompatible dimensions"):
        wrong.save(tmp_path / "wrong.onnx")


def test_an_attribute_that_no_operator_has_is_refused(tmp_path: Path) -> None:
    import onnx

    wrong = graph.Graph("wrong")
    value = wrong.input("x", np.float32, "rows", 3)
    wrong.output("y", wrong.op("Softmax", value, axes=1), np.float32, "rows", 3)
    with pytest.raises(onnx.checker.ValidationError, match="Unrecognized attribute: axes"):
        wrong.save(tmp_path / "wrong.onnx")
