"""How fast `spell` trains and decodes, as ratios measured in one run.

python benchmarks/spell.py                          10,000 pairs of the embedded CMUdict, five repeats
python benchmarks/spell.py --quick                  fewer pairs and repeats: a look, not a result
python benchmarks/spell.py --data DIR --json        DIR holds train.tsv, valid.tsv and perhaps test.tsv
python benchmarks/spell.py --yoyodyne ENVIRONMENT   against yoyodyne 0.5 too, from a virtual environment of its own

Everything runs on as many threads as PyTorch takes; set OMP_NUM_THREADS=1 for figures of one core.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from epoch_timer import EpochTimer
from plain_spell import PlainTransducer, plain_loader, train_plain_epoch
from timing import Result, Task, in_fresh_process, interleaved, peak_memory_mib, show, speedup, spread, timed
from yoyodyne_spell import Yoyodyne, find_program

from triptych.config import SpellDecoding, SpellRecipe, load_recipe
from triptych.config.common import decided
from triptych.decoding import Speller
from triptych.errors import TriptychError
from triptych.runs.run import Run
from triptych.spell.batches import EncodedPairs, PairBatch
from triptych.spell.corpus import Corpus, load_corpus
from triptych.spell.metrics import nearest_reference
from triptych.spell.panel import PANEL
from triptych.text.symbols import Vocabularies
from triptych.training.fit import fit
from triptych.training.objective import Prepared
from triptych.training.output import Output

RECIPE = "p2g-additive"  # S2
WARM_UP_BATCHES = 5
BEAM_SIZE = 5

Seconds = Mapping[str, Sequence[float]]
Details = dict[str, float | int | str]


@dataclass(frozen=True)
class Size:
    """How much to measure: training pairs, validation pairs, words to decode, repeats."""

    train_pairs: int = 10_000
    valid_pairs: int = 1_000
    words: int = 1_000
    repeats: int = 5


QUICK = Size(train_pairs=2_000, valid_pairs=200, words=250, repeats=3)


@dataclass(frozen=True)
class Subject:
    """What is measured: a recipe with its data, ready to train.

    Attributes:
        words: different sources that training has not shown.
        folder: for runs and other files, thrown away at the end.
    """

    recipe: SpellRecipe
    corpus: Corpus
    prepared: Prepared
    vocabularies: Vocabularies
    words: Sequence[tuple[str, ...]]
    folder: Path

    @property
    def pairs(self) -> int:
        """Training pairs in an epoch."""
        return len(self.corpus.splits["train"])

    @property
    def run(self) -> Run:
        """The run that training fills anew in every repeat."""
        return Run(self.folder / "run")

    def parameters(self) -> int:
        """Numbers that training adjusts."""
        return sum(parameter.numel() for parameter in self.prepared.objective.network.parameters())


def prepare(data: Path | None, size: Size, folder: Path) -> Subject:
    """Read the data and build the network."""
    changes = [f"data.max_train_pairs={size.train_pairs}", f"data.max_eval_pairs={size.valid_pairs}"]
    if data is None:
        changes.append('data.set="cmudict"')
    recipe = load_recipe(RECIPE, [*changes, "training.epochs=2"])
    assert isinstance(recipe, SpellRecipe)
    corpus = load_corpus(recipe.data, data)
    prepared = PANEL.build(recipe, PANEL.read(recipe, data))
    vocabularies = Vocabularies.from_dict(prepared.description, folder / "model.json")
    unseen = [pair.source for split in ("test", "valid") for pair in corpus.splits.get(split, ())]
    return Subject(recipe, corpus, prepared, vocabularies, list(dict.fromkeys(unseen))[: size.words], folder)


def fit_task(subject: Subject) -> Task:
    """Training through the real path into a run directory; the second epoch counts, without its validation."""

    def task() -> float:
        timer = EpochTimer()
        run = Run.create(str(subject.run.path), force=True)
        run.write_recipe(subject.recipe)
        run.write_model(PANEL.name, subject.prepared.description)
        fit(
            subject.prepared.objective,
            subject.prepared.loaders,
            optimizer=subject.recipe.optimizer,
            training=subject.recipe.training,
            run=run,
            output=Output(callbacks=(timer,)),
        )
        return timer.seconds[1]

    return task


def floor_task(subject: Subject) -> Task:
    """Forward and backward of the same modules on batches made beforehand: no loader, no optimizer, no trainer."""
    objective = subject.prepared.objective
    batches: list[PairBatch] = list(subject.prepared.loaders.train(0, 1))

    def work(some: Sequence[PairBatch]) -> None:
        objective.network.train()
        for batch in some:
            objective.network.zero_grad()
            share = objective.loss(batch)
            torch.autograd.backward(torch.as_tensor(share.total / share.count))

    work(batches[:WARM_UP_BATCHES])
    return timed(lambda: work(batches))


def plain_task(subject: Subject) -> Task:
    """An epoch of the plain loop over the same pairs, at the same sizes and with the same optimizer."""
    vocabularies, model, settings = subject.vocabularies, subject.recipe.model, subject.recipe.optimizer
    encoded = EncodedPairs(subject.corpus.splits["train"], vocabularies.sources, vocabularies.targets)
    pairs = list(zip(encoded.sources, encoded.targets, strict=True))
    plain = PlainTransducer(
        len(vocabularies.sources),
        len(vocabularies.targets),
        hidden=decided(model.hidden, "model.hidden"),
        dropout=decided(model.dropout, "model.dropout"),
    )
    optimizer = torch.optim.Adam(plain.parameters(), lr=settings.learning_rate)
    batch_size = subject.recipe.training.items_per_update
    train_plain_epoch(plain, plain_loader(pairs[: WARM_UP_BATCHES * batch_size], batch_size), optimizer)
    batches = plain_loader(pairs, batch_size)
    return timed(lambda: train_plain_epoch(plain, batches, optimizer))


def training_results(subject: Subject, repeats: int, yoyodyne: Yoyodyne | None) -> list[Result]:
    """Pairs per second; leaves a trained model in the subject's run."""
    tasks = {"fit": fit_task(subject), "plain loop": plain_task(subject), "floor": floor_task(subject)}
    if yoyodyne is not None:
        tasks |= {"yoyodyne": yoyodyne.training_task()}
    seconds = interleaved(tasks, repeats)

    def result(other: str, target: float, more: Details) -> Result:
        rates = {name: round(subject.pairs / statistics.median(seconds[name])) for name in ("fit", other)}
        details: Details = {
            "pairs_per_second": rates["fit"],
            "other_pairs_per_second": rates[other],
            "spread": spread(seconds[other], seconds["fit"]),
            "threads": torch.get_num_threads(),
        }
        name = f"training over {other}"
        return Result(name, speedup(seconds[other], seconds["fit"]), target, details | more)

    results = [result("plain loop", 4.0, {}), result("floor", 0.8, {})]
    if yoyodyne is not None:
        counts: Details = {"parameters": subject.parameters(), "other_parameters": yoyodyne.parameters}
        results.append(result("yoyodyne", 2.5, counts))
    return results


