"""A memory on disk: appended to, merged, mapped and not read, and whole after any death of its writer."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from tests.messages import check_message
from triptych.api.memories import change_memory
from triptych.errors import ConflictError, DataError
from triptych.files import write_text_atomically
from triptych.memory import folder as folders
from triptych.memory.folder import unused_files, verify
from triptych.memory.manifest import Manifest, StoredShard
from triptych.memory.memory import Memory
from triptych.memory.normalisation import Normalisation
from triptych.memory.shard_files import read_shard
from triptych.memory.shards import Precision, Shard


def rows(count: int, width: int = 6, *, seed: int = 0) -> Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def answers(memory: Memory) -> tuple[object, ...]:
    found = memory.retrieve(rows(7, seed=5))
    sure = found.confidence
    return (
        found.value.tolist(),
        sure.energy.tolist(),
        sure.label,
        memory.ids.tolist(),
        memory.beta,
        memory.threshold,
        memory.entries.next_id,
    )


def files(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_size) for path in (folder / "shards").iterdir()}


@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16", "int8"])
@pytest.mark.parametrize("normalisation", ["none", "unit", "centred-unit"])
def test_what_is_loaded_is_what_was_saved(tmp_path: Path, precision: Precision, normalisation: Normalisation) -> None:
    memory = Memory(
        rows(30), labels=[f"é{n % 4}" if n % 5 else None for n in range(30)], values=rows(30, 2, seed=1),
        ids=range(0, 90, 3), normalisation=normalisation, precision=precision,
    )  # fmt: skip
    memory.calibrate(rows(40, seed=2))
    memory.save(tmp_path / "store")
    assert answers(Memory.load(tmp_path / "store")) == answers(memory)
    assert memory.entries.next_id == 88


def test_appending_writes_only_what_is_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triptych.memory.entries._SMALL_BYTES", 0)
    folder = tmp_path / "store"
    memory = Memory(rows(20), labels=["a"] * 20, beta=5.0)
    memory.save(folder)
    first = files(folder)
    again = Memory.load(folder)
    again.add(rows(3, seed=3))
    again.remove([0, 21])
    again.beta = 7.0
    again.save()
    second = files(folder)
    assert {name: second[name] for name in first} == first
    assert len(second) == len(first) + 1
    loaded = Memory.load(folder)
    assert answers(loaded) == answers(again)
    assert loaded.ids.tolist() == [*range(1, 21), 22]
    loaded.save(folder)
    assert files(folder) == second


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_many_small_additions_are_as_one(tmp_path: Path, precision: Precision) -> None:
    """Every addition is saved; shards are joined, and answers are those of a memory that was built at once."""
    x, values, cue = rows(300, 64), rows(300, 3, seed=1), rows(20, 64, seed=2)
    labels = [f"label {n % 7}" if n % 5 else None for n in range(300)]
    whole = Memory(x, labels=labels, values=values, beta=9.0, precision=precision)
    memory = Memory(x[:1], labels=labels[:1], values=values[:1], beta=9.0, precision=precision)
    memory.save(tmp_path / "store")
    for n in range(1, 300):
        memory.add(x[n : n + 1], labels=labels[n : n + 1], values=values[n : n + 1])
        if n % 3 == 0:
            memory.save()
    memory.save()
    for found in (memory, Memory.load(tmp_path / "store")):
        assert len(found.shards) == 1
        assert found.ids.tolist() == list(range(300))
        recalled, expected = found.retrieve(cue), whole.retrieve(cue)
        torch.testing.assert_close(recalled.value, expected.value)
        assert recalled.confidence.label == expected.confidence.label
        assert torch.equal(recalled.confidence.nearest, expected.confidence.nearest)
        assert found.list_patterns(limit=300) == whole.list_patterns(limit=300)
    assert memory.place is not None
    assert unused_files(tmp_path / "store", memory.place.manifest) == []
    assert len(files(tmp_path / "store")) == 2, "tensors and labels; what was joined is deleted"


def test_shards_shrink_by_half_from_one_to_the_next(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So there are few, and a row is written again about log2(N) times at most."""
    monkeypatch.setattr("triptych.memory.entries._SMALL_BYTES", 4 * 24)  # four rows
    monkeypatch.setattr("triptych.memory.entries._LARGE_BYTES", 64 * 24)
    memory = Memory(rows(1), beta=1.0)
    memory.save(tmp_path / "store")
    written = 0
    for n in range(1, 200):
        before = {shard.name for shard in memory.shards}
        memory.add(rows(1, seed=n))
        memory.save()
        sizes = [len(shard) for shard in memory.shards]
        written += sum(len(shard) for shard in memory.shards if shard.name not in before)
        assert all(first >= 2 * then or first + then > 64 for first, then in itertools.pairwise(sizes)), sizes
        assert len(sizes) <= 200 // 33 + 6
    assert memory.ids.tolist() == list(range(200))
    assert written <= 200 * (2 + math.log2(64))


