"""`triptych predict` as a pipe: TSV in the order of the lines, bad lines reported with their place, bounded memory."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Triptych, one_error
from tests.toy import toy_pairs
from triptych import api

LINES = [" ".join(sounds) for sounds, _ in toy_pairs(30, seed=5)]


def rows(out: str) -> list[list[str]]:
    return [line.split("\t") for line in out.splitlines()]


def piped(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def test_each_line_gives_source_prediction_and_log_probability(triptych: Triptych, workspace: Path) -> None:
    result = triptych("predict", "first", stdin=piped(*LINES))
    assert (result.status, result.err) == (0, "")
    predictions = api.load("first").predict(LINES)
    expected = [[" ".join(p.source), p.text, f"{p.log_probability:.4f}"] for p in predictions]
    assert [row[0] for row in expected] == LINES
    assert rows(result.out) == expected


def test_a_file_a_gzip_and_a_pipe_give_the_same(triptych: Triptych, workspace: Path) -> None:
    (workspace / "words.txt").write_bytes(piped(*LINES))
    (workspace / "words.txt.gz").write_bytes(gzip.compress(piped(*LINES)))
    pipe = triptych("predict", "first", stdin=piped(*LINES)).out
    assert triptych("predict", "first", "words.txt").out == pipe
    assert triptych("predict", "first", "words.txt.gz").out == pipe
    assert triptych("predict", "first", "-", stdin=piped(*LINES)).out == pipe
    assert triptych("predict", str(workspace / "runs" / "first"), "words.txt").out == pipe


def test_further_candidates_come_in_pairs_of_columns_best_first(triptych: Triptych, workspace: Path) -> None:
    for row in rows(triptych("predict", "first", "--n-best", "7", stdin=piped(*LINES)).out):
        assert len(row) == 1 + 2 * 7
        log_probabilities = [float(cell) for cell in row[2::2]]
        assert log_probabilities == sorted(log_probabilities, reverse=True)
        assert len(set(row[1::2])) == 7
    (row,) = rows(triptych("predict", "first", "--beam-size", "4", stdin=piped("B IY")).out)
    assert len(row) == 3


def test_samples_depend_on_the_seed_alone(triptych: Triptych, workspace: Path) -> None:
    def sampled(*options: str) -> str:
        return triptych("predict", "second", "--decode", "sample", *options, stdin=piped(*LINES)).out

    first = sampled("--seed", "1", "--samples", "2")
    assert {len(row) for row in rows(first)} == {5}
    assert first == sampled("--seed", "1", "--samples", "2")
    assert first != sampled("--seed", "2", "--samples", "2")
    assert sampled("--top-k", "1", "--samples", "1") == triptych("predict", "second", stdin=piped(*LINES)).out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--decode", "greddy"),
            "decoding.method is 'greddy'; expected one of greedy, beam, sample. Did you mean 'greedy'?",
        ),
        (
            ("--decode", "greedy", "--beam-size", "3"),
            "decoding.beam_size is 3 and has no effect with method 'greedy'.",
        ),
        (
            ("--beam-size", "3", "--top-p", "0.5"),
            "decoding.top_p is 0.5 and has no effect with method 'beam'.",
        ),
        (
            ("--decode", "sample", "--n-best", "3"),
            "decoding.n_best is 3 and has no effect with method 'sample'.",
        ),
        (
            ("--beam-size", "2", "--n-best", "3"),
            "decoding.n_best is 3; expected an integer from 1 to beam_size = 2. Raise beam_size",
        ),
        (("--beam-size", "0"), "decoding.beam_size is 0; expected an integer >= 1."),
        (("--top-p", "1.5"), "decoding.top_p is 1.5; expected a number <= 1."),
        (("--temperature", "0"), "decoding.temperature is 0.0; expected a number >= 0.0001."),
        (
            ("--lexicon-weight", "3"),
            "--lexicon-weight is 3.0 without a word list. Add --lexicon FILE.",
        ),
        (("--device", "cdu"), "device is 'cdu'; expected one of this machine: cpu"),
        (("--lexicon", "no.txt"), "no.txt: no such file."),
        (("--dictionary", "no.tsv"), "no.tsv: no such file."),
    ],
)
def test_wrong_options_are_reported(
    triptych: Triptych, workspace: Path, options: tuple[str, ...], message: str
) -> None:
    assert one_error(triptych("predict", "first", *options, stdin=piped("B IY"))).startswith(message)


def test_an_unknown_symbol_is_warned_of_once_with_its_place(triptych: Triptych, workspace: Path) -> None:
    result = triptych("predict", "first", stdin=piped("B IY", "ZZ B", "ZZ", "B QQ ZZ"))
    assert len(rows(result.out)) == 4
    assert result.err.splitlines() == [
        "warning: standard input:2: 'ZZ' never seen in training; expect a poor prediction.",
        "warning: standard input:4: 'QQ' never seen in training; expect a poor prediction.",
    ]


def test_rows_of_a_table_in_place_of_sources_are_warned_of_once(triptych: Triptych, workspace: Path) -> None:
    result = triptych("predict", "first", stdin=piped("B IY", "B IY\tbee", "B IY\tbee", "B\tIY"))
    assert len(rows(result.out)) == 4
    assert result.err.splitlines() == [
        "warning: standard input:2: the line has a tab, and all of it is read as the source, further columns included. "
        "Give the column of sources alone, for example with: cut -f 1",
        "warning: standard input:2: 'bee' never seen in training; expect a poor prediction.",
    ]


def test_the_place_of_an_unknown_symbol_counts_skipped_lines(triptych: Triptych, workspace: Path) -> None:
    result = triptych("predict", "first", "--skip-bad", stdin=piped("", "B IY", "", "ZZ"))
    assert "warning: standard input:4: 'ZZ'" in result.err


BAD_LINES = {
    "blank": (b"\n", "the source is empty; expected at least one symbol"),
    "white space": (b" \t \n", "the source is empty; expected at least one symbol"),
    "NUL": (b"B\x00 IY\n", "a NUL byte is at offset 6 of the file; expected text"),
    "not UTF-8": (b"B \xff\n", "byte 0xff at offset 7 of the file is not UTF-8; expected UTF-8 text."),
    "100,000 symbols": (b"B " * 100_000 + b"\n", "the source has 100000 symbols; expected at most 1000"),
    "5 MB": (b"B" * 5_000_000 + b"\n", "the line has 5000001 bytes; expected at most 4194304"),
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_bad_line_stops_with_its_place_or_is_skipped_with_a_count(
    triptych: Triptych, workspace: Path, line: bytes, reason: str
) -> None:
    stdin = b"B IY\n" + line + line + b"S UW\n"
    failed = triptych("predict", "first", stdin=stdin)
    assert failed.status == 2
    assert failed.err.startswith(f"error: standard input:2: {reason}")
    assert len(failed.err.splitlines()) == 1
    (workspace / "words.txt").write_bytes(stdin)
    assert triptych("predict", "first", "words.txt").err.startswith(f"error: words.txt:2: {reason}")
    skipped = triptych("predict", "first", "--skip-bad", stdin=stdin)
    assert skipped.status == 0
    assert [row[0] for row in rows(skipped.out)] == ["B IY", "S UW"]
    assert skipped.err.startswith(f"warning: standard input:2: {reason}")
    assert skipped.err.endswith("Skipped 2 unreadable lines, this one first.\n")


def test_line_ends_a_byte_order_mark_and_a_missing_last_line_end_do_not_matter(
    triptych: Triptych, workspace: Path
) -> None:
    plain = triptych("predict", "first", stdin=b"B IY\nS UW\n").out
    for variant in (b"B IY\r\nS UW\r\n", b"\xef\xbb\xbfB IY\nS UW\n", b"B IY\nS UW"):
        assert triptych("predict", "first", stdin=variant).out == plain
    spaced = triptych("predict", "first", stdin=b"  B   IY \nS UW\n").out
    assert spaced == plain.replace("B IY", "  B   IY "), "the first column is the input as it is"


def test_no_input_gives_no_output(triptych: Triptych, workspace: Path) -> None:
    result = triptych("predict", "first", stdin=b"")
    assert (result.status, result.out, result.err) == (0, "", "")


def test_missing_inputs_are_reported(triptych: Triptych, workspace: Path) -> None:
    (workspace / "words.txt").write_bytes(piped("B IY"))
    message = one_error(triptych("predict", "first", "wrods.txt"))
    assert message == "wrods.txt: no such file. Did you mean 'words.txt'?"
    assert one_error(triptych("predict", "first", "runs")) == "runs: is a directory; expected a file."
    (workspace / "words.txt.gz").write_bytes(b"no gzip")
    assert one_error(triptych("predict", "first", "words.txt.gz")).startswith(
        "words.txt.gz:1: the compressed data is damaged"
    )


def test_a_word_list_and_a_dictionary(triptych: Triptych, workspace: Path) -> None:
    (workspace / "list.txt").write_text("moo\nshoo\n")
    (workspace / "own.tsv").write_text("B IY\tbea\n")
    out = triptych(
        "predict", "first", "--lexicon", "list.txt", "--dictionary", "own.tsv", stdin=piped("B IY", "M AA")
    ).out
    assert rows(out)[0] == ["B IY", "bea", "0.0000"]
    assert rows(out)[1][1] in ("moo", "shoo")
    free = triptych("predict", "first", "--lexicon", "list.txt", "--lexicon-weight", "0", stdin=piped("B IY")).out
    assert rows(free)[0][1] == rows(triptych("predict", "first", stdin=piped("B IY")).out)[0][1]


def test_predictions_that_the_limit_cuts_are_counted_at_the_end(triptych: Triptych, workspace: Path) -> None:
    (workspace / "long.txt").write_text("be" * 40 + "\n")
    ran = triptych("predict", "first", "--lexicon", "long.txt", stdin=piped("B IY", "S UW"))
    assert [line.split("\t")[1] for line in ran.out.splitlines()] == ["be" * 8, "be" * 8]
    assert ran.err.splitlines()[-1].startswith("warning: 2 predictions were cut at the limit on the length")
    assert "cut" not in triptych("predict", "first", stdin=piped("B IY")).err


def test_a_tab_in_a_prediction_cannot_break_the_columns(triptych: Triptych, workspace: Path) -> None:
    (workspace / "own.csv").write_text('B IY,"a\tb"\n')
    out = triptych("predict", "first", "--dictionary", "own.csv", stdin=piped("B IY")).out
    assert rows(out) == [["B IY", "a b", "0.0000"]]


class Endless(io.RawIOBase):
    """A stream of lines that counts what was read of it, and ends after `lines`."""

    def __init__(self, lines: int) -> None:
        self.left = lines
        self.read_lines = 0

    def readable(self) -> bool:
        return True

    def readline(self, _size: int | None = -1, /) -> bytes:
        if self.left == 0:
            return b""
        self.left -= 1
        self.read_lines += 1
        return b"B IY\n"


def test_output_begins_before_the_input_ends(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from triptych.cli.predict import predict
    from triptych.decoding import speller

    monkeypatch.setattr(speller, "CHUNK", 50)
    stream = Endless(400)
    ahead: list[int] = []

    class Out(io.StringIO):
        def write(self, text: str) -> int:
            if text == "\n":
                ahead.append(stream.read_lines - len(ahead))
            return super().write(text)

    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": stream}))
    monkeypatch.setattr(sys, "stdout", Out())
    predict(run="first")
    assert len(ahead) == 400
    assert max(ahead) <= 50


def test_line_buffered_answers_each_line_before_the_next_is_read(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from triptych.cli.predict import predict

    stream = Endless(5)
    seen: list[tuple[int, int]] = []

    class Out(io.StringIO):
        def flush(self) -> None:
            seen.append((stream.read_lines, self.getvalue().count("\n")))

    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": stream}))
    monkeypatch.setattr(sys, "stdout", Out())
    predict(run="first", line_buffered=True)
    assert seen[:5] == [(number, number) for number in range(1, 6)]


def test_a_beam_given_alone_lists_no_more_than_it_holds(triptych: Triptych, workspace: Path) -> None:
    model = json.loads((workspace / "runs/first/model.json").read_text())
    model["decoding"] |= {"method": "beam", "n_best": 3}
    (workspace / "runs/first/model.json").write_text(json.dumps(model))
    line = triptych("predict", "first", "--beam-size", "2", stdin=piped("B IY")).out
    assert len(line.rstrip("\n").split("\t")) == 1 + 2 * 2
    assert len(triptych("predict", "first", stdin=piped("B IY")).out.rstrip("\n").split("\t")) == 1 + 3 * 2


def shell(arguments: list[str], folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("TRIPTYCH_RUNS", None)
    command = [sys.executable, "-m", "triptych", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdin=pipe, stdout=pipe, stderr=pipe)


@pytest.mark.slow
def test_a_reader_that_leaves_early_causes_no_trace(workspace: Path) -> None:
    with shell(["predict", "first"], workspace) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        feed = subprocess.Popen(["yes", "B IY"], stdout=process.stdin)
        process.stdin.close()
        assert process.stdout.readline().startswith(b"B IY\t")
        process.stdout.close()
        errors = process.stderr.read()
        process.wait(timeout=120)
        feed.kill()
        feed.wait()
    assert errors == b""
    assert process.returncode in (1, 141)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_input(workspace: Path) -> None:
    def peak(lines: int) -> int:
        code = (
            "import resource, sys; from triptych.cli.main import main\n"
            "sys.argv = ['triptych', 'predict', 'first', 'words.txt']\n"
            "try: main()\n"
            "finally: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
        )
        (workspace / "words.txt").write_bytes(b"B IY S UW T EH\n" * lines)
        done = subprocess.run([sys.executable, "-c", code], cwd=workspace, capture_output=True, check=True)
        assert done.stdout.count(b"\n") == lines
        return int(done.stderr.split()[-1])

    assert peak(60_000) - peak(6_000) < 20_000, "kilobytes more for ten times the lines"
