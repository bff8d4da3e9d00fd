"""An index that is kept finds what it found before, and is refused where it does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.memory.test_index import KINDS, problem
from triptych.errors import DataError
from triptych.memory.index import Index, Kind
from triptych.memory.index_store import is_fresh, load_index, read_manifest, save_index
from triptych.memory.memory import Memory


def stored(folder: Path, count: int = 400) -> Memory:
    x, _ = problem(count)
    memory = Memory(x, beta=20.0, labels=range(count))
    memory.remove([1, 5])
    memory.save(folder)
    return Memory.load(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_index_answers_as_before(tmp_path: Path, kind: Kind) -> None:
    memory = stored(tmp_path / "store")
    _, cue = problem(400, noise=0.5)
    index = Index(memory, kind=kind, lists=10, effort={"flat": 1, "hnsw": 20}.get(kind, 3))
    save_index(index)
    again = load_index(Memory.load(tmp_path / "store"))
    assert (again.kind, again.effort, again.lists) == (kind, index.effort, index.lists)
    for name, value in vars(index.retrieve(cue, k=7, verify=True)).items():
        other = getattr(again.retrieve(cue, k=7, verify=True), name)
        assert value.equal(other) if isinstance(value, torch.Tensor) else value == other, name


def test_an_index_is_fresh_until_the_patterns_change(tmp_path: Path) -> None:
    memory = stored(tmp_path / "store")
    assert read_manifest(memory) is None
    with pytest.raises(DataError, match=r"the memory has no index; expected one. Build it with: triptych memory index"):
        load_index(memory)
    save_index(Index(memory, kind="flat"))
    x, _ = problem(100)
    memory.calibrate(x)
    memory.save(tmp_path / "store")
    kept = read_manifest(memory)
    assert kept is not None
    assert is_fresh(kept, Memory.load(tmp_path / "store")), "beta and threshold are no patterns"
    for change in (lambda: memory.add(x[:1]), lambda: memory.remove([7])):
        change()
        assert not is_fresh(kept, memory)
        memory.save(tmp_path / "store")
        with pytest.raises(DataError, match=r"the index is of other patterns than the memory has now. Build it anew"):
            load_index(Memory.load(tmp_path / "store"))
        kept = save_index(Index(memory, kind="flat"))
        assert is_fresh(kept, Memory.load(tmp_path / "store"))
    assert len(list((tmp_path / "store" / "index").iterdir())) == 2, "files of older indexes are gone"


def test_only_a_stored_memory_keeps_an_index(tmp_path: Path) -> None:
    x, _ = problem(100)
    memory = Memory(x, beta=1.0)
    with pytest.raises(DataError, match="the memory is not on disk"):
        save_index(Index(memory, kind="flat"))
    memory.save(tmp_path / "store")
    memory.add(x[:1])
    with pytest.raises(DataError, match="patterns that are not on disk"):
        save_index(Index(memory, kind="flat"))
    index = Index(memory, kind="flat")
    memory.add(x[:1])
    with pytest.raises(DataError, match="has changed since its index was built"):
        save_index(index)


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "lists", "text", "key"])
def test_a_damaged_index_is_told(tmp_path: Path, damage: str) -> None:
    memory = stored(tmp_path / "store")
    save_index(Index(memory, kind="ivf", lists=4))
    folder = tmp_path / "store" / "index"
    searcher, lists, manifest = (next(folder.glob(f"*.{kind}")) for kind in ("faiss", "safetensors", "json"))
    content = searcher.read_bytes()
    match damage:
        case "cut":
            searcher.write_bytes(content[:-7])
        case "changed":
            searcher.write_bytes(content[:-7] + bytes(7))
        case "missing":
            searcher.unlink()
        case "lists":
            lists.write_bytes(lists.read_bytes()[:-7])
        case "text":
            manifest.write_text("{")
        case "key":
            manifest.write_text(manifest.read_text().replace('"effort"', '"efort"'))
    with pytest.raises(DataError) as raised:
        load_index(Memory.load(tmp_path / "store"))
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)
