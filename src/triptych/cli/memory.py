"""`triptych memory`: build a store of patterns, query it, and change it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli.options import AsJson, SkipBad

if TYPE_CHECKING:
    from triptych.api import ImageSize, Memory, PatternFile

Store = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the memory.")]
Patterns = Annotated[
    Path,
    typer.Argument(
        metavar="PATTERNS", help=".npy, .npz, .csv, an image, or a folder of images (one folder per label)."
    ),
]
Height = Annotated[int | None, typer.Option(help="Rows that images are resized to. Default: the memory's, or 28.")]
Width = Annotated[int | None, typer.Option(help="Columns that images are resized to. Default: the memory's, or 28.")]
Rgb = Annotated[
    bool | None, typer.Option("--rgb/--grey", help="Read images in colour, or grey. Default: the memory's, or grey.")
]
LabelsFile = Annotated[Path | None, typer.Option("--labels", help="Text file with one label per pattern.")]
ValuesFile = Annotated[
    Path | None, typer.Option("--values", help="Values that the patterns recall: .npy, .npz or .csv.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Associative memory: store patterns, recall them from noisy cues, detect what is novel.",
        no_args_is_help=True,
        rich_markup_mode="markdown",
    )
    for command in (build, query, info, add, remove, calibrate, build_index):
        group.command(command.__name__.removeprefix("build_"))(command)
    app.add_typer(group, name="memory")


def build(
    patterns: Patterns,
    out: Annotated[Path, typer.Option("--out", metavar="STORE", help="Folder to write; it must not exist.")],
    labels: LabelsFile = None,
    values: ValuesFile = None,
    beta: Annotated[float | None, typer.Option(help="Inverse temperature. Default: tuned on noisy patterns.")] = None,
    normalisation: Annotated[str, typer.Option(help="unit, centred-unit or none.")] = "unit",
    precision: Annotated[str, typer.Option(help="float32, float16, bfloat16 or int8.")] = "float32",
    height: Height = None,
    width: Width = None,
    rgb: Rgb = None,
    skip_bad: SkipBad = False,
    json: AsJson = False,
) -> None:
    """Store patterns in a new folder.

    Examples:

        triptych memory build patterns.npy --labels names.txt --out store

        triptych memory build photos/ --height 32 --width 32 --rgb --normalisation centred-unit --out store
    """
    from triptych import api

    found = _read(patterns, labels, values, size=_image_size(None, height, width, rgb), skip_bad=skip_bad)
    memory = api.build_memory(found, out, beta=beta, normalisation=normalisation, precision=precision)
    _report(memory, out, as_json=json)


def add(
    store: Store,
    patterns: Patterns,
    labels: LabelsFile = None,
    values: ValuesFile = None,
    height: Height = None,
    width: Width = None,
    rgb: Rgb = None,
    skip_bad: SkipBad = False,
    json: AsJson = False,
) -> None:
    """Store more patterns. Calibrate the novelty threshold again afterwards."""
    from triptych import api

    found = _read(patterns, labels, values, size=_image_size(store, height, width, rgb), skip_bad=skip_bad)
    _report(api.add_to_memory(store, found), store, as_json=json)


def remove(
    store: Store,
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Ids of the patterns to remove.")],
    json: AsJson = False,
) -> None:
    """Remove patterns. Calibrate the novelty threshold again afterwards."""
    from triptych import api

    _report(api.remove_from_memory(store, ids), store, as_json=json)


def query(
    store: Store,
    cues: Patterns,
    max_steps: Annotated[int, typer.Option(help="Maximum number of updates.")] = 20,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.npy", help="File for the recalled patterns.")
    ] = None,
    height: Height = None,
    width: Width = None,
    rgb: Rgb = None,
    skip_bad: SkipBad = False,
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            help="Search with a faiss index: `kept` is the stored one; flat, ivf, ivf-pq and hnsw are built now.",
        ),
    ] = None,
    candidates: Annotated[int, typer.Option(help="With --index: number of candidates per cue.")] = 32,
    json: AsJson = False,
) -> None:
    """Recall the stored pattern that each cue belongs to, with its confidence.

    Energy and entropy (in nats) are those of the recalled state; distance is that to the nearest stored pattern.
    Novelty is the energy of the cue itself, unless calibrated otherwise; it takes all patterns, so with an index it is
    given only where it was calibrated. With an index, `left_out` is the most softmax mass that patterns outside the
    candidates can have.
    """
    from triptych import api
    from triptych.api import DataError
    from triptych.cli.output import cell, print_json, print_table, warn

    memory = api.open_memory(store)
    if out is not None and out.suffix != ".npy":
        raise DataError(field="--out", value=str(out), expected="a name that ends in .npy")
    skipped, size = api.Skipped(), _image_size(store, height, width, rgb)
    rows = api.read_cues(memory, cues, image_size=size, on_bad=skipped.add if skip_bad else None)
    warn(skipped.sentences())
    answers = api.query_memory(memory, rows, max_steps=max_steps, index=index, candidates=candidates)
    if out is not None:
        _write_array(out, answers.value)
    if memory.stale_threshold is not None:
        stale = "the threshold of novelty was calibrated before the patterns or beta changed, so it is not used."
        warn([f"{store}: {stale} Calibrate it again with: triptych memory calibrate {store} CUES"])
    if json:
        print_json({"store": str(store), "beta": memory.beta, "cues": answers.rows()})
        return
    columns = list(answers.columns)
    print_table(columns, [[cell(row[name]) for name in columns] for row in answers.rows()])


def info(
    store: Store,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file and compare its checksum.")] = False,
    json: AsJson = False,
) -> None:
    """Show a memory's size, settings and files."""
    from triptych import api

    _report(api.open_memory(store), store, as_json=json, verify=verify)


