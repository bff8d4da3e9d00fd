"""The exported update against `triptych.recall`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from triptych import runtime
from triptych.cli.main import main
from triptych.errors import DataError, RunError, ShapeError, TriptychError
from triptych.export import memory as export_memory_module
from triptych.export.graph import INLINE_LIMIT
from triptych.export.memory import export_memory, export_store
from triptych.memory.memory import Memory as Stored
from triptych.memory.normalisation import Normalisation, Scaling
from triptych.memory.shards import Precision
from triptych.recall.retrieval import retrieve
from triptych.recall.update import update
from triptych.runtime import memory as runtime_memory
from triptych.runtime.memory import Memory


def patterns(count: int = 40, width: int = 16) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(0))


def cues(count: int, width: int = 16) -> torch.Tensor:
    return patterns(count, width) + 0.3 * torch.randn(count, width, generator=torch.Generator().manual_seed(1))


def loaded(folder: Path, beta: float = 0.5, inline_limit: int = INLINE_LIMIT) -> Memory:
    export_memory(patterns(), folder, beta=beta, inline_limit=inline_limit)
    memory = runtime.load(folder)
    assert isinstance(memory, Memory)
    return memory


@pytest.mark.parametrize("beta", [0.05, 0.5, 4.0])
@pytest.mark.parametrize("rows", [1, 7, 40])
def test_one_update_and_several_equal_pytorch(tmp_path: Path, beta: float, rows: int) -> None:
    memory = loaded(tmp_path / "memory", beta)
    state = cues(rows)
    wanted = state
    for steps in range(1, 5):
        wanted = update(patterns(), wanted, beta=beta)
        assert np.abs(memory.update(state.numpy(), steps=steps) - wanted.numpy()).max() <= 1e-5
    assert (memory.count, memory.width, memory.beta) == (40, 16, beta)


def test_retrieval_is_the_library_s(tmp_path: Path) -> None:
    memory = loaded(tmp_path / "memory", 0.25)
    found = memory.retrieve(cues(30).numpy(), max_steps=9)
    wanted = retrieve(patterns(), cues(30), beta=0.25, max_steps=9)
    assert np.abs(found.state - wanted.state.numpy()).max() <= 1e-5
    assert found.steps.tolist() == wanted.steps.tolist()
    assert found.converged.tolist() == wanted.converged.tolist()
    assert len(set(found.steps.tolist())) > 1
    assert 0 < found.converged.sum() < 30


def test_batches_are_cut_so_that_scores_stay_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = loaded(tmp_path / "memory")
    whole = memory.update(cues(30).numpy())
    seen: list[int] = []
    run = memory.session.run

    class Counting:
        def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            seen.append(len(inputs["state"]))
            outputs: list[np.ndarray] = run(names, inputs)
            return outputs

    monkeypatch.setattr(runtime_memory, "SCORES_AT_ONCE", 40 * 8)
    memory = replace(memory, session=Counting())
    np.testing.assert_allclose(memory.update(cues(30).numpy()), whole, atol=1e-6)
    assert seen == [8, 8, 8, 6]


def test_many_patterns_go_into_a_file_of_their_own(tmp_path: Path) -> None:
    memory = loaded(tmp_path / "memory", inline_limit=1000)
    assert {path.name for path in (tmp_path / "memory").iterdir()} == {
        "README.md",
        "export.json",
        "update.onnx",
        "update.onnx.data",
    }
    wanted = update(patterns(), cues(5), beta=0.5)
    assert np.abs(memory.update(cues(5).numpy()) - wanted.numpy()).max() <= 1e-5
    data = tmp_path / "memory" / "update.onnx.data"
    content = bytearray(data.read_bytes())
    content[100] ^= 1
    data.write_bytes(bytes(content))
    with pytest.raises(RunError, match=r"update\.onnx\.data: SHA-256 is"):
        runtime.load(tmp_path / "memory")


def test_an_empty_batch_stays_empty(tmp_path: Path) -> None:
    memory = loaded(tmp_path / "memory")
    assert memory.update(np.zeros((0, 16))).shape == (0, 16)
    assert memory.retrieve(np.zeros((0, 16))).state.shape == (0, 16)


def test_arguments_are_checked(tmp_path: Path) -> None:
    memory = loaded(tmp_path / "memory")
    good = np.zeros((2, 16))
    with pytest.raises(ShapeError, match=r"^state has shape \(16,\); expected \(B, 16\)"):
        memory.update(np.zeros(16))
    with pytest.raises(ShapeError, match=r"^state has shape \(2, 15\)"):
        memory.retrieve(np.zeros((2, 15)))
    bad = good.copy()
    bad[1, 3] = np.nan
    with pytest.raises(DataError, match=r"^state is nan in row 1, column 3"):
        memory.update(bad)
    with pytest.raises(TriptychError, match=r"^steps is 0; expected an integer >= 1"):
        memory.update(good, steps=0)
    with pytest.raises(TriptychError, match=r"^max_steps is -1; expected an integer >= 1"):
        memory.retrieve(good, max_steps=-1)
    with pytest.raises(TriptychError, match=r"^tolerance is -1; expected a number >= 0"):
        memory.retrieve(good, tolerance=-1)


def test_what_cannot_be_stored_is_refused_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TriptychError, match=r"^beta is 0; expected a finite number > 0"):
        export_memory(patterns(), tmp_path / "memory", beta=0)
    bad = patterns()
    bad[2, 1] = float("inf")
    with pytest.raises(DataError, match=r"^patterns is inf in row 2, column 1"):
        export_memory(bad, tmp_path / "memory", beta=1)
    with monkeypatch.context() as patched:
        patched.setattr(export_memory_module, "TOLERANCE", 1e-9)
        with pytest.raises(TriptychError, match=r"^the exported update differs from PyTorch by [0-9.e-]+; expected at"):
            export_memory(patterns(), tmp_path / "memory", beta=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("normalisation", ["none", "unit", "centred-unit"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_stored_memory_recalls_as_it_did(tmp_path: Path, normalisation: Normalisation, precision: Precision) -> None:
    stored = Stored(3 * patterns() + 1, beta=6.0, normalisation=normalisation, precision=precision)
    stored.remove([3, 4])
    stored.save(tmp_path / "store")
    export_store(tmp_path / "store", tmp_path / "exported")
    memory = runtime.load(tmp_path / "exported")
    assert isinstance(memory, Memory)
    cue = 3 * cues(30) + 1
    wanted = stored.retrieve(cue, max_steps=3, tolerance=0.0)
    found = memory.retrieve(cue.numpy(), max_steps=3, tolerance=0.0)
    np.testing.assert_allclose(found.state, wanted.state.numpy(), atol=1e-4)
    np.testing.assert_allclose(memory.scaled(cue.numpy()), stored.scaled(cue).numpy(), atol=1e-6)
    assert (memory.count, memory.normalisation) == (38, normalisation)
    if normalisation == "unit":
        with pytest.raises(DataError) as caught:
            memory.retrieve(np.eye(2, 16, dtype=np.float32) * [[1], [0]])
        assert (caught.value.field, caught.value.value) == ("cue", 1)


@pytest.mark.parametrize("scale", [1e-30, 1e25])
def test_cues_of_any_size_are_scaled_right(tmp_path: Path, scale: float) -> None:
    exported = export_memory(patterns(), tmp_path / "memory", beta=2, scaling=Scaling("unit"))
    memory = runtime.load(exported.path)
    assert isinstance(memory, Memory)
    cue = np.random.default_rng(0).normal(size=(3, 16))
    found = memory.scaled(scale * cue)
    np.testing.assert_allclose(found, cue / np.linalg.norm(cue, axis=1, keepdims=True), rtol=1e-5, atol=1e-7)


def test_a_store_is_exported_by_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Stored(patterns(), beta=1.0).save(tmp_path / "store")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["triptych", "export", *arguments])
        with pytest.raises(SystemExit) as stop:
            main()
        printed = capsys.readouterr()
        return int(str(stop.value.code)), printed.out, printed.err

    status, out, err = run("store", "--out", "exported", "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {"path": "exported", "bytes": Path("exported/update.onnx").stat().st_size}
    assert run("store", "--out", "exported")[0] == 2
    assert run("store", "--out", "exported", "--force")[1].startswith("exported    exported, ")
    assert "--int8 is given and has no effect on a memory" in run("store", "--out", "x", "--int8")[2]