def test_merging_drops_removed_rows(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    memory = Memory(rows(20), labels=[str(n) for n in range(20)], beta=5.0, normalisation="centred-unit")
    memory.save(folder)
    memory.remove(range(0, 20, 2))
    memory.save()
    assert len(memory.shards[0]) == 20, "a removal by itself writes no tensors"
    memory.add(rows(1, seed=3), labels=["new"])
    memory.save()
    assert [len(shard) for shard in memory.shards] == [11]
    loaded = Memory.load(folder)
    assert loaded.ids.tolist() == [*range(1, 20, 2), 20]
    assert answers(loaded) == answers(memory)
    torch.testing.assert_close(loaded.pattern(3).pattern, rows(20)[3])


def test_a_store_of_many_shards_is_merged_by_its_next_addition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As versions before this one left them."""
    folder = tmp_path / "store"
    with monkeypatch.context() as patched:
        patched.setattr("triptych.memory.entries._may_join", lambda *_: False)
        memory = Memory(rows(1), beta=1.0)
        memory.save(folder)
        for n in range(1, 30):
            memory.add(rows(1, seed=n))
            memory.save()
        assert len(memory.shards) == 30
    memory = Memory.load(folder)
    before = answers(memory)
    memory.save()
    assert len(memory.shards) == 30, "nothing was added"
    memory.add(-rows(1, seed=50))
    memory.remove([30])
    memory.save()
    assert len(memory.shards) == 1
    torch.testing.assert_close(torch.tensor(answers(memory)[0]), torch.tensor(before[0]))
    assert len(files(folder)) == 1


def test_a_copy_leaves_removed_rows_behind(tmp_path: Path) -> None:
    memory = Memory(rows(20), labels=[str(n) for n in range(20)], beta=5.0, normalisation="centred-unit")
    memory.save(tmp_path / "old")
    memory.add(rows(4, seed=1), labels=["x"] * 4)
    memory.remove(range(15))
    before, ids = memory.retrieve(rows(7, seed=5)), memory.ids.tolist()
    memory.save(tmp_path / "new")
    loaded = Memory.load(tmp_path / "new")
    assert answers(loaded) == answers(memory)
    after = loaded.retrieve(rows(7, seed=5))
    torch.testing.assert_close(after.value, before.value, rtol=1e-4, atol=1e-5)
    assert (loaded.ids.tolist(), after.confidence.label) == (ids, before.confidence.label)
    assert [len(shard) for shard in loaded.shards] == [9]
    assert len(Memory.load(tmp_path / "old")) == 20


def test_tensors_are_mapped_and_not_read(tmp_path: Path) -> None:
    Memory(torch.randn(200_000, 64), beta=1.0, normalisation="none").save(tmp_path / "store")
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from triptych.memory.memory import Memory\n"
        "def resident():\n"
        "    text = Path('/proc/self/status').read_text()\n"
        "    return int(text.split('VmRSS:')[1].split()[0])\n"
        "before = resident()\n"
        "memory = Memory.load(sys.argv[1])\n"
        "loaded = resident()\n"
        "memory.keys().sum()\n"
        "print(len(memory), loaded - before, resident() - before)\n"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("resident memory is read from /proc")
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "store"], capture_output=True, text=True, check=True)
    count, loaded, read = map(int, done.stdout.split())
    assert count == 200_000
    assert loaded < 10_000, "kilobytes; the keys alone are 50,000"
    assert read > 50_000


DIES_AT = """
import os, signal, sys
import torch
from triptych.memory.memory import Memory

folder, calls = sys.argv[1], 0

def watched(plain, at):
    def call(*arguments, **named):
        global calls
        calls += 1
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*arguments, **named)
    return call

