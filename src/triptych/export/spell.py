"""The panel `spell` to ONNX: two graphs per network, several networks for an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from triptych.config import SpellRecipe
from triptych.errors import TriptychError
from triptych.export import monotonic, transducer
from triptych.export.quantize import Change, Cost
from triptych.report.comparison import differences
from triptych.runtime.folder import Exported
from triptych.runtime.network import Network
from triptych.runtime.speller import Speller as ExportedSpeller
from triptych.runtime.speller import load as load_exported
from triptych.spell.build import Network as TorchNetwork
from triptych.spell.corpus import Corpus, Item
from triptych.spell.decoding.contract import SourceBatch
from triptych.spell.ensemble import Ensemble
from triptych.spell.metrics import ItemResult, errors_of, score
from triptych.spell.monotonic import MonotonicTransducer
from triptych.spell.panel import results_of
from triptych.spell.speller import Speller

TOLERANCE = 1e-5
SHAPES = ((1, 1), (3, 7), (8, 4))  # batch and source length of the inputs that an export is checked on
STEPS = 4


def write(speller: Speller, folder: Path) -> dict[str, Any]:
    """Write the graphs of a speller's networks into a folder.

    Returns:
        What `triptych.runtime.speller` needs to read them, as plain values for JSON.
    """
    networks = networks_of(speller)
    members = []
    for number, network in enumerate(networks):
        prefix = "" if len(networks) == 1 else f"member{number}-"
        names = {"encoder": f"{prefix}encoder.onnx", "step": f"{prefix}step.onnx"}
        walks = isinstance(network, MonotonicTransducer)
        for part, file in names.items():
            graph_of(network, part).save(folder / file)
        members.append({**names, "boundaries": walks})
    return {"members": members, **speller.vocabularies.to_dict(), "decoding": speller.decoding.model_dump()}


def graph_of(network: TorchNetwork, part: str) -> Any:
    """The graph of one part, `encoder` or `step`, of a network."""
    if isinstance(network, MonotonicTransducer):
        return monotonic.encoder_graph(network) if part == "encoder" else monotonic.step_graph(network)
    return transducer.encoder_graph(network) if part == "encoder" else transducer.step_graph(network)


def networks_of(speller: Speller) -> Sequence[TorchNetwork]:
    """The networks of a loaded run: one, or the members of an ensemble."""
    return speller.model.members if isinstance(speller.model, Ensemble) else (speller.model,)  # type: ignore[return-value]


def verify(speller: Speller, exported: Exported) -> float:
    """The largest difference from PyTorch over random sources: |a - b| / (1 + |b|), log-probabilities and attention.

    Raises:
        TriptychError: it is more than the tolerance, 1e-5.
    """
    largest = 0.0
    for number, network in enumerate(networks_of(speller)):
        member = exported.model["members"][number]
        graphs = Network(
            exported.session(member["encoder"], threads=1),
            exported.session(member["step"], threads=1),
            boundaries=member["boundaries"],
        )
        for seed, (rows, length) in enumerate(SHAPES):
            largest = max(largest, difference(network, graphs, rows=rows, length=length, seed=seed))
    if not largest <= TOLERANCE:
        raise TriptychError(
            f"the exported graphs differ from PyTorch by {largest:.2g}; expected at most {TOLERANCE:g}. "
            "Nothing was written. Check that the model's weights are finite."
        )
    return largest


@torch.inference_mode()
def difference(network: TorchNetwork, graphs: Network, *, rows: int, length: int, seed: int) -> float:
    """How far graphs are from their network: |a - b| / (1 + |b|), over a few steps with random symbols, one batch.

    Args:
        network: in evaluation mode.
        graphs: exported from it.
        rows: B.
        length: S, of the longest source; the others are shorter.
        seed: of sources and symbols.
    """
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, length + 1, rows)
    lengths[0] = length
    symbols = draw.integers(3, network.encoder.embedding.num_embeddings, (rows, length))
    symbols[np.arange(length) >= lengths[:, None]] = 0
    state = network.start(SourceBatch(torch.from_numpy(symbols), torch.from_numpy(lengths)))
    other = graphs.start(symbols, lengths)
    fed = np.full(rows, 1)
    largest = 0.0
    for _ in range(STEPS):
        wanted, state = network.step(torch.from_numpy(fed), state)  # type: ignore[arg-type]
        found, other = graphs.step(fed, other)
        largest = max(largest, _distance(wanted.numpy(), found))
        if state.attention is not None and other.attention is not None:
            largest = max(largest, _distance(state.attention.numpy(), other.attention))
        elif (state.attention is None) != (other.attention is None):
            return float("inf")
        fed = draw.integers(2, network.decoder.embedding.num_embeddings, rows)
    return largest


def cost(before: Exported, after: Exported, recipe: SpellRecipe, data: Corpus, *, split: str) -> Cost:
    """Error rates on a split before and after quantisation, under the model's own decoding."""
    items = data.items(split, references=recipe.data.references)
    first, second = (judged(load_exported(exported), items) for exported in (before, after))
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


def judged(speller: ExportedSpeller, items: Sequence[Item]) -> list[ItemResult]:
    """What an exported speller predicts for some items."""
    return results_of(items, speller.predict([item.source for item in items]))


def _distance(wanted: Any, found: Any) -> float:
    """Largest |a - b| / (1 + |b|); equal infinities are no distance, other non-finite values an infinite one."""
    if wanted.shape != found.shape:
        return float("inf")
    same = wanted == found
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(wanted - found) / (1 + np.abs(wanted)))
    return float(np.nan_to_num(apart, nan=np.inf).max(initial=0.0))
