"""A run as one file: what comes back, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch

from triptych.errors import RunError
from triptych.runs.packed import ENTRIES, MANIFEST, Packed, restored, stored, without_paths, write_packed
from triptych.runs.run import Run

RECIPE = b'panel = "spell"\ntitle = "tiny"\n'
TENSORS = {
    "large": torch.linspace(-3, 3, 4096).reshape(64, 64),
    "vector": torch.arange(5.0),
    "count": torch.tensor(7),
}
FACTS = {"name": "tiny", "panel": "spell", "weights": "float32", "dictionary": ""}


def pack(folder: Path, **changes: bytes) -> Path:
    """A small packed run."""
    entries = {
        "recipe.toml": RECIPE,
        "run.json": b'{"format": 1, "seed": 3}',
        "model.json": b'{"format": 1, "panel": "spell"}',
        "model.safetensors": stored(TENSORS, "float32"),
        "card.md": "# tiny, ə\n".encode(),
    }
    write_packed(folder / "tiny.triptych", {**entries, **changes}, facts=FACTS)
    return folder / "tiny.triptych"


def test_a_packed_run_says_what_the_run_said(tmp_path: Path) -> None:
    run = Run.open(pack(tmp_path))
    assert (run.name, run.recipe().title, run.facts()["seed"], run.model("spell")["panel"]) == ("tiny", "tiny", 3, "spell")
    assert run.recipe(["training.seed=5"]).training.seed == 5
    assert run.card() == "# tiny, ə\n"
    assert (run.history(), run.evaluations(), len(run.trained_on())) == ([], {}, 0)
    for name, tensor in run.tensors().items():
        torch.testing.assert_close(tensor, TENSORS[name], rtol=0, atol=0)
    with pytest.raises(RunError, match="a packed run is only read"):
        run.update_facts(seed=4)


def test_equal_runs_are_packed_into_equal_files(tmp_path: Path) -> None:
    first = pack(tmp_path).read_bytes()
    (tmp_path / "later").mkdir()
    assert pack(tmp_path / "later").read_bytes() == first


def test_half_precision_and_eight_bits_are_as_near_as_they_say(tmp_path: Path) -> None:
    import safetensors.torch

    half = restored(safetensors.torch.load(stored(TENSORS, "float16")))
    assert half["large"].dtype == torch.float32
    torch.testing.assert_close(half["large"], TENSORS["large"].half().float())
    content = stored(TENSORS, "int8")
    assert len(content) < 0.4 * len(stored(TENSORS, "float32"))
    eight = restored(safetensors.torch.load(content))
    assert eight.keys() == TENSORS.keys()
    error = (eight["large"] - TENSORS["large"]).abs().amax(1)
    assert bool((error <= TENSORS["large"].abs().amax(1) / 254 * 1.001).all())
    for name in ("vector", "count"):
        torch.testing.assert_close(eight[name], TENSORS[name], rtol=0, atol=0)
    assert restored({"zero": torch.zeros(2)})["zero"].tolist() == [0, 0]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_one_sentence(tmp_path: Path, share: float) -> None:
    path = pack(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(RunError, match="not a packed run, or is truncated") as caught:
        Run.open(path)
    assert caught.value.path == path
    assert "\n" not in str(caught.value)


def test_foreign_files_are_one_sentence(tmp_path: Path) -> None:
    text = tmp_path / "words.txt"
    text.write_text("hello\n", encoding="utf-8")
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    for path, part in ((text, "is not a zip file"), (other, "without manifest.json")):
        with pytest.raises(RunError, match=part):
            Run.open(path)
    with pytest.raises(RunError, match=r"no such file\. Did you mean 'tiny.triptych'\?"):
        Run.open(pack(tmp_path).with_name("tony.triptych"))


def change(path: Path, name: str, content: bytes) -> None:
    """Replace an entry and leave the manifest as it is."""
    with zipfile.ZipFile(path) as archive:
        entries = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for each, old in entries.items():
            archive.writestr(each, content if each == name else old)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_that_was_changed_is_noticed_when_it_is_read(tmp_path: Path, name: str) -> None:
    path = pack(tmp_path)
    change(path, name, b"{}")
    packed = Packed.open(path)
    with pytest.raises(RunError, match="the packed run is damaged") as caught:
        packed.content(name)
    assert f"SHA-256 of {name}" in str(caught.value)


def test_a_newer_format_and_a_manifest_without_its_parts_are_refused(tmp_path: Path) -> None:
    path = pack(tmp_path)
    manifest = dict(Packed.open(path).manifest)
    change(path, MANIFEST, json.dumps({**manifest, "format": 2}).encode())
    with pytest.raises(RunError) as caught:
        Run.open(path)
    assert (caught.value.field, caught.value.value, caught.value.expected) == ("format", 2, "1")
    broken: object
    for broken in ({**manifest, "weights": "int4"}, {**manifest, "files": {}}, []):
        change(path, MANIFEST, json.dumps(broken).encode())
        with pytest.raises(RunError, match="not a packed run"):
            Run.open(path)


def test_a_pickle_in_place_of_tensors_is_not_loaded(tmp_path: Path) -> None:
    path = pack(tmp_path, **{"model.safetensors": b"cos\nsystem\n(S'true'\ntR."})
    with pytest.raises(RunError, match="model.safetensors"):
        Run.open(path).tensors()


def test_no_place_of_this_machine_is_packed() -> None:
    facts = {
        "format": 1,
        "data_location": "/home/me/data",
        "data": [{"path": "/home/me/data/train.tsv", "sha256": "ab"}],
        "members": ["/home/me/runs/a", "runs/b"],
        "started_from": {"run": "/home/me/runs/a", "sha256": "cd"},
        "seed": 1,
    }
    assert without_paths(facts) == {
        "data": [{"path": "train.tsv", "sha256": "ab"}],
        "members": ["a", "b"],
        "started_from": {"run": "a", "sha256": "cd"},
        "seed": 1,
    }