def change(at):
    os.replace, os.fsync, os.rename = (watched(plain, at) for plain in (os.replace, os.fsync, os.rename))
    if sys.argv[2] == "new":
        memory = Memory(torch.eye(4), labels=list("abcd"), beta=9.0, normalisation="centred-unit")
    else:
        memory = Memory.load(folder)
        memory.add(torch.ones(2, 4), labels=["e", "f"])
        memory.remove([1])
    memory.save(folder)

torch.set_num_threads(1)
for at in range(1, 60):
    child = os.fork()
    if child == 0:
        change(at)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    try:
        loaded = Memory.load(folder)
        ids = loaded.ids.tolist()
        assert loaded.retrieve(torch.eye(4)).value.isfinite().all()
    except Exception as error:
        ids = "missing" if "folder does not exist" in str(error) else repr(error)
    print(at, os.WIFSIGNALED(status), ids, sep="|")
    if not os.WIFSIGNALED(status):
        break
"""


def deaths(folder: Path, what: str) -> list[tuple[bool, str]]:
    """At every write that reaches the disk in turn: whether the writer was killed there, and what can be loaded."""
    done = subprocess.run(
        [sys.executable, "-c", DIES_AT, folder, what],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return [(line.split("|")[1] == "True", line.split("|")[2]) for line in done.stdout.splitlines()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the writer is a forked process")
def test_a_writer_killed_at_any_write_leaves_the_old_memory_or_the_new(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    Memory(torch.eye(4), labels=list("abcd"), beta=9.0).save(folder)
    found = deaths(folder, "append")
    old, new = "[0, 1, 2, 3]", "[0, 2, 3, 4, 5]"
    assert len(found) > 8
    assert [killed for killed, _ in found] == [True] * (len(found) - 1) + [False]
    states = [ids for _, ids in found]
    # Once the change is committed, the next writer fails because id 1 is gone; that changes nothing.
    assert set(states) == {old, new}
    assert states == sorted(states, key=lambda ids: ids == new)
    loaded = Memory.load(folder)
    assert loaded.place is not None
    verify(folder, loaded.place.manifest)
    assert Memory.load(folder).nearest(torch.ones(1, 4)).label == (("e",),)
    assert unused_files(folder, loaded.place.manifest), "the last of the killed had committed"
    loaded.add(torch.ones(1, 4))
    loaded.save()
    assert unused_files(folder, loaded.place.manifest) == []
    assert {path.name for path in (folder / "shards").iterdir()} == {
        file.name for file in loaded.place.manifest.files()
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the writer is a forked process")
def test_a_builder_killed_at_any_write_leaves_no_memory_that_seems_complete(tmp_path: Path) -> None:
    found = deaths(tmp_path / "store", "new")
    states = [ids for _, ids in found]
    assert len(found) > 8
    assert states[-1] == "[0, 1, 2, 3]"
    assert set(states) == {"missing", "[0, 1, 2, 3]"}
    assert states == sorted(states, reverse=True)
    hidden = [path for path in tmp_path.iterdir() if path.name.startswith(".store.")]
    assert hidden, "what killed builders left behind"
    for path in hidden:
        os.utime(path, (0, 0))
    shutil.rmtree(tmp_path / "store")
    Memory(torch.eye(4), beta=9.0).save(tmp_path / "store")
    assert all((path / "memory.json").exists() for path in tmp_path.iterdir()), "only complete folders stay"


ADDS_FOR_EVER = """
import sys, torch
from triptych.memory.memory import Memory
memory = Memory.load(sys.argv[1])
while True:
    memory.add(torch.ones(50, 4))
    memory.save(sys.argv[1])
    print(len(memory), flush=True)
