"""The server recalls what the memory recalls; adding is allowed only where it was said to be."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import torch

from tests.serve.answers import check_refusal
from tests.serve.running import running
from tests.serve.test_gate import Held, wait_for
from triptych.api.serving import Addition, Catalogue, ServedMemory
from triptych.config.serve import ServeLimits
from triptych.errors import DataError
from triptych.memory.folder import unused_files
from triptych.memory.manifest import Manifest
from triptych.memory.memory import Memory
from triptych.serve.app import build_app


def ask(url: str, route: str, **body: Any) -> requests.Response:
    return requests.post(f"{url}/v1/memories/store/{route}", json=body, timeout=30)


def cues(count: int, *, seed: int = 1) -> torch.Tensor:
    return torch.rand(count, 16, generator=torch.Generator().manual_seed(seed))


def test_recalls_are_the_memorys(url: str, catalogue: Catalogue) -> None:
    memory, cue = catalogue.memories["store"].memory, cues(5)
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
    memory, cue = catalogue.memories["store"].memory, cues(6)
    for found in ask(url, "retrieve", cues=cue.tolist(), trace=True).json()["recalls"]:
        states, energies = np.array(found["trace"]["states"]), found["trace"]["energies"]
        assert len(states) == len(energies) == found["steps"] + 1 > 1
        assert (np.diff(energies) <= 1e-5).all(), "but for rounding"
        assert energies[0] > energies[-1] == pytest.approx(found["energy"], abs=1e-5)
        length = float(cues(1).new_tensor(_pattern(memory, found["id"])).norm())
        assert np.linalg.norm(states[0]) == pytest.approx(length, rel=1e-4)


def _pattern(memory: Memory, number: int) -> list[float]:
    values: list[float] = memory.entries.values_at(torch.tensor([number]))[0].tolist()
    return values


def test_what_a_cue_holds_where_it_is_unknown_has_no_effect(url: str, catalogue: Catalogue) -> None:
    pattern = _pattern(catalogue.memories["store"].memory, 4)
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
    check_refusal(requests.get(f"{url}/v1/memories/store/patterns/99", timeout=30), 404, "pattern", "pattern")


@pytest.mark.parametrize(
    ("body", "status", "field", "name"),
    [
        ({"cues": [[0.5] * 15]}, 422, "cues", "cue-width"),
        ({"cues": [[0.5] * 16] * 65}, 413, "the number of cues", "cues"),
        ({"cues": [[0.5] * 16], "max_steps": 101}, 413, "max_steps", "max-steps"),
        ({"cues": [[0.5] * 16], "known": [[True] * 16] * 2}, 422, "known", "known"),
        ({"cues": [[1e30] * 16]}, 422, "cues", "large-number"),
        ({"cues": [["a"] * 16]}, 422, "cues.0.0", "not-a-number"),
        ({}, 422, "cues", "no-cues"),
    ],
)
def test_requests_that_break_a_rule_are_refused(
    url: str, body: dict[str, Any], status: int, field: str, name: str
) -> None:
    check_refusal(ask(url, "retrieve", **body), status, field, name)


def test_cues_of_zeros_are_refused(url: str) -> None:
    answer = ask(url, "retrieve", cues=[[0.0] * 16])
    assert answer.status_code == 422
    assert "zeros" in answer.json()["error"]


def test_numbers_that_are_not_finite_are_refused(url: str) -> None:
    body = '{"cues": [[NaN, Infinity]]}'
    answer = requests.post(
        f"{url}/v1/memories/store/retrieve", data=body, headers={"Content-Type": "application/json"}, timeout=30
    )
    check_refusal(answer, 422, "cues.0.0", "not-finite")


def test_adding_is_refused_unless_it_was_allowed(url: str, catalogue: Catalogue) -> None:
    check_refusal(ask(url, "add", patterns=[[0.5] * 16]), 403, None, "no-adding")
    assert len(catalogue.memories["store"].memory) == 12


@pytest.fixture
def folder(store: Path, tmp_path: Path) -> Path:
    """A memory of a test's own."""
    shutil.copytree(store, tmp_path / "store")
    return tmp_path / "store"


def served(folder: Path, **limits: Any) -> Any:
    catalogue = Catalogue(memories={"store": ServedMemory(folder)})
    return build_app(catalogue, ServeLimits(**limits), may_add=True)


def unnamed_files(folder: Path) -> list[str]:
    return list(unused_files(folder, Manifest.read(folder)))


def test_added_patterns_are_retrieved_and_kept(folder: Path) -> None:
    with running(served(folder, max_stored=14, max_trace_numbers=200)) as url:
        added = ask(url, "add", patterns=cues(2, seed=9).tolist(), labels=["new", None])
        assert added.json() == {"memory": "store", "ids": [12, 13], "patterns": 14}
        assert ask(url, "retrieve", cues=cues(1, seed=9).tolist()).json()["recalls"][0]["label"] == "new"
        check_refusal(ask(url, "add", patterns=cues(1).tolist()), 413, "the number of stored patterns", "stored")
        assert len(Memory.load(folder)) == 14
        traced = ask(url, "retrieve", cues=cues(1).tolist(), trace=True)
        check_refusal(traced, 413, "cues x states x width", "trace")
    assert len(Memory.load(folder)) == 14


