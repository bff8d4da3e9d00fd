"""From text to symbols and from symbols to numbers: `Tokenizer`, `Vocabulary`, and both of each that a model has."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from triptych.errors import DataError, RecipeError, RunError, did_you_mean
from triptych.text.features import Features, check_separator, join_features, split_features
from triptych.text.languages import with_language, without_language

Unit = Literal["characters", "graphemes", "symbols"]
NormalForm = Literal["NFC", "NFD", "NFKC", "NFKD", "none"]

_CHOICES: Mapping[str, tuple[str, ...]] = {
    "unit": get_args(Unit),
    "normal_form": get_args(NormalForm),
    "written_form": ("", *get_args(NormalForm)),
}
_LATER = ("written_form", "backward")  # options that descriptions of earlier versions lack
_SENTENCE_MARKS = ".!?"
_NAMED = 5  # symbols that a message names


def quoted(symbol: str) -> str:
    """A symbol as messages name it: in quotes; one that begins with a combining mark on ◌, with its code points."""
    if not unicodedata.category(symbol[:1] or " ").startswith("M"):
        return repr(symbol)
    return f"'◌{symbol}' ({' '.join(f'U+{ord(character):04X}' for character in symbol)})"


def some_of(symbols: Collection[str]) -> str:
    """The first symbols, and how many more there are."""
    first = ", ".join(quoted(symbol) for symbol in islice(symbols, _NAMED))
    return first + (f" and {len(symbols) - _NAMED} more" if len(symbols) > _NAMED else "")


@dataclass(frozen=True)
class Tokenizer:
    """Conversion between a text and a sequence of symbols.

    Attributes:
        unit: what one symbol is. "characters" are Unicode code points; "graphemes" are extended grapheme clusters,
            what a reader sees as one letter (UAX 29); "symbols" are separated by white space, as phonemes are.
        normal_form: the Unicode normal form (UAX 15) in which texts are compared, or "none".
        lowercase: lower-case with Unicode's rules, which know no language.
        strip_diacritics: drop nonspacing marks (category Mn). Meant for Latin, Greek and Cyrillic; other scripts
            write vowels with such marks and lose them. With normal_form "none" the rest is composed (NFC).
        letters_only: the cleaning customary for small translation corpora: a space before each of . ! ? and every
            other run of non-letters turned into one space. A mark after a letter belongs to the letter.
        written_form: the normal form in which texts are written and evaluated where it is not `normal_form`: Korean is
            read letter by letter (NFD) and written in syllables (NFC). Empty is `normal_form`.
        backward: symbols are those of the text from its end to its beginning.
    """

    unit: Unit = "characters"
    normal_form: NormalForm = "NFC"
    lowercase: bool = False
    strip_diacritics: bool = False
    letters_only: bool = False
    written_form: NormalForm | Literal[""] = ""
    backward: bool = False

    def __post_init__(self) -> None:
        for option in fields(self):
            value = getattr(self, option.name)
            choices = _CHOICES.get(option.name)
            if choices is None:
                if not isinstance(value, bool):
                    raise RecipeError(field=f"tokenizer.{option.name}", value=value, expected="true or false")
            elif value not in choices:
                raise RecipeError(
                    field=f"tokenizer.{option.name}",
                    value=value,
                    expected=f"one of {', '.join(choices)}",
                    hint=did_you_mean(str(value), choices),
                )

    @property
    def is_lossy(self) -> bool:
        """Whether it may make different texts equal, beyond their Unicode form."""
        return self.lowercase or self.strip_diacritics or self.letters_only

    def normalise(self, text: str) -> str:
        """The text in its normal form, cleaned as the options ask; white space at both ends is always dropped."""
        text = self._compose(text)
        if self.strip_diacritics:
            letters = (letter for letter in unicodedata.normalize("NFD", text) if unicodedata.category(letter) != "Mn")
            text = self._compose(unicodedata.normalize("NFC", "".join(letters)))
        if self.lowercase:
            text = self._compose(text.lower())
        return _only_letters(text) if self.letters_only else text.strip()

    def split(self, text: str) -> tuple[str, ...]:
        """The symbols of the normalised text, none of them empty; an empty tuple where nothing is left."""
        symbols = self._cut(self.normalise(text))
        return symbols[::-1] if self.backward else symbols

    def join(self, symbols: Iterable[str]) -> str:
        """The text of some symbols: joined by a space where the unit is "symbols", else by nothing.

        `join(split(text))` is `normalise(text)` in the written form, with runs of white space made one space where the
        unit is "symbols".
        """
        text = self.pack(symbols)
        form = self.written_form
        return text if form == "" or form == "none" else unicodedata.normalize(form, text)

    def written(self, symbols: tuple[str, ...]) -> tuple[str, ...]:
        """The symbols of the text that `join` writes: what a person counts, as syllables of Korean letters."""
        if not self.written_form:
            return symbols
        return self.unpack(self.join(symbols))

    def pack(self, symbols: Iterable[str]) -> str:
        """Symbols as a text from which `unpack` makes the same ones."""
        return (" " if self.unit == "symbols" else "").join(reversed(tuple(symbols)) if self.backward else symbols)

    def unpack(self, text: str) -> tuple[str, ...]:
        """The symbols that `pack` wrote."""
        symbols = self._cut(text)
        return symbols[::-1] if self.backward else symbols

    def _cut(self, text: str) -> tuple[str, ...]:
        if self.unit == "symbols":
            return tuple(text.split())
        return tuple(_graphemes().findall(text)) if self.unit == "graphemes" else tuple(text)

    def to_dict(self) -> dict[str, str | bool]:
        """All options by name, ready for JSON or TOML; later ones where they are not empty."""
        return {name: value for name, value in asdict(self).items() if value or name not in _LATER}

    @classmethod
    def from_dict(cls, options: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer that `to_dict` described.

        Raises:
            RecipeError: a key is unknown or missing, or a value is not one of its choices.
        """
        known = [option.name for option in fields(cls)]
        for name in options:
            if name not in known:
                raise RecipeError(
                    f"tokenizer.{name} is not an option.",
                    field=f"tokenizer.{name}",
                    hint=did_you_mean(str(name), known),
                )
        for name in known:
            if name not in options and name not in _LATER:
                raise RecipeError(field=f"tokenizer.{name}", expected=f"all of {', '.join(known)}")
        return cls(**options)

    def _compose(self, text: str) -> str:
        return text if self.normal_form == "none" else unicodedata.normalize(self.normal_form, text)


