"""`kill -9` at any moment, then `--resume`: the same weights and metrics as a training that was never interrupted."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tests.command import begin, settings, surroundings, triptych
from tests.e2e.killer import MOMENTS
from tests.see.shapes import write_shapes
from tests.toy import write_toy

COMMON: dict[str, object] = {
    "training.epochs": 4,
    "training.batch_size": 16,
    "model.dropout": 0.3,
    "optimizer.learning_rate": 0.02,
}
KINDS: dict[str, dict[str, object]] = {
    "cosine": {"optimizer.schedule": "cosine", "optimizer.warmup_steps": 5, "training.gradient_clip": 1.0},
    "average": {"optimizer.schedule": "one-cycle", "training.average_decay": 0.8},
    "plateau": {"optimizer.schedule": "plateau", "optimizer.plateau_patience": 0, "training.keep": "last"},
    "patience": {"training.patience": 2, "optimizer.learning_rate": 0.3, "training.epochs": 9},
}
# Every source of chance and every state that images add: augmentation, mixed labels, dropout, left-out branches, and
# batch normalisation, whose averages are no parameters.
IMAGES: dict[str, object] = {
    "training.epochs": 4,
    "training.batch_size": 8,
    "training.average_decay": 0.8,
    "training.label_smoothing": 0.1,
    "augmentation.flip": 0.5,
    "augmentation.shift": 0.1,
    "augmentation.mixup": 0.4,
    "augmentation.cutmix": 1.0,
    "augmentation.cutout": 0.2,
    "model.drop_path": 0.3,
    "model.dropout": 0.3,
    "data.height": 12,
    "data.width": 12,
}
FEW = ("batch 2 of epoch 2", "before the history of epoch 2")
REPOSITORY = Path(__file__).parents[2]


class Lives:
    """Trainings that were killed and resumed, all in one go."""

    def __init__(self, runs: Path, data: Path, images: Path) -> None:
        self.runs = runs
        self.data = data
        self.images = images
        self.errors = ""

    def train(self, name: str, kind: str) -> list[str]:
        """Arguments that begin a run."""
        chosen = settings(COMMON | KINDS[kind])
        return ["train", "p2g-additive-tiny", "--data", str(self.data), "--name", name, *chosen]

    def train_images(self, name: str) -> list[str]:
        """Arguments that begin a run of the panel see."""
        return ["train", "kmnist-best-tiny", "--data", str(self.images), "--name", name, *settings(IMAGES)]

    def resume(self, name: str) -> list[str]:
        """Arguments that go on with it."""
        return ["train", "--resume", "--name", name]

    def live(self, lives: list[tuple[list[str], str | None]]) -> list[int]:
        """Exit statuses of the lives."""
        document = [{"arguments": arguments, "moment": moment} for arguments, moment in lives]
        done = subprocess.run(
            [sys.executable, "-m", "tests.e2e.killer"],
            input=json.dumps(document),
            env=surroundings(self.runs),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.errors = done.stderr
        statuses: list[int] = json.loads(done.stdout)
        return statuses

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """The kept weights."""
        return safetensors.torch.load_file(self.runs / name / "model.safetensors")

    def metrics(self, name: str) -> list[dict[str, str]]:
        """`metrics.csv` without the clock."""
        with (self.runs / name / "metrics.csv").open(encoding="utf-8", newline="") as stream:
            return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(stream)]

    def facts(self, name: str) -> dict[str, Any]:
        """`run.json` without clocks and name."""
        facts = json.loads((self.runs / name / "run.json").read_text())
        facts["best"].pop("seconds")
        return {key: value for key, value in facts.items() if key not in ("began", "ended", "seconds")}

    def assert_same(self, name: str, reference: str) -> None:
        """Both runs hold the same weights, bit by bit, and the same figures."""
        expected = self.tensors(reference)
        found = self.tensors(name)
        assert found.keys() == expected.keys()
        for key, tensor in expected.items():
            assert torch.equal(found[key], tensor), (name, key)
        assert self.metrics(name) == self.metrics(reference), name
        assert self.facts(name) == self.facts(reference), name
        assert (self.runs / name / "report.html").exists(), name
        left = [path.name for path in (self.runs / name).rglob(".*") if not path.name.endswith(".lock")]
        assert not left, name  # nothing half-written


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Lives:
    place = tmp_path_factory.mktemp("resume")
    toy = write_toy(place / "toy", train=96, valid=24, test=8)
    lives = Lives(place / "runs", toy, write_shapes(place / "shapes", each=12))
    kinds = list(KINDS)
    assert lives.live([(lives.train(kind, kind), None) for kind in kinds]) == [0] * len(kinds)
    assert lives.live([(lives.train_images("images"), None)]) == [0]
    return lives


def kill_and_resume(lives: Lives, cases: list[tuple[str, str]]) -> None:
    todo: list[tuple[list[str], str | None]] = []
    names = [f"{kind}, killed: {moment}" for kind, moment in cases]
    for name, (kind, moment) in zip(names, cases, strict=True):
        todo += [(lives.train(name, kind), moment), (with_data(lives, name, moment), None)]
    assert lives.live(todo) == [-9, 0] * len(cases)
    for name, (kind, _) in zip(names, cases, strict=True):
        lives.assert_same(name, kind)


def with_data(lives: Lives, name: str, moment: str) -> list[str]:
    """How to resume; only where not even the data's place was written must it be given again."""
    again = ["--data", str(lives.data)] if moment == "after recipe.toml" else []
    return lives.resume(name) + again


