"""Training pairs kept in a run: each source with its targets, the most frequent first, as lines of JSON, packed."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from triptych.errors import RunError
from triptych.text.pairs import Pair
from triptych.text.symbols import Vocabularies

FILE = "remembered.jsonl.gz"
FILES = "files"  # of a model's description: SHA-256 and size of each file beside the tensors
Symbols = tuple[str, ...]
Entry = tuple[Symbols, Symbols]


def by_frequency(pairs: Iterable[Pair]) -> list[Entry]:
    """Different pairs: sources in the order of the data, each with its most frequent target first."""
    counts: dict[Symbols, Counter[Symbols]] = {}
    for pair in pairs:
        counts.setdefault(pair.source, Counter())[pair.target] += 1
    return [(source, target) for source, targets in counts.items() for target, _ in targets.most_common()]


def packed(entries: Iterable[Entry], vocabularies: Vocabularies) -> bytes:
    """The content of the file; equal entries give equal bytes."""
    targets: dict[Symbols, list[str]] = {}
    for source, target in entries:
        targets.setdefault(source, []).append(vocabularies.target_tokenizer.pack(target))
    pack = vocabularies.source_tokenizer.pack
    lines = [json.dumps([pack(source), *listed], ensure_ascii=False) for source, listed in targets.items()]
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def fingerprint(content: bytes) -> dict[str, Any]:
    """SHA-256 and size of a file, for the model's description."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def described(files: Mapping[str, bytes]) -> dict[str, Any]:
    """What a model's description says of the files beside its tensors; nothing where there are none."""
    return {FILES: {name: fingerprint(content) for name, content in files.items()}} if files else {}


def read_remembered(folder: Path, description: Mapping[str, Any], vocabularies: Vocabularies) -> list[Entry] | None:
    """Source and target of each entry, of a source the most frequent first; None where nothing is kept.

    Args:
        folder: of the run or of the exported model.
        description: of the model.
        vocabularies: of the model.
    Raises:
        RunError: the file is missing, or is not what the description says.
    """
    content = checked_content(folder / FILE, description)
    if content is None:
        return None
    source, target = vocabularies.source_tokenizer.unpack, vocabularies.target_tokenizer.unpack
    lines = gzip.decompress(content).decode().split("\n")[:-1]
    return [(source(given), target(text)) for given, *targets in map(json.loads, lines) for text in targets]


def checked_content(path: Path, description: Mapping[str, Any]) -> bytes | None:
    """What a file beside a model's tensors holds; None where the model's description has no such file.

    Raises:
        RunError: it is missing, or is not what the description says.
    """
    known = description.get(FILES, {}).get(path.name)
    if known is None:
        return None
    hint = "Restore the file from the same training."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot be read ({error.strerror or error}).", hint=hint, path=path) from None
    found = fingerprint(content)
    if found != known:
        raise RunError(
            f"the file has {found['bytes']} bytes and SHA-256 {found['sha256'][:12]}…; expected {known['bytes']} bytes "
            f"and {str(known['sha256'])[:12]}….",
            hint=hint,
            path=path,
        )
    return content
