"""The panel `spell` as the frame sees it: prepare a training, load a model, evaluate it, explain a prediction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from triptych.config import SpellDecoding, SpellRecipe
from triptych.decoding import Speller
from triptych.errors import RunError
from triptych.report import comparison
from triptych.report.card import Use
from triptych.report.comparison import Errors
from triptych.report.html import Section
from triptych.runs.devices import check_device
from triptych.runs.members import joined, members_of
from triptych.runs.run import Run
from triptych.spell import evaluation_report as story
from triptych.spell.adapter import step_model
from triptych.spell.batches import EncodedPairs, LengthBuckets, loader
from triptych.spell.build import build_from_description, build_transducer, description_of
from triptych.spell.corpus import Corpus, Item, load_corpus, tokenizers
from triptych.spell.metrics import ItemResult, Scores, measured, score
from triptych.spell.objective import SpellObjective
from triptych.text.pairs import Pair
from triptych.text.predictions import Prediction
from triptych.text.symbols import Vocabulary
from triptych.text.vocabularies import Vocabularies
from triptych.training.prepared import Loaders, Prepared

PANEL = "spell"


@dataclass(frozen=True)
class Evaluation:
    """How a model did on a split.

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


def prepare(recipe: SpellRecipe, location: Path | None) -> Prepared:
    """Read the data and build the network, initialised from `training.seed`."""
    corpus = load_corpus(recipe.data, location)
    language = _language(recipe, corpus)
    torch.manual_seed(recipe.training.seed)
    sizes = {"source_size": len(language.sources), "target_size": len(language.targets)}
    network = build_transducer(recipe.model, **sizes)
    valid_items = corpus.items("valid", references=recipe.data.references)
    decoding = recipe.decoding
    objective = SpellObjective(
        network,
        targets=language.targets,
        valid_items=valid_items,
        decoding=decoding,
        label_smoothing=recipe.training.label_smoothing,
    )
    description = {
        "architecture": description_of(recipe.model, **sizes),
        **language.to_dict(),
        "decoding": decoding.model_dump(),
    }
    counts = {split: len(pairs) for split, pairs in corpus.splits.items()}
    loaders = _loaders(recipe, corpus, language, valid_items)
    content = f"pairs of {len(language.sources.symbols)} source and {len(language.targets.symbols)} target symbols"
    return Prepared(
        objective,
        loaders,
        description,
        corpus.fingerprints,
        counts,
        corpus.warnings,
        corpus,
        corpus.available,
        content,
    )


def load(run: Run, *, device: str = "cpu") -> Speller:
    """The run's kept model, ready to predict: one network, or the members of an ensemble. Nothing is unpickled.

    Raises:
        RunError: the model is missing, damaged, of another panel or of a newer format.
    """
    check_device(device)
    description = run.model(PANEL)
    tensors = run.tensors()
    networks, members = [], []
    for architecture, own in members_of(description, tensors, run.path / "model.json"):
        network = build_from_description(architecture, run.path / "model.json")
        try:
            network.load_state_dict(own)
        except RuntimeError as error:
            raise RunError(
                f"{run.path}: model.safetensors does not fit model.json ({error}); expected both from one training."
            ) from None
        networks.append(network.eval().to(device))
        members.append(architecture)
    language = Vocabularies.from_dict(description, run.path / "model.json")
    _check_vocabularies(members, language, run.path / "model.json")
    decoding = _decoding(description, run.path / "model.json")
    return Speller(step_model(networks, device), language, decoding)


def _check_vocabularies(members: Sequence[Mapping[str, Any]], language: Vocabularies, path: Path) -> None:
    for side, vocabulary in (("source", language.sources), ("target", language.targets)):
        for architecture in members:
            expected = architecture[f"{side}_size"] - len(Vocabulary.special_names)
            if len(vocabulary.symbols) != expected:
                raise RunError(f"{path}: {side}_symbols has {len(vocabulary.symbols)} entries; expected {expected}.")


def _decoding(description: Mapping[str, Any], path: Path) -> SpellDecoding:
    try:
        return SpellDecoding.model_validate(description.get("decoding", {}))
    except ValidationError as error:
        raise RunError(f"{path}: decoding is damaged ({error}); expected what training wrote.") from None


