"""Every command on runs of the panel see, over a user's own folder of pictures."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tests.cli.conftest import Triptych, json_of, one_error
from tests.conftest import ToyRuns
from tests.recipes import see_recipe
from tests.see.shapes import KINDS, SMALL, draw_shape, write_shapes
from triptych import api, runtime
from triptych.api.panels import recipe_in_use
from triptych.config import SeeDecoding
from triptych.runs.run import Run

CHOSEN = [part for setting in SMALL for part in ("--set", setting)]
QUICK = [*CHOSEN, "--set", "training.epochs=1"]


@dataclass(frozen=True)
class ShapeRuns:
    """Runs `good` and `poor` over the same shapes."""

    runs: Path
    data: Path


@pytest.fixture(scope="module")
def shape_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ShapeRuns]:
    """Trained once; to be copied."""
    place = tmp_path_factory.mktemp("shape-runs")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRIPTYCH_CACHE", str(place / "cache"))
        patched.setenv(api.NAME_FOR_HELPERS, "")
        data = write_shapes(place / "shapes")
        for name, epochs in (("good", 4), ("poor", 1)):
            recipe = see_recipe("scenes-cnn-norm-tiny", [*SMALL, f"training.epochs={epochs}"])
            run = api.start_run(recipe, recipe_name=name, name=str(place / "runs" / name), data=data)
            api.train(recipe, run, data=data)
            api.evaluate(run, split="test")
        yield ShapeRuns(place / "runs", data)


@pytest.fixture
def place(shape_runs: ShapeRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with both runs and the shapes."""
    shutil.copytree(shape_runs.runs, tmp_path / "runs")
    shutil.copytree(shape_runs.data, tmp_path / "shapes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIPTYCH_RUNS", raising=False)
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_train_writes_a_whole_run(triptych: Triptych, place: Path) -> None:
    document = json_of(triptych, "train", "scenes-cnn-tiny", "--data", "shapes", "--name", "mine", *QUICK)
    assert document["run"] == "runs/mine"
    assert document["valid"]["n_items"] == 6
    present = {path.relative_to("runs/mine").as_posix() for path in Path("runs/mine").rglob("*") if path.is_file()}
    assert {"recipe.toml", "run.json", "metrics.csv", "model.safetensors", "model.json", "report.html"} <= present
    assert {"predictions/valid.one.tsv", "predictions/valid.one.errors.tsv"} <= present
    assert json.loads(Path("runs/mine/model.json").read_text())["classes"] == list(KINDS)
    assert not [path for path in present if re.search(r"/\.(?!.*lock$)", f"/{path}")], "nothing half-written"


