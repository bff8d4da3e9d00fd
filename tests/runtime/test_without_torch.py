"""The runtime where PyTorch is not installed, and how soon it answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import triptych
from tests.export.models import network, ship, speller
from triptych.export.memory import export_memory

SCRIPT = """
import json, sys, time
began = time.perf_counter()
from triptych import runtime
from triptych.runtime import Decoding
speller = runtime.load(sys.argv[1])
first = speller.predict("abc")
seconds = time.perf_counter() - began
settings = [Decoding(), Decoding(method="beam", n_best=3), Decoding(method="sample", top_p=0.8)]
texts = [[c.text for p in speller.predict(["abc", "dd", "jihgf"], decoding=s) for c in p.candidates] for s in settings]
memory = runtime.load(sys.argv[2]).update([[1.0, 0.0]], steps=2).tolist()
print(json.dumps({"texts": texts, "memory": memory, "seconds": seconds, "modules": sorted(sys.modules)}))
"""
BLOCKED = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top in NAMES:
            raise ImportError(f"No module named {top!r}: blocked")
sys.meta_path.insert(0, Blocker())
NAMES = ("torch", "lightning", "onnx", "regex", "rapidfuzz", "safetensors", "sklearn", "scipy", "tomli_w", "typer")
"""


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    """An exported ensemble and an exported memory."""
    ship(speller(network(attention="additive"), network(1, attention="monotonic")), tmp_path / "spell")
    export_memory(torch.eye(2), tmp_path / "memory", beta=2.0)
    return [str(tmp_path / "spell"), str(tmp_path / "memory")]


def run(python: str, code: str, folders: list[str], **environment: str) -> dict[str, object]:
    done = subprocess.run(
        [python, "-c", code, *folders],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_nothing_but_numpy_and_onnx_runtime_is_imported(folders: list[str]) -> None:
    whole = run(sys.executable, SCRIPT, folders)
    alone = run(sys.executable, BLOCKED + SCRIPT, folders)
    assert (alone["texts"], alone["memory"]) == (whole["texts"], whole["memory"])
    modules = whole["modules"]
    assert isinstance(modules, list)
    assert [name for name in ("torch", "onnx", "regex", "scipy", "tomli_w") if name in modules] == []


def test_a_missing_onnx_runtime_is_one_line_with_the_command(folders: list[str]) -> None:
    code = BLOCKED.replace('"typer"', '"onnxruntime"') + (
        "from triptych import runtime\n"
        "try: runtime.load(sys.argv[1])\n"
        "except ImportError as error: print(repr(str(error)).replace(chr(39), chr(34)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *folders], capture_output=True, text=True, check=True)
    assert "onnxruntime is not installed. Install it with: pip install" in done.stdout
    assert "triptych[onnx]" in done.stdout


@pytest.mark.slow
def test_an_environment_of_numpy_and_onnx_runtime_gives_the_same_results(folders: list[str], tmp_path: Path) -> None:
    """A fresh environment with the two libraries and a copy of the package; needs a package index."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = str(environment / "bin" / "python")
    constraints = Path(__file__).resolve().parents[2] / "constraints.txt"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", str(constraints)]
    subprocess.run([*install, "numpy", "onnxruntime", "pydantic"], check=True)
    package = tmp_path / "package" / "triptych"
    shutil.copytree(Path(triptych.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    assert "torch" not in listed.stdout
    alone = run(python, SCRIPT, folders, PYTHONPATH=str(package.parent))
    whole = run(sys.executable, SCRIPT, folders)
    assert (alone["texts"], alone["memory"]) == (whole["texts"], whole["memory"])
