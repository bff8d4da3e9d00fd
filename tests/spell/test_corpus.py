"""The pairs of a recipe: from a folder, one file or a named set, in splits that never share what they should not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.messages import check_message
from tests.toy import LETTERS, toy_pairs, write_toy
from triptych.config import SpellData
from triptych.errors import DataError, RecipeError
from triptych.spell import corpus as corpus_module
from triptych.spell.corpus import Corpus, Item, load_corpus, tokenizers
from triptych.spell.unseen import unseen_symbols
from triptych.text.pairs import Pair, PairFile
from triptych.text.symbols import Tokenizer, Vocabulary


def settings(**changes: Any) -> SpellData:
    return SpellData(**{"source_unit": "symbols", **changes})


def spellings(corpus: Corpus, split: str) -> list[tuple[str, str]]:
    return [(" ".join(pair.source), "".join(pair.target)) for pair in corpus.splits[split]]


def one_file(path: Path, rows: list[tuple[str, str]]) -> Path:
    path.write_text("".join(f"{source}\t{target}\n" for source, target in rows), encoding="utf-8")
    return path


def test_a_folder_gives_its_files(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", train=20, valid=5, test=4)
    corpus = load_corpus(settings(), folder)
    expected = [(" ".join(sounds), word) for sounds, word in toy_pairs(29)]
    assert spellings(corpus, "train") == expected[:20]
    assert spellings(corpus, "valid") == expected[20:25]
    assert spellings(corpus, "test") == expected[25:]
    assert [Path(entry["path"]).name for entry in corpus.fingerprints] == ["train.tsv", "valid.tsv", "test.tsv"]
    assert list(corpus.warnings) == []


def test_a_folder_may_lack_a_test_file_and_no_other(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", train=20, valid=5, test=4)
    (folder / "test.tsv").unlink()
    corpus = load_corpus(settings(), folder)
    assert list(corpus.splits) == ["train", "valid"]
    with pytest.raises(DataError) as caught:
        corpus.items("test")
    assert (caught.value.value, caught.value.expected) == ("test", "one of train, valid")
    assert caught.value.hint == "Add a test file to the data."
    with pytest.raises(DataError) as caught:
        corpus.items("foo")
    assert (caught.value.value, caught.value.hint) == ("foo", "")
    (folder / "valid.tsv").unlink()
    with pytest.raises(DataError, match=r"toy/valid\.tsv: no such file"):
        load_corpus(settings(), folder)


def test_files_of_other_names_columns_and_delimiters(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id;word;sounds\n1;be;B IY\n2;see;S IY\n", encoding="utf-8")
    named = settings(train="a.csv", valid="b.csv", source_column="sounds", target_column="word", delimiter=";")
    assert spellings(load_corpus(named, tmp_path), "train") == [("B IY", "be"), ("S IY", "see")]


def test_one_file_is_split_by_fraction_and_seed(tmp_path: Path) -> None:
    rows = [(" ".join(sounds), word) for sounds, word in toy_pairs(200)]
    file = one_file(tmp_path / "all.tsv", rows)
    corpus = load_corpus(settings(), file)
    sizes = {split: len(pairs) for split, pairs in corpus.splits.items()}
    assert sum(sizes.values()) == 200
    assert sizes["train"] == pytest.approx(160, abs=3)
    assert sizes["valid"] == pytest.approx(20, abs=3)
    assert sorted(row for split in sizes for row in spellings(corpus, split)) == sorted(rows)
    assert load_corpus(settings(), file).splits == corpus.splits
    assert load_corpus(settings(split_seed=1), file).splits != corpus.splits
    halves = load_corpus(settings(fractions={"train": 0.5, "valid": 0.5}), file)
    assert list(halves.splits) == ["train", "valid"]
    assert len(halves.splits["train"]) == pytest.approx(100, abs=3)


@pytest.mark.parametrize(
    ("group_by", "shared_sources", "shared_targets"), [("source", False, True), ("target", True, False)]
)
def test_groups_never_lie_in_two_splits(
    tmp_path: Path, group_by: str, shared_sources: bool, shared_targets: bool
) -> None:
    rows = [(f"S{i % 40}", f"t{i % 37}") for i in range(400)]
    file = one_file(tmp_path / "all.tsv", rows)

    def overlap(side: int, **changes: Any) -> bool:
        splits = load_corpus(settings(**changes), file).splits
        parts = [{(pair.source, pair.target)[side] for pair in pairs} for pairs in splits.values()]
        return any(a & b for i, a in enumerate(parts) for b in parts[i + 1 :])

    assert (overlap(0, group_by=group_by), overlap(1, group_by=group_by)) == (shared_sources, shared_targets)


def test_grouping_by_both_keeps_sources_and_targets_apart(tmp_path: Path) -> None:
    rows = [(f"S{i // 2}", f"t{i % 100}") for i in range(200)]
    corpus = load_corpus(settings(group_by="both"), one_file(tmp_path / "all.tsv", rows))
    for side in ("source", "target"):
        parts = [{getattr(pair, side) for pair in pairs} for pairs in corpus.splits.values()]
        assert not parts[0] & parts[1]
        assert not parts[0] & parts[2]
        assert not parts[1] & parts[2]


def test_reverse_swaps_sides_and_tokenizers_after_reading(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", train=5, valid=5, test=5)
    plain, reverse = (load_corpus(settings(reverse=flag), folder) for flag in (False, True))
    for split in ("train", "valid", "test"):
        assert [(p.target, p.source, p.line) for p in reverse.splits[split]] == [
            (p.source, p.target, p.line) for p in plain.splits[split]
        ]
    assert [t.unit for t in tokenizers(settings())] == ["symbols", "characters"]
    assert [t.unit for t in tokenizers(settings(reverse=True))] == ["characters", "symbols"]


def test_limits_draw_a_part_of_each_split_in_file_order(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", train=50, valid=20, test=20)
    whole = load_corpus(settings(), folder)
    few = load_corpus(settings(max_train_pairs=10, max_eval_pairs=5), folder)
    assert {split: len(pairs) for split, pairs in few.splits.items()} == {"train": 10, "valid": 5, "test": 5}
    lines = [pair.line for pair in few.splits["train"]]
    assert lines == sorted(lines)
    assert lines != list(range(1, 11)), "a random part, not the first rows"
    assert set(few.splits["train"]) < set(whole.splits["train"])
    assert load_corpus(settings(max_train_pairs=10, split_seed=1), folder).splits["train"] != few.splits["train"]
    assert load_corpus(settings(max_train_pairs=500), folder).splits == whole.splits


def test_limits_of_evaluation_leave_every_source_all_its_references(tmp_path: Path) -> None:
    rows = [(f"S{number}", f"{number} {reference}") for reference in range(3) for number in range(40)]
    for split in ("train", "valid"):
        one_file(tmp_path / f"{split}.tsv", rows)
    few = load_corpus(settings(max_train_pairs=10, max_eval_pairs=10), tmp_path)
    items = few.items("valid")
    assert [len(item.references) for item in items] == [3, 3, 3]
    assert len({pair.source for pair in few.splits["train"]}) > 4, "training may have a part of them"
    each = load_corpus(settings(max_eval_pairs=10, references="each"), tmp_path)
    assert len(each.splits["valid"]) == 10
    assert len(load_corpus(settings(max_eval_pairs=2), tmp_path).items("valid")) == 1, "one source at least"


def test_limits_do_not_cut_other_data(tmp_path: Path) -> None:
    limited = settings(max_train_pairs=10, max_eval_pairs=5)
    folder = write_toy(tmp_path / "toy", train=50, valid=20, test=15)
    file = one_file(tmp_path / "other.tsv", [(" ".join(sounds), word) for sounds, word in toy_pairs(30)])
    for location, split, count in (
        (file, "test", 30),
        (file, "train", 30),
        (folder, "test", 15),
        (folder, "valid", 20),
    ):
        corpus = load_corpus(limited, location, whole=split)
        assert {name: len(pairs) for name, pairs in corpus.splits.items()} == {split: count}
        assert corpus.available == {}


def test_a_folder_with_a_test_file_alone_is_enough_to_evaluate_on(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", train=5, valid=5, test=5)
    expected = spellings(load_corpus(settings(), folder), "test")
    for name in ("train", "valid"):
        (folder / f"{name}.tsv").unlink()
    corpus = load_corpus(settings(), folder, whole="test")
    assert spellings(corpus, "test") == expected
    assert [Path(entry["path"]).name for entry in corpus.fingerprints] == ["test.tsv"]
    with pytest.raises(DataError) as caught:
        load_corpus(settings(), folder, whole="valid")
    assert caught.value.path == folder / "valid.tsv"
    with pytest.raises(DataError) as caught:
        load_corpus(settings(), folder, whole="foo")
    assert caught.value.value == "foo"


def test_other_data_may_have_other_columns_and_another_delimiter(tmp_path: Path) -> None:
    recipe = settings(source_column="sounds", target_column="word", delimiter=";")
    plain = one_file(tmp_path / "plain.tsv", [("B IY", "be"), ("S IY", "see")])
    corpus = load_corpus(recipe, plain, whole="test")
    assert spellings(corpus, "test") == [("B IY", "be"), ("S IY", "see")]
    assert "its two columns are read as source and target" in corpus.warnings[0]
    turned = load_corpus(recipe.model_copy(update={"reverse": True}), plain, whole="test")
    assert [(pair.source, pair.target) for pair in turned.splits["test"]] == [
        (("b", "e"), ("B", "IY")),
        (("s", "e", "e"), ("S", "IY")),
    ], "a file is laid out as the recipe's, and swapped like it"
    with pytest.raises(DataError):
        load_corpus(recipe, plain)


@pytest.mark.parametrize("option", ["lowercase", "strip_diacritics", "letters_only"])
def test_cleaning_acts_on_the_sides_that_it_names(option: str) -> None:
    acts = {
        value: tuple(getattr(tokenizer, option) for tokenizer in tokenizers(settings(**{option: value})))
        for value in (False, True, "both", "source", "target")
    }
    assert acts[False] == (False, False)
    assert acts[True] == acts["both"] == (True, True)
    assert (acts["source"], acts["target"]) == ((True, False), (False, True))
    source, target = tokenizers(settings(**{option: "source", "reverse": True}))
    assert (getattr(source, option), getattr(target, option)) == (False, True), "columns are named before the swap"


def test_symbols_that_a_setting_of_both_sides_merges_are_warned_of(tmp_path: Path) -> None:
    rows = [("Cat", "k ae1 T"), ("Tea", "t IY"), ("Eat", "iy t")]
    for split in ("train", "valid"):
        one_file(tmp_path / f"{split}.tsv", rows)
    g2p = {"source_unit": "characters", "target_unit": "symbols"}
    both = load_corpus(settings(**g2p, lowercase=True), tmp_path)
    assert next(warning for warning in both.warnings if "acts on both sides" in warning).startswith(
        f"{tmp_path}/train.tsv: data.lowercase acts on both sides and makes target symbols equal that differ, such as "
        "'IY' and 'iy'; merged symbols: 2."
    )
    for choice in ("source", "both"):
        chosen = load_corpus(settings(**g2p, lowercase=choice), tmp_path)
        assert not [warning for warning in chosen.warnings if "equal" in warning]
    source_alone = load_corpus(settings(**g2p, lowercase="source"), tmp_path)
    assert source_alone.splits["train"][0][:2] == (("c", "a", "t"), ("k", "ae1", "T"))


def test_symbols_that_training_never_showed_are_counted() -> None:
    sources = Vocabulary.build(["abc"])
    items = [Item(tuple("abc"), ()), Item(tuple("aXY"), ()), Item(tuple("XXX"), ())]
    assert unseen_symbols(items[:1], sources) == ""
    assert unseen_symbols(items, sources).startswith(
        "2 of 3 sources have symbols that training never showed ('X', 'Y')"
    )
    many = [Item(tuple("0123456789"), ())]
    assert "('0', '1', '2', '3', '4' and 5 more)" in unseen_symbols(many, sources)


def test_items_have_every_reference_once_or_every_row(tmp_path: Path) -> None:
    rows = [("S IY", "see"), ("B IY", "be"), ("S IY", "sea"), ("S IY", "see"), ("B IY", "bee")]
    for split in ("train", "valid"):
        one_file(tmp_path / f"{split}.tsv", rows)
    corpus = load_corpus(settings(), tmp_path)
    see, sea, be, bee = (tuple(word) for word in ("see", "sea", "be", "bee"))
    assert corpus.items("valid") == [Item(("S", "IY"), (see, sea)), Item(("B", "IY"), (be, bee))]
    assert corpus.items("valid", references="each") == [
        Item(("S", "IY"), (see,)),
        Item(("B", "IY"), (be,)),
        Item(("S", "IY"), (sea,)),
        Item(("S", "IY"), (see,)),
        Item(("B", "IY"), (bee,)),
    ]


def test_skipped_rows_are_counted_with_the_first_ones_line(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", train=5, valid=5, test=5)
    with (folder / "train.tsv").open("a", encoding="utf-8") as stream:
        stream.write("B IY\t\nonly one column\n")
    with pytest.raises(DataError, match=r"toy/train\.tsv:6: the target is empty; expected at least one symbol"):
        load_corpus(settings(), folder)
    corpus = load_corpus(settings(skip_bad=True), folder)
    assert len(corpus.splits["train"]) == 5
    assert list(corpus.warnings) == [
        f"{folder}/train.tsv:6: the target is empty; expected at least one symbol. "
        "Bad rows that were skipped, this one first: 2; pairs that were read: 5."
    ]


def test_suspicious_files_are_warned_of(tmp_path: Path) -> None:
    one_file(tmp_path / "train.tsv", [("B IY", "be")] * 3)
    one_file(tmp_path / "valid.tsv", [("B IY", "be")])
    warnings = load_corpus(settings(), tmp_path).warnings
    assert [warning.removeprefix(f"{tmp_path}/") for warning in warnings] == [
        "train.tsv: all 3 pairs are the same; nothing can be learnt from them.",
        "valid.tsv: there is 1 pair; training and splitting need more.",
        "valid.tsv:1: this pair is in train too; such pairs of valid: 1.",
    ]


def test_fingerprints_change_with_the_data_and_only_with_it(tmp_path: Path) -> None:
    folder = write_toy(tmp_path / "toy", train=5, valid=5, test=5)
    before = [entry["sha256"] for entry in load_corpus(settings(), folder).fingerprints]
    assert [entry["sha256"] for entry in load_corpus(settings(reverse=True), folder).fingerprints] == before
    with (folder / "valid.tsv").open("a", encoding="utf-8") as stream:
        stream.write("B IY\tbe\n")
    after = [entry["sha256"] for entry in load_corpus(settings(), folder).fingerprints]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


class NamedSet:
    """A named set without a file."""

    def __init__(self, rows: list[tuple[str, str]]) -> None:
        self.rows = rows

    def load(self, *, source_tokenizer: Tokenizer, target_tokenizer: Tokenizer, **_: Any) -> PairFile:
        pairs = [
            Pair(source_tokenizer.split(source), target_tokenizer.split(target), line)
            for line, (source, target) in enumerate(self.rows, start=1)
        ]
        return PairFile(Path("toy"), tuple(pairs))


def test_a_named_set_is_split_and_fingerprinted_by_its_content(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(" ".join(sounds), word) for sounds, word in toy_pairs(100)]
    sets = {"toy": NamedSet(rows), "other": NamedSet([*rows[:-1], ("B", "b")])}
    monkeypatch.setattr(corpus_module, "resolve", sets.__getitem__)
    toy, other = (load_corpus(settings(set=name), None) for name in sets)
    assert sum(map(len, toy.splits.values())) == 100
    assert [(entry["path"], entry["pairs"]) for entry in toy.fingerprints] == [("toy", 100)]
    assert toy.fingerprints[0]["sha256"] != other.fingerprints[0]["sha256"]
    upper = load_corpus(settings(set="toy", lowercase=True), None)
    assert {letter for pair in upper.splits["train"] for letter in pair.source} <= {s.lower() for s in LETTERS}


def test_columns_of_a_named_set_are_not_chosen() -> None:
    with pytest.raises(RecipeError, match=r"^data\.source_column is 3 and has no effect with data\.set 'cmudict'"):
        load_corpus(settings(set="cmudict", source_column=3, target_column=1), None)


def test_a_named_set_goes_the_way_of_the_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symbols are its phonemes; with the columns of a dictionary, word and phonemes, as well."""
    rows = [(" ".join(sounds), word) for sounds, word in toy_pairs(30)]
    monkeypatch.setattr(corpus_module, "resolve", {"toy": NamedSet(rows)}.__getitem__)
    p2g = load_corpus(settings(set="toy"), None)
    again = load_corpus(settings(set="toy", source_column=2, target_column=1), None)
    g2p = load_corpus(settings(set="toy", source_unit="characters", target_unit="symbols"), None)
    assert p2g.splits == again.splits
    assert sorted((pair.target, pair.source) for pairs in g2p.splits.values() for pair in pairs) == sorted(
        (pair.source, pair.target) for pairs in p2g.splits.values() for pair in pairs
    )


