"""The panel `spell`: implements `triptych.api.panels.Panel` for rewriting one symbol sequence as another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from triptych.config import Combination, SpellDecoding, SpellRecipe
from triptych.config.loading import check_table
from triptych.config.options import given_fields
from triptych.config.spell_prediction import SpellOutput, SpellWordLists
from triptych.data.locations import Location
from triptych.decoding import Speller
from triptych.decoding.voting import speller_of
from triptych.errors import RecipeError, RunError
from triptych.report import comparison
from triptych.report.card import Use
from triptych.report.comparison import Errors
from triptych.report.html import Section
from triptych.runs.members import architectures_of, load_networks
from triptych.runs.run import Run
from triptych.runs.transfer import Transfer
from triptych.spell import demo, evaluation_report, explaining, given, lines, start, word_lists
from triptych.spell.adapter import TorchModel, module_of
from triptych.spell.build import build_from_description, build_transducer, description_of
from triptych.spell.corpus import Corpus, load_corpus
from triptych.spell.ensembles import Selection, join_runs, search_members
from triptych.spell.evaluating import Evaluation, evaluate_items
from triptych.spell.labels import decoding_label
from triptych.spell.loaders import loaders_of, sizes_of, vocabularies_of
from triptych.spell.metrics import measured
from triptych.spell.objective import SpellObjective
from triptych.spell.running_text import predicted_text
from triptych.spell.sizing import sized
from triptych.spell.unseen import unseen_features, unseen_symbols
from triptych.text import remembered
from triptych.text.symbols import Vocabularies, Vocabulary
from triptych.training.hardware import check_device
from triptych.training.objective import Prepared


class SpellPanel:
    """Recipes, runs and predictions of spell, as the `Panel` protocol defines them."""

    name = "spell"
    demo: ClassVar[Any] = demo
    given: ClassVar[Any] = given
    sized_as = staticmethod(start.sized_as)
    with_dictionary = staticmethod(word_lists.with_packed_dictionary)
    ensemble_test_options = " --decode beam"
    label_prefix = ""

    def read(
        self, recipe: SpellRecipe, location: Location | None, *, model: Any = None, whole: str | None = None
    ) -> Corpus:
        """Read the recipe's pairs and split them; with `whole`, other data as that split."""
        known = None if model is None else (model.vocabularies.source_tokenizer, model.vocabularies.target_tokenizer)
        return load_corpus(recipe.data, location, whole=whole, known=known)

    def sized(self, recipe: SpellRecipe, data: Corpus) -> SpellRecipe:
        """The recipe with a number in place of every "auto", by the number of training pairs."""
        return sized(recipe, len(data.splits["train"]))

    def build(self, recipe: SpellRecipe, data: Corpus) -> Prepared:
        """Build the network for some pairs, initialised from `training.seed`."""
        recipe = self.sized(recipe, data)
        vocabularies = vocabularies_of(recipe, data)
        torch.manual_seed(recipe.training.seed)
        sizes = sizes_of(vocabularies)
        valid_items = data.items("valid", references=recipe.data.references)
        decoding = recipe.decoding
        objective = SpellObjective(
            build_transducer(recipe.model, **sizes),
            vocabularies=vocabularies,
            valid_items=valid_items,
            decoding=decoding,
            label_smoothing=recipe.training.label_smoothing,
            hidden=recipe.model.copied_symbol_dropout if recipe.model.copy_symbols else 0.0,
        )
        files = {}
        if recipe.data.remember:
            entries = remembered.by_frequency(data.splits["train"])
            files = {remembered.FILE: remembered.packed(entries, vocabularies)}
        description = {
            "architecture": description_of(recipe.model, sizes),
            **vocabularies.to_dict(),
            "decoding": decoding.model_dump(),
            **remembered.described(files),
        }
        return Prepared(recipe, objective, loaders_of(recipe, data, vocabularies, valid_items), description, files)

    def start(self, prepared: Prepared, run: Run) -> Transfer:
        """Copy into a prepared network what fits of a run's model; see `triptych.spell.start`."""
        return start.started(prepared.objective.network, prepared.description, run)

    def load(self, run: Run, *, device: str = "cpu") -> Speller:
        """Load the run's kept model: one network, or the members of an ensemble. Nothing is unpickled.

        Raises:
            RunError: the model is missing, damaged, of another panel or of a newer format.
        """
        check_device(device)
        description, path = run.model(self.name), run.path / "model.json"
        networks = load_networks(run, description, lambda own: build_from_description(own, path))
        vocabularies = Vocabularies.from_dict(description, path)
        _check_vocabularies(architectures_of(description), vocabularies, path)
        models = [TorchModel(network.to(device), device) for network in networks]
        speller = speller_of(
            models, description, lambda own: Vocabularies.from_dict(own, path), _decoding(description, path)
        )
        entries = remembered.read_remembered(run.content, run.path, description, vocabularies)
        return speller if entries is None else speller.with_remembered(entries)

    def network_of(self, model: Speller) -> tuple[nn.Module, tuple[int, int, int] | None]:
        """The loaded network (or ensemble), and None since inputs have no fixed shape."""
        return module_of(model.model), None

    def untrained(
        self, recipe: SpellRecipe, location: Location | None, *, classes: int | None
    ) -> tuple[nn.Module, tuple[int, int, int] | None]:
        """The network that a recipe would train on its data; see `network_of`."""
        if classes is not None:
            raise RecipeError(
                f"--classes is {classes} and has no effect on a spell recipe, whose output width is the number of "
                "symbols in its data.",
                hint="Use --data PATH.",
            )
        return self.build(recipe, self.read(recipe, location)).objective.network, None

    def join(self, runs: Sequence[Run], *, by: Combination = "average") -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Description and tensors of one model made of several runs' models.

        Raises:
            RunError: fewer than two runs, an ensemble among them, vocabularies that differ (where they vote, in more
                than their direction), or other data: what one member was trained on might be another's test.
        """
        return join_runs(runs, self.name, by)

    def search_members(
        self, runs: Sequence[Run], recipe: SpellRecipe, data: Corpus, *, by: Combination, most: int
    ) -> list[Selection]:
        """The runs to combine, chosen by their errors on the validation split; see `ensembles`."""
        items = data.items("valid", references=recipe.data.references)
        return search_members([self.load(run) for run in runs], items, recipe.decoding, by=by, most=most)

    def remarks(self, model: Speller, recipe: SpellRecipe, data: Corpus, *, split: str) -> list[str]:
        """Sentences on source symbols and features of a split that training never showed."""
        items = data.items(split, references=recipe.data.references)
        known = model.vocabularies
        found = (unseen_symbols(items, known.sources, copies=model.copies), unseen_features(items, known.features))
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
        """The model with the language and word lists that options of a command name, and what to call that."""
        if "remembered" in given and model.remembered is None:
            option = "--remembered" if given["remembered"] else "--no-remembered"
            raise RecipeError(
                f"{option} has no effect on a run that keeps no training pairs.",
                field="remembered",
                value=given["remembered"],
                hint="Remove it, or train with --set data.remember=true",
            )
        if "language" in given:
            model = model.in_language(given["language"])
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
        output = check_table(SpellOutput, given_fields(SpellOutput, "predict", given), origin="")
        if output.text:
            return predicted_text(
                model,
                places,
                decoding=decoding,
                max_symbols=recipe.data.max_symbols,
                skip_bad=skip_bad,
                line_buffered=line_buffered,
                warn=warn,
            )
        return lines.predicted(
            model,
            places,
            decoding=decoding,
            data=recipe.data,
            output=output,
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
        model = model.in_language(given["language"]) if "language" in given else model
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
        return decoding_label(decoding)

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
        for language, own in scores.get("languages", {}).items():
            named |= {f"CER, {language}": own["cer"], f"WER, {language}": own["wer"]}
        if "from_dictionary" in scores:
            named["answered by a dictionary"] = scores["from_dictionary"]
        further = {
            "CER, mean over predictions": "cer_over_predictions",
            "WER, mean over predictions": "wer_over_predictions",
        }
        return named | {text: scores[key] for text, key in further.items() if key in scores}

    def use(self, description: Mapping[str, Any]) -> Use:
        """The model card's sections on a speller."""
        sources, targets = description["source_symbols"], description["target_symbols"]
        features = description.get("features")
        languages = description.get("languages", ())
        count = len(features or ()) - len(languages)
        depends = f", depending on {count} features" if count else ""
        depends += f", in {len(languages)} languages: {', '.join(languages)}" if languages else ""
        return Use(
            purpose=f"Rewrites sequences over {len(sources)} symbols as sequences over {len(targets)} symbols"
            f"{depends}.",
            limits=(
                "Source symbols absent from training are read as one unknown symbol"
                f"{', and can only be copied' if _copies(description) else ''}; `triptych predict` reports them.",
                "It always predicts something, also for input that is not a word of its language.",
                f"Targets have at most {description['decoding']['max_length_factor']:g} symbols per source symbol and "
                f"{description['decoding']['max_length_extra']} more.",
            ),
            python=f"model.predict([SOURCE], {'features=[FEATURES], ' if count else ''}"
            f"{'language=LANGUAGE, ' if languages else ''}n_best=3)[0].candidates",
            command=f"triptych predict RUN SOURCES.txt {'--language LANGUAGE ' if languages else ''}--n-best 3",
        )

    def read_errors(self, path: Path) -> Errors:
        """Errors per item from a predictions file.

        Raises:
            DataError: the file lacks a column.
        """
        return comparison.read_errors(path, _errors)


