"""The panel as the frame sees it: what a training is made of, the kept model, evaluations and what is left of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import ToyRuns
from tests.prepared import prepare
from tests.recipes import see_recipe
from tests.see.shapes import KINDS, SMALL, draw_shape, write_shapes
from triptych import api
from triptych.config import SeeRecipe
from triptych.errors import DataError, RecipeError, RunError
from triptych.runs.run import Run
from triptych.see.images import scaled
from triptych.see.panel import PANEL


def recipe(*settings: str) -> SeeRecipe:
    return see_recipe("scenes-cnn-norm-tiny", [*SMALL, *settings])


evaluate, label, load, measures = PANEL.evaluate, PANEL.label, PANEL.load, PANEL.measures
read, read_errors, record = PANEL.read, PANEL.read_errors, PANEL.record


@dataclass(frozen=True)
class Trained:
    """A run over shapes."""

    run: Run
    data: Path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    place = tmp_path_factory.mktemp("see-panel")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TRIPTYCH_CACHE", str(place / "cache"))
        patched.setenv(api.NAME_FOR_HELPERS, "")
        data = write_shapes(place / "shapes")
        run = api.start_run(recipe(), recipe_name="shapes", name=str(place / "run"), data=data)
        api.train(recipe(), run, data=data)
        yield Trained(run, data)


def test_a_training_is_made_of_the_data_and_the_recipe(trained: Trained) -> None:
    prepared = prepare(recipe("data.pixels=standard"), trained.data)
    assert prepared.description["classes"] == list(KINDS)
    assert read(recipe(), trained.data).counts == {"train": 48, "valid": 6, "test": 6}
    assert sum(len(batch) for batch in prepared.loaders.train(0, 1)) == 48
    assert sum(len(batch) for batch in prepared.loaders.valid(0, 1)) == 6
    objective: Any = prepared.objective
    seen = torch.cat([scaled(objective.form, batch.pixels) for batch in prepared.loaders.train(0, 1)])
    assert seen.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-4)
    assert json.loads(json.dumps(prepared.description)) == json.loads(json.dumps(dict(prepared.description)))


def test_the_network_starts_from_the_seed_alone(trained: Trained) -> None:
    def start(*settings: str) -> list[float]:
        network = prepare(recipe(*settings), trained.data).objective.network
        return torch.cat([parameter.flatten() for parameter in network.parameters()]).tolist()

    torch.manual_seed(99)
    first = start("training.seed=4")
    torch.manual_seed(7)
    assert start("training.seed=4") == first
    assert start("training.seed=5") != first


def test_a_normalised_network_is_not_trained_on_single_images(trained: Trained) -> None:
    with pytest.raises(
        RecipeError, match=r"^training\.batch_size is 1; expected at least two, since the network normal"
    ):
        prepare(recipe("training.batch_size=1"), trained.data)
    with pytest.raises(DataError, match=r"^the number of training images is 1; expected at least two"):
        prepare(recipe("data.max_train_images=1"), trained.data)
    prepared = prepare(recipe("training.batch_size=3"), trained.data)
    with pytest.raises(RecipeError, match=r"is 3; expected at least two for each of 2 processes"):
        prepared.loaders.train(1, 2)
    prepare(recipe("training.batch_size=1", "model.normalised=false"), trained.data)


def test_classes_may_count_alike(tmp_path: Path) -> None:
    for kind, count in (("light", 30), ("dark", 10)):
        for number in range(count):
            draw_shape(tmp_path / kind / f"{number}.png", kind, number)
    objective: Any = prepare(recipe("training.class_weights=balanced"), tmp_path).objective
    counts = torch.tensor([8.0, 24.0])  # four fifths of each train
    torch.testing.assert_close(objective.class_weights, 32 / (2 * counts))
    unweighted: Any = prepare(recipe(), tmp_path).objective
    assert unweighted.class_weights is None


def test_one_class_cannot_be_learnt(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (12, 12, 12, 3), dtype=np.uint8)
    np.savez(tmp_path / "one.npz", x=drawn, y=np.zeros(12, dtype=np.int64))
    with pytest.raises(DataError, match=r"1 class"):
        prepare(recipe(), tmp_path / "one.npz")


def test_measures_of_training_are_those_of_the_kept_model(trained: Trained) -> None:
    """The objective on validation batches, against the classifier's probabilities."""
    model = load(trained.run)
    evaluation = evaluate(
        model, recipe(), read(recipe(), trained.data, model=model), split="valid", decoding=model.decoding
    )
    best = trained.run.facts()["best"]
    assert evaluation.scores.accuracy.value == pytest.approx(best["valid_accuracy"])
    assert evaluation.scores.log_loss.value == pytest.approx(best["valid_loss"], rel=1e-4)
    assert best["valid_accuracy"] > 0.8


