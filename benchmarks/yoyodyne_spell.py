"""yoyodyne, the nearest peer, at the same task and size, through its own command line.

It needs an environment of its own:

    python3 -m venv ENVIRONMENT
    ENVIRONMENT/bin/pip install torch==2.13.0 numpy
    ENVIRONMENT/bin/pip install 'yoyodyne==0.5.*'
    ENVIRONMENT/bin/pip uninstall -y torchvision torchaudio     where importing torchvision fails; nothing here uses it

Its attention feeds the decoder's input, so the decoder's LSTM has 65,536 weights more, and source and target share one
embedding. Start-up is taken out by running each command twice, with little and with much to do, and counting the
difference; greedy prediction is so short beside start-up that it gets every word many times over. Training goes without
validation, as ours is counted, and loads its batches in a second process.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from triptych.errors import TriptychError
from triptych.text.pairs import Pair

MODEL = (
    "--model yoyodyne.models.SoftAttentionLSTMModel"
    " --model.embedding_size 128 --model.decoder_hidden_size 128 --model.decoder_dropout 0.3"
    " --model.source_encoder yoyodyne.models.modules.LSTMEncoder --model.source_encoder.embedding_size 128"
    " --model.source_encoder.hidden_size 64 --model.source_encoder.dropout 0.3"
)
TRAINER = "--trainer.accelerator cpu --trainer.logger false --trainer.enable_progress_bar false"
FIT = (
    "yoyodyne fit " + MODEL + " --model.optimizer yoyodyne.optimizers.Adam --model.optimizer.lr 0.003"
    " --data.model_dir model --data.train train.tsv --data.source_sep ' ' --data.batch_size 64"
    " --checkpoint.dirpath model --checkpoint.filename last --trainer.max_epochs {epochs} " + TRAINER
)
PREDICT = (
    "yoyodyne predict " + MODEL + " --model.beam_width {beam_width} --ckpt_path model/last.ckpt"
    " --data.model_dir model --data.predict {words} --data.source_sep ' ' --data.target_col 0 --data.batch_size 256"
    " --prediction.path predictions.tsv " + TRAINER
)
FEW_EPOCHS, MANY_EPOCHS = 1, 4
GREEDY_WORDS, BEAM_WORDS = 10_000, 1_000  # predicted at least, so that seconds of work stand beside start-up


def find_program(environment: Path) -> Path:
    """Its command in a virtual environment.

    Raises:
        TriptychError: there is none.
    """
    program = environment.absolute() / "bin" / "yoyodyne"
    if not program.exists():
        raise TriptychError(
            f"--yoyodyne is {environment}; expected a virtual environment with bin/yoyodyne. "
            "Make one as the head of benchmarks/yoyodyne_spell.py says."
        )
    return program


class Yoyodyne:
    """Its commands on our pairs, in a folder of its own.

    Args:
        environment: the virtual environment it is installed in.
        folder: where its files go.
        pairs: to train on.
        words: sources to predict.
    Raises:
        TriptychError: the environment has no yoyodyne.
    """

    def __init__(
        self, environment: Path, folder: Path, pairs: Sequence[Pair], words: Sequence[tuple[str, ...]]
    ) -> None:
        self.program = find_program(environment)
        self.folder = folder
        self.parameters = 0
        folder.mkdir(parents=True)
        _write(folder / "train.tsv", [f"{' '.join(pair.source)}\t{''.join(pair.target)}" for pair in pairs])
        self.words = [" ".join(word) for word in words]
        _write(folder / "one.tsv", self.words[:1])

    def training_task(self) -> Callable[[], float]:
        """Seconds of one epoch: what more epochs add to the command, divided by their number."""

        def task() -> float:
            few, many = self._fit(FEW_EPOCHS), self._fit(MANY_EPOCHS)
            return _difference(few, many) / (MANY_EPOCHS - FEW_EPOCHS)

        return task

    def prediction_task(self, beam_width: int) -> Callable[[], float]:
        """Seconds that all words add to the command over one word. Predicts with the model trained last."""
        copies = -(-(GREEDY_WORDS if beam_width == 1 else BEAM_WORDS) // len(self.words))
        many_words = f"words-{copies}.tsv"
        _write(self.folder / many_words, self.words * copies)

        def task() -> float:
            one = self._run(PREDICT.format(beam_width=beam_width, words="one.tsv"))[0]
            many = self._run(PREDICT.format(beam_width=beam_width, words=many_words))[0]
            return _difference(one, many) / copies

        return task

    def _fit(self, epochs: int) -> float:
        """Seconds of the whole command, which replaces the model."""
        shutil.rmtree(self.folder / "model", ignore_errors=True)
        seconds, output = self._run(FIT.format(epochs=epochs))
        found = re.search(r"Trainable parameters: ([\d,]+)", output)
        if found:
            self.parameters = int(found[1].replace(",", ""))
        return seconds

    def _run(self, command: str) -> tuple[float, str]:
        """Seconds and output of a command, on as many threads as we use."""
        _, *arguments = shlex.split(command)
        environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
        began = time.perf_counter()
        done = subprocess.run(
            [str(self.program), *arguments],
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        seconds = time.perf_counter() - began
        if done.returncode:
            raise TriptychError(f"yoyodyne ended with status {done.returncode}: {done.stdout.strip()[-500:]}")
        return seconds, done.stdout


def _difference(little: float, much: float) -> float:
    """Seconds without start-up.

    Raises:
        TriptychError: more work took no longer, so the machine was too busy to measure on.
    """
    if much <= little:
        raise TriptychError(
            f"yoyodyne took {much:.2f} s for much work and {little:.2f} s for little; expected more for much. "
            "Measure on a quiet machine, with more data."
        )
    return much - little


def _write(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
