"""Weights of one network for another: by name, by shape, and by symbol."""

from __future__ import annotations

import torch
from torch import nn

from triptych.runs.transfer import known_rows, transfer


def network(symbols: int, width: int = 3) -> nn.Module:
    return nn.ModuleDict({"embedding": nn.Embedding(symbols, width), "linear": nn.Linear(width, 2)})


def test_rows_go_by_name_and_other_rows_stay() -> None:
    old, new = network(4), network(5)
    before = new.state_dict()["embedding.weight"].clone()
    rows = known_rows(["a", "c", "x", "b"], ["b", "a", "z"], first=1)
    assert list(rows) == [(0, 0), (1, 2), (4, 1)]
    found = transfer(new, old.state_dict(), {"embedding.weight": rows})
    after, source = new.state_dict()["embedding.weight"], old.state_dict()["embedding.weight"]
    torch.testing.assert_close(after[[0, 1, 4]], source[[0, 2, 1]])
    torch.testing.assert_close(after[[2, 3]], before[[2, 3]])
    torch.testing.assert_close(new.state_dict()["linear.weight"], old.state_dict()["linear.weight"])
    assert found.copied == ["linear.weight", "linear.bias"]
    assert found.rows == {"embedding.weight": (3, 5)}
    assert found.numbers == (3 * 3 + 8, 5 * 3 + 8)
    assert str(found) == "17 of 23 weights copied; 3 of 5 rows of embedding.weight"


def test_other_shapes_and_missing_tensors_are_initialised_and_named() -> None:
    new = network(4, width=2)
    before = {name: tensor.clone() for name, tensor in new.state_dict().items()}
    found = transfer(new, {**network(4).state_dict(), "linear.bias": torch.ones(2)}, {"embedding.weight": [(0, 0)]})
    assert (found.copied, found.rows) == (["linear.bias"], {})
    assert found.initialised == ["embedding.weight", "linear.weight"]
    torch.testing.assert_close(new.state_dict()["embedding.weight"], before["embedding.weight"])
    assert new.state_dict()["linear.bias"].tolist() == [1.0, 1.0]
    assert found.to_dict()["numbers"] == {"copied": 2, "of": 14}


def test_statistics_of_batch_normalisation_are_copied_and_not_counted() -> None:
    """A counter of batches has the same shape everywhere, and so must not make another network fit."""
    old, new, wider = (nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width)) for width in (3, 3, 4))
    old(torch.randn(5, 2))
    found = transfer(new, old.state_dict(), {})
    assert (found.numbers, found.initialised) == ((2 * 3 + 3 + 3 + 3,) * 2, [])
    assert found.copied == ["0.weight", "0.bias", "1.weight", "1.bias"]
    torch.testing.assert_close(new.state_dict()["1.running_mean"], old.state_dict()["1.running_mean"])
    assert new.state_dict()["1.num_batches_tracked"].item() == 1
    other = transfer(wider, old.state_dict(), {})
    assert (other.copied, other.numbers) == ([], (0, 2 * 4 + 4 + 4 + 4))
    assert other.initialised == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert wider.state_dict()["1.running_var"].tolist() == [1.0] * 4
