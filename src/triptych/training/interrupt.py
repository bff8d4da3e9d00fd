"""Ctrl-C or SIGTERM while training: the batch is finished, then every process stops at the same batch."""

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


class Interrupted(Exception):  # noqa: N818 - not an error: the user stopped the training
    """All processes have agreed to stop because of Ctrl-C or SIGTERM."""


class CtrlC(Callback):
    """Stops training cleanly on SIGINT or SIGTERM: no file and no collective operation is cut short.

    The second signal interrupts at once. To be used within `signals_restored`.

    Attributes:
        stop_requested: this process, or another of the training, received a signal.
        signal_number: the signal that this process received; 0 for none.
    """

    def __init__(self) -> None:
        self.stop_requested = False
        self.signal_number = 0
        self._is_main_process = True

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Handle both signals from now on."""
        self._is_main_process = trainer.is_global_zero
        if threading.current_thread() is threading.main_thread():  # others cannot
            for number in _SIGNALS:
                signal.signal(number, self._handle)

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop where any process received a signal."""
        if trainer.strategy.reduce_boolean_decision(self.stop_requested, all=False):
            self.stop_requested = True
            raise Interrupted

    def on_validation_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Stop within validation too; several processes, which may have different numbers of batches, finish it."""
        if self.stop_requested and trainer.world_size == 1:
            raise Interrupted

    def _handle(self, signal_number: int, frame: FrameType | None) -> None:
        if self.stop_requested:
            raise KeyboardInterrupt
        self.stop_requested, self.signal_number = True, signal_number
        if self._is_main_process:
            again = "Ctrl-C" if signal_number == signal.SIGINT else "SIGTERM"
            print(f"stopping after this batch; {again} again stops at once", file=sys.stderr)  # noqa: T201


@contextmanager
def signals_restored() -> Iterator[None]:
    """Restore the signal handlers afterwards: Lightning ignores Ctrl-C for good once it was pressed."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    except SystemExit as error:  # Lightning's response to a KeyboardInterrupt, which callers expect
        raise KeyboardInterrupt if isinstance(error.__context__, KeyboardInterrupt) else error from None
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)