def test_an_evaluation_is_recorded_and_read_again(trained: Trained, tmp_path: Path) -> None:
    model = load(trained.run)
    evaluation = evaluate(
        model, recipe(), read(recipe(), trained.data, model=model), split="train", decoding=model.decoding
    )
    details = record(tmp_path, "train.one", evaluation, model)
    assert json.loads(json.dumps(details)) == details
    assert details["classes"] == list(KINDS)
    errors = read_errors(tmp_path / "train.one.tsv")
    assert len(errors.items) == evaluation.scores.n_items == 48
    digests = [hashlib.sha256((trained.data / name).read_bytes()).hexdigest()[:16] for name in evaluation.items.names]
    assert [digest for digest, _ in errors.items] == digests
    for measure, expected in (
        ("error rate", 1 - evaluation.scores.accuracy.value),
        ("log loss", evaluation.scores.log_loss.value),
    ):
        over, under = errors.measures[measure]
        assert over.sum() / under.sum() == pytest.approx(expected, abs=1e-5)
    named = measures(evaluation.scores.to_dict())
    assert list(named) == ["accuracy", "log loss"]  # three classes are always among the first three
    assert named["accuracy"]["value"] == evaluation.scores.accuracy.value
    assert label(model.decoding) == "one"


def test_other_data_is_evaluated_whole_by_the_models_classes(trained: Trained, tmp_path: Path) -> None:
    for kind in ("striped", "light"):
        draw_shape(tmp_path / kind / "a.png", kind, 77)
    model = load(trained.run)
    evaluation = evaluate(
        model, recipe(), read(recipe(), tmp_path, model=model, whole="test"), split="test", decoding=model.decoding
    )
    assert evaluation.items.truths.tolist() == [KINDS.index("light"), KINDS.index("striped")]
    assert evaluation.scores.n_items == 2


def test_training_images_are_recognised_wherever_they_are(trained: Trained, tmp_path: Path) -> None:
    model = load(trained.run)
    own = read(recipe(), trained.data, model=model).splits
    for split, kind in (("train", "light"), ("test", "striped")):
        images = own[split]
        row = images.labels.tolist().index(KINDS.index(kind))
        (tmp_path / kind).mkdir()
        shutil.copy(trained.data / images.names[row], tmp_path / kind / "copy.png")
    found = api.read_for_evaluation(trained.run, model, split="test", data=tmp_path)
    assert [remark.split(" were in ")[0] for remark in found.warnings] == ["1 of 2 items of this data"]


def test_an_unknown_split_is_reported(trained: Trained) -> None:
    model = load(trained.run)
    with pytest.raises(DataError, match=r"^split is 'dev'; expected one that the data has: train, valid, test\.$"):
        evaluate(model, recipe(), read(recipe(), trained.data, model=model), split="dev", decoding=model.decoding)


@pytest.mark.parametrize("row", ["image\ttruth\na\tb\n", "image\ttruth\tprediction\tlog_loss\na\tb\tc\tmuch\n"])
def test_other_files_than_predictions_are_reported(tmp_path: Path, row: str) -> None:
    path = tmp_path / "p.tsv"
    path.write_text(row)
    with pytest.raises(DataError, match=r"p\.tsv: .*expected a predictions file"):
        read_errors(path)


def test_a_loaded_model_is_in_evaluation_mode_and_has_its_settings(trained: Trained) -> None:
    model = load(trained.run)
    assert not model.scorer.network.training
    assert model.classes == KINDS
    assert model.decoding == recipe().decoding
    assert (model.form.height, model.form.width) == (12, 12)
    tensors = trained.run.tensors()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.scorer.network.state_dict().items())


def test_a_model_of_another_panel_is_refused(toy_runs: ToyRuns) -> None:
    with pytest.raises(RunError, match=r"model\.json: panel is 'spell'; expected 'see'\.$"):
        load(toy_runs.run("first"))


