"""`triptych memory`: build, query, change and look, with one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import SafetensorError

from tests.cli.conftest import Triptych, one_error
from tests.messages import check_message
from triptych.errors import TriptychError
from triptych.memory.memory import Memory


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with patterns, labels, cues and broken files."""
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    patterns = generator.normal(size=(60, 16)).astype(np.float32)
    np.save("patterns.npy", patterns)
    np.save("cues.npy", patterns[:4] + 0.05 * generator.normal(size=(4, 16)))
    np.save("like.npy", patterns + 0.3 * generator.normal(size=(60, 16)))
    np.save("far.npy", 5 * generator.normal(size=(3, 16)))
    np.save("narrow.npy", patterns[:, :3])
    np.save("zero.npy", np.concatenate([patterns[:2], np.zeros((1, 16))]))
    np.save("nan.npy", np.where(patterns[:3] > 1, np.nan, patterns[:3]))
    np.save("pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save("zeros.npy", np.zeros((4, 3)))
    np.save("huge.npy", 1e30 * patterns)
    np.save("tiny.npy", 1e-30 * patterns)
    Path("ids.csv").write_text("id,a,b\n99999999999999999999,1,2\n")
    np.savez("ids.npz", patterns=patterns[:2], ids=np.array([2**63, 1], dtype=np.uint64))
    np.save("values.npy", np.arange(120.0).reshape(60, 2))
    Path("labels.txt").write_text("".join(f"name {n}\n" for n in range(60)))
    return tmp_path


def built(triptych: Triptych, *options: str) -> None:
    result = triptych("memory", "build", "patterns.npy", "--labels", "labels.txt", "--out", "store", *options)
    assert (result.status, result.err) == (0, "")


def test_build_and_query(triptych: Triptych, place: Path) -> None:
    built(triptych)
    result = triptych("memory", "query", "store", "cues.npy", "--json", "--out", "recalled.npy")
    assert (result.status, result.err) == (0, "")
    found = json.loads(result.out)
    memory = Memory.load("store")
    cues = torch.from_numpy(np.load("cues.npy")).float()
    recall = memory.retrieve(cues)
    assert [row["id"] for row in found["cues"]] == [0, 1, 2, 3]
    assert [row["label"] for row in found["cues"]] == [f"name {n}" for n in range(4)]
    assert [row["energy"] for row in found["cues"]] == recall.confidence.energy.tolist()
    assert [row["entropy"] for row in found["cues"]] == recall.confidence.entropy.tolist()
    assert [row["distance"] for row in found["cues"]] == recall.confidence.distance.tolist()
    assert [row["novelty"] for row in found["cues"]] == memory.novelty(cues).tolist()
    assert found["beta"] == memory.beta
    assert np.array_equal(np.load("recalled.npy"), recall.value.numpy())
    table = triptych("memory", "query", "store", "cues.npy").out.splitlines()
    assert table[0].split() == ["cue", "id", "label", "distance", "energy", "entropy", "steps", "novelty"]
    assert len(table) == 5


def test_options_reach_the_memory(triptych: Triptych, place: Path) -> None:
    options = (
        "--beta",
        "7",
        "--normalisation",
        "centred-unit",
        "--precision",
        "int8",
        "--values",
        "values.npy",
        "--json",
    )
    result = triptych("memory", "build", "patterns.npy", "--out", "store", *options)
    found = json.loads(result.out)
    assert result.err == ""
    chosen = {"beta": 7.0, "normalisation": "centred-unit", "precision": "int8", "value_width": 2, "patterns": 60}
    assert chosen.items() <= found.items()
    one = json.loads(triptych("memory", "query", "store", "cues.npy", "--max-steps", "1", "--json").out)
    assert {row["steps"] for row in one["cues"]} == {1}


def test_add_remove_and_info(triptych: Triptych, place: Path) -> None:
    built(triptych)
    added = json.loads(triptych("memory", "add", "store", "far.npy", "--json").out)
    assert (added["patterns"], added["shards"]) == (63, 1), "small shards are joined"
    removed = triptych("memory", "remove", "store", "0", "61", "--json")
    assert json.loads(removed.out)["patterns"] == 61
    info = json.loads(triptych("memory", "info", "store", "--verify", "--json").out)
    assert info == json.loads(removed.out)
    assert (info["removed_rows"], info["labels"], info["unused_files"], info["novelty"]) == (2, 60, 0, None)
    assert Memory.load("store").ids.tolist() == [*range(1, 61), 62]


def test_calibrated_novelty(triptych: Triptych, place: Path) -> None:
    built(triptych)
    found = json.loads(triptych("memory", "calibrate", "store", "like.npy", "--score", "distance", "--json").out)
    assert found["novelty"]["score"] == "distance"
    rows = json.loads(triptych("memory", "query", "store", "cues.npy", "--json").out)["cues"]
    assert [row["novel"] for row in rows] == [False] * 4
    rows = json.loads(triptych("memory", "query", "store", "far.npy", "--json").out)["cues"]
    assert [row["novel"] for row in rows] == [True] * 3


def test_a_kept_index_is_used_until_the_memory_changes(triptych: Triptych, place: Path) -> None:
    built(triptych)
    query = ("memory", "query", "store", "cues.npy", "--index", "kept", "--json")
    check_message("cli.memory.no-index", TriptychError(one_error(triptych(*query))), place)
    result = triptych("memory", "index", "store", "--kind", "ivf-pq", "--lists", "3", "--tune", "cues.npy", "--json")
    assert (result.status, result.err) == (0, "")
    found = json.loads(result.out)
    assert found["agreement"] >= 0.99
    assert {"kind": "ivf-pq", "lists": 3, "patterns": 60}.items() <= found.items()
    rows = json.loads(triptych(*query).out)["cues"]
    assert [row["id"] for row in rows] == [0, 1, 2, 3]
    assert "novelty" not in rows[0], "it looks at all patterns"
    info = json.loads(triptych("memory", "info", "store", "--json").out)
    assert info["index"] == {"kind": "ivf-pq", "effort": found["effort"], "fresh": True}
    assert triptych("memory", "remove", "store", "7").status == 0
    check_message("cli.memory.index-of-other-patterns", TriptychError(one_error(triptych(*query))), place)
    assert json.loads(triptych("memory", "info", "store", "--json").out)["index"]["fresh"] is False


def test_a_damaged_index_does_not_hide_what_was_saved(triptych: Triptych, place: Path) -> None:
    built(triptych)
    assert triptych("memory", "index", "store", "--kind", "flat").status == 0
    Path("store/index/index.json").write_text("{}")
    result = triptych("memory", "add", "store", "far.npy", "--json")
    assert result.status == 0
    found = json.loads(result.out)
    assert found["patterns"] == 63
    assert found["index"].startswith("damaged: ")
    assert "index.json" in found["index"]


def test_an_index_gives_its_bound(triptych: Triptych, place: Path) -> None:
    built(triptych)
    arguments = ("memory", "query", "store", "cues.npy", "--index", "flat", "--candidates", "10", "--json")
    rows = json.loads(triptych(*arguments).out)["cues"]
    assert [row["id"] for row in rows] == [0, 1, 2, 3]
    assert all(0 <= row["left_out"] < 0.5 for row in rows)


MISTAKES = {
    "pickle": ("build", "pickle.npy", "--out", "new"),
    "zero": ("build", "zero.npy", "--out", "new"),
    "zeros as they are": ("build", "zeros.npy", "--out", "new", "--normalisation", "none"),
    "huge as they are": ("build", "huge.npy", "--out", "new", "--normalisation", "none"),
    "tiny as they are": ("build", "tiny.npy", "--out", "new", "--normalisation", "none"),
    "exists": ("build", "patterns.npy", "--out", "store"),
    "labels": ("build", "zero.npy", "--out", "new", "--labels", "labels.txt"),
    "precision": ("build", "patterns.npy", "--out", "new", "--precision", "int9"),
    "beta": ("build", "patterns.npy", "--out", "new", "--beta", "0"),
    "ids of a csv": ("build", "ids.csv", "--out", "new"),
    "ids of an npz": ("build", "ids.npz", "--out", "new"),
    "size": ("build", "patterns.npy", "--out", "new", "--height", "-1"),
    "width": ("query", "store", "narrow.npy"),
    "add width": ("add", "store", "narrow.npy"),
    "no store": ("query", "nowhere", "cues.npy"),
    "file": ("info", "cues.npy"),
    "no memory": ("info", "."),
    "no cues": ("query", "store", "cuse.npy"),
    "id": ("remove", "store", "99"),
    "large id": ("remove", "store", "99999999999999999999"),
    "all": ("remove", "store", *map(str, range(60))),
    "index": ("query", "store", "cues.npy", "--index", "ivff"),
    "out": ("query", "store", "cues.npy", "--out", "x.csv"),
    "few": ("calibrate", "store", "cues.npy"),
    "score": ("calibrate", "store", "cues.npy", "--score", "enrgy"),
    "lists": ("index", "store", "--lists", "0"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_every_mistake_is_one_line(triptych: Triptych, place: Path, name: str) -> None:
    built(triptych, "--beta", "40")
    message = one_error(triptych("memory", *MISTAKES[name]))
    check_message(f"cli.memory.{name.replace(' ', '-')}", TriptychError(message))
    assert not Path("new").exists()


def test_a_memory_with_the_largest_id_takes_patterns_with_ids(triptych: Triptych, place: Path) -> None:
    np.savez("first.npz", patterns=np.load("patterns.npy"), ids=np.arange(2**63 - 61, 2**63 - 1))
    assert triptych("memory", "build", "first.npz", "--out", "store").status == 0
    message = one_error(triptych("memory", "add", "store", "far.npy"))
    check_message("cli.memory.no-free-id", TriptychError(message))
    np.savez("more.npz", patterns=np.load("far.npy"), ids=np.arange(3, dtype=np.uint64))
    assert triptych("memory", "add", "store", "more.npz").status == 0
    assert Memory.load("store").ids.tolist()[-3:] == [0, 1, 2]


def test_a_truncated_store_is_refused(triptych: Triptych, place: Path) -> None:
    built(triptych, "--beta", "40")
    (path,) = Path("store/shards").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-7])
    message = one_error(triptych("memory", "query", "store", "cues.npy"))
    assert message.startswith(f"{path}: ")
    assert message.endswith("Restore the folder from a copy.")


def test_a_full_disk_is_one_line(triptych: Triptych, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built(triptych, "--beta", "40")

    def full(*_: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("triptych.memory.shard_files.save_file", full)
    for arguments in (("build", "patterns.npy", "--out", "new"), ("add", "store", "far.npy")):
        assert "No space left on device" in one_error(triptych("memory", *arguments))
    assert not Path("new").exists()
    assert len(Memory.load("store")) == 60


def test_images_keep_the_size_of_their_memory(triptych: Triptych, place: Path) -> None:
    generator = np.random.default_rng(1)
    Path("photos").mkdir()
    for number in range(5):
        pixels = generator.integers(0, 256, (9, 7, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(f"photos/{number}.png")
    Path("photos/broken.jpg").write_bytes(b"not an image")
    arguments = ("memory", "build", "photos", "--height", "6", "--width", "5", "--rgb", "--out", "images")
    assert "photos/broken.jpg" in one_error(triptych(*arguments))
    result = triptych(*arguments, "--skip-bad", "--beta", "200", "--json")
    assert result.status == 0
    assert "broken.jpg" in result.err
    found = json.loads(result.out)
    assert (found["patterns"], found["width"]) == (5, 90)
    assert found["image_size"] == {"height": 6, "width": 5, "channels": 3}
    rows = json.loads(triptych("memory", "query", "images", "photos/3.png", "--json").out)["cues"]
    assert [row["id"] for row in rows] == [3]
    assert "90" in one_error(triptych("memory", "query", "images", "photos/3.png", "--grey"))


def test_a_threshold_that_no_longer_holds_is_not_used(triptych: Triptych, place: Path) -> None:
    built(triptych)
    assert triptych("memory", "calibrate", "store", "like.npy", "--score", "distance").status == 0
    assert json.loads(triptych("memory", "info", "store", "--json").out)["novelty"]["stale"] is False
    assert json.loads(triptych("memory", "add", "store", "far.npy", "--json").out)["novelty"]["stale"] is True
    result = triptych("memory", "query", "store", "cues.npy", "--json")
    assert result.err.startswith("warning: store: the threshold of novelty was calibrated before the patterns")
    assert "novel" not in json.loads(result.out)["cues"][0]
    assert triptych("memory", "calibrate", "store", "like.npy").status == 0
    result = triptych("memory", "query", "store", "cues.npy", "--json")
    assert (result.err, "novel" in json.loads(result.out)["cues"][0]) == ("", True)