def test_train_says_first_what_there_is_and_last_what_to_do(triptych: Triptych, place: Path) -> None:
    limited = ("--set", "data.max_train_images=20")
    result = triptych("train", "scenes-cnn-norm-tiny", "--data", "shapes", "--name", "mine", *QUICK, *limited)
    lines = result.err.splitlines()
    parameters = Run.open("mine").facts()["parameters"]
    content = "images of 3 classes: dark, light, striped"
    assert f"data    train 20 of 48, valid 6, test 6 {content}; a network of {parameters:,} parameters" in lines
    commands = ("calibrate mine", "test mine", "predict mine FOLDER", "explain mine IMAGE")
    assert lines[-1] == "next    " + "   ".join(f"triptych {command}" for command in commands)
    batches = -(-20 // Run.open("mine").recipe().training.items_per_update)
    assert (
        f"warning: the training makes {batches} updates, {batches} per epoch; with so few it learns little."
        in result.err
    )
    elsewhere = triptych("train", "scenes-cnn-norm-tiny", "--data", "shapes", "--name", "a b/mine", *QUICK, *limited)
    assert "triptych test 'a b/mine'" in elsewhere.err
    for kind in KINDS:
        (place / "split" / "valid" / kind).mkdir(parents=True)
        shutil.copytree(place / "shapes" / kind, place / "split" / "train" / kind)
        shutil.copy(place / "shapes" / kind / "000.png", place / "split" / "valid" / kind)
    untested = triptych("train", "scenes-cnn-norm-tiny", "--data", "split", "--name", "untested", *QUICK)
    assert untested.err.splitlines()[-1].startswith("next    triptych calibrate untested   triptych predict untested")


def test_train_skips_bad_files_when_asked(triptych: Triptych, place: Path) -> None:
    (place / "shapes/dark/bad.png").write_bytes(b"no picture")
    arguments = ("train", "scenes-cnn-tiny", "--data", "shapes", "--name", "mine", *QUICK)
    assert one_error(triptych(*arguments)).startswith("shapes/dark/bad.png: ")
    assert not Path("runs/mine").exists()
    result = triptych(*arguments, "--skip-bad")
    assert result.status == 0, result.err
    assert "warning: Skipped 1 unreadable file and read 60 images; the first: shapes/dark/bad.png: " in result.err


def test_data_without_enough_classes_is_reported(triptych: Triptych, place: Path) -> None:
    arguments = ("train", "scenes-cnn-tiny", "--name", "mine", *QUICK, "--data")
    write_shapes(place / "one", each=4, kinds=("dark",))
    assert one_error(triptych(*arguments, "one")).startswith("one: the folder has 1 class folder; expected 2 or more")
    message = one_error(triptych(*arguments, "shape"))
    assert message == "shape: no such file or folder. Did you mean 'shapes'?"
    assert not Path("runs/mine").exists()


def test_a_class_that_is_missing_from_a_split_is_reported(triptych: Triptych, place: Path) -> None:
    write_shapes(place / "split/train", each=6)
    write_shapes(place / "split/valid", each=3, seed=1, kinds=("dark", "light"))
    result = triptych("train", "scenes-cnn-tiny", "--data", "split", "--name", "mine", *QUICK)
    assert result.status == 0, result.err
    assert "warning: class 'striped' has no image in valid." in result.err


def test_a_run_that_lost_a_class_is_evaluated_wherever_its_data_is(triptych: Triptych, place: Path) -> None:
    for path in Path("shapes/dark").iterdir():
        path.write_bytes(b"junk of " + path.name.encode())
    skipping = ("--skip-bad", *QUICK)
    assert triptych("train", "scenes-cnn-norm-tiny", "--data", "shapes", "--name", "mine", *skipping).status == 0
    own = json_of(triptych, "test", "mine")
    shutil.move("shapes", "moved")
    assert json_of(triptych, "test", "mine", "--data", "moved") == own


def test_test_measures_and_writes_what_it_says(triptych: Triptych, place: Path) -> None:
    document = json_of(triptych, "test", "good", "--split", "train", "--views", "flips")
    assert (document["run"], document["split"], document["decoding"], document["n_items"]) == (
        "good", "train", "flips", 48,
    )  # fmt: skip
    with (place / "runs/good/predictions/train.flips.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    right = [row["prediction"] == row["truth"] for row in rows]
    assert document["accuracy"]["value"] == pytest.approx(sum(right) / 48)
    assert "Evaluation train/flips" in (place / "runs/good/report.html").read_text(encoding="utf-8")
    printed = triptych("test", "good")
    assert "good, test, views one: 6 items" in printed.out
    assert "accuracy" in printed.out


def test_test_takes_data_from_elsewhere(triptych: Triptych, place: Path) -> None:
    write_shapes(place / "more", each=2, seed=5, kinds=("light", "striped"))
    assert json_of(triptych, "test", "good", "--data", "more")["n_items"] == 4
    shutil.move("more/light", "more/lihgt")
    message = one_error(triptych("test", "good", "--data", "more"))
    assert "lihgt" in message
    assert "light" in message


def test_test_skips_bad_files_when_asked(triptych: Triptych, place: Path) -> None:
    write_shapes(place / "more", each=2, seed=5)
    (place / "more/dark/bad.png").write_bytes(b"no picture")
    recipe = Path("runs/good/recipe.toml").read_bytes()
    arguments = ("test", "good", "--data", "more", "--json")
    message = one_error(triptych(*arguments))
    assert message.startswith("more/dark/bad.png: ")
    assert message.endswith("or skip bad files with --skip-bad.")
    result = triptych(*arguments, "--skip-bad")
    assert json.loads(result.out)["n_items"] == 6
    assert result.err.startswith("warning: Skipped 1 unreadable file and read 6 images; the first: more/dark/bad.png: ")
    assert Path("runs/good/recipe.toml").read_bytes() == recipe
    one_error(triptych(*arguments))  # only that one reading skipped


def test_test_and_tune_warn_once_about_the_data(triptych: Triptych, place: Path) -> None:
    shutil.copy("shapes/dark/000.png", "shapes/light/999.png")
    odd = "1 image is in more than one class; the first: "
    result = triptych("test", "good", "--data", "shapes")
    assert result.status == 0, result.err
    assert result.err.count(odd) == result.err.count(" were in the training of good; ") == 1
    assert result.err.count("warning: ") == 2
    search = ("--search", "optimizer.learning_rate=0.01,0.05", "--no-prune", "--name", "odd")
    result = triptych("tune", "scenes-cnn-norm-tiny", "--data", "shapes", *QUICK, *search)
    assert result.status == 0, result.err
    assert result.err.count("warning: ") == result.err.count(odd) == 1


def test_predict_takes_a_file_a_folder_and_a_list(triptych: Triptych, place: Path) -> None:
    paths = sorted(str(path) for path in Path("shapes/striped").iterdir())
    one = triptych("predict", "good", paths[0], "--n-best", "2")
    assert one.status == 0, one.err
    path, label, probability, second, _ = one.out.rstrip("\n").split("\t")
    assert (path, label) == (paths[0], "striped")
    assert second in KINDS
    assert 1 / 3 < float(probability) <= 1
    folder = triptych("predict", "good", "shapes/striped")
    listed = triptych("predict", "good", "-", stdin="".join(f"{path}\n" for path in paths).encode())
    assert [line.split("\t")[0] for line in folder.out.splitlines()] == paths
    assert listed.out == folder.out
    assert [len(line.split("\t")) for line in folder.out.splitlines()] == [7] * 20
    right = [line.split("\t")[1] == "striped" for line in folder.out.splitlines()]
    assert sum(right) > 15


def test_predict_leaves_bad_files_out_when_asked(triptych: Triptych, place: Path) -> None:
    draw_shape(place / "new/a.png", "light", 1)
    draw_shape(place / "new/z.png", "light", 2)
    (place / "new/b.png").write_bytes((place / "new/a.png").read_bytes()[:50])
    stopped = triptych("predict", "good", "new")
    assert stopped.status == 2
    assert stopped.err.startswith("error: new/b.png: ")
    result = triptych("predict", "good", "new", "--skip-bad")
    assert result.status == 0
    assert [line.split("\t")[0] for line in result.out.splitlines()] == ["new/a.png", "new/z.png"]
    assert result.err.startswith("warning: Skipped 1 unreadable file; the first: new/b.png: ")


def test_predict_counts_files_that_are_not_images(triptych: Triptych, place: Path) -> None:
    draw_shape(place / "new/a.png", "light", 1)
    (place / "new/b.heic").write_bytes(b"\0\0\0\x18ftypheic")
    result = triptych("predict", "good", "new")
    assert (result.status, len(result.out.splitlines())) == (0, 1)
    assert result.err == (
        "warning: Skipped 1 HEIC image, a format that cannot be read; the first: new/b.heic. Convert it to JPEG.\n"
    )
    (place / "new/a.png").unlink()
    assert "Skipped 1 HEIC image" in one_error(triptych("predict", "good", "new"))


def test_predict_answers_each_path_before_the_next_when_asked(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answered: list[int] = []

    def lines() -> Iterator[bytes]:
        for number, path in enumerate(sorted(Path("shapes/light").iterdir())[:3]):
            answered.append(capsys.readouterr().out.count("\n"))
            assert sum(answered) == number, "every path before this one has its answer"
            yield f"{path}\n".encode()

    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=lines()))
    for cells in api.predict(Run.open("good"), ["-"], {"n_best": 1}, line_buffered=True):
        print("\t".join(cells))  # noqa: T201
    assert len(answered) == 3


def test_predict_says_what_it_cannot_read(triptych: Triptych, place: Path) -> None:
    (place / "empty").mkdir()
    assert one_error(triptych("predict", "good", "empty")).startswith(
        "empty: the folder has no image; expected at least"
    )
    assert one_error(triptych("predict", "good", "nowhere")).startswith("nowhere: no such file or folder;")
    assert triptych("predict", "good", "-").out == ""
    draw_shape(place / "odd/a.png", "dark", 1).rename(os.fsdecode(b"odd/\xff\t.png"))
    result = triptych("predict", "good", "odd")
    assert result.status == 0, result.err
    assert len(result.out.splitlines()) == 1
    assert result.out.split("\t")[1] in KINDS


def test_explain_draws_maps_and_evidence(triptych: Triptych, place: Path) -> None:
    document = json_of(triptych, "explain", "good", "shapes/dark/000.png", "shapes/light/000.png", "--out", "pictures")
    first, second = document["images"]
    assert (first["explained_class"], second["explained_class"]) == ("dark", "light")
    assert sum(row["probability"] for row in first["classes"]) == pytest.approx(1, abs=1e-6)
    for image in (first, second):
        for key in ("activation_maps", "saliency"):
            assert Path(image[key]).parent == Path("pictures")
            assert Path(image[key]).read_bytes().startswith(b"\x89PNG")
    assert first["activation_maps"] != second["activation_maps"], "one picture must not write over the other"
    other = ("--layer", "2", "--class", "striped")
    chosen = json_of(triptych, "explain", "good", "shapes/dark/000.png", *other)["images"][0]
    assert chosen["explained_class"] == "striped"
    assert chosen["layer"] != first["layer"]
    assert chosen["saliency"].startswith("runs/good/figures/")
    printed = triptych("explain", "good", "shapes/dark/000.png")
    assert "activation maps of " in printed.out


def test_explain_refuses_what_is_not_there(triptych: Triptych, place: Path) -> None:
    picture = "shapes/dark/000.png"
    message = one_error(triptych("explain", "good", picture, "--class", "drak"))
    assert message == "class is 'drak'; expected one of the model's 3 classes. Did you mean 'dark'?"
    for layer in ("9", "-4", "blocks.0.convolutoin"):
        assert repr(layer).strip("'") in one_error(triptych("explain", "good", picture, f"--layer={layer}"))
    assert one_error(triptych("explain", "good", "gone.png")).startswith("gone.png: ")


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("predict", "good", "shapes", "--beam-size", "3"), "--beam-size is 3"),
        (("predict", "good", "shapes", "--top-p", "0.8"), "--top-p is 0.8"),
        (("test", "good", "--decode", "beam"), "--decode is beam"),
        (("test", "good", "--lexicon", "words.txt"), "--lexicon is words.txt"),
        (("explain", "good", "shapes/dark/000.png", "--n-best", "2"), "--n-best is 2"),
    ],
)
def test_options_of_another_panel_are_refused(
    triptych: Triptych, place: Path, arguments: tuple[str, ...], option: str
) -> None:
    message = one_error(triptych(*arguments))
    assert message == f"{option} and has no effect on a see run. Remove it."


