"""A model is evaluated on its own data, split as in training, and never on what it was trained on."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Triptych, json_of, one_error
from tests.conftest import SETTINGS
from tests.recipes import see_recipe
from tests.see.shapes import SMALL, draw_shape
from tests.toy import toy_pairs
from triptych import api
from triptych.config import load_recipe
from triptych.errors import DataError, RunError
from triptych.runs.run import Run
from triptych.training.hardware import Hardware

QUICK = [*SETTINGS, "training.epochs=1"]


def write_pairs(path: Path, count: int, *, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{' '.join(sounds)}\t{spelling}\n" for sounds, spelling in toy_pairs(count, seed=seed)]
    path.write_text("".join(rows), encoding="utf-8")
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a run `one`, trained on 80 of the 100 pairs of `pairs.tsv`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(api.NAME_FOR_HELPERS, raising=False)
    monkeypatch.setenv("TRIPTYCH_RUNS", str(tmp_path / "runs"))
    trained("one", write_pairs(tmp_path / "pairs.tsv", 100))
    return tmp_path


def trained(name: str, data: Path, *settings: str) -> Run:
    recipe = load_recipe("p2g-additive-tiny", [*QUICK, *settings])
    run = api.start_run(recipe, recipe_name="tiny", name=name, data=data)
    api.train(recipe, run, data=data)
    return run


def trained_on_shapes(place: Path) -> Run:
    """A run `three`, trained on 36 of the 40 pictures of `shapes`, which has only the folder `train`."""
    for name in ("light", "dark"):
        for number in range(20):
            draw_shape(place / "shapes" / "train" / name / f"{number}.png", name, number)
    recipe = see_recipe("scenes-cnn-norm-tiny", [*SMALL, "training.epochs=1"])
    run = api.start_run(recipe, recipe_name="tiny", name="three", data=place / "shapes")
    api.train(recipe, run, data=place / "shapes")
    return run


@pytest.mark.parametrize("path", ["moved/pairs.tsv", "../pairs.tsv", "link.tsv"])
def test_its_own_data_is_split_as_in_training_wherever_it_lies(triptych: Triptych, place: Path, path: str) -> None:
    recorded = json_of(triptych, "test", "one")
    (place / "moved").mkdir()
    if path == "moved/pairs.tsv":
        shutil.move("pairs.tsv", "moved/pairs.tsv")
        assert "Pass its place with --data" in one_error(triptych("test", "one"))
    (place / "link.tsv").symlink_to("pairs.tsv")
    found = json_of(triptych, "test", "one", "--data", path if path != "../pairs.tsv" else f"moved/{path}")
    assert found == recorded
    assert (found["n_items"], found["decoding"]) == (10, "greedy")
    assert list(Run.open("one").facts()["evaluations"]) == ["test/greedy"]
    assert json_of(triptych, "test", "one") == recorded, "and where it lies now is remembered"


def test_data_that_has_changed_is_not_split_again(triptych: Triptych, place: Path) -> None:
    write_pairs(place / "pairs.tsv", 110)
    message = one_error(triptych("test", "one"))
    assert message.startswith(f"the data of one, {place}/pairs.tsv, has changed since training;")
    assert message.endswith(f"Restore it, or evaluate the model on all of it with --data {place}/pairs.tsv")
    found = json_of(triptych, "test", "one", "--data", "pairs.tsv")
    assert (found["n_items"], found["decoding"]) == (110, "greedy-on-pairs")


def test_training_items_in_other_data_are_reported(triptych: Triptych, place: Path) -> None:
    lines = (place / "pairs.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    new = write_pairs(place / "new.tsv", 7, seed=3).read_text(encoding="utf-8")
    (place / "mixed.tsv").write_text("".join(lines) + new, encoding="utf-8")
    overlap = "80 of 107 items of this data were in the training of one; "
    for remedy in (["--data", "mixed.tsv"], ["--data", "mixed.tsv", "--decode", "beam"]):
        assert overlap in triptych("test", "one", *remedy).err
    assert overlap in (place / "runs" / "one" / "report.html").read_text(encoding="utf-8")
    card = (place / "runs" / "one" / "card.md").read_text(encoding="utf-8")
    assert f"\n- test/greedy-on-mixed: {overlap}" in card
    assert "in the training of" not in triptych("test", "one", "--data", "new.tsv").err
    assert "in the training of" not in triptych("test", "one").err
    trained("two", place / "pairs.tsv", "training.seed=1", "data.max_train_pairs=70")
    made = api.make_ensemble([Run.open("two"), Run.open("one")], name="whole")
    assert len(made.trained_on()) == 80
    (made.path / "trained-on.bin").write_bytes(b"broken")
    assert "trained-on.bin: the file is damaged" in one_error(triptych("test", "whole", "--data", "mixed.tsv"))
    (made.path / "trained-on.bin").unlink()  # as in a run from before it was kept
    assert "in the training of" not in triptych("test", "whole", "--data", "mixed.tsv").err


def test_a_part_of_its_own_data_is_other_data(triptych: Triptych, place: Path) -> None:
    for split, count in (("train", 30), ("valid", 8), ("test", 9)):
        write_pairs(place / "folder" / f"{split}.tsv", count, seed=count)
    run = trained("two", place / "folder")
    own = json_of(triptych, "test", "two")
    facts = run.facts()
    assert json_of(triptych, "test", "two", "--data", "folder/test.tsv")["n_items"] == 9
    result = triptych("test", "two", "--data", "folder/train.tsv")
    assert "30 of 30 items of this data were in the training of two; " in result.err
    assert list(run.facts()["evaluations"]) == ["test/greedy", "test/greedy-on-test", "test/greedy-on-train"]
    assert run.facts()["evaluations"]["test/greedy"] == facts["evaluations"]["test/greedy"]
    assert run.facts()["data_location"] == facts["data_location"]
    assert json_of(triptych, "test", "two") == own


def test_only_training_data_is_other_data_too(triptych: Triptych, place: Path) -> None:
    """Of a folder with `train` alone, validation is a part of that; by itself it would be split otherwise."""
    run = trained_on_shapes(place)
    result = triptych("test", "three", "--data", "shapes/train")
    assert "36 of 40 items of this data were in the training of three; " in result.err
    assert list(run.facts()["evaluations"]) == ["test/one-on-train"]
    assert run.facts()["data_location"] == str(place / "shapes")


def test_data_that_holds_its_own_as_its_test_is_other_data(triptych: Triptych, place: Path) -> None:
    folder = place / "folder"
    write_pairs(folder / "train.tsv", 30, seed=5)
    write_pairs(folder / "valid.tsv", 8, seed=6)
    shutil.copy(place / "pairs.tsv", folder / "test.tsv")
    result = triptych("test", "one", "--data", "folder")
    assert "80 of 100 items of this data were in the training of one; " in result.err
    assert list(Run.open("one").facts()["evaluations"]) == ["test/greedy-on-folder"]


def test_other_data_of_the_same_name_is_another_evaluation(triptych: Triptych, place: Path) -> None:
    for number in (1, 2):
        write_pairs(place / str(number) / "new.tsv", 5 + number, seed=number)
    labels = [json_of(triptych, "test", "one", "--data", f"{number}/new.tsv")["decoding"] for number in (1, 2, 1, 2)]
    assert labels[0] == "greedy-on-new"
    assert re.fullmatch("greedy-on-new-[0-9a-f]{6}", labels[1])
    evaluations = Run.open("one").facts()["evaluations"]
    assert sorted(found["n_items"] for found in evaluations.values()) == [6, 7]
    report = (place / "runs" / "one" / "report.html").read_text(encoding="utf-8")
    for number in (1, 2):
        assert f"On other data than the run&#39;s own: {place}/{number}/new.tsv, SHA-256 " in report


def test_names_of_evaluations_do_not_depend_on_earlier_ones(triptych: Triptych, place: Path) -> None:
    for split, count in (("train", 30), ("valid", 8), ("test", 9)):
        write_pairs(place / "folder" / f"{split}.tsv", count, seed=count)
    for split in ("valid", "test", "test"):
        assert json_of(triptych, "test", "one", "--data", "folder", "--split", split)["decoding"] == "greedy-on-folder"


def test_a_validation_split_that_came_later_is_other_data(triptych: Triptych, place: Path) -> None:
    trained_on_shapes(place)
    for name in ("light", "dark"):
        draw_shape(place / "shapes" / "valid" / name / "new.png", name, 99)
    assert "has changed since training" in one_error(triptych("test", "three", "--split", "valid"))


def test_a_test_file_may_come_later(triptych: Triptych, place: Path) -> None:
    for split, count in (("train", 30), ("valid", 8)):
        write_pairs(place / "folder" / f"{split}.tsv", count, seed=count)
    trained("two", place / "folder")
    write_pairs(place / "folder" / "test.tsv", 9, seed=9)
    assert json_of(triptych, "test", "two")["n_items"] == 9


def test_figures_of_an_earlier_model_do_not_outlive_it(place: Path) -> None:
    """Interrupted, tested and gone on with: what was measured is of a model that is no more."""
    recipe = load_recipe("p2g-additive-tiny", [*SETTINGS, "training.epochs=2"])
    data = place / "pairs.tsv"
    run = api.start_run(recipe, recipe_name="tiny", name="two", data=data)
    api.train(recipe, run, data=data)
    run.update_facts(status="interrupted")
    api.evaluate(run, split="test")
    assert list(run.facts()["evaluations"]) == ["test/greedy"]
    api.train(recipe, run, data=data)
    assert run.facts()["evaluations"] == {}
    assert run.evaluations() == {}
    assert not (run.path / "predictions").exists()


def test_members_trained_on_other_splits_are_not_joined(place: Path) -> None:
    data = place / "pairs.tsv"
    other = trained("two", data, "data.split_seed=1", "training.seed=1")
    alike = trained("three", data, "training.seed=1", "data.max_train_pairs=70")
    one = Run.open("one")
    with pytest.raises(RunError, match=r"^two was trained on other data or other splits than one, so"):
        api.make_ensemble([one, other], name="whole")
    made = api.make_ensemble([one, alike], name="whole")
    assert api.evaluate(made, split="test").scores.n_items == 10
    write_pairs(data, 120)
    with pytest.raises(DataError, match="has changed since training"):
        api.evaluate(made, split="test")


def test_a_training_resumes_on_its_hardware(triptych: Triptych, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Hardware] = []

    def stop(*_: object, hardware: Hardware, **__: object) -> None:
        asked.append(hardware)
        raise RunError("seen enough")

    run = Run.open("one")
    run.update_facts(status="running", hardware={**run.facts()["hardware"], "accelerator": "cpu", "devices": 2})
    monkeypatch.setattr(api, "train", stop, raising=False)
    for options in ((), ("--devices", "1")):
        assert one_error(triptych("train", "--resume", "--name", "one", *options)) == "seen enough"
    assert asked == [Hardware("cpu", 2, 1), Hardware("cpu", 1, 1)]
