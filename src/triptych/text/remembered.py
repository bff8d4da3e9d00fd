"""Training pairs kept in a run: each source with its targets, the most frequent first, as lines of JSON, packed."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from triptych.errors import RunError
from triptych.text.pairs import Input, Pair
from triptych.text.symbols import Vocabularies

FILE = "remembered.jsonl.gz"
FILES = "files"  # of a model's description: SHA-256 and size of each file beside the tensors
Symbols = tuple[str, ...]
Entry = tuple[Symbols, Symbols, Symbols]


def by_frequency(pairs: Iterable[Pair]) -> list[Entry]:
    """Different pairs: sources with their features as the data has them, each with its most frequent target first."""
    counts: dict[Input, Counter[Symbols]] = {}
    for pair in pairs:
        counts.setdefault(pair.input, Counter())[pair.target] += 1
    return [
        (given.source, target, given.features)
        for given, targets in counts.items()
        for target, _ in targets.most_common()
    ]


def packed(entries: Iterable[Entry], vocabularies: Vocabularies) -> bytes:
    """The content of the file; equal entries give equal bytes."""
    targets: dict[Input, list[str]] = {}
    for source, target, features in entries:
        targets.setdefault(Input(source, features), []).append(vocabularies.target_tokenizer.pack(target))
    pack = vocabularies.source_tokenizer.pack
    lines = [
        json.dumps([pack(key.source), key.features, *listed], ensure_ascii=False) for key, listed in targets.items()
    ]
    return gzip.compress("".join(f"{line}\n" for line in lines).encode(), mtime=0)


def fingerprint(content: bytes) -> dict[str, Any]:
    """SHA-256 and size of a file, for the model's description."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def described(files: Mapping[str, bytes]) -> dict[str, Any]:
    """What a model's description says of the files beside its tensors; nothing where there are none."""
    return {FILES: {name: fingerprint(content) for name, content in files.items()}} if files else {}


def read_remembered(
    content: Callable[[str], bytes | None], path: Path, description: Mapping[str, Any], vocabularies: Vocabularies
) -> list[Entry] | None:
    """Source, target and features of each entry, the most frequent target first; None where nothing is kept.

    Args:
        content: reads a file of the run or of the exported folder; None where there is none of that name.
        path: of the run or the folder.
        description: of the model.
        vocabularies: of the model.
    Raises:
        RunError: the file is missing, or is not what the description says.
    """
    if FILE not in description.get(FILES, {}):
        return None
    found = checked(content(FILE), path / FILE, description)
    source, target = vocabularies.source_tokenizer.unpack, vocabularies.target_tokenizer.unpack
    lines = gzip.decompress(found).decode().split("\n")[:-1]
    return [
        (source(given), target(text), tuple(features))
        for given, features, *targets in map(json.loads, lines)
        for text in targets
    ]


def checked(content: bytes | None, path: Path, description: Mapping[str, Any]) -> bytes:
    """The content of a file beside a model's tensors, as it was read.

    Raises:
        RunError: it is missing, or is not what the model's description says.
    """
    known, hint = description[FILES][path.name], "Restore the file from the same training."
    if content is None:
        raise RunError("no such file, and the model's description has it.", hint=hint, path=path)
    found = fingerprint(content)
    if found != known:
        raise RunError(
            f"the file has {found['bytes']} bytes and SHA-256 {found['sha256'][:12]}…; expected {known['bytes']} bytes "
            f"and {str(known['sha256'])[:12]}….",
            hint=hint,
            path=path,
        )
    return content
