"""What Python users call, beyond what the command line's tests reach."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import triptych
from tests.conftest import SETTINGS, ToyRuns
from tests.toy import toy_pairs, write_toy
from triptych import api
from triptych.config import SpellDecoding, load_recipe, with_changes
from triptych.config.spell_prediction import SpellWordLists
from triptych.errors import DataError, RecipeError, RunError
from triptych.runs.run import Run
from triptych.spell import panel as spell, word_lists
from triptych.spell.adapter import module_of
from triptych.spell.panel import PANEL


def test_three_lines_of_python_predict(toy_runs: ToyRuns) -> None:
    speller = triptych.load(toy_runs.folder / "first")
    best = speller.predict(["SH UW"], n_best=3)[0]
    assert best.text == "shoo"
    assert best.symbols == ("s", "h", "o", "o")
    assert len(best.candidates) == 3
    assert best.log_probability == max(candidate.log_probability for candidate in best.candidates)


def test_a_run_is_loaded_by_name_from_the_runs_folder(toy_runs: ToyRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_RUNS", str(toy_runs.folder))
    assert triptych.load("first").predict("SH UW")[0].text == "shoo"
    with pytest.raises(RunError, match=r"^run is 'frist'; expected the name or path of a run. Did you mean 'first'\?$"):
        triptych.load("frist")


def test_a_training_records_what_it_was_made_from(toy_runs: ToyRuns) -> None:
    facts = toy_runs.run("first").facts()
    assert facts["status"] == "finished"
    assert (facts["panel"], facts["seed"], facts["epochs"]) == ("spell", 0, 6)
    assert facts["counts"] == {"train": 400, "valid": 60, "test": 60}
    assert facts["data_location"] == str(toy_runs.data)
    assert [Path(entry["path"]).name for entry in facts["data"]] == ["train.tsv", "valid.tsv", "test.tsv"]
    assert facts["versions"]["triptych"] == triptych.__version__
    history = toy_runs.run("first").history()
    assert facts["best"]["valid_cer"] == min(row["valid_cer"] for row in history)
    assert facts["best_epoch"] == 1 + min(range(6), key=lambda epoch: history[epoch]["valid_cer"])
    speller = api.load(toy_runs.folder / "first")
    assert facts["parameters"] == sum(p.numel() for p in module_of(speller.model).parameters())


def test_the_kept_model_is_the_best_epochs(toy_runs: ToyRuns) -> None:
    for name in ("first", "second"):
        run = toy_runs.run(name)
        evaluation = api.evaluate(
            Run.open(shutil.copytree(run.path, run.path.parent.parent / f"again-{name}")), split="valid"
        )
        assert evaluation.scores.cer.value == pytest.approx(run.facts()["best"]["valid_cer"])


def test_a_run_is_not_continued_with_another_recipe(workspace: Path, toy_runs: ToyRuns) -> None:
    changed = load_recipe("p2g-additive-tiny", [*SETTINGS, "training.epochs=6", "model.dropout=0.2"])
    with pytest.raises(RunError) as caught:
        api.train(changed, Run.open("first"), data=toy_runs.data)
    assert str(caught.value) == (
        "runs/first: this run was begun with another recipe: model.dropout was 0.1, is 0.2. "
        "Resume without changes, or use a new name."
    )


def test_a_training_resumes_in_its_precision(
    workspace: Path, toy_runs: ToyRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)  # a processor that emulates bfloat16
    recipe = load_recipe("p2g-plain-tiny", ["training.epochs=1", "data.max_train_pairs=30", "training.precision=auto"])
    losses = {}
    for name, begun_with in (("here", None), ("elsewhere", "bf16-mixed")):
        run = api.start_run(recipe, recipe_name="p2g-plain-tiny", name=name)
        if begun_with is not None:
            run.update_facts(hardware={"precision": begun_with})
        trained = api.train(recipe, run, data=toy_runs.data)
        assert run.facts()["hardware"]["precision"] == (begun_with or "32-true")
        losses[name] = trained.best["train_loss"]
    assert losses["here"] == pytest.approx(losses["elsewhere"], rel=0.01)
    assert losses["here"] != losses["elsewhere"]


def test_an_explanation_without_attention_has_no_figure(workspace: Path, toy_runs: ToyRuns) -> None:
    recipe = load_recipe("p2g-plain-tiny", ["training.epochs=1", "data.max_train_pairs=30"])
    run = api.start_run(recipe, recipe_name="p2g-plain-tiny", name="plain")
    api.train(recipe, run, data=toy_runs.data)
    explained = api.explain(run, ["SH UW"])[0]
    assert (explained.weights, explained.picture) == (None, None)
    assert len(explained.prediction.candidates) == 3


def test_a_run_is_named_after_recipe_and_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRIPTYCH_RUNS", raising=False)
    recipe = load_recipe("p2g-plain", ["training.seed=3"])
    assert api.start_run(recipe, recipe_name="my/own.toml", name=None).path == Path("runs/own-3")


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({}, "greedy"),
        ({"method": "beam"}, "beam5"),
        ({"method": "beam", "beam_size": 3, "length_penalty": 0.25}, "beam3-length0.25"),
        ({"method": "sample"}, "sample3"),
        ({"method": "sample", "temperature": 0.5, "top_k": 7, "top_p": 0.8, "samples": 1}, "sample1-t0.5-k7-p0.8"),
    ],
)
def test_decodings_have_short_names(settings: dict[str, object], label: str) -> None:
    assert PANEL.label(SpellDecoding.model_validate(settings)) == label


def test_equipment_is_part_of_the_name() -> None:
    assert word_lists.label(SpellWordLists()) == ""
    assert word_lists.label(SpellWordLists(lexicon=Path("a/words.txt"))) == "-lexicon-words"
    assert (
        word_lists.label(SpellWordLists(lexicon=Path("words.txt"), lexicon_weight=2.5, dictionary=Path("own.tsv")))
        == "-lexicon-words-w2.5-dictionary-own"
    )


def test_a_weight_without_a_word_list_is_refused(toy_runs: ToyRuns) -> None:
    with pytest.raises(RecipeError) as caught:
        word_lists.with_word_lists(api.load(toy_runs.folder / "first"), SpellWordLists(lexicon_weight=2.0))
    assert str(caught.value) == "--lexicon-weight is 2.0 without a word list. Add --lexicon FILE."


def test_words_that_the_model_cannot_write_are_counted(toy_runs: ToyRuns, tmp_path: Path) -> None:
    words = tmp_path / "list.txt"
    words.write_text("moo\nqzx\nmoo2\n")
    warned: list[str] = []
    speller = api.load(toy_runs.folder / "first")
    held = word_lists.with_word_lists(speller, SpellWordLists(lexicon=words), warn=warned.extend)
    assert held.predict("SH UW")[0].text == "moo"
    (warning,) = warned
    assert warning.startswith(f"{words}: 2 of 3 words have symbols that training never showed")
    assert "'qzx'" in warning
    words.write_text("moo\t12\nsee\t9\n")
    with pytest.raises(DataError) as caught:
        word_lists.with_word_lists(speller, SpellWordLists(lexicon=words))
    assert caught.value.path == words
    words.write_bytes("moo\nça\n".encode("latin-1"))
    with pytest.raises(DataError) as caught:
        word_lists.with_word_lists(speller, SpellWordLists(lexicon=words))
    assert (caught.value.path, caught.value.line) == (words, 2)


def test_a_dictionary_is_laid_out_like_the_runs_data(toy_runs: ToyRuns, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("word;note;sounds\nxyz;x;SH UW\n")
    speller = api.load(toy_runs.folder / "first")
    settings = ["data.source_column=sounds", "data.target_column=word", "data.delimiter=;"]
    recipe: Any = load_recipe("p2g-plain", settings)
    assert (
        word_lists.with_word_lists(speller, SpellWordLists(dictionary=path), recipe=recipe).predict("SH UW")[0].text
        == "xyz"
    )
    recipe = load_recipe("p2g-plain", [*settings[2:], "data.source_column=word", "data.target_column=sounds"])
    warned: list[str] = []
    swapped = word_lists.with_word_lists(speller, SpellWordLists(dictionary=path), recipe=recipe, warn=warned.extend)
    assert swapped.predict("SH UW")[0].best.origin == "model"
    assert "Are the columns swapped" in warned[0]


def test_other_data_is_evaluated_whole_and_its_unseen_symbols_are_counted(workspace: Path, tmp_path: Path) -> None:
    run = Run.open("first")
    recipe: Any = run.recipe()
    other = write_toy(tmp_path / "other", train=3, valid=3, test=30, seed=5)
    for name in ("train", "valid"):
        (other / f"{name}.tsv").unlink()
    limited = with_changes(recipe, {"data.max_eval_pairs": 2})
    run.write_recipe(limited)
    warned: list[str] = []
    tested = api.run_test(run, data=other, warn=warned.extend)
    assert tested.evaluation.scores.n_items == 30
    assert not [text for text in warned if "never showed" in text or "limit" in text]
    with (other / "test.tsv").open("a", encoding="utf-8") as rows:
        rows.write("sh UW\tshoe\nqq UW\tqoo\n")
    warned.clear()
    api.run_test(run, data=other, warn=warned.extend)
    (warning,) = [text for text in warned if "never showed" in text]
    assert warning.startswith("2 of 32 sources have symbols that training never showed ('sh', 'qq')")
    assert "never showed" in (run.path / "report.html").read_text(encoding="utf-8"), "figures are read with it"


def test_the_cost_of_eight_bits_is_measured_on_all_of_other_data(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("triptych.api.exporting.write_int8", lambda *_, **options: seen.append(options))
    monkeypatch.setattr("triptych.api.exporting.check_export", lambda *_, **__: None)
    file = tmp_path / "other.tsv"
    file.write_text("".join(f"{' '.join(sounds)}\t{word}\n" for sounds, word in toy_pairs(40)), encoding="utf-8")
    run = Run.open("first")
    api.export(run, tmp_path / "out", int8=True, split="test", data=file)
    api.export(run, tmp_path / "out", int8=True, split="test")
    other, own = (options["data"] for options in seen)
    assert len(other.splits["test"]) == 40
    assert len(own.splits["test"]) == 60, "its own data is split as in training"


def test_blank_lines_of_a_word_list_are_skipped(toy_runs: ToyRuns, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\nmoo\n\n")
    held = word_lists.with_word_lists(
        api.load(toy_runs.folder / "first"), SpellWordLists(lexicon=tmp_path / "list.txt")
    )
    assert held.predict("SH UW")[0].text == "moo"


def test_every_evaluation_is_kept_beside_the_others(workspace: Path) -> None:
    run = Run.open("first")
    api.evaluate(run, split="valid", decoding=SpellDecoding(method="beam", n_best=2))
    assert set(run.facts()["evaluations"]) == {"test/greedy", "valid/beam5-best2"}
    assert set(run.evaluations()) == {"test/greedy", "valid/beam5-best2"}
    warned = json.loads((workspace / "runs/first/evaluations/valid.beam5-best2.json").read_text())
    assert warned["decoding"]["n_best"] == 2
    assert len(warned["examples"]) == 12


def test_what_training_has_read_is_not_read_again(
    workspace: Path, toy_runs: ToyRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run.open("first")
    recipe: Any = run.recipe()
    scores = api.evaluate(run, split="valid").scores
    read = PANEL.read(recipe, toy_runs.data)
    monkeypatch.setattr(spell, "load_corpus", None)
    assert api.evaluate(run, split="valid", read=read).scores == scores
