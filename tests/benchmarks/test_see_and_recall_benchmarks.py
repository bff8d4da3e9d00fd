"""The benchmarks of `see` and `recall` run and say what they promise. Speed itself is never asserted."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def results_of(script: str, *options: str) -> dict[str, Any]:
    """What a script prints with `--json`, by name."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, "--quick", "--threads", "1", "--json", *options],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found
    for result in found.values():
        assert math.isfinite(result["ratio"])
        assert result["ratio"] > 0
    return found


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_see_measures_every_system_and_prediction() -> None:
    found = results_of("see.py", "--repeats", "1")
    for system in ("V1", "V2", "V3"):
        for batch_size, target in ((8, 1.0), (64, 1.5)):
            assert found[f"{system} batch {batch_size} training over loader"]["target"] == target
            assert found[f"{system} batch {batch_size} training over floor"]["target"] == 0.85
    for system in ("V2", "V3"):
        assert found[f"{system} prediction over plain loop, batch by batch"]["target"] == 1.5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_recall_measures_updates_energies_and_sparse_weights() -> None:
    found = results_of("recall.py", "--no-index")
    for words in ("over floor", "over plain", "energy", "sparsemax", "entmax"):
        assert any(words in name for name in found), sorted(found)
