"""The panel `spell`: implements `triptych.api.panels.Panel` for rewriting one symbol sequence as another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from triptych.config import SpellDecoding, SpellRecipe
from triptych.config.loading import check_table
from triptych.config.options import given_fields
from triptych.config.spell import SpellOutput, SpellWordLists
from triptych.decoding import Speller
from triptych.errors import RecipeError, RunError
from triptych.report import comparison
from triptych.report.card import Use
from triptych.report.comparison import Errors
from triptych.report.html import Section
from triptych.runs.devices import check_device
from triptych.runs.members import joined, members_of
from triptych.runs.run import Run
from triptych.spell import demo, evaluation_report, explaining, given, lines, word_lists
from triptych.spell.adapter import module_of, step_model
from triptych.spell.batches import EncodedPairs, LengthBuckets, loader
from triptych.spell.build import build_from_description, build_transducer, description_of
from triptych.spell.corpus import (
    Corpus,
    Item,
    load_corpus,
    tokenizers,
    unseen_features,
    unseen_symbols,
)
from triptych.spell.metrics import ItemResult, Scores, measured, score
from triptych.spell.objective import SpellObjective
from triptych.spell.sizing import sized
from triptych.text.pairs import Pair
from triptych.text.predictions import Prediction, cut_warnings
from triptych.text.symbols import Vocabulary
from triptych.text.vocabularies import Vocabularies
from triptych.training.prepared import Loaders, Prepared


@dataclass(frozen=True)
class Evaluation:
    """Evaluation of a model on a split.

    Attributes:
        split: which split.
        decoding: how targets were decoded.
        items: what was predicted for every item, in the order of the data.
        scores: error rates with intervals.
    """

    split: str
    decoding: SpellDecoding
    items: Sequence[ItemResult]
    scores: Scores

    @property
    def warnings(self) -> list[str]:
        """Number of predictions cut at the length limit."""
        return cut_warnings(sum(not item.finished for item in self.items))


class SpellPanel:
    """Recipes, runs and predictions of spell, as the `Panel` protocol defines them."""

    name = "spell"
    demo: ClassVar[Any] = demo
    given: ClassVar[Any] = given
    ensemble_test_options = " --decode beam"

    def read(
        self, recipe: SpellRecipe, location: Path | None, *, model: Any = None, whole: str | None = None
    ) -> Corpus:
        """Read the recipe's pairs and split them; with `whole`, other data as that split."""
        return load_corpus(recipe.data, location, whole=whole)

    def build(self, recipe: SpellRecipe, data: Corpus) -> Prepared:
        """Build the network for some pairs, initialised from `training.seed`; see `sized` for what is "auto"."""
        recipe = sized(recipe, len(data.splits["train"]))
        vocabularies = _vocabularies(recipe, data)
        torch.manual_seed(recipe.training.seed)
        sizes = _sizes(vocabularies)
        valid_items = data.items("valid", references=recipe.data.references)
        decoding = recipe.decoding
        objective = SpellObjective(
            build_transducer(recipe.model, **sizes),
            targets=vocabularies.targets,
            valid_items=valid_items,
            decoding=decoding,
            label_smoothing=recipe.training.label_smoothing,
            hidden=recipe.model.copied_symbol_dropout if recipe.model.copy_symbols else 0.0,
        )
        description = {
            "architecture": description_of(recipe.model, **sizes),
            **vocabularies.to_dict(),
            "decoding": decoding.model_dump(),
        }
        return Prepared(recipe, objective, _loaders(recipe, data, vocabularies, valid_items), description)

    def load(self, run: Run, *, device: str = "cpu") -> Speller:
        """Load the run's kept model: one network, or the members of an ensemble. Nothing is unpickled.

        Raises:
            RunError: the model is missing, damaged, of another panel or of a newer format.
        """
        check_device(device)
        description, path = run.model(self.name), run.path / "model.json"
        networks, members = [], []
        for architecture, own in members_of(description, run.tensors(), path):
            network = build_from_description(architecture, path)
            try:
                network.load_state_dict(own)
            except RuntimeError as error:
                raise RunError(
                    f"model.safetensors does not fit model.json ({error}).",
                    hint="Copy both files from the same training.",
                    path=run.path,
                ) from None
            networks.append(network.eval().to(device))
            members.append(architecture)
        vocabularies = Vocabularies.from_dict(description, path)
        _check_vocabularies(members, vocabularies, path)
        return Speller(step_model(networks, device), vocabularies, _decoding(description, path))

    def network_of(self, model: Speller) -> tuple[nn.Module, tuple[int, int, int] | None]:
        """The loaded network (or ensemble), and None since inputs have no fixed shape."""
        return module_of(model.model), None

    def untrained(
        self, recipe: SpellRecipe, location: Path | None, *, classes: int | None
    ) -> tuple[nn.Module, tuple[int, int, int] | None]:
        """The network that a recipe would train on its data; see `network_of`."""
        if classes is not None:
            raise RecipeError(
                f"--classes is {classes} and has no effect on a spell recipe, whose output width is the number of "
                "symbols in its data.",
                hint="Use --data PATH.",
            )
        return self.build(recipe, self.read(recipe, location)).objective.network, None

    def join(self, runs: Sequence[Run]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Description and tensors of one model made of several runs' models.

        Raises:
            RunError: fewer than two runs, an ensemble among them, vocabularies that differ, or other data: what one
                member was trained on might be another's test.
        """
        return joined(runs, self.name, alike=Vocabularies.from_dict, otherwise="other symbols", limit="max_train_pairs")

    def remarks(self, model: Speller, recipe: SpellRecipe, data: Corpus, *, split: str) -> list[str]:
        """Sentences on source symbols and features of a split that training never showed."""
        items = data.items(split, references=recipe.data.references)
        known = model.vocabularies
        found = (unseen_symbols(items, known.sources), unseen_features(items, known.features))
        return [sentence for sentence in found if sentence]

    def evaluate(
        self, model: Speller, recipe: SpellRecipe, data: Corpus, *, split: str, decoding: SpellDecoding
    ) -> Evaluation:
        """Predict a split and score it."""
        return evaluate_items(
            model, data.items(split, references=recipe.data.references), split=split, decoding=decoding
        )

    def in_use(self, recipe: SpellRecipe, description: Mapping[str, Any], path: Path) -> SpellRecipe:
        """The recipe with the decoding that the model has now."""
        return recipe.model_copy(update={"decoding": _decoding(description, path)})

    def choose(self, recipe: SpellRecipe, given: Mapping[str, Any]) -> SpellDecoding:
        """The recipe's decoding with options of a command on top.

        Raises:
            RecipeError: an option of another method than the one chosen, or a value that breaks its rule.
        """
        return recipe.decoding.changed(given_fields(SpellDecoding, "predict", given))

    def equip(
        self, model: Speller, recipe: SpellRecipe, given: Mapping[str, Any], *, warn: Callable[[Sequence[str]], None]
    ) -> tuple[Speller, str]:
        """The model with the word list and dictionary that options of a command name, and what to call that."""
        lists = check_table(SpellWordLists, given_fields(SpellWordLists, "predict", given), origin="")
        return word_lists.with_word_lists(model, lists, recipe=recipe, warn=warn), word_lists.label(lists)

    def predict(
        self,
        model: Speller,
        recipe: SpellRecipe,
        places: Sequence[str],
        *,
        decoding: SpellDecoding,
        given: Mapping[str, Any],
        skip_bad: bool,
        line_buffered: bool,
        warn: Callable[[Sequence[str]], None],
    ) -> Iterator[list[str]]:
        """Cells of a line of output per source of some files: source, prediction, log-probability, further ones.

        Of a run with features they come after the source.
        """
        return lines.predicted(
            model,
            places,
            decoding=decoding,
            data=recipe.data,
            output=check_table(SpellOutput, given_fields(SpellOutput, "predict", given), origin=""),
            skip_bad=skip_bad,
            line_buffered=line_buffered,
            warn=warn,
        )

    def explain(
        self, model: Speller, recipe: SpellRecipe, items: Sequence[str], given: Mapping[str, Any], *, out: Path
    ) -> list[explaining.Explanation]:
        """Attention for each symbol of a source's best candidate.

        Raises:
            RecipeError: more than one source.
        """
        if len(items) > 1:
            raise RecipeError(
                f"{len(items)} sources are given; expected one.", hint="Put a source with spaces in quotes."
            )
        decoding = self.choose(recipe, given)
        n_best, features = given.get("n_best"), given.get("features")
        return [
            explaining.explained(model, item, features=features, decoding=decoding, out=out, n_best=n_best)
            for item in items
        ]

    def fit_temperature(self, run: Run, _model: Speller, _data: Corpus) -> float:
        """Raises RunError: spell models are not calibrated."""
        raise RunError("this is a spell run; only see runs can be calibrated.", path=run.path)

    def next_commands(self, name: str, *, has_test: bool) -> list[str]:
        """Commands to try after a training."""
        test = [f"triptych test {name}"] if has_test else []
        return [*test, f"triptych predict {name} FILE", f"triptych explain {name} SOURCE"]

    def label(self, decoding: SpellDecoding) -> str:
        """A short name for how targets are decoded: `greedy`, `beam5`, `sample3-p0.8`."""
        match decoding.method:
            case "beam":
                penalty = f"-length{decoding.length_penalty:g}" if decoding.length_penalty else ""
                best = f"-best{decoding.n_best}" if decoding.n_best > 1 else ""
                return f"beam{decoding.beam_size}{best}{penalty}"
            case "sample":
                parts = [f"sample{decoding.samples}"]
                parts += [f"t{decoding.temperature:g}"] if decoding.temperature != 1 else []
                parts += [f"k{decoding.top_k}"] if decoding.top_k else []
                parts += [f"p{decoding.top_p:g}"] if decoding.top_p < 1 else []
                parts += [f"seed{decoding.seed}"] if decoding.seed else []
                return "-".join(parts)
            case _:
                return "greedy"

    def record(self, folder: Path, name: str, evaluation: Evaluation, speller: Speller) -> dict[str, Any]:
        """Write every prediction, and return the details for the report."""
        evaluation_report.write_predictions(folder, name, evaluation.items, speller.vocabularies)
        details = evaluation_report.details(evaluation.items, evaluation.scores, speller.vocabularies)
        return {**details, "decoding": evaluation.decoding.model_dump()}

    def section(self, name: str, details: Mapping[str, Any], figures: Path) -> Section:
        """The part of the report about one evaluation."""
        return evaluation_report.section(name, details, figures)

    def overview(self, evaluations: Mapping[str, Mapping[str, Any]]) -> Section:
        """All evaluations of a run in one table."""
        return evaluation_report.overview(evaluations)

    def measures(self, scores: Mapping[str, Any]) -> dict[str, Any]:
        """Error rates as people read them."""
        named = {"CER": scores["cer"], "WER": scores["wer"], "mean error": scores["mean_error"]}
        named |= {f"WER@{k}": value for k, value in scores.get("wer_at_k", {}).items() if int(k) > 1}
        further = {
            "CER, mean over predictions": "cer_over_predictions",
            "WER, mean over predictions": "wer_over_predictions",
        }
        return named | {text: scores[key] for text, key in further.items() if key in scores}

    def use(self, description: Mapping[str, Any]) -> Use:
        """The model card's sections on a speller."""
        sources, targets = description["source_symbols"], description["target_symbols"]
        features = description.get("features")
        depends = f", depending on {len(features)} features" if features else ""
        return Use(
            purpose=f"Rewrites sequences over {len(sources)} symbols as sequences over {len(targets)} other symbols"
            f"{depends}.",
            limits=(
                "Source symbols absent from training are read as one unknown symbol; `triptych predict` reports them.",
                "It always predicts something, also for input that is not a word of its language.",
                f"Targets have at most {description['decoding']['max_length_factor']:g} symbols per source symbol and "
                f"{description['decoding']['max_length_extra']} more.",
            ),
            python=f"model.predict([SOURCE], {'features=[FEATURES], ' if features else ''}n_best=3)[0].candidates",
            command="triptych predict RUN SOURCES.txt --n-best 3",
        )

    def read_errors(self, path: Path) -> Errors:
        """Errors per item from a predictions file.

        Raises:
            DataError: the file lacks a column.
        """
        return comparison.read_errors(path, _errors)


def evaluate_items(model: Speller, items: Sequence[Item], *, split: str, decoding: SpellDecoding) -> Evaluation:
    """Predict and score some items."""
    results = results_of(items, predictions_of(model, items, decoding))
    return Evaluation(split, decoding, results, score(results, sampled=decoding.method == "sample"))


def predictions_of(
    model: Speller, items: Sequence[Item], decoding: SpellDecoding | None = None
) -> list[Prediction[Any]]:
    """What a model predicts for some items."""
    features = None if model.vocabularies.features is None else [item.features for item in items]
    return model.predict([item.source for item in items], features=features, decoding=decoding)


def results_of(items: Sequence[Item], predictions: Sequence[Prediction[Any]]) -> list[ItemResult]:
    """Items with what was predicted for them, to be scored."""
    return [
        ItemResult(
            source=item.source,
            references=item.references,
            predictions=tuple(candidate.symbols for candidate in prediction.candidates),
            log_probabilities=tuple(candidate.log_probability for candidate in prediction.candidates),
            finished=prediction.best.finished,
            features=item.features,
        )
        for item, prediction in zip(items, predictions, strict=True)
    ]


def _check_vocabularies(members: Sequence[Mapping[str, Any]], vocabularies: Vocabularies, path: Path) -> None:
    names = {"source_size": "source_symbols", "target_size": "target_symbols", "features_size": "features"}
    for architecture in members:
        for size, found in {"features_size": 0, **_sizes(vocabularies)}.items():
            special = len(Vocabulary.special_names)
            held, expected = (max(count - special, 0) for count in (found, architecture.get(size, 0)))
            if held != expected:
                raise RunError(f"{names[size]} has {held} entries; expected {expected}.", path=path)


def _sizes(vocabularies: Vocabularies) -> dict[str, int]:
    """Sizes of the vocabularies as `build_transducer` takes them."""
    sizes = {"source_size": len(vocabularies.sources), "target_size": len(vocabularies.targets)}
    return sizes if vocabularies.features is None else {**sizes, "features_size": len(vocabularies.features)}


def _decoding(description: Mapping[str, Any], path: Path) -> SpellDecoding:
    try:
        return SpellDecoding.model_validate(description.get("decoding", {}))
    except ValidationError as error:
        raise RunError(f"decoding is damaged ({error}).", hint="Train the run again.", path=path) from None


def _errors(rows: Sequence[Mapping[str, str]]) -> Errors:
    names = [(row["source"], row["references"], *([row["features"]] if "features" in row else [])) for row in rows]
    return measured(names, [int(row["edits"]) for row in rows], [int(row["reference_length"]) for row in rows])


def _vocabularies(recipe: SpellRecipe, corpus: Corpus) -> Vocabularies:
    source_tokenizer, target_tokenizer = tokenizers(recipe.data)
    train = corpus.splits["train"]
    return Vocabularies(
        source_tokenizer,
        target_tokenizer,
        Vocabulary.build(pair.source for pair in train),
        Vocabulary.build(pair.target for pair in train),
        Vocabulary.build(pair.features for pair in train) if recipe.data.features_column != "" else None,
        recipe.data.features_separator,
    )


def _loaders(recipe: SpellRecipe, corpus: Corpus, vocabularies: Vocabularies, valid_items: Sequence[Item]) -> Loaders:
    known = (vocabularies.sources, vocabularies.targets, vocabularies.features)
    copies = recipe.model.copy_symbols
    train = EncodedPairs(corpus.splits["train"], *known, copies=copies)
    valid_pairs = [Pair(item.source, item.references[0], 0, item.features) for item in valid_items]
    valid = EncodedPairs(valid_pairs, *known, copies=copies)

    def train_loader(rank: int, world_size: int) -> Any:
        size, seed = recipe.training.items_per_update, recipe.training.seed
        buckets = LengthBuckets(
            train.source_lengths,
            size,
            target_lengths=train.target_lengths,
            seed=seed,
            rank=rank,
            world_size=world_size,
        )
        return loader(train, buckets)

    def valid_loader(rank: int, world_size: int) -> Any:
        size = recipe.decoding.batch_size
        buckets = LengthBuckets(valid.source_lengths, size, shuffle=False, rank=rank, world_size=world_size)
        return loader(valid, buckets)

    return Loaders(train_loader, valid_loader)


PANEL = SpellPanel()
