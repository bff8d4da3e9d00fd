"""Runs the command line in forked processes that kill themselves with SIGKILL at a chosen moment.

Called as `python -m tests.e2e.killer` with JSON on standard input: a list of lives, each a list of arguments and the
moment of death or null. Prints the exit statuses as JSON; -9 is a kill. One process imports everything once and forks.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import triptych
from tests.training.line import Line, train
from triptych.runs.run import Run

MOMENTS = (
    "after recipe.toml",
    "batch 3 of epoch 1",
    "half of the model of epoch 1",
    "before the history of epoch 1",
    "half of the checkpoint of epoch 1",
    "batch 2 of epoch 2",
    "validation of epoch 2",
    "before the history of epoch 2",
    "half of the checkpoint of epoch 3",
    "before the end is recorded",
    "before the evaluation",
    "half of the evaluation",
    "before the report",
)


def die() -> NoReturn:
    """What `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("still alive")


def main() -> None:
    """Live every life that standard input asks for, one after the other."""
    _import_once()
    statuses = []
    for life in json.load(sys.stdin):
        child = os.fork()
        if child == 0:
            live(life["arguments"], life["moment"])
        _, status = os.waitpid(child, 0)
        statuses.append(os.waitstatus_to_exitcode(status))
    print(json.dumps(statuses))  # noqa: T201


def _import_once() -> None:
    """Import everything that a training needs, some of which it only imports as it goes, for all that are forked."""
    for module in pkgutil.walk_packages(triptych.__path__, "triptych."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    with tempfile.TemporaryDirectory() as folder:
        train(Line(), Run(Path(folder)), epochs=1, average_decay=0.5)


def live(arguments: list[str], moment: str | None) -> NoReturn:
    """The command line, with a moment of death."""
    from triptych import api
    from triptych.cli.main import main as command_line

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    api.write_report = _write_no_report
    if moment is not None:
        arrange(moment)
    sys.argv = ["triptych", *arguments]
    try:
        command_line()
    except SystemExit as end:
        sys.stderr.flush()
        os._exit(end.code if isinstance(end.code, int) else 0)
    os._exit(70)


def _write_no_report(run: Any) -> Path:
    """Pictures take a second each; what is asked here is whether a report is written at all."""
    path: Path = run.path / "report.html"
    path.write_text("report")
    return path


def arrange(moment: str) -> None:
    """Put death where it was asked for."""
    from triptych import api
    from triptych.runs import checkpoints, run
    from triptych.training import loop

    epoch = int(moment[-1]) if moment[-1].isdigit() else 0
    match moment.split():
        case ["after", "recipe.toml"]:
            _before(run.Run, "update_facts", lambda *_, **__: True)
        case ["batch", batch, *_]:
            _before(
                loop.Checkpointing,
                "on_train_batch_start",
                lambda _self, trainer, _module, _batch, index: (
                    trainer.current_epoch == epoch - 1 and index == int(batch) - 1
                ),
            )
        case ["validation", *_]:
            _before(loop.Checkpointing, "on_validation_epoch_end", lambda self, *_: len(self.rows) == epoch - 1)
        case ["before", "the", "history", *_]:
            _before(run.Run, "write_history", lambda _self, rows: len(rows) == epoch)
        case ["half", "of", "the", "model", *_]:
            _half(run, "write_bytes_atomically", countdown=epoch)
        case ["half", "of", "the", "checkpoint", *_]:
            _half(checkpoints, "write_bytes_atomically", countdown=epoch)
        case ["before", "the", "end", *_]:
            _before(run.Run, "update_facts", lambda *_, **changes: changes.get("status") == "finished")
        case ["half", "of", "the", "evaluation"]:
            _half(run, "write_json", countdown=1, only=(".greedy.json", ".shifts.json"))
        case ["before", "the", ("evaluation" | "report") as stage]:
            _before(api, {"evaluation": "evaluate", "report": "write_report"}[stage], lambda *_, **__: True)
        case _:
            raise ValueError(moment)


def _before(owner: Any, name: str, is_time: Callable[..., bool]) -> None:
    """Die on entering a function when it is time."""
    whole = getattr(owner, name)

    def dying(*arguments: Any, **named: Any) -> Any:
        if is_time(*arguments, **named):
            die()
        return whole(*arguments, **named)

    setattr(owner, name, dying)


def _half(owner: Any, name: str, *, countdown: int, only: str | tuple[str, ...] = "") -> None:
    """Die with half of the bytes in the temporary file."""
    from triptych.files import atomic_write

    whole = getattr(owner, name)
    left = [countdown]

    def dying(path: Path, content: bytes | dict[str, Any]) -> None:
        left[0] -= str(path).endswith(only)
        if left[0] == 0:
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            with atomic_write(path) as temporary:
                temporary.write_bytes(data[: len(data) // 2])
                die()
        whole(path, content)

    setattr(owner, name, dying)


if __name__ == "__main__":
    main()
