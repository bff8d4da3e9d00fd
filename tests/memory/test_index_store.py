"""An index that is kept finds what it found before, and is refused where it does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.memory.test_index import KINDS, problem
from tests.messages import check_message
from triptych.errors import DataError
from triptych.memory.index import Index, Kind
from triptych.memory.index_store import is_fresh, load_index, read_manifest, save_index, unused_files
from triptych.memory.memory import Memory
from triptych.memory.searchers import import_faiss


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
    with pytest.raises(DataError) as caught:
        load_index(memory)
    check_message("memory.no-index", caught.value, tmp_path)
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
        with pytest.raises(DataError) as caught:
            load_index(Memory.load(tmp_path / "store"))
        check_message("memory.index-of-other-patterns", caught.value, tmp_path)
        kept = save_index(Index(memory, kind="flat"))
        assert is_fresh(kept, Memory.load(tmp_path / "store"))
    assert len(list((tmp_path / "store" / "index").iterdir())) == 2, "files of older indexes are gone"


def test_only_a_stored_memory_keeps_an_index(tmp_path: Path) -> None:
    x, _ = problem(100)
    memory = Memory(x, beta=1.0)
    with pytest.raises(DataError) as caught:
        save_index(Index(memory, kind="flat"))
    check_message("memory.index-without-folder", caught.value)
    memory.save(tmp_path / "store")
    memory.add(x[:1])
    with pytest.raises(DataError) as caught:
        save_index(Index(memory, kind="flat"))
    check_message("memory.index-unsaved-patterns", caught.value)
    index = Index(memory, kind="flat")
    memory.add(x[:1])
    with pytest.raises(DataError) as caught:
        save_index(index)
    check_message("memory.index-of-a-changed-memory", caught.value)


def test_files_of_killed_builders_are_deleted(tmp_path: Path) -> None:
    memory = stored(tmp_path / "store")
    folder = tmp_path / "store" / "index"
    folder.mkdir()
    (folder / ".0123456789abcdef.5e2c.faiss").write_bytes(bytes(100))  # as a killed writer leaves its temporary file
    (folder / "0123456789abcdef.faiss").write_bytes(bytes(100))
    kept = save_index(Index(memory, kind="flat"))
    assert {path.name for path in folder.iterdir()} == {"index.json", kept.searcher.name}
    (folder / "0123456789abcdef.faiss").write_bytes(bytes(100))
    assert unused_files(folder) == ["0123456789abcdef.faiss"]


def test_an_index_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = stored(tmp_path / "store")
    first = save_index(Index(memory, kind="flat"))

    def full(*_: object) -> None:
        raise RuntimeError("Error in virtual size_t faiss::FileIOWriter: No space left on device")

    monkeypatch.setattr(import_faiss(), "write_index", full)
    with pytest.raises(DataError) as caught:
        save_index(Index(memory, kind="hnsw"))
    assert caught.value.path is not None
    assert "No space left" in str(caught.value)
    names = {path.name for path in (tmp_path / "store" / "index").iterdir()}
    assert names == {"index.json", first.searcher.name}
    assert load_index(Memory.load(tmp_path / "store")).kind == "flat"


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "lists", "text", "key"])
def test_a_damaged_index_is_refused(tmp_path: Path, damage: str) -> None:
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
    assert raised.value.path is not None
    assert raised.value.path.parent == folder
    assert "\n" not in str(raised.value)
