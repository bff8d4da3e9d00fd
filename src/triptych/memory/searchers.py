"""What searches a large memory: indexes built by faiss, and what is known of their lists.

Source: Jegou, Douze and Schmid 2011, Product Quantization for Nearest Neighbor Search, for the codes of "ivf-pq";
Andre, Kermarrec and Le Scouarnec 2015, Cache locality is not enough, for their scan in registers.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from triptych.errors import MissingExtraError, TriptychError
from triptych.memory.blockwise import rows_at
from triptych.memory.memory import Memory
from triptych.memory.shards import NUMBERS_AT_ONCE
from triptych.recall.checks import check_count
from triptych.recall.kernels import blocks

Kind = Literal["flat", "ivf", "ivf-pq", "hnsw"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ROOM = 1e-6  # relative, for float32 rounding
_LINKS = 32  # of a pattern in HNSW
_PART = 2  # coordinates that share one code in "ivf-pq"
_CODE_BITS = 4  # the largest that is scanned in registers
_TRAINING_ROWS = 64  # per list


@dataclass(frozen=True)
class Lists:
    """What the bound knows of the lists: centroids (L, D), radii (L,) and sizes (L,), float64 except the centroids."""

    centroids: Tensor
    radii: Tensor
    sizes: Tensor


@dataclass(frozen=True)
class Built:
    """What searches: faiss's index over the patterns that count, in their order, and its lists if it has some."""

    faiss_index: Any
    lists: Lists | None


def import_faiss() -> ModuleType:
    """The library of the extra `index`; MissingExtraError where it is not installed."""
    try:
        import faiss
    except ImportError:
        raise MissingExtraError("faiss-cpu", "index") from None
    return faiss


def padded(rows: Tensor, kind: Kind) -> Any:
    """Rows as the index takes them: where coordinates share codes, with zeros to a whole number of parts."""
    width = -rows.shape[1] % _PART if kind == "ivf-pq" else 0
    return F.pad(rows, (0, width)).contiguous().numpy()


def build(memory: Memory, kind: Kind, *, lists: int, seed: int) -> Built:
    """Index the patterns that count.

    Args:
        lists: that k-means sorts them into, where the kind has lists.
        seed: of k-means.
    """
    check_count(lists, name="lists")
    if lists > len(memory):
        expected = f"an integer from 1 to {len(memory)}, the number of patterns"
        raise TriptychError(field="lists", value=lists, expected=expected)
    if kind == "ivf-pq" and len(memory) < 2**_CODE_BITS:
        message = f"The memory has {len(memory)} patterns; 'ivf-pq' takes at least {2**_CODE_BITS}, one for each code."
        raise TriptychError(message, field="kind", value=kind, hint="Use 'flat'.")
    places = memory.entries.places()
    faiss = import_faiss()
    index = _empty(faiss, kind, memory.width, lists)
    if kind in ("ivf", "ivf-pq"):
        index.cp.seed, index.cp.min_points_per_centroid = seed, 1
        index.cp.max_points_per_centroid = _TRAINING_ROWS
        rows = max(_TRAINING_ROWS * lists, _TRAINING_ROWS * 2**_CODE_BITS)
        index.train(padded(memory.entries.sample(rows, seed=seed), kind))
    sizes = max(1, NUMBERS_AT_ONCE // memory.width)
    for some in blocks(places.shape[0], sizes):
        index.add(padded(rows_at(memory.shards, places[some]), kind))
    return Built(index, _measured(faiss, index, memory, places) if kind in ("ivf", "ivf-pq") else None)


def _empty(faiss: ModuleType, kind: Kind, width: int, lists: int) -> Any:
    product = faiss.METRIC_INNER_PRODUCT
    match kind:
        case "flat":
            return faiss.IndexFlatIP(width)
        case "hnsw":
            return faiss.IndexHNSWFlat(width, _LINKS, product)
        case "ivf":
            return faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, product)
        case "ivf-pq":
            parts = -(-width // _PART)
            whole = parts * _PART
            index = faiss.IndexIVFPQFastScan(faiss.IndexFlatIP(whole), whole, lists, parts, _CODE_BITS, product)
            index.pq.cp.min_points_per_centroid = 1
            return index


def _measured(faiss: ModuleType, index: Any, memory: Memory, places: Tensor) -> Lists:
    """Radii and sizes of the lists that patterns were sorted into; radii get room for rounding."""
    numbers = torch.empty(places.shape[0], dtype=torch.int64)
    for number in range(index.nlist):
        size = index.invlists.list_size(number)
        if size:
            members = faiss.rev_swig_ptr(index.invlists.get_ids(number), size)
            numbers[torch.from_numpy(members.copy())] = number
    centroids = torch.from_numpy(index.quantizer.reconstruct_n(0, index.nlist))[:, : memory.width].clone()
    radii = torch.zeros(index.nlist, dtype=torch.float64)
    for some in blocks(places.shape[0], max(1, NUMBERS_AT_ONCE // memory.width)):
        rows = rows_at(memory.shards, places[some]).double()
        gaps = torch.linalg.vector_norm(rows - centroids[numbers[some]].double(), dim=1)
        radii.scatter_reduce_(0, numbers[some], gaps, "amax")
    return Lists(centroids, radii * (1 + ROOM), torch.bincount(numbers, minlength=index.nlist).double())
