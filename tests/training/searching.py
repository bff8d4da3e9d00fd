"""A search in a process of its own: `python -m tests.training.searching STORAGE LOG SECONDS [PROCESSES]`.

Tries a grid of six points; the log gets a line per training begun. A pause stands for the training. The first training
also waits until as many processes have begun one, so that none is done before the others have started.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from triptych.runs.run import Row
from triptych.training import tuning
from triptych.training.dimensions import Choices, Value

LONGEST_WAIT_S = 240  # starting takes 4 s of processor time, of which a busy machine gives little
NO_PRUNING = tuning.Limits(prune=False)
DIMENSIONS = [Choices("x", (1, 2, 3)), Choices("y", ("a", "b"))]


def main() -> None:
    """Search, and print what was found."""
    storage, log, seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    processes = int(sys.argv[4]) if len(sys.argv) > 4 else 1
    if processes == 1:  # killed, perhaps, and soon given up; several must not give each other up on a busy machine
        tuning.HEARTBEAT_S, tuning.GRACE_S = 1, 8

    def run(params: Mapping[str, Value], report: tuning.Report) -> Sequence[Row]:
        with log.open("a") as stream:
            stream.write(f"{os.getpid()} {params['x']}{params['y']}\n")
        deadline = time.monotonic() + LONGEST_WAIT_S
        while len({line.split()[0] for line in log.read_text().splitlines()}) < processes:
            if time.monotonic() > deadline:
                raise TimeoutError(log.read_text())
            time.sleep(0.02)
        time.sleep(seconds)
        row: Row = {"epoch": 1, "figure": float(params["x"]) + (params["y"] == "b")}
        report(row)
        return [row]

    found = tuning.search(run, DIMENSIONS, name="s", storage=storage, monitor="figure", goal="min", limits=NO_PRUNING)
    print([f"{t.params['x']}{t.params['y']}" for t in found.trials if t.state == "complete"])  # noqa: T201


if __name__ == "__main__":
    main()