def test_an_ensemble_of_a_run_and_itself_is_refused(triptych: Triptych, place: Path) -> None:
    message = one_error(triptych("ensemble", "good", "poor", str(place / "runs/good"), "--name", "twice"))
    assert " is named twice." in message
    assert not (place / "runs/twice").exists()


def test_wrong_views_are_refused(triptych: Triptych, place: Path) -> None:
    for command in (("predict", "good", "shapes"), ("test", "good")):
        assert "decoding.views is 'flip'" in one_error(triptych(*command, "--views", "flip"))


def test_compare_two_runs(triptych: Triptych, place: Path) -> None:
    document = json_of(triptych, "compare", "good", "poor", "--out", "c")
    assert document["evaluation"] == "test/one"
    good, poor = document["runs"]
    assert (good["name"], good["n_items"]) == ("good", 6)
    difference = document["differences"]["poor"]["error rate"]["difference"]
    assert difference == pytest.approx(poor["error_rate"]["value"] - good["error_rate"]["value"])
    assert Path(document["picture"]).read_bytes().startswith(b"\x89PNG")


def test_compare_runs_whose_data_lay_elsewhere_or_was_named_otherwise(triptych: Triptych, place: Path) -> None:
    shutil.copytree("shapes", "copied/deeper")
    for run, data in (("good", "shapes"), ("poor", str(place / "copied/deeper"))):
        assert triptych("test", run, "--data", data).status == 0
    names = [(place / f"runs/{run}/predictions/test.one.tsv").read_text().splitlines()[1] for run in ("good", "poor")]
    assert names[0].split("\t")[0] == names[1].split("\t")[0]
    assert (place / "shapes" / names[0].split("\t")[0]).is_file()
    document = json_of(triptych, "compare", "good", "poor", "--on", "test/one", "--out", "c")
    assert [run["n_items"] for run in document["runs"]] == [6, 6]


