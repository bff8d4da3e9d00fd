"""The main job on a fresh machine, cut to seconds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from triptych.cli.main import main

SMALL = [
    "training.epochs=1",
    "data.max_train_pairs=200",
    "data.max_eval_pairs=30",
    "model.hidden=32",
    "model.embedding=32",
]


def demo(monkeypatch: pytest.MonkeyPatch, folder: Path, *options: str) -> None:
    monkeypatch.setenv("TRIPTYCH_RUNS", str(folder))
    settings = [part for setting in SMALL for part in ("--set", setting)]
    monkeypatch.setattr("sys.argv", ["triptych", "demo", "spell", *settings, *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0


def test_demo_trains_tests_explains_and_reports(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo(monkeypatch, tmp_path)
    shown = capsys.readouterr()
    assert re.search(r"CER \d\.\d{4} \[\d", shown.out)
    assert shown.out.count("\n") > 20  # a dozen predictions beside the truth, and what to try next
    assert "triptych predict demo-spell" in shown.out
    assert "epoch   1/1" in shown.err
    run = tmp_path / "demo-spell"
    assert (run / "report.html").is_file()
    assert [path.suffix for path in sorted(run.glob("figures/attention-*"))] == [".png", ".svg"]

    demo(monkeypatch, tmp_path, "--json")  # a second demo replaces the first
    document = json.loads(capsys.readouterr().out)
    assert document["test"]["n_items"] <= 30
    assert 0 <= document["test"]["wer"]["value"] <= 1
    assert Path(document["example"]["picture"]).is_file()
