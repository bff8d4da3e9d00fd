"""Runs that a reproduction needs: trained and tested the first time, found again the next."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from triptych.runs.run import Run, runs_folder

TRIPTYCH = (sys.executable, "-m", "triptych")


def triptych(*arguments: str) -> None:
    """Run a command as a user would; its progress goes to standard error."""
    print(f"$ triptych {' '.join(arguments)}", file=sys.stderr, flush=True)
    subprocess.run([*TRIPTYCH, *arguments], check=True, stdout=sys.stderr)


def overrides(settings: Mapping[str, object]) -> list[str]:
    """Settings as `--set` takes them."""
    written = {key: str(value).lower() if isinstance(value, bool) else value for key, value in settings.items()}
    return [f"{key}={value}" for key, value in written.items()]


def trained(recipe: str, data: Path, name: str, settings: Mapping[str, object]) -> Run:
    """The finished run of a recipe under some settings; one that was stopped goes on."""
    run = Run(runs_folder() / name)
    if run.facts().get("status") != "finished":
        changes = [part for change in overrides(settings) for part in ("--set", change)]
        resume = ["--resume"] if (run.path / "recipe.toml").exists() else []
        triptych("train", recipe, "--data", str(data), "--name", name, *changes, *resume)
    return run


def evaluated(run: Run, evaluation: str, *options: str) -> dict[str, Any]:
    """The scores of an evaluation such as `test/greedy`, measured the first time only with these options of `test`."""
    if evaluation not in run.facts().get("evaluations", {}):
        triptych("test", run.name, "--split", evaluation.split("/")[0], *options)
    scores: dict[str, Any] = run.facts()["evaluations"][evaluation]
    return scores


def print_row(name: str, seeds: Sequence[int], measure: str, estimates: Sequence[Mapping[str, float]]) -> None:
    """A Markdown row: mean and spread over seeds, or the one value and its interval."""
    values = [estimate["value"] for estimate in estimates]
    spread = f"{min(values):.4f} to {max(values):.4f}"
    if len(values) == 1:
        spread = f"95 % interval {estimates[0]['low']:.4f} to {estimates[0]['high']:.4f}"
    listed = ", ".join(str(seed) for seed in seeds)
    print(f"| {name} | {listed} | {measure} | {statistics.mean(values):.4f} | {spread} |", flush=True)