"""


@pytest.mark.slow
def test_what_was_reported_as_saved_survives_a_kill_at_any_time(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    Memory(torch.eye(4), beta=9.0).save(folder)
    for delay_s in (0.0, 0.013, 0.05, 0.1):
        with subprocess.Popen(
            [sys.executable, "-c", ADDS_FOR_EVER, folder], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            said = [writer.stdout.readline()]
            time.sleep(delay_s)
            writer.send_signal(signal.SIGKILL)
            said += writer.stdout.readlines()
        saved = int([line for line in said if line.endswith("\n")][-1])
        memory = Memory.load(folder)
        assert len(memory) in (saved, saved + 50)
        assert memory.place is not None
        verify(folder, memory.place.manifest)


def test_two_writers_do_not_lose_each_others_rows(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    Memory(rows(5), beta=1.0).save(folder)
    one, other = Memory.load(folder), Memory.load(folder)
    one.add(rows(1))
    one.save(folder)
    other.add(rows(2))
    before = files(folder)
    for _ in range(3):
        with pytest.raises(ConflictError) as caught:
            other.save(folder)
        assert (caught.value.field, caught.value.value, caught.value.path) == ("generation", 2, folder)
        assert str(folder) not in str(caught.value).removeprefix(str(folder)), "parts can be shown without the path"
    check_message("memory.conflict", caught.value, tmp_path)
    assert files(folder) == before, "nothing was written"
    assert len(Memory.load(folder)) == 6
    assert len(other) == 7, "what was not saved is still there"
    other.reload()
    assert len(other) == 6
    other.add(rows(2))
    other.save()
    assert len(Memory.load(folder)) == 8


def test_changes_of_several_processes_all_arrive(tmp_path: Path) -> None:
    """`change_memory` reads the folder again and repeats its change where another writer was faster."""
    folder = tmp_path / "store"
    Memory(rows(5), beta=1.0).save(folder)
    writers = [Memory.load(folder) for _ in range(3)]
    for turn in range(4):
        for number, writer in enumerate(writers):
            change_memory(writer, lambda memory, at=10 * turn + number: memory.add(rows(1, seed=at)))  # type: ignore[misc]
    loaded = Memory.load(folder)
    assert loaded.ids.tolist() == list(range(17))
    assert len(files(folder)) == 1
    with pytest.raises(DataError):
        change_memory(writers[0], lambda memory: memory.remove([0, 99]))
    assert 0 in writers[0].ids.tolist(), "all of a change or nothing"


def test_a_reader_during_a_change_reads_the_old_memory_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The manifest that it has read names files that are joined, and deleted, before it opens them."""
    folder = tmp_path / "store"
    memory = Memory(rows(5), beta=1.0)
    memory.save(folder)
    opened = read_shard
    changes = iter(range(2))

    def slow(path: Path, stored: StoredShard, manifest: Manifest) -> Shard:
        with suppress(StopIteration):
            next(changes)
            with monkeypatch.context() as plain:
                plain.setattr(folders, "read_shard", opened)
                writer = Memory.load(folder)
                writer.add(rows(1))
                writer.save()
        return opened(path, stored, manifest)

    monkeypatch.setattr(folders, "read_shard", slow)
    assert len(Memory.load(folder)) == 7
    monkeypatch.setattr(folders, "read_shard", opened)
    missing = folder / "shards" / next(iter(files(folder)))
    missing.unlink()
    with pytest.raises(DataError) as caught:
        Memory.load(folder)
    assert caught.value.path == missing
    check_message("memory.missing-file", caught.value, missing)


def test_a_folder_that_exists_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(DataError) as caught:
        Memory(rows(5), beta=1.0).save(tmp_path / "store")
    check_message("memory.folder-exists", caught.value, tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "store"]
    with pytest.raises(DataError) as nowhere:
        Memory(rows(5), beta=1.0).save()
    assert nowhere.value.field == "path"


@pytest.mark.parametrize("failure", ["fsync", "safetensors"])
def test_a_full_disk_leaves_the_memory_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    folder = tmp_path / "store"
    memory = Memory(rows(5), labels=list("abcde"), beta=1.0)
    memory.save(folder)
    memory.add(rows(3))
    before = files(folder)

    def full(*_: object) -> None:
        if failure == "fsync":
            raise OSError(28, "No space left on device")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        if failure == "fsync":
            patched.setattr(os, "fsync", full)
        else:
            patched.setattr("triptych.memory.shard_files.save_file", full)
        with pytest.raises((OSError, DataError), match="No space left"):
            memory.save()
    assert files(folder) == before
    assert len(Memory.load(folder)) == 5
    memory.save()
    assert len(Memory.load(folder)) == 8


