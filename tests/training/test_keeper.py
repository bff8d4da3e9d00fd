"""What is kept really is the best, or the last; when training stops; what ends it with an error."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training.line import POINTS, Batches, Line, train
from triptych.config import common
from triptych.errors import RecipeError, TrainingError
from triptych.runs.run import Row, Run

Weights = dict[str, Tensor]


def kept(run: Run) -> Weights:
    return run.tensors()


def same(first: Weights, second: Weights) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("figures", "mode", "best"),
    [
        ([3, 1, 2, 4], "min", 2),
        ([3, 1, 2, 4], "max", 4),
        ([2, 1, 1, 2], "min", 2),  # the first of equals
        ([5, 5, 5, 5], "max", 1),
        ([4, 3, 2, 1], "min", 4),
    ],
)
def test_the_best_epochs_weights_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, figures: list[float], mode: str, best: int
) -> None:
    if mode == "max":
        monkeypatch.setattr(common, "RISING", ("valid_figure",))
    line, run = Line(figures), Run(tmp_path)
    fitted = train(line, run, epochs=4, monitor="valid_figure")
    assert fitted.best_epoch == best
    assert [same(kept(run), weights) for weights in line.weights_measured].index(True) == best - 1
    assert [row["valid_figure"] for row in run.history()] == figures


def test_keep_last_keeps_the_last(tmp_path: Path) -> None:
    line, run = Line([1, 2, 3]), Run(tmp_path)
    fitted = train(line, run, epochs=3, monitor="valid_figure", keep="last")
    assert fitted.best_epoch == 1
    assert same(kept(run), line.weights_measured[2])
    assert not same(kept(run), line.weights_measured[0])


def test_evaluating_the_kept_model_again_gives_its_row(tmp_path: Path) -> None:
    run = Run(tmp_path)
    fitted = train(Line(), run, epochs=4, monitor="valid_loss")
    again = Line()
    again.network.load_state_dict(kept(run))
    with torch.no_grad():
        share = again.loss(next(iter(Batches(POINTS))))
    assert float(share.total / share.count) == pytest.approx(fitted.rows[fitted.best_epoch - 1]["valid_loss"], rel=1e-6)


@pytest.mark.parametrize("decay", [0.25, 0.7])
def test_the_average_is_what_is_measured_and_kept(decay: float, tmp_path: Path) -> None:
    """Against the definition: a_1 = w_1, a_t = d a_(t-1) + (1 - d) w_t, d = min(decay, t / (9 + t))."""
    steps, rate = 6, 0.1
    line, run = Line(), Run(tmp_path)
    train(line, run, epochs=2, monitor="valid_loss", average_decay=decay, keep="last")
    by_hand = Line()
    average: Weights = {}
    batches = [*Batches(8), *Batches(8)]
    for step, batch in enumerate(batches[:steps], start=1):
        by_hand.network.zero_grad()
        share = by_hand.loss(batch)
        assert isinstance(share.total, Tensor)
        torch.autograd.backward(share.total / share.count)
        with torch.no_grad():
            for weight in by_hand.network.parameters():
                assert weight.grad is not None
                weight.sub_(rate * weight.grad)
        now = {name: tensor.detach().clone() for name, tensor in by_hand.network.state_dict().items()}
        d = min(decay, step / (9 + step))
        average = {name: d * average[name] + (1 - d) * now[name] for name in now} if average else now
    for name, expected in average.items():
        torch.testing.assert_close(kept(run)[name], expected)
        torch.testing.assert_close(line.weights_measured[1][name], expected)
    assert not torch.allclose(average["1.weight"], by_hand.network.state_dict()["1.weight"])


def test_patience_stops_after_n_epochs_without_a_best() -> None:
    figures: list[float] = [5, 4, 4, 3, 3, 3, 3, 3]
    assert len(train(Line(figures), epochs=8, monitor="valid_figure", patience=2).rows) == 6
    assert len(train(Line(figures), epochs=8, monitor="valid_figure", patience=1).rows) == 3
    assert len(train(Line(figures), epochs=8, monitor="valid_figure").rows) == 8


def test_a_stopped_training_stays_stopped(tmp_path: Path) -> None:
    run = Run(tmp_path)
    first = train(Line([1, 2, 3]), run, epochs=9, monitor="valid_figure", patience=1)
    line = Line([1, 2, 3])
    again = train(line, run, epochs=9, monitor="valid_figure", patience=1)
    assert again == first
    assert again.complete
    assert line.epochs_measured == 0


def test_the_listener_hears_every_epoch_and_which_is_best() -> None:
    heard: list[tuple[int, bool]] = []

    def listen(row: Row, is_best: bool) -> None:
        heard.append((int(row["epoch"]), is_best))

    from triptych.training.output import Output

    train(Line([2, 1, 3]), epochs=3, monitor="valid_figure", output=Output(listener=listen))
    assert heard == [(1, True), (2, True), (3, False)]


def test_an_unknown_monitor_is_refused() -> None:
    message = r"training.monitor is 'valid_figur'; expected a validation metric. Did you mean 'valid_figure'\?"
    with pytest.raises(RecipeError, match=message):
        train(Line(), epochs=1, monitor="valid_figur")


def test_a_diverging_training_is_an_error() -> None:
    with pytest.raises(TrainingError, match=r"train_loss in epoch 1 is (nan|inf); expected a finite number. Lower"):
        train(Line(), epochs=3, optimizer={"learning_rate": 1e30})
    with pytest.raises(TrainingError, match=r"the largest weight of 1.\w+ in epoch 1 is (nan|inf); expected a fin"):
        train(Line(), epochs=3, batch_size=POINTS, optimizer={"learning_rate": 3e38})
    with pytest.raises(TrainingError, match=r"valid_figure in epoch 2 is nan; expected a finite number."):
        train(Line([1, float("nan")]), epochs=3, monitor="valid_figure")
