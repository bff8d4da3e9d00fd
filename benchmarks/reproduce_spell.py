"""Every system of the panel `spell` under its protocol: train, test once, and print the tables of docs/reproduction.md.

    python benchmarks/reproduce_spell.py --p2g DIR --spa-eng DIR --lexicon /usr/share/dict/american-english-huge

Runs are kept in `TRIPTYCH_RUNS` (or `runs`) under names such as `p2g-additive-1`; what is there is not trained or
tested again, so the script can be stopped and started.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from running import evaluated, print_row, trained, triptych

from triptych.runs.run import Run, runs_folder

SAMPLING = ("--decode", "sample", "--samples", "3", "--top-p", "0.8")
BEAM = ("--decode", "beam", "--beam-size", "5", "--n-best", "3")
WIDE = ("--decode", "beam", "--beam-size", "8", "--n-best", "3")
GREEDY = ("--decode", "greedy")


@dataclass(frozen=True)
class System:
    """A row of the specification: a recipe, how it is decoded, and the label of that evaluation."""

    name: str
    recipe: str
    corpus: str
    decoding: tuple[str, ...]
    label: str
    measures: tuple[str, ...]


SYSTEMS = (
    System("S1 plain, greedy", "p2g-plain", "p2g", GREEDY, "greedy", ("cer", "wer")),
    System("S2 additive, greedy", "p2g-additive", "p2g", GREEDY, "greedy", ("cer", "wer")),
    System(
        "S3 additive, nucleus 0.8",
        "p2g-additive",
        "p2g",
        SAMPLING,
        "sample3-p0.8",
        ("cer_over_predictions", "wer_over_predictions", "wer@3"),
    ),
    System("S6 additive, beam 5", "p2g-additive", "p2g", BEAM, "beam5", ("cer", "wer", "wer@3")),
    System("p2g-best, single, beam 8", "p2g-best", "p2g", WIDE, "beam8", ("cer", "wer", "wer@3")),
    System("S4 plain, greedy", "spa-eng-plain", "spa_eng", GREEDY, "greedy", ("mean_error",)),
    System("S5 general, greedy", "spa-eng-general", "spa_eng", GREEDY, "greedy", ("mean_error",)),
    System("S6 general, beam 5", "spa-eng-general", "spa_eng", BEAM, "beam5", ("mean_error",)),
)


def main() -> None:
    """Train and test what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--p2g", type=Path, help="folder with train.tsv, valid.tsv, test.tsv")
    parser.add_argument("--spa-eng", type=Path, help="folder with train-eng-spa.txt and so on")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--members", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="seeds of the ensemble")
    parser.add_argument("--lexicon", type=Path, help="word list for the rows with a lexicon")
    parser.add_argument("--lexicon-weight", type=float, default=None)
    arguments = parser.parse_args()
    corpora: dict[str, Path | None] = {"p2g": arguments.p2g, "spa_eng": arguments.spa_eng}
    print("| system | seeds | measure | mean | spread (min to max) |\n| --- | --- | --- | --- | --- |")
    for system in SYSTEMS:
        data = corpora[system.corpus]
        if data is not None:
            results = [
                evaluated(of_seed(system.recipe, data, seed), f"test/{system.label}", *system.decoding)
                for seed in arguments.seeds
            ]
            print_rows(system.name, arguments.seeds, system.measures, results)
    if arguments.p2g is not None:
        ensemble(arguments.p2g, arguments.members, arguments.lexicon, arguments.lexicon_weight)


def of_seed(recipe: str, data: Path, seed: int) -> Run:
    """The finished run of a recipe and seed."""
    return trained(recipe, data, f"{recipe}-{seed}", {"training.seed": seed})


def ensemble(data: Path, members: Sequence[int], lexicon: Path | None, weight: float | None) -> None:
    """The ensemble of p2g-best, and with a word list."""
    best = next(system for system in SYSTEMS if system.recipe == "p2g-best")
    names = [of_seed("p2g-best", data, seed).name for seed in members]
    whole = Run(runs_folder() / f"p2g-best-ensemble-{len(names)}")
    if not (whole.path / "run.json").exists():
        triptych("ensemble", *names, "--name", whole.name)
    print_rows(
        f"p2g-best, ensemble of {len(names)}, beam 8",
        members,
        best.measures,
        [evaluated(whole, f"test/{best.label}", *best.decoding)],
    )
    if lexicon is not None:
        options = ["--lexicon", str(lexicon)] + ([] if weight is None else ["--lexicon-weight", f"{weight:g}"])
        label = f"beam8-lexicon-{lexicon.stem}" + ("" if weight is None else f"-w{weight:g}")
        scores = evaluated(whole, f"test/{label}", *best.decoding, *options)
        print_rows(f"the same with the word list {lexicon.name}", members, best.measures, [scores])


def print_rows(name: str, seeds: Sequence[int], measures: Sequence[str], results: Sequence[dict[str, Any]]) -> None:
    """One Markdown row per measure."""
    for measure in measures:
        found = [result["wer_at_k"]["3"] if measure == "wer@3" else result[measure] for result in results]
        print_row(name, seeds, measure.upper(), found)


if __name__ == "__main__":
    main()