def test_a_failing_disk_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    memory = Memory(rows(5), beta=1.0)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        memory.save(tmp_path / "store")
    assert list(tmp_path.iterdir()) == []
    assert memory.place is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def change(**values: object) -> Callable[[Path], None]:
    def act(path: Path) -> None:
        found = json.loads(path.read_text())
        path.write_text(json.dumps({**found, **values}))

    return act


BROKEN = {
    "truncated tensors": ("safetensors", cut, "bytes"),
    "missing tensors": ("safetensors", Path.unlink, ""),
    "truncated labels": ("labels.json", cut, "bytes"),
    "no manifest": ("memory.json", Path.unlink, ""),
    "half a manifest": ("memory.json", cut, "the text"),
    "newer format": ("memory.json", change(version=2), "version"),
    "other width": ("memory.json", change(width=7), "keys"),
    "other precision": ("memory.json", change(precision="int8"), "key_scale"),
    "unknown key": ("memory.json", change(code="import os"), "code"),
    "no shards": ("memory.json", change(shards=[]), "shards"),
    "beta": ("memory.json", change(beta=-1), "beta"),
}


@pytest.mark.parametrize(("suffix", "act", "field"), BROKEN.values(), ids=BROKEN)
def test_a_store_that_is_not_complete_is_refused(
    tmp_path: Path, suffix: str, act: Callable[[Path], None], field: str
) -> None:
    folder = tmp_path / "store"
    Memory(rows(5), labels=["a"] * 5, beta=1.0).save(folder)
    (path,) = [path for path in folder.rglob("*") if path.name.endswith(suffix)]
    act(path)
    with pytest.raises(DataError) as raised:
        Memory.load(folder)
    assert raised.value.path is not None
    assert raised.value.path.is_relative_to(folder)
    assert raised.value.field == field


def test_a_path_in_the_manifest_cannot_leave_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    Memory(rows(5), beta=1.0).save(folder)
    save_file({"keys": rows(5)}, tmp_path / "a.safetensors")
    manifest = folder / "memory.json"
    found = json.loads(manifest.read_text())
    found["shards"][0]["tensors"]["name"] = "../../a.safetensors"
    manifest.write_text(json.dumps(found))
    with pytest.raises(DataError) as caught:
        Memory.load(folder)
    assert (caught.value.field, caught.value.value) == ("shards.0.tensors.name", "../../a.safetensors")


def test_verify_finds_a_flipped_bit(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    memory = Memory(rows(5), beta=1.0, normalisation="centred-unit")
    memory.save(folder)
    assert memory.place is not None
    verify(folder, memory.place.manifest)
    for name in ("centre.safetensors", memory.place.manifest.shards[0].tensors.name):
        flip(folder / "shards" / name)
        with pytest.raises(DataError) as caught:
            verify(folder, memory.place.manifest)
        assert (caught.value.path, caught.value.field) == (folder / "shards" / name, "SHA-256")
        flip(folder / "shards" / name)


def test_of_writers_at_the_same_moment_one_succeeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Memory(rows(5), beta=1.0).save(tmp_path / "store")
    write = write_text_atomically

    def slowly(path: Path, text: str) -> None:
        time.sleep(0.05)  # long enough for the others to have looked, if they could
        write(path, text)

    monkeypatch.setattr("triptych.memory.folder.write_text_atomically", slowly)
    writers = [Memory.load(tmp_path / "store") for _ in range(4)]
    start = threading.Barrier(len(writers))

    def save(number: int) -> bool:
        writers[number].add(rows(2, seed=number))
        start.wait()
        try:
            writers[number].save(tmp_path / "store")
        except ConflictError:
            return False
        return True

    with ThreadPoolExecutor(len(writers)) as pool:
        saved = list(pool.map(save, range(len(writers))))
    assert sum(saved) == 1
    winner = Memory.load(tmp_path / "store")
    assert len(winner) == 7
    torch.testing.assert_close(winner.keys(), writers[saved.index(True)].keys())
