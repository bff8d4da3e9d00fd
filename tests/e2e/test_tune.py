"""`triptych tune` from the command line: what it leaves behind, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.command import begin, triptych
from tests.toy import write_toy

pytestmark = pytest.mark.slow
ABSURD = "optimizer.learning_rate=0.01,1e38"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_toy(tmp_path / "toy", train=64, valid=16, test=4)


def test_a_grid_with_a_failure_ends_in_a_recipe_that_trains(data: Path, tmp_path: Path) -> None:
    common = ["p2g-additive-tiny", "--data", str(data)]
    grid = ["--search", ABSURD, "--search", "training.seed=0,1"]
    done = triptych("tune", *common, *grid, "--name", "s", "--json", runs=tmp_path / "runs", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "failed: train_loss in epoch 1 is nan" in done.stderr
    document = json.loads(done.stdout)
    assert sorted(trial["state"] for trial in document["trials"]) == ["complete", "complete", "failed", "failed"]
    assert document["best"]["params"]["optimizer.learning_rate"] == 0.01
    folder = tmp_path / "searches" / "s"
    names = {path.name for path in folder.iterdir()}
    pictures = ("search", "curves", "training-loss", "validation-cer")
    drawn = {f"{name}.{kind}" for name in pictures for kind in ("png", "svg")}
    assert names == {"search.db", "trials.tsv", "best.toml", *drawn}
    table = (folder / "trials.tsv").read_text().splitlines()
    assert table[0].split("\t") == [
        "trial", "state", "valid_cer", "optimizer.learning_rate", "training.seed", "failure"
    ]  # fmt: skip
    assert len(table) == 5
    assert table[3].split("\t")[-1].startswith("train_loss in epoch 1 is nan")
    best = triptych("train", folder / "best.toml", "--data", data, "--name", "best", "--json", runs=tmp_path / "runs")
    assert best.returncode == 0, best.stderr
    assert json.loads(best.stdout)["best"]["valid_cer"] == pytest.approx(document["best"]["value"])


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("optimizer.learning_rat=0.1,0.2", "optimizer.learning_rat is not a known key. Did you mean 'learning_rate'?"),
        ("model.hidden=16,17", "model.hidden is 17; expected"),
        ("optimizer.learning_rate=0..1", "optimizer.learning_rate is 0; expected a number > 0."),
        ("model.hidden", "--search is 'model.hidden'; expected key=v1,v2 or key=low..high."),
    ],
)
def test_wrong_keys_and_values_fail_before_the_first_training(
    data: Path, tmp_path: Path, search: str, message: str
) -> None:
    done = triptych(
        "tune", "p2g-additive-tiny", "--data", data, "--search", search, "--set", "model.tie_output=false",
        runs=tmp_path, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "trying" not in done.stderr
    assert not (tmp_path / "searches").exists()


def test_ctrl_c_ends_with_what_there_is(data: Path, tmp_path: Path) -> None:
    process = begin(
        "tune", "p2g-additive-tiny", "--data", data, "--search", "training.seed=0,1,2,3,4,5,6,7", "--name", "s",
        "--set", "training.epochs=8", "--json", runs=tmp_path, cwd=tmp_path,
    )  # fmt: skip
    assert process.stderr is not None
    while "training.seed=1" not in process.stderr.readline():
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    states = [trial["state"] for trial in json.loads(output)["trials"]]
    assert states[0] == "complete"
    assert states[-1] == "stopped"
    assert (tmp_path / "searches" / "s" / "best.toml").exists()
