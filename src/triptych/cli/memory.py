"""`triptych memory`: build a store of patterns, query it, and change it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from triptych.cli.options import AsJson

if TYPE_CHECKING:
    from triptych.memory.memory import Memory
    from triptych.memory.patterns import PatternFile

Store = Annotated[Path, typer.Argument(metavar="STORE", help="Folder of the memory.")]
Patterns = Annotated[
    Path, typer.Argument(metavar="PATTERNS", help=".npy, .npz, .csv, or a folder of images (one folder per label).")
]
Height = Annotated[int, typer.Option(help="Rows that images of a folder are resized to.")]
Width = Annotated[int, typer.Option(help="Columns that images of a folder are resized to.")]
Rgb = Annotated[bool, typer.Option("--rgb", help="Read images in colour instead of grey.")]
LabelsFile = Annotated[Path | None, typer.Option("--labels", help="Text file with one label per pattern.")]
ValuesFile = Annotated[Path | None, typer.Option("--values", help="What each pattern recalls: .npy, .npz or .csv.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Associative memory: store patterns, recall them from noisy cues, tell what is novel.",
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
    height: Height = 28,
    width: Width = 28,
    rgb: Rgb = False,
    json: AsJson = False,
) -> None:
    """Store patterns in a new folder.

    Examples:

        triptych memory build patterns.npy --labels names.txt --out store

        triptych memory build photos/ --height 32 --width 32 --rgb --normalisation centred-unit --out store
    """
    from triptych.errors import DataError
    from triptych.memory.memory import Memory

    if out.exists():
        raise DataError("exists already; expected a new folder. Add to it with: triptych memory add", path=out)
    found = _read(patterns, labels, values, height, width, rgb)
    chosen: Any = {"normalisation": normalisation, "precision": precision}
    with _about(patterns):
        memory = Memory(found.patterns, labels=found.labels, values=found.values, ids=found.ids, beta=beta, **chosen)
    memory.save(out)
    _tell(memory, out, as_json=json)


def add(
    store: Store,
    patterns: Patterns,
    labels: LabelsFile = None,
    values: ValuesFile = None,
    height: Height = 28,
    width: Width = 28,
    rgb: Rgb = False,
    json: AsJson = False,
) -> None:
    """Store more patterns; what is stored already is not written again."""
    memory = _load(store)
    found = _read(patterns, labels, values, height, width, rgb)
    with _about(patterns):
        memory.add(found.patterns, labels=found.labels, values=found.values, ids=found.ids)
    memory.save(store)
    _tell(memory, store, as_json=json)


def remove(
    store: Store,
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Ids of the patterns to forget.")],
    json: AsJson = False,
) -> None:
    """Forget patterns."""
    memory = _load(store)
    with _about(store):
        memory.remove(ids)
    memory.save(store)
    _tell(memory, store, as_json=json)


def query(
    store: Store,
    cues: Patterns,
    max_steps: Annotated[int, typer.Option(help="Updates at most.")] = 20,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE.npy", help="Write what is recalled there.")] = None,
    height: Height = 28,
    width: Width = 28,
    rgb: Rgb = False,
    index: Annotated[
        str | None,
        typer.Option(
            "--index", help="Look at the best of a faiss index: `kept`, or built now: flat, ivf, ivf-pq, hnsw."
        ),
    ] = None,
    candidates: Annotated[int, typer.Option(help="With --index: patterns that are averaged.")] = 32,
    json: AsJson = False,
) -> None:
    """Recall the stored pattern that each cue belongs to, and say how sure that is.

    Energy and entropy (in nats) are those of the recalled state; distance is that to the nearest stored pattern.
    Novelty is the energy of the cue itself, unless calibrated otherwise; with an index it is told only where it was
    calibrated, since it looks at all patterns. With an index, `left out` is the most softmax mass that patterns outside
    the candidates can have.
    """
    from triptych.cli.output import cell, print_json, print_table
    from triptych.errors import DataError

    memory = _load(store)
    if out is not None and out.suffix != ".npy":
        raise DataError(f"--out has suffix {out.suffix!r}; expected .npy.", path=out)
    found = _read(cues, None, None, height, width, rgb).patterns
    with _about(cues):
        rows, value = _answers(memory, found, max_steps=max_steps, index=index, candidates=candidates)
    if out is not None:
        _write_array(out, value)
    if json:
        print_json({"store": str(store), "beta": memory.beta, "cues": rows})
        return
    columns = list(rows[0])
    print_table(columns, [[cell(row[name]) for name in columns] for row in rows])


def info(
    store: Store,
    verify: Annotated[bool, typer.Option("--verify", help="Read every file whole and compare its checksum.")] = False,
    json: AsJson = False,
) -> None:
    """What a memory holds."""
    from triptych.memory.store import verify as verify_files

    memory = _load(store)
    if verify and memory.place is not None:
        verify_files(store, memory.place.manifest)
    _tell(memory, store, as_json=json)


def calibrate(
    store: Store,
    cues: Patterns,
    score: Annotated[str, typer.Option(help="energy, or distance to the nearest pattern.")] = "energy",
    false_alarm_rate: Annotated[float, typer.Option(help="Share of cues like these that may be called novel.")] = 0.05,
    height: Height = 28,
    width: Width = 28,
    rgb: Rgb = False,
    json: AsJson = False,
) -> None:
    """Set the threshold of novelty from cues that belong to the stored patterns but are not among them."""
    memory = _load(store)
    chosen: Any = score
    found = _read(cues, None, None, height, width, rgb).patterns
    with _about(cues):
        memory.calibrate(found, score=chosen, false_alarm_rate=false_alarm_rate)
    memory.save(store)
    _tell(memory, store, as_json=json)


def build_index(
    store: Store,
    kind: Annotated[str, typer.Option(help="flat, ivf, ivf-pq (for a million and more) or hnsw.")] = "ivf-pq",
    lists: Annotated[
        int | None, typer.Option(help="Lists that patterns are sorted into. Default: by their number.")
    ] = None,
    tune: Annotated[
        Path | None, typer.Option("--tune", metavar="CUES", help="Cues of the kind to come, to choose the effort by.")
    ] = None,
    agreement: Annotated[float, typer.Option(help="With --tune: share of cues that must recall as without it.")] = 0.99,
    height: Height = 28,
    width: Width = 28,
    rgb: Rgb = False,
    json: AsJson = False,
) -> None:
    """Build an index for `query --index kept` and keep it in the store. Needs the extra `index`.

    Example:

        triptych memory index store --tune cues.npy
    """
    from triptych.cli.output import cell, print_json, print_table
    from triptych.memory.index import Index
    from triptych.memory.index_store import save_index

    memory = _load(store)
    chosen: Any = kind
    found: dict[str, Any] = {"store": str(store), "patterns": len(memory), "kind": kind}
    index = Index(memory, kind=chosen, lists=lists)
    if tune is not None:
        cues = _read(tune, None, None, height, width, rgb).patterns
        with _about(tune):
            found["agreement"] = index.tune(cues, agreement=agreement).agreement
    manifest = save_index(index)
    found |= {"lists": index.lists, "effort": index.effort, "bytes": manifest.searcher.bytes}
    if json:
        print_json(found)
        return
    print_table(["", ""], [[name, cell(value)] for name, value in found.items()])


@contextmanager
def _about(path: Path) -> Iterator[None]:
    """Errors of rows name the file that the rows came from."""
    from triptych.errors import DataError, ShapeError

    try:
        yield
    except (DataError, ShapeError) as error:
        if getattr(error, "path", None) is not None:
            raise
        raise DataError(str(error), path=path) from error


def _load(store: Path) -> Memory:
    from triptych.memory.memory import Memory

    return Memory.load(store)


def _read(path: Path, labels: Path | None, values: Path | None, height: int, width: int, rgb: bool) -> PatternFile:
    """Patterns, with labels and values from files of their own where those are given; errors name the file."""
    from dataclasses import replace

    from triptych.data.files import number_lines, open_binary
    from triptych.errors import DataError
    from triptych.memory.patterns import ImageSize, read_patterns

    found = read_patterns(path, image_size=ImageSize(height, width, 3 if rgb else 1))
    if labels is not None:
        with open_binary(labels) as stream:
            lines = [line.text for line in number_lines(stream, path=labels)]
        if len(lines) != found.patterns.shape[0]:
            raise DataError(
                f"has {len(lines)} lines; expected {found.patterns.shape[0]}, one per pattern.", path=labels
            )
        found = replace(found, labels=lines)
    if values is not None:
        found = replace(found, values=read_patterns(values).patterns)
    return found


def _answers(
    memory: Memory, cues: Any, *, max_steps: int, index: str | None, candidates: int
) -> tuple[list[dict[str, Any]], Any]:
    """A row for each cue, and what is recalled."""
    columns: dict[str, Any] = {"cue": list(range(cues.shape[0]))}
    if index is None:
        recall = memory.retrieve(cues, max_steps=max_steps)
        sure = recall.confidence
        columns |= {"id": sure.nearest.tolist(), "label": list(sure.label), "distance": sure.distance.tolist(),
                    "energy": sure.energy.tolist(), "entropy": sure.entropy.tolist()}  # fmt: skip
        value, steps = recall.value, recall.steps
    else:
        from triptych.errors import TriptychError, did_you_mean
        from triptych.memory.index import Index
        from triptych.memory.index_store import load_index
        from triptych.memory.searchers import KINDS

        kind: Any = index
        if index not in KINDS and index != "kept":
            known = ("kept", *KINDS)
            raise TriptychError(
                f"--index is {index!r}; expected one of {', '.join(known)}. {did_you_mean(index, known)}"
            )
        searcher = load_index(memory) if index == "kept" else Index(memory, kind=kind)
        quick = searcher.retrieve(cues, k=candidates, max_steps=max_steps)
        columns |= {"id": quick.nearest.tolist(), "label": list(quick.label), "distance": quick.distance.tolist()}
        columns |= {"left_out": quick.left_out.tolist(), "left_out_if_exact": quick.left_out_if_exact.tolist()}
        value, steps = quick.value, quick.steps
    columns["steps"] = steps.tolist()
    if index is None or memory.threshold is not None:
        novelty = memory.novelty(cues)
        columns["novelty"] = novelty.tolist()
        if memory.threshold is not None:
            columns["novel"] = memory.threshold.is_novel(novelty).tolist()
    if all(label is None for label in columns["label"]):
        del columns["label"]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)], value


def _tell(memory: Memory, store: Path, *, as_json: bool) -> None:
    from triptych.cli.output import cell, print_json, print_table
    from triptych.memory.store import unused_files

    assert memory.place is not None, "told of a memory that was saved or loaded"
    manifest = memory.place.manifest
    labels = {label for shard in memory.shards for label in shard.labels}
    threshold = memory.threshold
    facts: dict[str, Any] = {
        "store": str(store),
        "patterns": len(memory),
        "width": memory.width,
        "value_width": memory.contents.value_width,
        "labels": len(labels),
        "beta": memory.beta,
        "normalisation": memory.contents.scaling.kind,
        "precision": memory.contents.precision,
        "shards": len(manifest.shards),
        "bytes": sum(shard.tensors.bytes for shard in manifest.shards),
        "removed_rows": sum(len(shard.removed) for shard in manifest.shards),
        "unused_files": len(unused_files(store, manifest)),
        "novelty": None if threshold is None else vars(threshold),
        "index": _index_facts(memory),
    }
    if as_json:
        print_json(facts)
        return
    print_table(["", "value"], [[name, cell(value)] for name, value in facts.items()])


def _index_facts(memory: Memory) -> dict[str, Any] | str | None:
    """What is told of a kept index. A damaged one is no reason to fail: the memory itself may just have been saved."""
    from triptych.errors import DataError
    from triptych.memory.index_store import is_fresh, read_manifest

    try:
        index = read_manifest(memory)
    except DataError as error:
        return f"damaged: {error}"
    return None if index is None else {"kind": index.kind, "effort": index.effort, "fresh": is_fresh(index, memory)}


def _write_array(path: Path, rows: Any) -> None:
    import numpy as np

    from triptych.files import atomic_write

    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.lib.format.write_array(stream, rows.numpy(), allow_pickle=False)
