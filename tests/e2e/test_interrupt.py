"""Ctrl-C in a training of one process, as a terminal sends it: SIGINT to the process group; and SIGTERM."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from tests.command import begin, settings, triptych
from tests.toy import write_toy

SLOW_ENOUGH: dict[str, object] = {
    "training.epochs": 60,
    "training.batch_size": 16,
    "training.average_decay": 0.9,
    "optimizer.schedule": "cosine",
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("interrupt") / "toy", train=96, valid=24, test=4)


def train(name: str, data: Path, runs: Path) -> subprocess.Popen[str]:
    return begin(
        "train", "p2g-additive-tiny", "--data", data, *settings(SLOW_ENOUGH), "--name", name, "--json", runs=runs
    )


def epochs(run: Path) -> list[str]:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        return [row["epoch"] for row in csv.DictReader(stream)]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_the_best_and_resume_continues(data: Path, tmp_path: Path, number: signal.Signals) -> None:
    run = tmp_path / "cut"
    process = train("cut", data, tmp_path)
    while not (run / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.002)
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    assert "Interrupted. Resume with: triptych train --resume --name cut" in errors
    document = json.loads(output)
    assert document["interrupted"] is True
    facts = json.loads((run / "run.json").read_text())
    assert facts["status"] == "interrupted"
    assert len(epochs(run)) == facts["epochs"] < 60
    assert (run / "report.html").exists()
    assert safetensors.torch.load_file(run / "model.safetensors")
    resumed = triptych("train", "--resume", "--name", "cut", runs=tmp_path)
    whole = train("whole", data, tmp_path)
    whole.communicate()
    assert (resumed.returncode, whole.returncode) == (0, 0)
    assert epochs(run) == [str(epoch) for epoch in range(1, 61)]
    weights = safetensors.torch.load_file(run / "model.safetensors")
    for key, tensor in safetensors.torch.load_file(tmp_path / "whole" / "model.safetensors").items():
        assert torch.equal(weights[key], tensor), key


@pytest.mark.slow
def test_ctrl_c_before_the_first_epoch_ends(data: Path, tmp_path: Path) -> None:
    """At several moments, from importing to the first batches: never a trace, always a run to go on with."""
    for number, wait_s in enumerate((0.0, 0.3, 0.8)):
        process = train(f"early-{number}", data, tmp_path)
        while not (tmp_path / f"early-{number}" / "recipe.toml").exists():
            time.sleep(0.002)
        time.sleep(wait_s)
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130, errors
        assert "Traceback" not in errors
        if "Resume with" in errors:
            short = triptych("train", "--resume", "--name", f"early-{number}", "--data", data, runs=tmp_path)
            assert short.returncode == 0, short.stderr
