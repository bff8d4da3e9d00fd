"""`triptych memory`: build, query, change and look, with one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.cli.conftest import Triptych, one_error
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
    assert (added["patterns"], added["shards"]) == (63, 2)
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
    assert "store: the memory has no index; expected one." in one_error(triptych(*query))
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
    assert "other patterns than the memory has now" in one_error(triptych(*query))
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
    "pickle": (("build", "pickle.npy", "--out", "new"), "pickle.npy: holds pickled Python objects"),
    "NaN": (("build", "nan.npy", "--out", "new"), "nan.npy: the array is nan in row 0, column "),
    "zero": (("build", "zero.npy", "--out", "new"), "zero.npy: patterns is zeros only in row 2; expected a row with"),
    "exists": (("build", "patterns.npy", "--out", "store"), "store: exists already; expected a new folder."),
    "labels": (("build", "zero.npy", "--out", "new", "--labels", "labels.txt"), "labels.txt: has 60 lines; expected 3"),
    "precision": (
        ("build", "patterns.npy", "--out", "new", "--precision", "int9"),
        "precision is 'int9'; expected one",
    ),
    "beta": (("build", "patterns.npy", "--out", "new", "--beta", "0"), "beta is 0.0; expected a finite number > 0."),
    "width": (("query", "store", "narrow.npy"), "narrow.npy: cue has shape (60, 3); expected (rows, 16)."),
    "add width": (("add", "store", "narrow.npy"), "narrow.npy: patterns has shape (60, 3); expected (rows, 16)."),
    "no store": (("query", "nowhere", "cues.npy"), "nowhere: no such folder; expected a memory."),
    "file": (("info", "cues.npy"), "cues.npy: is a file; expected the folder of a memory."),
    "no memory": (("info", "."), ".: the folder has no memory.json; expected a memory."),
    "no cues": (("query", "store", "cuse.npy"), "cuse.npy: no such file. Did you mean 'cues.npy'?"),
    "id": (("remove", "store", "99"), "store: id is 99; expected one that is stored."),
    "all": (("remove", "store", *map(str, range(60))), "store: the ids are all 60 that are stored; expected some"),
    "index": (
        ("query", "store", "cues.npy", "--index", "ivff"),
        "--index is 'ivff'; expected one of kept, flat, ivf, ",
    ),
    "out": (("query", "store", "cues.npy", "--out", "x.csv"), "x.csv: --out has suffix '.csv'; expected .npy."),
    "few": (("calibrate", "store", "cues.npy"), "cues.npy: the held-out cues are 4; expected at least 19"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES)
def test_every_mistake_is_one_line(triptych: Triptych, place: Path, arguments: tuple[str, ...], message: str) -> None:
    built(triptych, "--beta", "40")
    assert one_error(triptych("memory", *arguments)).startswith(message)
    assert not Path("new").exists()


def test_a_truncated_store_is_told(triptych: Triptych, place: Path) -> None:
    built(triptych, "--beta", "40")
    (path,) = Path("store/shards").glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-7])
    message = one_error(triptych("memory", "query", "store", "cues.npy"))
    assert message.startswith(f"{path}: has ")
    assert "the memory is not whole. Restore the folder from a copy." in message
