"""The panel as the frame sees it: what a training is made of, evaluations, and models joined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import ToyRuns
from tests.prepared import prepare
from tests.recipes import spell_recipe
from tests.toy import write_toy
from triptych import api
from triptych.config import SpellDecoding, SpellRecipe
from triptych.errors import DataError, RunError
from triptych.runs.run import Run
from triptych.spell.adapter import module_of
from triptych.spell.corpus import Item
from triptych.spell.evaluating import evaluate_items
from triptych.spell.panel import PANEL


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = write_toy(tmp_path / "toy", train=30, valid=8, test=8)
    with (folder / "valid.tsv").open("a", encoding="utf-8") as stream:
        stream.write("ZZ B\tzb\nZZ B\tzbb\n")
    return folder


read, load, evaluate = PANEL.read, PANEL.load, PANEL.evaluate


def recipe(*settings: str) -> SpellRecipe:
    return spell_recipe("p2g-additive-tiny", settings)


def recipe_of(run: Run) -> SpellRecipe:
    return spell_recipe(run.path / "recipe.toml")


def test_vocabularies_come_from_the_training_split_alone(data: Path) -> None:
    prepared = prepare(recipe(), data)
    assert "ZZ" not in prepared.description["source_symbols"]
    assert "z" not in prepared.description["target_symbols"]
    assert prepared.description["architecture"]["source_size"] == 4 + len(prepared.description["source_symbols"])
    assert read(recipe(), data).counts == {"train": 30, "valid": 10, "test": 8}


def test_the_network_starts_from_the_seed_alone(data: Path) -> None:
    def start(*settings: str) -> list[float]:
        return torch.cat(
            [p.flatten() for p in prepare(recipe(*settings), data).objective.network.parameters()]
        ).tolist()

    torch.manual_seed(99)
    first = start("training.seed=4")
    torch.manual_seed(7)
    assert start("training.seed=4") == first
    assert start("training.seed=5") != first


def test_validation_has_each_source_once_or_each_row(data: Path) -> None:
    def validated(*settings: str) -> int:
        return sum(len(batch.items) for batch in prepare(recipe(*settings), data).loaders.valid(0, 1))

    assert validated() == 9
    assert validated("data.references=each") == 10


def test_measures_are_those_of_greedy_decoding(toy_runs: ToyRuns) -> None:
    """The objective on validation batches, against the speller's predictions scored one by one."""
    run = toy_runs.run("second")
    prepared = prepare(spell_recipe(run.path / "recipe.toml"), toy_runs.data)
    objective: Any = prepared.objective
    objective.network.load_state_dict(run.tensors())
    objective.network.eval()
    sums: dict[str, list[float]] = {}
    with torch.inference_mode():
        for batch in prepared.loaders.valid(0, 1):
            for name, share in objective.measure(batch).items():
                total, count = sums.setdefault(name, [0.0, 0.0])
                sums[name] = [total + float(share.total), count + float(share.count)]
    measured = {name: total / count for name, (total, count) in sums.items()}
    scores = evaluate(
        load(run), recipe_of(run), read(recipe_of(run), toy_runs.data), split="valid", decoding=SpellDecoding()
    ).scores
    assert measured["cer"] == pytest.approx(scores.cer.value)
    assert measured["wer"] == pytest.approx(scores.wer.value)
    assert measured["mean_error"] == pytest.approx(scores.mean_error.value)
    best = run.facts()["best"]
    assert measured["cer"] == pytest.approx(best["valid_cer"])
    assert measured["loss"] == pytest.approx(best["valid_loss"], rel=1e-4)