def join(runs: Sequence[Run]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of one model made of several runs' models.

    Raises:
        RunError: fewer than two runs, an ensemble among them, vocabularies that differ, or other data: what one member
            was trained on might be another's test.
    """
    return joined(runs, PANEL, alike=Vocabularies.from_dict, otherwise="other symbols", limit="max_train_pairs")


def read(recipe: SpellRecipe, location: Path | None, _model: Any = None, *, whole: str | None = None) -> Corpus:
    """The recipe's data, split as for training; with `whole`, other data as that split."""
    return load_corpus(recipe.data, location, whole=whole)


def evaluate(speller: Speller, recipe: SpellRecipe, data: Corpus, *, split: str, decoding: SpellDecoding) -> Evaluation:
    """Predict a split and judge it."""
    items = data.items(split, references=recipe.data.references)
    return judge(speller, items, split=split, decoding=decoding)


def judge(speller: Speller, items: Sequence[Item], *, split: str, decoding: SpellDecoding) -> Evaluation:
    """Predict and score some items."""
    predictions = speller.predict([item.source for item in items], decoding=decoding)
    results = results_of(items, predictions)
    return Evaluation(split, decoding, results, score(results, sampled=decoding.method == "sample"))


def results_of(items: Sequence[Item], predictions: Sequence[Prediction[Any]]) -> list[ItemResult]:
    """Items with what was predicted for them, to be scored."""
    return [
        ItemResult(
            source=item.source,
            references=item.references,
            predictions=tuple(candidate.symbols for candidate in prediction.candidates),
            log_probabilities=tuple(candidate.log_probability for candidate in prediction.candidates),
        )
        for item, prediction in zip(items, predictions, strict=True)
    ]


def label(decoding: SpellDecoding) -> str:
    """A short name for how targets are decoded: `greedy`, `beam5`, `sample3-p0.8`."""
    match decoding.method:
        case "beam":
            penalty = f"-length{decoding.length_penalty:g}" if decoding.length_penalty else ""
            return f"beam{decoding.beam_size}{penalty}"
        case "sample":
            parts = [f"sample{decoding.samples}"]
            parts += [f"t{decoding.temperature:g}"] if decoding.temperature != 1 else []
            parts += [f"k{decoding.top_k}"] if decoding.top_k else []
            parts += [f"p{decoding.top_p:g}"] if decoding.top_p < 1 else []
            parts += [f"seed{decoding.seed}"] if decoding.seed else []
            return "-".join(parts)
        case _:
            return "greedy"


def record(folder: Path, name: str, evaluation: Evaluation, speller: Speller) -> dict[str, Any]:
    """Write every prediction, and tell what a report shows."""
    story.write_predictions(folder, name, evaluation.items, speller.vocabularies)
    told = story.details(evaluation.items, evaluation.scores, speller.vocabularies)
    return {**told, "decoding": evaluation.decoding.model_dump()}


def section(name: str, told: Mapping[str, Any], figures: Path) -> Section:
    """The part of the report about one evaluation."""
    return story.section(name, told, figures)


def overview(evaluations: Mapping[str, Mapping[str, Any]]) -> Section:
    """All evaluations of a run in one table."""
    return story.overview(evaluations)


def measures(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Error rates as people read them."""
    named = {"CER": scores["cer"], "WER": scores["wer"], "mean error": scores["mean_error"]}
    named |= {f"WER@{k}": value for k, value in scores.get("wer_at_k", {}).items() if int(k) > 1}
    further = {
        "CER, mean over predictions": "cer_over_predictions",
        "WER, mean over predictions": "wer_over_predictions",
    }
    return named | {text: scores[key] for text, key in further.items() if key in scores}


def use(description: Mapping[str, Any]) -> Use:
    """What a model card says of a speller."""
    sources, targets = description["source_symbols"], description["target_symbols"]
    return Use(
        purpose=f"It rewrites sequences over {len(sources)} symbols as sequences over {len(targets)} other symbols.",
        limits=(
            "Source symbols that it never saw in training are all alike to it; `triptych predict` warns of them.",
            "It always answers, also to what is no word of its language; log-probabilities say how sure it is.",
            f"Targets have at most {description['decoding']['max_length_factor']:g} symbols per source symbol and "
            f"{description['decoding']['max_length_extra']} more.",
        ),
        python="model.predict([SOURCE], n_best=3)[0].candidates",
        command="triptych predict RUN SOURCES.txt --n-best 3",
    )


def read_errors(path: Path) -> Errors:
    """Errors per item from a predictions file.

    Raises:
        DataError: the file lacks a column.
    """
    return comparison.read_errors(path, _errors)


def _errors(rows: Sequence[Mapping[str, str]]) -> Errors:
    names = [(row["source"], row["references"]) for row in rows]
    return measured(names, [int(row["edits"]) for row in rows], [int(row["reference_length"]) for row in rows])


def _language(recipe: SpellRecipe, corpus: Corpus) -> Vocabularies:
    source_tokenizer, target_tokenizer = tokenizers(recipe.data)
    train = corpus.splits["train"]
    return Vocabularies(
        source_tokenizer,
        target_tokenizer,
        Vocabulary.build(pair.source for pair in train),
        Vocabulary.build(pair.target for pair in train),
    )


def _loaders(recipe: SpellRecipe, corpus: Corpus, language: Vocabularies, valid_items: Sequence[Item]) -> Loaders:
    train = EncodedPairs(corpus.splits["train"], language.sources, language.targets)
    valid_pairs = [Pair(item.source, item.references[0], 0) for item in valid_items]
    valid = EncodedPairs(valid_pairs, language.sources, language.targets)

    def train_loader(rank: int, world_size: int) -> Any:
        size, seed = recipe.training.batch_size, recipe.training.seed
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
