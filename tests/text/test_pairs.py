"""Reading pairs and sources: exact rows and lines, exact words of every error, and arbitrary bytes."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from tests.messages import check_message
from triptych.data.files import MAX_LINE_BYTES
from triptych.errors import DataError, RecipeError
from triptych.text.groups import group_references, split_keys
from triptych.text.pairs import BadRow, Input, Pair, PairFile, SourceLine, read_pairs, read_sources
from triptych.text.rows import Columns, Layout, fitting_layout
from triptych.text.symbols import Tokenizer

PHONEMES = Tokenizer(unit="symbols")
LETTERS = Tokenizer()
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes, name: str = "pairs.tsv") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def read(
    path: Path,
    *,
    columns: Columns | None = None,
    delimiter: str | None = None,
    max_symbols: int = 1000,
    skip_bad_rows: bool = False,
    source_tokenizer: Tokenizer = PHONEMES,
) -> PairFile:
    return read_pairs(
        path,
        layout=Layout(columns or Columns(), delimiter),
        source_tokenizer=source_tokenizer,
        target_tokenizer=LETTERS,
        max_symbols=max_symbols,
        skip_bad_rows=skip_bad_rows,
    )


def refused(path: Path, **options: object) -> DataError:
    with pytest.raises(DataError) as caught:
        read(path, **options)  # type: ignore[arg-type]
    assert caught.value.path == path
    return caught.value


def message_of(path: Path, **options: object) -> str:
    return str(refused(path, **options))


def texts(file: PairFile) -> list[tuple[str, str, int]]:
    return [(" ".join(pair.source), "".join(pair.target), pair.line) for pair in file]


def test_a_pair_is_symbols_and_its_line(write: Write) -> None:
    file = read(write("k æ t\tcat\nd ɒ ɡ\tdog\n"))
    assert file.pairs == (
        Pair(("k", "æ", "t"), ("c", "a", "t"), 1),
        Pair(("d", "ɒ", "ɡ"), ("d", "o", "g"), 2),
    )
    assert len(file) == 2
    assert (file.skipped, file.warnings) == ((), ())


@pytest.mark.parametrize(
    ("content", "name", "columns", "delimiter"),
    [
        ("k æ\tka\nm\tm\n", "a.tsv", None, None),
        ("k æ\tka\r\nm\tm\r\n", "a.txt", None, None),
        ("\ufeffk æ\tka\nm\tm", "a.TSV", None, None),
        ("ka\tx\t k æ \nm\tx\tm\n", "a.tsv", Columns(3, 1), None),
        ('"k æ",ka\nm,"m"\n', "a.csv", None, None),
        ("k æ;ka\nm;m\n", "a.data", None, ";"),
        (gzip.compress("k æ\tka\nm\tm\n".encode(), mtime=0), "a.tsv.gz", None, None),
        (gzip.compress("k æ,ka\nm,m\n".encode(), mtime=0), "a.csv.gz", None, None),
    ],
)
def test_the_same_pairs_from_every_layout(
    write: Write, content: str | bytes, name: str, columns: Columns | None, delimiter: str | None
) -> None:
    file = read(write(content, name), columns=columns, delimiter=delimiter)
    assert texts(file) == [("k æ", "ka", 1), ("m", "m", 2)]


def test_columns_by_name_make_the_first_row_a_header(write: Write) -> None:
    path = write("word\tnote\tphonemes\nka\tx\tk æ\n")
    assert texts(read(path, columns=Columns("phonemes", "word"))) == [("k æ", "ka", 2)]
    assert texts(read(path, columns=Columns(3, "word"))) == [("k æ", "ka", 2)]
    assert len(read(path, columns=Columns(3, 1))) == 2


def test_tsv_has_no_quoting_and_csv_has(write: Write) -> None:
    assert texts(read(write('a\t"b"\n'))) == [("a", '"b"', 1)]
    assert texts(read(write('a,"b, ""c"""\n', "a.csv"))) == [("a", 'b, "c"', 1)]