def test_compare_distinguishes_images_of_one_name(triptych: Triptych, place: Path) -> None:
    """Other pictures under the same names are other items."""
    (place / "one").mkdir()
    (place / "two").mkdir()
    write_shapes(place / "one/new", each=2, seed=5)
    write_shapes(place / "two/new", each=2, seed=6)
    shutil.copytree("one/new/dark", "two/new/dark", dirs_exist_ok=True)
    for run, data in (("good", "one/new"), ("poor", "two/new")):
        assert triptych("test", run, "--data", data).status == 0
    refused = one_error(triptych("compare", "good", "poor", "--on", "test/one-on-new", "--out", "c"))
    assert refused.startswith("the runs have only 2 items in common (6 of good, 6 of poor).")


def test_tune_draws_the_curves_of_all_rates(triptych: Triptych, place: Path) -> None:
    search = ("--search", "optimizer.learning_rate=0.00001,0.05", "--no-prune")
    arguments = ("scenes-cnn-norm-tiny", "--data", "shapes", "--name", "rates", *CHOSEN, *search)
    document = json_of(triptych, "tune", *arguments)
    assert document["best"]["params"] == {"optimizer.learning_rate": 0.05}
    assert see_recipe(document["recipe"]).optimizer.learning_rate == 0.05
    assert set(document["curves"]) == {"train_loss", "valid_accuracy"}
    folder = place / "searches/rates"
    names = ("search", "curves", "training-loss", "validation-accuracy")
    drawn = {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {path.name for path in folder.iterdir()} == {"search.db", "trials.tsv", "best.toml", *drawn}
    for name, label in (("training-loss", "training loss"), ("validation-accuracy", "validation accuracy")):
        text = (folder / f"{name}.svg").read_text()
        for shown in (label, "learning_rate=1e-05", "learning_rate=0.05"):
            assert shown in text, (name, shown)
    rows = [line.split("\t") for line in (folder / "trials.tsv").read_text().splitlines()]
    assert rows[0][:4] == ["trial", "state", "valid_accuracy", "optimizer.learning_rate"]
    assert [row[3] for row in rows[1:]] == ["1e-05", "0.05"]


def test_calibrate_changes_how_sure_a_run_is_and_not_what_it_says(triptych: Triptych, place: Path) -> None:
    before = triptych("predict", "poor", "shapes", "--n-best", "1").out.splitlines()
    assert triptych("test", "poor").status == 0
    result = triptych("calibrate", "poor")
    assert result.status == 0, result.err
    document = json_of(triptych, "calibrate", "poor")
    assert f"temperature {document['temperature']:g}" in result.out
    assert document["temperature"] != 1.0
    assert document["before"] == document["after"], "the second time there is nothing left to change"
    run = Run.open("poor")
    assert list(run.facts()["evaluations"]) == ["valid/one"], "test figures of the old temperature are gone"
    assert run.model()["decoding"]["temperature"] == document["temperature"]
    assert recipe_in_use(run).decoding.temperature == document["temperature"]
    assert run.recipe().decoding.temperature == 1.0, "who trains this recipe again begins without it"
    after = triptych("predict", "poor", "shapes", "--n-best", "1").out.splitlines()
    assert [line.split("\t")[:2] for line in after] == [line.split("\t")[:2] for line in before]
    assert [line.split("\t")[2] for line in after] != [line.split("\t")[2] for line in before]
    assert f"with the temperature {document['temperature']:g}" in (place / "runs/poor/card.md").read_text(
        encoding="utf-8"
    )
    assert triptych("train", "--resume", "--name", "poor").status == 0
    assert run.model()["decoding"]["temperature"] == document["temperature"]


def test_an_ensemble_is_the_mean_of_its_members(triptych: Triptych, place: Path) -> None:
    assert triptych("calibrate", "good").status == 0  # an ensemble begins without a temperature
    document = json_of(triptych, "ensemble", "good", "poor", "--name", "both")
    assert document["members"] == ["good", "poor"]
    run, plain = Run.open("both"), SeeDecoding()
    both, good, poor = (api.load(name) for name in ("both", "good", "poor"))
    pixels = np.stack([both.read(path) for path in sorted(Path("shapes").rglob("*.png"))])
    expected = (good.probabilities(pixels, decoding=plain) + poor.probabilities(pixels, decoding=plain)) / 2
    np.testing.assert_allclose(both.probabilities(pixels), expected, rtol=1e-6, atol=1e-7)
    assert run.facts()["parameters"] == 2 * Run.open("good").facts()["parameters"]
    assert (recipe_in_use(run).decoding.temperature, both.decoding.temperature) == (1.0, 1.0)
    assert json_of(triptych, "test", "both")["n_items"] == 6
    assert triptych("explain", "both", "shapes/light/000.png").status == 0
    assert json_of(triptych, "count", "both")["parameters"] == run.facts()["parameters"]
    assert triptych("calibrate", "both").status == 0
    shipped = triptych("export", "both", "--out", "shipped")
    assert shipped.status == 0, shipped.err
    exported = runtime.load("shipped").classify(pixels)
    np.testing.assert_allclose(exported, api.load("both").probabilities(pixels), rtol=1e-3, atol=1e-6)


def test_ensembles_have_members_that_can_be_averaged(triptych: Triptych, place: Path, toy_runs: ToyRuns) -> None:
    spell = str(toy_runs.run("first").path)
    message = one_error(triptych("ensemble", "good", spell, "--name", "odd"))
    assert message.startswith("the runs are of the panels see and spell; expected runs of one panel.")
    (place / "shapes/dark/000.png").unlink()
    assert triptych("train", "scenes-cnn-norm-tiny", "--data", "shapes", "--name", "other", *QUICK).status == 0
    message = one_error(triptych("ensemble", "good", "other", "--name", "odd"))
    assert message.startswith("other was trained on other data or other splits than good, so training data")
    shutil.rmtree("shapes/dark")
    assert triptych("train", "scenes-cnn-norm-tiny", "--data", "shapes", "--name", "fewer", *QUICK).status == 0
    message = one_error(triptych("ensemble", "good", "fewer", "--name", "odd"))
    assert message.startswith("fewer has other classes or another form of images than good.")
    assert not (place / "runs/odd").exists()


def test_calibrate_refuses_what_has_no_temperature(triptych: Triptych, place: Path, toy_runs: ToyRuns) -> None:
    spell = toy_runs.run("first")
    assert "this is a spell run; only see runs can be calibrated" in one_error(triptych("calibrate", str(spell.path)))
    Run.open("good").update_facts(status="interrupted")
    assert "this run is interrupted; only finished runs" in one_error(triptych("calibrate", "good"))


def test_report_and_runs(triptych: Triptych, place: Path) -> None:
    assert triptych("report", "good").out == "runs/good/report.html\n"
    page = (place / "runs/good/report.html").read_text(encoding="utf-8")
    assert "Evaluation test/one" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    for figure in ("curves", "test-one-confusion", "test-one-reliability"):
        assert (place / f"runs/good/figures/{figure}.png").exists()
    listed = {run["name"]: run for run in json_of(triptych, "runs")["runs"]}
    assert {name: run["status"] for name, run in listed.items()} == {"good": "finished", "poor": "finished"}
    assert "test/one: accuracy " in triptych("runs").out