@cache
def _graphemes() -> Any:
    """Pattern of one extended grapheme cluster. Only this unit needs the library, which exported models may lack."""
    import regex

    return regex.compile(r"\X")


def _only_letters(text: str) -> str:
    """Words and . ! ? only, each mark after a space, everything else one space, no space at the ends."""
    kept: list[str] = []
    in_word = False
    for letter in text:
        in_word = letter.isalpha() or (in_word and unicodedata.category(letter).startswith("M"))
        if in_word:
            kept.append(letter)
        else:
            kept.append(f" {letter}" if letter in _SENTENCE_MARKS else " ")
    return " ".join("".join(kept).split())


@dataclass(frozen=True)
class Vocabulary:
    """The symbols a model knows, numbered: four special ones first, then the data's.

    The special symbols are numbers without a spelling, so that data may contain "<pad>" or any other text.

    Attributes:
        symbols: the data's symbols; symbol i has index `i + 4`. `Vocabulary.build` sorts them by code point.
        pad, start, end, unknown: the special indices 0, 1, 2, 3.
    """

    symbols: tuple[str, ...]
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    pad: ClassVar[int] = 0
    start: ClassVar[int] = 1
    end: ClassVar[int] = 2
    unknown: ClassVar[int] = 3
    special_names: ClassVar[tuple[str, ...]] = ("pad", "start", "end", "unknown")
    unknown_text: ClassVar[str] = "\N{REPLACEMENT CHARACTER}"

    def __post_init__(self) -> None:
        index: dict[str, int] = {}
        for position, symbol in enumerate(self.symbols):
            if not isinstance(symbol, str) or not symbol:
                raise DataError(
                    field=f"vocabulary symbol {position}", value=symbol, expected="a text that is not empty"
                )
            if symbol in index:
                first = index[symbol] - len(self.special_names)
                raise DataError(
                    field=f"vocabulary symbol {position}",
                    value=symbol,
                    expected=f"each symbol once, and symbol {first} is the same",
                )
            index[symbol] = position + len(self.special_names)
        object.__setattr__(self, "_index", index)

    @classmethod
    def build(cls, sequences: Iterable[Iterable[str]]) -> Vocabulary:
        """The vocabulary of all symbols in some sequences; it depends on the set of symbols alone."""
        return cls(tuple(sorted({symbol for sequence in sequences for symbol in sequence})))

    def __len__(self) -> int:
        """The number of indices, the four special ones included."""
        return len(self.special_names) + len(self.symbols)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._index

    def encode(self, sequence: Iterable[str]) -> list[int]:
        """One index per symbol; `unknown` for a symbol that is not in the vocabulary. No start or end is added."""
        return [self._index.get(symbol, self.unknown) for symbol in sequence]

    def decode(self, indices: Iterable[int]) -> tuple[str, ...]:
        """The symbols of some indices: padding, start and end are omitted, unknown becomes U+FFFD.

        Raises:
            DataError: an index is negative or too large.
        """
        symbols: list[str] = []
        for index in indices:
            if not 0 <= index < len(self):
                raise DataError(
                    field="symbol index", value=index, expected=f"0 to {len(self) - 1}, the vocabulary's range"
                )
            if index >= len(self.special_names):
                symbols.append(self.symbols[index - len(self.special_names)])
            elif index == self.unknown:
                symbols.append(self.unknown_text)
        return tuple(symbols)

    def unknown_in(self, sequence: Iterable[str]) -> tuple[str, ...]:
        """The symbols of a sequence that the vocabulary lacks, each once, in the order they first appear."""
        return tuple(dict.fromkeys(symbol for symbol in sequence if symbol not in self._index))

    def to_list(self) -> list[str]:
        """The data's symbols in index order, ready for JSON; the special ones are not among them."""
        return list(self.symbols)

    @classmethod
    def from_list(cls, symbols: Sequence[Any]) -> Vocabulary:
        """The vocabulary that `to_list` wrote, with the same indices.

        Raises:
            DataError: it is not a list, or a symbol is empty, not a text, or there twice.
        """
        if not isinstance(symbols, list | tuple):
            raise DataError(field="vocabulary", value=type(symbols).__name__, expected="a list of symbols")
        return cls(tuple(symbols))