def test_the_training_loss_is_the_mean_negative_log_probability_of_the_targets(toy_runs: ToyRuns) -> None:
    run = toy_runs.run("first")
    prepared = prepare(spell_recipe(run.path / "recipe.toml"), toy_runs.data)
    objective: Any = prepared.objective
    objective.network.load_state_dict(run.tensors())
    objective.network.eval()
    batch = next(iter(prepared.loaders.train(0, 1)))
    with torch.inference_mode():
        share = objective.loss(batch)
        state, network = objective.network.start(batch.source), objective.network
        total, count = 0.0, 0
        for position in range(batch.fed.shape[1]):
            logits, _, state = network.decoder(batch.fed[:, position : position + 1], state)
            for row, symbol in enumerate(batch.expected[:, position].tolist()):
                if symbol != 0:
                    total -= float(logits[row, 0].log_softmax(-1)[symbol])
                    count += 1
    assert float(share.total) == pytest.approx(total, rel=1e-5)
    assert (
        float(share.count)
        == count
        == sum(len(objective.vocabularies.targets.decode(row)) + 1 for row in batch.expected.tolist())
    )


def test_an_evaluation_keeps_the_order_of_the_data(toy_runs: ToyRuns) -> None:
    run = toy_runs.run("first")
    evaluation = evaluate(
        load(run), recipe_of(run), read(recipe_of(run), toy_runs.data), split="test", decoding=SpellDecoding()
    )
    sources = [line.split("\t")[0] for line in (toy_runs.data / "test.tsv").read_text().splitlines()]
    assert [" ".join(item.source) for item in evaluation.items] == sources
    assert (evaluation.split, evaluation.scores.n_items) == ("test", 60)


def test_an_item_is_right_when_any_reference_matches(toy_runs: ToyRuns) -> None:
    speller = load(toy_runs.run("first"))
    text = speller.predict("SH UW")[0].symbols
    items = [Item(("SH", "UW"), (("x",), text)), Item(("SH", "UW"), (("x",), ("y",)))]
    assert evaluate_items(speller, items, split="test", decoding=SpellDecoding()).scores.wer.value == 0.5


def test_an_unknown_split_is_reported(toy_runs: ToyRuns) -> None:
    run = toy_runs.run("first")
    with pytest.raises(DataError, match=r"^split is 'dev'; expected one of train, valid, test\."):
        evaluate(load(run), recipe_of(run), read(recipe_of(run), toy_runs.data), split="dev", decoding=SpellDecoding())


def test_joined_models_keep_their_own_tensors(toy_runs: ToyRuns, tmp_path: Path) -> None:
    runs = [toy_runs.run("first"), toy_runs.run("second")]
    made = api.make_ensemble(runs, name=str(tmp_path / "both"))
    description, tensors = made.model("spell"), made.tensors()
    assert [member["hidden"] for member in description["members"]] == [32, 32]
    assert "architecture" not in description
    for number, run in enumerate(runs):
        own = run.tensors()
        assert {name for name in tensors if name.startswith(f"{number}.")} == {f"{number}.{name}" for name in own}
        assert all(torch.equal(tensors[f"{number}.{name}"], tensor) for name, tensor in own.items())
    with pytest.raises(RunError, match=r"^the number of runs is 1; expected at least two\. Name more runs\.$"):
        api.make_ensemble(runs[:1], name=str(tmp_path / "one"))


def test_a_loaded_model_is_in_evaluation_mode_on_its_device(toy_runs: ToyRuns) -> None:
    speller = api.load(toy_runs.folder / "first")
    network: Any = module_of(speller.model)
    assert not network.training
    assert {p.device.type for p in network.parameters()} == {"cpu"}


def test_predictions_that_the_limit_cuts_are_counted(toy_runs: ToyRuns) -> None:
    speller = api.load(toy_runs.folder / "first")
    items = [Item(("M", "UW"), (("m", "o", "o"),)), Item(("SH", "UW"), (("s", "h", "o", "o"),))]
    assert evaluate_items(speller, items, split="test", decoding=SpellDecoding()).warnings == []
    short = SpellDecoding(max_length_factor=0.0, max_length_extra=2)
    evaluation = evaluate_items(speller, items, split="test", decoding=short)
    assert [item.finished for item in evaluation.items] == [False, False]
    assert evaluation.warnings[0].startswith("2 predictions were cut")
    assert evaluate_items(speller, items[:1], split="test", decoding=short).warnings[0].startswith("1 prediction was")
