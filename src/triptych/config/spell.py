"""The recipe of the panel `spell`: rewriting one symbol sequence as another."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from triptych.config.common import (
    AUTO,
    Auto,
    Fractions,
    NonNegativeInt,
    OptimizerTable,
    PositiveInt,
    Probability,
    Seed,
    Table,
    TrainingTable,
    check_fractions,
    decided,
    is_language,
    without_retired,
)
from triptych.config.decoding import SpellDecoding

Unit = Literal["characters", "graphemes", "symbols"]
AttentionKind = Literal["none", "dot", "general", "additive", "hopfield", "monotonic"]
Sides = bool | Literal["source", "target", "both"]  # columns that a setting acts on; true is both


def _named_delimiter(value: Any) -> Any:
    """The tab where it is written as `\\t` or `tab`, as shells make it hard to write one."""
    return "\t" if value in ("\\t", "tab") else value


class SpellData(Table):
    """`[data]`: where pairs come from and how each side becomes symbols.

    Pairs come from a named set (`set = "cmudict"`), or from the folder or file given on the command line with
    `--data`. A folder holds the files named by `train`, `valid` and `test`; a single file, like a named set, is
    split by `fractions`.
    """

    set: str = Field(default="", description="named data set; empty when the pairs come from --data")
    train: str = "train.tsv"
    valid: str = "valid.tsv"
    test: str = "test.tsv"
    source_column: int | str = Field(default=1, description="number from 1, or name in a header row")
    target_column: int | str = Field(default=2, description="number from 1, or name in a header row")
    features_column: int | str = Field(
        default="",
        description="number from 1, or name in a header row, of features such as V;PST that the target depends on "
        "beside the source; empty has none",
    )
    features_separator: Annotated[str, Field(min_length=1, max_length=1)] = Field(
        default=";", description="between features: ; as in V;NOM(1,SG), | or a space"
    )
    languages: list[str] = Field(
        default=[],
        description="of one model for several languages, each with --data LANG=PATH; a row's language is one of its "
        "features",
    )
    delimiter: Annotated[str, BeforeValidator(_named_delimiter)] = Field(
        default="", description=r"one character, or \t for a tab; empty takes it from the file's name"
    )
    layout: Literal["auto", "table", "dictionary"] = Field(
        default="auto",
        description="table: columns; dictionary: a word, white space and its phonemes, as in CMUdict and lexicons of "
        "Kaldi, MFA and Sphinx, where column 1 is the word and column 2 the phonemes; auto: a dictionary where that is "
        "certain",
    )
    blank_rows: Literal["bad", "skip"] = Field(
        default="bad", description="skip: rows without content are ends of sentences and not mistakes"
    )
    split_alternatives: str = Field(
        default="",
        description="what separates several sources or targets in one field, such as ~ or a comma; each makes a pair",
    )
    source_unit: Unit = Field(default="characters", description="symbols are separated by white space")
    target_unit: Unit = "characters"
    normal_form: Literal["auto", "NFC", "NFD", "NFKC", "NFKD", "none"] = Field(
        default="auto",
        description="auto: each side is decomposed (NFD) where its training texts are syllables of letters that recur, "
        "as in Korean, otherwise composed (NFC), and written in the form of the data",
    )
    lowercase: Sides = Field(default=False, description="of the source or target column, or both (true)")
    strip_diacritics: Sides = Field(
        default=False, description="remove accents of the source or target column, or both (true)"
    )
    letters_only: Sides = Field(
        default=False,
        description="of the source or target column, or both (true): keep letters and . ! ?, everything else becomes "
        "one space",
    )
    max_symbols: PositiveInt = Field(default=1000, description="longer sources or targets make a row a bad row")
    skip_bad: bool = Field(default=False, description="skip rows that cannot be read, and report how many")
    fractions: Fractions = Field(
        default={"train": 0.8, "valid": 0.1, "test": 0.1}, description="shares of the splits of one file or set"
    )
    split_seed: Seed = 0
    group_by: Literal["source", "target", "both"] = Field(
        default="both", description="pairs with an equal text on this side stay in one split"
    )
    reverse: bool = Field(
        default=False, description="swap source and target after reading: G2P from the data and recipe of P2G"
    )
    direction: Literal["forward", "backward"] = Field(
        default="forward",
        description="backward reads and writes both sides from their ends: a member unlike the others for "
        "triptych ensemble --by vote",
    )
    remember: bool = Field(
        default=False,
        description="keep the training pairs in the run, which answers with a source's most frequent target before the "
        "model is asked (decoding.remembered)",
    )
    references: Literal["any", "each"] = Field(
        default="any",
        description="evaluate each source once, right when any of its references matches; or each row by itself",
    )
    max_train_pairs: NonNegativeInt = Field(default=0, description="use at most this many training pairs; 0 uses all")
    max_eval_pairs: NonNegativeInt = Field(default=0, description="the same for valid and test; 0 uses all")

    @property
    def has_features(self) -> bool:
        """Whether targets are predicted from features too, of a column or languages."""
        return self.features_column != "" or bool(self.languages)

    @model_validator(mode="before")
    @classmethod
    def _older_settings(cls, values: Any) -> Any:
        return without_retired(values, {}, renamed={"skip_bad_rows": "skip_bad"})

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        if self.source_column == self.target_column:
            raise ValueError(f"source_column and target_column are both {self.source_column!r}; expected two columns")
        columns = {"source": self.source_column, "target": self.target_column}
        if self.features_column != "":
            if self.features_column in columns.values():
                side = next(side for side, column in columns.items() if column == self.features_column)
                raise ValueError(
                    f"features_column and {side}_column are both {self.features_column!r}; expected another column"
                )
            columns["features"] = self.features_column
        for side, column in columns.items():
            if isinstance(column, int) and column < 1:
                raise ValueError(f"{side}_column is {column}; expected a number from 1, or a name in the header")
        return self

    @model_validator(mode="after")
    def _features_can_be_separated(self) -> Self:
        if self.features_separator in "()\t\r\n":
            raise ValueError(
                f"features_separator is {self.features_separator!r}; expected one character, not a bracket, tab or "
                "line break"
            )
        return self

    @model_validator(mode="after")
    def _languages_have_names(self) -> Self:
        for name in self.languages:
            if not is_language(name) or self.languages.count(name) > 1:
                raise ValueError(
                    f"languages has {name!r}; expected different names of letters, digits, hyphens and underscores"
                )
            if self.features_separator in f"language={name}":
                raise ValueError(
                    f"features_separator is {self.features_separator!r}; expected a character that 'language={name}', "
                    "the feature of a language, does not have"
                )
        return self

    @model_validator(mode="after")
    def _dictionaries_have_no_columns(self) -> Self:
        if self.layout == "dictionary" and self.features_column != "":
            raise ValueError(
                f"features_column is {self.features_column!r} with layout 'dictionary'; expected none, since a "
                "dictionary has words and phonemes alone"
            )
        if self.layout == "dictionary" and (self.delimiter or {self.source_column, self.target_column} != {1, 2}):
            raise ValueError(
                f"layout is 'dictionary' with the columns {self.source_column!r} and {self.target_column!r} and the "
                f"delimiter {self.delimiter!r}; expected the columns 1 and 2, the word and its phonemes, alone"
            )
        return self

    @model_validator(mode="after")
    def _fractions_are_whole(self) -> Self:
        check_fractions(self.fractions)
        return self


class SpellModel(Table):
    """`[model]`: sizes and kinds of the encoder, the decoder and the attention between them."""

    cell: Literal["lstm", "gru"] = "lstm"
    hidden: Annotated[int, Field(ge=2, multiple_of=2)] | Auto = Field(
        default=128,
        description="decoder width, and the encoder's two directions together; auto, here and below: from the number "
        "of training pairs",
    )
    encoder_hidden: Annotated[int, Field(ge=0, multiple_of=2)] | Auto = Field(
        default=0, description="the encoder's two directions together, with monotonic attention; 0 is hidden"
    )
    embedding: PositiveInt | Auto = Field(
        default=128, description="equal to hidden when tie_output is true, except with monotonic attention"
    )
    encoder_layers: PositiveInt | Auto = 1
    encoder_residual: bool = Field(
        default=False, description="add each encoder layer's input to its output, from the second layer on"
    )
    encoder_shortcut: bool | Auto = Field(
        default=False,
        description="add a linear map of each source symbol's embedding to the encoder's state there; auto: for few "
        "pairs",
    )
    decoder_layers: PositiveInt = 1
    attention: AttentionKind = Field(
        default="none",
        description="monotonic: each symbol is written from one position, which is summed out; the others are soft; "
        "hopfield: iterates retrieval before reading",
    )
    attention_width: NonNegativeInt = Field(default=0, description="of monotonic attention's scores; 0 is hidden")
    attention_steps: PositiveInt = Field(default=1, description="of hopfield attention, the answering one included")
    input_feeding: bool = Field(
        default=False, description="feed the attended output back into the decoder; steps through time"
    )
    tie_output: bool = Field(default=True, description="output weights are the target embedding's")
    initial_weights: Literal["scaled", "pytorch"] = Field(
        default="scaled",
        description="scaled: embeddings at deviation width^-1/2, recurrence with orthogonal columns, "
        "open forget gates; pytorch: the default of its layers",
    )
    dropout: Probability | Auto = Field(
        default=0.3, description="on embeddings and on final outputs, encoder and decoder"
    )
    encoder_dropout: Literal["states", "final", "none"] = Field(
        default="states",
        description="which final outputs of the encoder have dropout: the states that attention reads (without "
        "attention there are none), the final state that the decoder starts from, or none",
    )
    layer_dropout: Probability | Auto = Field(default=0.0, description="between recurrent layers")
    source_symbol_dropout: Probability = Field(default=0.0, description="share of source symbols hidden in training")
    target_symbol_dropout: Probability = Field(
        default=0.0, description="share of symbols fed to the decoder that are hidden in training"
    )
    copy_symbols: bool = Field(
        default=False,
        description="with monotonic attention: the symbol at the present position may be written as it is, also one "
        "that training never showed",
    )
    copied_symbol_dropout: Probability = Field(
        default=0.2,
        description="with copy_symbols: share of each source's symbols that training hides, so that the target can "
        "have them by copying alone",
    )

    @model_validator(mode="before")
    @classmethod
    def _older_settings(cls, values: Any) -> Any:
        return without_retired(values, {"name": ["recurrent"]})

    @model_validator(mode="after")
    def _steps_are_hopfields(self) -> Self:
        if self.attention_steps > 1 and self.attention != "hopfield":
            raise ValueError(
                f"attention_steps is {self.attention_steps} with attention {self.attention!r}; expected 1, "
                "since only attention 'hopfield' takes several"
            )
        return self

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        if self.attention == "monotonic":
            if not self.tie_output or self.input_feeding:
                raise ValueError("tie_output must be true and input_feeding false with attention 'monotonic'")
            if self.encoder_dropout == "final":
                raise ValueError(
                    "encoder_dropout is 'final' with attention 'monotonic'; expected 'states' or 'none', since that "
                    "decoder does not start from the encoder's final state"
                )
            return self
        if self.copy_symbols:
            raise ValueError(
                f"copy_symbols is true with attention {self.attention!r}; expected attention 'monotonic', which has a "
                "position to copy from"
            )
        if self.encoder_hidden or self.attention_width:
            raise ValueError(
                f"encoder_hidden is {self.encoder_hidden} and attention_width is {self.attention_width} with attention "
                f"{self.attention!r}; expected 0, since only attention 'monotonic' has widths of its own"
            )
        if self.tie_output and self.embedding != self.hidden and AUTO not in (self.embedding, self.hidden):
            raise ValueError(
                f"embedding is {self.embedding} and hidden is {self.hidden}; "
                "expected the same number when tie_output is true"
            )
        if self.input_feeding and self.attention == "none":
            raise ValueError("input_feeding is true with attention 'none'; expected an attention to feed back")
        return self

    @model_validator(mode="after")
    def _layers_are_several(self) -> Self:
        if self.encoder_residual and self.encoder_layers == 1:
            raise ValueError(
                "encoder_residual is true with one encoder layer; expected two or more. Raise encoder_layers"
            )
        if self.layer_dropout and self.encoder_layers == self.decoder_layers == 1:
            raise ValueError(
                f"layer_dropout is {self.layer_dropout} with one layer on either side; expected 0, "
                "since it falls between layers. Raise encoder_layers or decoder_layers"
            )
        return self


class SpellTraining(TrainingTable):
    """`[training]` of a spell recipe."""

    monitor: Literal["valid_cer", "valid_wer", "valid_loss", "valid_mean_error"] = "valid_cer"
    label_smoothing: Probability = 0.0
    synthetic_pairs: NonNegativeInt | Auto = Field(
        default=0,
        description="pairs made of pieces of aligned training pairs, trained on beside them; auto: some for few pairs "
        "without features, and none otherwise",
    )

    @property
    def synthetic_count(self) -> int:
        """How many synthetic pairs there are.

        Raises:
            RecipeError: it is "auto", and was not derived from training data.
        """
        return decided(self.synthetic_pairs, "training.synthetic_pairs")

    @model_validator(mode="before")
    @classmethod
    def _older_settings(cls, values: Any) -> Any:
        return without_retired(values, {"mode": ["min"]})


class SpellRecipe(Table):
    """A whole recipe of the panel `spell`."""

    panel: Literal["spell"]
    title: str = ""
    data: SpellData = SpellData()
    model: SpellModel = SpellModel()
    optimizer: OptimizerTable = OptimizerTable()
    training: SpellTraining = SpellTraining()
    decoding: SpellDecoding = SpellDecoding()

    @model_validator(mode="after")
    def _synthetic_pairs_have_no_features(self) -> Self:
        if self.training.synthetic_pairs not in (0, AUTO) and self.data.has_features:
            raise ValueError(
                f"training.synthetic_pairs is {self.training.synthetic_pairs} with features or languages in the data; "
                "expected 0 synthetic pairs, since pieces of pairs with different features do not belong together"
            )
        return self
