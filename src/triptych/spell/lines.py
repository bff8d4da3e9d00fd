"""Predictions for files of sources, one line of output for each line of input, in bounded memory."""

from __future__ import annotations

import shlex
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from triptych.config import SpellData, SpellDecoding
from triptych.config.spell_prediction import SpellOutput
from triptych.data.files import open_binary
from triptych.decoding import Speller
from triptych.errors import DataError
from triptych.spell.corpus import columns_of
from triptych.text.features import SourceColumns
from triptych.text.pairs import BadRow, Input, SourceLine, read_sources
from triptych.text.predictions import ONLY_COPIED, POOR, Prediction, cut_warnings
from triptych.text.symbols import quoted

STANDARD_INPUT = "-"
UNSEEN_LISTED = 10  # symbols that training never showed and that get a warning of their own


def predicted(
    speller: Speller,
    files: Sequence[str],
    *,
    decoding: SpellDecoding,
    data: SpellData,
    output: SpellOutput | None = None,
    skip_bad: bool,
    line_buffered: bool,
    warn: Callable[[Sequence[str]], None],
) -> Iterator[list[str]]:
    """Cells of a line of output for each source: its line, prediction, log-probability, then further candidates.

    Of a model with features they come after the source, as they were given, with a language that the speller adds. With
    alignments, one more cell follows each
    log-probability.

    Args:
        speller: the model.
        files: paths of files with one source per line, and its features where the model has any; `-` is standard input.
        decoding: how to decode.
        data: the run's `[data]`, in whose columns lines have their features, and its longest source.
        output: what predictions come with.
        skip_bad: skip lines that cannot be read, and warn of them at the end.
        line_buffered: predict each source before reading the next.
        warn: called with sentences.
    Raises:
        DataError: a file or line cannot be read; the sources before it are predicted first.
    """
    output = output or SpellOutput()
    unseen, cut = _Unseen(speller, warn), 0
    for file in files:
        label = "standard input" if file == STANDARD_INPUT else file
        bad: list[BadRow] = []
        with ExitStack() as stack:
            stream: Any = sys.stdin.buffer if file == STANDARD_INPUT else stack.enter_context(_opened(file))
            lines = read_sources(
                stream,
                speller.vocabularies.source_tokenizer,
                path_label=label,
                max_symbols=data.max_symbols,
                on_bad_row=bad.append if skip_bad else None,
                columns=_columns(speller, data, file),
            )
            ahead: deque[SourceLine] = deque()  # lines read and not yet predicted

            def inputs(lines: Any = lines, ahead: deque[SourceLine] = ahead) -> Iterator[Input]:
                for line in lines:
                    ahead.append(line)
                    yield Input(line.symbols, line.features)  # the speller adds its language

            for prediction in speller.stream(
                inputs(), decoding=decoding, chunk=1 if line_buffered else None, with_alignment=output.alignment
            ):
                line = ahead.popleft()
                unseen.note(f"{label}:{line.line}", prediction, line.text)
                cut += not prediction.best.finished
                yield _cells(speller, prediction, line)
        if bad:
            first = bad[0]
            warn([f"{label}:{first.line}: {first.reason}. Skipped {len(bad)} unreadable lines, this one first."])
    unseen.finish()
    warn(cut_warnings(cut))


def _opened(file: str) -> Any:
    """The file; where there is none, it may have been meant as a source."""
    path = Path(file)
    if path.suffix or path.parent != Path() or path.exists():
        return open_binary(path)
    hint = f"To predict one source, type: echo {shlex.quote(file)} | triptych predict RUN"
    raise DataError("no such file.", path=path, hint=hint)


def _columns(speller: Speller, data: SpellData, file: str) -> SourceColumns | None:
    """Where lines have their source and features; None where lines are sources, without features or a language."""
    known = speller.vocabularies
    if not known.takes_features and (speller.language or not known.languages):
        return None
    columns = columns_of(data, speller.language)
    columns = replace(columns, source=columns.target) if data.reverse else columns
    if not known.takes_features:  # their language is all that lines have beside their sources, as in what is written
        columns = replace(columns, source=1, target=3, features=2)
    return SourceColumns.of(columns, data.delimiter or None, file)


def _cells(speller: Speller, prediction: Prediction, line: SourceLine) -> list[str]:
    known = speller.vocabularies
    features = line.features_text if speller.language is None else known.join_features(prediction.features)
    cells = [line.text] if known.features is None else [line.text, features]
    for candidate in prediction.candidates:
        cells += [candidate.text, f"{candidate.log_probability:.4f}"]
        cells += [] if candidate.alignment is None else [candidate.alignment.text]
    return cells


class _Unseen:
    """Warnings of symbols that training never showed, one for each and not without end, and of rows of a table."""

    def __init__(self, speller: Speller, warn: Callable[[Sequence[str]], None]) -> None:
        self._warn = warn
        self._copies = speller.copies
        self._known: set[str] = set()
        self._tabs_separate = speller.vocabularies.source_tokenizer.unit == "symbols"
        self._expects_sources = not speller.vocabularies.takes_features  # no columns; False after a warning

    def note(self, place: str, prediction: Prediction, text: str) -> None:
        """Warn of symbols and features that are met for the first time, and of the first line with a tab.

        Args:
            place: file and line.
            prediction: of the source.
            text: the line.
        """
        if self._expects_sources and "\t" in text and (self._tabs_separate or "\t" in prediction.unknown):
            self._expects_sources = False
            self._warn(
                [
                    f"{place}: the line has a tab, and all of it is read as the source, further columns included. "
                    "Give the column of sources alone, for example with: cut -f 1"
                ]
            )
        for names, expected in (
            (prediction.unknown, ONLY_COPIED if self._copies else POOR),
            (prediction.unknown_features, POOR),
        ):
            fresh = [name for name in names if name not in self._known]
            listed = len(self._known) < UNSEEN_LISTED
            self._known.update(fresh)
            if fresh and listed:
                self._warn([f"{place}: {', '.join(map(quoted, fresh))} never seen in training; {expected}."])

    def finish(self) -> None:
        """Say how many symbols there were where not all were listed."""
        if len(self._known) > UNSEEN_LISTED:
            self._warn([f"{len(self._known)} different symbols of the sources were never seen in training."])
