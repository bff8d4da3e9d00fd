"""Spellers that vote, against counting by hand; directions; the search for members."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.toy import toy_pairs, write_toy
from triptych import api, runtime
from triptych.config import SpellDecoding
from triptych.decoding import Speller
from triptych.decoding.voting import Voting
from triptych.errors import RecipeError, RunError
from triptych.runs.run import Run
from triptych.spell.corpus import Item
from triptych.spell.ensembles import search_members
from triptych.text.predictions import Candidate, Prediction
from triptych.text.symbols import Tokenizer, Vocabularies, Vocabulary


class Fixed(Speller):
    """Answers from a table: per source, candidates with their probabilities."""

    def __init__(self, table: dict[str, list[tuple[str, float]]], *, backward: bool = False) -> None:
        tokenizer = Tokenizer(backward=backward)
        letters = Vocabulary(tuple("abcdxy"))
        super().__init__(_no_model(), Vocabularies(tokenizer, tokenizer, letters, letters), SpellDecoding())
        self.table = table

    def predict(self, sources: Any, **_: Any) -> list[Prediction]:
        tokenizer = self.vocabularies.target_tokenizer
        found = []
        for source in sources:
            listed = self.table[tokenizer.join(source)]
            candidates: Any = (Candidate(tokenizer.split(t), t, math.log(p), math.log(p)) for t, p in listed)
            found.append(Prediction(tuple(source), tuple(candidates)))
        return found


def _no_model() -> Any:
    return None


def voted(members: Sequence[Speller], source: str, n_best: int = 3) -> list[tuple[str, float, float]]:
    best = Voting(members, SpellDecoding()).predict([source], decoding=SpellDecoding(method="beam", n_best=n_best))[0]
    return [(c.text, round(c.probability, 6), round(c.score, 6)) for c in best.candidates]


def test_most_votes_win_and_probability_decides_among_equals() -> None:
    members = [
        Fixed({"x": [("a", 0.9), ("b", 0.05)]}),
        Fixed({"x": [("b", 0.4), ("c", 0.3)]}),
        Fixed({"x": [("b", 0.3), ("a", 0.2)]}),
        Fixed({"x": [("c", 0.5), ("d", 0.1)]}),
    ]
    # b has two votes; a and c have one each, and a's mean probability 1.1/4 is above c's 0.8/4
    assert voted(members, "x", 4) == [
        ("b", 0.1875, 2.1875),
        ("a", 0.275, 1.275),
        ("c", 0.2, 1.2),
        ("d", 0.025, 0.025),
    ]
    assert [text for text, *_ in voted(members, "x", 1)] == ["b"]


def test_members_of_unlike_directions_agree_on_texts() -> None:
    forward, backward = Fixed({"xy": [("ab", 0.6)]}), Fixed({"xy": [("ab", 0.5), ("ba", 0.4)]}, backward=True)
    for members in ([forward, backward], [backward, forward]):
        assert voted(members, "xy")[0] == ("ab", 0.55, 2.55)


def test_a_backward_tokenizer_is_the_forward_one_reversed() -> None:
    for unit in ("characters", "graphemes", "symbols"):
        forward, backward = Tokenizer(unit), Tokenizer(unit, backward=True)
        for text in ("abc", "t͡s aː", "a b  c"):
            assert backward.split(text) == forward.split(text)[::-1]
            assert backward.join(backward.split(text)) == forward.join(forward.split(text))
        assert Tokenizer.from_dict(backward.to_dict()) == backward
        assert "backward" not in forward.to_dict(), "models of before are described as before"


def test_a_dictionary_comes_before_the_vote_and_drawing_is_refused() -> None:
    voting = Voting([Fixed({"x": [("a", 0.9)], "y": [("b", 0.9)]})], SpellDecoding()).with_dictionary([("x", "dd")])
    assert [found.text for found in voting.predict(["x", "y"])] == ["dd", "b"]
    with pytest.raises(RecipeError) as caught:
        voting.predict(["y"], decoding=SpellDecoding(method="sample"))
    assert (caught.value.field, caught.value.value) == ("decoding.method", "sample")
    for refused in (voting.score, voting.align):
        with pytest.raises(RecipeError, match="members that vote cannot"):
            refused(["y"], ["b"])
    with pytest.raises(RecipeError, match="members that vote cannot score"):
        voting.rescore(voting.predict(["y"]))


def test_members_are_chosen_by_what_they_get_wrong_together() -> None:
    """The best single one is wrong where two others are right: only the vote of the three is always right."""
    truth = dict(zip("abcdxy", "abcdxy", strict=True))

    def member(wrong: str) -> Fixed:
        return Fixed({source: [("x" if target != "x" else "a", 0.5) if source in wrong else (target, 0.5)]
                      for source, target in truth.items()})  # fmt: skip

    items = [Item((source,), ((target,),)) for source, target in truth.items()]
    spellers = [member("abcd"), member("y"), member("ab"), member("cd")]
    steps = search_members(spellers, items, SpellDecoding(), by="vote", most=4)
    assert steps[0].members == (1,)
    assert [step.errors for step in steps] == [1, 1, 0]
    assert (set(steps[-1].members), steps[-1].errors) == ({1, 2, 3}, 0)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A forward and a backward run of the toy language, and one of other data."""
    folder = tmp_path_factory.mktemp("voting")
    data = write_toy(folder / "data", train=200, valid=30, test=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPTYCH_RUNS", str(folder))
        quick = ["model.hidden=32", "model.embedding=32", "training.epochs=12", "optimizer.learning_rate=0.01"]
        for name, direction in (("on", "forward"), ("back", "backward")):
            recipe = api.load_recipe("p2g-additive-tiny", [*quick, f"data.direction={direction}"])
            run = api.start_run(recipe, recipe_name="p2g-additive", name=name, data=data)
            api.train(recipe, run, data=data)
    return folder


def test_a_backward_run_spells_and_votes_with_a_forward_one(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_RUNS", str(both))
    pairs = toy_pairs(200)
    sources, targets = [" ".join(sounds) for sounds, _ in pairs], [spelling for _, spelling in pairs]
    backward = api.load("back")
    right = [found.text == target for found, target in zip(backward.predict(sources), targets, strict=True)]
    assert sum(right) > 100, "most of what it was trained on"
    with pytest.raises(RunError, match="another direction"):
        api.make_ensemble([Run.open("on"), Run.open("back")], name="mean")
    made = api.make_ensemble([Run.open("on"), Run.open("back")], name="vote", by="vote", force=True)
    voting = api.load("vote")
    members = [api.load("on").predict(sources), backward.predict(sources)]
    for found, *own in zip(voting.predict(sources), *members, strict=True):
        assert found.text == max(own, key=lambda each: each.best.probability).text or own[0].text == own[1].text
    evaluation = api.evaluate(made, split="valid")
    assert evaluation.scores.n_items == 30
    exported = api.export(made, both / "exported")
    again = runtime.load(exported.folder if hasattr(exported, "folder") else both / "exported")
    assert [p.text for p in again.predict(sources[:20])] == [p.text for p in voting.predict(sources[:20])]


def test_the_command_chooses_and_combines(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIPTYCH_RUNS", str(both))
    steps = api.search_members([Run.open("on"), Run.open("back")], by="vote", most=2)
    assert [len(step.members) for step in steps] == [1, 2]
    for wrong in (1, 0):
        with pytest.raises(RecipeError) as caught:
            api.search_members([Run.open("on"), Run.open("back")], by="vote", most=wrong)
        assert (caught.value.field, caught.value.value) == ("--choose", wrong)
