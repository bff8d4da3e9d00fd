"""The store that people keep: patterns with labels and values, recalled from cues, changed, saved and searched.

    from triptych.memory import Index, Memory

`memory` is the whole, `results` what it answers. `entries` are its rows, in `shards` at the precision they are kept
with, after `normalisation`. `blockwise` is attention over all shards, `novelty` the calibrated threshold. `folder` is a
memory on disk, which `manifest` describes and `shard_files` holds. `index` is a faster, approximate search, built by
`searchers` and kept by `index_store`. `pattern_files` reads patterns and cues.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from triptych.memory.index import Index
    from triptych.memory.memory import Memory

__all__ = ["Index", "Memory"]


def __getattr__(name: str) -> Any:
    """Found on first use, so that `import triptych.memory` alone does not import PyTorch."""
    if name in __all__:
        return getattr(importlib.import_module(f"triptych.memory.{name.lower()}"), name)
    raise AttributeError(f"module 'triptych.memory' has no attribute {name!r}")