def test_csv_lines_are_counted_through_quoted_line_breaks(write: Write) -> None:
    path = write('"a\nb",x\nc,y\n,z\n', "a.csv")
    pairs = read(path, skip_bad_rows=True, source_tokenizer=LETTERS).pairs
    assert [(pair.source, pair.line) for pair in pairs] == [(("a", "\n", "b"), 1), (("c",), 3)]
    assert refused(path).line == 4


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (
            "a\tb\nk æ t\n",
            2,
            "the row has 1 column; expected at least 2, the target's column, or a dictionary (data.layout)",
        ),
        (
            "a\tb\nk æ t;cat\n",
            2,
            "the row has 1 column; expected at least 2, the target's column, or another delimiter (data.delimiter)",
        ),
        ("a\tb\ncat\n", 2, "the row has 1 column; expected at least 2, the target's column"),
        ("a\tb\n\tcat\n", 2, "the source is empty; expected at least one symbol"),
        ("a\tb\nk \t  \n", 2, "the target is empty; expected at least one symbol"),
        ("a\tb\n\na\tb\n", 2, "the row is blank; expected a source and a target"),
        ("a\tb\na\0\tb\n", 2, "a NUL byte is at offset 5 of the file; expected text"),
        ("a\tb\n" + "x " * 100_000 + "\ty\n", 2, "the source has 100000 symbols; expected at most 1000"),
        ("a\tb\na\t" + "x" * 1001, 2, "the target has 1001 symbols; expected at most 1000"),
        (
            b"a\tb\nc\tcaf\xe9\n",
            2,
            "byte 0xe9 at offset 9 of the file is not UTF-8; expected UTF-8 text. "
            "Convert the file with: iconv -f <its encoding> -t UTF-8",
        ),
        (
            "a\tb\n" + "x" * MAX_LINE_BYTES + "\ty\nc\td",
            2,
            f"the line has {MAX_LINE_BYTES + 3} bytes; expected at most {MAX_LINE_BYTES}",
        ),
    ],
)
def test_a_bad_row_is_named_or_skipped(write: Write, content: str | bytes, line: int, reason: str) -> None:
    path = write(content)
    error = refused(path)
    assert (error.line, error.hint) == (line, "Fix the row, or pass --skip-bad.")
    assert f": {reason}. " in str(error)
    file = read(path, skip_bad_rows=True)
    assert file.skipped == (BadRow(line, reason),)
    assert file.pairs[0] == Pair(("a",), ("b",), 1)


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        ('a,b\n"c,d\ne,f\n', 2, "the row is not CSV: unexpected end of data"),
        ('a,b\n"c"x,d\ne,f\n', 2, "the row is not CSV: ',' expected after '\"'"),
        (b'a,b\n"c\n\xff",d\ne,f\n', 2, "byte 0xff at offset 7 of the file is not UTF-8"),
        ('a,b\n"' + "c" * 200_000 + '",d\ne,f\n', 2, "the row is not CSV: field larger than field limit (131072)"),
    ],
)
def test_a_bad_csv_row_is_named_by_its_first_line(write: Write, content: str | bytes, line: int, reason: str) -> None:
    path = write(content, "a.csv")
    assert message_of(path).startswith(f"{path}:{line}: {reason}")
    file = read(path, skip_bad_rows=True)
    assert [row.line for row in file.skipped] == [line]
    assert texts(file)[0] == ("a", "b", 1)
    assert texts(file)[1][:2] == ("e", "f")


@pytest.mark.parametrize("last", ["", 'Y,"y', '"Y",y', 'Y,"y"', 'Y,""', '"Y, y"'])
@pytest.mark.parametrize("bad", [(4,), (0,), (3, 4), (2, 7), (9,), (0, 5, 9)])
def test_an_unclosed_quote_costs_its_own_row_and_no_other(write: Write, bad: tuple[int, ...], last: str) -> None:
    rows = [f'X,"oops {number}' if number in bad else f"R{number},r{number}" for number in range(10)]
    file = read(write("\n".join([*rows, last]), "a.csv"), skip_bad_rows=True)
    assert [pair.line for pair in file if pair.line <= 10] == [n + 1 for n in range(10) if n not in bad]
    assert [row.line for row in file.skipped if row.line <= 10] == [n + 1 for n in bad]


@pytest.mark.parametrize("closing", ['C,"', 'C,c"'])
def test_rows_that_a_stray_quote_joins_are_warned_of(write: Write, closing: str) -> None:
    file = read(write(f'A,a\nX,"oops\nB,b\n{closing}\nD,d\n', "a.csv"))
    assert [pair.line for pair in file] == [1, 2, 5]
    (warning,) = file.warnings
    assert warning.startswith(f"{file.path}:2: the row goes over several lines, within quotes; such rows: 1.")


