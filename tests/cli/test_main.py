"""The frame of the command line: help, mistakes, traces."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest
import typer

from tests.cli.conftest import Triptych, one_error
from triptych.cli import main as main_module
from triptych.errors import RecipeError, RunError

COMMANDS = [
    "demo", "train", "test", "predict", "explain", "report", "runs", "compare", "calibrate", "ensemble", "tune",
    "find-learning-rate", "recipes", "version", "count", "memory", "experiment", "anatomy", "export", "serve",
    "score", "align", "distil", "pack", "models",
]  # fmt: skip
FIGURELESS = {"predict", "report", "version", "serve", "memory", "anatomy"}
OF_GROUPS = ["memory build", "memory query", "memory info", "anatomy conv", "anatomy compare", "anatomy windows"]


def test_the_commands_are_these(triptych: Triptych) -> None:
    group = typer.main.get_command(main_module.app)
    assert isinstance(group, typer.core.TyperGroup)
    assert sorted(group.commands) == sorted(COMMANDS)
    result = triptych("--help")
    assert result.status == 0
    assert all(command in result.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(triptych: Triptych, command: str) -> None:
    result = triptych(command, "--help")
    assert (result.status, result.err) == (0, "")
    assert f"triptych {command}" in result.out
    group = typer.main.get_command(main_module.app)
    assert isinstance(group, typer.core.TyperGroup)
    undocumented = [
        parameter.name
        for parameter in group.commands[command].params
        if not getattr(parameter, "help", None) and parameter.name != "help"
    ]
    assert undocumented == []


@pytest.mark.parametrize("command", [*sorted({*COMMANDS} - FIGURELESS), *OF_GROUPS])
def test_every_command_that_prints_figures_takes_json(triptych: Triptych, command: str) -> None:
    assert "--json" in triptych(*command.split(), "--help").out


def test_no_arguments_shows_help(triptych: Triptych) -> None:
    result = triptych()
    assert result.status == 0
    assert "Usage:" in result.out
    assert "predict" in result.out


def test_version(triptych: Triptych) -> None:
    import triptych as package

    assert triptych("version").out == f"{package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("trian",), "No such command 'trian'. Did you mean 'train'? See: triptych --help"),
        (("explan", "first"), "Did you mean 'explain'?"),
        (("runs", "--jsn"), "No such option: --jsn (Possible options: --json). See: triptych runs --help"),
        (("train", "--nmae", "x"), "--name"),
        (("predict", "first", "--n-bets", "3"), "--n-best"),
        (("predict",), "Missing argument 'RUN'."),
        (("predict", "first", "--n-best", "many"), "--n-best': Input should be a valid integer"),
        (("train", "p2g-plain", "--devices", "0"), "'--devices': Input should be greater than or equal to 1"),
        (("recipes", "p2g-plain", "extra"), "extra"),
        (("train", "p2g-adative"), "Did you mean 'p2g-additive'?"),
        (("train", "p2g-plain", "--set", "model.hiden=3"), "model.hiden is not a known key. Did you mean 'hidden'?"),
        (("train", "p2g-plain", "--set", "model.hidden"), "--set is 'model.hidden'; expected table.key=value."),
        (("train",), "recipe is missing; expected one."),
        (("train", "--resume"), "--name is missing; expected the name of the run to resume."),
        (("train", "p2g-plain", "--precision", "16"), "--precision is '16'; expected one of 32-true, 16-mixed"),
        (("train", "p2g-plain", "--accelerator", "cup"), "Did you mean 'cpu'?"),
        (("train", "p2g-plain", "--name", " "), "the name of the run is empty."),
        (("demo", "spel"), "Did you mean 'spell'?"),
        (("recipes", "p2gg"), "expected a shipped recipe"),
        (("recipes", "--resolved"), "--resolved"),
        (("recipes", "--set", "a=b"), "--set"),
        (("tune", "p2g-plain", "--search", "model.hidden"), "model.hidden"),
        (("tune", "p2g-plain", "--search", "model.hiden=8,16"), "Did you mean 'hidden'?"),
        (("tune", "p2g-plain", "--search", "training.epochs=8,0"), "training.epochs is 0; expected an integer >= 1"),
        (("find-learning-rate", "p2g-plain", "--steps", "3"), "'--steps': Input should be greater than or equal to 10"),
        (
            ("find-learning-rate", "p2g-plain"),
            "data.set is ''; expected the name of a data set where --data is not given.",
        ),
        (("train", "p2g-plain"), "data.set is ''; expected the name of a data set where --data is not given."),
    ],
)
def test_a_mistake_is_one_line_with_the_remedy(
    triptych: Triptych, arguments: tuple[str, ...], part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert part in one_error(triptych(*arguments))
    assert [path.name for path in tmp_path.rglob("*")] in ([], ["runs"]), "a mistake leaves nothing behind"


@pytest.mark.parametrize("command", ["test", "predict", "report"])
def test_a_misspelt_run_suggests_the_nearest(triptych: Triptych, workspace: Path, command: str) -> None:
    assert one_error(triptych(command, "frist")) == (
        "run is 'frist'; expected the name or path of a run. Did you mean 'first'?"
    )


def test_without_any_run_the_message_says_how_to_make_one(
    triptych: Triptych, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train = "Train one with: triptych train RECIPE --name NAME"
    included = f"{train}, or use a model that is included: en-us-g2p."
    assert one_error(triptych("test", "first")).endswith(included)
    assert one_error(triptych("test", "en-us-g2q")).endswith("Did you mean 'en-us-g2p'?")


def failing_command(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(main_module, "app", fail)


def test_debug_shows_the_trace(triptych: Triptych, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["triptych", "--debug", "recipes", "p2gg"])
    with pytest.raises(RecipeError, match=r"recipe is 'p2gg'"):
        main_module.main()


def test_several_lines_become_one(triptych: Triptych, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_command(RunError("a\n  b\tc"), monkeypatch)
    assert one_error(triptych("runs")) == "a b c"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interrupt_ends_with_130(triptych: Triptych, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    failing_command(error, monkeypatch)
    result = triptych("runs")
    assert (result.status, result.err) == (130, "error: interrupted.\n")


def test_a_full_disk_is_one_line(triptych: Triptych, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_command(OSError(errno.ENOSPC, "No space left on device", "runs/x/run.json"), monkeypatch)
    assert one_error(triptych("runs")) == "runs/x/run.json: No space left on device."


def test_a_closed_output_is_not_an_error(triptych: Triptych, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_command(BrokenPipeError(), monkeypatch)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # main puts another in its place
    result = triptych("runs")
    sys.stdout.close()
    assert (result.status, result.err) == (141, "")


def test_a_mistake_of_ours_keeps_its_trace(triptych: Triptych, monkeypatch: pytest.MonkeyPatch) -> None:
    failing_command(ZeroDivisionError(), monkeypatch)
    with pytest.raises(ZeroDivisionError):
        main_module.main()
