"""Every system of the panel `see` under its protocol: train, test once, and print the tables of docs/reproduction.md.

    python benchmarks/reproduce_see.py --kmnist DIR --scenes DIR --seeds 0 1 2

Runs are kept in `TRIPTYCH_RUNS` (or `runs`) under names such as `v1-0.0005-0`; what is there is not trained or tested
again, so the script can be stopped and started. `benchmarks/plain_see.py` trains the same in plain PyTorch.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from running import evaluated, print_row, trained


@dataclass(frozen=True)
class System:
    """A row of the specification: a recipe, its data, and the learning rates of its protocol, the best one first."""

    name: str
    recipe: str
    data: str
    rates: tuple[str, ...]


SYSTEMS = (
    System("v1", "kmnist-cnn", "kmnist", ("0.0005", "0.00001", "0.01")),
    System("v2", "scenes-cnn", "scenes", ("0.01", "0.001", "0.1")),
    System("v3", "scenes-cnn-norm", "scenes", ("0.01",)),
)
BEST = (("kmnist-best", "kmnist", "shifts"), ("scenes-best", "scenes", "flips"))


def main() -> None:
    """Train and test what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kmnist", type=Path, help="folder with KMNIST's IDX files, or one pair of them")
    parser.add_argument("--scenes", type=Path, help="folder with train/<class> and test/<class>")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--other-rates", type=int, nargs="*", default=[0], help="seeds for the rates that are not best")
    parser.add_argument("--best", type=int, nargs="*", default=[0], help="seeds of kmnist-best and scenes-best")
    given = parser.parse_args()
    places: dict[str, Path | None] = {"kmnist": given.kmnist, "scenes": given.scenes}
    print("| system | seeds | measure | mean | spread (min to max) |\n| --- | --- | --- | --- | --- |")
    for system in SYSTEMS:
        data = places[system.data]
        for rate in system.rates if data is not None else ():
            seeds = given.seeds if rate == system.rates[0] else given.other_rates
            runs = [
                trained(
                    system.recipe,
                    data,
                    f"{system.name}-{rate}-{seed}",
                    {"optimizer.learning_rate": rate, "training.seed": seed},
                )
                for seed in seeds
                if data is not None
            ]
            for split in ("valid", "test"):
                found = [evaluated(run, f"{split}/one")["accuracy"] for run in runs]
                if found:
                    print_row(f"{system.name} at {rate}", seeds, f"{split} accuracy", found)
    for recipe, place, views in BEST:
        data = places[place]
        if data is None or not given.best:
            continue
        runs = [trained(recipe, data, f"{recipe}-{seed}", {"training.seed": seed}) for seed in given.best]
        found = [evaluated(run, f"test/{views}")["accuracy"] for run in runs]
        print_row(recipe, given.best, "test accuracy", found)


if __name__ == "__main__":
    main()
