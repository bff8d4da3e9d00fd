"""Training over two processes on the CPU, for real."""

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
from tests.see.shapes import write_shapes
from tests.toy import write_toy

EXACT: dict[str, object] = {
    "training.epochs": 2,
    "training.batch_size": 7,  # does not divide by two, nor the data by it
    "model.dropout": 0.0,
    "optimizer.name": "sgd",  # Adam's first steps blow rounding up
    "optimizer.learning_rate": 0.5,
}


def metrics(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open(encoding="utf-8", newline="") as stream:
        return [{key: float(value) for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]


def living_relatives(word: str) -> list[str]:
    """Command lines of running processes that mention a word, this one left out."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in listed if word in line and str(os.getpid()) not in line.split()[0]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("processes") / "toy", train=61, valid=17, test=4)


def test_two_processes_train_as_one(data: Path, tmp_path: Path) -> None:
    """The loss is the mean over the whole batch, so gradients, weights and metrics agree up to rounding."""
    common = ["train", "p2g-additive-tiny", "--data", str(data), *settings(EXACT), "--json"]
    one = triptych(*common, "--name", "one", runs=tmp_path)
    two = triptych(*common, "--accelerator", "cpu", "--devices", "2", runs=tmp_path)  # under its default name
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    name = "p2g-additive-tiny-0"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", name]
    assert Path(json.loads(two.stdout)["run"]).name == name  # one object, printed once
    assert two.stderr.count("epoch   1/2") == 1
    assert two.stderr.count("report  ") == 1
    assert (tmp_path / name / "report.html").exists()
    for row, expected in zip(metrics(tmp_path / name), metrics(tmp_path / "one"), strict=True):
        assert row == pytest.approx(expected, rel=2e-4)
    weights = safetensors.torch.load_file(tmp_path / name / "model.safetensors")
    for key, tensor in safetensors.torch.load_file(tmp_path / "one" / "model.safetensors").items():
        torch.testing.assert_close(weights[key], tensor, rtol=1e-3, atol=1e-5)
    assert living_relatives(str(tmp_path)) == []
    assert living_relatives(str(data)) == []


@pytest.mark.slow
def test_two_processes_learn_images_as_one(tmp_path: Path) -> None:
    """Without chance within a process, and without batch normalisation, whose averages are each process's own."""
    exact: dict[str, object] = {key: value for key, value in EXACT.items() if not key.startswith("model.")}
    exact |= {"optimizer.learning_rate": 0.05, "data.height": 12, "data.width": 12}
    exact |= {"model.block_dropout": 0.0, "model.hidden_dropout": "[]"}
    images = write_shapes(tmp_path / "shapes", each=12)
    runs = tmp_path / "runs"
    common = ["train", "scenes-cnn-tiny", "--data", str(images), *settings(exact), "--json"]
    one = triptych(*common, "--name", "one", runs=runs)
    two = triptych(*common, "--accelerator", "cpu", "--devices", "2", "--name", "two", runs=runs)
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    for row, expected in zip(metrics(runs / "two"), metrics(runs / "one"), strict=True):
        assert row == pytest.approx(expected, rel=2e-4)
    weights = safetensors.torch.load_file(runs / "two" / "model.safetensors")
    for key, tensor in safetensors.torch.load_file(runs / "one" / "model.safetensors").items():
        torch.testing.assert_close(weights[key], tensor, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_killed_training_over_two_processes_resumes_alike(data: Path, tmp_path: Path) -> None:
    common = [
        "p2g-additive-tiny",
        "--data",
        str(data),
        *settings({**EXACT, "training.epochs": 4, "model.dropout": 0.3}),
    ]
    devices = ["--accelerator", "cpu", "--devices", "2"]
    whole = triptych("train", *common, "--name", "whole", *devices, runs=tmp_path)
    assert whole.returncode == 0, whole.stderr
    process = begin("train", *common, "--name", "cut", *devices, runs=tmp_path)
    while not (tmp_path / "cut" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(metrics(tmp_path / "cut")) < 4
    resumed = triptych("train", "--resume", "--name", "cut", *devices, runs=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert metrics(tmp_path / "cut") == metrics(tmp_path / "whole")


@pytest.mark.slow
def test_force_replaces_a_run_once(data: Path, tmp_path: Path) -> None:
    common = ["train", "p2g-additive-tiny", "--data", str(data), *settings(EXACT), "--name", "x", "--force"]
    for _ in range(2):
        done = triptych(*common, "--accelerator", "cpu", "--devices", "2", runs=tmp_path)
        assert done.returncode == 0, done.stderr
    assert len(metrics(tmp_path / "x")) == 2


@pytest.mark.slow
def test_ctrl_c_ends_both_processes(data: Path, tmp_path: Path) -> None:
    long = settings({**EXACT, "training.epochs": 1000})
    process = begin(
        "train", "p2g-additive-tiny", "--data", data, *long, "--name", "x", "--accelerator", "cpu", "--devices", "2",
        runs=tmp_path,
    )  # fmt: skip
    while not (tmp_path / "x" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert output == ""
    assert "Traceback" not in errors
    assert errors.count("Resume with: triptych train --resume --name x") == 1
    assert json.loads((tmp_path / "x" / "run.json").read_text())["status"] == "interrupted"
    assert living_relatives(str(data)) == []


@pytest.mark.slow
def test_a_loss_that_is_not_finite_is_said_once(data: Path, tmp_path: Path) -> None:
    absurd = settings({**EXACT, "optimizer.learning_rate": 1e38})
    done = triptych(
        "train", "p2g-additive-tiny", "--data", data, *absurd, "--name", "x", "--accelerator", "cpu", "--devices", "2",
        runs=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("error: ") == 1, done.stderr
    assert "train_loss in epoch 1 is nan; expected a finite number. Lower optimizer.learning_rate" in done.stderr
