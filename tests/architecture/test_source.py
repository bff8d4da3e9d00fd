"""House rules that a parser can check: file and function lengths, names, what loads a model, imports at start."""

from __future__ import annotations

import ast
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import triptych
from triptych import api
from triptych.runs.run import Run

PACKAGE = Path(triptych.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
DEFINITIONS = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign,
)  # fmt: skip
LONGEST_FILE = 400
LONGEST_FUNCTION = 60

every_file = pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function's body without its docstring; the signature of a command is its list of options."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return 0 if not body else (body[-1].end_lineno or 0) - body[0].lineno + 1


@every_file
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


@every_file
def test_functions_are_short(path: Path) -> None:
    long = {function.name: code_lines(function) for function in functions(parsed(path))}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_FUNCTION} == {}


@every_file
def test_every_module_and_public_name_has_a_docstring(path: Path) -> None:
    tree = parsed(path)
    missing = [] if ast.get_docstring(tree) or not tree.body else ["module"]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            missing += [] if ast.get_docstring(node) else [node.name]
    assert missing == []


def test_no_file_is_a_drawer_for_everything() -> None:
    drawers = {"utils", "util", "helpers", "helper", "misc", "common_utils", "tools"}
    assert [path for path in FILES if path.stem in drawers] == []


@every_file
def test_nothing_that_runs_code_loads_a_file(path: Path) -> None:
    tree = parsed(path)
    unpicklers = {"cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name.split(".")[0] for alias in node.names} & unpicklers
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in unpicklers
            if node.module == "pickle":
                assert {alias.name for alias in node.names} == {"UnpicklingError"}
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "compile", "__import__", "numpy.load", "np.load", "yaml.load")
            assert not called.startswith("pickle.")
            if called == "torch.load":
                assert {k.arg: ast.unparse(k.value) for k in node.keywords}.get("weights_only") == "True"


@every_file
def test_arguments_are_never_swallowed(path: Path) -> None:
    """`**options` only where each one is looked at: the names are checked by the function or by what it calls."""
    allowed = {("options.py", "run"), ("run.py", "update_facts"), ("batches.py", "to")}
    allowed |= {("graph.py", "op"), ("graph.py", "ops")}  # ONNX checks an operator's attributes
    sinks = {(path.name, function.name) for function in functions(parsed(path)) if function.args.kwarg is not None}
    assert sinks <= allowed


@every_file
def test_no_work_at_import_time(path: Path) -> None:
    """At module level there are definitions, constants and declarations, but no statements that act."""
    acting: list[str] = []
    for node in parsed(path).body:
        is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        is_definition = isinstance(node, DEFINITIONS)
        is_type_checking = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (is_docstring or is_definition or is_type_checking):
            acting.append(f"line {node.lineno}: {ast.unparse(node)[:60]}")
    expected = {"__main__.py": ["main()"], "main.py": ["for command in", "for group in"]}.get(path.name, [])
    assert len(acting) == len(expected), acting
    assert all(part in found for part, found in zip(expected, acting, strict=True)), acting


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)


HEAVY = ("torch", "lightning", "matplotlib", "numpy", "optuna", "sklearn", "safetensors", "pandas", "scipy")


@pytest.mark.parametrize(
    "module", ["triptych", "triptych.cli.main", "triptych.config", "triptych.errors", "triptych.files"]
)
def test_starting_loads_nothing_heavy(module: str) -> None:
    done = python(f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])")
    assert done.stdout.strip() == "[]"


def loaded_by(arguments: list[str], folder: Path, names: tuple[str, ...]) -> str:
    """Which of the modules a command has loaded when it ends."""
    code = (
        "import sys, os\n"
        f"os.chdir({str(folder)!r})\n"
        f"sys.argv = ['triptych', *{arguments}]\n"
        "from triptych.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        f"print([name for name in {names} if name in sys.modules], file=sys.stderr)\n"
    )
    return python(code).stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["predict", "--help"], ["recipes"], ["nonsense"]]
)
def test_answers_that_need_no_model_load_no_pytorch(arguments: list[str], tmp_path: Path) -> None:
    assert loaded_by(arguments, tmp_path, ("torch", "lightning", "matplotlib")) == "[]"


def test_resuming_a_finished_run_loads_no_trainer(workspace: Path) -> None:
    api.evaluate(Run.open("first"), split="valid")
    api.write_report(Run.open("first"))
    arguments = ["train", "--resume", "--name", "first"]
    assert loaded_by(arguments, workspace, ("lightning", "torchmetrics")) == "[]"


def test_a_mistake_in_the_data_is_reported_before_the_trainer_is_loaded(tmp_path: Path) -> None:
    arguments = ["train", "p2g-additive-tiny", "--data", "nonesuch.tsv"]
    assert loaded_by(arguments, tmp_path, ("lightning", "torchmetrics", "matplotlib")) == "[]"


def test_help_answers_in_half_a_second() -> None:
    """Processor time of the best of three, since other processes share the machine."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "triptych", "--help"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "Usage: triptych" in done.stdout
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


def test_importing_writes_nothing_and_prints_nothing(tmp_path: Path) -> None:
    modules = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in FILES if path.stem != "__main__"
    ]
    done = python(
        f"import os, importlib; os.chdir({str(tmp_path)!r})\nfor name in {modules}: importlib.import_module(name)"
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_what_loads_an_image_model_imports_nothing_of_spelling() -> None:
    code = (
        "import sys, triptych.api.models, triptych.see.panel\nprint([n for n in sys.modules if 'triptych.spell' in n])"
    )
    assert python(code).stdout.strip() == "[]"
