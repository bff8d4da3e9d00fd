"""Exported folders that are absent, foreign, damaged or of another time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.export.models import network, ship, speller
from triptych import runtime
from triptych.errors import RunError
from triptych.runtime.folder import Exported


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ship(speller(network()), tmp_path / "out")
    return tmp_path / "out"


def change(folder: Path, alter: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / "export.json").read_text(encoding="utf-8"))
    alter(document)
    (folder / "export.json").write_text(json.dumps(document), encoding="utf-8")


def told(folder: Path) -> str:
    with pytest.raises(RunError) as error:
        runtime.load(folder)
    return str(error.value)


def test_a_whole_folder_loads(folder: Path) -> None:
    exported = Exported.open(folder)
    assert (exported.panel, exported.name) == ("spell", "random")
    assert runtime.load(str(folder)).predict("abc")[0].source == ("a", "b", "c")


def test_what_is_no_exported_folder(tmp_path: Path) -> None:
    assert told(tmp_path / "none") == (
        f"{tmp_path / 'none'} is no folder; expected what `triptych export` wrote. Make it with: triptych export RUN"
    )
    assert f"{tmp_path} is a folder without export.json; expected what" in told(tmp_path)
    (tmp_path / "recipe.toml").write_text("", encoding="utf-8")
    assert told(tmp_path).endswith("Export the run with: triptych export")
    assert f"{tmp_path} is a run without export.json" in told(tmp_path)


def test_a_manifest_that_is_not_whole(folder: Path) -> None:
    manifest = folder / "export.json"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text[:100], encoding="utf-8")
    assert told(folder).startswith(f"{manifest} is damaged (")
    manifest.write_text("[1]", encoding="utf-8")
    assert f"{manifest} is damaged (it holds a list); expected what `triptych export` wrote." in told(folder)
    for entry in ("files", "model", "panel", "name"):
        manifest.write_text(text, encoding="utf-8")
        change(folder, lambda document, entry=entry: document.pop(entry))  # type: ignore[misc]
        assert f"{entry}" in told(folder)
        assert "is missing" in told(folder)


def test_another_format_and_another_panel(folder: Path) -> None:
    change(folder, lambda document: document.update(format=2))
    assert told(folder) == (
        f"{folder / 'export.json'}: format is 2; expected 1. Update Triptych with: pip install --upgrade triptych"
    )
    change(folder, lambda document: document.update(format=1, panel="spel"))
    assert "panel is 'spel'; expected one of " in told(folder)
    assert told(folder).endswith("Did you mean 'spell'?")


def test_graphs_that_are_missing_cut_or_changed(folder: Path) -> None:
    path = folder / "step.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    assert told(folder).startswith(f"{path}: SHA-256 is ")
    path.write_bytes(bytes([*content[:500], content[500] ^ 1, *content[501:]]))
    assert told(folder).startswith(f"{path}: SHA-256 is ")
    path.unlink()
    assert told(folder) == f"{path} does not exist; expected a complete folder. Export the run again."


def test_a_file_outside_the_folder_is_never_opened(folder: Path) -> None:
    (folder.parent / "secret.onnx").write_bytes(b"x")
    change(folder, lambda document: document["files"].update({"../secret.onnx": "0"}))
    assert "file '../secret.onnx' is not in the folder" in told(folder)


def test_a_graph_that_onnx_runtime_cannot_read(folder: Path) -> None:
    from triptych.runtime.folder import digest_of

    (folder / "step.onnx").write_bytes(b"no graph")
    change(folder, lambda document: document["files"].update({"step.onnx": digest_of(folder / "step.onnx")}))
    assert f"{folder / 'step.onnx'} cannot be read by ONNX Runtime" in told(folder)
    assert "Update ONNX Runtime, or export the run again." in told(folder)


def test_threads_are_checked(folder: Path) -> None:
    with pytest.raises(RunError, match=r"^threads is -1; expected an integer >= 0"):
        runtime.load(folder, threads=-1)
    assert runtime.load(folder, threads=2).predict("abc")[0].text == runtime.load(folder).predict("abc")[0].text
