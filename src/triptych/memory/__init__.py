"""The store that people keep: patterns with labels and values, recalled from cues, changed, saved and searched.

    from triptych.memory import Index, Memory

`memory` is the whole, `results` what it answers. `entries` are its rows, in `shards` at the precision they are kept
with, after `normalisation`. `blockwise` is attention over all shards, `novelty` the calibrated threshold. `folder` is a
memory on disk, which `manifest` describes and `shard_files` holds. `index` is a faster, approximate search, built by
`searchers` and kept by `index_store`. `pattern_files` reads patterns and cues.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import lazy_loader  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from triptych.memory.index import Index as Index
    from triptych.memory.memory import Memory as Memory

# Found on first use, so that `import triptych.memory` alone does not import PyTorch.
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"index": ["Index"], "memory": ["Memory"]})
