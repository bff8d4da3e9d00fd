"""The panel `spell` to ONNX: two graphs per network, several networks for an ensemble."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from triptych.config import SpellDecoding, SpellRecipe
from triptych.decoding import Sources, Speller, StepModel, decode
from triptych.decoding.contract import END, START, Array
from triptych.decoding.given import encoded
from triptych.decoding.voting import MEMBERS, Voting
from triptych.errors import TriptychError
from triptych.export import monotonic, transducer
from triptych.export.folder import Use
from triptych.export.quantize import Change, Cost
from triptych.report.comparison import differences
from triptych.runs.run import Run
from triptych.runtime.folder import Exported
from triptych.runtime.speller import load as load_exported
from triptych.spell.adapter import TorchModel, networks_of
from triptych.spell.build import Network
from triptych.spell.corpus import Corpus, Item
from triptych.spell.evaluating import predictions_of, results_of
from triptych.spell.metrics import ItemResult, errors_of, score
from triptych.spell.monotonic import MonotonicTransducer
from triptych.text import remembered
from triptych.text.pairs import Input

TOLERANCE = 1e-5
SHAPES = ((1, 1), (3, 7), (8, 4))  # number and length of the random sources that an export is checked on
OWN_SOURCES = 64  # of the run's predictions, that it is checked on too
STEPS = 6
LOWEST = -69.0  # log of 1e-30: less probable symbols are impossible ones, in single precision
UNSEEN = "\N{REPLACEMENT CHARACTER}"  # a symbol that no training showed
LISTS = SpellDecoding(method="beam", beam_size=5, n_best=3)


def write(speller: Speller, folder: Path) -> dict[str, Any]:
    """Write the graphs of a speller's networks into a folder.

    Returns:
        What `triptych.runtime.speller` needs to read them, as plain values for JSON.
    """
    networks = networks_of(speller.model)
    members = []
    for number, network in enumerate(networks):
        prefix = "" if len(networks) == 1 else f"member{number}-"
        names = {"encoder": f"{prefix}encoder.onnx", "step": f"{prefix}step.onnx"}
        walks = isinstance(network, MonotonicTransducer)
        for part, file in names.items():
            graph_of(network, part).save(folder / file)
        members.append({**names, "boundaries": walks})
    files = {}
    if speller.remembered is not None:
        files[remembered.FILE] = remembered.packed(speller.remembered.entries(), speller.vocabularies)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    voting = {}
    if isinstance(speller, Voting):
        voting[MEMBERS] = [member.vocabularies.to_dict() for member in speller.members]
    return {
        "members": members,
        **voting,
        **speller.vocabularies.to_dict(),
        **remembered.described(files),
        "decoding": speller.decoding.model_dump(),
    }


def use(description: Mapping[str, Any]) -> Use:
    """How an exported speller is used."""
    units = (description[side].get("unit") for side in ("source_tokenizer", "target_tokenizer"))
    languages = description.get("languages", ())
    features = ', features=["..."]' if len(description.get("features", ())) > len(languages) else ""
    features += f", language={languages[0]!r}" if languages else ""
    return Use(f'predict(["..."]{features})', ("regex",) if "graphemes" in units else ())


def graph_of(network: Network, part: str) -> Any:
    """The graph of one part, `encoder` or `step`, of a network."""
    if isinstance(network, MonotonicTransducer):
        return monotonic.encoder_graph(network) if part == "encoder" else monotonic.step_graph(network)
    return transducer.encoder_graph(network) if part == "encoder" else transducer.step_graph(network)


def verify(speller: Speller, exported: Exported, run: Run | None = None) -> dict[str, Any]:
    """Compare exported graphs with PyTorch on random sources and on sources that the run has predicted.

    Every step's log-probabilities and attention are compared along targets that the model writes itself, most probable
    and drawn ones. Targets that it never writes would not do: what a monotonic model makes of a symbol that it thinks
    impossible (log-probability below -46) is the rounding of numbers close to 0, in PyTorch as well as in the graphs.
    The n-best lists of whole spellers are compared too, and counted.

    Raises:
        TriptychError: a step differs by more than the tolerance, 1e-5.
    """
    found = load_exported(exported)
    batches = [_random_sources(speller, rows, length, seed) for seed, (rows, length) in enumerate(SHAPES)]
    own = None if run is None else _own_sources(speller, run)
    batches += [] if own is None else [own]
    graphs = getattr(found.model, "members", (found.model,))
    largest = 0.0
    for network, graph in zip(networks_of(speller.model), graphs, strict=True):
        for seed, sources in enumerate(batches):
            for drawn in (False, True):
                largest = max(largest, difference(TorchModel(network), graph, sources, seed=seed, drawn=drawn))
    lists, differing = _compare_lists(speller, found, batches) if np.isfinite(largest) else (0, 0)
    if not largest <= TOLERANCE:
        raise TriptychError(
            f"the exported graphs differ from PyTorch by {largest:.2g}; expected at most {TOLERANCE:g}. "
            f"{LISTS.n_best}-best lists of {differing} of {lists} sources differ. Nothing was written.",
            hint="Check that the model's weights are finite.",
        )
    return {"difference": largest, "lists_compared": lists, "lists_that_differ": differing}


def difference(
    model: StepModel[Any], graphs: StepModel[Any], sources: Sources, *, seed: int = 0, drawn: bool = False
) -> float:
    """How far graphs are from their network: |a - b| / (1 + |b|), over a few steps of one batch.

    Args:
        model: the network.
        graphs: exported from it.
        sources: B of them.
        seed: of the drawn symbols.
        drawn: feed symbols drawn from the network's distribution; otherwise its most probable ones.
    """
    random = np.random.default_rng(seed)
    state, other = model.start(sources), graphs.start(sources)
    fed = np.full(len(sources), START)
    largest = 0.0
    for _ in range(STEPS):
        wanted, state = model.step(fed, state)
        found, other = graphs.step(fed, other)
        largest = max(largest, _distance(np.maximum(wanted, LOWEST), np.maximum(found, LOWEST)))
        weights, other_weights = state.attention, other.attention
        if (weights is None) != (other_weights is None):
            return float("inf")
        if weights is not None and other_weights is not None:
            largest = max(largest, _distance(weights, other_weights))
        if not np.isfinite(largest):
            return float("inf")
        fed = _next_symbols(wanted, random if drawn else None)
    return largest


def _next_symbols(log_probs: Array, random: np.random.Generator | None) -> Array:
    """The most probable symbol of each row, or a drawn one; the end symbol is fed on like any other."""
    if random is None:
        others = log_probs.copy()
        others[:, END] = -np.inf
        return np.asarray(others.argmax(1))
    cumulative = np.exp(log_probs.astype(np.float64)).cumsum(1)
    return np.asarray((cumulative <= random.random((len(log_probs), 1)) * cumulative[:, -1:]).sum(1))


def _random_sources(speller: Speller, rows: int, length: int, seed: int) -> Sources:
    """Sources of random symbols: one of that length, and shorter ones."""
    random = np.random.default_rng(seed)
    vocabularies = speller.vocabularies
    lengths = [length, *random.integers(1, length + 1, rows - 1).tolist()]
    known, features = vocabularies.sources.symbols, vocabularies.features
    symbols = [*known, UNSEEN, UNSEEN * 2]
    inputs = [
        Input(
            tuple(random.choice(symbols, count).tolist()),
            () if features is None else tuple(random.choice([*features.symbols, UNSEEN], count % 4).tolist()),
        )
        for count in lengths
    ]
    return encoded(speller.model, vocabularies, inputs)


def _own_sources(speller: Speller, run: Run) -> Sources | None:
    """The first sources that a run has predicted; None where it has predicted nothing."""
    vocabularies = speller.vocabularies
    for path in sorted((run.path / "predictions").glob("*.tsv")):
        with path.open(encoding="utf-8", newline="") as stream:
            rows = list(islice(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE), OWN_SOURCES))
        if not rows:  # of a list of errors without any
            continue
        inputs = [
            Input(
                vocabularies.source_tokenizer.split(row.get("source") or "") or (UNSEEN,),
                vocabularies.split_features(row.get("features") or ""),
            )
            for row in rows
        ]
        return encoded(speller.model, vocabularies, inputs)
    return None


def _compare_lists(speller: Speller, found: Speller, batches: Sequence[Sources]) -> tuple[int, int]:
    """Number of sources, and of those whose n-best lists differ."""
    lists, differing = 0, 0
    for sources in batches:
        wanted, given = decode(speller.model, sources, LISTS), decode(found.model, sources, LISTS)
        lists += len(sources)
        differing += sum([h.symbols for h in a] != [h.symbols for h in b] for a, b in zip(wanted, given, strict=True))
    return lists, differing


def cost(before: Exported, after: Exported, recipe: SpellRecipe, data: Corpus, *, split: str) -> Cost:
    """Error rates on a split before and after quantisation, under the model's own decoding."""
    items = data.items(split, references=recipe.data.references)
    first, second = (predicted(load_exported(exported), items) for exported in (before, after))
    scores, other_scores = score(first), score(second)
    paired = differences(errors_of(first), errors_of(second))
    return Cost(
        split,
        len(items),
        sum(a.predictions[0] != b.predictions[0] for a, b in zip(first, second, strict=True)),
        {
            "CER": Change(scores.cer, other_scores.cer, paired["CER"]),
            "WER": Change(scores.wer, other_scores.wer, paired["WER"]),
        },
    )


def predicted(speller: Speller, items: Sequence[Item]) -> list[ItemResult]:
    """Predictions of a speller for some items."""
    return results_of(items, predictions_of(speller, items), speller.vocabularies)


def _distance(wanted: Any, found: Any) -> float:
    """Largest |a - b| / (1 + |b|); equal infinities have distance 0, other non-finite values an infinite one."""
    if wanted.shape != found.shape:
        return float("inf")
    same = wanted == found
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(wanted - found) / (1 + np.abs(wanted)))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))
