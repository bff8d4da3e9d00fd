"""What surrounds a command: code pages, notebooks, forks, pipes, locks and disks."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cli.conftest import Triptych, one_error
from tests.command import TRIPTYCH
from tests.conftest import ToyRuns
from tests.toy import write_toy
from triptych import __version__ as version, api
from triptych.runs.checkpoints import AtomicCheckpoints
from triptych.runs.run import Run, is_helper_process

QUICK = ("--set", "training.epochs=1", "--set", "model.hidden=8", "--set", "model.embedding=8")


def run_command(*arguments: str, folder: Path, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    surroundings.pop("TRIPTYCH_RUNS", None)
    return subprocess.run(
        [TRIPTYCH, *arguments],
        cwd=folder,
        input=stdin,
        env=surroundings,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def test_output_is_utf_8_whatever_the_code_page(workspace: Path) -> None:
    """A source with letters that Windows' code page 1252 lacks is written as the file has it."""
    source = "B ɹ ˑ"
    done = run_command("predict", "first", folder=workspace, stdin=f"{source}\n", PYTHONIOENCODING="cp1252")
    assert (done.returncode, done.stdout.split("\t")[0]) == (0, source)


def test_a_notebooks_backend_does_not_reach_figures(workspace: Path) -> None:
    backend = "module://matplotlib_inline.backend_inline"
    done = run_command("explain", "first", "SH UW", folder=workspace, MPLBACKEND=backend)
    assert done.returncode == 0, done.stderr
    assert "attention map" in done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks are of POSIX")
def test_a_loaded_model_predicts_in_forked_processes(toy_runs: ToyRuns) -> None:
    code = f"""
        import multiprocessing, triptych
        speller = triptych.load({str(toy_runs.folder / "first")!r})
        before = speller.predict(["SH UW"] * 50)[0].text
        def work(source):
            return speller.predict([source] * 50)[0].text
        if __name__ == "__main__":
            with multiprocessing.get_context("fork").Pool(2) as pool:
                print(before, *pool.map(work, ["SH UW", "B IY"]))
    """
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.stdout.split() == ["shoo", "shoo", "bee"], done.stderr


def test_the_version_is_an_option_too(triptych: Triptych) -> None:
    assert triptych("--version").out == triptych("version").out == f"{version}\n"


def test_a_reader_that_leaves_ends_a_command_with_141(workspace: Path) -> None:
    """As `head` does; the shell counts the signal."""
    (workspace / "many.txt").write_text("B IY\n" * 20_000)
    command = f"{TRIPTYCH} predict first many.txt | head -n 1 >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], cwd=workspace, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_two_processes_do_not_write_one_run(triptych: Triptych, workspace: Path, toy_runs: ToyRuns) -> None:
    shutil.copytree(toy_runs.data, "toy")
    facts = json.loads(Path("runs/second/run.json").read_text())
    Path("runs/second/run.json").write_text(json.dumps({**facts, "status": "running"}))
    before = Path("runs/second/metrics.csv").read_bytes()
    (Path("runs/second") / "checkpoints").mkdir(exist_ok=True)
    with Run.open("second").writing():
        busy = one_error(triptych("train", "--resume", "--name", "second", "--data", "toy"))
        assert busy.startswith("runs/second: another process is training this run.")
        arguments = ("train", "p2g-additive-tiny", "--data", "toy", "--name", "second", "--force", *QUICK)
        assert one_error(triptych(*arguments)).startswith("runs/second: another process is training this run.")
    assert Path("runs/second/metrics.csv").read_bytes() == before


def test_an_ensemble_is_not_trained(triptych: Triptych, workspace: Path) -> None:
    assert triptych("ensemble", "first", "second", "--name", "both").status == 0
    before = {path: path.read_bytes() for path in Path("runs/both").iterdir() if path.is_file()}
    refused = one_error(triptych("train", "--resume", "--name", "both"))
    assert refused.startswith("runs/both: this run is an ensemble, which is not trained itself.")
    assert triptych("test", "both").status == 0
    assert one_error(triptych("train", "--resume", "--name", "both")) == refused
    tensors = Path("runs/both/model.safetensors")
    assert tensors.read_bytes() == before[tensors]


def test_a_finished_run_without_its_checkpoint_stays_as_it_is(triptych: Triptych, workspace: Path) -> None:
    shutil.rmtree("runs/first/checkpoints")
    assert triptych("report", "first").status == 0
    tensors = Path("runs/first/model.safetensors").read_bytes()
    done = triptych("train", "--resume", "--name", "first")
    assert (done.status, done.err.splitlines()[0]) == (0, "first has already finished; nothing to do.")
    assert Path("runs/first/model.safetensors").read_bytes() == tensors


def test_a_begun_run_without_its_checkpoint_is_not_trained_again(triptych: Triptych, workspace: Path) -> None:
    shutil.rmtree("runs/first/checkpoints")
    facts = json.loads(Path("runs/first/run.json").read_text())
    Path("runs/first/run.json").write_text(json.dumps({**facts, "status": "interrupted"}))
    refused = one_error(triptych("train", "--resume", "--name", "first"))
    assert refused.startswith("runs/first: checkpoints/last.ckpt is missing")
    assert (workspace / "runs/first/model.safetensors").exists()