@dataclass(frozen=True)
class Vocabularies:
    """How texts become indices and back, on both sides of a model.

    Attributes:
        source_tokenizer, target_tokenizer: from text to symbols.
        sources, targets: from symbols to indices.
        features: from features to indices, languages among them; None for a model without features.
        features_separator: between the features of a text.
        languages: of a model of several languages.
    """

    source_tokenizer: Tokenizer
    target_tokenizer: Tokenizer
    sources: Vocabulary
    targets: Vocabulary
    features: Vocabulary | None = None
    features_separator: str = ";"
    languages: tuple[str, ...] = ()

    @property
    def takes_features(self) -> bool:
        """Whether sources have features beside a language."""
        return self.features is not None and (not self.languages or bool(without_language(self.features.symbols)))

    def with_language(self, features: Features, language: str | None = None) -> Features:
        """Features with a language among them; see `triptych.text.languages.with_language`."""
        return with_language(features, language, self.languages)

    def split_features(self, text: str) -> Features:
        """The features of a text; see `triptych.text.features.split_features`."""
        return split_features(text, self.features_separator)

    def join_features(self, features: Features) -> str:
        """A text of which `split_features` makes these features."""
        return join_features(features, self.features_separator)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; features and languages are there only if the model has them."""
        values: dict[str, Any] = {
            "source_tokenizer": self.source_tokenizer.to_dict(),
            "target_tokenizer": self.target_tokenizer.to_dict(),
            "source_symbols": self.sources.to_list(),
            "target_symbols": self.targets.to_list(),
        }
        if self.features is None:
            return values
        values |= {"features": self.features.to_list(), "features_separator": self.features_separator}
        return {**values, "languages": list(self.languages)} if self.languages else values

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Vocabularies:
        """What `to_dict` wrote; where that is damaged, a KeyError, TypeError, DataError or RecipeError."""
        separator = values.get("features_separator", ";")
        check_separator(separator)
        return cls(
            Tokenizer.from_dict(values["source_tokenizer"]),
            Tokenizer.from_dict(values["target_tokenizer"]),
            Vocabulary.from_list(values["source_symbols"]),
            Vocabulary.from_list(values["target_symbols"]),
            Vocabulary.from_list(values["features"]) if "features" in values else None,
            separator,
            tuple(values.get("languages", ())),
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], path: Path) -> Vocabularies:
        """What `to_dict` wrote into the file at `path`.

        Raises:
            RunError: an entry is missing or damaged.
        """
        try:
            return cls.read(values)
        except KeyError as error:
            raise RunError(f"the description of the model lacks {error}.", path=path) from None
        except (TypeError, DataError, RecipeError) as error:
            raise RunError(f"the description of the model is damaged ({error}).", path=path) from None