def test_a_file_too_small_to_split_is_named(tmp_path: Path) -> None:
    path = one_file(tmp_path / "few.tsv", [("B IY", "be")] * 5)
    with pytest.raises(DataError) as caught:
        load_corpus(settings(), path)
    assert caught.value.path == path
    assert "5 items in 1 groups" in str(caught.value)


def test_unknown_named_sets_suggest_the_nearest() -> None:
    with pytest.raises((DataError, RecipeError), match="cmudict"):
        load_corpus(settings(set="cmudct"), None)


def test_no_data_at_all_says_how_to_give_some() -> None:
    with pytest.raises(DataError) as caught:
        load_corpus(settings(), None)
    assert caught.value.field == "data.set"
    check_message("corpus.no-data", caught.value)


def test_a_misspelt_location_suggests_its_neighbour(tmp_path: Path) -> None:
    write_toy(tmp_path / "my-words", train=5, valid=5, test=5)
    with pytest.raises(DataError) as caught:
        load_corpus(settings(), tmp_path / "my-word")
    assert caught.value.hint == f"Did you mean '{tmp_path}/my-words'?"
    check_message("data.no-such-location", caught.value, tmp_path)
    with pytest.raises(DataError) as caught:
        load_corpus(settings(), tmp_path / "nowhere" / "at" / "all")
    assert caught.value.hint == "Check the path given with --data."