def test_a_resumption_that_fails_leaves_the_run(triptych: Triptych, workspace: Path, toy_runs: ToyRuns) -> None:
    """Also a run that was interrupted before its first epoch, which holds no more than recipe and facts."""
    shutil.copytree(toy_runs.data, "toy")
    run = api.start_run(api.load_recipe("p2g-plain-tiny"), recipe_name="p2g-plain-tiny", name="early", data=Path("toy"))
    Path("toy/train.tsv").unlink()
    one_error(triptych("train", "--resume", "--name", "early"))
    assert {"recipe.toml", "run.json"} <= {path.name for path in run.path.iterdir()}


def test_a_full_disk_under_a_checkpoint_is_an_error_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, _content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    checkpoint: dict[str, Any] = {"state_dict": {"a": torch.zeros(100)}}
    with pytest.raises(OSError, match="No space left"):
        AtomicCheckpoints().save_checkpoint(checkpoint, tmp_path / "last.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_written_is_tested_all_the_same(
    triptych: Triptych, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(number: int) -> Callable[..., None]:
        def record(*_: Any, **__: Any) -> None:
            raise OSError(number, os.strerror(number), "runs/first")

        return record

    monkeypatch.setattr("triptych.api.evaluation._record", failing(errno.ENOSPC))
    assert "No space left" in one_error(triptych("test", "first")), "a full disk is an error as elsewhere"
    monkeypatch.setattr("triptych.api.evaluation._record", failing(errno.EROFS))
    done = triptych("test", "first")
    assert done.status == 0
    assert "CER" in done.out
    assert "warning: the evaluation could not be recorded in runs/first: Read-only file system." in done.err


def test_evaluations_with_other_word_lists_of_one_name_are_kept(triptych: Triptych, workspace: Path) -> None:
    for folder, words in (("a", "bee\nsoo\n"), ("b", "bee\nshoo\n")):
        Path(folder).mkdir()
        (Path(folder) / "words.txt").write_text(words)
        for _ in range(2):  # the same again takes the same name
            assert triptych("test", "first", "--lexicon", f"{folder}/words.txt").status == 0
    names = [name for name in Run.open("first").facts()["evaluations"] if "lexicon" in name]
    assert names[0] == "test/greedy-lexicon-words"
    assert [name[:26] for name in names] == ["test/greedy-lexicon-words", "test/greedy-lexicon-words-"]


def test_data_in_the_current_folder_has_a_name(triptych: Triptych, workspace: Path, toy_runs: ToyRuns) -> None:
    shutil.copytree(toy_runs.data, "toys")
    with (Path("toys") / "test.tsv").open("a", encoding="utf-8") as rows:
        rows.write("B IY\tbe\n")
    os.environ["TRIPTYCH_RUNS"] = str(workspace / "runs")
    try:
        os.chdir("toys")
        assert triptych("test", "first", "--data", ".").status == 0
    finally:
        os.chdir(workspace)
        del os.environ["TRIPTYCH_RUNS"]
    assert "test/greedy-on-toys" in Run.open("first").facts()["evaluations"]


def test_homophones_have_figures_of_their_own(workspace: Path) -> None:
    run = Run.open("first")
    figures = {api.explain(run, [source], {"n_best": 1})[0].picture for source in ("SH UW", "SH UW UW")}
    assert len(figures) == 2


def test_what_is_explained_is_what_is_predicted(workspace: Path) -> None:
    """Greedy where the run is greedy, though a beam lists what else was considered."""
    run = Run.open("second")
    speller = api.load("second")
    for source in ("SH UW", "B IY", "S UW T AA", "T AA SH UW B IY"):
        explained = api.explain(run, [source])[0]
        assert explained.prediction.text == speller.predict(source)[0].text
        assert len(explained.prediction.candidates) == 3


@pytest.mark.parametrize("task", ["0", "1"])
def test_each_task_of_a_slurm_step_trains_for_itself(
    triptych: Triptych, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"SLURM_NTASKS": "2", "SLURM_PROCID": task, "SLURM_JOB_NAME": "job"}.items():
        monkeypatch.setenv(name, value)
    data = write_toy(tmp_path / "data", train=20, valid=6, test=6)
    trained = triptych("train", "p2g-plain", "--tiny", "--data", str(data), *QUICK, "--name", f"task-{task}")
    assert trained.status == 0, trained.err
    assert Run.open(f"task-{task}").facts()["status"] == "finished"


def test_a_task_of_a_training_over_several_is_a_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.setenv("SLURM_PROCID", "1")
    api.Hardware("cpu", devices=2).leave_slurm_step()
    assert is_helper_process()
    api.Hardware("cpu").leave_slurm_step()
    assert not is_helper_process()


def test_each_task_of_a_slurm_step_searches_for_itself(
    triptych: Triptych, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "job"}.items():
        monkeypatch.setenv(name, value)
    data = str(write_toy(tmp_path / "data", train=20, valid=6, test=6))
    options = ("p2g-plain", "--tiny", "--data", data, *QUICK)
    tuned = triptych("tune", *options, "--search", "optimizer.learning_rate=0.01", "--name", "s")
    assert tuned.status == 0, tuned.err
    for name, value in {"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}.items():
        monkeypatch.setenv(name, value)
    found = triptych("find-learning-rate", *options, "--steps", "10")
    assert found.status == 0, found.err