def test_text_that_normalising_removes_is_a_bad_row(write: Write) -> None:
    path = write("42\tb\n")
    error = refused(path, source_tokenizer=Tokenizer(letters_only=True))
    assert error.line == 1
    assert "the source is '42', of which normalising leaves nothing" in str(error)


def test_the_longest_allowed_row_is_read(write: Write) -> None:
    assert len(read(write("a b c\tabc\n"), max_symbols=3).pairs[0].source) == 3
    assert "the source has 3 symbols; expected at most 2" in message_of(write("a b c\tabc\n"), max_symbols=2)


@pytest.mark.parametrize(
    ("content", "columns", "message"),
    [
        ("", None, ": the file is empty; expected at least one pair."),
        ("a\tb\n", Columns("a", "b"), ": the file holds a header and no rows; expected at least one pair."),
        (
            "phonemes\tword\na\tb\n",
            Columns("phonemes", "wrod"),
            ":1: the target column 'wrod' is not in the header; expected it once. Did you mean 'word'?",
        ),
        (
            "word\tword\na\tb\n",
            Columns(1, "word"),
            ":1: the target column 'word' is 2 times in the header; expected it once. Did you mean 'word'?",
        ),
    ],
)
def test_a_file_without_the_columns_or_rows_is_refused(
    write: Write, content: str, columns: Columns | None, message: str
) -> None:
    path = write(content)
    assert message_of(path, columns=columns, skip_bad_rows=True) == f"{path}{message}"


def test_all_rows_bad_is_an_error_even_when_skipping(write: Write, tmp_path: Path) -> None:
    error = refused(write("a\nb\n\n"), skip_bad_rows=True)
    assert error.line == 1
    check_message("pairs.no-good-row", error, tmp_path)


def test_a_missing_file_a_folder_and_an_unknown_extension_are_named(write: Write, tmp_path: Path) -> None:
    write("a\tb\n", "train.tsv")
    wrong, nowhere = tmp_path / "trian.tsv", tmp_path / "no" / "train.tsv"
    assert message_of(wrong) == f"{wrong}: no such file. Did you mean '{tmp_path / 'train.tsv'}'?"
    assert message_of(nowhere) == f"{nowhere}: no such file. The folder {tmp_path / 'no'} does not exist either."
    folder = tmp_path / "folder.tsv"
    folder.mkdir()
    assert message_of(folder) == f"{folder}: is a directory; expected a file."
    error = refused(write("a\tb\n", "pairs.dat"))
    assert error.value == ".dat"
    check_message("pairs.extension", error, tmp_path)


