"""Predictions for running text: its words are predicted, and everything between them is kept."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

from triptych.config import SpellDecoding
from triptych.data.files import Line, number_lines, open_binary
from triptych.decoding import Speller
from triptych.errors import DataError, RecipeError
from triptych.text.predictions import Prediction, cut_warnings
from triptych.text.running import Piece, pieces

LINES = 500  # lines whose words are predicted at once
STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Rewritten:
    """A text with its words predicted.

    Attributes:
        text: as it was.
        prediction: the same with each word's best prediction in its place.
        log_probability: sum over the words, in nats; 0 for those that a dictionary has.
        words: prediction of each different word.
    """

    text: str
    prediction: str
    log_probability: float
    words: dict[str, Prediction]


@dataclass(frozen=True)
class Cut:
    """Texts cut into words and what is between them, to be predicted word by word.

    Attributes:
        texts: as they were.
        parts: of each text.
        words: symbols of each different word that is predicted, in the order they first come.
    """

    texts: Sequence[str]
    parts: Sequence[Sequence[Piece]]
    words: dict[str, tuple[str, ...]]

    def joined(self, found: Sequence[Prediction]) -> list[Rewritten]:
        """The texts with the predictions of `words`, in their order, in the words' places."""
        known = dict(zip(self.words, found, strict=True))
        return [_joined(text, parts, known) for text, parts in zip(self.texts, self.parts, strict=True)]


def cut(speller: Speller, texts: Sequence[str], decoding: SpellDecoding, *, max_symbols: int = 1000) -> Cut:
    """Cut some texts into what is predicted and what is kept; see `rewrite`.

    Raises:
        RecipeError: the model's sources are symbols with spaces between them, or it draws samples.
    """
    tokenizer = speller.vocabularies.source_tokenizer
    if tokenizer.unit == "symbols":
        raise RecipeError(
            "running text is given, and the sources of this run are symbols with spaces between them.",
            field="text",
            hint="Remove it, or use a run whose sources are words.",
        )
    if decoding.method == "sample":
        raise RecipeError(field="decoding.method", value="sample", expected="greedy or beam for running text")
    parts = [pieces(text) for text in texts]
    symbols = {piece.text: tokenizer.split(piece.text) for each in parts for piece in each if piece.is_word}
    return Cut(texts, parts, {word: split for word, split in symbols.items() if 0 < len(split) <= max_symbols})


def rewrite(
    speller: Speller,
    texts: Sequence[str],
    *,
    decoding: SpellDecoding | None = None,
    features: str | None = None,
    max_symbols: int = 1000,
) -> list[Rewritten]:
    """Predict the words of some texts; a word that comes several times is predicted once.

    Args:
        speller: a model whose sources are letters.
        texts: running text.
        decoding: how to decode; None takes the model's own.
        features: of every word, for a model with features.
        max_symbols: longer words stay as they are.
    Raises:
        RecipeError: the model's sources are symbols with spaces between them, or it draws samples.
    """
    settings = decoding or speller.decoding
    made = cut(speller, texts, settings, max_symbols=max_symbols)
    return made.joined(speller.predict(list(made.words.values()), features=features, decoding=settings))


def _joined(text: str, parts: Sequence[Piece], known: dict[str, Prediction]) -> Rewritten:
    own = {piece.text: known[piece.text] for piece in parts if piece.is_word and piece.text in known}
    written = "".join(own[piece.text].text if piece.text in own else piece.text for piece in parts)
    total = sum(own[piece.text].log_probability for piece in parts if piece.text in own)
    return Rewritten(text, written, total, own)


def predicted_text(
    speller: Speller,
    files: Sequence[str],
    *,
    decoding: SpellDecoding,
    max_symbols: int,
    skip_bad: bool,
    line_buffered: bool,
    warn: Callable[[Sequence[str]], None],
) -> Iterator[list[str]]:
    """Cells of a line of output for each line of running text: the line, its prediction, the log-probability.

    Args:
        speller, decoding, max_symbols: see `rewrite`.
        files: paths; `-` is standard input.
        skip_bad: skip lines that cannot be read, and warn of them at the end.
        line_buffered: predict each line before reading the next.
        warn: called with sentences.
    Raises:
        DataError: a file or line cannot be read; the lines before it are predicted first.
    """
    cut: set[str] = set()
    for file in files:
        label = "standard input" if file == STANDARD_INPUT else file
        bad: list[Line] = []
        with ExitStack() as stack:
            stream: Any = sys.stdin.buffer if file == STANDARD_INPUT else stack.enter_context(open_binary(file))
            lines = number_lines(stream, path=label)
            while held := list(islice(lines, 1 if line_buffered else LINES)):
                first = next((line for line in held if line.problem), None)
                good = [line.text for line in held if not line.problem]
                if first is not None and not skip_bad:
                    good = [line.text for line in held[: held.index(first)]]
                for each in rewrite(speller, good, decoding=decoding, max_symbols=max_symbols):
                    cut.update(word for word, found in each.words.items() if not found.best.finished)
                    yield [each.text, each.prediction, f"{each.log_probability:.4f}"]
                if first is not None and not skip_bad:
                    hint = "Fix the line, or pass --skip-bad."
                    raise DataError(f"{first.problem}.", hint=hint, path=label, line=first.number)
                bad += [line for line in held if line.problem]
        if bad:
            warn([f"{label}:{bad[0].number}: {bad[0].problem}. Skipped {len(bad)} unreadable lines, this one first."])
    warn(cut_warnings(len(cut)))