def test_the_references_do_what_they_are_to_test(lives: Lives) -> None:
    """Else the comparisons below would say nothing about schedules, averages and patience."""
    rates = {kind: [float(row["learning_rate"]) for row in lives.metrics(kind)] for kind in KINDS}
    assert rates["cosine"][0] > rates["cosine"][1] > rates["cosine"][2] > rates["cosine"][3]
    assert min(rates["plateau"]) < max(rates["plateau"])
    assert len(rates["patience"]) < 9
    assert lives.facts("plateau")["best_epoch"] > 0
    kept = lives.tensors("average")
    assert not any(torch.equal(kept[key], tensor) for key, tensor in lives.tensors("cosine").items())


def test_killed_anywhere_and_resumed(lives: Lives) -> None:
    kill_and_resume(lives, [("cosine", moment) for moment in MOMENTS])


def test_other_kinds_of_training_resume_alike(lives: Lives) -> None:
    kill_and_resume(lives, [(kind, moment) for kind in ("average", "plateau", "patience") for moment in FEW])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["average", "plateau", "patience"])
def test_every_kind_killed_anywhere(lives: Lives, kind: str) -> None:
    kill_and_resume(lives, [(kind, moment) for moment in MOMENTS if moment not in FEW])


@pytest.mark.slow
def test_killed_again_and_again(lives: Lives) -> None:
    deaths = ["batch 3 of epoch 1", "before the history of epoch 2", "half of the checkpoint of epoch 1"]
    todo: list[tuple[list[str], str | None]] = [(lives.train("cat", "average"), deaths[0])]
    todo += [(lives.resume("cat"), moment) for moment in (*deaths[1:], "before the evaluation", None)]
    assert lives.live(todo) == [-9, -9, -9, -9, 0]
    lives.assert_same("cat", "average")


def kill_and_resume_images(lives: Lives, moments: Sequence[str]) -> None:
    todo: list[tuple[list[str], str | None]] = []
    names = [f"images, killed: {moment}" for moment in moments]
    for name, moment in zip(names, moments, strict=True):
        again = ["--data", str(lives.images)] if moment == "after recipe.toml" else []
        todo += [(lives.train_images(name), moment), (lives.resume(name) + again, None)]
    assert lives.live(todo) == [-9, 0] * len(moments)
    for name in names:
        lives.assert_same(name, "images")


def test_images_resume_alike(lives: Lives) -> None:
    kill_and_resume_images(lives, FEW)


@pytest.mark.slow
def test_images_killed_anywhere(lives: Lives) -> None:
    kill_and_resume_images(lives, [moment for moment in MOMENTS if moment not in FEW])


def test_resuming_a_finished_run_changes_nothing(lives: Lives) -> None:
    folder = lives.runs / "cosine"
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    done = triptych("train", "--resume", "--name", "cosine", "--json", runs=lives.runs)
    assert done.returncode == 0, done.stderr
    assert "has already finished; nothing to do" in done.stderr
    document = json.loads(done.stdout)
    assert document["best"] == json.loads((folder / "run.json").read_text())["best"]
    after = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.slow
def test_killed_from_outside_while_files_appear(lives: Lives) -> None:
    """Nothing is arranged within the process here: it is killed when a file appears, whatever it is doing."""
    for number, (file, wait_s) in enumerate((("run.json", 0.5), ("metrics.csv", 0.0), ("checkpoints/last.ckpt", 0.05))):
        name = f"outside-{number}"
        process = begin(*lives.train(name, "average"), runs=lives.runs)
        while not (lives.runs / name / file).exists():
            time.sleep(0.002)
        time.sleep(wait_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        done = triptych(*lives.resume(name), runs=lives.runs)
        assert done.returncode == 0, done.stderr
        lives.assert_same(name, "average")


@pytest.mark.slow
def test_resuming_with_another_recipe_or_other_data_is_refused(lives: Lives, tmp_path: Path) -> None:
    other = write_toy(tmp_path / "other", train=96, valid=24, test=8, seed=1)
    moved = write_toy(tmp_path / "moved", train=96, valid=24, test=8)
    sittings: list[tuple[list[str], str | None]] = [
        (lives.train("odd", "cosine"), "batch 2 of epoch 2"),
        ([*lives.resume("odd"), "--set", "training.seed=1"], None),
        ([*lives.resume("odd"), "--data", str(other)], None),
        ([*lives.resume("odd"), "--data", str(moved)], None),  # the same files elsewhere
    ]
    assert lives.live(sittings) == [-9, 2, 2, 0]
    assert "was begun with another recipe: training.seed was 0, is 1." in lives.errors
    assert "was started with other data." in lives.errors
    assert lives.metrics("odd") == lives.metrics("cosine")


@pytest.mark.slow
def test_a_damaged_checkpoint_is_said_in_one_line(lives: Lives) -> None:
    assert lives.live([(lives.train("bad", "cosine"), "batch 2 of epoch 2")]) == [-9]
    checkpoint = lives.runs / "bad" / "checkpoints" / "last.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert lives.live([(lives.resume("bad"), None)]) == [2]
    assert lives.errors.count("error: ") == lives.errors.count("\n") == 1
    assert "last.ckpt: the file is damaged" in lives.errors