def test_damaged_gzip_data_is_named_and_never_skipped(write: Write) -> None:
    lines = "".join(f"a{number}\tb{number}\n" for number in range(5000)).encode()
    whole = gzip.compress(lines, mtime=0)
    truncated = write(whole[: len(whole) // 2], "cut.tsv.gz")
    found = message_of(truncated, skip_bad_rows=True)
    assert found.startswith(f"{truncated}:")
    assert "the compressed data is damaged: Compressed file ended before the end-of-stream marker" in found
    plain = write(b"a\tb\n", "plain.tsv.gz")
    assert message_of(plain).startswith(f"{plain}:1: the compressed data is damaged: Not a gzipped file")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    assert "the compressed data is damaged" in message_of(write(bytes(flipped), "flip.tsv.gz"), skip_bad_rows=True)


def test_blank_rows_at_the_end_are_ignored_and_others_are_bad(write: Write) -> None:
    assert [pair.line for pair in read(write("B\tb\nK\tk\n\n \t \n\n"))] == [1, 2]
    assert refused(write("B\tb\n\n\nK\tk\n")).line == 2
    file = read(write("B\tb\n\n\nK\tk\n\n"), skip_bad_rows=True)
    assert ([pair.line for pair in file], [row.line for row in file.skipped]) == ([1, 4], [2, 3])
    assert refused(write("\n\n")).line == 1


def test_a_first_row_like_a_header_is_warned_of(write: Write) -> None:
    rows = "".join(f"{letter}\t{letter.lower()}\n" for letter in "BKSTMFBKSTMF")
    assert read(write(rows)).warnings == ()
    (warning,) = read(write("PRONUNCIATION\tword\n" + rows)).warnings
    assert ":1: the first row has symbols that no other row has, as a header would" in warning


def test_a_rare_syllable_in_the_first_row_is_not_called_a_header(write: Write) -> None:
    syllables = [chr(0xAC00 + 588 * first + 28 * vowel) for first in range(6) for vowel in range(5)]
    rows = "".join(f"{syllable}\t{number % 3} {number % 4}\n" for number, syllable in enumerate(syllables))
    korean = Tokenizer(unit="characters")
    assert read(write(rows), source_tokenizer=korean).warnings == (), "each syllable occurs once, its letters often"
    (warning,) = read(write("word\tpronunciation\n" + rows), source_tokenizer=korean).warnings
    assert ":1: the first row has symbols that no other row has" in warning
    signs = "".join(f"{chr(0x4E00 + number)}\t{number % 3} {number % 4}\n" for number in range(30))
    assert read(write(signs), source_tokenizer=korean).warnings == (), "Chinese characters that all occur once"


def test_words_read_as_symbols_are_warned_of_instead_of_a_header(write: Write) -> None:
    words = [f"{a}{b}t" for a in "bcdf" for b in "aeio"]
    (warning,) = read(write("".join(f"{word}\t{' '.join(word.upper())}\n" for word in words))).warnings
    assert "each of the 16 sources is one single symbol, such as 'bat'" in warning
    assert "Are the columns swapped, or should data.source_unit be characters?" in warning
    assert read(write("".join(f"{' '.join(word.upper())}\t{word}\n" for word in words))).warnings == ()
    few = [f"{word}\tx{word}\n" for word in ("ab", "cd") * 10]
    assert read(write("".join(few))).warnings == (), "labels that repeat are one symbol each"


@pytest.mark.parametrize(
    ("content", "name", "line", "words"),
    [
        ("k æ\tka\nm\tm\tx\ty\nb\tb\n", "a.tsv", 2, "the row has 4 columns, other rows 2"),
        ("k æ\tka\nm ~ n\tm\nb\tb\n", "a.tsv", 2, "rows that have it: 1"),
        ("k æ\tka\nm\tread(2)\nn\tread(3)\n", "a.tsv", 2, "rows that have one: 2"),
        ("k æ\tt͡ʃa\nm\tm\n", "a.tsv", None, "targets have tie bars"),
        (
            "k æ\ta\u00adb\u200f\nm\ta b\n",
            "a.tsv",
            None,
            "targets have invisible characters, kept as symbols: U+00AD, U+200F.",
        ),
        ("k æ\ta\u00a0b\u3000\nm\ta b\n", "a.tsv", None, "other than the space, kept as symbols: U+00A0."),
    ],
)
def test_what_is_likely_a_mistake_is_warned_of(
    write: Write, content: str, name: str, line: int | None, words: str
) -> None:
    path = write(content, name)
    (warning,) = read(path).warnings
    assert warning.startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert words in warning


@pytest.mark.parametrize(
    "content",
    [
        "a\tb\tnote\nc\td\tnote\n",  # a third column throughout
        "a\tb\t\nc\td\n",  # nothing but a tab at the end
        "a (2\tb)\nc\t(2)\n",
        "~\tb\nc~d\td\n",
    ],
)
def test_what_is_likely_meant_is_not_warned_of(write: Write, content: str) -> None:
    assert read(write(content)).warnings == ()


def test_more_columns_than_the_header_has_are_warned_of(write: Write) -> None:
    named = Columns("a", "b")
    (warning,) = read(write("a\tb\n1\t2\t3\n4\t5\t6\n"), columns=named).warnings
    assert "the row has 3 columns, the header 2" in warning
    assert read(write("a\tb\tc\n1\t2\t3\n4\t5\n"), columns=named).warnings == ()


def test_symbols_that_normalising_merges_are_known(write: Write) -> None:
    path = write("S s AE1\tab\nE e AE\tAB\nE\u0301\tx\n")
    lower = read(path, source_tokenizer=Tokenizer(unit="symbols", lowercase=True))
    assert lower.merged == {"source": (("E", "e"), ("S", "s"))}
    letters = read(path, source_tokenizer=Tokenizer(unit="symbols", letters_only=True))
    assert letters.merged == {"source": (("AE", "AE1"),)}
    accents = read(path, source_tokenizer=Tokenizer(unit="symbols", strip_diacritics=True))
    assert accents.merged == {"source": (("E", "É"),)}
    assert read(path).merged == {}
    assert read(path, source_tokenizer=Tokenizer(lowercase=True)).merged == {}, "letters of text are merged on purpose"


def test_lines_of_an_old_macintosh_are_lines(write: Write) -> None:
    assert texts(read(write("k æ\tka\rm\tm\r"))) == [("k æ", "ka", 1), ("m", "m", 2)]


@pytest.mark.parametrize(
    ("content", "name", "columns", "delimiter", "found", "guessed"),
    [
        ("word;sounds\nka;k æ\n", "a.csv", Columns("sounds", "word"), ";", Columns("sounds", "word"), False),
        ("word,sounds\nka,k æ\n", "a.csv", Columns("sounds", "word"), ";", Columns("sounds", "word"), False),
        ("word\tsounds\nka\tk æ\n", "a.dat", Columns("sounds", "word"), ";", Columns("sounds", "word"), False),
        ("k æ\tka\n", "a.tsv", Columns("sounds", "word"), ";", Columns(), True),
        ("k æ\tka\n", "a.tsv", Columns(3, 2), None, Columns(), True),
        ("ka\tk æ\n", "a.tsv", Columns(2, 1), None, Columns(2, 1), False),
        ("k æ,ka\n", "a.csv", Columns(), ";", Columns(), False),
        ("a\tb\tc\n", "a.tsv", Columns("sounds", "word"), None, Columns("sounds", "word"), False),
        ("", "a.tsv", Columns("sounds", "word"), None, Columns("sounds", "word"), False),
    ],
)
def test_a_file_laid_out_otherwise_is_read_where_it_is_clear_how(
    write: Write,
    content: str,
    name: str,
    columns: Columns,
    delimiter: str | None,
    found: Columns,
    guessed: bool,
) -> None:
    path = write(content, name)
    layout = fitting_layout(path, Layout(columns, delimiter))
    assert (layout.columns, bool(layout.remark)) == (found, guessed)
    if "k æ" in content:
        assert texts(read(path, columns=layout.columns, delimiter=layout.delimiter))[0][:2] == ("k æ", "ka")


def test_one_pair_and_equal_pairs_are_read_with_a_warning(write: Write) -> None:
    path = write("a\tb\n")
    assert read(path).warnings == (f"{path}: there is 1 pair; training and splitting need more.",)
    path = write("a\tb\n" * 3)
    file = read(path)
    assert len(file) == 3
    assert file.warnings == (f"{path}: all 3 pairs are the same; nothing can be learnt from them.",)


@pytest.mark.parametrize(("column", "shown"), [(0, "0"), (True, "True"), ("", "''"), (-1, "-1"), (1.5, "1.5")])
def test_a_column_that_cannot_be_is_refused(column: int | str, shown: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Columns(1, column)
    assert (caught.value.field, caught.value.value) == ("columns.target", column)
    assert f" is {shown}; " in str(caught.value)


def test_settings_that_cannot_be_are_refused(write: Write) -> None:
    path = write("a\tb\n")
    for options in ({"delimiter": "--"}, {"max_symbols": 0}):
        with pytest.raises(RecipeError) as caught:
            read(path, **options)
        assert {caught.value.field: caught.value.value} == options


@given(st.binary(max_size=200), st.sampled_from(["f.tsv", "f.csv", "f.tsv.gz"]), st.booleans(), st.booleans())
@example(b'"', "f.csv", True, False)
@example(b"\xef\xbb\xbf", "f.tsv", False, False)
@example(b'a,b\r"c\r\n",d', "f.csv", True, True)
def test_any_bytes_give_pairs_or_a_data_error_with_the_path(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str, skip: bool, named: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    columns = Columns("a", "b") if named else None
    try:
        file = read(path, columns=columns, skip_bad_rows=skip)
    except DataError as error:
        file = PairFile(path, ())
        message = str(error)
    else:
        message = ""
    assert bool(file.pairs) != message.startswith(f"{path}:")
    assert all(pair.source and pair.target and pair.line >= 1 for pair in file)


FIELDS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: LETTERS.split(text))


@given(st.lists(st.tuples(FIELDS, FIELDS), min_size=1))
def test_what_the_csv_module_wrote_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "written.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
    # A file may begin with a byte order mark, so a first field cannot.
    rows[0] = (rows[0][0].removeprefix("\ufeff"), rows[0][1])
    if not LETTERS.split(rows[0][0]):
        return
    file = read(path, source_tokenizer=LETTERS)
    assert [(pair.source, pair.target) for pair in file] == [(LETTERS.split(a), LETTERS.split(b)) for a, b in rows]


def test_sources_are_read_from_lines_of_text_or_bytes() -> None:
    expected = [SourceLine(1, "k æ", ("k", "æ")), SourceLine(2, "m", ("m",))]
    for lines in (["k æ\n", "m"], io.StringIO("k æ\nm\n"), io.BytesIO("\ufeffk æ\r\nm\n".encode())):
        assert list(read_sources(lines, PHONEMES, path_label="standard input")) == expected


def test_a_bad_source_is_named_or_handed_over() -> None:
    data = b"a\n\nb\xff\nc d e\nd\n"
    with pytest.raises(DataError) as caught:
        list(read_sources(io.BytesIO(data), PHONEMES, path_label="standard input"))
    assert caught.value.line == 2
    check_message("sources.blank", caught.value)
    bad: list[BadRow] = []
    lines = read_sources(io.BytesIO(data), PHONEMES, path_label="-", max_symbols=2, on_bad_row=bad.append)
    assert [line.text for line in lines] == ["a", "d"]
    assert [row.line for row in bad] == [2, 3, 4]
    assert bad[1].reason.startswith("byte 0xff at offset 4 of the file is not UTF-8")
    assert bad[2].reason == "the source has 3 symbols; expected at most 2"


def test_blank_lines_at_the_end_of_sources_are_ignored() -> None:
    bad: list[BadRow] = []
    data = b"a\n\n \nb\n\n  \n\n"
    lines = list(read_sources(io.BytesIO(data), PHONEMES, path_label="-", on_bad_row=bad.append))
    assert [line.line for line in lines] == [1, 4]
    assert [(row.line, row.is_blank) for row in bad] == [(2, True), (3, True)]
    assert [line.line for line in read_sources(io.BytesIO(b"a\n\n\n"), PHONEMES, path_label="-")] == [1]


def test_sources_come_one_at_a_time() -> None:
    def endless() -> object:
        while True:
            yield "a\n"

    lines = read_sources(endless(), PHONEMES, path_label="-")  # type: ignore[arg-type]
    assert [next(lines).line for _ in range(3)] == [1, 2, 3]


def test_a_text_stream_that_is_not_utf8_is_a_data_error() -> None:
    stream = io.TextIOWrapper(io.BytesIO(b"a\n\xff\n"), encoding="utf-8")
    with pytest.raises(DataError, match=r"^x\.txt:1: the text is not UTF-8: .*0xff"):
        list(read_sources(stream, PHONEMES, path_label="x.txt"))
    with pytest.raises(DataError, match=r"^x:1: byte 0xed at offset 0 of the file is not UTF-8"):
        list(read_sources(["\udc80"], PHONEMES, path_label="x"))


def pair(source: str, target: str) -> Pair:
    return Pair(tuple(source.split()), tuple(target), 1)


PAIRS = [pair("r e d", "red"), pair("r e d", "read"), pair("r i d", "read"), pair("r e d", "red"), pair("k", "c")]


def test_references_are_all_different_targets_of_a_source() -> None:
    assert group_references(PAIRS) == {
        Input(("r", "e", "d")): (tuple("red"), tuple("read")),
        Input(("r", "i", "d")): (tuple("read"),),
        Input(("k",)): (("c",),),
    }


def test_split_keys_group_by_the_side_asked_for() -> None:
    def partition(by: str) -> list[int]:
        keys = split_keys(PAIRS, by=by)  # type: ignore[arg-type]
        return [keys.index(key) for key in keys]

    assert partition("target") == [0, 1, 1, 0, 4]
    assert partition("source") == [0, 0, 2, 0, 4]
    assert partition("both") == [0, 0, 0, 0, 4]
    with pytest.raises(RecipeError) as caught:
        partition("word")
    assert (caught.value.field, caught.value.value) == ("group_by", "word")
