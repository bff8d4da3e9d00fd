"""The command line in processes of its own, as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

TRIPTYCH = str(Path(sys.executable).with_name("triptych"))


def surroundings(runs: Path, **more: str) -> dict[str, str]:
    """Environment of a command whose runs go into one folder, on one thread."""
    helpers = ("LOCAL_RANK", "NODE_RANK", "RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    kept = {name: value for name, value in os.environ.items() if name not in (*helpers, "TRIPTYCH_RUN_OF_MAIN_PROCESS")}
    return {**kept, "TRIPTYCH_RUNS": str(runs), "OMP_NUM_THREADS": "1", **more}


def settings(values: Mapping[str, object]) -> list[str]:
    """`--set` options."""
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def triptych(
    *arguments: str | Path, runs: Path, cwd: Path | None = None, timeout_s: float = 200
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [TRIPTYCH, *map(str, arguments)],
        env=surroundings(runs),
        cwd=cwd,
        timeout=timeout_s,
        capture_output=True,
        text=True,
        check=False,
    )


def begin(*arguments: str | Path, runs: Path, cwd: Path | None = None) -> subprocess.Popen[str]:
    """Start a command in a process group of its own, to be signalled while it runs."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # of tests that a script started with &; children inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [TRIPTYCH, *map(str, arguments)],
        env=surroundings(runs),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