def calibrate(
    store: Store,
    cues: Patterns,
    score: Annotated[str, typer.Option(help="energy, or distance to the nearest pattern.")] = "energy",
    false_alarm_rate: Annotated[float, typer.Option(help="Share of such cues that may be reported as novel.")] = 0.05,
    height: Height = None,
    width: Width = None,
    rgb: Rgb = None,
    json: AsJson = False,
) -> None:
    """Set the novelty threshold from cues that belong to the stored patterns but are not among them."""
    from triptych import api

    size = _image_size(store, height, width, rgb)
    memory = api.calibrate_memory(store, cues, score=score, false_alarm_rate=false_alarm_rate, image_size=size)
    _report(memory, store, as_json=json)


def build_index(
    store: Store,
    kind: Annotated[str, typer.Option(help="flat, ivf, ivf-pq (for a million and more) or hnsw.")] = "ivf-pq",
    lists: Annotated[
        int | None, typer.Option(help="Number of clusters (inverted lists). Default: by the number of patterns.")
    ] = None,
    tune: Annotated[
        Path | None,
        typer.Option("--tune", metavar="CUES", help="Typical cues, from which the search effort is chosen."),
    ] = None,
    agreement: Annotated[
        float, typer.Option(help="With --tune: share of cues that must recall the same pattern as without an index.")
    ] = 0.99,
    height: Height = None,
    width: Width = None,
    rgb: Rgb = None,
    json: AsJson = False,
) -> None:
    """Build an index for `query --index kept` and keep it in the store. Needs the extra `index`.

    Example:

        triptych memory index store --tune cues.npy
    """
    from triptych import api
    from triptych.cli.output import cell, print_json, print_table

    size = _image_size(store, height, width, rgb)
    built = api.index_memory(store, kind=kind, lists=lists, tune_on=tune, agreement=agreement, image_size=size)
    found = {"store": str(store), "patterns": len(api.open_memory(store)), **vars(built)}
    if built.agreement is None:
        del found["agreement"]
    if json:
        print_json(found)
        return
    print_table(["", ""], [[name, cell(value)] for name, value in found.items()])


def _read(
    patterns: Path, labels: Path | None, values: Path | None, *, size: ImageSize | None, skip_bad: bool
) -> PatternFile:
    """Patterns with their labels and values; images that cannot be read are an error, or skipped with a warning."""
    from triptych import api
    from triptych.cli.output import warn

    skipped = api.Skipped()
    on_bad = skipped.add if skip_bad else None
    found = api.read_pattern_file(patterns, labels=labels, values=values, image_size=size, on_bad=on_bad)
    warn(skipped.sentences())
    return found


def _image_size(store: Path | None, height: int | None, width: int | None, rgb: bool | None) -> ImageSize | None:
    """The given size, completed by the memory's own; None where neither has one."""
    from triptych.api import ImageSize, open_memory

    if store is None and height is None and width is None and rgb is None:
        return None

    usual = (None if store is None else open_memory(store).image_size) or ImageSize()
    return ImageSize(
        usual.height if height is None else height,
        usual.width if width is None else width,
        usual.channels if rgb is None else 3 if rgb else 1,
    )


def _report(memory: Memory, store: Path, *, as_json: bool, verify: bool = False) -> None:
    from triptych import api
    from triptych.cli.output import cell, print_json, print_table, words

    facts = {"store": str(store), **api.memory_info(memory, check_files=verify)}
    if as_json:
        print_json(facts)
        return
    print_table(["", ""], [[words(name), cell(value)] for name, value in facts.items()])


def _write_array(path: Path, rows: Any) -> None:
    import numpy as np

    from triptych.api import atomic_write

    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array(stream, rows.numpy(), allow_pickle=False)