def decodings(subject: Subject) -> dict[str, SpellDecoding]:
    """The ways to decode that are measured."""
    greedy = subject.recipe.decoding.model_copy(update={"method": "greedy"})
    return {"greedy": greedy, "beam 5": greedy.model_copy(update={"method": "beam", "beam_size": BEAM_SIZE})}


def together_task(speller: Speller, words: Sequence[tuple[str, ...]], decoding: SpellDecoding) -> Task:
    """Decode all words in batches."""
    return timed(lambda: speller.predict(words, decoding=decoding))


def one_by_one_task(speller: Speller, words: Sequence[tuple[str, ...]], decoding: SpellDecoding) -> Task:
    """Decode each word by itself."""
    return timed(lambda: [speller.predict([word], decoding=decoding) for word in words])


def decoding_memory_mib(run: Path, words: Sequence[tuple[str, ...]], decoding: SpellDecoding) -> tuple[float, float]:
    """Peak memory once a model is loaded and has decoded a word, and after decoding all words in batches."""
    speller = PANEL.load(Run(run))
    speller.predict(words[:1], decoding=decoding)
    before = peak_memory_mib()
    speller.predict(words, decoding=decoding)
    return before, peak_memory_mib()


def decoding_results(subject: Subject, repeats: int, yoyodyne: Yoyodyne | None) -> list[Result]:
    """Words per second of the model that training left."""
    speller, words = PANEL.load(subject.run), subject.words
    targets = {"greedy": (15.0, 3.0), "beam 5": (8.0, 15.0)}
    tasks: dict[str, Task] = {}
    for name, decoding in decodings(subject).items():
        speller.predict(words[:WARM_UP_BATCHES], decoding=decoding)
        tasks[name] = together_task(speller, words, decoding)
        tasks[f"{name} one by one"] = one_by_one_task(speller, words, decoding)
        if yoyodyne is not None:
            tasks[f"{name} yoyodyne"] = yoyodyne.prediction_task(BEAM_SIZE if decoding.method == "beam" else 1)
    seconds = interleaved(tasks, repeats)
    results = []
    for name, decoding in decodings(subject).items():
        before, after = in_fresh_process(decoding_memory_mib, subject.run.path, words, decoding)
        memory: Details = {"peak_mib": round(after), "increase_mib": round(after - before)}
        results.append(_decoding_result(name, "one by one", seconds, len(words), targets[name][0], memory))
        if yoyodyne is not None:
            results.append(_decoding_result(name, "yoyodyne", seconds, len(words), targets[name][1], {}))
    return results


