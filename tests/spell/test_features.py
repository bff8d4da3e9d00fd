"""Features decide what is written: the encoder against a sum by hand, and a made-up language learnt from its forms."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.prepared import prepare
from tests.recipes import spell_recipe
from tests.toy import SUFFIXES, inflect, write_inflections
from triptych import api
from triptych.config import SpellModel
from triptych.decoding import Speller
from triptych.errors import DataError
from triptych.runs.run import Run
from triptych.spell.build import build_transducer
from triptych.spell.encoder import SourceBatch
from triptych.spell.features import FeatureEncoder

COLUMNS = ("data.source_unit=characters", "data.features_column=2", "data.target_column=3")
KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "additive-fed": {"attention": "additive", "input_feeding": True},
    "monotonic": {"attention": "monotonic"},
}
every_kind = pytest.mark.parametrize("settings", KINDS.values(), ids=KINDS)


def test_the_encoder_sums_the_embeddings_of_a_set() -> None:
    torch.manual_seed(0)
    encoder = FeatureEncoder(9, 5)
    weight = encoder.embedding.weight
    found = encoder(torch.tensor([[4, 6, 8], [6, 0, 0], [3, 4, 0], [0, 0, 0]]))
    torch.testing.assert_close(found[0], weight[4] + weight[6] + weight[8])
    torch.testing.assert_close(found[1], weight[6])
    torch.testing.assert_close(found[2], weight[4], msg="an unknown feature adds nothing")
    assert not found[3].any()
    torch.testing.assert_close(encoder(torch.tensor([[8, 4, 6]]))[0], found[0])


def network(**settings: Any) -> Any:
    torch.manual_seed(2)
    model = SpellModel(**{"hidden": 8, "embedding": 8, "dropout": 0.0, **settings})
    return build_transducer(model, source_size=9, target_size=8, features_size=7).eval()


def batch(features: list[list[int]]) -> SourceBatch:
    symbols = torch.tensor([[4, 5, 6], [7, 8, 0]])
    return SourceBatch(symbols, torch.tensor([3, 2]), torch.tensor(features))


@every_kind
def test_an_output_depends_on_the_set_of_its_own_features(settings: dict[str, Any]) -> None:
    built, fed = network(**settings), torch.tensor([[1, 4, 5], [1, 6, 7]])
    plain = built(batch([[4, 5], [6, 0]]), fed)
    torch.testing.assert_close(built(batch([[5, 4, 0], [6, 0, 0]]), fed), plain)
    torch.testing.assert_close(built(batch([[5, 4, 3], [6, 3, 3]]), fed), plain)
    other = built(batch([[4, 6], [6, 0]]), fed)
    assert (other[0] - plain[0]).abs().max() > 1e-3
    torch.testing.assert_close(other[1], plain[1])


@every_kind
def test_stepping_equals_teacher_forcing(settings: dict[str, Any]) -> None:
    built, fed = network(**settings), torch.tensor([[1, 4, 5], [1, 6, 7]])
    source = batch([[4, 5], [6, 0]])
    whole = built(source, fed).masked_fill(built.get_buffer("never"), -torch.inf).log_softmax(-1)
    with torch.inference_mode():
        state = built.start(source)
        for step in range(fed.shape[1]):
            log_probs, state = built.step(fed[:, step], state)
            torch.testing.assert_close(log_probs, whole[:, step], atol=1e-5, rtol=1e-5)


def test_features_are_trained() -> None:
    built = network(attention="monotonic").train()
    built(batch([[4, 5], [6, 3]]), torch.tensor([[1, 4, 5], [1, 6, 7]])).sum().backward()
    gradient = built.encoder.features.embedding.weight.grad
    assert gradient is not None
    assert (gradient.abs().sum(1) > 0).tolist() == [False, False, False, True, True, True, True]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_inflections(tmp_path_factory.mktemp("forms"))


@pytest.fixture(scope="module")
def speller(inflection_run: Run) -> Speller:
    loaded: Speller = api.load(inflection_run.path)
    return loaded


def test_the_features_decide_the_ending(speller: Speller) -> None:
    stems = [stem for stem in ("gabi", "mut", "dabu", "tamid") for _ in SUFFIXES]
    features = [name for _ in range(4) for name in SUFFIXES]
    expected = [inflect(stem, name) for stem, name in zip(stems, features, strict=True)]
    found = speller.predict(stems, features=features)
    assert sum(p.text == text for p, text in zip(found, expected, strict=True)) >= 14
    assert found[3].features == ("NOM", "NOM(3)", "NOM(SG)", "V")
    as_symbols = speller.predict(stems[:3], features=[name.split(";")[::-1] for name in features[:3]])
    assert [p.text for p in as_symbols] == [p.text for p in found[:3]]


def test_what_training_never_showed_is_ignored_and_named(speller: Speller) -> None:
    (known,) = speller.predict("gabi", features="N;PL")
    (found,) = speller.predict("gabi", features="N;PL;DEF")
    assert found.unknown_features == ("DEF",)
    assert found.text == known.text
    assert found.log_probability == pytest.approx(known.log_probability)


def test_features_are_given_where_the_model_has_them(speller: Speller) -> None:
    for features in (None, ["N;PL", "N;SG"]):
        with pytest.raises(DataError):
            speller.predict(["gabi"], features=features)
    (found,) = speller.predict("gabi", features="")
    assert found.features == ()


def test_a_dictionary_answers_for_a_source_with_its_features(speller: Speller) -> None:
    equipped = speller.with_dictionary([("gabi", "gabim", "PL;N")])
    plural, past = equipped.predict(["gabi", "gabi"], features=["N;PL", "V;PST"])
    assert (plural.text, plural.best.origin) == ("gabim", "dictionary")
    assert past.best.origin == "model"


def test_an_evaluation_has_an_item_for_each_source_with_its_features(inflection_run: Run) -> None:
    run = inflection_run
    (evaluation,) = run.evaluations().values()
    assert evaluation["scores"]["n_items"] == 40
    rows = (run.path / "predictions").glob("test.*.tsv")
    table = next(path for path in rows if "errors" not in path.name).read_text(encoding="utf-8").splitlines()
    assert table[0].split("\t")[-1] == "features"
    assert {line.split("\t")[-1] for line in table[1:]} == {"N;SG", "N;PL", "PST;V", "NOM(3,SG);V"}


def test_a_recipe_without_features_builds_what_it_built(data: Path) -> None:
    recipe = spell_recipe("p2g-best-tiny", ["data.source_unit=characters", "data.target_column=3"])
    prepared = prepare(recipe, data)
    assert "features" not in prepared.description
    assert "features_size" not in prepared.description["architecture"]
    network: Any = prepared.objective.network
    assert network.encoder.features is None


def test_reversed_data_keeps_its_features(data: Path) -> None:
    recipe = spell_recipe("p2g-best-tiny", [*COLUMNS, "data.reverse=true"])
    panel = api.panel_of("spell")
    forwards = panel.read(spell_recipe("p2g-best-tiny", COLUMNS), data).splits["train"]
    backwards = panel.read(recipe, data).splits["train"]
    assert [replace_sides(pair) for pair in backwards] == list(forwards)


def replace_sides(pair: Any) -> Any:
    return pair._replace(source=pair.target, target=pair.source)


def test_the_split_of_other_data_names_unseen_features(inflection_run: Run, tmp_path: Path) -> None:
    run = inflection_run
    other = tmp_path / "other.tsv"
    other.write_text("gabi\tN;DEF\tgabi\n", encoding="utf-8")
    recipe, panel, model = run.recipe(), api.panel_of("spell"), api.load(run.path)
    read = panel.read(recipe, other, whole="test")
    (remark,) = panel.remarks(model, recipe, read, split="test")
    assert "'DEF'" in remark
    assert "1 of 1 items" in remark


def test_a_batch_moves_with_its_features() -> None:
    moved = batch([[4, 5], [6, 0]]).to("meta")
    assert moved.features is not None
    assert moved.features.device.type == "meta"
    assert replace(moved, features=None).features is None
