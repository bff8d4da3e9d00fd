"""Ctrl-C or SIGTERM while training: the batch is finished, then every process stops at the same one."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """All processes have agreed to stop because of Ctrl-C or SIGTERM."""


class CtrlC(Callback):
    """Hears Ctrl-C and SIGTERM from the first batch to the last, so that no file and no collective is cut short.

    The second one interrupts at once. To be used within `signals_restored`.

    Attributes:
        asked: one was heard.
        by: which signal; 0 before one was heard, and in a process that stops because another one heard it.
    """

    def __init__(self) -> None:
        self.asked = False
        self.by = 0
        self._speaks = True

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin to listen."""
        self._speaks = trainer.is_global_zero
        if threading.current_thread() is threading.main_thread():  # others cannot, and are not interrupted
            for number in _SIGNALS:
                signal.signal(number, self._hear)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop where any process was asked to."""
        if trainer.strategy.reduce_boolean_decision(self.asked, all=False):
            self.asked = True
            raise Interrupted

    def on_validation_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop within validation too; several processes, which may have unlike numbers of batches, go on to its end."""
        if self.asked and trainer.world_size == 1:
            raise Interrupted

    def _hear(self, signal_number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked, self.by = True, signal_number
        if self._speaks:
            again = "Ctrl-C" if signal_number == signal.SIGINT else "SIGTERM"
            print(f"stopping after this batch; {again} again stops at once", file=sys.stderr)  # noqa: T201


@contextmanager
def signals_restored() -> Iterator[None]:
    """Give the signals back afterwards to whoever had them: Lightning ignores Ctrl-C for good once it was pressed."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    except SystemExit as error:  # Lightning's answer to a KeyboardInterrupt, which callers are to see
        raise KeyboardInterrupt if isinstance(error.__context__, KeyboardInterrupt) else error from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)
