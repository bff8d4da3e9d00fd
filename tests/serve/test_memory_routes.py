"""The server recalls what the memory recalls; adding is allowed only where it was said to be."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch

from tests.serve.running import running
from triptych.memory.memory import Memory
from triptych.serve.app import build_app
from triptych.serve.catalogue import Catalogue, StoredMemory
from triptych.serve.limits import Limits


def ask(url: str, route: str, **body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/memories/store/{route}", json=body, timeout=30)


def cues(count: int, *, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 16, generator=torch.Generator().manual_seed(seed))


def test_recalls_are_the_memorys(url: str, catalogue: Catalogue) -> None:
    memory, cue = catalogue.memory("store").memory, cues(5)
    given = memory.retrieve(cue)
    answer = ask(url, "retrieve", cues=cue.tolist()).json()
    assert answer["beta"] == 30.0
    for row, found in enumerate(answer["recalls"]):
        assert found["value"] == pytest.approx(given.value[row].tolist(), abs=1e-5)
        assert (found["id"], found["label"]) == (int(given.confidence.nearest[row]), given.confidence.label[row])
        assert found["energy"] == pytest.approx(float(given.confidence.energy[row]), abs=1e-5)
        assert found["novelty"] == pytest.approx(float(memory.novelty(cue)[row]), abs=1e-5)
        assert found["trace"] is None


def test_a_trace_begins_at_the_cue_ends_at_the_recall_and_never_rises(url: str, catalogue: Catalogue) -> None:
    memory, cue = catalogue.memory("store").memory, cues(6)
    for found in ask(url, "retrieve", cues=cue.tolist(), trace=True).json()["recalls"]:
        states, energies = np.array(found["trace"]["states"]), found["trace"]["energies"]
        assert len(states) == len(energies) == found["steps"] + 1 > 1
        assert (np.diff(energies) <= 1e-12).all()
        assert energies[0] > energies[-1] == pytest.approx(found["energy"], abs=1e-5)
        length = float(cues(1).new_tensor(_pattern(memory, found["id"])).norm())
        assert np.linalg.norm(states[0]) == pytest.approx(length, rel=1e-4)


def _pattern(memory: Memory, number: int) -> list[float]:
    values: list[float] = memory.entries.values_at(torch.tensor([number]))[0].tolist()
    return values


def test_what_a_cue_holds_where_it_is_unknown_has_no_effect(url: str, catalogue: Catalogue) -> None:
    pattern = _pattern(catalogue.memory("store").memory, 4)
    known = [number < 9 for number in range(16)]
    answers = []
    for junk in (0.0, 50.0):
        cue = [value if seen else junk for value, seen in zip(pattern, known, strict=True)]
        answers.append(ask(url, "retrieve", cues=[cue], known=[known], trace=True).json()["recalls"][0])
    assert answers[0] == answers[1]
    assert (answers[0]["id"], answers[0]["label"]) == (4, "p4")


def test_patterns_are_listed_and_given_as_they_were(url: str, catalogue: Catalogue) -> None:
    listed = requests.get(f"{url}/v1/memories/store/patterns?offset=2&limit=3", timeout=30).json()
    assert listed == {"total": 12, "patterns": [{"id": i, "label": f"p{i}"} for i in (2, 3, 4)]}
    one = requests.get(f"{url}/v1/memories/store/patterns/3", timeout=30).json()
    expected = torch.randn(12, 16, generator=torch.Generator().manual_seed(0))[3].tolist()
    assert one["pattern"] == pytest.approx(expected, abs=1e-6)
    assert one["value"] == pytest.approx(expected, abs=1e-6)
    missing = requests.get(f"{url}/v1/memories/store/patterns/99", timeout=30)
    assert (missing.status_code, missing.json()["error"][:14]) == (404, "pattern is 99;")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"cues": [[0.5] * 15]}, 422, "cues has 15 numbers in row 0; expected 16"),
        ({"cues": [[0.5] * 16] * 65}, 413, "cues is 65; expected at most 64 (--max-cues"),
        ({"cues": [[0.5] * 16], "max_steps": 101}, 413, "max_steps is 101; expected at most 100 (--max-steps"),
        ({"cues": [[0.5] * 16], "known": [[True] * 16] * 2}, 422, "known has 2 rows; expected 1"),
        ({"cues": [[0.0] * 16]}, 422, "Row 0 of cue has only zeros"),
        ({"cues": [[1e30] * 16]}, 422, "cues has a number of size 1e+30; expected at most 1e18"),
        ({"cues": [["a"] * 16]}, 422, "cues.0.0 is 'a': Input should be a valid number"),
    ],
)
def test_what_breaks_a_rule_is_refused_in_words(url: str, body: dict[str, Any], status: int, words: str) -> None:
    answer = ask(url, "retrieve", **body)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_numbers_that_are_none_are_refused_in_words(url: str) -> None:
    body = '{"cues": [[NaN, Infinity]]}'
    answer = requests.post(
        f"{url}/v1/memories/store/retrieve", data=body, headers={"Content-Type": "application/json"}, timeout=30
    )
    assert answer.status_code == 422
    assert answer.json()["error"] == "cues.0.0 is 'nan': Input should be a finite number."


def test_adding_is_refused_unless_it_was_allowed(url: str, catalogue: Catalogue) -> None:
    answer = ask(url, "add", patterns=[[0.5] * 16])
    assert answer.status_code == 403
    assert "--allow-add" in answer.json()["error"]
    assert len(catalogue.memory("store").memory) == 12


def test_what_is_added_is_recalled_and_kept(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(store, folder)
    served = Catalogue(memories={"store": StoredMemory(Memory.load(folder), folder)})
    limits = Limits(max_stored=14, max_trace_numbers=200)
    with running(build_app(served, limits, may_add=True)) as url:
        added = ask(url, "add", patterns=cues(2, seed=9).tolist(), labels=["new", None])
        assert added.json() == {"memory": "store", "ids": [12, 13], "patterns": 14}
        assert ask(url, "retrieve", cues=cues(1, seed=9).tolist()).json()["recalls"][0]["label"] == "new"
        refused = ask(url, "add", patterns=cues(1).tolist())
        assert (refused.status_code, len(Memory.load(folder))) == (413, 14)
        assert "stored patterns is 15; expected at most 14 (--max-stored" in refused.json()["error"]
        traced = ask(url, "retrieve", cues=cues(1).tolist(), trace=True)
        assert "is 224; expected at most 200 (--max-trace-numbers" in traced.json()["error"]
    assert len(Memory.load(folder)) == 14


def test_what_cannot_be_kept_is_not_recalled_either(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(store, folder)
    memory = Memory.load(folder)
    other = Memory.load(folder)  # as another process would
    other.remove([0])
    other.save(folder)
    served = Catalogue(memories={"store": StoredMemory(memory, folder)})
    with running(build_app(served, may_add=True)) as url:
        refused = ask(url, "add", patterns=cues(1).tolist())
        assert refused.status_code == 422
        assert "Another process" in refused.json()["error"]
        assert requests.get(f"{url}/v1/memories/store", timeout=30).json()["patterns"] == 12
