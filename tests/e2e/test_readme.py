"""The README's own commands, word for word, on a small file of pairs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.documents import ROOT, blocks

SECTIONS = ("Your own data", "Your own images", "Your own patterns")
BLOCKS = re.compile(r"```(sh|python)\n(.*?)```", re.DOTALL)


def blocks_of(section: str) -> list[tuple[str, str]]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    part = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [(kind, code) for kind, code in BLOCKS.findall(part)]


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    environment.pop("TRIPTYCH_RUNS", None)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def write_pairs(folder: Path) -> None:
    """Words of two or three syllables whose phonemes are their letters."""
    syllables = ["ba", "ti", "ko", "me", "lu", "sa", "ri", "no"]
    words = sorted({a + b + c for a in syllables for b in syllables for c in ("", *syllables[:3])})
    rows = "".join(f"{' '.join(word.upper())}\t{word}\n" for word in words)
    (folder / "pairs.tsv").write_text(rows, encoding="utf-8")
    (folder / "sources.txt").write_text("B A T I\nK O M E\n", encoding="utf-8")


def write_pictures(folder: Path) -> None:
    """Two classes of colour pictures, of several sizes."""
    random = np.random.default_rng(0)
    for name, mean in (("dark", 60), ("light", 190)):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(14):
            pixels = random.integers(mean - 50, mean + 50, size=(20 + number, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{number}.png")


def write_patterns(folder: Path) -> None:
    """Patterns, and some of them with noise as cues."""
    random = np.random.default_rng(0)
    patterns = random.standard_normal((50, 16)).astype(np.float32)
    np.save(folder / "patterns.npy", patterns)
    np.save(folder / "cues.npy", patterns[:5] + 0.1 * random.standard_normal((5, 16)).astype(np.float32))


def test_every_block_of_the_readme_is_run_here() -> None:
    run_here = [(kind, code.rstrip("\n")) for section in SECTIONS for kind, code in blocks_of(section)]
    assert [(block.language, block.code) for block in blocks(ROOT / "README.md") if block.runs] == run_here


@pytest.mark.slow
def test_your_own_images_and_patterns(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    write_patterns(tmp_path)
    for section in SECTIONS[1:]:
        for _, code in blocks_of(section):
            result = run(tmp_path, "bash", "-e", "-c", code)
            assert result.returncode == 0, result.stderr
    rows = [line.split("\t") for line in (tmp_path / "classes.tsv").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 28
    assert {row[1] for row in rows} <= {"dark", "light"}
    assert (tmp_path / "recalled.json").stat().st_size > 100


def test_your_own_data_in_three_commands_and_python(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    shell, python = blocks_of(SECTIONS[0])
    assert (shell[0], python[0]) == ("sh", "python")
    commands = shell[1].strip().splitlines()
    assert len(commands) == 3
    for command in commands:
        result = run(tmp_path, "bash", "-c", command)
        assert result.returncode == 0, result.stderr
    rows = [line.split("\t") for line in (tmp_path / "predictions.tsv").read_text(encoding="utf-8").splitlines()]
    assert [row[0] for row in rows] == ["B A T I", "K O M E"]
    assert all(len(row) == 1 + 2 * 3 for row in rows)
    assert (tmp_path / "runs" / "mine" / "report.html").stat().st_size > 10_000
    result = run(tmp_path, sys.executable, "-c", python[1])
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 3


def test_every_command_of_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`triptych ([a-z-]+)", text))
    listed = run(ROOT, "triptych", "--help").stdout
    assert named
    assert [name for name in named if not re.search(rf"\b{name}\b", listed)] == []


@pytest.mark.parametrize("target", ["demo", "test", "test-all", "bench", "format"])
def test_make_knows_the_readme_s_targets(target: str) -> None:
    assert run(ROOT, "make", "--dry-run", target).returncode == 0
