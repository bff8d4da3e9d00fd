"""The benchmark of `spell` runs and says what it promises. Speed itself is never asserted."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.toy import write_toy
from triptych.config import SpellDecoding, SpellModel
from triptych.spell.batches import EncodedPairs
from triptych.spell.build import build_transducer
from triptych.spell.objective import SpellObjective
from triptych.text.pairs import Pair
from triptych.text.symbols import Tokenizer, Vocabularies, Vocabulary

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
NAMES = {
    "training over plain loop": 4.0,
    "training over floor": 0.8,
    "greedy over one by one": 15.0,
    "beam 5 over one by one": 8.0,
    "edit distance over numpy loop": None,
}


def test_json_has_every_ratio_and_nothing_else(tmp_path: Path) -> None:
    data = write_toy(tmp_path / "toy", train=96, valid=8, test=8)
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "spell.py", "--data", data, "--quick", "--repeats", "1", "--json"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert {name: result["target"] for name, result in results.items()} == NAMES
    assert all(math.isfinite(result["ratio"]) and result["ratio"] > 0 for result in results.values())
    assert results["greedy over one by one"]["threads"] == 1
    assert results["greedy over one by one"]["peak_mib"] > 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--repeats", "0"), "--repeats is 0; expected an integer >= 1."),
        (("--quick", "--yoyodyne", "no-such-folder"), "--yoyodyne is no-such-folder; expected a virtual environment"),
    ],
)
def test_bad_arguments_are_named(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from spell import main

    try:
        code = main(arguments)
    except SystemExit as end:  # argparse's own way out
        code = int(end.code or 0)
    assert code == 2
    assert message in capsys.readouterr().err


def _plain_name(name: str) -> str:
    """The plain encoder has one layer, ours a list of one."""
    return name.replace("encoder.recurrent.0.", "encoder.recurrent.")


def test_plain_twin_has_our_loss_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from plain_spell import PlainTransducer, collate, plain_loss

    pairs = [
        Pair(tuple(source), tuple(target), 0)
        for source, target in [("ab", "xyz"), ("abcab", "x"), ("c", "zzzyx"), ("bca", "yx")]
    ]
    sources = Vocabulary.build(pair.source for pair in pairs)
    targets = Vocabulary.build(pair.target for pair in pairs)
    torch.manual_seed(0)
    model = SpellModel(hidden=16, embedding=16, attention="additive", dropout=0.3)
    ours = build_transducer(model, source_size=len(sources), target_size=len(targets)).eval()
    plain = PlainTransducer(len(sources), len(targets), hidden=16, dropout=0.3).eval()
    plain.load_state_dict({_plain_name(name): tensor for name, tensor in ours.state_dict().items()})

    encoded = EncodedPairs(pairs, sources, targets)
    share = SpellObjective(
        ours,
        vocabularies=Vocabularies(Tokenizer(), Tokenizer(), sources, targets),
        valid_items=[],
        decoding=SpellDecoding(),
    ).loss(encoded[range(4)])
    our_loss = torch.as_tensor(share.total / share.count)
    their_loss = plain_loss(plain, collate(list(zip(encoded.sources, encoded.targets, strict=True))))
    torch.testing.assert_close(their_loss, our_loss)

    torch.autograd.backward(our_loss)
    torch.autograd.backward(their_loss)
    our_gradients = {_plain_name(name): parameter.grad for name, parameter in ours.named_parameters()}
    their_gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    torch.testing.assert_close(their_gradients, our_gradients, rtol=1e-4, atol=1e-6)
    assert all(gradient is not None and bool(gradient.any()) for gradient in our_gradients.values())


def test_speedup_is_the_median_over_paired_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from timing import speedup, spread

    other, ours = [2.0, 8.0, 30.0], [1.0, 2.0, 3.0]  # the third repeat met a busy machine, both slowed alike
    assert speedup(other, ours) == 4.0
    assert spread(other, ours) == "2.00-10.00"


def test_numpy_edit_distance_is_levenshtein(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from spell import numpy_edit_distance

    assert numpy_edit_distance("kitten", "sitting") == 3
    assert numpy_edit_distance("", "abc") == 3


def test_interleaved_runs_every_task_once_a_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from timing import interleaved

    calls: list[str] = []

    def task(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    seconds = interleaved({"a": lambda: task("a"), "b": lambda: task("b")}, 2)
    assert calls == ["a", "b", "b", "a"]
    assert seconds == {"a": [1.0, 4.0], "b": [2.0, 3.0]}
