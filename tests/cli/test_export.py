"""`triptych export` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Triptych, one_error
from triptych import runtime


def test_a_run_becomes_a_folder_that_predicts_the_same(triptych: Triptych, workspace: Path) -> None:
    done = triptych("export", "first", "--out", "exported")
    assert done.status == 0, done.err
    assert done.out.startswith("exported    exported, 0.")
    assert "from PyTorch at most" in done.out
    predicted = triptych("predict", "first", stdin=b"SH UW T AA\n").out.split("\t")
    assert runtime.load("exported").predict("SH UW T AA")[0].text == predicted[1]


def test_the_cost_of_eight_bits_is_printed(triptych: Triptych, workspace: Path) -> None:
    done = triptych("export", "first", "--out", "small", "--int8", "--split", "test")
    assert done.status == 0, done.err
    assert "int8 on test: 60 items, " in done.out
    rows = {line.split()[0]: line.split() for line in done.out.splitlines() if line}
    measured = triptych("test", "first", "--json").out
    assert rows["CER"][1] == f"{json.loads(measured)['cer']['value']:.4f}"
    assert rows["WER"][1] == f"{json.loads(measured)['wer']['value']:.4f}"
    assert {"CER", "WER", "size,"} <= rows.keys()


def test_json_is_one_object(triptych: Triptych, workspace: Path) -> None:
    document = json.loads(triptych("export", "first", "--out", "exported", "--json").out)
    assert document["path"] == "exported"
    assert document["difference"] <= 1e-5
    assert document["cost"] is None


def test_mistakes_are_one_line(triptych: Triptych, workspace: Path) -> None:
    assert "run is 'fist'" in one_error(triptych("export", "fist", "--out", "x"))
    assert one_error(triptych("export", "first", "--out", "runs")).startswith("runs: this exists and is not an exp")
    assert not Path("x").exists()
