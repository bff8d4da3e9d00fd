"""Every command but predict: what it prints, what it writes, and one JSON object when asked."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Triptych, json_of, one_error
from tests.conftest import ToyRuns
from tests.toy import write_toy
from triptych.api.panels import given_options, panel_of
from triptych.config import load_recipe, shipped_recipes
from triptych.errors import RecipeError

QUICK = ("--set", "training.epochs=1", "--set", "data.max_train_pairs=40", "--set", "data.max_eval_pairs=10")


# test


def test_test_measures_the_test_split_and_writes_it_into_the_run(triptych: Triptych, workspace: Path) -> None:
    document = json_of(triptych, "test", "first", "--decode", "beam", "--n-best", "3")
    assert (document["run"], document["split"], document["decoding"], document["n_items"]) == (
        "first",
        "test",
        "beam5-best3",
        60,
    )
    with (workspace / "runs/first/predictions/test.beam5-best3.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    edits, lengths = ([int(row[name]) for row in rows] for name in ("edits", "reference_length"))
    assert document["cer"]["value"] == pytest.approx(sum(edits) / sum(lengths))
    assert document["wer"]["value"] == pytest.approx(sum(edit > 0 for edit in edits) / 60)
    assert document["cer"]["low"] <= document["cer"]["value"] <= document["cer"]["high"]
    nothing_right = [
        row["references"] not in (row["prediction"], row["prediction_2"], row["prediction_3"]) for row in rows
    ]
    assert document["wer_at_k"]["3"]["value"] == pytest.approx(sum(nothing_right) / 60)
    wrong = (workspace / "runs/first/predictions/test.beam5-best3.errors.tsv").read_text(encoding="utf-8").splitlines()
    assert len(wrong) - 1 == sum(edit > 0 for edit in edits)
    facts = json.loads((workspace / "runs/first/run.json").read_text())
    assert facts["evaluations"]["test/beam5-best3"]["cer"]["value"] == document["cer"]["value"]
    assert "Evaluation test/beam5" in (workspace / "runs/first/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "label", "line"),
    [
        ((), "greedy", "WER"),
        (("--decode", "beam", "--length-penalty", "0.5"), "beam5-length0.5", "WER"),
        (("--decode", "sample", "--top-p", "0.8", "--samples", "3"), "sample3-p0.8", "WER@3"),
        (("--samples", "2", "--temperature", "0.5", "--top-k", "4"), "sample2-t0.5-k4", "mean over predictions"),
        (("--split", "valid"), "greedy", "valid"),
    ],
)
def test_test_prints_a_table_under_any_decoding(
    triptych: Triptych, workspace: Path, options: tuple[str, ...], label: str, line: str
) -> None:
    result = triptych("test", "first", *options)
    assert result.status == 0, result.err
    assert f"{label}: 60 items" in result.out
    assert line in result.out
    assert "CER" in result.out


def test_test_takes_data_from_elsewhere_and_says_where_it_is_missing(triptych: Triptych, workspace: Path) -> None:
    other = write_toy(workspace / "other", train=20, valid=5, test=7, seed=9)
    assert json_of(triptych, "test", "first", "--data", str(other))["n_items"] == 7
    assert one_error(triptych("test", "first", "--split", "tst")) == (
        "split is 'tst'; expected one of train, valid, test."
    )
    recorded = workspace / "runs/first/run.json"
    facts = json.loads(recorded.read_text())
    recorded.write_text(json.dumps({**facts, "data_location": str(workspace / "gone")}))
    message = one_error(triptych("test", "first"))
    assert message == f"{workspace}/gone: the data of first was not found. Pass its place with --data."


def test_test_skips_bad_rows_when_asked(triptych: Triptych, workspace: Path) -> None:
    other = write_toy(workspace / "other", train=20, valid=5, test=7, seed=9)
    with (other / "test.tsv").open("a", encoding="utf-8") as rows:
        rows.write("no tab\n")
    arguments = ("test", "first", "--data", str(other))
    assert one_error(triptych(*arguments)).startswith(f"{other}/test.tsv:8: ")
    result = triptych(*arguments, "--skip-bad", "--json")
    assert json.loads(result.out)["n_items"] == 7
    assert result.err.startswith(f"warning: {other}/test.tsv")


def test_test_with_a_word_list_is_labelled(triptych: Triptych, workspace: Path, toy_runs: ToyRuns) -> None:
    words = [line.split("\t")[1] for line in (toy_runs.data / "test.tsv").read_text().splitlines()]
    (workspace / "list.txt").write_text("\n".join(words))
    free = json_of(triptych, "test", "second")
    held = json_of(triptych, "test", "second", "--lexicon", "list.txt")
    weighed = json_of(triptych, "test", "second", "--lexicon", "list.txt", "--lexicon-weight", "2.5")
    assert [held["decoding"], weighed["decoding"]] == ["greedy-lexicon-list", "greedy-lexicon-list-w2.5"]
    assert held["wer"]["value"] <= free["wer"]["value"]
    dictionary = json_of(triptych, "test", "second", "--dictionary", str(toy_runs.data / "test.tsv"))
    assert (dictionary["decoding"], dictionary["wer"]["value"]) == ("greedy-dictionary-test", 0.0)


def test_help_says_which_panel_an_option_is_of(triptych: Triptych, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    of_spell = (
        "--decode", "--beam-size", "--n-best", "--length-penalty", "--samples", "--temperature", "--top-k", "--top-p",
        "--seed", "--lexicon", "--lexicon-weight", "--dictionary",
    )  # fmt: skip
    for command in ("predict", "test"):
        options = [line for line in triptych(command, "--help").out.splitlines() if line.lstrip("│ ").startswith("--")]
        lines = {name: next(line for line in options if f"{name} " in line) for name in (*of_spell, "--views")}
        assert all("(spell" in lines[name] for name in of_spell)
        assert ("(see) classes listed by predict." in lines["--n-best"]) == (command == "predict")
        assert "(see only)" in lines["--views"]
    assert "all of one panel" in " ".join(triptych("ensemble", "--help").out.split())


def test_an_option_of_another_panel_points_to_its_own_where_there_is_one() -> None:
    for command, remedy in (
        ("predict", "Use --n-best for the number of classes to list."),
        ("test", "Remove it."),  # which has no use for --n-best either
    ):
        with pytest.raises(RecipeError) as refused:
            given_options(panel_of("see"), command, {"top_k": 3, "n_best": None})
        assert str(refused.value) == f"--top-k is 3 and has no effect on a see run. {remedy}"


# explain


def test_explain_draws_the_attention_and_lists_candidates(triptych: Triptych, workspace: Path) -> None:
    document = json_of(triptych, "explain", "first", "SH UW", "--n-best", "2", "--out", "pictures")
    first, _second = document["candidates"]
    assert first["text"] == "shoo"
    assert document["source"] == ["SH", "UW"]
    assert [len(row) for row in document["attention"]] == [2] * 5
    assert all(sum(row) == pytest.approx(1, abs=1e-5) for row in document["attention"])
    (picture,) = (workspace / "pictures").glob("attention-shoo-*.png")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "<svg" in picture.with_suffix(".svg").read_text()
    printed = triptych("explain", "first", "SH UW")
    assert f"runs/first/figures/{picture.name}" in printed.out
    assert (workspace / "runs/first/figures" / picture.name).with_suffix(".svg").exists()


def test_explain_warns_of_unknown_symbols_and_refuses_an_empty_source(triptych: Triptych, workspace: Path) -> None:
    assert "warning: 'ZZ' never seen in training" in triptych("explain", "first", "ZZ B").err
    assert one_error(triptych("explain", "first", " ")).startswith("source 0 has 0 symbols; expected at least one.")


# report, runs, compare, ensemble, recipes


def test_report_is_written_again(triptych: Triptych, workspace: Path) -> None:
    (workspace / "runs/first/report.html").unlink(missing_ok=True)
    result = triptych("report", "first")
    assert result.out == "runs/first/report.html\n"
    page = (workspace / "runs/first/report.html").read_text(encoding="utf-8")
    assert "Evaluation test/greedy" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "<script src" not in page
    for figure in ("curves", "test-greedy-error-by-length", "test-greedy-confusions"):
        assert (workspace / f"runs/first/figures/{figure}.png").exists()
        assert (workspace / f"runs/first/figures/{figure}.svg").exists()


def test_runs_lists_finished_killed_and_damaged_runs(triptych: Triptych, workspace: Path) -> None:
    killed = Path(shutil.copytree("runs/second", "runs/killed"))
    facts = json.loads((killed / "run.json").read_text())
    (killed / "run.json").write_text(json.dumps({**facts, "status": "running"}))
    shutil.copytree("runs/second", "runs/damaged")
    Path("runs/damaged/run.json").write_text("{")
    Path("runs/not-a-run").mkdir()
    result = triptych("runs")
    assert result.status == 0
    assert "test/greedy: CER 0." in result.out
    assert "running or killed" in result.out
    assert "warning: runs/damaged/run.json: the file is damaged" in result.err
    listed = {run["name"]: run for run in json_of(triptych, "runs")["runs"]}
    assert {name: run["status"] for name, run in listed.items()} == {
        "first": "finished", "killed": "running", "second": "finished",
    }  # fmt: skip
    assert listed["first"]["epochs"] == 6


def test_runs_says_how_to_begin(triptych: Triptych, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = triptych("runs")
    assert result.out == ""
    assert result.err == f"No runs in {tmp_path}/runs. Train one with: triptych train RECIPE --name NAME\n"
    monkeypatch.setenv("TRIPTYCH_RUNS", str(tmp_path / "elsewhere"))
    assert json_of(triptych, "runs") == {"folder": str(tmp_path / "elsewhere"), "runs": []}


def test_compare_shows_the_difference_and_whether_it_is_chance(triptych: Triptych, workspace: Path) -> None:
    document = json_of(triptych, "compare", "first", "second", "--out", "c")
    assert document["evaluation"] == "test/greedy"
    first, second = document["runs"]
    assert (first["name"], second["name"], first["n_items"]) == ("first", "second", 60)
    for measure, key in (("CER", "cer"), ("WER", "wer"), ("mean error", "mean_error")):
        difference = document["differences"]["second"][measure]
        assert difference["difference"] == pytest.approx(second[key]["value"] - first[key]["value"])
    assert document["differences"]["second"]["CER"]["p_value"] < 0.05
    assert Path(document["picture"]).read_bytes().startswith(b"\x89PNG")
    printed = triptych("compare", "first", "second")
    assert "better/same/worse items" in printed.out
    itself = json_of(triptych, "compare", "first", "runs/first")["differences"]["runs/first"]["CER"]
    assert itself["difference"] == 0


def test_compare_refuses_what_cannot_be_compared(triptych: Triptych, workspace: Path) -> None:
    assert one_error(triptych("compare", "first")) == (
        "the number of runs is 1; expected at least two. List them with: triptych runs"
    )
    assert one_error(triptych("compare", "first", "second", "--on", "test/gredy")) == (
        "--on is 'test/gredy'; expected an evaluation of every run. Did you mean 'test/greedy'?"
    )
    (workspace / "runs/second/predictions/test.greedy.tsv").unlink()
    assert "runs/second/predictions/test.greedy.tsv" in one_error(triptych("compare", "first", "second"))


def test_an_ensemble_is_a_run_like_any_other(triptych: Triptych, workspace: Path) -> None:
    document = json_of(triptych, "ensemble", "first", "second", "--name", "both")
    assert (document["run"], document["members"]) == ("runs/both", ["first", "second"])
    tested = json_of(triptych, "test", "both")
    assert tested["n_items"] == 60
    assert triptych("predict", "both", "--n-best", "2", stdin=b"SH UW\n").out.startswith("SH UW\t")
    assert (workspace / json_of(triptych, "explain", "both", "SH UW")["picture"]).exists()
    assert triptych("report", "both").status == 0
    assert json_of(triptych, "compare", "first", "both")["runs"][1]["cer"]["value"] == tested["cer"]["value"]


def test_an_ensemble_of_a_run_with_itself_measures_the_same(triptych: Triptych, workspace: Path) -> None:
    shutil.copytree("runs/first", "runs/again")
    twice = json_of(triptych, "ensemble", "first", "again", "--name", "twice")["valid"]
    once = json_of(triptych, "test", "first", "--split", "valid")
    assert (twice["cer"]["value"], twice["wer"]["value"]) == (once["cer"]["value"], once["wer"]["value"])


def test_ensembles_that_cannot_be_are_refused_and_leave_their_members(triptych: Triptych, workspace: Path) -> None:
    assert one_error(triptych("ensemble", "first", "--name", "x")).startswith(
        "the number of runs is 1; expected at least two."
    )
    for name in ("first", "runs/first"):
        message = one_error(triptych("ensemble", "first", "second", "--name", name, "--force"))
        assert message == f"name is {name!r}; expected another than a member's. Members stay as they are."
    assert one_error(triptych("ensemble", "first", "second", "--name", "second")).startswith("name is 'second'")
    json_of(triptych, "ensemble", "first", "second", "--name", "both")
    assert one_error(triptych("ensemble", "first", "both", "--name", "three")).startswith("runs/both: this run is an")
    assert one_error(triptych("ensemble", "first", "second", "--name", "both")).startswith(
        "runs/both: there is a run of this name"
    )
    path = workspace / "runs/second/model.json"
    description = json.loads(path.read_text())
    path.write_text(json.dumps({**description, "source_symbols": ["x", *description["source_symbols"][1:]]}))
    assert one_error(triptych("ensemble", "first", "second", "--name", "x")).startswith(
        "second has other symbols or another direction than first. Train the members on the same data"
    )
    assert sorted(path.name for path in Path("runs").iterdir()) == ["both", "first", "second"]
    assert triptych("predict", "first", stdin=b"B IY\n").status == 0


def test_recipes_are_listed_and_printed(triptych: Triptych) -> None:
    listed = {recipe["name"] for recipe in json_of(triptych, "recipes")["recipes"]}
    assert listed == set(shipped_recipes())
    shown = triptych("recipes").out
    assert "p2g-additive" in shown
    assert "tiny" not in shown
    assert triptych("recipes", "p2g-additive").out == shipped_recipes()["p2g-additive"].read_text(encoding="utf-8")
    assert json_of(triptych, "recipes", "p2g-plain") == load_recipe("p2g-plain").model_dump()
    resolved = triptych("recipes", "p2g-additive", "--set", "training.seed=7").out
    assert "seed = 7" in resolved
    assert "beam_size = 5" in resolved
    assert triptych("recipes", "p2g-plain", "--resolved").out.startswith('panel = "spell"')


# train, find-learning-rate, tune


def test_train_writes_a_whole_run(triptych: Triptych, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_toy(tmp_path / "toy", train=40, valid=10, test=10)
    document = json_of(triptych, "train", "p2g-additive-tiny", "--data", "toy", "--name", "mine", *QUICK)
    assert document["run"] == "runs/mine"
    assert document["valid"]["n_items"] == 10
    present = {path.relative_to("runs/mine").as_posix() for path in Path("runs/mine").rglob("*") if path.is_file()}
    assert {"recipe.toml", "run.json", "metrics.csv", "model.safetensors", "model.json", "report.html"} <= present
    assert load_recipe("runs/mine/recipe.toml").training.epochs == 1
    assert not [path for path in present if re.search(r"/\.(?!.*lock$)", f"/{path}")], "nothing half-written"
    taken = one_error(triptych("train", "p2g-additive-tiny", "--data", "toy", "--name", "mine", *QUICK))
    assert taken.startswith("runs/mine: there is a run of this name already.")
    assert "--force" in taken
    assert triptych("train", "p2g-additive-tiny", "--data", "toy", "--name", "mine", "--force", *QUICK).status == 0


def test_tiny_scales_a_shipped_recipe_down(triptych: Triptych, workspace: Path, toy_runs: ToyRuns) -> None:
    document = json_of(triptych, "train", "p2g-additive", "--tiny", "--data", str(toy_runs.data))
    assert document["run"] == "runs/p2g-additive-tiny-0"
    assert load_recipe(f"{document['run']}/recipe.toml") == load_recipe("p2g-additive-tiny")
    assert "expected a shipped one" in one_error(triptych("train", "own.toml", "--tiny"))


def test_a_run_begun_on_a_relative_path_can_be_resumed_without_it(
    triptych: Triptych, workspace: Path, toy_runs: ToyRuns
) -> None:
    shutil.copytree(toy_runs.data, "toy")
    assert triptych("train", "p2g-plain-tiny", "--data", "toy", "--name", "mine", *QUICK).status == 0
    assert triptych("train", "--resume", "--name", "mine").status == 0
    shutil.rmtree("toy")  # a finished run is not trained again, and reads nothing
    done = triptych("train", "--resume", "--name", "mine")
    assert (done.status, done.err.splitlines()[0]) == (0, "mine has already finished; nothing to do.")


def test_bad_data_leaves_the_name_free(triptych: Triptych, workspace: Path, toy_runs: ToyRuns) -> None:
    arguments = ("train", "p2g-plain-tiny", "--name", "mine", *QUICK)
    one_error(triptych(*arguments, "--data", "nowhere"))
    assert not (workspace / "runs/mine").exists()
    assert triptych(*arguments, "--data", str(toy_runs.data)).status == 0


def test_find_learning_rate_suggests_one_and_draws(triptych: Triptych, workspace: Path, toy_runs: ToyRuns) -> None:
    arguments = ("find-learning-rate", "p2g-plain-tiny", "--data", str(toy_runs.data), "--steps", "30")
    document = json_of(triptych, *arguments, "--out", "lr")
    assert 1e-6 < document["suggestion"] < 1
    assert (workspace / document["picture"]).exists()
    rates = [rate for rate, _ in document["trials"]]
    assert rates == sorted(rates)
    assert not (workspace / "runs/p2g-plain-tiny-0").exists()


def test_find_learning_rate_gives_the_line_that_trains_the_same(
    triptych: Triptych, workspace: Path, toy_runs: ToyRuns
) -> None:
    shutil.copytree(toy_runs.data, "my toy's")
    chosen = ("--data", "my toy's", "--set", "title=two words", "--set", "training.epochs=1")
    result = triptych("find-learning-rate", "p2g-plain-tiny", *chosen, "--steps", "30", "--out", "lr")
    suggestion = result.out.split()[-1]
    line = next(line for line in result.err.splitlines() if line.startswith("use it   "))
    given = ["p2g-plain-tiny", *chosen, "--set", f"optimizer.learning_rate={suggestion}"]
    assert shlex.split(line.removeprefix("use it   ")) == ["triptych", "train", *given]
    assert triptych("train", *given[1:], "p2g-plain-tiny", "--name", "mine").status == 0


def test_tune_draws_the_search_and_writes_the_best(triptych: Triptych, workspace: Path, toy_runs: ToyRuns) -> None:
    arguments = ("tune", "p2g-plain-tiny", "--data", str(toy_runs.data), *QUICK)
    document = json_of(triptych, *arguments, "--search", "optimizer.learning_rate=0.00001,0.03")
    assert document["best"]["params"] == {"optimizer.learning_rate": 0.03}
    assert load_recipe(document["recipe"]).optimizer.learning_rate == 0.03
    assert [trial["state"] for trial in document["trials"]] == ["complete", "complete"]


def test_tune_heads_its_table_with_the_metric_and_gives_the_line_that_trains_the_best(
    triptych: Triptych, workspace: Path, toy_runs: ToyRuns
) -> None:
    shutil.copytree(toy_runs.data, "my toy")
    arguments = ("tune", "p2g-plain-tiny", "--data", "my toy", *QUICK, "--search", "model.dropout=0.1", "--name", "a b")
    result = triptych(*arguments)
    assert "valid cer (lower is better)" in result.out.splitlines()[0]
    line = next(line for line in result.err.splitlines() if line.startswith("next    "))
    assert shlex.split(line)[1:] == ["triptych", "train", "searches/a b/best.toml", "--data", "my toy"]


def test_tune_names_the_key_that_was_meant(triptych: Triptych, workspace: Path, toy_runs: ToyRuns) -> None:
    arguments = ("tune", "p2g-plain-tiny", "--data", str(toy_runs.data))
    assert one_error(triptych(*arguments, "--search", "optimizer.lr=1e-4..1e-1:log")) == (
        "optimizer.lr is not a known key. Did you mean 'learning_rate'?"
    )


BAD_FILES: dict[str, tuple[bytes, str]] = {
    "missing column": (b"B IY\tbe\nS UW\n", "train.tsv:2: the row has 1 column; expected at least 2"),
    "empty field": (b"B IY\tbe\n\tsoo\n", "train.tsv:2: the source is empty; expected at least one symbol"),
    "not UTF-8": (b"B IY\tbe\nS UW\ts\xff\n", "train.tsv:2: byte 0xff at offset 14 of the file is not UTF-8"),
    "NUL": (b"B IY\tbe\nS\x00\tsoo\n", "train.tsv:2: a NUL byte is at offset 9 of the file"),
    "100,000 symbols": (b"B IY\tbe\n" + b"B " * 100_000 + b"\tx\n", "train.tsv:2: the source has 100000 symbols"),
    "empty file": (b"", "train.tsv: the file is empty; expected at least one pair."),
    "blank line": (b"B IY\tbe\n\nS UW\tsoo\n", "train.tsv:2: the row is blank; expected a source and a target"),
}


@pytest.mark.parametrize(("content", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_bad_training_data_is_reported_with_its_place(
    triptych: Triptych, workspace: Path, toy_runs: ToyRuns, content: bytes, message: str
) -> None:
    shutil.copytree(toy_runs.data, "toy")
    Path("toy/train.tsv").write_bytes(content)
    arguments = ("train", "p2g-plain-tiny", "--data", "toy", "--name", "mine", *QUICK)
    assert one_error(triptych(*arguments)).startswith(f"toy/{message}")
    if content:
        with_many = content + b"".join(b"B IY K\t%s\n" % word for word in (b"beek", b"beec"))
        Path("toy/train.tsv").write_bytes(with_many)
        result = triptych(*arguments, "--skip-bad")
        assert result.status == 0, result.err
        assert f"warning: toy/{message}" in result.err
        assert "Bad rows that were skipped, this one first: 1; pairs that were read: " in result.err


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (b"\xef\xbb\xbfB IY\tbe\r\nS UW\tsoo\r\n", None),
        (b"B IY\tbe\n", "warning: toy/train.tsv: there is 1 pair; training and splitting need more."),
        (b"B IY\tbe\n" * 9, "warning: toy/train.tsv: all 9 pairs are the same; nothing can be learnt from them."),
    ],
    ids=["BOM and CRLF", "one line", "all the same"],
)
def test_odd_training_data_trains(
    triptych: Triptych, workspace: Path, toy_runs: ToyRuns, content: bytes, warning: str | None
) -> None:
    shutil.copytree(toy_runs.data, "toy")
    Path("toy/train.tsv").write_bytes(content)
    result = triptych("train", "p2g-plain-tiny", "--data", "toy", "--name", "mine", *QUICK)
    assert result.status == 0, result.err
    assert (warning or "") in result.err
    assert warning or result.err.count("warning: ") == result.err.count("warning: the training makes 1 updates")
    assert "\ufeff" not in (workspace / "runs/mine/model.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("one.tsv", b"B IY\tbe\n", "the data has 1 items in 1 groups; expected at least 3 groups"),
        ("same.tsv", b"B IY\tbe\n" * 50, "the data has 50 items in 1 groups; expected at least 3 groups"),
        ("words.doc", b"B IY\tbe\n", "words.doc: the extension is '.doc'; expected one of .tsv, .txt, .csv"),
        ("words.tsv.gz", b"no gzip", "words.tsv.gz:1: the compressed data is damaged"),
    ],
)
def test_a_single_file_that_cannot_be_split_is_reported(
    triptych: Triptych, workspace: Path, name: str, content: bytes, part: str
) -> None:
    Path(name).write_bytes(content)
    assert part in one_error(triptych("train", "p2g-plain-tiny", "--data", name, "--name", "mine", *QUICK))


def test_locations_that_hold_no_data_are_reported(triptych: Triptych, workspace: Path, toy_runs: ToyRuns) -> None:
    shutil.copytree(toy_runs.data, "toy")
    arguments = ("train", "p2g-plain-tiny", "--name", "mine", *QUICK)
    assert one_error(triptych(*arguments, "--data", "toi")) == "toi: no such file or folder. Did you mean 'toy'?"
    Path("empty").mkdir()
    assert one_error(triptych(*arguments, "--data", "empty")).startswith(
        "empty: the folder has none of the files train.tsv, valid.tsv, test.tsv. Give one file of pairs"
    )
    Path("toy/train.tsv").unlink()
    Path("toy/train.tsv").mkdir()
    assert one_error(triptych(*arguments, "--data", "toy")) == "toy/train.tsv: is a directory; expected a file."
    message = one_error(triptych(*arguments, "--set", "data.set=cmudct"))
    assert "Did you mean 'cmudict'?" in message