def _decoding_result(name: str, other: str, seconds: Seconds, words: int, target: float, more: Details) -> Result:
    threads = torch.get_num_threads()
    ours, theirs = seconds[name], seconds[f"{name} {other}"]
    details: Details = {
        "words_per_second_per_core": round(words / statistics.median(ours) / threads),
        "other_words_per_second": round(words / statistics.median(theirs)),
        "spread": spread(theirs, ours),
        "threads": threads,
    }
    return Result(f"{name} over {other}", speedup(theirs, ours), target, details | more)


def numpy_edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Levenshtein distance by the textbook recurrence, cell by cell."""
    table = np.zeros((len(a) + 1, len(b) + 1), dtype=np.int64)
    table[:, 0] = np.arange(len(a) + 1)
    table[0, :] = np.arange(len(b) + 1)
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            substituted = table[i - 1, j - 1] + (a[i - 1] != b[j - 1])
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, substituted)
    return int(table[-1, -1])


def edit_distance_result(subject: Subject, count: int, repeats: int) -> Result:
    """The edit distance behind every error rate, between targets drawn at random."""
    drawn, pool = random.Random(0), subject.corpus.splits["train"]
    pairs = [(drawn.choice(pool).target, drawn.choice(pool).target) for _ in range(count)]

    def ours() -> list[int]:
        return [nearest_reference(a, (b,)).edits for a, b in pairs]

    def loop() -> list[int]:
        return [numpy_edit_distance(a, b) for a, b in pairs]

    assert ours() == loop()
    seconds = interleaved({"rapidfuzz": timed(ours), "numpy loop": timed(loop)}, repeats)
    details: Details = {
        "pairs_per_second": round(count / statistics.median(seconds["rapidfuzz"])),
        "other_pairs_per_second": round(count / statistics.median(seconds["numpy loop"])),
        "spread": spread(seconds["numpy loop"], seconds["rapidfuzz"]),
    }
    return Result("edit distance over numpy loop", speedup(seconds["numpy loop"], seconds["rapidfuzz"]), None, details)


def measure(data: Path | None, size: Size, environment: Path | None) -> list[Result]:
    """All ratios."""
    if environment is not None:
        find_program(environment)  # before minutes of measuring
    with tempfile.TemporaryDirectory() as folder:
        subject = prepare(data, size, Path(folder))
        yoyodyne = None
        if environment is not None:
            pairs = subject.corpus.splits["train"]
            yoyodyne = Yoyodyne(environment, Path(folder) / "yoyodyne", pairs, subject.words)
        return [
            *training_results(subject, size.repeats, yoyodyne),
            *decoding_results(subject, size.repeats, yoyodyne),
            edit_distance_result(subject, size.words, size.repeats),
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 whatever the ratios are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train.tsv, valid.tsv and test.tsv; CMUdict without it")
    parser.add_argument("--repeats", type=int, help=f"times that everything is run (default {Size.repeats})")
    parser.add_argument("--quick", action="store_true", help="fewer pairs, words and repeats")
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("--yoyodyne", type=Path, help="virtual environment with yoyodyne 0.5 to compare with")
    given: Any = parser.parse_args(arguments)
    if given.repeats is not None and given.repeats < 1:
        parser.error(f"--repeats is {given.repeats}; expected an integer >= 1.")
    size = QUICK if given.quick else Size()
    if given.repeats is not None:
        size = Size(size.train_pairs, size.valid_pairs, size.words, given.repeats)
    try:
        show(measure(given.data, size, given.yoyodyne), as_json=given.json)
    except TriptychError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