def _check_vocabularies(members: Sequence[Mapping[str, Any]], vocabularies: Vocabularies, path: Path) -> None:
    names = {"source_size": "source_symbols", "target_size": "target_symbols", "features_size": "features"}
    for architecture in members:
        for size, found in {"features_size": 0, **sizes_of(vocabularies)}.items():
            special = len(Vocabulary.special_names)
            held, expected = (max(count - special, 0) for count in (found, architecture.get(size, 0)))
            if held != expected:
                raise RunError(f"{names[size]} has {held} entries; expected {expected}.", path=path)


def _copies(description: Mapping[str, Any]) -> bool:
    return any(architecture.get("copy_symbols", False) for architecture in architectures_of(description))


def _decoding(description: Mapping[str, Any], path: Path) -> SpellDecoding:
    try:
        return SpellDecoding.model_validate(description.get("decoding", {}))
    except ValidationError as error:
        raise RunError(f"decoding is damaged ({error}).", hint="Train the run again.", path=path) from None


def _errors(rows: Sequence[Mapping[str, str]]) -> Errors:
    names = [(row["source"], row["references"], *([row["features"]] if "features" in row else [])) for row in rows]
    return measured(names, [int(row["edits"]) for row in rows], [int(row["reference_length"]) for row in rows])


PANEL = SpellPanel()
