"""No setting is without effect: for each key of a recipe, a change of it is seen where it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from pydantic import BaseModel

from tests.conftest import ToyRuns
from tests.prepared import prepare
from tests.recipes import spell_recipe
from tests.toy import write_toy
from triptych import api
from triptych.config import SpellDecoding, SpellRecipe, parse_recipe
from triptych.decoding import Sources
from triptych.errors import TriptychError
from triptych.runs.run import Run
from triptych.spell.batches import PairBatch, hide_copied
from triptych.spell.build import build_transducer
from triptych.spell.corpus import load_corpus
from triptych.spell.encoder import SourceBatch


def leaves(schema: type[BaseModel], prefix: str = "") -> list[str]:
    """All keys of a recipe, `table.key`."""
    found: list[str] = []
    for name, field in schema.model_fields.items():
        table = field.annotation
        if isinstance(table, type) and issubclass(table, BaseModel):
            found += leaves(table, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


ONE_VALUE = ("panel",)  # they choose among one so far


def test_keys_of_one_value_have_one() -> None:
    assert get_args(SpellRecipe.model_fields["panel"].annotation) == ("spell",)


def recipe_with(*settings: str) -> SpellRecipe:
    return spell_recipe("p2g-plain-tiny", settings)


# data: what load_corpus gives, or says


@dataclass(frozen=True)
class Data:
    """A change of `[data]` and what else must be set for it to matter.

    Attributes:
        change: the setting as `key=value`.
        base: settings on both sides.
        location: `folder`, or `file` for one file to split, or `none`.
    """

    change: str
    base: tuple[str, ...] = ()
    location: str = "folder"


DATA = {
    "set": Data("set=nonesuch", location="none"),
    "train": Data("train=valid.tsv"),
    "valid": Data("valid=train.tsv"),
    "test": Data("test=train.tsv"),
    "source_column": Data("source_column=3"),
    "target_column": Data("target_column=3"),
    "features_column": Data("features_column=3"),
    "languages": Data("languages=['a']"),
    "features_separator": Data("features_separator=i", ("features_column=3",)),
    "delimiter": Data("delimiter=';'"),
    "layout": Data("layout=dictionary", ("max_symbols=2",)),
    "blank_rows": Data("blank_rows=skip", location="blank"),
    "split_alternatives": Data("split_alternatives=,"),
    "source_unit": Data("source_unit=characters"),
    "target_unit": Data("target_unit=symbols"),
    "normal_form": Data("normal_form=NFD"),
    "lowercase": Data("lowercase=true"),
    "strip_diacritics": Data("strip_diacritics=true"),
    "letters_only": Data("letters_only=true"),
    "max_symbols": Data("max_symbols=2"),
    "skip_bad": Data("skip_bad=true", ("max_symbols=2",)),
    "fractions": Data("fractions={train=0.5, valid=0.3, test=0.2}", location="file"),
    "split_seed": Data("split_seed=1", location="file"),
    "group_by": Data("group_by=source", location="file"),
    "reverse": Data("reverse=true"),
    "direction": Data("direction=backward"),
    "remember": Data("remember=true"),
    "references": Data("references=each"),
    "max_train_pairs": Data("max_train_pairs=3"),
    "max_eval_pairs": Data("max_eval_pairs=3"),
}


def read(recipe: SpellRecipe, location: Path | None) -> Any:
    try:
        corpus = load_corpus(recipe.data, location)
    except TriptychError as error:
        return str(error)
    kept = prepare(recipe, location).files if recipe.data.remember else {}
    return corpus.splits, corpus.items("valid", references=recipe.data.references), kept


@pytest.mark.parametrize("key", DATA)
def test_data(key: str, tmp_path: Path) -> None:
    rows = [f"S{i % 9} É;{i}\tÉ, {'ab'[i % 2]} {i % 7}\tthird{i}" for i in range(40)]
    for split, part in (("train", rows[:20]), ("valid", rows[20:30]), ("test", rows[30:]), ("all", rows)):
        (tmp_path / f"{split}.tsv").write_text("\n".join([*part, part[0]]) + "\nA\tB\tC\n", encoding="utf-8")
    (tmp_path / "blank.tsv").write_text("\n\n".join(rows) + "\n", encoding="utf-8")
    case = DATA[key]
    location = {"folder": tmp_path, "file": tmp_path / "all.tsv", "blank": tmp_path / "blank.tsv", "none": None}[
        case.location
    ]
    base = [f"data.{setting}" for setting in case.base]
    assert read(recipe_with(*base), location) != read(recipe_with(*base, f"data.{case.change}"), location)


# model: shapes, modules, and what they compute in training


MODEL = {
    "cell": ("cell=gru", ()),
    "hidden": ("hidden=24", ("tie_output=false",)),
    "encoder_hidden": ("encoder_hidden=24", ("attention=monotonic",)),
    "embedding": ("embedding=24", ("tie_output=false",)),
    "encoder_layers": ("encoder_layers=2", ()),
    "encoder_residual": ("encoder_residual=true", ("encoder_layers=2", "attention=dot")),
    "encoder_shortcut": ("encoder_shortcut=true", ("attention=dot",)),
    "decoder_layers": ("decoder_layers=2", ()),
    "attention": ("attention=dot", ()),
    "attention_width": ("attention_width=24", ("attention=monotonic",)),
    "attention_steps": ("attention_steps=3", ("attention=hopfield",)),
    "input_feeding": ("input_feeding=true", ("attention=dot",)),
    "tie_output": ("tie_output=false", ()),
    "initial_weights": ("initial_weights=pytorch", ()),
    "dropout": ("dropout=0.9", ()),
    "encoder_dropout": ("encoder_dropout=final", ("attention=dot",)),
    "layer_dropout": ("layer_dropout=0.9", ("encoder_layers=2",)),
    "source_symbol_dropout": ("source_symbol_dropout=0.9", ()),
    "target_symbol_dropout": ("target_symbol_dropout=0.9", ()),
    "copy_symbols": ("copy_symbols=true", ("attention=monotonic",)),
    "copied_symbol_dropout": ("copied_symbol_dropout=0.9", ("attention=monotonic", "copy_symbols=true")),
}


def compute(recipe: SpellRecipe) -> list[float]:
    torch.manual_seed(0)
    network = build_transducer(recipe.model, source_size=12, target_size=9).train()
    torch.manual_seed(1)
    ids = torch.tensor([[4, 5, 11], [6, 10, 0]])
    source = SourceBatch(torch.tensor([[4, 5, 6], [7, 8, 0]]), torch.tensor([3, 2]), copy_ids=ids)
    fed = torch.tensor([[1, 4, 5], [1, 6, 7]])
    batch = PairBatch(source, fed, fed, (0, 1))
    if recipe.model.copy_symbols:
        batch = hide_copied(batch, recipe.model.copied_symbol_dropout, 9)
    values: list[float] = network(batch.source, batch.fed).detach().flatten().tolist()
    return values


@pytest.mark.parametrize("key", MODEL)
def test_model(key: str) -> None:
    change, base = MODEL[key]
    settings = [f"model.{setting}" for setting in base]
    plain = compute(recipe_with(*settings))
    assert plain == compute(recipe_with(*settings)), "the observation itself must be repeatable"
    assert plain != compute(recipe_with(*settings, f"model.{change}"))


# optimizer and training: what a short training leaves behind


STALLS = ("training.monitor=valid_wer", "optimizer.learning_rate=0.0001")  # no word is right: the first epoch is best
OPTIMIZER: dict[str, tuple[str, tuple[str, ...]]] = {
    "name": ("optimizer.name=sgd", ()),
    "learning_rate": ("optimizer.learning_rate=0.1", ()),
    "weight_decay": ("optimizer.weight_decay=0.1", ()),
    "momentum": ("optimizer.momentum=0.9", ("optimizer.name=sgd",)),
    "beta1": ("optimizer.beta1=0.5", ()),
    "beta2": ("optimizer.beta2=0.5", ()),
    "schedule": ("optimizer.schedule=cosine", ()),
    "warmup_steps": ("optimizer.warmup_steps=3", ()),
    "warmup_fraction": ("optimizer.warmup_fraction=0.4", ()),
    "final_fraction": ("optimizer.final_fraction=0.5", ("optimizer.schedule=linear",)),
    "plateau_patience": (
        "optimizer.plateau_patience=0",
        ("optimizer.schedule=plateau", *STALLS),
    ),
}
TRAINING: dict[str, tuple[str, tuple[str, ...]]] = {
    "epochs": ("training.epochs=1", ()),
    "batch_size": ("training.batch_size=5", ()),
    "seed": ("training.seed=1", ()),
    "monitor": ("training.monitor=valid_loss", ("optimizer.learning_rate=0.3",)),
    "keep": ("training.keep=last", STALLS),
    "patience": ("training.patience=1", STALLS),
    "patience_fraction": ("training.patience_fraction=0.3", STALLS),
    "gradient_clip": ("training.gradient_clip=0.001", ()),
    "average_decay": ("training.average_decay=0.5", ()),
    "precision": ("training.precision=64-true", ()),
    "label_smoothing": ("training.label_smoothing=0.5", ()),
    "synthetic_pairs": ("training.synthetic_pairs=12", ()),
}


@pytest.fixture(scope="module")
def little_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy(tmp_path_factory.mktemp("little"), train=24, valid=6, test=6)


def left_behind(settings: tuple[str, ...], folder: Path, data: Path) -> Any:
    short = ("training.epochs=3", "training.monitor=valid_cer", "training.batch_size=8", "optimizer.learning_rate=0.02")
    recipe = recipe_with(*short, *settings)
    run = Run.create(str(folder))
    run.write_recipe(recipe)
    trained = api.train(recipe, run, data=data)
    rows = [{name: value for name, value in row.items() if name != "seconds"} for row in trained.fitted.rows]
    tensors = {name: tensor.tolist() for name, tensor in run.tensors().items()}
    return rows, trained.fitted.best_epoch, tensors


@pytest.mark.parametrize(("change", "base"), [*OPTIMIZER.values(), *TRAINING.values()], ids=[*OPTIMIZER, *TRAINING])
def test_optimizer_and_training(change: str, base: tuple[str, ...], tmp_path: Path, little_data: Path) -> None:
    plain = left_behind(base, tmp_path / "plain", little_data)
    assert plain != left_behind((*base, change), tmp_path / "changed", little_data)


def test_the_same_training_leaves_the_same_behind(tmp_path: Path, little_data: Path) -> None:
    assert left_behind((), tmp_path / "a", little_data) == left_behind((), tmp_path / "b", little_data)


# decoding: what a trained model answers


DECODING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "method": ({"method": "beam"}, {"n_best": 2}),
    "beam_size": ({"beam_size": 1}, {"method": "beam"}),
    "n_best": ({"n_best": 2}, {"method": "beam"}),
    "length_penalty": ({"length_penalty": 3.0}, {"method": "beam"}),
    "samples": ({"samples": 2}, {"method": "sample"}),
    "temperature": ({"temperature": 3.0}, {"method": "sample"}),
    "top_k": ({"top_k": 1}, {"method": "sample", "temperature": 3.0}),
    "top_p": ({"top_p": 0.1}, {"method": "sample", "temperature": 3.0}),
    "seed": ({"seed": 1}, {"method": "sample"}),
    "max_length_factor": ({"max_length_factor": 0.1}, {"max_length_extra": 0}),
    "max_length_extra": ({"max_length_extra": 0}, {"max_length_factor": 0.1}),
    "batch_size": ({"batch_size": 2}, {}),
    "remembered": ({"remembered": False}, {}),
}


@pytest.mark.parametrize("key", DECODING)
def test_decoding(key: str, toy_runs: ToyRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    speller = api.load(toy_runs.folder / "second").with_remembered([(("B", "IY"), ("x",))])
    started: list[int] = []
    start: Callable[[Sources], Any] = speller.model.start

    def counted(sources: Sources) -> Any:
        started.append(len(sources))
        return start(sources)

    monkeypatch.setattr(speller.model, "start", counted)

    def answers(settings: SpellDecoding) -> Any:
        started.clear()
        predictions = speller.predict(["B IY", "S UW T", "M AA SH IY", "F EH K"], decoding=settings)
        return [[(c.text, c.score) for c in p.candidates] for p in predictions], list(started)

    change, base = DECODING[key]
    assert answers(SpellDecoding(**base)) != answers(SpellDecoding(**{**base, **change}))


# the rest


def test_title(tmp_path: Path, little_data: Path) -> None:
    recipe = recipe_with("title=A title of its own", "training.epochs=1")
    run = Run.create(str(tmp_path / "run"))
    run.write_recipe(recipe)
    api.train(recipe, run, data=little_data)
    assert "A title of its own" in api.write_report(run).read_text(encoding="utf-8").split("<h2")[0]


def test_training_decodes_by_the_recipes_limits(little_data: Path) -> None:
    recipe = recipe_with("decoding.max_length_factor=0.5", "decoding.max_length_extra=1", "decoding.batch_size=4")
    prepared = prepare(recipe, little_data)
    objective: Any = prepared.objective
    assert objective.decoding == recipe.decoding
    assert [len(batch.items) for batch in prepared.loaders.valid(0, 1)] == [4, 2]


def test_no_key_is_missing() -> None:
    tables: dict[str, Iterable[str]] = {
        "data": DATA,
        "model": MODEL,
        "optimizer": OPTIMIZER,
        "training": TRAINING,
        "decoding": DECODING,
    }
    shown = [f"{table}.{key}" for table, keys in tables.items() for key in keys]
    assert sorted([*shown, *ONE_VALUE, "title"]) == sorted(leaves(SpellRecipe))


def test_each_change_is_one_the_recipe_allows() -> None:
    for change, base in DECODING.values():
        recipe = parse_recipe({"panel": "spell", "decoding": {**base, **change}}, origin="decoding")
        assert recipe.decoding == SpellDecoding(**{**base, **change})