def change(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    """Put a value somewhere into a document."""

    def act(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = to

    return act


DAMAGE = {
    "format": (change("format", to=99), "format is 99; expected 1"),
    "panel": (change("panel", to="spel"), "panel is 'spel'; expected 'see'"),
    "classes missing": (change("classes", to=None), "classes is None; expected a list of names"),
    "classes empty": (change("classes", to=[]), r"classes is \[\]; expected a list of names"),
    "classes numbers": (change("classes", to=[1, 2, 3]), r"classes is \[1, 2, 3\]; expected a list of names"),
    "classes fewer": (change("classes", to=["a", "b"]), "architecture does not fit classes and input"),
    "input": (change("input", to=[]), "input is damaged"),
    "input height": (change("input", "height", to="12"), "input is damaged"),
    "input size": (change("input", "height", to=13), "architecture does not fit classes and input"),
    "input colour": (change("input", "colour", to="grey"), "input is damaged"),
    "input mean": (change("input", "mean", to=["a", "b", "c"]), "input is damaged"),
    "input deviation": (change("input", "deviation", to=[float("nan")] * 3), "input is damaged"),
    "architecture": (change("architecture", to=None), "architecture is damaged"),
    "architecture key": (change("architecture", "depth", to=3), "architecture is damaged"),
    "architecture name": (change("architecture", "name", to="cnnn"), "architecture is damaged"),
    "architecture channels": (change("architecture", "channels", to="many"), "architecture is damaged"),
    "architecture width": (change("architecture", "channels", to=[4, -8, 8]), "architecture is damaged"),
    "architecture kernels": (change("architecture", "kernels", to=[3, 3]), "architecture is damaged"),
    "architecture head": (change("architecture", "head", to="hopfeld"), "architecture is damaged"),
    "architecture hidden": (change("architecture", "hidden", to=[32, 99]), "does not fit model.json"),
    "architecture depth": (change("architecture", "channels", to=[4] * 9), "architecture is damaged"),
    "architecture colours": (change("architecture", "in_channels", to=1), "does not fit classes and input"),
    "decoding": (change("decoding", to=3), "decoding is damaged"),
    "decoding views": (change("decoding", "views", to="two"), "decoding is damaged"),
    "decoding batch": (change("decoding", "batch_size", to=0), "decoding is damaged"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_description_is_one_error_that_names_its_place(what: str, trained: Trained, tmp_path: Path) -> None:
    act, message = DAMAGE[what]
    folder = Path(shutil.copytree(trained.run.path, tmp_path / "run"))
    document = json.loads((folder / "model.json").read_text())
    act(document)
    (folder / "model.json").write_text(json.dumps(document))
    with pytest.raises(RunError, match=message) as details:
        load(Run(folder))
    assert str(details.value).startswith(str(folder))
    assert "\n" not in str(details.value)


def test_cut_or_missing_tensors_are_reported(trained: Trained, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained.run.path, tmp_path / "run"))
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:100])
    with pytest.raises(RunError, match=r"model\.safetensors: the file is damaged"):
        load(Run(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(RunError, match=r"model\.safetensors: no such file"):
        load(Run(folder))


def test_mistakes_are_kept_as_images(trained: Trained, tmp_path: Path) -> None:
    """Every picture under a wrong name: all are mistakes, and the surest come with their pixels."""
    for kind, wrong in zip(KINDS, (*KINDS[1:], KINDS[0]), strict=True):
        for row in range(2):
            draw_shape(tmp_path / "data" / wrong / f"{row}.png", kind, 900 + row, side=12)
    model = load(trained.run)
    evaluation = evaluate(
        model,
        recipe(),
        read(recipe(), tmp_path / "data", model=model, whole="test"),
        split="test",
        decoding=model.decoding,
    )
    details = record(tmp_path, "test.one", evaluation, model)
    assert evaluation.scores.accuracy.value < 0.5
    surest = details["mistakes"][0]
    place = list(evaluation.items.names).index(surest["name"])
    from triptych.see.evaluation_report import _decoded

    expected = evaluation.images.pixels[place].permute(1, 2, 0).numpy()
    assert np.array_equal(_decoded(surest["png"]), expected)


def test_a_model_that_predicts_one_class_for_everything_is_warned_of(trained: Trained) -> None:
    model = load(trained.run)
    data = read(recipe(), trained.data, model=model)
    evaluation = evaluate(model, recipe(), data, split="train", decoding=model.decoding)
    assert evaluation.warnings == []
    last: Any = model.scorer.network.get_submodule("last")
    last.weight.data.zero_()
    last.bias.data.copy_(torch.tensor([0.0, 0.0, 9.0]))
    (warning,) = evaluate(model, recipe(), data, split="train", decoding=model.decoding).warnings
    assert warning.startswith(f"the model predicts class {KINDS[2]!r} for all 48 images of train.")


def test_a_model_is_loaded_once_for_all_images(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    loads: list[Run] = []

    def noted(_: object, run: Run, *, device: str = "cpu") -> Any:
        loads.append(run)
        return load(run, device=device)

    monkeypatch.setattr(type(PANEL), "load", noted)
    images = sorted(map(str, trained.data.rglob("*.png")))[:3]
    assert len(api.explain(trained.run, images, out=tmp_path)) == 3
    assert len(loads) == 1
