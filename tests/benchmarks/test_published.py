"""The script for published benchmarks: its tables against figures worked out by hand, and the page it writes."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module, with results and page in a folder of their own."""
    path = ROOT / "benchmarks" / "published" / "measure.py"
    spec = importlib.util.spec_from_file_location("published_measure", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec.loader.exec_module(module)
    return module


def result(part: str, seed: int, wer: float, half: float) -> dict[str, Any]:
    interval = {"value": wer, "low": wer - half, "high": wer + half}
    return {"part": part, "seed": seed, "scores": {"wer": interval, "cer": interval}}


def test_the_mean_is_over_parts_and_its_error_from_their_intervals(measure: Any) -> None:
    results = [result("a", 1, 0.1, 0.0196), result("b", 1, 0.3, 0.0392)]
    mean, error = measure.mean_over_parts(results, "wer")
    assert mean == pytest.approx(20)
    assert error == pytest.approx(100 * (0.01**2 + 0.02**2) ** 0.5 / 2)


def test_a_table_says_which_parts_are_missing(measure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "_results_file", lambda name: tmp_path / f"{name}.json")
    (tmp_path / "g2p-2020.json").write_text(json.dumps([result("ady", 1, 0.25, 0.04)]), encoding="utf-8")
    lines = measure.table("g2p-2020").splitlines()
    assert lines[0] == "|  | WER | PER |"
    assert "| up to 20 members of four kinds (IMS) | 13.81 | 2.76 |" in lines
    assert lines[-1] == "| Triptych, one model, seed 1, 1 of 15 parts | **25.00** ± 4.00 | **25.00** ± 4.00 |"


def test_data_is_cut_to_its_first_rows_or_to_drawn_ones(measure: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    rows = [f"w{number}\tp {number}\n" for number in range(50)]
    for split in ("train", "valid", "test"):
        (data / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
    first = measure._cut(data, 5, tmp_path / "first", drawn=False)
    assert (first / "train.tsv").read_text(encoding="utf-8") == "".join(rows[:5])
    assert (first / "test.tsv").read_text(encoding="utf-8") == "".join(rows)
    drawn = (measure._cut(data, 5, tmp_path / "drawn", drawn=True) / "train.tsv").read_text(encoding="utf-8")
    kept = drawn.splitlines(keepends=True)
    assert len(set(kept)) == 5
    assert set(kept) < set(rows)
    assert kept != rows[:5]


def test_every_set_has_what_the_script_needs(measure: Any) -> None:
    from triptych.api import load_recipe

    for name, protocol in measure.SETS.items():
        assert measure.parts_of(name)
        assert protocol["measures"].keys() <= {"wer", "cer"}
        load_recipe(protocol["recipe"], sys.modules["running"].overrides(protocol["settings"]))
        assert set(protocol.get("best", {})) <= {part.split("/")[0] for part in measure.parts_of(name)}


def test_the_page_is_what_the_results_give(measure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "PAGE", tmp_path / "published.md")
    measure.write_page()
    written = (tmp_path / "published.md").read_text(encoding="utf-8")
    assert written == (ROOT / "docs" / "published.md").read_text(encoding="utf-8")