def test_patterns_that_another_process_saved_are_retrieved_and_kept(folder: Path) -> None:
    with running(served(folder)) as url:
        for number in range(3):
            other = Memory.load(folder)  # as another process would
            other.add(cues(1, seed=20 + number), labels=[f"other{number}"])
            other.save(folder)
            found = ask(url, "retrieve", cues=cues(1, seed=20 + number).tolist()).json()["recalls"][0]
            assert found["label"] == f"other{number}"
            added = ask(url, "add", patterns=cues(1, seed=30 + number).tolist(), labels=[f"own{number}"])
            assert (added.status_code, added.json()["patterns"]) == (200, 14 + 2 * number)
        assert requests.get(f"{url}/v1/memories/store", timeout=30).json()["patterns"] == 18
    kept = Memory.load(folder)
    for seed, label in ((20, "other0"), (22, "other2"), (30, "own0"), (32, "own2")):
        assert kept.nearest(cues(1, seed=seed)).label[0][0] == label
    assert unnamed_files(folder) == []


def test_a_save_in_between_is_repeated_and_conflicts_without_end_are_reported(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = Memory.save
    foreign = iter([1, 0] + [1] * 100)

    def save(self: Memory) -> None:
        if next(foreign):  # after the server looked, and before it commits
            other = Memory.load(folder)
            other.add(cues(1, seed=50))
            saved(other)
        saved(self)

    memory = ServedMemory(folder)
    monkeypatch.setattr(Memory, "save", save)
    assert memory.add([Addition(cues(1, seed=1), ["new"], None)]) == [[13]]
    assert len(memory.memory) == 14
    with running(build_app(Catalogue(memories={"store": memory}), may_add=True)) as url:
        check_refusal(ask(url, "add", patterns=cues(1, seed=2).tolist()), 409, None, "conflict")
        monkeypatch.setattr(Memory, "save", saved)
        assert ask(url, "add", patterns=cues(1, seed=2).tolist(), labels=["later"]).status_code == 200
        found = ask(url, "retrieve", cues=cues(1, seed=2).tolist()).json()["recalls"][0]
        assert found["label"] == "later"


def test_adds_that_wait_are_saved_together(folder: Path) -> None:
    app = served(folder)
    with running(app) as url, ThreadPoolExecutor(24) as pool:
        held = Held(app)
        rows = cues(20, seed=40).unsqueeze(1).tolist()
        answers = [pool.submit(ask, url, "add", patterns=row, labels=[f"n{number}"]) for number, row in enumerate(rows)]
        bad = pool.submit(ask, url, "add", patterns=[[0.0] * 16])
        wait_for(lambda: app.state.triptych.worker.waiting == 21)
        held.go.set()
        assert bad.result(30).status_code == 422
        ids = {number: answer.result(30).json()["ids"] for number, answer in enumerate(answers)}
    assert sorted(one for each in ids.values() for one in each) == list(range(12, 32))
    kept = Memory.load(folder)
    for number, row in enumerate(rows):
        near = kept.nearest(torch.tensor(row))
        assert ([int(near.ids[0, 0])], near.label[0][0]) == (ids[number], f"n{number}")
    assert Manifest.read(folder).generation <= 22  # 2 where no pattern of the batch is refused


def test_adds_that_wait_need_one_save(folder: Path) -> None:
    app = served(folder)
    with running(app) as url, ThreadPoolExecutor(24) as pool:
        held = Held(app)
        answers = [pool.submit(ask, url, "add", patterns=row) for row in cues(20, seed=40).unsqueeze(1).tolist()]
        wait_for(lambda: app.state.triptych.worker.waiting == 20)
        held.go.set()
        assert [answer.result(30).status_code for answer in answers] == [200] * 20
    manifest = Manifest.read(folder)
    assert (manifest.generation, sum(shard.rows for shard in manifest.shards)) == (2, 32)


def test_patterns_that_cannot_be_saved_are_not_retrieved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_self: Memory) -> None:
        raise DataError("no space left.", path=folder)

    with running(served(folder)) as url:
        monkeypatch.setattr(Memory, "save", fail)
        refused = ask(url, "add", patterns=cues(1).tolist())
        assert (refused.status_code, refused.json()["error"]) == (422, "no space left.")
        assert requests.get(f"{url}/v1/memories/store", timeout=30).json()["patterns"] == 12


def test_a_folder_that_is_gone_is_still_retrieved_from(folder: Path) -> None:
    with running(served(folder)) as url:
        folder.rename(folder.with_name("gone"))
        assert ask(url, "retrieve", cues=cues(1).tolist()).status_code == 200
