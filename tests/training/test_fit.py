"""The training loop: settings that act, resuming, damaged checkpoints, logs, quietness."""

from __future__ import annotations

import signal
import warnings
from pathlib import Path
from typing import Any, Literal

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from tests.training.line import Line, loaders, train
from triptych.config import OptimizerTable, TrainingTable
from triptych.errors import RecipeError, RunError
from triptych.runs.run import Row, Run
from triptych.training.fit import fit
from triptych.training.hardware import PRECISIONS, Hardware, check_option, precision_here
from triptych.training.output import Fitted, Output


class Rates(Callback):
    """Writes down the learning rate and the gradient of every update."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.gradients: list[float] = []

    def on_before_optimizer_step(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.rates.append(optimizer.param_groups[0]["lr"])

    def on_before_zero_grad(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        gradients = [weight.grad for weight in pl_module.parameters() if weight.grad is not None]
        if gradients:
            self.gradients.append(float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]))))


def observe(line: Line, **settings: Any) -> Rates:
    watcher = Rates()
    train(line, output=Output(callbacks=(watcher,)), **settings)
    return watcher


def weights(line: Line) -> list[float]:
    return [float(weight) for tensor in line.network.state_dict().values() for weight in tensor.flatten()]


def test_gradients_are_clipped_to_the_norm() -> None:
    free = observe(Line(), epochs=1)
    clipped = observe(Line(), epochs=1, gradient_clip=0.5)
    assert max(free.gradients) > 0.5
    assert max(clipped.gradients) <= 0.5 + 1e-6
    assert clipped.gradients[0] == pytest.approx(0.5, rel=1e-4)


def test_schedules_set_the_rate_of_every_update() -> None:
    falling = observe(Line(), epochs=2, optimizer={"schedule": "linear", "final_fraction": 0.5})
    assert falling.rates == pytest.approx([0.1, 0.09, 0.08, 0.07, 0.06, 0.05])
    warm = observe(Line(), epochs=2, optimizer={"warmup_steps": 4})
    assert warm.rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])
    stalling = observe(
        Line([1, 1, 2, 0]),
        epochs=5,
        monitor="valid_figure",
        optimizer={"schedule": "plateau", "plateau_patience": 1},
    )
    assert stalling.rates == pytest.approx([0.1] * 9 + [0.05] * 6)


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"gradient_clip": 0.1},
        {"average_decay": 0.5},
        {"epochs": 3},
        {"batch_size": 12},
        {"patience": 1},
        {"monitor": "valid_loss", "patience": 1},
    ],
)
def test_every_training_setting_changes_the_result(changed: dict[str, Any]) -> None:
    def result(**settings: Any) -> list[float]:
        line = Line([1, 2, 3, 0], dropout=0.4)
        common: dict[str, Any] = {"epochs": 4, "monitor": "valid_figure"}
        compared = {"patience": 1} if "monitor" in changed else {}
        train(line, **(common | compared | settings))
        return weights(line)

    assert result() == result()
    assert result(**changed) != result()


KINDS: list[dict[str, Any]] = [
    {"optimizer": {"schedule": "cosine", "warmup_steps": 4}},
    {"optimizer": {"name": "adam", "schedule": "one-cycle"}, "average_decay": 0.8},
    {"optimizer": {"schedule": "plateau", "plateau_patience": 0}, "keep": "last"},
    {"optimizer": {"momentum": 0.9}, "patience": 2},
]


@pytest.mark.parametrize("kind", KINDS, ids=["cosine", "average", "plateau", "patience"])
@pytest.mark.parametrize("cut", [1, 2, 4])
def test_resumed_after_any_epoch_is_as_uninterrupted(tmp_path: Path, kind: dict[str, Any], cut: int) -> None:
    figures = [5.0, 6.0, 4.0, 4.0, 4.0, 4.0]
    common: dict[str, Any] = {"epochs": 6, "monitor": "valid_figure", **kind}
    whole, run = Run(tmp_path / "whole"), Run(tmp_path / "cut")
    expected = train(Line(figures, dropout=0.4), whole, **common)

    def stop(row: Row, is_best: bool) -> None:
        if row["epoch"] == cut + 1:
            raise ZeroDivisionError  # as a kill would: after the model, before history and checkpoint

    with pytest.raises(ZeroDivisionError):
        train(Line(figures, dropout=0.4), run, output=Output(listener=stop), **common)
    torch.rand(7)  # whatever happened to random numbers in between
    line = Line(figures, dropout=0.4)
    line.epochs_measured = cut
    resumed = train(line, run, **common)
    assert run.tensors().keys() == whole.tensors().keys()
    for name, tensor in whole.tensors().items():
        assert torch.equal(run.tensors()[name], tensor)
    assert without_clock(resumed) == without_clock(expected)
    assert resumed.best_epoch == expected.best_epoch


def without_clock(fitted: Fitted) -> list[Row]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in fitted.rows]


@pytest.mark.parametrize("damage", ["empty", "half", "text", "other", "shape"])
def test_a_damaged_checkpoint_is_an_error(tmp_path: Path, damage: str) -> None:
    run = Run(tmp_path)
    train(Line(), run, epochs=1)
    content = run.checkpoint.read_bytes()
    match damage:
        case "empty":
            run.checkpoint.write_bytes(b"")
        case "half":
            run.checkpoint.write_bytes(content[: len(content) // 2])
        case "text":
            run.checkpoint.write_text("not a checkpoint")
        case "other":
            torch.save({"weights": torch.zeros(3)}, run.checkpoint)
        case "shape":
            checkpoint = torch.load(run.checkpoint, weights_only=True)
            checkpoint["state_dict"] = {name: torch.zeros(5, 5) for name in checkpoint["state_dict"]}
            torch.save(checkpoint, run.checkpoint)
    with pytest.raises(RunError, match=r"last.ckpt: the file is damaged or of another model \(.*\)\. Start over"):
        train(Line(), run, epochs=2)


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    run = Run(tmp_path)
    train(Line(), run, epochs=1)
    torch.save({"state_dict": Trap(), "callbacks": {}, "loops": {}}, run.checkpoint)
    with pytest.raises(RunError, match="damaged"):
        train(Line(), run, epochs=2)
    assert not (tmp_path / "sprung").exists()


def scalars(run: Run) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_has_every_epoch_once(tmp_path: Path) -> None:
    """Also those that were logged, and then trained again because no checkpoint had been written."""
    run = Run(tmp_path)
    output = Output(tensorboard=True)
    train(Line(), run, output=output, epochs=2)
    checkpoint = run.checkpoint.read_bytes()
    train(Line(), run, output=output, epochs=3)
    run.checkpoint.write_bytes(checkpoint)  # as after a kill between the logs and the checkpoint of epoch 3
    fitted = train(Line(), run, output=output, epochs=4)
    found = scalars(run)
    assert {"train_loss", "valid_loss", "valid_figure", "learning_rate"} <= found.keys()
    for name in ("train_loss", "valid_loss"):
        assert [step for step, _ in found[name]] == [1, 2, 3, 4]
        assert [value for _, value in found[name]] == pytest.approx([row[name] for row in fitted.rows])


def test_without_a_run_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    train(Line(), epochs=2, average_decay=0.5, output=Output(tensorboard=True))
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_printed_and_nothing_warned(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train(Line(), Run(tmp_path), epochs=2, average_decay=0.5, output=Output(tensorboard=True))
        train(Line(), Run(tmp_path), epochs=3, average_decay=0.5)
    assert capfd.readouterr() == ("", "")


def test_the_progress_bar_is_on_standard_error(capfd: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich then takes standard error for a terminal
    train(Line(), epochs=2, output=Output(progress=True))
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "Epoch" in printed.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_after_its_batch_and_is_given_back(tmp_path: Path, number: signal.Signals) -> None:
    class Press(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    fitted = train(Line(), Run(tmp_path), epochs=2, output=Output(callbacks=(Press(),)))
    assert (fitted.interrupted, fitted.signal, fitted.complete) == (True, number, False)
    assert fitted.rows == []
    assert signal.getsignal(number) is before


def test_ctrl_c_twice_or_early_interrupts_at_once() -> None:
    class Twice(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    class Early(Callback):
        def setup(self, *_: Any, **__: Any) -> None:
            signal.raise_signal(signal.SIGINT)

    found = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # whoever started the tests may have had it ignored
    try:
        for press in (Twice(), Early()):
            with pytest.raises(KeyboardInterrupt):
                train(Line(), epochs=2, output=Output(callbacks=(press,)))
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, found)


def test_hardware_names_are_checked() -> None:
    with pytest.raises(RecipeError, match=r"--accelerator is 'cpuu'; expected one of .* Did you mean 'cpu'\?"):
        Hardware.checked("cpuu", devices=1, nodes=1)
    with pytest.raises(RecipeError, match=r"--precision is '16-mixd'; .* Did you mean '16-mixed'\?"):
        check_option("precision", "16-mixd", PRECISIONS)
    assert Hardware.checked("cpu", devices=3, nodes=2) == Hardware("cpu", 3, 2)


@pytest.mark.parametrize(
    ("capabilities", "chosen"),
    [({"avx512_bf16": True}, "bf16-mixed"), ({"amx_bf16": True}, "bf16-mixed"), ({"avx512_f": True}, "32-true")],
)
def test_auto_is_bfloat16_on_processors_with_instructions_for_it(
    capabilities: dict[str, bool], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert precision_here("auto", "cpu") == chosen
    assert precision_here("64-true", "cpu") == "64-true"


def test_a_batch_must_have_an_item_for_every_process() -> None:
    message = "training.batch_size is 3 with 4 processes; expected an item for each, >= 4. Raise it or lower --devices"
    with pytest.raises(RecipeError, match=message):
        fit(
            Line(),
            loaders(),
            optimizer=OptimizerTable(),
            training=TrainingTable(batch_size=3),
            run=None,
            hardware=Hardware("cpu", devices=2, nodes=2),
        )


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_mixed_precision_clips_gradients(name: Literal["adam", "adamw", "sgd"]) -> None:
    def trained(clip: float) -> list[float]:
        line = Line()
        fit(
            line,
            loaders(),
            optimizer=OptimizerTable(name=name),
            training=TrainingTable(epochs=1, precision="bf16-mixed", gradient_clip=clip),
            run=None,
            hardware=Hardware("cpu"),
        )
        return weights(line)

    assert trained(1e-6) != trained(0)


def test_half_precision_on_a_processor_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"training\.precision is '16-mixed'; .* --precision bf16-mixed"):
        precision_here("16-mixed", "cpu")


def test_precision_reaches_the_weights() -> None:
    line = Line()
    fit(
        line,
        loaders(),
        optimizer=OptimizerTable(),
        training=TrainingTable(epochs=1, precision="bf16-mixed"),
        run=None,
        hardware=Hardware("cpu"),
    )
    exact = Line()
    train(exact, epochs=1, optimizer={"learning_rate": 0.001, "name": "adam"})
    assert weights(line) != weights(exact)
