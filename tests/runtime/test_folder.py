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


def message_of(folder: Path) -> str:
    with pytest.raises(RunError) as error:
        runtime.load(folder)
    return str(error.value)


def test_a_whole_folder_loads(folder: Path) -> None:
    exported = Exported.open(folder)
    assert (exported.panel, exported.name) == ("spell", "random")
    assert runtime.load(str(folder)).predict("abc")[0].source == ("a", "b", "c")


def test_a_path_that_is_not_an_exported_folder(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert message_of(missing) == f"{missing}: this is not a folder. Make one with: triptych export RUN"
    assert message_of(tmp_path) == f"{tmp_path}: this is a folder without export.json. Check the path."
    (tmp_path / "recipe.toml").write_text("", encoding="utf-8")
    assert message_of(tmp_path).endswith("Export the run with: triptych export")
    assert f"{tmp_path}: this is a run without export.json" in message_of(tmp_path)


def test_a_manifest_that_is_not_whole(folder: Path) -> None:
    manifest = folder / "export.json"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(text[:100], encoding="utf-8")
    assert message_of(folder).startswith(f"{manifest}: the file is damaged (")
    manifest.write_text("[1]", encoding="utf-8")
    assert f"{manifest}: the file is damaged (it holds a list)." in message_of(folder)
    for entry in ("files", "model", "panel", "name"):
        manifest.write_text(text, encoding="utf-8")
        change(folder, lambda document, entry=entry: document.pop(entry))  # type: ignore[misc]
        assert f"{entry}" in message_of(folder)
        assert "is missing" in message_of(folder)


def test_another_format_and_another_panel(folder: Path) -> None:
    change(folder, lambda document: document.update(format=2))
    assert message_of(folder) == (
        f"{folder / 'export.json'}: format is 2; expected 1. Update Triptych with: pip install --upgrade triptych"
    )
    change(folder, lambda document: document.update(format=1, panel="spel"))
    assert "panel is 'spel'; expected one of " in message_of(folder)
    assert message_of(folder).endswith("Did you mean 'spell'?")


def test_graphs_that_are_missing_cut_or_changed(folder: Path) -> None:
    path = folder / "step.onnx"
    content = path.read_bytes()
    path.write_bytes(content[:-10])
    assert message_of(folder).startswith(f"{path}: SHA-256 is ")
    path.write_bytes(bytes([*content[:500], content[500] ^ 1, *content[501:]]))
    assert message_of(folder).startswith(f"{path}: SHA-256 is ")
    path.unlink()
    assert message_of(folder) == f"{path}: the file is missing. Export the run again."


def test_a_file_outside_the_folder_is_never_opened(folder: Path) -> None:
    (folder.parent / "secret.onnx").write_bytes(b"x")
    change(folder, lambda document: document["files"].update({"../secret.onnx": "0"}))
    assert "file '../secret.onnx' is not in the folder" in message_of(folder)


def test_a_graph_that_onnx_runtime_cannot_read(folder: Path) -> None:
    from triptych.runtime.folder import digest_of

    (folder / "step.onnx").write_bytes(b"no graph")
    change(folder, lambda document: document["files"].update({"step.onnx": digest_of(folder / "step.onnx")}))
    assert message_of(folder).startswith(f"{folder / 'step.onnx'}: ONNX Runtime ")
    assert "Update ONNX Runtime, or export the run again." in message_of(folder)


def test_threads_are_checked(folder: Path) -> None:
    with pytest.raises(RunError, match=r"^threads is -1; expected an integer >= 0"):
        runtime.load(folder, threads=-1)
    assert runtime.load(folder, threads=2).predict("abc")[0].text == runtime.load(folder).predict("abc")[0].text
