"""Published benchmarks: train by the protocol of a set, test once, and put our figures beside those of others.

    python benchmarks/published/measure.py g2p-2020 --data DIR                  all languages, one seed
    python benchmarks/published/measure.py p2g-2020 --data DIR --parts dut fre  some of them
    python benchmarks/published/measure.py cmudict-g2p --data DIR --seeds 1 2 3
    python benchmarks/published/measure.py --page                               only writes docs/published.md again

The sets, their protocols and the published figures are in `sets.toml`. Runs are kept in `TRIPTYCH_RUNS` (or `runs`) and
are not trained or tested again; what a run gave is kept in `results/SET.json`, from which the page is written. So the
script can be stopped and started, and figures of several machines come together.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from running import evaluated, trained  # noqa: E402

import triptych  # noqa: E402
from triptych.runs.run import runs_folder  # noqa: E402

PAGE = HERE.parents[1] / "docs" / "published.md"
SETS: Mapping[str, Mapping[str, Any]] = tomllib.loads((HERE / "sets.toml").read_text(encoding="utf-8"))
NORMAL = 1.96  # half the width of a 95 % interval, in standard errors


def main() -> None:
    """Measure what is missing of a set, print its table, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?", choices=SETS)
    parser.add_argument("--data", type=Path, help="folder of the set; with a folder in it for each of its parts")
    parser.add_argument("--parts", nargs="+", help="some parts of the set; all without it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--page", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if not arguments.page:
        if arguments.set is None or arguments.data is None:
            parser.error("give a set and its --data, or --page")
        for seed in arguments.seeds:
            for part in parts_of(arguments.set):
                if not arguments.parts or part.split("/")[0] in arguments.parts:
                    measure(arguments.set, arguments.data, part, seed)
        print(table(arguments.set))
    write_page()


def parts_of(name: str) -> list[str]:
    """What a set trains on: folders of its data, each cut to some sizes where it has them, as `FOLDER/PAIRS`."""
    protocol = SETS[name]
    folders, sizes = protocol.get("parts", [""]), protocol.get("sizes")
    return [f"{folder}/{size}" for folder in folders for size in sizes] if sizes else folders


def measure(name: str, data: Path, part: str, seed: int) -> None:
    """Train and test one part with one seed, unless its result is there."""
    results = read_results(name)
    if any(result["part"] == part and result["seed"] == seed for result in results):
        return
    protocol = SETS[name]
    within, _, size = part.partition("/")
    folder = data / within
    run_name = "-".join(filter(None, (name, within, size, str(seed))))
    if size:
        folder = _cut(folder, int(size), runs_folder() / f"{run_name}-data", drawn=protocol.get("drawn", False))
    run = trained(protocol["recipe"], folder, run_name, {**protocol["settings"], "training.seed": seed})
    labels = [key for key in run.facts().get("evaluations", {}) if key.startswith("valid/")]
    scores = evaluated(run, f"test/{labels[0].removeprefix('valid/')}")
    facts = run.facts()
    results.append(
        {
            "part": part,
            "seed": seed,
            "recipe": protocol["recipe"],
            "chosen": facts.get("chosen", {}),
            "pairs": facts["counts"]["train"],
            "parameters": facts["parameters"],
            "seconds": facts["seconds"],
            "valid": run.facts()["evaluations"][labels[0]]["wer"]["value"],
            "items": scores["n_items"],
            "scores": {measure: scores[measure] for measure in protocol["measures"]},
            "version": triptych.__version__,
        }
    )
    results.sort(key=lambda result: (result["part"], result["seed"]))
    text = ",\n".join(json.dumps(result) for result in results)
    _results_file(name).parent.mkdir(exist_ok=True)
    _results_file(name).write_text(f"[\n{text}\n]\n", encoding="utf-8")


def _cut(folder: Path, size: int, into: Path, *, drawn: bool) -> Path:
    """A copy of a data folder with some of its training rows: the first, or drawn ones."""
    into.mkdir(parents=True, exist_ok=True)
    for split in ("train", "valid", "test"):
        rows = (folder / f"{split}.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
        if split == "train":
            rows = (random.Random(0).sample(rows, len(rows)) if drawn else rows)[:size]
        (into / f"{split}.tsv").write_text("".join(rows), encoding="utf-8")
    return into


def _results_file(name: str) -> Path:
    return HERE / "results" / f"{name}.json"


def read_results(name: str) -> list[dict[str, Any]]:
    """What was measured of a set so far."""
    path = _results_file(name)
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def mean_over_parts(results: Sequence[Mapping[str, Any]], measure: str) -> tuple[float, float]:
    """Mean over parts, each the mean of its seeds, and its standard error from the intervals over items; per cent."""
    values, errors = [], []
    for _, group in groupby(results, key=lambda result: result["part"]):
        scores = [result["scores"][measure] for result in group]
        values.append(statistics.mean(score["value"] for score in scores))
        errors.append(statistics.mean((score["high"] - score["low"]) / (2 * NORMAL) for score in scores))
    return 100 * statistics.mean(values), 100 * sum(error**2 for error in errors) ** 0.5 / len(errors)


def table(name: str) -> str:
    """A set's figures, published ones and ours, as Markdown."""
    protocol, results = SETS[name], read_results(name)
    measures: Mapping[str, str] = protocol["measures"]
    rows = [["", *measures.values()]]
    rows += [[system["name"], *(_published(system.get(key)) for key in measures)] for system in protocol["published"]]
    for seeds, own in _by_seeds(results, len(parts_of(name))):
        means = [mean_over_parts(own, key) for key in measures]
        cells = [f"**{value:.2f}** ± {NORMAL * error:.2f}" for value, error in means]
        rows.append([f"Triptych, one model, {seeds}", *cells])
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def _published(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _by_seeds(results: Sequence[Mapping[str, Any]], parts: int) -> Iterable[tuple[str, list[Mapping[str, Any]]]]:
    """Results of every seed, and what to call them; a set of which parts are missing says so."""
    for seed in sorted({result["seed"] for result in results}):
        own = [result for result in results if result["seed"] == seed]
        missing = "" if len(own) == parts else f", {len(own)} of {parts} parts"
        yield f"seed {seed}{missing}", own


def details(name: str) -> str:
    """A row for each part: sizes, training time and figures, as Markdown."""
    protocol, results = SETS[name], read_results(name)
    measures: Mapping[str, str] = protocol["measures"]
    best: Mapping[str, float] = protocol.get("best", {})
    head = ["part" if parts_of(name) != [""] else "", "seed", "pairs", "parameters", "minutes", "WER on valid"]
    rows = [[*head, *measures.values(), *(["best published WER"] if best else [])]]
    for result in results:
        scores = [result["scores"][key] for key in measures]
        rows.append(
            [
                result["part"],
                str(result["seed"]),
                f"{result['pairs']:,}",
                f"{result['parameters']:,}",
                f"{result['seconds'] / 60:.1f}",
                f"{100 * result['valid']:.1f}",
                *(f"{100 * s['value']:.2f} ({100 * s['low']:.1f} to {100 * s['high']:.1f})" for s in scores),
                *([_published(best.get(result["part"].split("/")[0]))] if best else []),
            ]
        )
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def write_page() -> None:
    """Write docs/published.md from the results."""
    parts = [
        "# Published benchmarks",
        "",
        "Written by `python benchmarks/published/measure.py SET --data DIR` from the results in",
        "`benchmarks/published/results`. Figures are percentages. Each model is trained on the training split, its",
        "epoch is chosen on the validation split, and the test split is evaluated once. After ± is half of a 95 %",
        "interval over the items. Published figures are those of the papers; nothing of them was run here.",
    ]
    for name, protocol in SETS.items():
        if not read_results(name):
            continue
        parts += ["", f"## {protocol['title']}", "", f"`{name}`: {protocol['protocol']}."]
        parts += [] if protocol.get("sizes") and len(protocol["sizes"]) > 1 else ["", table(name)]
        parts += ["", f"Each training of `{protocol['recipe']}`:", "", details(name)]
    PAGE.write_text("\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
